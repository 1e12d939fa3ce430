//! What is refused, with which code and where.

use super::{job, place_of, query};

#[test]
fn queries_are_refused_at_their_place() {
    let window = "FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
    let table: Vec<(String, &str, (u64, u64), &str)> = vec![
        ("SELECT prize FROM bids".into(), "sql_unknown_column", (1, 8), "did you mean price"),
        ("SELECT b.prize FROM bids b".into(), "sql_unknown_column", (1, 10), "did you mean price"),
        ("SELECT x.price FROM bids b".into(), "sql_unknown_column", (1, 8), "no table or column 'x'"),
        ("SELECT bid.prize FROM events".into(), "sql_unknown_column", (1, 12), "did you mean price"),
        ("SELECT 1 FROM bidz".into(), "sql_unknown_table", (1, 15), "did you mean bids"),
        ("SELECT\n  FLOOBAR(price)\nFROM bids".into(), "sql_unsupported", (2, 3), "no function FLOOBAR"),
        ("SELECT LOWR(channel) FROM bids".into(), "sql_unsupported", (1, 8), "did you mean LOWER"),
        ("SELECT price + channel FROM bids".into(), "sql_type", (1, 8), ""),
        ("SELECT 1 FROM bids WHERE price".into(), "sql_type", (1, 26), "WHERE needs a BOOLEAN"),
        ("SELECT CASE WHEN price > 1 THEN ts ELSE 5 END FROM bids".into(), "sql_type", (1, 8), ""),
        ("SELECT price FROM bids ORDER BY price".into(), "sql_unsupported", (1, 33), "ORDER BY"),
        ("SELECT 1 FROM bids b JOIN orders o".into(), "sql_syntax", (1, 27), "needs ON or USING"),
        (
            "SELECT COUNT(*) FROM bids GROUP BY TUMBLE(price, INTERVAL '1' MINUTE)".into(),
            "sql_type",
            (1, 43),
            "event-time column",
        ),
        (
            "SELECT TUMBLE_START(ts, INTERVAL '2' MINUTE) FROM bids GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)".into(),
            "sql_type",
            (1, 8),
            "must have the arguments",
        ),
        (
            "SELECT HOP_PROCTIME(ts, INTERVAL '2' MINUTE) FROM bids GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)".into(),
            "sql_unsupported",
            (1, 8),
            "processing time",
        ),
        ("SELECT ts FROM bids b JOIN orders o ON TRUE".into(), "sql_ambiguous_column", (1, 8), "b.ts or o.ts"),
        ("SELECT 1 FROM bids JOIN bids ON TRUE".into(), "sql_ambiguous_table", (1, 25), "two tables 'bids'"),
        (
            "SELECT 1 FROM bids WHERE price = 1 OR EXISTS (SELECT 1 FROM orders)".into(),
            "sql_unsupported",
            (1, 47),
            "only in WHERE",
        ),
        ("SELECT (SELECT 1 FROM orders) FROM bids".into(), "sql_unsupported", (1, 9), "scalar subquery"),
        ("SELECT price FROM bids UNION ALL SELECT product FROM orders".into(), "sql_type", (1, 34), "'price'"),
        ("SELECT price FROM bids UNION ALL SELECT 1, 2 FROM orders".into(), "sql_type", (1, 34), "as many columns"),
        (
            "SELECT 1 FROM TABLE(CUMULATE(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' HOUR, INTERVAL '1' HOUR))".into(),
            "sql_type",
            (1, 67),
            "whole multiple",
        ),
        (
            "SELECT 1 FROM TABLE(TUMBLE(TABLE bids PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '1' MINUTE))".into(),
            "sql_unsupported",
            (1, 39),
            "PARTITION BY of TUMBLE",
        ),
        (
            "SELECT ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY price) FROM bids".into(),
            "sql_unsupported",
            (1, 8),
            "ROW_NUMBER without an upper bound",
        ),
        (
            "SELECT 1 FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(price), INTERVAL '1' MINUTE))".into(),
            "sql_type",
            (1, 51),
            "event-time column",
        ),
        (
            "SELECT 1 FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(tz), INTERVAL '1' MINUTE))".into(),
            "sql_unknown_column",
            (1, 51),
            "did you mean ts",
        ),
        (
            "SELECT 1 FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MONTH))".into(),
            "sql_unsupported",
            (1, 65),
            "months",
        ),
        ("SELECT 1 FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts)))".into(), "sql_type", (1, 21), "TUMBLE takes"),
        (
            format!("SELECT product, COUNT(*) {window} GROUP BY window_start, window_end"),
            "sql_type",
            (1, 8),
            "'product' is neither",
        ),
        ("SELECT price, COUNT(*) FROM bids".into(), "sql_type", (1, 8), "'price' is neither"),
        ("SELECT price, COUNT(*) FROM bids GROUP BY 1".into(), "sql_type", (1, 8), "'price' is neither"),
        ("SELECT COUNT(DISTINCT price, bidder) FROM bids".into(), "sql_unsupported", (1, 8), "several columns"),
        ("SELECT GROUPING(price) FROM bids".into(), "sql_type", (1, 8), "need GROUP BY"),
        ("SELECT GROUPING(bidder) FROM bids GROUP BY price".into(), "sql_type", (1, 8), "columns of GROUP BY"),
        ("SELECT LISTAGG(price) FROM bids".into(), "sql_type", (1, 8), "LISTAGG takes a text"),
        ("SELECT LISTAGG(channel, url) FROM bids".into(), "sql_type", (1, 8), "literal text"),
        ("SELECT COUNT(DISTINCT ROW(price, bidder)) FROM bids".into(), "sql_unsupported", (1, 8), "members"),
        (
            "SELECT price FROM bids GROUP BY CUBE(price, bidder, auction, channel, url, extra, ts, 1, 2)".into(),
            "sql_unsupported",
            (1, 38),
            "GROUPING SETS",
        ),
        (
            format!("SELECT SUM(product) {window} GROUP BY window_start, window_end"),
            "sql_type",
            (1, 8),
            "SUM takes numbers",
        ),
        (
            format!("SELECT APPROX_COUNT_DISTINCT(product) {window} GROUP BY window_start, window_end"),
            "sql_unsupported",
            (1, 8),
            "APPROX_COUNT_DISTINCT",
        ),
        (
            format!("SELECT SUM(COUNT(*)) {window} GROUP BY window_start, window_end"),
            "sql_unsupported",
            (1, 12),
            "not inside another",
        ),
        (
            format!("SELECT 1 {window} WHERE COUNT(*) > 1 GROUP BY window_start, window_end"),
            "sql_unsupported",
            (1, 86),
            "not allowed here",
        ),
        ("SELECT 1 FROM bids /*+ OPTIONS('a' = 'b') */".into(), "sql_unsupported", (1, 15), "OPTIONS"),
        ("SELECT INTERVAL '1:2' DAY".into(), "sql_type", (1, 17), "interval"),
        ("SELECT DATE '2026-13-01'".into(), "sql_type", (1, 13), "not of the form"),
    ];
    let mut wrong = Vec::new();
    for (sql, code, (line, column), text) in table {
        let error = match query(&sql) {
            Ok(_) => panic!("{sql} was accepted"),
            Err(e) => e,
        };
        if place_of(&error) != (code.to_owned(), line, column) || !error.message.contains(text) {
            wrong.push(format!("{sql}\n  {:?} {error}", place_of(&error)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn statements_are_refused_at_their_place() {
    let with = "WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json')";
    let table: Vec<(String, &str, (u64, u64), &str)> = vec![
        ("SELECT 1 FROM bids".into(), "no_insert", (1, 1), "INSERT INTO"),
        ("SET 'pipeline.name' = 'x'".into(), "no_insert", (0, 0), "writes no table"),
        ("INSERT INTO pricez SELECT 1, 2".into(), "sql_unknown_table", (1, 13), "did you mean prices"),
        ("INSERT INTO bids SELECT 1".into(), "sql_unsupported", (1, 13), "is a view"),
        ("INSERT INTO prices SELECT 1".into(), "sql_type", (1, 20), "has 1 columns, but 2"),
        (
            "INSERT INTO prices SELECT 'a', 2".into(),
            "sql_type",
            (1, 20),
            "'EXPR$0' CHAR(1) NOT NULL, cannot be written to column 'auction' BIGINT",
        ),
        ("INSERT INTO prices (auction, prize) SELECT 1, 2".into(), "sql_unknown_column", (1, 30), "did you mean price"),
        ("INSERT INTO prices (price, price) SELECT 1, 2".into(), "sql_type", (1, 28), "named twice"),
        ("INSERT INTO `strict` (b) SELECT 'x'".into(), "sql_type", (1, 26), "NOT NULL and must be given"),
        ("INSERT INTO `strict` (a, c) SELECT 1, 2".into(), "sql_unsupported", (1, 26), "computed or virtual"),
        ("INSERT INTO bare SELECT 1".into(), "sql_unknown_table", (1, 13), ""),
        (format!("CREATE TABLE t (a INT, a INT) {with}"), "sql_syntax", (1, 24), "twice"),
        (format!("CREATE TABLE t (product INT) {with} LIKE orders"), "sql_type", (1, 17), "declared twice"),
        (format!("CREATE TABLE orders (a INT) {with}"), "sql_duplicate_table", (1, 14), "exists already"),
        (format!("CREATE TABLE t (a INT, b AS c + 1) {with}"), "sql_unknown_column", (1, 29), "column 'c'"),
        (format!("CREATE TABLE t (a INT, WATERMARK FOR a AS a) {with}"), "sql_type", (1, 38), "must be TIMESTAMP(3)"),
        (
            format!("CREATE TABLE t (a TIMESTAMP(6), WATERMARK FOR a AS a) {with}"),
            "sql_type",
            (1, 47),
            "must be TIMESTAMP(3)",
        ),
        (
            format!("CREATE TABLE t (a TIMESTAMP(3), WATERMARK FOR b AS b) {with}"),
            "sql_unknown_column",
            (1, 47),
            "column 'b'",
        ),
        ("CREATE TABLE t (a INT); INSERT INTO t SELECT 1".into(), "missing_option", (1, 1), "'connector'"),
        ("CREATE TABLE t LIKE orderz".into(), "sql_unknown_table", (1, 21), "did you mean orders"),
        ("CREATE VIEW v AS SELECT nothing FROM bids".into(), "sql_unknown_column", (1, 25), "nothing"),
        ("CREATE VIEW v (a, b) AS SELECT price FROM bids".into(), "sql_type", (1, 1), "names 2 columns"),
        ("DROP TABLE bids".into(), "sql_unknown_table", (1, 12), "DROP VIEW"),
        ("DROP TABLE nothing".into(), "sql_unknown_table", (1, 12), "no table"),
        ("SET 'parallelism.default' = 'many'".into(), "invalid_option", (1, 5), "whole number"),
        ("EXPLAIN INSERT INTO prices SELECT 1, 2".into(), "sql_unsupported", (1, 1), "/sql/check"),
    ];
    let mut wrong = Vec::new();
    for (sql, code, (line, column), text) in table {
        let error = match job(&sql) {
            Ok(_) => panic!("{sql} was accepted"),
            Err(e) => e,
        };
        if place_of(&error) != (code.to_owned(), line, column) || !error.message.contains(text) {
            wrong.push(format!("{sql}\n  {:?} {error}", place_of(&error)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn long_and_deep_queries_do_not_overflow() {
    let many: Vec<String> = (0..400).map(|i| format!("price = {i}")).collect();
    assert!(query(&format!("SELECT price FROM bids WHERE {}", many.join(" OR "))).is_ok());
    let deep = (0..90).fold("SELECT price FROM bids".to_owned(), |inner, _| format!("SELECT price FROM ({inner})"));
    assert!(query(&deep).is_err());
    let mut views = String::from("CREATE VIEW v0 AS SELECT price FROM bids;");
    for i in 1..40 {
        views.push_str(&format!("CREATE VIEW v{i} AS SELECT * FROM v{0} UNION ALL SELECT * FROM v{0};", i - 1));
    }
    let error = query(&format!("{views} SELECT * FROM v39")).unwrap_err();
    assert!(error.message.contains("more than 1000 tables"), "{error}");
}

#[test]
fn a_view_cannot_come_to_refer_to_itself() {
    let sql = "CREATE VIEW a AS SELECT price FROM bids; CREATE VIEW b AS SELECT price FROM a; DROP VIEW a;
        CREATE VIEW a AS SELECT price FROM b; SELECT price FROM a";
    // The first of the two would have to name what is not there yet.
    assert_eq!(query(sql).unwrap_err().code, "sql_unknown_table");
}
