-- The auction workload: one stream of events, each a person, an auction or a bid.
-- bench.py puts the connector in for ${SOURCE}; everything else is the same for both engines and both sources.
CREATE TABLE events (
  event_type INT,
  person ROW<id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING, `dateTime` TIMESTAMP(3), extra STRING>,
  auction ROW<id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT, `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING>,
  ts AS COALESCE(bid.`dateTime`, auction.`dateTime`, person.`dateTime`),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH (${SOURCE});
CREATE VIEW people AS SELECT person.id, person.name, person.emailAddress AS email, person.city, person.state, ts FROM events WHERE event_type = 0;
CREATE VIEW auctions AS SELECT auction.id, auction.itemName AS item, auction.description AS about, auction.initialBid AS initial_bid, auction.reserve, ts, auction.expires, auction.seller, auction.category FROM events WHERE event_type = 1;
CREATE VIEW bids AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, ts, bid.extra FROM events WHERE event_type = 2;
