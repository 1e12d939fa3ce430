//! Which kinds of rows each relation emits, as Flink's `FlinkChangelogModeInferenceProgram` decides it.
//!
//! Two passes: bottom-up, what each relation can emit, refusing inputs that cannot take it; then from the sink down,
//! whether `-U` is needed, which operators that make updates are told. A new relation gets an arm in [`accepts`],
//! [`produces`], [`needs_before`] and, if it makes changes of its own, [`decide`].
//!
//! Rows of a relation that is not asked for `-U` may carry them all the same.

use super::rel::{Calc, JoinForm, Rel};
use super::{Environment, SinkQuery, display, keys, place};
use crate::connector::SinkChangelog;
use crate::error::Result;
use crate::graph::JoinKind;
use crate::types::changelog::ChangelogMode;

/// A relation's kinds with its inputs'.
struct Modes {
    mode: ChangelogMode,
    inputs: Vec<Modes>,
}

/// Infers the kinds of a query's rows and prepares its relations for them; refuses what its sink or an operator cannot
/// take.
pub fn infer(query: &mut SinkQuery, environment: &Environment) -> Result<()> {
    let modes = modes(&query.rel, environment).map_err(|e| place::locate(e, query.at))?;
    let before = match sink(query, environment) {
        SinkChangelog::InsertOnly if !modes.mode.is_insert_only() => {
            let connector = &query.sink.connector;
            let (producer, kinds) = (producer(&query.rel, &modes), changes(modes.mode));
            let message = format!(
                "table '{}' (connector '{}') takes new rows only, but {producer} makes {kinds}: write to a table that \
                 takes them (such as 'print'), or aggregate in windows, whose results are final",
                connector.table, connector.connector
            );
            return Err(place::error("sql_sink_changelog", message, query.at));
        }
        SinkChangelog::InsertOnly => false,
        SinkChangelog::All => true,
        // Only an input that is updated by this very key tells by `+U` alone which row is meant.
        SinkChangelog::Upsert => !keys::upsert_keys(&query.rel).contains(&query.primary_key),
    };
    assign(&mut query.rel, &modes, before);
    Ok(())
}

/// The kinds of a relation's rows, once [`infer`] has prepared it.
pub fn mode(rel: &Rel, environment: &Environment) -> ChangelogMode {
    let inputs: Vec<ChangelogMode> = rel.inputs().into_iter().map(|input| mode(input, environment)).collect();
    produces(rel, &inputs, environment)
}

fn sink(query: &SinkQuery, environment: &Environment) -> SinkChangelog {
    match query.declared {
        Some(_) => (environment.sink_changelog)(&query.sink),
        // The collecting sink is the runtime's own.
        None => SinkChangelog::All,
    }
}

fn modes(rel: &Rel, environment: &Environment) -> Result<Modes> {
    let inputs: Vec<Modes> = rel.inputs().into_iter().map(|input| modes(input, environment)).collect::<Result<_>>()?;
    for (index, (input, found)) in rel.inputs().into_iter().zip(&inputs).enumerate() {
        if !found.mode.is_insert_only() && !accepts(rel, index) {
            return Err(crate::error::Error::invalid(
                "sql_changelog",
                format!(
                    "{} takes new rows only, but {} makes {}: aggregate or join after it, or in windows before",
                    name(rel),
                    producer(input, found),
                    changes(found.mode)
                ),
            ));
        }
    }
    let given: Vec<ChangelogMode> = inputs.iter().map(|i| i.mode).collect();
    Ok(Modes { mode: produces(rel, &given, environment), inputs })
}

fn assign(rel: &mut Rel, modes: &Modes, required: bool) {
    let given: Vec<ChangelogMode> = modes.inputs.iter().map(|i| i.mode).collect();
    decide(rel, required, &given);
    for (index, input) in modes.inputs.iter().enumerate() {
        let before = needs_before(rel, index, required);
        if let Some(below) = rel.inputs_mut().into_iter().nth(index) {
            assign(below, input, before && input.mode.update);
        }
    }
}

/// Whether an input may carry other kinds than `+I`.
fn accepts(rel: &Rel, input: usize) -> bool {
    let _ = input;
    match rel {
        Rel::Scan(_)
        | Rel::Values { .. }
        | Rel::Calc(_)
        | Rel::Union { .. }
        | Rel::GroupAggregate { .. }
        | Rel::Expand { .. }
        | Rel::Replicate { .. }
        | Rel::Unnest(_) => true,
        Rel::WindowTable { .. }
        | Rel::WindowAggregate { .. }
        | Rel::MatchRecognize { .. }
        | Rel::TemporalSort { .. } => false,
        // Within windows rows are ranked once.
        Rel::Rank(rank) => rank.window.is_none(),
        Rel::Join(join) => !matches!(join.form, JoinForm::Interval { .. } | JoinForm::Window { .. }),
    }
}

