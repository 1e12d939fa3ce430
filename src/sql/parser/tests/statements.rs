//! Statements but queries.

use super::super::parse;
use super::one;
use crate::sql::ast::{ColumnKind, CreateTable, Position, Statement};

fn table(sql: &str) -> CreateTable {
    match one(sql) {
        Statement::CreateTable(table) => *table,
        other => panic!("{sql}: {other:?}"),
    }
}

fn names(identifiers: &[sqlparser::ast::Ident]) -> Vec<&str> {
    identifiers.iter().map(|i| i.value.as_str()).collect()
}

#[test]
fn create_table_has_columns_of_all_kinds() {
    let t = table(
        "CREATE TEMPORARY TABLE IF NOT EXISTS `my table` (
  id BIGINT NOT NULL COMMENT 'the ''id''',
  Cost AS price * qty COMMENT 'computed',
  ts TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL COMMENT 'x',
  `offset` BIGINT METADATA,
  proc AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND,
  CONSTRAINT pk PRIMARY KEY (id, `offset`) NOT ENFORCED
) COMMENT 'a table' PARTITIONED BY (id) WITH ('connector' = 'kafka', 'topic' = 'it''s')",
    );
    assert!(t.if_not_exists);
    assert_eq!(t.name.value, "my table");
    let columns: Vec<String> = t
        .columns
        .iter()
        .map(|c| match &c.kind {
            ColumnKind::Physical(t) => format!("{} {t}", c.name),
            ColumnKind::Computed(e) => format!("{} AS {e}", c.name),
            ColumnKind::Metadata { data_type, key, is_virtual } => format!("{} {data_type} {key} {is_virtual}", c.name),
        })
        .collect();
    assert_eq!(
        columns,
        [
            "id BIGINT NOT NULL",
            "Cost AS price * qty",
            "ts TIMESTAMP(3) timestamp true",
            "`offset` BIGINT offset false",
            "proc AS PROCTIME()",
        ]
    );
    assert_eq!(t.columns[1].position, Position { line: 3, column: 3 });
    let watermark = t.watermark.unwrap();
    assert_eq!(watermark.column.value, "ts");
    assert_eq!(watermark.expr.to_string(), "ts - INTERVAL '5' SECOND");
    assert_eq!(watermark.position, Position { line: 7, column: 3 });
    assert_eq!(names(&t.primary_key), ["id", "offset"]);
    assert_eq!(names(&t.partitioned_by), ["id"]);
    assert_eq!(
        t.options,
        [
            ("connector".into(), "kafka".into(), Position { line: 9, column: 47 }),
            ("topic".into(), "it's".into(), Position { line: 9, column: 70 }),
        ]
    );
}

#[test]
fn create_table_takes_keys_inline() {
    for key in
        ["PRIMARY KEY NOT ENFORCED", "CONSTRAINT k PRIMARY KEY NOT ENFORCED", "PRIMARY KEY NOT ENFORCED COMMENT 'c'"]
    {
        let t = table(&format!("CREATE TABLE t (a INT, id BIGINT {key}, c INT)"));
        assert_eq!(names(&t.primary_key), ["id"], "{key}");
        assert_eq!(t.columns.len(), 3);
    }
}

#[test]
fn create_table_like_takes_the_default_only() {
    for like in
        ["LIKE base", "LIKE base ()", "LIKE base (INCLUDING ALL OVERWRITING OPTIONS)", "LIKE base (INCLUDING METADATA)"]
    {
        let t = table(&format!("CREATE TABLE t (x INT) WITH () {like}"));
        assert_eq!(t.like.unwrap().value, "base");
    }
    assert_eq!(table("CREATE TABLE t LIKE default_catalog.default_database.base").like.unwrap().value, "base");
}

#[test]
fn words_that_look_like_clauses_can_be_columns() {
    let t = table("CREATE TABLE t (key INT, watermark INT, comment STRING, metadata STRING, `primary` INT, top INT)");
    assert_eq!(t.columns.len(), 6);
}

#[test]
fn create_view_has_columns_and_a_query() {
    let sql = "CREATE TEMPORARY VIEW IF NOT EXISTS v (a COMMENT 'x', b) COMMENT 'c' AS SELECT 1, 2";
    let Statement::CreateView(view) = one(sql) else { panic!() };
    assert!(view.if_not_exists);
    assert_eq!((view.name.value.as_str(), names(&view.columns)), ("v", vec!["a", "b"]));
    assert_eq!(view.query.to_string(), "SELECT 1, 2");
    assert!(matches!(one("CREATE VIEW v AS VALUES (1)"), Statement::CreateView(_)));
}

