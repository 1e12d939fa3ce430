-- Bids on the auctions of category 10, with the auction.
-- sink: auction BIGINT, bidder BIGINT, price BIGINT, ts TIMESTAMP(3), item STRING, initial_bid BIGINT, reserve BIGINT, expires TIMESTAMP(3), seller BIGINT, category BIGINT
SELECT b.auction, b.bidder, b.price, b.ts, a.item, a.initial_bid, a.reserve, a.expires, a.seller, a.category FROM bids b JOIN auctions a ON b.auction = a.id WHERE a.category = 10;
