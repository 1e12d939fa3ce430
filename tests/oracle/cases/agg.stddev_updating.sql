SELECT STDDEV_POP(n) a, VAR_SAMP(n) b, AVG(n) c, SUM(n) d, MAX(n) e, MIN(n) f FROM (SELECT product, COUNT(*) n FROM orders GROUP BY product);
