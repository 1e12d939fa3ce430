SELECT COLLECT(price) a, COLLECT(rush) b FROM orders WHERE order_id < 8;