#[test]
fn drop_names_a_table_or_a_view() {
    for (sql, view, exists) in [
        ("DROP TABLE t", false, false),
        ("DROP TEMPORARY TABLE IF EXISTS t", false, true),
        ("drop view if exists default_database.t", true, true),
        ("DROP TEMPORARY VIEW `t`", true, false),
    ] {
        let Statement::Drop { is_view, if_exists, name } = one(sql) else { panic!("{sql}") };
        assert_eq!((is_view, if_exists, name.value.as_str()), (view, exists, "t"), "{sql}");
    }
}

#[test]
fn insert_names_table_and_columns() {
    for (sql, columns, query) in [
        ("INSERT INTO s SELECT * FROM t", vec![], "SELECT * FROM t"),
        ("EXECUTE INSERT INTO s SELECT * FROM t", vec![], "SELECT * FROM t"),
        (
            "INSERT INTO `default_catalog`.`default_database`.s (x, `Y`) SELECT a, b FROM t",
            vec!["x", "Y"],
            "SELECT a, b FROM t",
        ),
        ("INSERT INTO s VALUES (1, 'a'), (2, 'b')", vec![], "VALUES (1, 'a'), (2, 'b')"),
        (
            "INSERT INTO s WITH c AS (SELECT 1 AS x) SELECT * FROM c",
            vec![],
            "WITH c AS (SELECT 1 AS x) SELECT * FROM c",
        ),
        ("INSERT INTO s ((SELECT 1))", vec![], "((SELECT 1))"),
    ] {
        let Statement::Insert(insert) = one(sql) else { panic!("{sql}") };
        assert_eq!(insert.table.value, "s");
        assert_eq!(names(&insert.columns), columns, "{sql}");
        assert_eq!(insert.query.to_string(), query);
    }
}

#[test]
fn statement_sets_hold_inserts() {
    for sql in [
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT * FROM s; INSERT INTO b SELECT * FROM s; END",
        "BEGIN STATEMENT SET; INSERT INTO a SELECT * FROM s; INSERT INTO b SELECT CASE WHEN x THEN 1 END FROM s; END;",
    ] {
        let Statement::StatementSet(inserts) = one(sql) else { panic!("{sql}") };
        assert_eq!(inserts.iter().map(|i| i.table.value.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}

#[test]
fn set_and_reset() {
    let Statement::Set { key, value, position } = one("SET 'a.b' = '10 s'") else { panic!() };
    assert_eq!((key.as_str(), value.as_str(), position), ("a.b", "10 s", Position { line: 1, column: 5 }));
    assert!(matches!(one("RESET"), Statement::Reset { key: None }));
    assert!(matches!(one("RESET 'k'"), Statement::Reset { key: Some(k) } if k == "k"));
}

#[test]
fn explain_holds_its_statement() {
    for sql in ["EXPLAIN SELECT 1", "EXPLAIN PLAN FOR SELECT 1"] {
        let Statement::Explain(inner) = one(sql) else { panic!("{sql}") };
        assert!(matches!(inner.statement, Statement::Query(_)));
        assert_eq!(inner.position.column, sql.find("SELECT").unwrap() as u64 + 1);
    }
    let Statement::Explain(inner) = one("EXPLAIN STATEMENT SET BEGIN INSERT INTO a SELECT 1; END") else { panic!() };
    assert!(matches!(inner.statement, Statement::StatementSet(inserts) if inserts.len() == 1));
}

#[test]
fn scripts_hold_positioned_statements() {
    let sql = "-- a comment; with a semicolon\n;;SET 'a' = 'b'; /* another */\n  SELECT 'x;y' FROM t;\n\nselect 2";
    let positions: Vec<_> = parse(sql).unwrap().iter().map(|s| (s.position.line, s.position.column)).collect();
    assert_eq!(positions, [(2, 3), (3, 3), (5, 1)]);
    for empty in ["", " \n", ";", "-- nothing", "/* nothing */;"] {
        assert!(parse(empty).unwrap().is_empty(), "{empty}");
    }
}
