-- Converts each price: decimal arithmetic.
-- sink: auction BIGINT, bidder BIGINT, euros DECIMAL(23, 3), ts TIMESTAMP(3)
SELECT auction, bidder, 0.908 * price AS euros, ts FROM bids;
