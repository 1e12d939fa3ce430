-- Parts of a URL.
-- sink: auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, d1 STRING, d2 STRING, d3 STRING
SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS d1, SPLIT_INDEX(url, '/', 4) AS d2, SPLIT_INDEX(url, '/', 5) AS d3 FROM bids;
