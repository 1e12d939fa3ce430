//! Plans as text, and the parts of job graphs that the text does not show.

use super::{job, query};
use crate::graph::{Exchange, JobGraph, OperatorKind, SourceSpec, WindowInput};
use crate::sql::explain;
use crate::types::Schema;

fn sources(graph: &JobGraph) -> Vec<&SourceSpec> {
    let operators = graph.vertices.iter().flat_map(|v| &v.operators);
    operators
        .filter_map(|o| match &o.kind {
            OperatorKind::Source(spec) => Some(spec),
            _ => None,
        })
        .collect()
}

fn types(schema: &Schema) -> Vec<String> {
    schema.fields.iter().map(|f| format!("{} {}", f.name, f.data_type)).collect()
}

/// The plan, the vertices, and what each source reads.
fn shown(sql: &str) -> String {
    let planned = if sql.contains("INSERT") { job(sql) } else { query(sql).map(|(planned, _)| planned) };
    let graph = match planned {
        Ok(planned) => planned.graph,
        Err(e) => panic!("{sql}: {e}"),
    };
    let mut text = explain(&graph);
    text.push('\n');
    for (i, vertex) in graph.vertices.iter().enumerate() {
        let inputs: Vec<String> = graph
            .edges
            .iter()
            .filter(|e| e.to == i)
            .map(|e| match &e.exchange {
                Exchange::Forward => format!("forward {}", e.from),
                Exchange::Global => format!("global {}", e.from),
                Exchange::Hash { keys } => format!("hash{keys:?} {}", e.from),
            })
            .collect();
        let kinds: Vec<&str> = vertex
            .operators
            .iter()
            .map(|o| match &o.kind {
                OperatorKind::Source(_) => "source",
                OperatorKind::Calc(_) => "calc",
                OperatorKind::WindowTable(_) => "window table",
                OperatorKind::WindowAggregate(spec) => match spec.input {
                    WindowInput::Assign { .. } => "assigning aggregate",
                    WindowInput::Attached { .. } => "aggregate",
                },
                OperatorKind::GroupAggregate(_) => "group aggregate",
                OperatorKind::Expand(_) => "expand",
                OperatorKind::Replicate(_) => "replicate",
                OperatorKind::Sink(_) => "sink",
                OperatorKind::WindowRank(_) => "window rank",
                OperatorKind::WindowJoin(_) => "window join",
                OperatorKind::Values { .. } => "values",
                OperatorKind::Unnest(_) => "unnest",
                OperatorKind::Join(_) => "join",
                OperatorKind::IntervalJoin(_) => "interval_join",
                OperatorKind::TemporalJoin(_) => "temporal_join",
                _ => o.name.split('(').next().unwrap_or_default(),
            })
            .collect();
        let parallelism = vertex.parallelism.map(|p| format!(" x{p}")).unwrap_or_default();
        text.push_str(&format!("{i}: [{}] {}{parallelism}\n", inputs.join(", "), kinds.join(" -> ")));
    }
    for source in sources(&graph) {
        text.push_str(&format!("{} reads {:?}", source.connector.table, types(&source.physical)));
        if !source.metadata.is_empty() {
            text.push_str(&format!(" metadata {:?}", source.metadata.iter().map(|(k, _)| k).collect::<Vec<_>>()));
        }
        text.push('\n');
    }
    text
}

macro_rules! plan {
    ($($name:ident: $sql:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), shown($sql));
        })*
    };
}

