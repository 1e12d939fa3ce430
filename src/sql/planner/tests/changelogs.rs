//! Which kinds of rows a query's operators emit, and what is refused for them.

use super::{job, place_of};
use crate::graph::{JobGraph, OperatorKind};

const TABLES: &str = "
CREATE TABLE accounts (id INT, region STRING, balance INT, PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = '/a', 'format' = 'debezium-json');
CREATE TABLE shown (id INT, balance INT) WITH ('connector' = 'print');
CREATE TABLE kept (id INT, balance INT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert');
CREATE TABLE added (id INT, balance INT) WITH ('connector' = 'filesystem', 'path' = '/s', 'format' = 'json');
";

/// `operator [kinds]` of each operator, without its arguments.
fn modes(graph: &JobGraph) -> Vec<String> {
    let operators = graph.vertices.iter().flat_map(|v| &v.operators);
    operators
        .filter(|o| !matches!(o.kind, OperatorKind::Sink(_)))
        .map(|o| {
            let name = o.name.split('(').next().unwrap();
            format!("{name} {}", graph.changelog.get(&o.id).map_or("?".to_owned(), ToString::to_string))
        })
        .collect()
}

#[test]
fn kinds_are_inferred_for_each_operator() {
    for (sql, expected) in [
        ("INSERT INTO added SELECT a, a FROM `lines`", vec!["TableSourceScan [I]", "Calc [I]"]),
        ("INSERT INTO shown SELECT id, balance FROM accounts", vec!["TableSourceScan [I,UB,UA,D]"]),
        (
            "INSERT INTO shown SELECT id, balance FROM accounts UNION ALL SELECT a, a FROM `lines`",
            vec!["TableSourceScan [I,UB,UA,D]", "TableSourceScan [I]", "Calc [I]"],
        ),
        (
            "INSERT INTO shown SELECT a, CAST(COUNT(*) AS INT) FROM `lines` GROUP BY a",
            vec!["TableSourceScan [I]", "GroupAggregate [I,UB,UA]", "Calc [I,UB,UA]"],
        ),
        // The table's key is the query's: `+U` alone says which row.
        (
            "INSERT INTO kept SELECT a, CAST(COUNT(*) AS INT) FROM `lines` GROUP BY a",
            vec!["TableSourceScan [I]", "GroupAggregate [I,UA]", "Calc [I,UA]"],
        ),
        (
            "INSERT INTO kept SELECT a + 1, CAST(COUNT(*) AS INT) FROM `lines` GROUP BY a",
            vec!["TableSourceScan [I]", "GroupAggregate [I,UB,UA]", "Calc [I,UB,UA]"],
        ),
        (
            "INSERT INTO kept SELECT a, CAST(COUNT(*) AS INT) FROM `lines` GROUP BY a HAVING COUNT(*) < 5",
            vec!["TableSourceScan [I]", "GroupAggregate [I,UB,UA]", "Calc [I,UB,UA]"],
        ),
        (
            "INSERT INTO kept SELECT n, CAST(COUNT(*) AS INT) FROM (SELECT CAST(COUNT(*) AS INT) n FROM `lines` GROUP BY a) GROUP BY n",
            vec![
                "TableSourceScan [I]",
                "GroupAggregate [I,UB,UA]",
                "Calc [I,UB,UA]",
                "GroupAggregate [I,UA,D]",
                "Calc [I,UA,D]",
            ],
        ),
        (
            "INSERT INTO added SELECT DISTINCT a, a FROM `lines`",
            vec!["TableSourceScan [I]", "Calc [I]", "GroupAggregate [I]"],
        ),
    ] {
        let planned = job(&format!("{TABLES}{sql}")).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(modes(&planned.graph), expected, "{sql}");
    }
}

#[test]
fn changes_are_refused_where_they_cannot_be_taken() {
    for (sql, code, part) in [
        (
            "INSERT INTO added SELECT id, balance FROM accounts",
            "sql_sink_changelog",
            "TableSourceScan(table=[accounts])",
        ),
        (
            "INSERT INTO added SELECT a, CAST(COUNT(*) AS INT) FROM `lines` GROUP BY a",
            "sql_sink_changelog",
            "GroupAggregate(groupBy=[a], select=[a, COUNT(*)",
        ),
        (
            "INSERT INTO added SELECT id, balance FROM accounts WHERE id > 1 UNION ALL SELECT a, a FROM `lines`",
            "sql_sink_changelog",
            "TableSourceScan(table=[accounts])",
        ),
    ] {
        let error = job(&format!("{TABLES}{sql}")).unwrap_err();
        let (found, line, column) = place_of(&error);
        assert_eq!((found.as_str(), line > 0 && column > 0), (code, true), "{sql}: {error}");
        assert!(error.message.contains(part), "{error}");
    }
}
