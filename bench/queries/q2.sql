-- Keeps few of the bids.
-- sink: auction BIGINT, price BIGINT
SELECT auction, price FROM bids WHERE MOD(auction, 123) = 0;
