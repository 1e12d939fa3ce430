SELECT ARRAY_AGG(quantity) a FROM orders WHERE order_id < 5;
