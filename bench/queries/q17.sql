-- Counts and prices by auction and day.
-- sink: auction BIGINT, d STRING, n BIGINT, low_n BIGINT, mid_n BIGINT, high_n BIGINT, lo BIGINT, hi BIGINT, mean BIGINT, total BIGINT
SELECT auction, DATE_FORMAT(ts, 'yyyy-MM-dd') AS d, COUNT(*) AS n, COUNT(*) FILTER (WHERE price < 10000) AS low_n, COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS mid_n, COUNT(*) FILTER (WHERE price >= 1000000) AS high_n, MIN(price) AS lo, MAX(price) AS hi, AVG(price) AS mean, SUM(price) AS total FROM bids GROUP BY auction, DATE_FORMAT(ts, 'yyyy-MM-dd');
