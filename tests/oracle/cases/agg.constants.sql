SELECT SUM(1) a, MAX(1) b, AVG(1) c, COUNT(1) d, FIRST_VALUE('x') e FROM orders;
