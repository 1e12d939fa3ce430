-- The highest bid of each 10 seconds. Nexmark's q7 without its join.
-- sink: top BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3)
SELECT MAX(price) AS top, window_start, window_end
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;
