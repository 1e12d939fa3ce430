-- The last bid of each bidder on each auction.
-- sink: auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, ts TIMESTAMP(3)
SELECT auction, bidder, price, channel, url, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY ts DESC) AS place FROM bids) WHERE place <= 1;