/// What a relation emits over inputs of these kinds.
fn produces(rel: &Rel, inputs: &[ChangelogMode], environment: &Environment) -> ChangelogMode {
    let all = || inputs.iter().fold(ChangelogMode::INSERT_ONLY, |all, one| all.union(*one));
    match rel {
        // A table without a connector is refused where the source is built.
        Rel::Scan(scan) => {
            scan.table.connector().map_or(ChangelogMode::INSERT_ONLY, |c| (environment.source_changelog)(&c))
        }
        Rel::Values { .. } | Rel::WindowAggregate { .. } | Rel::MatchRecognize { .. } | Rel::TemporalSort { .. } => {
            ChangelogMode::INSERT_ONLY
        }
        Rel::Rank(rank) => super::rank::produces(rank, all()),
        Rel::GroupAggregate { spec, .. } => {
            let retracts = !all().is_insert_only();
            let update = !spec.aggregates.is_empty();
            ChangelogMode { update, update_before: update && spec.update_before, delete: retracts }
        }
        Rel::Calc(_)
        | Rel::Union { .. }
        | Rel::WindowTable { .. }
        | Rel::Unnest(_)
        | Rel::Expand { .. }
        | Rel::Replicate { .. } => all(),
        Rel::Join(join) => match (join.form, join.condition.kind) {
            (JoinForm::Window { .. }, _) => ChangelogMode::INSERT_ONLY,
            (JoinForm::Temporal { .. }, _) => inputs.first().copied().unwrap_or(ChangelogMode::INSERT_ONLY),
            (_, JoinKind::Inner | JoinKind::Semi) => all(),
            // A row that was padded with nulls is taken back when it is matched.
            _ => ChangelogMode { delete: true, ..all() },
        },
    }
}

/// Whether an input must carry `-U`, where `required` says whether this relation's output must.
fn needs_before(rel: &Rel, input: usize, required: bool) -> bool {
    let _ = input;
    match rel {
        // An update may leave what a filter lets through: only the row before tells that it was there.
        Rel::Calc(Calc { filter: Some(_), .. }) => true,
        Rel::Scan(_) | Rel::Values { .. } | Rel::Calc(_) | Rel::Union { .. } | Rel::WindowTable { .. } => required,
        // Flink drops an update's row before where only its key counts; here each copy of a row must go by itself.
        Rel::WindowAggregate { .. }
        | Rel::GroupAggregate { .. }
        | Rel::Expand { .. }
        | Rel::Replicate { .. }
        | Rel::MatchRecognize { .. }
        | Rel::TemporalSort { .. }
        | Rel::Rank(_) => true,
        // Which elements an update takes away only the row before tells.
        Rel::Unnest(_) => true,
        Rel::Join(join) => match (join.form, input) {
            (JoinForm::Temporal { .. }, 0) => required,
            (JoinForm::Temporal { .. }, _) => false,
            // Only an inner join on columns of the input's key takes a row by its key for the one that it replaces.
            _ => required || join.condition.kind != JoinKind::Inner || !keys::replaces_by_key(join, input),
        },
    }
}

/// Tells a relation that makes changes whether to emit `-U`, and what its inputs carry.
fn decide(rel: &mut Rel, required: bool, inputs: &[ChangelogMode]) {
    match rel {
        Rel::GroupAggregate { spec, .. } => {
            spec.update_before = required;
            spec.retracts = inputs.iter().any(|i| !i.is_insert_only());
        }
        Rel::Scan(_)
        | Rel::Values { .. }
        | Rel::Calc(_)
        | Rel::Union { .. }
        | Rel::WindowTable { .. }
        | Rel::WindowAggregate { .. }
        | Rel::TemporalSort { .. }
        | Rel::MatchRecognize { .. }
        | Rel::Expand { .. }
        | Rel::Replicate { .. }
        | Rel::Join(_)
        | Rel::Unnest(_) => {}
        Rel::Rank(rank) => rank.update_before = required,
    }
}

/// The relation that makes the changes, for a message.
fn producer(rel: &Rel, modes: &Modes) -> String {
    if let Rel::Calc(_) | Rel::Union { .. } | Rel::WindowTable { .. } | Rel::Expand { .. } | Rel::Replicate { .. } = rel
    {
        let found = rel.inputs().into_iter().zip(&modes.inputs).find(|(_, m)| !m.mode.is_insert_only());
        if let Some((input, modes)) = found {
            return producer(input, modes);
        }
    }
    name(rel)
}

fn changes(mode: ChangelogMode) -> &'static str {
    match (mode.update, mode.delete) {
        (true, true) => "updates and deletions",
        (true, false) => "updates",
        _ => "deletions",
    }
}

fn name(rel: &Rel) -> String {
    match rel {
        Rel::Scan(scan) => format!("TableSourceScan(table=[{}])", scan.table.name),
        Rel::Values { .. } => "Values".to_owned(),
        Rel::Calc(_) => "Calc".to_owned(),
        Rel::Union { .. } => "Union".to_owned(),
        Rel::WindowTable { spec, input, .. } => {
            format!("WindowTableFunction(window=[{}])", display::window(&spec.window, spec.rowtime, input.schema()))
        }
        Rel::TemporalSort { spec, input, .. } => display::temporal_sort(&spec.order_by, input.schema()),
        Rel::MatchRecognize { spec, input, .. } => display::match_recognize(spec, input.schema()),
        Rel::WindowAggregate { spec, input, schema } => display::window_aggregate(spec, input.schema(), schema),
        Rel::GroupAggregate { spec, input, schema } => display::group_aggregate(spec, input.schema(), schema),
        Rel::Expand { .. } => "Expand".to_owned(),
        Rel::Replicate { .. } => "ReplicateRows".to_owned(),
        Rel::Unnest(unnest) => display::unnest(unnest, unnest.input.schema()),
        Rel::Join(join) => display::join(join, join.left.schema(), join.right.schema()),
        Rel::Rank(rank) => display::rank(&rank.spec, rank.window, rank.input.schema()),
    }
}
