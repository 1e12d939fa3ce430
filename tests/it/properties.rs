//! Random small queries over random inputs give what a plain evaluation over all rows gives: started at parallelism 1
//! and 2, and through a snapshot in the middle that is restored at parallelism 1, 2 and 3.
//!
//! Two tables, `a` and `b`, with columns `id` (unique), `k` (few values, sometimes null), `v` (numbers, sometimes null),
//! `ts` (event time, out of order by at most 3 s where the watermark allows 5 s, so that no row is late). Each seed of
//! [`SEEDS`] makes its tables and one query of each kind; a failure names the seed and the query.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

use crate::support::query;

/// Random tables and queries per kind of query.
const SEEDS: u64 = 6;
/// Most rows of a table.
const MOST_ROWS: u64 = 120;

/// A row of `a` or `b`.
#[derive(Debug, Clone)]
struct Row {
    id: i64,
    k: Option<i64>,
    v: Option<i64>,
    /// ms since the epoch.
    ts: i64,
}

/// Random numbers of a seed.
struct Random(TestRng);

impl Random {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Random(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }
    /// 0 to `n - 1`.
    fn below(&mut self, n: u64) -> i64 {
        i64::try_from(self.0.next_u64() % n.max(1)).unwrap()
    }
    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
    fn some(&mut self, n: u64) -> Option<i64> {
        let value = self.below(n + 1);
        (value < n as i64).then_some(value)
    }
    fn table(&mut self) -> Vec<Row> {
        let rows = 2 + self.below(MOST_ROWS);
        let mut clock = 1_700_000_000_000;
        let mut table = Vec::new();
        for id in 0..rows {
            clock += self.below(2_500);
            let ts = clock - self.below(3_000);
            table.push(Row { id, k: self.some(6), v: self.some(20), ts });
        }
        table
    }
}

/// Two tables and where their files are.
struct World {
    a: Vec<Row>,
    b: Vec<Row>,
    dir: tempfile::TempDir,
}

impl World {
    fn new(random: &mut Random) -> Self {
        let world = World { a: random.table(), b: random.table(), dir: tempfile::TempDir::new().unwrap() };
        for (name, rows) in [("a", &world.a), ("b", &world.b)] {
            let cut = usize::try_from(1 + random.below(rows.len() as u64 - 1)).unwrap();
            write(&world.dir.path().join(format!("whole/{name}")), &[rows]);
            write(&world.dir.path().join(format!("halves/{name}")), &[&rows[..cut], &rows[cut..]]);
        }
        world
    }

    fn sql(&self, inputs: &str, query: &str) -> String {
        let mut sql = String::new();
        for name in ["a", "b"] {
            let path = self.dir.path().join(inputs).join(name);
            writeln!(
                sql,
                "CREATE TABLE {name} (id BIGINT, k BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) \
                 WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');",
                path.display()
            )
            .unwrap();
        }
        sql + query
    }

    /// Runs the query in every way; each must give `expected`.
    async fn check(&self, query: &str, mut expected: Vec<Vec<Value>>) -> Result<(), String> {
        let text = |rows: &[Vec<Value>]| {
            let mut lines: Vec<String> = rows.iter().map(|r| Value::Array(r.clone()).to_string()).collect();
            lines.sort();
            lines
        };
        let wanted = text(&std::mem::take(&mut expected));
        for parallelism in [1, 2] {
            let answer = query::run(&self.sql("whole", query), parallelism).await?;
            same(&text(&answer.rows()?), &wanted, &format!("parallelism {parallelism}"))?;
        }
        for parallelism in [1, 2, 3] {
            let answer = query::run_through_snapshot(&self.sql("halves", query), parallelism).await?;
            same(&text(&answer.rows()?), &wanted, &format!("restored at parallelism {parallelism}"))?;
        }
        Ok(())
    }
}

fn same(found: &[String], wanted: &[String], how: &str) -> Result<(), String> {
    let (found, wanted): (BTreeSet<_>, BTreeSet<_>) = (numbered(found), numbered(wanted));
    let missing: Vec<_> = wanted.difference(&found).take(3).collect();
    let extra: Vec<_> = found.difference(&wanted).take(3).collect();
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    Err(format!("{how}: {} rows, {} expected; missing {missing:?}, too many {extra:?}", found.len(), wanted.len()))
}

