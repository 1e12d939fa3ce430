//! Errors: code, place and text.

use super::super::{MAX_CHAIN, parse};
use super::fails;

/// Checks a syntax error.
fn syntax(sql: &str, line: u64, column: u64, message: &str) {
    let (error, at_line, at_column) = fails(sql);
    assert_eq!((error.message.as_str(), at_line, at_column), (message, line, column), "{sql}");
    assert_eq!(error.code, "sql_syntax", "{sql}");
}

/// Checks a refusal; its text contains `hint`.
fn unsupported(sql: &str, column: u64, hint: &str) {
    let (error, line, at) = fails(sql);
    assert_eq!((error.code.as_str(), line, at), ("sql_unsupported", 1, column), "{sql}: {error}");
    assert!(error.message.contains(hint), "{sql}: {error}");
}

#[test]
fn mistakes_in_queries() {
    syntax("SELECT a FROM t WHERE", 1, 22, "expected an expression, found the end of the text");
    syntax("SELECT a,\n  b c d\nFROM t", 2, 7, "expected `;` or the end of the text, found d");
    syntax("SELECT a FROM", 1, 14, "expected identifier, found the end of the text");
    syntax("SELECT a FROM WHERE x", 1, 15, "expected a table, found WHERE");
    syntax("SELECT a, FROM t", 1, 11, "expected an expression, found FROM");
    syntax("SELECT (a + ) FROM t", 1, 13, "expected an expression, found )");
    syntax("SELECT f(a b) FROM t", 1, 12, "expected `)`, found b");
    syntax("SELECT CAST(CAST(a AS) AS INT) FROM t", 1, 22, "expected a type, found )");
    syntax("SELECT INTERVAL 5 DAY", 1, 17, "expected a string in single quotes, found 5");
    syntax(
        "SELECT INTERVAL '5' FORTNIGHT",
        1,
        21,
        "expected YEAR, MONTH, QUARTER, WEEK, DAY, HOUR, MINUTE, SECOND, found FORTNIGHT",
    );
    syntax("SELECT INTERVAL '5' MINUTE TO HOUR", 1, 31, "expected SECOND, found HOUR");
    syntax("SELECT MAP[1, 2, 3]", 1, 19, "expected a key and its value, found ]");
    syntax("SELECT JSON_VALUE(j, '$' NULL ON NULL) FROM t", 1, 34, "expected EMPTY or ERROR, found NULL");
    syntax("SELECT JSON_OBJECT('a', 1) FROM t", 1, 23, "expected VALUE, found ,");
    syntax("SELECT * FROM t x y z", 1, 19, "expected `;` or the end of the text, found y");
    syntax("SELECT a ILIKE b FROM t", 1, 16, "expected `;` or the end of the text, found b");
    syntax("SELECT EXTRACT(HOUR ts) FROM t", 1, 21, "expected FROM, found ts");
    for (sql, column) in [
        ("SELECT a 'b' FROM t", 10),
        ("SELECT a AS 'b' FROM t", 13),
        ("SELECT 'a' 'b'", 12),
        ("SELECT * FROM t AS 'x'", 20),
    ] {
        syntax(
            sql,
            1,
            column,
            &format!("unexpected {}: a name is written in backticks", &sql[column as usize - 1..][..3]),
        );
    }
}

#[test]
fn mistakes_inside_of_subqueries_keep_their_place() {
    syntax("SELECT * FROM (SELECT a b c FROM t)", 1, 27, "expected `)`, found c");
    syntax(
        "SELECT * FROM x JOIN (SELECT a FROM\n (SELECT b WHERE) AS i) AS o ON TRUE",
        2,
        17,
        "expected an expression, found )",
    );
    syntax("SELECT * FROM x, (SELECT CAST(a AS NOTHING) FROM t)", 1, 36, "expected a type, found NOTHING");
    syntax("SELECT * FROM t WHERE a IN (SELECT b c d FROM u)", 1, 40, "expected `)`, found d");
    syntax(
        "SELECT * FROM TABLE(TUMBLE(DATA => TABLE t, SIZE => INTERVAL 1 DAY))",
        1,
        62,
        "expected a string in single quotes, found 1",
    );
    syntax("INSERT INTO s SELECT * FROM (VALUES (1, ))", 1, 41, "expected an expression, found )");
}

