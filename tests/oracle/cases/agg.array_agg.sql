SELECT customer, ARRAY_AGG(quantity) a, ARRAY_AGG(DISTINCT product) b FROM orders GROUP BY customer;
