-- Bids per bidder in each 10 seconds: many keys. Nexmark's q12 by event time.
-- sink: bidder BIGINT, n BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3)
SELECT bidder, COUNT(*) AS n, window_start, window_end
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
