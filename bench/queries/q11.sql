-- Bids by bidder and session.
-- sink: bidder BIGINT, n BIGINT, s TIMESTAMP(3), e TIMESTAMP(3)
SELECT bidder, COUNT(*) AS n, SESSION_START(ts, INTERVAL '10' SECOND) AS s, SESSION_END(ts, INTERVAL '10' SECOND) AS e FROM bids GROUP BY bidder, SESSION(ts, INTERVAL '10' SECOND);
