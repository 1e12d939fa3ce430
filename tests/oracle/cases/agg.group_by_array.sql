SELECT ARRAY[product, 'y'] k, COUNT(*) n FROM orders GROUP BY ARRAY[product, 'y'];
