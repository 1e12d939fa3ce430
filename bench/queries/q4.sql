-- Average of the winning bids by category: a join, an aggregate and an aggregate of it.
-- sink: category BIGINT, average_close BIGINT
SELECT category, AVG(best) AS average_close FROM (
  SELECT a.id, a.category, MAX(b.price) AS best FROM auctions a JOIN bids b ON a.id = b.auction AND b.ts BETWEEN a.ts AND a.expires GROUP BY a.id, a.category)
GROUP BY category;
