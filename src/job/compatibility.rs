//! What a changed plan does to each operator's state, told from the two plans alone. Pure.
//!
//! An operator keeps its state if the new plan has an operator with its id (see `sql::planner::physical`: the id is a hash
//! of what decides the state) whose stored form is the same. Everything here is told before anything stops; what cannot be
//! told from plans is found when the state is opened, and then the upgrade is rolled back.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::graph::{ConnectorSpec, JobGraph, OperatorKind, OperatorSpec};
use crate::id::OperatorId;
use crate::metadata::{OperatorChange, StateChange};
use crate::operator::stored_layout;
use crate::types::Schema;

/// An operator with state, and the columns that it reads.
struct Stateful<'g> {
    operator: &'g OperatorSpec,
    input: Option<&'g Schema>,
}

/// Compares the state of two plans: the new plan's operators in its order, then those that it drops.
pub fn compare(old: &JobGraph, new: &JobGraph) -> Result<Vec<OperatorChange>> {
    let before: HashMap<OperatorId, Stateful<'_>> = stateful(old).into_iter().map(|s| (s.operator.id, s)).collect();
    let after = stateful(new);
    let mut changes = Vec::with_capacity(after.len());
    for now in &after {
        changes.push(match before.get(&now.operator.id) {
            Some(was) => kept(was, now)?,
            None => change(now.operator, StateChange::New, None, false),
        });
    }
    for was in stateful(old) {
        if after.iter().all(|now| now.operator.id != was.operator.id) {
            changes.push(dropped(was.operator, &after));
        }
    }
    Ok(changes)
}

/// Refuses what cannot be done, or not without dropping state.
pub fn check(changes: &[OperatorChange], allow_non_restored: bool) -> Result<()> {
    let describe = |c: &OperatorChange| match &c.reason {
        Some(reason) => format!("{}: {reason}", c.name),
        None => c.name.clone(),
    };
    let wrong: Vec<String> = changes.iter().filter(|c| c.change == StateChange::Incompatible).map(describe).collect();
    if !wrong.is_empty() {
        return Err(Error::conflict(
            "state_incompatible",
            format!("the new version cannot read the state of {}; submit it as a new job", wrong.join("; ")),
        )
        .at_pointer("/sql"));
    }
    let lost: Vec<String> = changes.iter().filter(|c| c.loses_state).map(describe).collect();
    if !lost.is_empty() && !allow_non_restored {
        return Err(Error::conflict(
            "state_not_restored",
            format!("the new version drops the state of {}; set allow_non_restored_state to drop it", lost.join("; ")),
        )
        .at_pointer("/allow_non_restored_state"));
    }
    Ok(())
}

fn stateful(graph: &JobGraph) -> Vec<Stateful<'_>> {
    let mut found = Vec::new();
    for (index, vertex) in graph.vertices.iter().enumerate() {
        let from = graph.edges.iter().find(|e| e.to == index).and_then(|e| graph.vertices.get(e.from));
        let mut input = from.and_then(|v| v.operators.last()).map(|o| &o.output);
        for operator in &vertex.operators {
            let has_state = operator.kind.is_keyed()
                || matches!(
                    operator.kind,
                    OperatorKind::Source(_) | OperatorKind::Values { .. } | OperatorKind::Sink(_)
                );
            if has_state {
                found.push(Stateful { operator, input });
            }
            input = Some(&operator.output);
        }
    }
    found
}

fn change(operator: &OperatorSpec, change: StateChange, reason: Option<String>, loses_state: bool) -> OperatorChange {
    OperatorChange { id: operator.id.to_string(), name: operator.name.clone(), change, reason, loses_state }
}

