//! Names and types of results, against the answers of Flink (`oracle/expected`, first lines).

use super::{job, query};

fn check(sql: &str, expected: &str) {
    match query(sql) {
        Ok((_, schema)) => {
            let shown: Vec<_> = schema.fields.iter().map(|f| format!("{} {}", f.name, f.data_type)).collect();
            assert_eq!(shown.join(", "), expected, "{sql}");
        }
        Err(e) => panic!("{sql}: {e}"),
    }
}

#[test]
fn results_are_named_and_typed_as_in_flink() {
    for (sql, expected) in [
        ("SELECT auction, price, ts FROM bids", "auction BIGINT, price BIGINT, ts TIMESTAMP(3) *ROWTIME*"),
        (
            "SELECT price, price, 1, price + 1, `bid`.price FROM (SELECT bid, bid.price FROM events)",
            "price BIGINT, price0 BIGINT, EXPR$2 INT NOT NULL, EXPR$3 BIGINT, price1 BIGINT",
        ),
        ("SELECT 0.908 * price AS euros FROM bids", "euros DECIMAL(24, 3)"),
        (
            "SELECT CASE WHEN price > 1 THEN 'day' WHEN price > 0 THEN 'night' ELSE 'other' END AS part FROM bids",
            "part VARCHAR(5) NOT NULL",
        ),
        ("SELECT CASE WHEN price > 1 THEN 'day' END AS part FROM bids", "part CHAR(3)"),
        ("SELECT CASE channel WHEN 'a' THEN 1 ELSE price END AS x FROM bids", "x BIGINT"),
        (
            "SELECT 1, 3000000000, 0.908, .5, 1e3, 'abc', '', TRUE, NULL",
            "EXPR$0 INT NOT NULL, EXPR$1 BIGINT NOT NULL, EXPR$2 DECIMAL(4, 3) NOT NULL, EXPR$3 DECIMAL(1, 1) NOT NULL, EXPR$4 DOUBLE NOT NULL, EXPR$5 CHAR(3) NOT NULL, EXPR$6 CHAR(0) NOT NULL, EXPR$7 BOOLEAN NOT NULL, EXPR$8 NULL",
        ),
        (
            "SELECT DATE '2026-03-01' AS d, TIME '12:30:00' AS t, TIMESTAMP '2026-03-01 00:00:00.123' AS ts",
            "d DATE NOT NULL, t TIME(0) NOT NULL, ts TIMESTAMP(3) NOT NULL",
        ),
        (
            "SELECT i = 7 AS c0, i BETWEEN -1 AND 42 AS c5, i IN (1, 42, NULL) AS c6, i NOT IN (1, 2) AS c7, i IS DISTINCT FROM 7 AS c8, b IS NOT TRUE AS c12, b IS UNKNOWN AS c13 FROM docs",
            "c0 BOOLEAN, c5 BOOLEAN, c6 BOOLEAN, c7 BOOLEAN, c8 BOOLEAN NOT NULL, c12 BOOLEAN NOT NULL, c13 BOOLEAN NOT NULL",
        ),
        (
            "SELECT `dec` + 1 AS c0, `dec` * `dec` AS c1, `dec` / 3 AS c2, `dec` - 0.005 AS c3, CAST(1.5 AS DECIMAL(5,1)) * i AS c11 FROM docs",
            "c0 DECIMAL(13, 2), c1 DECIMAL(25, 4), c2 DECIMAL(23, 13), c3 DECIMAL(14, 3), c11 DECIMAL(16, 1)",
        ),
        (
            "SELECT TRY_CAST(s AS INT) AS a, CAST(s AS INT) AS b, CAST(1 AS BIGINT) AS c FROM docs",
            "a INT, b INT, c BIGINT NOT NULL",
        ),
        (
            "SELECT s LIKE 'h%' AS a, s NOT LIKE 'h%' AS b, s SIMILAR TO '[a-c]+' AS c, s || t AS d FROM docs",
            "a BOOLEAN, b BOOLEAN, c BOOLEAN, d STRING",
        ),
        (
            "SELECT order_id, CAST(ts AS DATE) d FROM orders UNION ALL SELECT order_id, CAST(ts AS DATE) FROM orders",
            "order_id BIGINT, d DATE",
        ),
        ("SELECT i FROM docs UNION ALL SELECT 1 FROM docs UNION ALL SELECT l FROM docs", "i BIGINT"),
        ("SELECT * FROM (VALUES (1, 'a'), (2, 'bcd')) AS t (x, y)", "x INT NOT NULL, y VARCHAR(3) NOT NULL"),
        ("SELECT d.* FROM (SELECT id, s FROM docs) AS d (a, b)", "a INT, b STRING"),
        (
            "SELECT e.bid.*, e.person.name FROM events AS e",
            "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, dateTime TIMESTAMP(3), extra STRING, name STRING",
        ),
        ("WITH a (x) AS (SELECT id FROM docs), b AS (SELECT x AS y FROM a) SELECT y FROM b", "y INT"),
    ] {
        check(sql, expected);
    }
}

