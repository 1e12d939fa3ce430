SELECT UPPER(product) p, COUNT(*) n FROM orders GROUP BY UPPER(product) HAVING MAX(quantity) > 2;
