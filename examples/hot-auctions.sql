-- How many bids the most wanted auction of the last ten seconds got, every two seconds: a window over the result of a
-- window. The events are generated; the job ends by itself.
SET 'pipeline.name' = 'hot-auctions';

CREATE TABLE events (
  event_type INT,
  bid ROW<auction BIGINT, `dateTime` TIMESTAMP(3)>,
  auction ROW<`dateTime` TIMESTAMP(3)>,
  person ROW<`dateTime` TIMESTAMP(3)>,
  ts AS COALESCE(bid.`dateTime`, auction.`dateTime`, person.`dateTime`),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'events.num' = '1000000');

CREATE VIEW bids AS SELECT bid.auction AS auction, ts FROM events WHERE event_type = 2;

CREATE TABLE hottest (window_start TIMESTAMP(3), window_end TIMESTAMP(3), bids BIGINT)
WITH ('connector' = 'print');

INSERT INTO hottest
SELECT window_start, window_end, MAX(bids)
FROM (
  SELECT auction, window_start, window_end, COUNT(*) AS bids
  FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end
)
GROUP BY window_start, window_end;
