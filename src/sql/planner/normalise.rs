//! Moves projections and filters towards the sources, and merges them.
//!
//! Rules, bottom-up: 1. adjacent `Calc`s become one, unless that would compute an expression twice; 2. what a `Calc`
//! over a window table function computes without the window's columns is computed below it (once per row instead of
//! once per window); 3. a window aggregate directly over a window table function assigns the windows itself (sessions: if it
//! groups by the columns of the table function's `PARTITION BY`); 4. a filter over a join sinks into the inputs that it
//! is about.

use super::join;
use super::rel::{self, Calc, Join, Rank, Rel, Unnest};
use crate::expr::Expr;
use crate::graph::{WindowAggregateSpec, WindowInput};
use crate::types::{Field, Schema};

/// Applies the rules to the whole tree.
pub fn normalise(tree: Rel) -> Rel {
    match tree {
        Rel::Scan(_) | Rel::Values { .. } => tree,
        Rel::Calc(calc) => {
            let input = Box::new(normalise(*calc.input));
            normalise_calc(Calc { input, ..calc })
        }
        Rel::WindowTable { input, spec, schema } => {
            Rel::WindowTable { input: Box::new(normalise(*input)), spec, schema }
        }
        Rel::Rank(rank) => Rel::Rank(Rank { input: Box::new(normalise(*rank.input)), ..rank }),
        Rel::WindowAggregate { input, spec, schema } => fuse(normalise(*input), spec, schema),
        Rel::TemporalSort { input, spec, schema } => {
            Rel::TemporalSort { input: Box::new(normalise(*input)), spec, schema }
        }
        Rel::MatchRecognize { input, spec, schema } => {
            Rel::MatchRecognize { input: Box::new(normalise(*input)), spec, schema }
        }
        Rel::GroupAggregate { input, spec, schema } => {
            Rel::GroupAggregate { input: Box::new(normalise(*input)), spec, schema }
        }
        Rel::Expand { input, spec, schema } => Rel::Expand { input: Box::new(normalise(*input)), spec, schema },
        Rel::Replicate { input, spec, schema } => Rel::Replicate { input: Box::new(normalise(*input)), spec, schema },
        Rel::Union { inputs, schema } => {
            let mut flat = Vec::with_capacity(inputs.len());
            for input in inputs {
                match normalise(input) {
                    Rel::Union { inputs, .. } => flat.extend(inputs),
                    other => flat.push(other),
                }
            }
            Rel::Union { inputs: flat, schema }
        }
        Rel::Unnest(unnest) => Rel::Unnest(Unnest { input: Box::new(normalise(*unnest.input)), ..unnest }),
        Rel::Join(join) => {
            let (left, right) = (Box::new(normalise(*join.left)), Box::new(normalise(*join.right)));
            Rel::Join(Join { left, right, ..join })
        }
    }
}

/// A calc over a normalised input.
fn normalise_calc(calc: Calc) -> Rel {
    match *calc.input {
        Rel::Calc(inner) if mergeable(&calc.filter, &calc.projection, &inner) => {
            let mut by = |index: usize, _: &_| inner.projection.get(index).expect("a column of the input").clone();
            let filter = calc.filter.as_ref().map(|f| rel::substitute(f, &mut by));
            let projection = calc.projection.iter().map(|e| rel::substitute(e, &mut by)).collect();
            let filter = rel::conjunction(inner.filter.into_iter().chain(filter));
            normalise_calc(Calc { input: inner.input, filter, projection, schema: calc.schema })
        }
        Rel::WindowTable { input, spec, schema } => {
            let window = WindowTableParts { input, spec, schema };
            push_below(calc.filter, calc.projection, calc.schema, window)
        }
        Rel::Join(mut join) => {
            let filter = calc.filter.into_iter().flat_map(rel::conjuncts).collect();
            let filter = rel::conjunction(join::push_filter(&mut join, filter));
            let (left, right) = (Box::new(normalise_top(*join.left)), Box::new(normalise_top(*join.right)));
            let input = Box::new(Rel::Join(Join { left, right, ..join }));
            Rel::Calc(Calc { input, filter, ..calc })
        }
        Rel::Rank(rank) if calc.filter.is_some() => {
            let calc = Calc { input: Box::new(Rel::Values { rows: vec![], schema: rank.schema.clone() }), ..calc };
            super::rank::bound(calc, rank, normalise_calc)
        }
        input => Rel::Calc(Calc { input: Box::new(input), ..calc }),
    }
}

/// A normalised tree over which a calc may have come to lie.
fn normalise_top(tree: Rel) -> Rel {
    match tree {
        Rel::Calc(calc) => normalise_calc(calc),
        other => other,
    }
}

/// Whether substituting the inner projections computes nothing twice.
fn mergeable(filter: &Option<Expr>, projection: &[Expr], inner: &Calc) -> bool {
    let mut uses = vec![0usize; inner.projection.len()];
    for expr in projection.iter().chain(filter) {
        rel::each_column(expr, &mut |i| {
            if let Some(count) = uses.get_mut(i) {
                *count += 1;
            }
        });
    }
    inner.projection.iter().zip(uses).all(|(expr, count)| count <= 1 || rel::is_trivial(expr))
}

struct WindowTableParts {
    input: Box<Rel>,
    spec: crate::graph::WindowTableSpec,
    schema: Schema,
}

