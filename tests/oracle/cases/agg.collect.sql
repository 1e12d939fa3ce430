SELECT customer, COLLECT(product) a FROM orders GROUP BY customer;
