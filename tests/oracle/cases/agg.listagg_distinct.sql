SELECT customer, LISTAGG(product) a, LISTAGG(DISTINCT product) b, LISTAGG(DISTINCT product, ';') c FROM orders GROUP BY customer;
