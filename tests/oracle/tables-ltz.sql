-- Event times of TIMESTAMP_LTZ in a time zone whose clock changes. ${DIR} is the folder of the inputs.
SET 'pipeline.auto-watermark-interval' = '0 ms';
SET 'table.local-time-zone' = 'America/New_York';
CREATE TABLE docs (
  id INT, s STRING, b BOOLEAN, ts TIMESTAMP(3), lt AS CAST(ts AS TIMESTAMP_LTZ(3)),
  WATERMARK FOR lt AS lt - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${DIR}/docs.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE orders (
  order_id BIGINT, customer INT, product STRING, quantity INT, price DECIMAL(10, 2), rush BOOLEAN, ts TIMESTAMP(3),
  lt AS TIMESTAMPADD(HOUR, 170, CAST(ts AS TIMESTAMP_LTZ(3))),
  WATERMARK FOR lt AS lt - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${DIR}/orders.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
