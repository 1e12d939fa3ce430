SELECT product FROM orders INTERSECT ALL SELECT product FROM (VALUES ('apple'), ('apple'), ('pear'), ('zzz')) AS t(product);
