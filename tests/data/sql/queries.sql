-- agg.bool_every_case
SELECT customer, SUM(CASE WHEN rush THEN 1 WHEN rush IS NULL THEN 100 ELSE 0 END) s FROM orders GROUP BY customer;
-- agg.count_sum
SELECT customer, COUNT(*) n, COUNT(quantity) nq, SUM(quantity) q, AVG(quantity) aq, MIN(quantity) mn, MAX(quantity) mx FROM orders GROUP BY customer;
-- agg.cube
SELECT rush, product, COUNT(*) n FROM orders GROUP BY CUBE (rush, product);
-- agg.distinct_filter
SELECT product, COUNT(DISTINCT customer) a, COUNT(DISTINCT customer) FILTER (WHERE quantity > 3) b, COUNT(*) FILTER (WHERE rush IS TRUE) c, SUM(quantity) FILTER (WHERE NOT rush) d FROM orders GROUP BY product;
-- agg.distinct_over_updating
SELECT COUNT(DISTINCT n) d FROM (SELECT customer, product, COUNT(*) n FROM orders GROUP BY customer, product);
-- agg.global
SELECT COUNT(*) n, COUNT(DISTINCT product) d, SUM(quantity) q FROM orders;
-- agg.global_empty
SELECT COUNT(*) n, SUM(quantity) q, MAX(price) p FROM orders WHERE order_id < 0;
-- agg.grouping_sets
SELECT product, rush, COUNT(*) n, GROUPING(product) gp, GROUPING_ID(product, rush) gi FROM orders GROUP BY GROUPING SETS ((product, rush), (product), ());
-- agg.having
SELECT customer, product, COUNT(*) n FROM orders GROUP BY customer, product HAVING COUNT(*) > 6;
-- agg.listagg
SELECT symbol, LISTAGG(CAST(price AS STRING), '|') l FROM ticks WHERE volume > 40 GROUP BY symbol;
-- agg.max_over_sum_can_fall
SELECT rush, MAX(q) hi, MIN(q) lo FROM (SELECT rush, customer, SUM(quantity) q FROM orders GROUP BY rush, customer) GROUP BY rush;
-- agg.minute_bucket
SELECT DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm') mi, COUNT(*) n, COUNT(DISTINCT customer) c FROM orders GROUP BY DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm');
-- agg.nested
SELECT n, COUNT(*) customers FROM (SELECT customer, COUNT(*) n FROM orders GROUP BY customer) GROUP BY n;
-- agg.select_distinct
SELECT DISTINCT product, rush FROM orders;
-- agg.stddev_var
SELECT product, CAST(STDDEV_POP(quantity) AS DECIMAL(12,6)) sp, CAST(VAR_POP(quantity) AS DECIMAL(12,6)) vp, CAST(STDDEV_SAMP(quantity) AS DECIMAL(12,6)) ss, CAST(VAR_SAMP(quantity) AS DECIMAL(12,6)) vs FROM orders GROUP BY product;
-- cdc.distinct_regions
SELECT COUNT(DISTINCT region) d, COUNT(DISTINCT balance) e FROM accounts;
-- cdc.filter
SELECT id, region, balance FROM accounts WHERE balance > 40;
-- cdc.left_join
SELECT c.user_id, c.n, a.balance FROM (SELECT user_id, COUNT(*) n FROM clicks GROUP BY user_id) c LEFT JOIN accounts a ON a.id = c.user_id;
-- cdc.top2_by_region
SELECT region, id, balance FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY region ORDER BY balance DESC, id) rn FROM accounts) WHERE rn <= 2;
-- cep.optional
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES a.price AS pa, b.price AS pb, c.price AS pc ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (a b? c) DEFINE a AS a.price > 100, b AS b.price > 105, c AS c.price < 100) AS m;
-- cep.quantifier_range
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES FIRST(a.ts) AS t0, COUNT(a.price) AS n, b.price AS pb ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (a{2,4} b) DEFINE a AS a.volume > 15, b AS b.volume <= 15) AS m;
-- cep.running_avg
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES FIRST(a.ts) AS t0, AVG(a.price) AS av, SUM(a.volume) AS sv, COUNT(a.price) AS n ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (a+ b) DEFINE a AS AVG(a.price) < 102, b AS b.price > 100) AS m;
-- cep.skip_next_row
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES a.ts AS ta, LAST(b.ts) AS tb ONE ROW PER MATCH AFTER MATCH SKIP TO NEXT ROW PATTERN (a b+ c) DEFINE b AS b.price >= a.price, c AS c.price < a.price) AS m;
-- cep.skip_to_last
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES a.ts AS ta, COUNT(b.price) AS n, c.ts AS tc ONE ROW PER MATCH AFTER MATCH SKIP TO LAST b PATTERN (a b+ c) DEFINE b AS b.price > a.price, c AS c.price <= a.price) AS m;
-- cep.strict_sequence
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES a.price AS pa, b.price AS pb, c.price AS pc, a.ts AS ta, c.ts AS tc ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (a b c) DEFINE a AS a.volume > 20, b AS b.price > a.price, c AS c.price < b.price) AS m;
-- cep.v_shape
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES FIRST(d.price) AS p0, LAST(d.price) AS p1, LAST(u.price) AS p2, COUNT(d.price) AS nd ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (s d+ u+ e) DEFINE d AS (LAST(d.price, 1) IS NULL AND d.price < s.price) OR d.price < LAST(d.price, 1), u AS u.price > LAST(d.price), e AS e.price <= LAST(d.price)) AS m;
-- cep.within
SELECT * FROM ticks MATCH_RECOGNIZE (PARTITION BY symbol ORDER BY ts MEASURES a.ts AS ta, b.ts AS tb ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (a x* b) WITHIN INTERVAL '10' SECOND DEFINE a AS a.volume > 45, x AS x.volume <= 48, b AS b.volume > 45) AS m;
-- join.exists
SELECT order_id FROM orders o WHERE EXISTS (SELECT 1 FROM payments p WHERE p.order_id = o.order_id AND p.`method` = 'wire');
-- join.full
SELECT o.order_id, p.pay_id FROM orders o FULL OUTER JOIN payments p ON o.order_id = p.order_id;
-- join.inner
SELECT o.order_id, o.product, p.pay_id, p.amount FROM orders o JOIN payments p ON o.order_id = p.order_id;
-- join.interval_full
SELECT o.order_id, p.pay_id FROM orders o FULL JOIN payments p ON o.order_id = p.order_id AND p.ts >= o.ts AND p.ts < o.ts + INTERVAL '8' SECOND;
-- join.interval_left
SELECT o.order_id, p.pay_id FROM orders o LEFT JOIN payments p ON o.order_id = p.order_id AND p.ts BETWEEN o.ts - INTERVAL '1' SECOND AND o.ts + INTERVAL '5' SECOND;
-- join.interval_residual
SELECT o.order_id, p.pay_id FROM orders o JOIN payments p ON o.order_id = p.order_id AND p.ts > o.ts AND p.ts <= o.ts + INTERVAL '15' SECOND AND p.amount > o.quantity * 20;
-- join.left
SELECT o.order_id, p.pay_id FROM orders o LEFT JOIN payments p ON o.order_id = p.order_id;
-- join.not_exists
SELECT order_id FROM orders o WHERE NOT EXISTS (SELECT 1 FROM payments p WHERE p.order_id = o.order_id);
-- join.null_keys
SELECT a.order_id x, b.order_id y FROM (SELECT * FROM orders WHERE order_id < 60) a LEFT JOIN (SELECT * FROM orders WHERE order_id >= 340) b ON a.customer = b.customer;
-- join.on_aggregates
SELECT a.customer, a.n, b.q FROM (SELECT customer, COUNT(*) n FROM orders GROUP BY customer) a JOIN (SELECT customer, SUM(quantity) q FROM orders WHERE rush GROUP BY customer) b ON a.customer = b.customer;
-- join.right
SELECT o.order_id, p.pay_id, p.order_id po FROM orders o RIGHT JOIN payments p ON o.order_id = p.order_id;
-- join.temporal_inner
SELECT s.sale_id, s.currency, r.rate, s.amount * r.rate v FROM sales s JOIN rates FOR SYSTEM_TIME AS OF s.ts AS r ON s.currency = r.currency;
-- join.temporal_then_window
WITH x AS (SELECT s.ts, s.currency, s.amount * r.rate v FROM sales s JOIN rates FOR SYSTEM_TIME AS OF s.ts AS r ON s.currency = r.currency) SELECT currency, window_start, SUM(v) v FROM TABLE(TUMBLE(TABLE x, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY currency, window_start, window_end;
-- join.three_way
SELECT o.order_id, p.pay_id, s.sale_id FROM orders o JOIN payments p ON o.order_id = p.order_id JOIN sales s ON s.sale_id = o.order_id WHERE p.`method` <> 'cash';
-- nexmark.q0
SELECT auction, bidder, price, ts FROM bids;
-- nexmark.q1
SELECT auction, bidder, 0.908 * price AS euros, ts FROM bids;
-- nexmark.q11
SELECT bidder, COUNT(*) AS n, SESSION_START(ts, INTERVAL '10' SECOND) AS s, SESSION_END(ts, INTERVAL '10' SECOND) AS e FROM bids GROUP BY bidder, SESSION(ts, INTERVAL '10' SECOND);
-- nexmark.q11_tvf
SELECT bidder, COUNT(*) AS n, window_start, window_end FROM TABLE(SESSION(TABLE bids PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end;
-- nexmark.q12_event_time
SELECT bidder, COUNT(*) AS n, window_start, window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end;
-- nexmark.q14
SELECT auction, bidder, 0.908 * price AS euros, CASE WHEN HOUR(ts) >= 8 AND HOUR(ts) <= 18 THEN 'day' WHEN HOUR(ts) <= 6 OR HOUR(ts) >= 20 THEN 'night' ELSE 'other' END AS part,
  CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', '')) AS cs FROM bids WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;
-- nexmark.q15
SELECT DATE_FORMAT(ts, 'yyyy-MM-dd') AS d, COUNT(*) AS n, COUNT(*) FILTER (WHERE price < 10000) AS low_n, COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS mid_n, COUNT(*) FILTER (WHERE price >= 1000000) AS high_n, COUNT(DISTINCT bidder) AS bidders, COUNT(DISTINCT bidder) FILTER (WHERE price < 10000) AS low_bidders, COUNT(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS mid_bidders, COUNT(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS high_bidders, COUNT(DISTINCT auction) AS aucs, COUNT(DISTINCT auction) FILTER (WHERE price < 10000) AS low_aucs, COUNT(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS mid_aucs, COUNT(DISTINCT auction) FILTER (WHERE price >= 1000000) AS high_aucs FROM bids GROUP BY DATE_FORMAT(ts, 'yyyy-MM-dd');
-- nexmark.q16
SELECT channel, DATE_FORMAT(ts, 'yyyy-MM-dd') AS d, MAX(DATE_FORMAT(ts, 'HH:mm')) AS latest, COUNT(*) AS n, COUNT(*) FILTER (WHERE price < 10000) AS low_n, COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS mid_n, COUNT(*) FILTER (WHERE price >= 1000000) AS high_n, COUNT(DISTINCT bidder) AS bidders, COUNT(DISTINCT bidder) FILTER (WHERE price < 10000) AS low_bidders, COUNT(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS mid_bidders, COUNT(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS high_bidders, COUNT(DISTINCT auction) AS aucs, COUNT(DISTINCT auction) FILTER (WHERE price < 10000) AS low_aucs, COUNT(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS mid_aucs, COUNT(DISTINCT auction) FILTER (WHERE price >= 1000000) AS high_aucs FROM bids GROUP BY channel, DATE_FORMAT(ts, 'yyyy-MM-dd');
-- nexmark.q17
SELECT auction, DATE_FORMAT(ts, 'yyyy-MM-dd') AS d, COUNT(*) AS n, COUNT(*) FILTER (WHERE price < 10000) AS low_n, COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS mid_n, COUNT(*) FILTER (WHERE price >= 1000000) AS high_n, MIN(price) AS lo, MAX(price) AS hi, AVG(price) AS mean, SUM(price) AS total FROM bids GROUP BY auction, DATE_FORMAT(ts, 'yyyy-MM-dd');
-- nexmark.q18
SELECT auction, bidder, price, channel, url, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY ts DESC) AS place FROM bids) WHERE place <= 1;
-- nexmark.q19
SELECT auction, bidder, price, ts, place FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM bids) WHERE place <= 10;
-- nexmark.q2
SELECT auction, price FROM bids WHERE MOD(auction, 123) = 0;
-- nexmark.q20
SELECT b.auction, b.bidder, b.price, b.ts, a.item, a.initial_bid, a.reserve, a.expires, a.seller, a.category FROM bids b JOIN auctions a ON b.auction = a.id WHERE a.category = 10;
-- nexmark.q21
SELECT auction, bidder, price, channel, CASE WHEN LOWER(channel) = 'apple' THEN '0' WHEN LOWER(channel) = 'google' THEN '1' WHEN LOWER(channel) = 'facebook' THEN '2' WHEN LOWER(channel) = 'baidu' THEN '3'
  ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id FROM bids WHERE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) IS NOT NULL OR LOWER(channel) IN ('apple', 'google', 'facebook', 'baidu');
-- nexmark.q22
SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS d1, SPLIT_INDEX(url, '/', 4) AS d2, SPLIT_INDEX(url, '/', 5) AS d3 FROM bids;
-- nexmark.q3
SELECT p.name, p.city, p.state, a.id FROM auctions a JOIN people p ON a.seller = p.id WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
-- nexmark.q4
SELECT category, AVG(best) AS average_close FROM (
  SELECT a.id, a.category, MAX(b.price) AS best FROM auctions a JOIN bids b ON a.id = b.auction AND b.ts BETWEEN a.ts AND a.expires GROUP BY a.id, a.category)
GROUP BY category;
-- nexmark.q5
WITH counts AS (
  SELECT auction, COUNT(*) AS n, window_start, window_end FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end),
busiest AS (SELECT MAX(n) AS top, window_start, window_end FROM counts GROUP BY window_start, window_end)
SELECT c.auction, c.n, c.window_start FROM counts c JOIN busiest m ON c.window_start = m.window_start AND c.window_end = m.window_end AND c.n >= m.top;
-- nexmark.q7
SELECT b.auction, b.price, b.bidder, b.ts FROM bids b JOIN (
  SELECT MAX(price) AS top, window_end AS until FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end) m
ON b.price = m.top WHERE b.ts BETWEEN m.until - INTERVAL '10' SECOND AND m.until;
-- nexmark.q8
SELECT p.id, p.name, p.window_start FROM (
  SELECT id, name, window_start, window_end FROM TABLE(TUMBLE(TABLE people, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY id, name, window_start, window_end) p JOIN (
  SELECT seller, window_start, window_end FROM TABLE(TUMBLE(TABLE auctions, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY seller, window_start, window_end) a
ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end;
-- nexmark.q9
SELECT id, item, seller, category, auction, bidder, price, bid_at FROM (
  SELECT a.id, a.item, a.seller, a.category, b.auction, b.bidder, b.price, b.ts AS bid_at, ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.ts ASC) AS place
  FROM auctions a JOIN bids b ON a.id = b.auction WHERE b.ts BETWEEN a.ts AND a.expires) WHERE place <= 1;
-- over.lag
SELECT symbol, price, LAG(price, 2) OVER (PARTITION BY symbol ORDER BY ts) l FROM ticks;
-- over.range_interval
SELECT symbol, price, AVG(price) OVER w a, MAX(price) OVER w m, COUNT(*) OVER w n FROM ticks WINDOW w AS (PARTITION BY symbol ORDER BY ts RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW);
-- over.unbounded
SELECT symbol, price, SUM(volume) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) s FROM ticks;
-- rank.dedup_first
SELECT customer, order_id, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY customer ORDER BY ts ASC) rn FROM orders) WHERE rn = 1;
-- rank.nulls_last
SELECT product, order_id, quantity, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY product ORDER BY quantity DESC NULLS LAST, order_id) rn FROM orders) WHERE rn <= 2;
-- rank.nulls_order
SELECT product, order_id, quantity, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY product ORDER BY quantity ASC, order_id DESC) rn FROM orders) WHERE rn <= 4;
-- rank.over_sum_can_fall
SELECT rush, customer, q FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY rush ORDER BY q DESC, customer) rn FROM (SELECT rush, customer, SUM(quantity) q FROM orders GROUP BY rush, customer)) WHERE rn <= 2;
-- rank.range_2_4
SELECT product, order_id, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY product ORDER BY price, order_id) rn FROM orders) WHERE rn BETWEEN 2 AND 4;
-- rank.top3_no_rank_number
SELECT product, order_id, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY product ORDER BY price DESC, order_id) rn FROM orders) WHERE rn <= 3;
-- scalar.bits
SELECT id, i + 0 AS c0, l IS NULL AS c1, UUID() IS NOT NULL AS c2, TYPEOF(i) AS c3, TYPEOF(ARRAY[1]) AS c4, CAST(RAND(5) < 1 AS BOOLEAN) AS c5 FROM docs;
-- scalar.collections
SELECT id, ARRAY[1, i, 3][2] AS c0, CARDINALITY(ARRAY[i, i]) AS c1, MAP['k', s]['k'] AS c2, CARDINALITY(MAP['a', 1, 'b', 2]) AS c3, ARRAY_CONTAINS(ARRAY[1, 7, 42], i) AS c4, ROW(i, s) AS c5, ARRAY_DISTINCT(ARRAY[1, 1, 2]) AS c6, ARRAY_CONCAT(ARRAY[1], ARRAY[i]) AS c7, ARRAY_POSITION(ARRAY['a','b'], 'b') AS c8, ARRAY_REVERSE(ARRAY[1,2,3]) AS c9, MAP_KEYS(MAP['a', 1]) AS c10, ARRAY_JOIN(ARRAY['a', s], '+') AS c11, ARRAY_MAX(ARRAY[3, i, 5]) AS c12, ELEMENT(ARRAY[i]) AS c13, ARRAY_SORT(ARRAY[3, 1, 2]) AS c14 FROM docs;
-- scalar.compare
SELECT id, i = 7 AS c0, i <> 7 AS c1, i > l AS c2, s = t AS c3, s < t AS c4, i BETWEEN -1 AND 42 AS c5, i IN (1, 42, NULL) AS c6, i NOT IN (1, 2) AS c7, i IS DISTINCT FROM 7 AS c8, b AND i > 0 AS c9, b OR i > 0 AS c10, NOT b AS c11, b IS NOT TRUE AS c12, b IS UNKNOWN AS c13, d = 0.1 AS c14 FROM docs;
-- scalar.decimal
SELECT id, `dec` + 1 AS c0, `dec` * `dec` AS c1, `dec` / 3 AS c2, `dec` - 0.005 AS c3, ROUND(`dec`, 1) AS c4, CAST(`dec` AS INT) AS c5, CAST(`dec` AS STRING) AS c6, CAST(`dec` AS DOUBLE) AS c7, CEIL(`dec`) AS c8, FLOOR(`dec`) AS c9, MOD(`dec`, 2) AS c10, CAST(1.5 AS DECIMAL(5,1)) * i AS c11, 0.908 * l AS c12 FROM docs;
-- scalar.json_build
SELECT id, JSON_OBJECT('a' VALUE i, 'b' VALUE b) AS c0, JSON_ARRAY(i, b, 'x') AS c1, JSON_STRING(i) AS c2 FROM docs;
-- scalar.math2
SELECT id, CAST(SQRT(ABS(d)) AS DECIMAL(20,6)) AS c0, CAST(POWER(2, 10) AS BIGINT) AS c1, CAST(EXP(1) AS DECIMAL(10,6)) AS c2, CAST(LN(10) AS DECIMAL(10,6)) AS c3, CAST(LOG10(1000) AS INT) AS c4, CAST(LOG(2, 8) AS DECIMAL(10,6)) AS c5, CAST(PI() AS DECIMAL(10,6)) AS c6, GREATEST(i, 3, 5) AS c7, LEAST(i, 3, 5) AS c8, BIN(7) AS c9, CAST(ATAN2(1.0, 2.0) AS DECIMAL(10,6)) AS c10 FROM docs;
-- scalar.string1
SELECT id, UPPER(s) AS c0, LOWER(s) AS c1, CHAR_LENGTH(s) AS c2, TRIM(s) AS c3, LTRIM(s) AS c4, RTRIM(s) AS c5, SUBSTRING(s, 2, 3) AS c6, SUBSTR(s, -3) AS c7, REVERSE(s) AS c8, INITCAP(s) AS c9 FROM docs;
-- scalar.string3
SELECT id, SPLIT_INDEX(s, ',', 2) AS c0, LEFT(s, 3) AS c1, RIGHT(s, 3) AS c2, INSTR(s, 'l') AS c3, ASCII(s) AS c4, REGEXP_REPLACE(s, '[0-9]+', '#') AS c5, REGEXP_EXTRACT(s, '([a-z]+)([0-9]*)', 1) AS c6, REGEXP(s, '^[A-Z]') AS c7, s LIKE '%o%' AS c8, s LIKE 'h%' OR s LIKE '_' AS c9, s SIMILAR TO '[a-c]+' AS c10 FROM docs;
-- scalar.string4
SELECT id, MD5(s) AS c0, SHA1(s) AS c1, SHA256(s) AS c2, TO_BASE64(s) AS c3, FROM_BASE64(TO_BASE64(s)) AS c4, HEX(s) AS c5, CHR(65 + id) AS c6, HEX(i) AS c7, STR_TO_MAP('a=1,b=2')['b'] AS c8, TRANSLATE(s, 'abc', 'xyz') AS c9, ELT(2, s, t) AS c10 FROM docs;
-- scalar.time2
SELECT id, ts + INTERVAL '1' DAY AS c0, ts - INTERVAL '90' MINUTE AS c1, ts + INTERVAL '1' MONTH AS c2, TIMESTAMPADD(HOUR, 5, ts) AS c3, TIMESTAMPDIFF(DAY, TIMESTAMP '2026-03-01 00:00:00', ts) AS c4, TIMESTAMPDIFF(HOUR, ts, TIMESTAMP '2026-03-10 00:00:00') AS c5, FLOOR(ts TO HOUR) AS c6, FLOOR(ts TO DAY) AS c7, CEIL(ts TO DAY) AS c8, FLOOR(ts TO MONTH) AS c9, ts > TIMESTAMP '2026-03-05 00:00:00' AS c10, ts BETWEEN TIMESTAMP '2026-03-02 00:00:00' AND TIMESTAMP '2026-03-04 00:00:00' AS c11 FROM docs;
-- scalar.time3
SELECT id, DATE_FORMAT(ts, 'yyyy/MM/dd HH:mm:ss.SSS') AS c0, DATE_FORMAT(ts, 'EEE d MMM yy') AS c1, DATE_FORMAT('2026-03-01 12:00:00', 'HH') AS c2, TO_TIMESTAMP('2026-03-01 01:02:03') AS c3, TO_TIMESTAMP('01/03/2026 05', 'dd/MM/yyyy HH') AS c4, TO_DATE('2026-12-31') AS c5, UNIX_TIMESTAMP('1970-01-02 00:00:00') AS c6, FROM_UNIXTIME(86400) AS c7, TO_TIMESTAMP_LTZ(1772323200123, 3) AS c8, DATE '2026-03-01' + INTERVAL '40' DAY AS c9, TIME '12:30:00' AS c10, CONVERT_TZ('2026-03-01 00:00:00', 'UTC', 'America/Los_Angeles') AS c11 FROM docs;
-- set.except
SELECT order_id FROM orders WHERE order_id < 80 EXCEPT SELECT order_id FROM payments;
-- set.intersect
SELECT order_id FROM orders WHERE order_id < 50 INTERSECT SELECT order_id FROM payments;
-- set.union
SELECT order_id FROM orders WHERE order_id < 20 UNION SELECT order_id FROM payments WHERE order_id < 25;
-- set.union_all
SELECT order_id, CAST(ts AS DATE) d FROM orders WHERE order_id < 5 UNION ALL SELECT order_id, CAST(ts AS DATE) FROM payments WHERE order_id < 5;
-- set.view_and_cte
WITH big AS (SELECT * FROM orders WHERE quantity > 5), few AS (SELECT product, COUNT(*) n FROM big GROUP BY product) SELECT b.order_id, f.n FROM big b JOIN few f ON b.product = f.product WHERE f.n < 20;
-- window.cascade_same_window
WITH a AS (SELECT window_start, window_end, product, COUNT(*) n FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, product) SELECT window_start, window_end, MAX(n) m, COUNT(*) k FROM a GROUP BY window_start, window_end;
-- window.day_calendar
SELECT window_start, window_end, COUNT(*) n, COUNT(s) m FROM TABLE(TUMBLE(TABLE docs, DESCRIPTOR(ts), INTERVAL '7' DAY)) GROUP BY window_start, window_end;
-- window.dedup_last
SELECT window_start, customer, order_id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, customer ORDER BY ts DESC) rn FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '5' MINUTE))) WHERE rn = 1 AND customer = 3;
-- window.grouping_sets
SELECT window_start, product, rush, COUNT(*) n FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) GROUP BY window_start, window_end, GROUPING SETS ((product), (rush), ());
-- window.hop_by_key
SELECT customer, window_start, window_end, COUNT(*) n, SUM(quantity) q FROM TABLE(HOP(TABLE orders, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '2' MINUTE)) GROUP BY customer, window_start, window_end;
-- window.join_anti
SELECT order_id, window_start FROM (SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '30' SECOND))) o WHERE NOT EXISTS (SELECT 1 FROM (SELECT * FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(ts), INTERVAL '30' SECOND))) p WHERE p.order_id = o.order_id AND o.window_start = p.window_start AND o.window_end = p.window_end);
-- window.join_full
SELECT o.order_id, p.pay_id, COALESCE(o.window_start, p.window_start) w FROM (SELECT * FROM TABLE(HOP(TABLE orders, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '60' SECOND))) o FULL JOIN (SELECT * FROM TABLE(HOP(TABLE payments, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '60' SECOND))) p ON o.order_id = p.order_id AND o.window_start = p.window_start AND o.window_end = p.window_end WHERE COALESCE(o.order_id, p.order_id) BETWEEN 100 AND 160;
-- window.join_left
SELECT o.order_id, p.pay_id, o.window_start FROM (SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '30' SECOND))) o LEFT JOIN (SELECT * FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(ts), INTERVAL '30' SECOND))) p ON o.order_id = p.order_id AND o.window_start = p.window_start AND o.window_end = p.window_end WHERE o.order_id < 100;
-- window.join_semi
SELECT order_id, window_start FROM (SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '30' SECOND))) o WHERE EXISTS (SELECT 1 FROM (SELECT * FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(ts), INTERVAL '30' SECOND))) p WHERE p.order_id = o.order_id AND o.window_start = p.window_start AND o.window_end = p.window_end);
-- window.legacy_session
SELECT user_id, SESSION_START(ts, INTERVAL '10' SECOND) s, SESSION_END(ts, INTERVAL '10' SECOND) e, COUNT(*) n FROM clicks GROUP BY user_id, SESSION(ts, INTERVAL '10' SECOND);
-- window.legacy_tumble
SELECT TUMBLE_START(ts, INTERVAL '1' MINUTE) s, TUMBLE_END(ts, INTERVAL '1' MINUTE) e, product, COUNT(*) n FROM orders GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), product;
-- window.rowtime_chain
WITH a AS (SELECT window_time AS ts, product, SUM(quantity) q FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end, window_time, product) SELECT window_start, COUNT(*) n, SUM(q) q FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY window_start, window_end;
-- window.session_by_user
SELECT user_id, window_start, window_end, COUNT(*) n, SUM(dwell) s FROM TABLE(SESSION(TABLE clicks PARTITION BY user_id, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY user_id, window_start, window_end;
-- window.topn
SELECT window_start, product, q, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY q DESC, product) rn FROM (SELECT window_start, window_end, product, SUM(quantity) q FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY window_start, window_end, product)) WHERE rn <= 2;
-- window.topn_on_tvf
SELECT window_start, order_id, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY price DESC, order_id) rn FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '3' MINUTE))) WHERE rn <= 3;
-- window.tumble_global
SELECT window_start, window_end, COUNT(*) n, SUM(quantity) q FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
-- window.tumble_named_args
SELECT window_start, SUM(dwell) s FROM TABLE(TUMBLE(DATA => TABLE clicks, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '30' SECOND)) GROUP BY window_start, window_end;
-- nexmark.q12
SELECT bidder, COUNT(*) AS n, window_start, window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end;