#[test]
fn tokens_that_flink_has_not() {
    syntax("SELECT \"a\" FROM t", 1, 8, "double quotes are not used: write `a` for a name, or 'a' for a string");
    syntax("SELECT a FROM t WHERE a\n != 1", 2, 2, "`!=` is not an operator: write `<>`");
    syntax("SELECT a::INT FROM t", 1, 9, "`::` is not an operator: write CAST(… AS type)");
    syntax("SELECT a == 1", 1, 10, "`==` is not an operator: write `=`");
    syntax("SELECT ?", 1, 8, "expected an expression, found ?");
    syntax("SELECT a << 2 FROM t", 1, 10, "unexpected <<");
    syntax("SELECT [1, 2]", 1, 8, "expected an expression, found [");
    syntax("SELECT 'a", 1, 8, "unterminated string literal");
    syntax("SELECT 1;\n/* a", 2, 5, "unexpected EOF while in a multi-line comment");
    syntax("SELECT E'a'", 1, 9, "unexpected 'a': a name is written in backticks");
    // The first mistake counts.
    syntax("SELECT FROM t WHERE \"a\" = 1", 1, 8, "expected an expression, found FROM");
}

#[test]
fn mistakes_in_statements() {
    syntax("SELEC 1", 1, 1, "expected a statement, found SELEC");
    syntax("SELECT 1 SELECT 2", 1, 10, "expected `;` or the end of the text, found SELECT");
    syntax("CREATE TABEL t (a INT)", 1, 8, "expected TABLE, VIEW or TEMPORARY, found TABEL");
    syntax("CREATE TABLE t (a INT,)", 1, 23, "expected a name, found )");
    syntax("CREATE TABLE t (a INT b INT)", 1, 23, "expected `)`, found b");
    syntax("CREATE TABLE t (a INT, a STRING)", 1, 24, "the column a is defined twice");
    syntax("CREATE TABLE t (a INT) WITH ('k' 'v')", 1, 34, "expected `=`, found 'v'");
    syntax("CREATE TABLE t (a INT) WITH (\n'k'='v',\n 'k'='w')", 3, 2, "the option 'k' is given twice");
    syntax("CREATE TABLE t (a INT) WITH ('k' = 1)", 1, 36, "expected a string in single quotes, found 1");
    syntax(
        "CREATE TABLE t (a INT PRIMARY KEY NOT ENFORCED, PRIMARY KEY (a) NOT ENFORCED)",
        1,
        49,
        "the table has a primary key already",
    );
    syntax("CREATE TABLE t (a INT, PRIMARY KEY (a, a) NOT ENFORCED)", 1, 40, "the primary key names a twice");
    syntax("CREATE VIEW v SELECT 1", 1, 15, "expected AS, found SELECT");
    syntax("CREATE VIEW v AS INSERT INTO t SELECT 1", 1, 18, "expected SELECT, WITH or VALUES, found INSERT");
    syntax(
        "INSERT INTO t (a, b) (c) SELECT 1",
        1,
        23,
        "expected SELECT, VALUES, or a subquery in the query body, found c",
    );
    syntax("INSERT t SELECT 1", 1, 8, "expected INTO, found t");
    syntax("SET k = 'v'", 1, 5, "expected a key in single quotes, as in SET 'key' = 'value', found k");
    syntax("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1 END", 1, 52, "expected `;`, found END");
    syntax("EXECUTE STATEMENT SET BEGIN SELECT 1; END", 1, 29, "expected INSERT or END, found SELECT");
    syntax("BEGIN STATEMENT SET; INSERT INTO a SELECT 1;", 1, 45, "expected INSERT or END, found the end of the text");
    syntax("EXPLAIN EXPLAIN SELECT 1", 1, 9, "EXPLAIN cannot explain itself");
    syntax("DROP VIEW IF NOT v", 1, 14, "expected `;` or the end of the text, found NOT");
}