fn kept(was: &Stateful<'_>, now: &Stateful<'_>) -> Result<OperatorChange> {
    let (incompatible, note) = match (&was.operator.kind, &now.operator.kind) {
        (OperatorKind::Source(old), OperatorKind::Source(new)) => {
            (other_connector(&old.connector, &new.connector), positions(&old.connector, &new.connector))
        }
        (OperatorKind::Sink(old), OperatorKind::Sink(new)) => {
            let moved = old.connector.connector != new.connector.connector;
            let note = moved.then(|| "everything written so far is published by the old connector".to_owned());
            (None, note)
        }
        (OperatorKind::Values { rows: old }, OperatorKind::Values { rows: new }) => {
            (None, (old != new).then(|| "its rows were emitted already: changed ones are not".to_owned()))
        }
        (old, new) if std::mem::discriminant(old) != std::mem::discriminant(new) => {
            (Some("it is another kind of operator".to_owned()), None)
        }
        (old, new) => (other_layout(old, was.input, new, now.input)?, None),
    };
    Ok(match incompatible {
        Some(reason) => change(now.operator, StateChange::Incompatible, Some(reason), true),
        None => change(now.operator, StateChange::Kept, note, false),
    })
}

fn other_connector(old: &ConnectorSpec, new: &ConnectorSpec) -> Option<String> {
    (old.connector != new.connector).then(|| {
        format!(
            "its positions are of connector '{}' and cannot be read by '{}'; give the table another name to read it from its start",
            old.connector, new.connector
        )
    })
}

/// Options that decide what is read say nothing any more: the stored positions do.
fn positions(old: &ConnectorSpec, new: &ConnectorSpec) -> Option<String> {
    let keys = old.options.keys().chain(new.options.keys());
    let mut changed: Vec<&str> =
        keys.filter(|k| old.options.get(*k) != new.options.get(*k)).map(String::as_str).collect();
    changed.sort_unstable();
    changed.dedup();
    (!changed.is_empty()).then(|| format!("it reads on from its stored positions; changed: {}", changed.join(", ")))
}

fn other_layout(
    old: &OperatorKind,
    old_input: Option<&Schema>,
    new: &OperatorKind,
    new_input: Option<&Schema>,
) -> Result<Option<String>> {
    let (Some(old_input), Some(new_input)) = (old_input, new_input) else { return Ok(None) };
    let (was, now) = (stored_layout(old, old_input)?, stored_layout(new, new_input)?);
    let describe = |layout: &Option<String>| layout.clone().unwrap_or_else(|| "of another kind".to_owned());
    Ok((was != now).then(|| format!("its state is {}, the new plan needs {}", describe(&was), describe(&now))))
}

