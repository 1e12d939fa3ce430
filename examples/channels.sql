-- An ad-hoc query (holdfast sql run examples/channels.sql): bids and bidders per channel in windows of 20 seconds.
-- The table is bounded: without source.monitor-interval the files that exist are read once.
CREATE TABLE bids (
  bidder  BIGINT,
  price   BIGINT,
  channel STRING,
  ts      TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (
  'connector' = 'filesystem',
  'path' = '/tmp/holdfast-tour/in',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601'
);

SELECT channel, window_start, COUNT(*) AS bids, COUNT(DISTINCT bidder) AS bidders,
       COUNT(*) FILTER (WHERE price >= 10000) AS high, AVG(price) AS average
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '20' SECOND))
GROUP BY channel, window_start, window_end;
