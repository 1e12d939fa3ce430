SELECT FIRST_VALUE(rush) a, LAST_VALUE(rush) b FROM orders WHERE order_id < 8 GROUP BY product;
