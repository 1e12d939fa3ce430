SELECT rush, product FROM orders INTERSECT SELECT rush, product FROM orders WHERE quantity > 3;
