SELECT customer, SUM(CAST(quantity AS TINYINT)) a, SUM(CAST(quantity AS FLOAT)) b, AVG(CAST(quantity AS SMALLINT)) c, AVG(CAST(price AS FLOAT)) d FROM orders GROUP BY customer;