fn dropped(operator: &OperatorSpec, after: &[Stateful<'_>]) -> OperatorChange {
    if matches!(operator.kind, OperatorKind::Sink(_)) {
        let reason = "everything written until the switch is published first".to_owned();
        return change(operator, StateChange::Dropped, Some(reason), false);
    }
    let alike = std::mem::discriminant(&operator.kind);
    let successor =
        after.iter().find(|now| operator.kind.is_keyed() && std::mem::discriminant(&now.operator.kind) == alike);
    let reason = successor.map(|now| {
        format!(
            "what decides its state changed (keys, windows, aggregates, types, or what it reads); perhaps it is now {}",
            now.operator.name
        )
    });
    change(operator, StateChange::Dropped, reason.or_else(|| Some("the new plan has no such operator".into())), true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::plan_job;

    const HEAD: &str = "CREATE TABLE src (n BIGINT, k BIGINT, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'rows-per-second' = '5'); \
         CREATE TABLE dst (k BIGINT, n BIGINT) WITH ('connector' = 'blackhole'); CREATE TABLE dst2 (k BIGINT, n BIGINT) WITH ('connector' = 'blackhole'); ";
    const COUNT: &str = "INSERT INTO dst SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY k, window_start, window_end; ";

    fn graph(text: &str) -> JobGraph {
        plan_job(text).unwrap_or_else(|e| panic!("{text}: {e}")).graph
    }

    /// Each change with the first word of its operator's name.
    fn changes(old: &str, new: &str) -> Vec<(String, StateChange, bool)> {
        let found = compare(&graph(old), &graph(new)).unwrap();
        found
            .into_iter()
            .map(|c| (c.name.split('(').next().unwrap_or_default().to_owned(), c.change, c.loses_state))
            .collect()
    }

    #[test]
    fn each_operators_fate_is_told() {
        use StateChange::{Dropped, Incompatible, Kept, New};
        let base = format!("{HEAD}{COUNT}");
        let check = |new: String, expected: &[(&str, StateChange, bool)]| {
            let got = changes(&base, &new);
            let got: Vec<_> = got.iter().map(|(name, change, loses)| (name.as_str(), *change, *loses)).collect();
            assert_eq!(got, expected, "{new}");
        };
        let (source, sink) = (("TableSourceScan", Kept, false), ("Sink", Kept, false));
        check(base.clone(), &[source, ("GlobalWindowAggregate", Kept, false), sink]);
        check(
            base.replace("'1' SECOND", "'2' SECOND"),
            &[source, ("GlobalWindowAggregate", New, false), sink, ("GlobalWindowAggregate", Dropped, true)],
        );
        check(
            format!("{base} INSERT INTO dst2 SELECT k, n FROM src"),
            &[source, ("GlobalWindowAggregate", Kept, false), sink, ("Sink", New, false)],
        );
        check(
            base.replace(
                "'connector' = 'datagen', 'rows-per-second' = '5'",
                "'connector' = 'filesystem', 'path' = '/tmp', 'format' = 'json'",
            ),
            &[("TableSourceScan", Incompatible, true), ("GlobalWindowAggregate", Kept, false), sink],
        );
        check(
            format!("{HEAD} INSERT INTO dst2 SELECT k, n FROM src"),
            &[source, ("Sink", New, false), ("GlobalWindowAggregate", Dropped, true), ("Sink", Dropped, false)],
        );
    }

    #[test]
    fn what_would_be_lost_is_refused_unless_allowed() {
        let base = format!("{HEAD}{COUNT}");
        let check_code = |new: &str, allow: bool, expected: Option<&str>| {
            let changes = compare(&graph(&base), &graph(new)).unwrap();
            let code = check(&changes, allow).err().map(|e| e.code);
            assert_eq!(code.as_deref(), expected, "{new}");
        };
        let other_window = base.replace("'1' SECOND", "'2' SECOND");
        check_code(&base, false, None);
        check_code(&other_window, false, Some("state_not_restored"));
        check_code(&other_window, true, None);
        let other_connector = base.replace(
            "'connector' = 'datagen', 'rows-per-second' = '5'",
            "'connector' = 'filesystem', 'path' = '/tmp', 'format' = 'json'",
        );
        check_code(&other_connector, true, Some("state_incompatible"));
    }

    #[test]
    fn changed_options_of_a_source_are_told() {
        let base = format!("{HEAD}{COUNT}");
        let found = compare(&graph(&base), &graph(&base.replace("'5'", "'6'"))).unwrap();
        assert_eq!(found[0].reason.as_deref(), Some("it reads on from its stored positions; changed: rows-per-second"));
    }

    #[test]
    fn state_of_another_layout_is_incompatible_even_under_the_same_id() {
        let old = graph(&format!("{HEAD}{COUNT}"));
        let mut new = old.clone();
        for operator in new.vertices.iter_mut().flat_map(|v| &mut v.operators) {
            if let OperatorKind::WindowAggregate(spec) = &mut operator.kind {
                spec.keys.push(spec.keys[0]);
            }
        }
        let found = compare(&old, &new).unwrap();
        let aggregate = found.iter().find(|c| c.change == StateChange::Incompatible).unwrap();
        assert!(aggregate.reason.as_deref().unwrap().contains("by keys [BIGINT, BIGINT]"), "{aggregate:?}");
    }
}
