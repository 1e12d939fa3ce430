SELECT customer, STDDEV_POP(quantity) a, STDDEV_SAMP(quantity) b, STDDEV(quantity) c, VAR_POP(quantity) d, VAR_SAMP(quantity) e, VARIANCE(quantity) f FROM orders GROUP BY customer;
