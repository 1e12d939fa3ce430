-- The winning bid of each auction: a join and the first of a ranking.
-- sink: id BIGINT, item STRING, seller BIGINT, category BIGINT, auction BIGINT, bidder BIGINT, price BIGINT, bid_at TIMESTAMP(3)
SELECT id, item, seller, category, auction, bidder, price, bid_at FROM (
  SELECT a.id, a.item, a.seller, a.category, b.auction, b.bidder, b.price, b.ts AS bid_at, ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.ts ASC) AS place
  FROM auctions a JOIN bids b ON a.id = b.auction WHERE b.ts BETWEEN a.ts AND a.expires) WHERE place <= 1;
