SELECT customer, SUM(DISTINCT quantity) a, AVG(DISTINCT quantity) b, COUNT(DISTINCT product) c, MAX(DISTINCT quantity) d FROM orders GROUP BY customer;
