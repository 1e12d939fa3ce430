//! Whole scripts: the tables and queries whose answers Flink gave.

use super::super::parse;
use crate::sql::ast::{ColumnKind, Statement};

const TABLES: &str = include_str!("../../../../tests/data/sql/tables.sql");
const NEXMARK: &str = include_str!("../../../../tests/data/sql/tables-nexmark.sql");
const QUERIES: &str = include_str!("../../../../tests/data/sql/queries.sql");

#[test]
fn tables_parse() {
    let statements = parse(TABLES).unwrap();
    let tables: Vec<String> = statements
        .iter()
        .filter_map(|s| match &s.statement {
            Statement::CreateTable(table) => Some(format!("{} {}", table.name, table.columns.len())),
            _ => None,
        })
        .collect();
    assert_eq!(tables, ["orders 8", "payments 5", "rates 3", "sales 4", "clicks 4", "ticks 4", "docs 9", "accounts 3"]);
    assert!(
        matches!(&statements[0].statement, Statement::Set { key, .. } if key == "pipeline.auto-watermark-interval")
    );
}

#[test]
fn nexmark_tables_parse() {
    let statements = parse(NEXMARK).unwrap();
    assert_eq!(statements.len(), 5);
    let Statement::CreateTable(events) = &statements[1].statement else { panic!("{:?}", statements[1]) };
    let ColumnKind::Physical(bid) = &events.columns[3].kind else { panic!("{:?}", events.columns[3]) };
    assert_eq!(
        bid.to_string(),
        "ROW<`auction` BIGINT, `bidder` BIGINT, `price` BIGINT, `channel` STRING, `url` STRING, `dateTime` TIMESTAMP(3), `extra` STRING>"
    );
    assert!(matches!(statements[4].statement, Statement::CreateView(_)));
}

#[test]
fn every_query_parses_alone_and_in_one_script() {
    let mut count = 0;
    for case in QUERIES.split("-- ").filter(|case| !case.trim().is_empty()) {
        let (name, sql) = case.split_once('\n').unwrap();
        let statements = parse(sql).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(matches!(statements.as_slice(), [s] if matches!(s.statement, Statement::Query(_))), "{name}");
        count += 1;
    }
    assert_eq!(count, 105);
    assert_eq!(parse(QUERIES).unwrap().len(), count);
}
