SELECT customer, FIRST_VALUE(product) a, LAST_VALUE(product) b, FIRST_VALUE(quantity) c, LAST_VALUE(price) d FROM orders GROUP BY customer;
