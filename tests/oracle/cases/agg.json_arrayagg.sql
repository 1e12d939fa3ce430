SELECT customer, JSON_ARRAYAGG(product) a, JSON_ARRAYAGG(quantity NULL ON NULL) b, JSON_ARRAYAGG(price) c, JSON_ARRAYAGG(rush) d FROM orders GROUP BY customer;
