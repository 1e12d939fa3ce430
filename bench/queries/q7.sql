-- The highest bids of each 10 seconds: a join with a window aggregate.
-- sink: auction BIGINT, price BIGINT, bidder BIGINT, ts TIMESTAMP(3)
SELECT b.auction, b.price, b.bidder, b.ts FROM bids b JOIN (
  SELECT MAX(price) AS top, window_end AS until FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end) m
ON b.price = m.top WHERE b.ts BETWEEN m.until - INTERVAL '10' SECOND AND m.until;
