//! Operator ids: an edit elsewhere keeps them, a change of what decides the state changes them.

use std::collections::{BTreeMap, BTreeSet};

use super::job;
use crate::graph::OperatorKind;

const SINKS: &str = "
CREATE TABLE per_bidder (bidder BIGINT, n BIGINT, w TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '/a', 'format' = 'json');
CREATE TABLE per_auction (auction BIGINT, total BIGINT, w TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '/b', 'format' = 'json');
";
const BIDDERS: &str = "INSERT INTO per_bidder SELECT bidder, COUNT(*), window_start FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end;";
const AUCTIONS: &str = "INSERT INTO per_auction SELECT auction, SUM(price * 2), window_start FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) WHERE price > 5 GROUP BY auction, window_start, window_end;";

/// The ids of the operators that have state, by a name that does not depend on the edits: kind and sink or table.
fn ids(script: &str) -> BTreeMap<String, String> {
    let planned = job(&format!("{SINKS}{script}")).unwrap_or_else(|e| panic!("{script}: {e}"));
    let mut found = BTreeMap::new();
    for operator in planned.graph.vertices.iter().flat_map(|v| &v.operators) {
        let name = match &operator.kind {
            OperatorKind::Source(s) => format!("source {}", s.connector.table),
            OperatorKind::Sink(s) => format!("sink {}", s.connector.table),
            OperatorKind::WindowAggregate(s) if s.aggregates.iter().any(|a| a.argument.is_some()) => "sum".to_owned(),
            OperatorKind::WindowAggregate(_) => "count".to_owned(),
            _ => continue,
        };
        assert_eq!(found.insert(name.clone(), operator.id.to_string()), None, "{name} twice in {script}");
    }
    found
}

/// Compares both scripts' ids: exactly the operators in `changed` may differ, or be in one of them only.
fn check(what: &str, before: &str, after: &str, changed: &[&str]) {
    let (before, after) = (ids(before), ids(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ: Vec<&str> = names.into_iter().filter(|n| before.get(*n) != after.get(*n)).map(String::as_str).collect();
    assert_eq!(differ, changed, "{what}");
}

#[test]
fn an_edit_elsewhere_keeps_the_ids() {
    let both = format!("{BIDDERS}{AUCTIONS}");
    check("another insert is added", BIDDERS, &both, &["sink per_auction", "sum"]);
    check("an insert is removed", &both, AUCTIONS, &["count", "sink per_bidder"]);
    check("the statements' order", &both, &format!("{AUCTIONS}{BIDDERS}"), &[]);
    let edits = [
        ("a filter is added", BIDDERS.replace("GROUP BY", "WHERE price > 100 GROUP BY")),
        ("a filter is changed in the view", BIDDERS.replace("TABLE bids", "TABLE pricey")),
        ("the output's projection changes", BIDDERS.replace("COUNT(*)", "COUNT(*) + 1")),
        ("the output's columns are renamed", BIDDERS.replace("COUNT(*)", "COUNT(*) AS how_many")),
        ("the window's other bound is written", BIDDERS.replace("window_start FROM", "window_end FROM")),
        ("a statement set", format!("EXECUTE STATEMENT SET BEGIN {BIDDERS} END;")),
        ("an option is set", format!("SET 'parallelism.default' = '3'; {BIDDERS}")),
    ];
    let pricey = "CREATE VIEW pricey AS SELECT * FROM bids WHERE price > 7;";
    for (what, script) in edits {
        check(what, BIDDERS, &format!("{pricey}{script}"), &[]);
    }
    check(
        "a column is renamed on its way",
        AUCTIONS,
        &AUCTIONS
            .replace("TABLE bids", "TABLE renamed")
            .replace("price", "cost")
            .replace("INSERT", "CREATE VIEW renamed AS SELECT auction, price AS cost, ts FROM bids; INSERT"),
        &[],
    );
}

#[test]
fn a_tables_options_do_not_change_its_operators() {
    let table = |options: &str| {
        format!(
            "CREATE TABLE t (k BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ({options}); \
             CREATE TABLE per_k (k BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/k', 'format' = 'json'); \
             INSERT INTO per_k SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY k, window_start, window_end;"
        )
    };
    let before = table("'connector' = 'filesystem', 'path' = '/t', 'format' = 'json'");
    check("the path", &before, &table("'connector' = 'filesystem', 'path' = '/u', 'format' = 'json'"), &[]);
    check("the format", &before, &table("'connector' = 'filesystem', 'path' = '/t', 'format' = 'csv'"), &[]);
    // Told apart by the comparison of the two plans, not by the id.
    check("the connector", &before, &table("'connector' = 'datagen', 'format' = 'json'"), &[]);
}

#[test]
fn what_decides_the_state_changes_the_id() {
    for (what, script) in [
        ("the window's size", BIDDERS.replace("'10' SECOND", "'20' SECOND")),
        (
            "the kind of window",
            BIDDERS.replace("TUMBLE(", "HOP(").replace("INTERVAL '10'", "INTERVAL '5' SECOND, INTERVAL '10'"),
        ),
        ("the key", BIDDERS.replace("SELECT bidder", "SELECT auction").replace("BY bidder", "BY auction")),
        ("another key", BIDDERS.replace("BY bidder", "BY bidder, channel")),
        (
            "the key's expression",
            BIDDERS.replace("SELECT bidder", "SELECT MOD(bidder, 7)").replace("BY bidder", "BY MOD(bidder, 7)"),
        ),
        ("another aggregate", BIDDERS.replace("COUNT(*)", "COUNT(*) + COUNT(channel) * 0")),
        ("a filter of the aggregate", BIDDERS.replace("COUNT(*)", "COUNT(*) FILTER (WHERE price > 3)")),
    ] {
        let changed = ids(&script);
        assert!(!changed.values().any(|id| *id == ids(BIDDERS)["count"]), "{what}");
        assert_eq!(changed["source events"], ids(BIDDERS)["source events"], "{what}");
        assert_eq!(changed["sink per_bidder"], ids(BIDDERS)["sink per_bidder"], "{what}");
    }
    for (what, script) in [
        ("the argument's expression", AUCTIONS.replace("price * 2", "price * 3")),
        ("the argument", AUCTIONS.replace("price * 2", "bidder")),
        ("the argument's type", AUCTIONS.replace("SUM(price * 2)", "SUM(CAST(price AS INT))")),
        ("the function", AUCTIONS.replace("SUM(", "MAX(")),
        ("distinct", AUCTIONS.replace("SUM(", "SUM(DISTINCT ")),
    ] {
        check(what, AUCTIONS, &script, &["sum"]);
    }
}
