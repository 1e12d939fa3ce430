SELECT GROUP_ID() g, product, COUNT(*) n FROM orders GROUP BY GROUPING SETS ((product), (product), ());
