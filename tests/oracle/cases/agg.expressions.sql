SELECT SUM(quantity) + COUNT(*) * 2 x, AVG(price) y, SUM(price) z FROM orders;
