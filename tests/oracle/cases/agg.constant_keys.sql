SELECT product, COUNT(*) n FROM orders GROUP BY product, 'x', 1 + 1;
