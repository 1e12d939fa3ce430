SELECT product, CAST(quantity AS BIGINT) q FROM orders UNION SELECT product, quantity FROM orders UNION SELECT 'x', 1;
