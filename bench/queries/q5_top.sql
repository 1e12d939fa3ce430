-- Bids per auction in the last 10 seconds, each 2 seconds, and the most of each window. Nexmark's q5 without its join.
-- sink: top BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3)
WITH counts AS (
  SELECT auction, COUNT(*) AS n, window_start, window_end
  FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end)
SELECT MAX(n) AS top, window_start, window_end FROM counts GROUP BY window_start, window_end;
