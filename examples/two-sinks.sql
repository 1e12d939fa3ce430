-- One source, two outputs, one job: high bids as they are (CSV), and the rest counted per minute (JSON).
SET 'pipeline.name' = 'two-sinks';

CREATE TABLE events (
  event_type INT,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3)>,
  auction ROW<`dateTime` TIMESTAMP(3)>,
  person ROW<`dateTime` TIMESTAMP(3)>,
  ts AS COALESCE(bid.`dateTime`, auction.`dateTime`, person.`dateTime`),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'events.num' = '1000000');

CREATE VIEW bids AS
SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, ts FROM events WHERE event_type = 2;

CREATE TABLE high_bids (auction BIGINT, bidder BIGINT, price BIGINT, at_time TIMESTAMP(3))
WITH ('connector' = 'filesystem', 'path' = '/tmp/holdfast-tour/high', 'format' = 'csv');

CREATE TABLE small_bids (window_start TIMESTAMP(3), bids BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = '/tmp/holdfast-tour/small', 'format' = 'json');

EXECUTE STATEMENT SET BEGIN
  INSERT INTO high_bids SELECT auction, bidder, price, ts FROM bids WHERE price > 50000000;
  INSERT INTO small_bids
  SELECT window_start, COUNT(*), SUM(price)
  FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
  WHERE price <= 50000000
  GROUP BY window_start, window_end;
END;
