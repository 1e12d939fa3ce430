-- Sellers of category 10 in three states: a join of two growing tables.
-- sink: name STRING, city STRING, state STRING, id BIGINT
SELECT p.name, p.city, p.state, a.id FROM auctions a JOIN people p ON a.seller = p.id WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
