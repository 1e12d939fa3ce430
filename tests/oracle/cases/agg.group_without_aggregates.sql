SELECT product FROM orders GROUP BY product;
