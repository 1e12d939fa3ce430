//! Which joins queries become: their form, keys and what is left as a condition; columns of joins.

use super::query;
use crate::error::Place;

/// The joins of a plan, as it shows them, without the columns that they emit.
fn joins(sql: &str) -> Vec<String> {
    let (planned, _) = query(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let operators = planned.graph.vertices.iter().flat_map(|v| &v.operators);
    let names = operators.filter(|o| o.name.contains("Join(") || o.name.contains("Correlate("));
    names.map(|o| o.name.split(", select=").next().unwrap().to_owned()).collect()
}

fn check(sql: &str, expected: &[&str]) {
    assert_eq!(joins(sql), expected, "{sql}");
}

#[test]
fn conditions_find_their_place() {
    check(
        "SELECT 1 FROM orders o JOIN lines l ON o.customer = l.a AND o.quantity > 3 AND l.c < o.quantity",
        &["Join(joinType=[InnerJoin], where=[(customer = a) AND (c < CAST(quantity AS DOUBLE))]"],
    );
    check(
        "SELECT 1 FROM orders o, lines l, docs d WHERE o.customer = l.a AND d.id = l.a AND d.s = 'x'",
        &["Join(joinType=[InnerJoin], where=[(customer = a)]", "Join(joinType=[InnerJoin], where=[(a = id)]"],
    );
    check(
        "SELECT 1 FROM orders o LEFT JOIN lines l ON o.customer = l.a WHERE l.b = 'x'",
        &["Join(joinType=[InnerJoin], where=[(customer = a)]"],
    );
    check(
        "SELECT 1 FROM orders o LEFT JOIN lines l ON o.customer = l.a WHERE l.b IS NULL",
        &["Join(joinType=[LeftOuterJoin], where=[(customer = a)]"],
    );
    check(
        "SELECT 1 FROM lines x JOIN lines y ON x.a IS NOT DISTINCT FROM y.a",
        &["Join(joinType=[InnerJoin], where=[(a IS NOT DISTINCT FROM a0)]"],
    );
    check("SELECT 1 FROM lines x JOIN docs y ON x.a + 1 = y.id", &["Join(joinType=[InnerJoin], where=[($key0 = id)]"]);
    check("SELECT 1 FROM lines CROSS JOIN docs", &["Join(joinType=[InnerJoin]"]);
    check(
        "SELECT 1 FROM lines x FULL JOIN (docs y JOIN prices p ON y.l = p.price) ON x.a = y.id",
        &["Join(joinType=[InnerJoin], where=[(l = price)]", "Join(joinType=[FullOuterJoin], where=[(a = id)]"],
    );
}

#[test]
fn subqueries_become_semi_and_anti_joins() {
    check(
        "SELECT 1 FROM orders o WHERE EXISTS (SELECT 1 FROM lines l WHERE l.a = o.customer AND l.b = 'x')",
        &["Join(joinType=[LeftSemiJoin], where=[(customer = a)]"],
    );
    check(
        "SELECT 1 FROM orders WHERE quantity > 1 AND NOT (customer IN (SELECT a FROM lines)) ",
        &["Join(joinType=[LeftAntiJoin], where=[((customer = a) IS NOT FALSE)]"],
    );
    check(
        "SELECT 1 FROM `strict` s WHERE s.a NOT IN (SELECT a FROM `strict`)",
        &["Join(joinType=[LeftAntiJoin], where=[(a = a0)]"],
    );
    check(
        "SELECT 1 FROM orders WHERE (customer, quantity) IN (SELECT a, a + 1 FROM lines)",
        &["Join(joinType=[LeftSemiJoin], where=[(customer = a) AND (quantity = $key0)]"],
    );
    check(
        "SELECT (SELECT 1), order_id FROM orders WHERE price > (SELECT 5)",
        &["Join(joinType=[LeftOuterJoin]", "Join(joinType=[LeftOuterJoin]"],
    );
    check(
        "SELECT 1 FROM orders o WHERE price > (SELECT AVG(c) FROM lines l WHERE l.a = o.customer AND l.b = 'x')",
        &["Join(joinType=[LeftOuterJoin], where=[(customer = a)]"],
    );
    check(
        "SELECT (SELECT COUNT(*) FROM lines l WHERE l.a = o.customer) n, order_id FROM orders o",
        &["Join(joinType=[LeftOuterJoin], where=[(customer = a)]"],
    );
}

#[test]
fn bounds_on_event_times_make_joins_in_time() {
    let bounds =
        |sql: &str| joins(&format!("SELECT 1 FROM orders o JOIN docs d ON o.customer = d.id AND {sql}")).remove(0);
    for (condition, expected) in [
        ("o.ts BETWEEN d.ts - INTERVAL '1' SECOND AND d.ts + INTERVAL '2' SECOND", Some((-1000, 2000))),
        ("o.ts > d.ts AND o.ts - INTERVAL '1' MINUTE < d.ts", Some((1, 59_999))),
        ("d.ts >= o.ts AND d.ts + INTERVAL '1' SECOND <= o.ts + INTERVAL '3' SECOND", Some((-2000, 0))),
        ("o.ts = d.ts", Some((0, 0))),
        ("o.ts > d.ts", None),
        ("o.ts BETWEEN d.ts AND o.loaded", None),
    ] {
        let found = bounds(condition);
        match expected {
            Some((lower, upper)) => {
                let shown = format!("leftLowerBound={lower}, leftUpperBound={upper},");
                assert!(found.starts_with("IntervalJoin(") && found.contains(&shown), "{condition}: {found}");
            }
            None => assert!(found.starts_with("Join("), "{condition}: {found}"),
        }
    }
    check(
        "SELECT 1 FROM bids b JOIN rates FOR SYSTEM_TIME AS OF b.ts AS r ON b.channel = r.currency AND r.rate > 1",
        &[
            "TemporalJoin(joinType=[InnerJoin], asOf=[ts], where=[(channel = currency) AND (rate > CAST(1 AS DECIMAL(10, 0)))]",
        ],
    );
    // Above a regular join, a time attribute is only a timestamp.
    check(
        "SELECT 1 FROM (SELECT o.ts, o.customer FROM orders o JOIN lines l ON o.customer = l.a) x
         JOIN docs d ON x.customer = d.id AND x.ts = d.ts",
        &[
            "Join(joinType=[InnerJoin], where=[(customer = a)]",
            "Join(joinType=[InnerJoin], where=[(customer = id) AND (ts = ts0)]",
        ],
    );
}

#[test]
fn collections_are_unnested() {
    check(
        "SELECT id, t FROM lists CROSS JOIN UNNEST(tags) AS x (t) WHERE id > 1",
        &["Correlate(invocation=[UNNEST(tags)], joinType=[INNER]"],
    );
    check(
        "SELECT id, k, n FROM lists LEFT JOIN UNNEST(m) WITH ORDINALITY AS x (k, v, n) ON TRUE",
        &["Correlate(invocation=[UNNEST(m) WITH ORDINALITY], joinType=[LEFT]"],
    );
    for (sql, expected) in [
        (
            "SELECT * FROM lists, UNNEST(rs)",
            "id INT, tags ARRAY<STRING>, m MAP<STRING, INT>, rs ARRAY<ROW<`x` INT, `y` STRING>>, x INT, y STRING",
        ),
        ("SELECT x FROM UNNEST(ARRAY[1, 2]) AS t (x)", "x INT NOT NULL"),
        ("SELECT * FROM lines JOIN docs USING (b)", ""),
        (
            "SELECT * FROM (SELECT a, b FROM lines) x JOIN (SELECT a, c FROM lines) y USING (a)",
            "a INT, b STRING, c DOUBLE",
        ),
        ("SELECT a, y.a FROM (SELECT a FROM lines) x NATURAL LEFT JOIN (SELECT a, c FROM lines) y", "a INT, a0 INT"),
        (
            "SELECT y.*, x.a FROM `strict` x LEFT JOIN `strict` y ON x.a = y.a",
            "a INT, b STRING, c INT, a0 INT NOT NULL",
        ),
    ] {
        let found = query(sql).map(|(_, schema)| {
            let columns = schema.fields.iter().map(|f| format!("{} {}", f.name, f.data_type));
            columns.collect::<Vec<_>>().join(", ")
        });
        match expected {
            "" => assert!(matches!(found.unwrap_err().place, Some(Place::Sql { .. })), "{sql}"),
            expected => assert_eq!(found.unwrap(), expected, "{sql}"),
        }
    }
}

#[test]
fn joins_that_flink_refuses_are_refused() {
    for (sql, what) in [
        (
            "SELECT 1 FROM bids b JOIN rates FOR SYSTEM_TIME AS OF b.ts AS r ON b.price = r.rate",
            "primary key (currency)",
        ),
        ("SELECT 1 FROM bids b JOIN docs FOR SYSTEM_TIME AS OF b.ts AS d ON b.price = d.l", "no primary key"),
        (
            "SELECT 1 FROM bids b FULL JOIN rates FOR SYSTEM_TIME AS OF b.ts AS r ON b.channel = r.currency",
            "INNER or LEFT",
        ),
        (
            "SELECT 1 FROM bids b JOIN rates FOR SYSTEM_TIME AS OF b.price AS r ON b.channel = r.currency",
            "event-time column",
        ),
        ("SELECT 1 FROM orders o JOIN lines l ON o.customer = z.a", "table or column 'z'"),
        ("SELECT 1 FROM lists CROSS JOIN UNNEST(id) AS t (x)", "ARRAY, a MAP or a MULTISET"),
        ("SELECT 1 FROM lists CROSS JOIN UNNEST(tags) AS t (x, y)", "2 column names for 1"),
        ("SELECT 1 FROM orders WHERE price > (SELECT price FROM orders)", "more than one row"),
        (
            "SELECT 1 FROM orders o WHERE price > (SELECT MAX(c) FROM lines l WHERE l.a < o.customer)",
            "only in equalities",
        ),
        ("SELECT 1 FROM orders WHERE customer IN (SELECT a, b FROM lines)", "1 values with 2 columns"),
        (
            "SELECT ts FROM (SELECT o.ts FROM orders o JOIN lines l ON o.customer = l.a) x
             JOIN rates FOR SYSTEM_TIME AS OF x.ts AS r ON r.currency = 'x'",
            "not event time any more",
        ),
    ] {
        let error = query(sql).err().unwrap_or_else(|| panic!("{sql} was accepted"));
        assert!(error.message.contains(what) && error.place.is_some(), "{sql}: {error}");
    }
}
