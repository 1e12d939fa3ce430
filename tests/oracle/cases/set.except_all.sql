SELECT product FROM orders WHERE order_id < 30 EXCEPT ALL SELECT product FROM (VALUES ('apple'), ('apple'), ('pear'), ('zzz')) AS t(product);