/// Sorted lines, equal ones told apart by a number.
fn numbered(lines: &[String]) -> BTreeSet<(String, usize)> {
    let mut count = BTreeMap::<&String, usize>::new();
    lines
        .iter()
        .map(|line| {
            let n = count.entry(line).or_default();
            *n += 1;
            (line.clone(), *n)
        })
        .collect()
}

fn write(folder: &std::path::Path, files: &[&[Row]]) {
    std::fs::create_dir_all(folder).unwrap();
    for (i, rows) in files.iter().enumerate() {
        let line = |r: &Row| format!("{}\n", json!({ "id": r.id, "k": r.k, "v": r.v, "ts": time(r.ts) }));
        std::fs::write(folder.join(format!("{i}.json")), rows.iter().map(line).collect::<String>()).unwrap();
    }
}

/// As the query's result shows a time.
fn time(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms).unwrap().format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

/// As a result shows it: without zero seconds and fractions.
fn shown(ms: i64) -> String {
    let text = time(ms);
    let text = text.strip_suffix(".000").map(str::to_owned).unwrap_or(text);
    match text.strip_suffix(":00") {
        Some(short) if ms % 60_000 == 0 => short.to_owned(),
        _ => text,
    }
}

/// COUNT(*), COUNT(v), SUM(v), MIN(v), MAX(v), AVG(v), COUNT(DISTINCT v).
const AGGREGATES: &str = "COUNT(*), COUNT(v), SUM(v), MIN(v), MAX(v), AVG(v), COUNT(DISTINCT v)";

fn aggregates(rows: &[&Row]) -> Vec<Value> {
    let values: Vec<i64> = rows.iter().filter_map(|r| r.v).collect();
    let (count, sum) = (values.len() as i64, values.iter().sum::<i64>());
    let of = |value: i64| if count == 0 { Value::Null } else { json!(value) };
    let distinct: BTreeSet<_> = values.iter().collect();
    vec![
        json!(rows.len()),
        json!(count),
        of(sum),
        values.iter().min().map_or(Value::Null, |v| json!(v)),
        values.iter().max().map_or(Value::Null, |v| json!(v)),
        of(sum / count.max(1)),
        json!(distinct.len()),
    ]
}

fn groups<'r, K: Ord>(rows: impl IntoIterator<Item = &'r Row>, key: impl Fn(&Row) -> K) -> BTreeMap<K, Vec<&'r Row>> {
    let mut groups = BTreeMap::<K, Vec<&Row>>::new();
    for row in rows {
        groups.entry(key(row)).or_default().push(row);
    }
    groups
}

/// The query of a kind over these tables, and its answer.
type Case = fn(&mut Random, &World) -> (String, Vec<Vec<Value>>);

