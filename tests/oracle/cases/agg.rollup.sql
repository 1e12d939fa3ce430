SELECT product, rush, GROUPING(rush) a, GROUPING_ID(rush, product) b, SUM(quantity) s FROM orders GROUP BY ROLLUP(product, rush);
