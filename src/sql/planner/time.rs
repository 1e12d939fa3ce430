//! Which columns are event time where they are used: the type of a column keeps its `*ROWTIME*` through operators after
//! which rows come in any order, as Flink's does, but there it is only a timestamp (Flink's
//! `RelTimeIndicatorConverter` makes it one).

use super::rel::{Join, JoinForm, Rel};
use crate::expr::Expr;

/// Whether rows of this relation are not later than its watermark by this column.
pub fn is_event_time(rel: &Rel, column: usize) -> bool {
    if !rel.schema().fields.get(column).is_some_and(|f| f.data_type.kind.is_rowtime()) {
        return false;
    }
    match rel {
        Rel::Calc(calc) => match calc.projection.get(column) {
            Some(Expr::Column { index, .. }) => is_event_time(&calc.input, *index),
            _ => false,
        },
        Rel::Union { inputs, .. } => inputs.iter().all(|i| is_event_time(i, column)),
        // A grouping column is a value; only the window's own time is event time.
        Rel::GroupAggregate { .. } => false,
        Rel::WindowAggregate { spec, .. } => column >= spec.keys.len() + spec.aggregates.len(),
        Rel::Join(join) => of_join(join, column),
        Rel::Unnest(unnest) => match unnest.spec.output.get(column) {
            Some(from) if *from < unnest.input.schema().fields.len() => is_event_time(&unnest.input, *from),
            _ => false,
        },
        _ => true,
    }
}

fn of_join(join: &Join, column: usize) -> bool {
    let Some(column) = join.condition.output.get(column) else { return false };
    let arity = join.left.schema().fields.len();
    match join.form {
        JoinForm::Regular => false,
        JoinForm::Temporal { .. } => *column < arity && is_event_time(&join.left, *column),
        JoinForm::Interval { .. } if *column < arity => is_event_time(&join.left, *column),
        JoinForm::Interval { .. } => is_event_time(&join.right, column - arity),
        JoinForm::Window { .. } if *column < arity => is_event_time(&join.left, *column),
        JoinForm::Window { .. } => is_event_time(&join.right, column - arity),
    }
}
