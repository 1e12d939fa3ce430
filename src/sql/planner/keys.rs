//! Unique keys of relations: sets of columns of which no two rows, at any moment, have the same values.
//!
//! Source: Flink's `FlinkRelMdUniqueKeys`. A key with fewer columns makes those that contain it needless. The empty key
//! says that there is at most one row.

use std::collections::BTreeSet;

use super::rel::{Join, Rank, Rel};
use crate::expr::Expr;
use crate::graph::{JoinInputKey, JoinKind};

/// A set of columns, ascending.
pub type UniqueKey = Vec<usize>;
/// Most keys that are kept for one relation.
const MAX_KEYS: usize = 16;

/// The unique keys of a relation; empty if none is known.
pub fn unique_keys(rel: &Rel) -> Vec<UniqueKey> {
    minimal(match rel {
        Rel::Scan(scan) => {
            let table = &scan.table;
            let position = |name: &String| {
                let column = table.columns.iter().position(|c| c.field.name == *name)?;
                scan.columns.iter().position(|(c, _)| *c == column)
            };
            let key: Option<UniqueKey> = table.primary_key.iter().map(position).collect();
            key.filter(|k| !k.is_empty()).into_iter().collect()
        }
        Rel::Values { rows, .. } if rows.len() <= 1 => vec![vec![]],
        Rel::Calc(calc) => moved(&unique_keys(&calc.input), |column| {
            calc.projection.iter().position(|e| matches!(e, Expr::Column { index, .. } if *index == column))
        }),
        Rel::WindowAggregate { spec, .. } => {
            use crate::graph::WindowProperty as P;
            let base = spec.keys.len() + spec.aggregates.len();
            let window = spec.properties.iter().position(|p| matches!(p, P::Start | P::End | P::Time));
            window.map(|w| (0..spec.keys.len()).chain([base + w]).collect()).into_iter().collect()
        }
        Rel::TemporalSort { input, .. } | Rel::Over { input, .. } => unique_keys(input),
        // Its grouping columns come first.
        Rel::GroupAggregate { spec, .. } => vec![(0..spec.keys.len()).collect()],
        Rel::Join(join) => of_join(join),
        Rel::Rank(rank) => {
            let mut found = unique_keys(&rank.input);
            found.extend(of_rank(rank));
            found
        }
        _ => vec![],
    })
}

/// The unique keys by which an update of the relation tells which row it means: of two rows that replace each other they
/// have the same values. Source: Flink's `FlinkRelMdUpsertKeys`.
pub fn upsert_keys(rel: &Rel) -> Vec<UniqueKey> {
    match rel {
        Rel::Calc(calc) => moved(&upsert_keys(&calc.input), |column| {
            calc.projection.iter().position(|e| matches!(e, Expr::Column { index, .. } if *index == column))
        }),
        Rel::Join(join) => {
            // Rows that replace each other share the join's keys only if these are in the key.
            let place = |column: usize| join.condition.output.iter().position(|o| *o == column);
            let arity = join.left.schema().fields.len();
            let of = |column: fn(&crate::graph::JoinKey) -> usize, base: usize| -> Option<UniqueKey> {
                join.condition.keys.iter().map(|k| place(column(k) + base)).collect()
            };
            let sides = [of(|k| k.left, 0), of(|k| k.right, arity)];
            let holds = |key: &UniqueKey| sides.iter().flatten().any(|side| side.iter().all(|c| key.contains(c)));
            unique_keys(rel).into_iter().filter(|key| holds(key)).collect()
        }
        Rel::Rank(rank) => of_rank(rank).map_or_else(|| upsert_keys(&rank.input), |key| vec![key]),
        other => unique_keys(other),
    }
}

/// The partition of a rank, with the number where there may be several.
fn of_rank(rank: &Rank) -> Option<UniqueKey> {
    let spec = &rank.spec;
    let number = rank.input.schema().fields.len();
    match (spec.first == spec.last, spec.number) {
        (true, _) => Some(spec.partition_by.clone()),
        (false, true) => Some(spec.partition_by.iter().copied().chain([number]).collect()),
        (false, false) => None,
    }
}

