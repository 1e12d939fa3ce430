-- Bids per auction in windows of ten seconds, written exactly once.
-- Input: the JSON-lines files of a folder. The folder is watched, so the job runs until it is stopped.
SET 'pipeline.name' = 'bids';
-- With two readers and one file, the reader without a file must not hold up event time.
SET 'table.exec.source.idle-timeout' = '2 s';

CREATE TABLE bids (
  auction BIGINT,
  bidder  BIGINT,
  price   BIGINT,
  channel STRING,
  ts      TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (
  'connector' = 'filesystem',
  'path' = '/tmp/holdfast-tour/in',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601',
  'source.monitor-interval' = '1 s'
);

CREATE TABLE bid_counts (
  auction      BIGINT,
  window_start TIMESTAMP(3),
  window_end   TIMESTAMP(3),
  bids         BIGINT,
  highest      BIGINT
) WITH (
  'connector' = 'filesystem',
  'path' = '/tmp/holdfast-tour/out',
  'format' = 'json'
);

INSERT INTO bid_counts
SELECT auction, window_start, window_end, COUNT(*), MAX(price)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;
