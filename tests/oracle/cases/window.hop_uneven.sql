SELECT window_start, window_end, order_id FROM TABLE(HOP(TABLE orders, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '50' SECOND)) WHERE order_id < 30;