#[test]
fn what_holdfast_has_not_is_refused() {
    for word in super::super::statement::REFUSED {
        unsupported(&format!("{} x y", word.0), 1, word.1);
    }
    unsupported("CREATE CATALOG c WITH ('type' = 'jdbc')", 1, "one catalog");
    unsupported("CREATE DATABASE d", 1, "one catalog");
    unsupported("CREATE TEMPORARY SYSTEM FUNCTION f AS 'a.B'", 1, "built in");
    unsupported("CREATE FUNCTION f AS 'a.B'", 1, "built in");
    unsupported("CREATE OR REPLACE TABLE t (a INT)", 8, "DROP and CREATE");
    unsupported("CREATE MATERIALIZED TABLE t AS SELECT 1", 1, "CREATE TABLE and INSERT INTO");
    unsupported("CREATE TABLE t AS SELECT 1", 16, "then INSERT INTO");
    unsupported("CREATE TABLE t WITH ('a' = 'b') AS SELECT 1", 33, "then INSERT INTO");
    unsupported("CREATE TABLE t (a INT) DISTRIBUTED BY (a)", 24, "leave the clause out");
    unsupported("CREATE TABLE t (a INT PRIMARY KEY)", 34, "NOT ENFORCED");
    unsupported("CREATE TABLE t (a INT, PRIMARY KEY (a))", 39, "NOT ENFORCED");
    unsupported("CREATE TABLE t (a INT, PRIMARY KEY (a) ENFORCED)", 40, "NOT ENFORCED");
    unsupported("CREATE TABLE t (a INT, UNIQUE (a))", 24, "PRIMARY KEY");
    unsupported("CREATE TABLE t (a INT DEFAULT 1)", 23, "COALESCE");
    unsupported("CREATE TABLE t (a TIMESTAMP, WATERMARK FOR a AS a, WATERMARK FOR a AS a)", 52, "only one");
    unsupported("CREATE TABLE t (a ROW<b TIMESTAMP>, WATERMARK FOR a.b AS a.b)", 51, "computed column");
    unsupported("CREATE TABLE t (a INT) LIKE b (EXCLUDING ALL)", 32, "default of LIKE");
    unsupported("CREATE TABLE t (a INT) LIKE b (INCLUDING ALL)", 32, "default of LIKE");
    unsupported("DROP FUNCTION f", 1, "only tables and views");
    unsupported("DROP TEMPORARY SYSTEM FUNCTION f", 1, "only tables and views");
    unsupported("INSERT OVERWRITE t SELECT 1", 8, "INSERT INTO");
    unsupported("INSERT INTO t PARTITION (a = 1) SELECT 1", 15, "PARTITION");
    unsupported("SET", 1, "SET 'key' = 'value'");
    unsupported("EXPLAIN CHANGELOG_MODE SELECT 1", 9, "EXPLAIN and the statement");
    unsupported("EXECUTE PLAN 'x'", 1, "EXECUTE PLAN");
}

#[test]
fn other_databases_are_refused() {
    for (sql, column) in [
        ("SELECT * FROM c.d.t", 15),
        ("SELECT * FROM a, d.t", 18),
        ("SELECT * FROM a JOIN `d`.t ON TRUE", 22),
        ("SELECT * FROM (SELECT * FROM d.t)", 30),
        ("SELECT * FROM (a JOIN d.t ON TRUE)", 23),
        ("SELECT (SELECT MAX(x) FROM d.t) FROM t", 28),
        ("SELECT * FROM TABLE(TUMBLE(TABLE d.t, DESCRIPTOR(x), INTERVAL '1' DAY))", 34),
        ("INSERT INTO d.t SELECT 1", 13),
        ("CREATE TABLE default_catalog.t (a INT)", 14),
        ("DROP TABLE Default_Database.t", 12),
    ] {
        unsupported(sql, column, "default_database");
    }
}

#[test]
fn hints_are_never_dropped() {
    unsupported("SELECT * FROM t /*+ STATE_TTL('a' = 'b') */", 21, "only the hint OPTIONS");
    unsupported("INSERT INTO t /*+ OPTIONS('a' = 'b') */ SELECT 1", 15, "after SELECT");
    unsupported(
        "SELECT * FROM TABLE(TUMBLE(TABLE t /*+ OPTIONS('a'='b') */, DESCRIPTOR(x), INTERVAL '1' DAY))",
        36,
        "after SELECT",
    );
    unsupported("SELECT a /*+ X */ FROM t", 10, "after SELECT");
    syntax("SELECT * FROM t /*+ OPTIONS('a' = b) */", 1, 35, "expected an option's value in single quotes, found b");
    syntax("SELECT * FROM t /*+ OPTIONS('a'='b',\n'a'='c') */", 2, 1, "the option 'a' is given twice");
    syntax("SELECT * FROM t /*+ OPTIONS('a'='b' */", 1, 36, "expected `,` or `)`, found the end of the hint");
    syntax("SELECT * FROM t /*+ */", 1, 17, "expected OPTIONS('key' = 'value'), found the end of the hint");
}

