-- Reads and passes on: the cost of the input.
-- sink: auction BIGINT, bidder BIGINT, price BIGINT, ts TIMESTAMP(3)
SELECT auction, bidder, price, ts FROM bids;
