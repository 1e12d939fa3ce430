-- The auctions with the most bids of the last 10 seconds, each 2 seconds: a window join.
-- sink: auction BIGINT, n BIGINT, window_start TIMESTAMP(3)
WITH counts AS (
  SELECT auction, COUNT(*) AS n, window_start, window_end FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end),
busiest AS (SELECT MAX(n) AS top, window_start, window_end FROM counts GROUP BY window_start, window_end)
SELECT c.auction, c.n, c.window_start FROM counts c JOIN busiest m ON c.window_start = m.window_start AND c.window_end = m.window_end AND c.n >= m.top;
