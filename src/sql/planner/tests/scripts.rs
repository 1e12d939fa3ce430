//! Dry runs: what `check` tells about each statement.

use super::{TABLES, environment};
use crate::sql::{CheckReport, check_with};

fn check(sql: &str) -> CheckReport {
    match check_with(&format!("{TABLES}{sql}"), &environment()) {
        Ok(report) => report,
        Err(e) => panic!("{sql}: {e}"),
    }
}

#[test]
fn a_dry_run_lists_statements_plans_and_warnings() {
    let offset = TABLES.lines().count() as u64;
    let report = check(
        "SET 'x.y' = '1';\n  EXPLAIN SELECT price FROM bids;\nINSERT INTO prices SELECT auction, price FROM bids;\nRESET 'x.y'",
    );
    let shown: Vec<_> = report
        .statements
        .iter()
        .filter(|s| s.line > offset)
        .map(|s| (s.line - offset, s.column, s.kind.as_str(), s.object.as_deref(), s.plan.is_some()))
        .collect();
    assert_eq!(
        shown,
        [
            (1, 1, "SET", Some("x.y"), false),
            (2, 3, "EXPLAIN", None, true),
            (3, 1, "INSERT", Some("prices"), false),
            (4, 1, "RESET", Some("x.y"), false)
        ]
    );
    assert_eq!(report.sinks, ["prices"]);
    assert!(report.plan.is_some_and(|p| p.starts_with("Sink(table=[prices]")));
    assert!(
        matches!(report.warnings.as_slice(), [only] if only.contains("'x.y' is not known")),
        "{:?}",
        report.warnings
    );
}

#[test]
fn a_dry_run_of_a_query_answers_its_columns() {
    let report = check("SELECT price, ts FROM bids");
    let columns = report.columns.map(|c| c.fields.into_iter().map(|f| f.name).collect::<Vec<_>>());
    assert_eq!(columns, Some(vec!["price".to_owned(), "ts".to_owned()]));
    assert!(report.plan.is_some_and(|p| p.contains("TableSourceScan(table=[events]")));
    assert!(report.sinks.is_empty());
}

#[test]
fn a_script_of_definitions_only_is_checked_too() {
    let report = check("CREATE VIEW v AS SELECT 1 AS a");
    assert_eq!(report.plan, None);
    assert_eq!(report.statements.last().map(|s| s.kind.as_str()), Some("CREATE VIEW"));
}

#[test]
fn late_records_leave_the_operators_that_drop_them_by_edges_of_their_own() {
    let late = "CREATE TABLE late (o STRING, w TIMESTAMP_LTZ(3), r STRING) \
                WITH ('connector' = 'filesystem', 'path' = '/late', 'format' = 'json'); \
                SET 'late-records.table' = 'late';";
    let counts = "INSERT INTO counts SELECT bidder, COUNT(*), window_start, window_end \
                  FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
                  GROUP BY bidder, window_start, window_end;";
    let planned = super::job(&format!("{late}{counts}")).unwrap();
    assert_eq!(planned.sinks, ["counts", "late"]);
    let graph = planned.graph;
    let edges: Vec<(bool, bool)> = graph
        .edges
        .iter()
        .map(|edge| (edge.late, graph.vertices[edge.from].operators.iter().any(|o| o.kind.drops_late())))
        .collect();
    assert_eq!(edges.iter().filter(|(late, _)| *late).collect::<Vec<_>>(), [&(true, true)]);
    let error = super::job(&format!("{late}INSERT INTO prices SELECT auction, price FROM bids;")).unwrap_err();
    assert!(error.message.contains("no operator of this job drops late records"), "{error}");
    let error = super::job(&format!("SET 'late-records.table' = 'lat';{counts}")).unwrap_err();
    assert_eq!(error.code, "sql_unknown_table");
}
