SELECT SUM(n) FROM (SELECT COUNT(*) n FROM orders WHERE order_id < 0);
