-- Expressions and a filter over bids.
-- sink: auction BIGINT, bidder BIGINT, euros DECIMAL(24, 3), part STRING, cs INT
SELECT auction, bidder, 0.908 * price AS euros, CASE WHEN HOUR(ts) >= 8 AND HOUR(ts) <= 18 THEN 'day' WHEN HOUR(ts) <= 6 OR HOUR(ts) >= 20 THEN 'night' ELSE 'other' END AS part,
  CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', '')) AS cs FROM bids WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;