#[test]
fn deep_nesting_is_refused_at_its_place() {
    let deep = 100_000;
    let nested =
        |open: &str, middle: &str, close: &str| format!("SELECT {}{middle}{}", open.repeat(deep), close.repeat(deep));
    for sql in [
        nested("(", "1", ")"),
        nested("f(", "1", ")"),
        nested("CAST(", "1", " AS INT)"),
        nested("ARRAY[", "1", "]"),
        nested("CASE WHEN ", "1", " END"),
        nested("NOT ", "a", ""),
        nested("- ", "1", ""),
        nested("a.", "a", ""),
        nested("(SELECT ", "1", ")"),
        nested("* FROM (SELECT ", "* FROM t", ")"),
        nested("ARRAY<", "INT", ">"),
        nested("CASE ", "", ""),
        nested("CAST(x AS ", "", ""),
        nested("POSITION(", "", ""),
        nested("JSON_OBJECT(", "", ""),
        nested("* FROM (", "t", ")"),
        nested("EXISTS (SELECT ", "", ""),
        format!("SELECT CAST(x AS {}INT{})", "ARRAY<".repeat(deep), ">".repeat(deep)),
        format!("CREATE TABLE t (a {}INT)", "ROW<b ".repeat(deep)),
        format!("CREATE TABLE t (a INT{})", " ARRAY".repeat(deep)),
        format!("EXPLAIN {} SELECT 1", "EXPLAIN ".repeat(deep)),
        format!("SELECT * FROM t MATCH_RECOGNIZE (PATTERN ({}", "(a ".repeat(deep)),
        format!("SELECT * FROM t MATCH_RECOGNIZE (PATTERN ({}", "a | ".repeat(deep)),
    ] {
        let (error, line, _) = fails(&sql);
        assert_eq!((error.code.as_str(), line), ("sql_syntax", 1), "{error}");
    }
    // As deep as is allowed.
    assert!(parse(&format!("SELECT {}1{}", "(".repeat(90), ")".repeat(90))).is_ok());
    let (error, _, column) = fails(&format!("SELECT {}1{}", "(".repeat(101), ")".repeat(101)));
    assert_eq!(
        (error.message.as_str(), column),
        ("the statement nests deeper than 100 levels: split it with views", 108)
    );
}

#[test]
fn long_chains_are_refused_but_long_lists_are_not() {
    for (operator, long) in [(" AND ", "a"), (" + ", "1"), (" || ", "'a'")] {
        let chain = |n: usize| format!("SELECT {}{long}", format!("{long}{operator}").repeat(n));
        assert!(parse(&chain(MAX_CHAIN)).is_ok());
        let (error, ..) = fails(&chain(MAX_CHAIN * 200));
        assert_eq!(error.message, "more than 500 operators follow each other: group them with parentheses");
    }
    let (error, ..) = fails(&format!("SELECT a{}", " IS NULL".repeat(100_000)));
    assert!(error.message.starts_with("more than 500 operators"), "{error}");
    let (error, ..) = fails(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(10_000)));
    assert!(error.message.contains("more than 500 set operators"), "{error}");
    assert!(parse(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(500))).is_ok());
    assert!(parse(&format!("SELECT x IN (1{})", ", 2".repeat(20_000))).is_ok());
    assert!(parse(&"SELECT a AND b OR c;".repeat(1_000)).is_ok());
}

#[test]
fn broken_nested_forms_take_linear_time() {
    // Each of these would be tried twice at each level: 2^60 steps.
    for (open, close) in [
        ("CAST(", " AS INT)"),
        ("FLOOR(", ")"),
        ("SUBSTRING(", ", 1)"),
        ("POSITION('a' IN ", ")"),
        ("TRIM(", ")"),
        ("CASE WHEN ", " THEN 1 END"),
        ("EXTRACT(DAY FROM ", ")"),
        ("ARRAY[", "]"),
        ("TUMBLE(a => ", ")"),
        ("f(a => ", ")"),
        ("f(", ")"),
        ("x.f(", ")"),
        ("a IN (", ")"),
        ("EXISTS (SELECT * FROM (SELECT ", "))"),
    ] {
        let (error, ..) = fails(&format!("SELECT {}1 2{}", open.repeat(25), close.repeat(25)));
        assert_eq!(error.code, "sql_syntax");
    }
    let (error, ..) = fails(&format!("SELECT * FROM {}t x y{}", "(".repeat(60), ")".repeat(60)));
    assert_eq!(error.code, "sql_syntax");
    let (error, ..) = fails(&format!("SELECT * FROM {}t JOIN{}", "(t JOIN ".repeat(25), " ON TRUE)".repeat(25)));
    assert_eq!(error.code, "sql_syntax");
}

#[test]
fn ambiguous_parentheses_take_linear_time() {
    for (open, close) in [
        ("SELECT * FROM ((((", "))))"),
        ("SELECT a FROM t WHERE a IN (((", ")))"),
        ("SELECT * FROM (t JOIN (", ")"),
        ("SELECT * FROM ((", ") x JOIN t)"),
        ("SELECT * FROM (((", ") UNION SELECT 1) UNION SELECT 1)"),
    ] {
        let (error, ..) = fails(&format!("{}SELECT 1 2{}", open.repeat(30), close.repeat(30)));
        assert_eq!(error.code, "sql_syntax");
        let (error, ..) = fails(&open.repeat(30));
        assert_eq!(error.code, "sql_syntax");
    }
    let nested = |n: usize| format!("{}SELECT 1{}", "SELECT * FROM ((".repeat(n), ") x JOIN t ON TRUE)".repeat(n));
    assert!(parse(&nested(6)).is_ok());
    syntax(&nested(7), 1, 111, "parentheses around subqueries nest too deep: name the subqueries with WITH");
}
