SELECT DISTINCT product, COUNT(*) OVER_ FROM orders GROUP BY product, rush;