/// The keys whose columns all have a place in another relation.
fn moved(keys: &[UniqueKey], place: impl Fn(usize) -> Option<usize>) -> Vec<UniqueKey> {
    minimal(keys.iter().filter_map(|key| key.iter().map(|c| place(*c)).collect()).collect())
}

fn of_join(join: &Join) -> Vec<UniqueKey> {
    let condition = &join.condition;
    let arity = join.left.schema().fields.len();
    let (left, right) = (unique_keys(&join.left), unique_keys(&join.right));
    let covers = |keys: &[UniqueKey], column: fn(&crate::graph::JoinKey) -> usize| {
        keys.iter().any(|key| key.iter().all(|c| condition.keys.iter().any(|k| column(k) == *c)))
    };
    let mut found: Vec<UniqueKey> = Vec::new();
    if condition.kind.is_semi_or_anti() {
        found = left;
    } else {
        let shifted = |key: &UniqueKey| key.iter().map(|c| c + arity).collect::<UniqueKey>();
        // Each row meets at most one of the other side: its own key stays unique, unless rows of the other side are padded.
        if covers(&right, |k| k.right) && !condition.kind.keeps_right() {
            found.extend(left.iter().cloned());
        }
        if covers(&left, |k| k.left) && !condition.kind.keeps_left() {
            found.extend(right.iter().map(shifted));
        }
        // Padded columns are null: a pair of keys with nulls on one side stays unique only if a key is never all null.
        let padded = |keys: &[UniqueKey], rel: &Rel| -> Vec<UniqueKey> {
            let never_null = |c: &usize| rel.schema().fields.get(*c).is_some_and(|f| !f.data_type.nullable);
            keys.iter().filter(|k| condition.kind == JoinKind::Inner || k.iter().any(never_null)).cloned().collect()
        };
        for mine in padded(&left, &join.left) {
            for theirs in padded(&right, &join.right) {
                found.push(mine.iter().copied().chain(shifted(&theirs)).collect());
            }
        }
    }
    let place = |column: &usize| condition.output.iter().position(|o| o == column);
    found.iter().filter_map(|key| key.iter().map(place).collect()).collect()
}

/// How a regular join on these columns finds a row of the input again.
pub fn join_input_key(rel: &Rel, join_columns: &[usize]) -> JoinInputKey {
    let unique = upsert_keys(rel);
    if unique.iter().any(|key| key.iter().all(|c| join_columns.contains(c))) {
        return JoinInputKey::Keys;
    }
    let found = unique.into_iter().find(|key| join_columns.iter().all(|c| key.contains(c)));
    found.map_or(JoinInputKey::None, JoinInputKey::Unique)
}

/// Whether a row of an input replaces another only under the same join keys: they are columns of one of its keys.
pub fn replaces_by_key(join: &Join, input: usize) -> bool {
    let rel = if input == 0 { &join.left } else { &join.right };
    let columns = join.condition.keys.iter().map(|k| if input == 0 { k.left } else { k.right });
    let columns: Vec<usize> = columns.collect();
    upsert_keys(rel).iter().any(|key| columns.iter().all(|c| key.contains(c)))
}

/// Sorted, without keys that contain another.
fn minimal(keys: Vec<UniqueKey>) -> Vec<UniqueKey> {
    let sets: BTreeSet<(usize, BTreeSet<usize>)> = keys
        .into_iter()
        .map(|key| {
            let set: BTreeSet<usize> = key.into_iter().collect();
            (set.len(), set)
        })
        .collect();
    let mut kept: Vec<BTreeSet<usize>> = Vec::new();
    for (_, set) in sets {
        if kept.len() < MAX_KEYS && !kept.iter().any(|k| k.is_subset(&set)) {
            kept.push(set);
        }
    }
    kept.into_iter().map(|set| set.into_iter().collect()).collect()
}
