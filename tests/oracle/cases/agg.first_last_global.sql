SELECT FIRST_VALUE(order_id) a, LAST_VALUE(order_id) b, FIRST_VALUE(ts) c, LAST_VALUE(rush) e FROM orders;
