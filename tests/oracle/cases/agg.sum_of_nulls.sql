SELECT SUM(quantity) s FROM orders WHERE quantity IS NULL;