plan! {
    group_aggregate: "SELECT bidder, COUNT(*) n, COUNT(DISTINCT auction) a, MAX(price) FILTER (WHERE channel = 'x') FROM bids GROUP BY bidder HAVING COUNT(*) > 2";
    global_aggregate: "SELECT SUM(n) FROM (SELECT bidder, COUNT(*) n FROM bids GROUP BY bidder)";
    grouping_sets: "SELECT auction, bidder, SUM(price) s, GROUPING(bidder) g FROM bids GROUP BY GROUPING SETS ((auction), (auction, bidder), ())";
    rollup_in_windows: "SELECT window_start, bidder, COUNT(*) n FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, ROLLUP(bidder)";
    distinct_and_set_operations: "SELECT DISTINCT auction FROM bids WHERE price > 1 EXCEPT ALL SELECT id FROM docs";
    unbounded_with_ttl: "SET 'table.exec.state.ttl' = '1 h'; SELECT auction, LISTAGG(channel, ';') FROM bids GROUP BY auction";
    q0: "SELECT auction, bidder, price, ts FROM bids";
    q1: "SELECT auction, bidder, 0.908 * price AS euros, ts FROM bids";
    q2: "SELECT auction, price FROM bids WHERE MOD(auction, 123) = 0";
    q14: "SELECT auction, bidder, 0.908 * price AS euros,
            CASE WHEN HOUR(ts) >= 8 AND HOUR(ts) <= 18 THEN 'day' WHEN HOUR(ts) <= 6 OR HOUR(ts) >= 20 THEN 'night' ELSE 'other' END AS part,
            CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', '')) AS cs
          FROM bids WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000";
    q21: "SELECT auction, bidder, price, channel, CASE WHEN LOWER(channel) = 'apple' THEN '0'
            ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id
          FROM bids WHERE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) IS NOT NULL OR LOWER(channel) IN ('apple', 'google')";
    q22: "SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS d1, SPLIT_INDEX(url, '/', 4) AS d2 FROM bids";
    q12: "INSERT INTO counts SELECT bidder, COUNT(*) AS n, window_start, window_end
          FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end";
    hop: "SELECT auction, COUNT(*) AS n, window_start FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
          GROUP BY auction, window_start, window_end";
    named_arguments: "SELECT window_start, SUM(i) AS s FROM TABLE(TUMBLE(DATA => TABLE docs, TIMECOL => DESCRIPTOR(ts),
          SIZE => INTERVAL '30' SECOND, `OFFSET` => INTERVAL '5' SECOND)) GROUP BY window_start, window_end";
    global_window: "SELECT window_start, COUNT(DISTINCT bidder) AS n, AVG(price) AS a, MAX(price) FILTER (WHERE channel = 'apple') AS m
          FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end";
    same_window_again: "WITH a AS (SELECT window_start, window_end, product, COUNT(*) n
            FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, product)
          SELECT window_start, window_end, MAX(n) m, COUNT(*) k FROM a GROUP BY window_start, window_end";
    windows_of_windows: "WITH a AS (SELECT window_time AS ts, product, SUM(quantity) q
            FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end, window_time, product)
          SELECT window_start, COUNT(*) n, SUM(q) q FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY window_start, window_end";
    expressions_and_having: "SELECT UPPER(product) AS p, SUM(quantity * 2) + 1 AS q, window_end AS e
          FROM (SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) WHERE rush)
          GROUP BY window_start, window_end, UPPER(product) HAVING COUNT(*) > 3 AND UPPER(product) <> 'X'";
    renamed_windows: "SELECT s, COUNT(*) AS n FROM (SELECT window_start AS s, window_end AS e, product
            FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) GROUP BY s, e";
    window_table_alone: "SELECT order_id, quantity * 2 AS twice, window_start FROM TABLE(HOP(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE))
          WHERE rush AND window_start > TIMESTAMP '2026-03-01 00:00:00'";
    window_column_as_argument: "SELECT window_end, MAX(window_start) AS m FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
          GROUP BY window_start, window_end";
    union_all: "INSERT INTO prices SELECT auction, price FROM bids UNION ALL SELECT id, reserve FROM auctions UNION ALL SELECT order_id, quantity FROM orders";
    union_all_aggregated: "SELECT k, COUNT(*) AS n FROM TABLE(TUMBLE((SELECT customer AS k, ts FROM orders UNION ALL SELECT id, ts FROM docs), DESCRIPTOR(ts), INTERVAL '1' HOUR))
          GROUP BY k, window_start, window_end";
    statement_set: "EXECUTE STATEMENT SET BEGIN
            INSERT INTO prices SELECT auction, price FROM bids;
            INSERT INTO counts SELECT bidder, COUNT(*), window_start, window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end;
          END";
    whole_row: "SELECT bid, person.city FROM events";
    star_over_nested: "SELECT e.bid.price FROM (SELECT * FROM events) AS e WHERE e.event_type = 2";
    metadata_column: "SELECT order_id, loaded FROM orders";
    no_column_needed: "SELECT 1 AS one FROM orders";
    records_without_names: "SELECT d, c FROM lines WHERE b = 'x'";
    values: "INSERT INTO prices (price) VALUES (1), (2147483648)";
    constant: "SELECT 1 AS a, 'x' AS b, CAST(NULL AS INT) AS c";
    expensive_once: "SELECT a + a AS b FROM (SELECT REGEXP_REPLACE(s, 'a', 'b') AS r, i * l AS a FROM docs) WHERE a > 1";
    time_zone_clock: "SELECT id, MAX(v) AS m, window_start, window_time FROM TABLE(TUMBLE(TABLE sensors, DESCRIPTOR(at), INTERVAL '1' DAY))
          GROUP BY id, window_start, window_end, window_time";
}

