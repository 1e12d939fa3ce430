SELECT customer, STDDEV_POP(price) a, STDDEV_SAMP(price) b, VAR_POP(price) d, VAR_SAMP(price) e FROM orders GROUP BY customer;