#[test]
fn aggregates_are_typed_as_in_flink() {
    let window =
        "FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end";
    for (select, expected) in [
        (
            "window_start, window_end, COUNT(*) n, SUM(quantity) q",
            "window_start TIMESTAMP(3) NOT NULL, window_end TIMESTAMP(3) NOT NULL, n BIGINT NOT NULL, q INT",
        ),
        ("COUNT(product), COUNT(DISTINCT product) d", "EXPR$0 BIGINT NOT NULL, d BIGINT NOT NULL"),
        (
            "SUM(order_id) a, SUM(price) b, AVG(quantity) c, AVG(price) d, SUM(CAST(price AS DOUBLE)) e",
            "a BIGINT, b DECIMAL(38, 2), c INT, d DECIMAL(38, 6), e DOUBLE",
        ),
        (
            "MIN(price) a, MAX(product) b, MIN(ts) c, MAX(rush) d",
            "a DECIMAL(10, 2), b STRING, c TIMESTAMP(3) *ROWTIME*, d BOOLEAN",
        ),
        (
            "SUM(1) a, SUM(1) FILTER (WHERE rush) b, COUNT(*) FILTER (WHERE rush) c",
            "a INT NOT NULL, b INT, c BIGINT NOT NULL",
        ),
        ("SUM(quantity) / COUNT(*) AS r, COUNT(*) + 1 AS m", "r BIGINT, m BIGINT NOT NULL"),
    ] {
        check(&format!("SELECT {select} {window}"), expected);
    }
    check(
        "SELECT * FROM TABLE(TUMBLE(TABLE sensors, DESCRIPTOR(at), INTERVAL '1' HOUR))",
        "id STRING, v DOUBLE, at_ms BIGINT, at TIMESTAMP_LTZ(3) *ROWTIME*, window_start TIMESTAMP(3) NOT NULL, window_end TIMESTAMP(3) NOT NULL, window_time TIMESTAMP_LTZ(3) NOT NULL *ROWTIME*",
    );
    check(
        "SELECT window_time FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, window_time",
        "window_time TIMESTAMP(3) NOT NULL *ROWTIME*",
    );
}

#[test]
fn unbounded_aggregates_are_typed_as_in_flink() {
    for (sql, expected) in [
        (
            "SELECT customer, STDDEV_POP(quantity) a, VARIANCE(quantity) b, STDDEV_SAMP(price) c FROM orders GROUP BY customer",
            "customer INT, a INT, b INT, c DECIMAL(38, 6)",
        ),
        (
            "SELECT i, STDDEV_POP(d) a, VAR_POP(CAST(d AS FLOAT)) b, VAR_SAMP(l) c FROM docs GROUP BY i",
            "i INT, a DOUBLE, b FLOAT, c BIGINT",
        ),
        (
            "SELECT FIRST_VALUE(order_id) a, LAST_VALUE(rush) b, SUM(1) c, COUNT(1) d, FIRST_VALUE('x') e FROM orders",
            "a BIGINT, b BOOLEAN, c INT, d BIGINT NOT NULL, e CHAR(1)",
        ),
        (
            "SELECT customer, COLLECT(product) a, ARRAY_AGG(quantity) b, LISTAGG(product, ';') c FROM orders GROUP BY customer",
            "customer INT, a MULTISET<STRING> NOT NULL, b ARRAY<INT>, c STRING",
        ),
        (
            "SELECT COLLECT(n) a, ARRAY_AGG(n) b FROM (SELECT product, COUNT(*) n FROM orders GROUP BY product)",
            "a MULTISET<BIGINT NOT NULL> NOT NULL, b ARRAY<BIGINT NOT NULL> NOT NULL",
        ),
        (
            "SELECT JSON_OBJECTAGG(KEY product VALUE quantity) a, JSON_ARRAYAGG(price NULL ON NULL) b FROM orders GROUP BY customer",
            "a VARCHAR(2000) NOT NULL, b VARCHAR(2000) NOT NULL",
        ),
        (
            "SELECT product, GROUPING(rush) a, GROUPING_ID(rush, product) b, GROUP_ID() c FROM orders GROUP BY ROLLUP(product, rush)",
            "product STRING, a BIGINT NOT NULL, b BIGINT NOT NULL, c BIGINT NOT NULL",
        ),
        ("SELECT 'x' k, COUNT(*) n FROM orders GROUP BY 'x'", "k CHAR(1) NOT NULL, n BIGINT NOT NULL"),
        ("SELECT DISTINCT product, rush FROM orders", "product STRING, rush BOOLEAN"),
        ("SELECT id FROM docs UNION SELECT l FROM docs", "id BIGINT"),
        ("SELECT id FROM docs INTERSECT ALL SELECT 1", "id INT"),
    ] {
        check(sql, expected);
    }
}

#[test]
fn sinks_get_their_own_types() {
    let planned =
        job("CREATE TABLE t LIKE orders; INSERT INTO t (order_id, ts, price) SELECT 1, ts, 2.5 FROM docs").unwrap();
    let sink = planned.graph.vertices.iter().flat_map(|v| &v.operators).last().unwrap();
    let shown: Vec<_> = sink.output.fields.iter().map(|f| f.data_type.to_string()).collect();
    assert_eq!(shown, ["BIGINT", "INT", "STRING", "INT", "DECIMAL(10, 2)", "BOOLEAN", "TIMESTAMP(3)"]);
    let warned = job("INSERT INTO `strict` SELECT i, s FROM docs").unwrap();
    assert!(warned.warnings.iter().any(|w| w.contains("'a' of 'strict' is NOT NULL")), "{:?}", warned.warnings);
}