/// Splits a calc over a window table function into what can be computed before the windows and the rest.
fn push_below(filter: Option<Expr>, projection: Vec<Expr>, schema: Schema, window: WindowTableParts) -> Rel {
    let arity = window.input.schema().fields.len();
    let of_window = |expr: &Expr| rel::any_column(expr, |i| i >= arity);
    // A row that is filtered out below makes no session.
    let stays = |conjunct: &Expr| window.spec.window.is_session() || of_window(conjunct);
    let (above, below): (Vec<Expr>, Vec<Expr>) = filter.into_iter().flat_map(rel::conjuncts).partition(stays);
    let computed: Vec<usize> =
        projection.iter().enumerate().filter(|(_, e)| !rel::is_trivial(e) && !of_window(e)).map(|(i, _)| i).collect();
    if below.is_empty() && computed.is_empty() {
        let input = Box::new(Rel::WindowTable { input: window.input, spec: window.spec, schema: window.schema });
        return Rel::Calc(Calc { input, filter: rel::conjunction(above), projection, schema });
    }
    let mut lower = rel::columns(window.input.schema());
    let mut fields = window.input.schema().fields.clone();
    let mut window_fields: Vec<Field> = window.schema.fields.get(..arity).unwrap_or_default().to_vec();
    let appended = window.schema.fields.get(arity..).unwrap_or_default();
    for i in &computed {
        if let (Some(expr), Some(field)) = (projection.get(*i), schema.fields.get(*i)) {
            lower.push(retype(expr, window.input.schema()));
            let field = Field::new(format!("{}$", field.name), expr.data_type().clone());
            fields.push(field.clone());
            window_fields.push(field);
        }
    }
    window_fields.extend(appended.iter().cloned());
    let below = below.iter().map(|e| retype(e, window.input.schema()));
    let lower = normalise_calc(Calc {
        filter: rel::conjunction(below),
        projection: lower,
        schema: Schema::new(fields),
        input: window.input,
    });
    let table = Rel::WindowTable { input: Box::new(lower), spec: window.spec, schema: Schema::new(window_fields) };
    let shift = |expr: &Expr| {
        rel::substitute(expr, &mut |index, data_type| {
            Expr::column(if index >= arity { index + computed.len() } else { index }, data_type.clone())
        })
    };
    let projection = projection
        .iter()
        .enumerate()
        .map(|(i, expr)| match computed.iter().position(|c| *c == i) {
            Some(rank) => Expr::column(arity + rank, expr.data_type().clone()),
            None => shift(expr),
        })
        .collect();
    let filter = rel::conjunction(above.iter().map(shift));
    Rel::Calc(Calc { input: Box::new(table), filter, projection, schema })
}

/// Below a window table function a column has its own type again: there it may still be the time attribute.
fn retype(expr: &Expr, schema: &Schema) -> Expr {
    rel::substitute(expr, &mut |index, data_type| {
        Expr::column(index, schema.fields.get(index).map_or_else(|| data_type.clone(), |f| f.data_type.clone()))
    })
}

/// `WindowAggregate(Calc(WindowTable(x)))` becomes `WindowAggregate(Calc(x))` that assigns the windows.
fn fuse(input: Rel, mut spec: WindowAggregateSpec, schema: Schema) -> Rel {
    let WindowInput::Attached { window_start, window_end, .. } = spec.input else {
        return Rel::WindowAggregate { input: Box::new(input), spec, schema };
    };
    let fusible = |calc: &Calc| {
        let Rel::WindowTable { input, spec: table, .. } = calc.input.as_ref() else { return false };
        let arity = input.schema().fields.len();
        let is = |position: usize, column: usize| matches!(calc.projection.get(position), Some(Expr::Column { index, .. }) if *index == column);
        let of_window = |expr: &Expr| rel::any_column(expr, |i| i >= arity);
        let others = calc.projection.iter().enumerate().filter(|(i, _)| *i != window_start && *i != window_end);
        let mut partition = table.partition_by.clone();
        partition.sort_unstable();
        partition.dedup();
        let mut keys: Vec<Option<usize>> = (spec.keys.iter().map(|k| calc.projection.get(*k)))
            .map(|e| if let Some(Expr::Column { index, .. }) = e { Some(*index) } else { None })
            .collect();
        keys.sort_unstable();
        let same_sessions = keys.into_iter().eq(partition.into_iter().map(Some));
        (same_sessions || !table.window.is_session())
            && is(window_start, arity)
            && is(window_end, arity + 1)
            && !calc.filter.as_ref().is_some_and(of_window)
            && !others.map(|(_, e)| e).any(of_window)
    };
    match input {
        Rel::Calc(calc) if fusible(&calc) => {
            let Calc { input, filter, mut projection, schema: mut below } = calc;
            let Rel::WindowTable { input, spec: window, .. } = *input else { unreachable!("checked above") };
            let Some(clock) = input.schema().fields.get(window.rowtime).cloned() else {
                unreachable!("a window table function's rowtime is a column of its input")
            };
            for expr in &mut projection {
                let of_window = matches!(expr, Expr::Column { index, .. } if *index >= input.schema().fields.len());
                *expr = if of_window {
                    Expr::column(window.rowtime, clock.data_type.clone())
                } else {
                    retype(expr, input.schema())
                };
            }
            // The end's column is the time attribute too; nothing refers to it, so pruning drops it.
            for position in [window_start, window_end] {
                if let Some(field) = below.fields.get_mut(position) {
                    *field = clock.clone();
                }
            }
            spec.input = WindowInput::Assign { window: window.window, rowtime: window_start };
            let input = normalise_calc(Calc { input, filter, projection, schema: below });
            Rel::WindowAggregate { input: Box::new(input), spec, schema }
        }
        input => Rel::WindowAggregate { input: Box::new(input), spec, schema },
    }
}
