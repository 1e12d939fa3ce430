SELECT product, customer, rush, COUNT(*) n FROM orders GROUP BY product, ROLLUP(customer, rush);