async fn check_all(case: Case) {
    let mut wrong = Vec::new();
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let world = World::new(&mut random);
        let (sql, expected) = case(&mut random, &world);
        if let Err(why) = world.check(&sql, expected).await {
            wrong.push(format!("seed {seed}: {sql}\n  {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! properties {
    ($($name:ident: $case:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            check_all($case).await;
        }
    )*};
}

properties! {
    groups_of_rows: group_by,
    groups_of_groups: group_of_groups,
    joins_of_tables: join,
    joins_of_a_table_with_groups: join_of_groups,
    rows_that_have_a_match_and_rows_that_have_none: semi_join,
    first_rows_of_each_key: top_n,
    first_groups: top_of_groups,
    windows_of_rows: window,
    sessions_of_rows: session,
    sets_of_rows: set_operation,
    running_totals: over,
    rows_in_a_pattern: pattern,
}

fn group_by(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let (least, more) = (random.below(10), random.below(4));
    let sql =
        format!("SELECT k, {AGGREGATES} FROM a WHERE v IS NULL OR v >= {least} GROUP BY k HAVING COUNT(*) > {more}");
    let rows = world.a.iter().filter(|r| r.v.is_none_or(|v| v >= least));
    let answer = groups(rows, |r| r.k)
        .into_iter()
        .filter(|(_, rows)| rows.len() as i64 > more)
        .map(|(k, rows)| [vec![json!(k)], aggregates(&rows)].concat());
    (sql, answer.collect())
}

fn group_of_groups(_: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let sql = "SELECT n, COUNT(*), MIN(k), MAX(k), SUM(s) FROM (SELECT k, COUNT(*) AS n, SUM(v) AS s FROM a GROUP BY k) GROUP BY n";
    let mut outer = BTreeMap::<usize, Vec<(Option<i64>, Option<i64>)>>::new();
    for (k, rows) in groups(&world.a, |r| r.k) {
        let values: Vec<i64> = rows.iter().filter_map(|r| r.v).collect();
        outer.entry(rows.len()).or_default().push((k, (!values.is_empty()).then(|| values.iter().sum())));
    }
    let answer = outer.into_iter().map(|(n, inner)| {
        let keys = || inner.iter().filter_map(|(k, _)| *k);
        let sums: Vec<i64> = inner.iter().filter_map(|(_, s)| *s).collect();
        let sum = (!sums.is_empty()).then(|| sums.iter().sum::<i64>());
        vec![json!(n), json!(inner.len()), json!(keys().min()), json!(keys().max()), json!(sum)]
    });
    (sql.to_owned(), answer.collect())
}

/// All pairs by key and residual, with the rows that a side keeps without a match.
fn joined<L, R>(
    left: &[L],
    right: &[R],
    matches: impl Fn(&L, &R) -> bool,
    kind: &str,
    row: impl Fn(Option<&L>, Option<&R>) -> Vec<Value>,
) -> Vec<Vec<Value>> {
    let mut answer = Vec::new();
    for l in left {
        let found: Vec<_> = right.iter().filter(|r| matches(l, r)).collect();
        answer.extend(found.iter().map(|r| row(Some(l), Some(r))));
        if found.is_empty() && ["LEFT", "FULL"].contains(&kind) {
            answer.push(row(Some(l), None));
        }
    }
    for r in right {
        if ["RIGHT", "FULL"].contains(&kind) && !left.iter().any(|l| matches(l, r)) {
            answer.push(row(None, Some(r)));
        }
    }
    answer
}

fn join(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let kind = random.one_of(&["INNER", "LEFT", "RIGHT", "FULL"]);
    let residual = random.below(2) == 0;
    let on = if residual { " AND a.v < b.v" } else { "" };
    let sql = format!("SELECT a.id, a.k, b.id, b.v FROM a {kind} JOIN b ON a.k = b.k{on}");
    let matches = |l: &Row, r: &Row| {
        l.k.is_some() && l.k == r.k && (!residual || matches!((l.v, r.v), (Some(x), Some(y)) if x < y))
    };
    let answer = joined(&world.a, &world.b, matches, kind, |l, r| {
        vec![json!(l.map(|l| l.id)), json!(l.and_then(|l| l.k)), json!(r.map(|r| r.id)), json!(r.and_then(|r| r.v))]
    });
    (sql, answer)
}

fn join_of_groups(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let kind = random.one_of(&["INNER", "LEFT", "RIGHT", "FULL"]);
    let sql = format!(
        "SELECT a.id, g.k, g.n FROM a {kind} JOIN (SELECT k, COUNT(*) AS n FROM b GROUP BY k) AS g ON a.k = g.k"
    );
    let counts: Vec<(Option<i64>, usize)> = groups(&world.b, |r| r.k).into_iter().map(|(k, r)| (k, r.len())).collect();
    let matches = |l: &Row, g: &(Option<i64>, usize)| l.k.is_some() && l.k == g.0;
    let answer = joined(&world.a, &counts, matches, kind, |l, g| {
        vec![json!(l.map(|l| l.id)), json!(g.and_then(|g| g.0)), json!(g.map(|g| g.1))]
    });
    (sql, answer)
}

fn semi_join(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let not = random.below(2) == 1;
    let least = random.below(15);
    let word = if not { "NOT " } else { "" };
    let sql = format!("SELECT id, k FROM a WHERE {word}EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.v > {least})");
    let has = |l: &&Row| world.b.iter().any(|r| l.k.is_some() && r.k == l.k && r.v.is_some_and(|v| v > least));
    let answer = world.a.iter().filter(|l| has(l) != not).map(|l| vec![json!(l.id), json!(l.k)]);
    (sql, answer.collect())
}

fn top_n(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let n = usize::try_from(1 + random.below(3)).unwrap();
    let with_rank = random.below(2) == 0;
    let rank = if with_rank { ", place" } else { "" };
    let sql = format!(
        "SELECT k, id, v{rank} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC NULLS LAST, id) AS place FROM a) WHERE place <= {n}"
    );
    let mut answer = Vec::new();
    for (k, mut rows) in groups(&world.a, |r| r.k) {
        rows.sort_by_key(|r| (r.v.is_none(), std::cmp::Reverse(r.v), r.id));
        for (place, row) in rows.iter().take(n).enumerate() {
            let mut line = vec![json!(k), json!(row.id), json!(row.v)];
            line.extend(with_rank.then(|| json!(place + 1)));
            answer.push(line);
        }
    }
    (sql, answer)
}

fn top_of_groups(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let n = usize::try_from(1 + random.below(3)).unwrap();
    let sql = format!(
        "SELECT k, n FROM (SELECT k, n, ROW_NUMBER() OVER (ORDER BY n DESC, k DESC) AS place FROM (SELECT k, COUNT(*) AS n FROM a WHERE k IS NOT NULL GROUP BY k)) WHERE place <= {n}"
    );
    let mut counts: Vec<_> =
        groups(world.a.iter().filter(|r| r.k.is_some()), |r| r.k).into_iter().map(|(k, r)| (r.len(), k)).collect();
    counts.sort_by_key(|c| std::cmp::Reverse(*c));
    (sql, counts.into_iter().take(n).map(|(count, k)| vec![json!(k), json!(count)]).collect())
}

fn window(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let (function, size, slide) =
        random.one_of(&[("TUMBLE", 10, 10), ("HOP", 12, 4), ("HOP", 10, 4), ("CUMULATE", 12, 4)]);
    let lengths = match function {
        "TUMBLE" => format!("INTERVAL '{size}' SECOND"),
        _ => format!("INTERVAL '{slide}' SECOND, INTERVAL '{size}' SECOND"),
    };
    let sql = format!(
        "SELECT k, window_start, window_end, {AGGREGATES} FROM TABLE({function}(TABLE a, DESCRIPTOR(ts), {lengths})) GROUP BY k, window_start, window_end"
    );
    let (size, slide) = (size * 1000, slide * 1000);
    let mut windows = BTreeMap::<(Option<i64>, i64, i64), Vec<&Row>>::new();
    for row in &world.a {
        let base = row.ts.div_euclid(size) * size;
        let of_row: Vec<(i64, i64)> = match function {
            "TUMBLE" => vec![(base, base + size)],
            "CUMULATE" => (1..=size / slide).map(|n| (base, base + n * slide)).filter(|w| row.ts < w.1).collect(),
            _ => {
                let last = row.ts.div_euclid(slide) * slide;
                (0..)
                    .map(|n| last - n * slide)
                    .take_while(|start| row.ts < start + size)
                    .map(|s| (s, s + size))
                    .collect()
            }
        };
        of_row.into_iter().for_each(|(start, end)| windows.entry((row.k, start, end)).or_default().push(row));
    }
    let answer = windows.into_iter().map(|((k, start, end), rows)| {
        [vec![json!(k), json!(shown(start)), json!(shown(end))], aggregates(&rows)].concat()
    });
    (sql, answer.collect())
}

fn session(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let gap = 2 + random.below(6);
    let sql = format!(
        "SELECT k, window_start, window_end, {AGGREGATES} FROM TABLE(SESSION(TABLE a PARTITION BY k, DESCRIPTOR(ts), INTERVAL '{gap}' SECOND)) GROUP BY k, window_start, window_end"
    );
    let gap = gap * 1000;
    let mut answer = Vec::new();
    for (k, mut rows) in groups(&world.a, |r| r.k) {
        rows.sort_by_key(|r| r.ts);
        for rows in rows.chunk_by(|x, y| y.ts - x.ts <= gap) {
            let (start, end) = (rows[0].ts, rows[rows.len() - 1].ts + gap);
            answer.push([vec![json!(k), json!(shown(start)), json!(shown(end))], aggregates(rows)].concat());
        }
    }
    (sql, answer)
}

fn set_operation(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let (operation, all) = random.one_of(&[
        ("UNION", false),
        ("INTERSECT", false),
        ("EXCEPT", false),
        ("INTERSECT", true),
        ("EXCEPT", true),
    ]);
    let word = if all { " ALL" } else { "" };
    let sql = format!("SELECT k FROM a {operation}{word} SELECT k FROM b");
    let counts =
        |rows: &[Row]| groups(rows, |r| r.k).into_iter().map(|(k, r)| (k, r.len())).collect::<BTreeMap<_, _>>();
    let (a, b) = (counts(&world.a), counts(&world.b));
    let keys: BTreeSet<_> = a.keys().chain(b.keys()).copied().collect();
    let times = |k: &Option<i64>| {
        let (x, y) = (a.get(k).copied().unwrap_or(0), b.get(k).copied().unwrap_or(0));
        match (operation, all) {
            ("INTERSECT", true) => x.min(y),
            ("EXCEPT", true) => x.saturating_sub(y),
            ("INTERSECT", false) => usize::from(x > 0 && y > 0),
            ("EXCEPT", false) => usize::from(x > 0 && y == 0),
            _ => 1,
        }
    };
    (sql, keys.iter().flat_map(|k| std::iter::repeat_n(vec![json!(k)], times(k))).collect())
}

fn over(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let before = random.below(4);
    let rows = random.below(2) == 0;
    let frame = if rows {
        format!("ROWS BETWEEN {before} PRECEDING AND CURRENT ROW")
    } else {
        format!("RANGE BETWEEN INTERVAL '{before}' SECOND PRECEDING AND CURRENT ROW")
    };
    // Rows of one time have no order among themselves: ROWS is asked of rows of different times only.
    let source = if rows {
        "(SELECT k, MIN(id) AS id, MIN(v) AS v, window_time AS ts FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY k, window_start, window_end, window_time)"
    } else {
        "a"
    };
    let sql = format!(
        "SELECT id, COUNT(v) OVER w, SUM(v) OVER w, MAX(v) OVER w FROM {source} WINDOW w AS (PARTITION BY k ORDER BY ts {frame})"
    );
    let mut input: Vec<Row> = world.a.clone();
    if rows {
        let windows = groups(&world.a, |r| (r.k, r.ts.div_euclid(1000)));
        input = windows
            .into_iter()
            .map(|((k, second), rows)| Row {
                id: rows.iter().map(|r| r.id).min().unwrap(),
                k,
                v: rows.iter().filter_map(|r| r.v).min(),
                ts: second * 1000 + 999,
            })
            .collect();
    }
    let mut answer = Vec::new();
    for (_, mut group) in groups(&input, |r| r.k) {
        group.sort_by_key(|r| r.ts);
        for (at, row) in group.iter().enumerate() {
            let within = |other: usize| match rows {
                true => other <= at && other as i64 >= at as i64 - before,
                false => group[other].ts <= row.ts && group[other].ts >= row.ts - before * 1000,
            };
            let frame: Vec<i64> = (0..group.len()).filter(|o| within(*o)).filter_map(|o| group[o].v).collect();
            let sum = (!frame.is_empty()).then(|| frame.iter().sum::<i64>());
            answer.push(vec![json!(row.id), json!(frame.len()), json!(sum), json!(frame.iter().max())]);
        }
    }
    (sql, answer)
}

/// `A B+ C` by rising, falling or null values, past the last row, tried in order of time; greedy.
fn pattern(random: &mut Random, world: &World) -> (String, Vec<Vec<Value>>) {
    let limit = 5 + random.below(10);
    let sql = format!(
        "SELECT * FROM a MATCH_RECOGNIZE (PARTITION BY k ORDER BY ts, id MEASURES A.id AS first_id, LAST(B.id) AS last_id, COUNT(B.id) AS n \
         ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+ C) DEFINE A AS A.v < {limit}, B AS B.v >= {limit}, C AS C.v < {limit})"
    );
    let mut answer = Vec::new();
    for (k, mut rows) in groups(&world.a, |r| r.k) {
        rows.sort_by_key(|r| (r.ts, r.id));
        let low = |at: usize| rows.get(at).is_some_and(|r| r.v.is_some_and(|v| v < limit));
        let high = |at: usize| rows.get(at).is_some_and(|r| r.v.is_some_and(|v| v >= limit));
        let mut at = 0;
        while at < rows.len() {
            let highs = (at + 1..).take_while(|i| high(*i)).count();
            if low(at) && highs > 0 && low(at + highs + 1) {
                answer.push(vec![json!(k), json!(rows[at].id), json!(rows[at + highs].id), json!(highs)]);
                at += highs + 2;
            } else {
                at += 1;
            }
        }
    }
    (sql, answer)
}