#[test]
fn watermarks_are_made_only_where_event_time_is_used() {
    for (sql, expected) in [
        ("SELECT order_id FROM orders", false),
        ("SELECT ts FROM orders", false),
        (
            "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end",
            true,
        ),
    ] {
        let graph = query(sql).unwrap().0.graph;
        assert_eq!(sources(&graph)[0].watermark.is_some(), expected, "{sql}");
    }
}

#[test]
fn the_idle_timeout_goes_to_the_watermark() {
    let sql = "SET 'table.exec.source.idle-timeout' = '10 s'; SET 'nonsense' = '1';
        INSERT INTO counts SELECT bidder, COUNT(*), window_start, window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end";
    let planned = job(sql).unwrap();
    let idle: Vec<_> =
        sources(&planned.graph).iter().filter_map(|s| s.watermark.as_ref()).map(|w| w.idle_timeout_ms).collect();
    assert_eq!(idle, [10_000]);
    assert_eq!(planned.options["table.exec.source.idle-timeout"], "10 s");
    assert_eq!(planned.sinks, ["counts"]);
    assert!(planned.warnings.iter().any(|w| w.contains("'nonsense' is not known")), "{:?}", planned.warnings);
}

#[test]
fn operator_ids_are_unique_and_stay_when_another_statement_changes() {
    let window = "INSERT INTO counts SELECT bidder, COUNT(*), window_start, window_end FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end;";
    let filtered = window.replace("GROUP BY", "WHERE price > 5 GROUP BY");
    let wider = window.replace("'10'", "'20'");
    let other = "INSERT INTO prices SELECT auction, price FROM bids;";
    let stateful = |sql: &str| -> Vec<_> {
        let graph = job(sql).unwrap().graph;
        let operators: Vec<_> = graph.vertices.iter().flat_map(|v| &v.operators).collect();
        let ids: std::collections::HashSet<_> = operators.iter().map(|o| o.id).collect();
        assert_eq!(ids.len(), operators.len(), "{sql}");
        let aggregates = operators.iter().filter(|o| matches!(o.kind, OperatorKind::WindowAggregate(_)));
        let sources = operators.iter().filter(|o| matches!(o.kind, OperatorKind::Source(_)));
        aggregates.chain(sources).map(|o| o.id).collect()
    };
    let alone = stateful(window);
    assert_eq!(stateful(&format!("{other}{window}")), alone);
    assert_eq!(stateful(&format!("{window}{other}{other}")), alone);
    assert_eq!(stateful(&filtered), alone);
    assert_ne!(stateful(&wider), alone);
    assert_eq!(stateful(&format!("{window}{window}")).len(), 3);
}

#[test]
fn graphs_are_topologically_ordered_and_stored_without_loss() {
    let sql = "INSERT INTO prices SELECT auction, price FROM bids UNION ALL SELECT order_id, quantity FROM orders;
        INSERT INTO prices SELECT id, reserve FROM auctions";
    let graph = job(sql).unwrap().graph;
    assert!(graph.edges.iter().all(|e| e.from < e.to));
    let stored = serde_json::to_string(&graph).unwrap();
    assert_eq!(serde_json::from_str::<JobGraph>(&stored).unwrap(), graph);
}
