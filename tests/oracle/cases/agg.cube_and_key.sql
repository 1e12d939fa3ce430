SELECT COUNT(*) c, product FROM orders GROUP BY CUBE(product, rush), customer HAVING COUNT(*) > 8;
