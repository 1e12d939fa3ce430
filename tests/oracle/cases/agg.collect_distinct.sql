SELECT customer, COLLECT(DISTINCT quantity) a FROM orders GROUP BY customer;
