SELECT MAX(ts) a, MIN(ts) b, MAX(rush) c, MIN(product) d FROM orders GROUP BY customer;
