//! `ROW_NUMBER() OVER (PARTITION BY … ORDER BY …)` and the filter on its number: a [`Rank`].
//!
//! A call becomes the column [`RANK_BASE`]; the select list is bound without it ([`lift`]) and the rank put on top
//! ([`Lifted::apply`]), so that it may rank groups of the same `SELECT`. A comparison of the number with a constant, in a
//! filter above, bounds the rank ([`bound`]); one that stays unbounded is no Top-N.

use sqlparser::ast as sp;

use super::expression::Binder;
use super::group_window::PROPERTY_BASE;
use super::place::{self, unsupported};
use super::query::{Bound, Item, WindowColumn, project};
use super::rel::{self, Calc, Rank, Rel, WindowBounds};
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::graph::ranking::{Ties, TopNSpec};
use crate::graph::{NullOrder, RankSpec, SortKey, SortOrder, WindowProperty};
use crate::sql::ast::Position;
use crate::types::changelog::ChangelogMode;
use crate::types::{DataType, Field, Schema, TimestampKind, TypeKind};

/// The column number that stands for the row number.
pub const RANK_BASE: usize = PROPERTY_BASE - 1;
/// The name of the number's column below the select list.
const NUMBER: &str = "$rank";

/// A bound `ROW_NUMBER() OVER (…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct RankCall {
    partition: Vec<Expr>,
    order: Vec<(Expr, SortOrder, NullOrder)>,
    at: Position,
}

impl Binder<'_> {
    /// Binds `ROW_NUMBER() OVER (PARTITION BY … ORDER BY …)`.
    pub(super) fn row_number(&mut self, over: &sp::WindowType, at: Position) -> Result<Expr> {
        let sp::WindowType::WindowSpec(spec) = over else {
            return unsupported("a named window of ROW_NUMBER is not supported", "write the window into OVER (…)", at);
        };
        if spec.window_name.is_some() || spec.window_frame.is_some() {
            return unsupported("ROW_NUMBER with a frame is not supported", "leave the frame out", at);
        }
        if self.rank.is_none() {
            let what = "ROW_NUMBER is not supported here";
            return unsupported(what, "select it in a subquery, and filter by it above", at);
        }
        let mut order = Vec::with_capacity(spec.order_by.len());
        for item in &spec.order_by {
            let expr = self.bind(&item.expr)?;
            let ascending = item.options.asc != Some(false);
            let (direction, nulls) = match (ascending, item.options.nulls_first) {
                (true, Some(false)) => (SortOrder::Ascending, NullOrder::Last),
                (true, _) => (SortOrder::Ascending, NullOrder::First),
                (false, Some(true)) => (SortOrder::Descending, NullOrder::First),
                (false, _) => (SortOrder::Descending, NullOrder::Last),
            };
            order.push((expr, direction, nulls));
        }
        if order.is_empty() {
            return Err(place::error("sql_type", "ROW_NUMBER needs an ORDER BY in its OVER clause", at));
        }
        let partition = spec.partition_by.iter().map(|p| self.bind(p)).collect::<Result<Vec<_>>>()?;
        let call = RankCall { partition, order, at };
        let same = |known: &RankCall| known.partition == call.partition && known.order == call.order;
        match &mut self.rank {
            Some(Some(known)) if !same(known) => {
                unsupported("several ROW_NUMBER in one SELECT are not supported", "use a subquery for each", at)
            }
            Some(slot) => {
                *slot = Some(call);
                Ok(Expr::column(RANK_BASE, number_type()))
            }
            None => Err(crate::error::Error::internal("it was checked that ranks are allowed here")),
        }
    }
}

fn number_type() -> DataType {
    DataType::not_null(TypeKind::BigInt)
}

/// What goes on top of a select list without its row number.
pub struct Lifted {
    partition: Vec<usize>,
    order: Vec<SortKey>,
    /// Over the lower list; the number is [`RANK_BASE`].
    items: Vec<Item>,
    at: Position,
}

/// Splits a select list at its row number: what is computed below, and what goes on top.
pub fn lift(items: Vec<Item>, call: RankCall) -> (Vec<Item>, Lifted) {
    let mut lower: Vec<Item> = Vec::with_capacity(items.len());
    let mut above = Vec::with_capacity(items.len());
    let (with, without): (Vec<_>, Vec<_>) =
        items.into_iter().enumerate().partition(|(_, item)| rel::any_column(&item.expr, |i| i == RANK_BASE));
    for (position, item) in without {
        let expr = Expr::column(lower.len(), item.expr.data_type().clone());
        above.push((position, Item { expr, name: item.name.clone(), at: item.at }));
        lower.push(item);
    }
    let mut add = |expr: &Expr, at: Position| {
        lower.iter().position(|item| item.expr == *expr).unwrap_or_else(|| {
            lower.push(Item { expr: expr.clone(), name: format!("$by{}", lower.len()), at });
            lower.len() - 1
        })
    };
    for (position, item) in with {
        let expr = rel::substitute(&item.expr, &mut |index, data_type| {
            let column = Expr::column(index, data_type.clone());
            if index == RANK_BASE { column } else { Expr::column(add(&column, item.at), data_type.clone()) }
        });
        above.push((position, Item { expr, ..item }));
    }
    let mut partition: Vec<usize> = Vec::new();
    for expr in &call.partition {
        let column = add(expr, call.at);
        if !partition.contains(&column) {
            partition.push(column);
        }
    }
    let order = call.order.iter();
    let order = order.map(|(expr, order, nulls)| SortKey { column: add(expr, call.at), order: *order, nulls: *nulls });
    let order = order.collect();
    above.sort_by_key(|(position, _)| *position);
    let items = above.into_iter().map(|(_, item)| item).collect();
    (lower, Lifted { partition, order, items, at: call.at })
}

impl Lifted {
    /// The rank over the lower list, and the select list over that.
    pub fn apply(self, input: Bound) -> Bound {
        let Bound { rel, mut windows } = input;
        let mut fields = rel.schema().fields.clone();
        let number = fields.len();
        fields.push(Field::new(NUMBER, number_type()));
        let types: Vec<DataType> = fields.iter().map(|f| f.data_type.clone()).collect();
        let window = window_of(&self.partition, &windows);
        windows.push(None);
        let spec =
            RankSpec { partition_by: self.partition, order_by: self.order, first: 1, last: u64::MAX, number: true };
        let (update_before, at) = (true, self.at);
        let rank = Rank { input: Box::new(rel), spec, window, update_before, at, schema: Schema::new(fields) };
        let place = |expr: &Expr| {
            rel::substitute(expr, &mut |index, data_type| {
                let index = if index == RANK_BASE { number } else { index };
                Expr::column(index, types.get(index).unwrap_or(data_type).clone())
            })
        };
        let items = self.items.into_iter().map(|item| Item { expr: place(&item.expr), ..item }).collect();
        project(Bound { rel: Rel::Rank(rank), windows }, items)
    }
}

/// The window among the columns by which rows are partitioned.
fn window_of(partition: &[usize], windows: &[Option<WindowColumn>]) -> Option<WindowBounds> {
    let of = |wanted: WindowProperty| {
        partition
            .iter()
            .filter_map(move |c| windows.get(*c).copied().flatten().map(|w| (*c, w)))
            .filter(move |(_, w)| w.property == wanted)
    };
    of(WindowProperty::Start).find_map(|(start, a)| {
        let (end, _) = of(WindowProperty::End).find(|(_, b)| a.window == b.window)?;
        Some(WindowBounds { start, end, zoned: a.zoned })
    })
}

/// Moves what a calc's filter says of the number into the rank, and what it says of the partition below it.
pub fn bound(calc: Calc, mut rank: Rank, normalise: impl FnOnce(Calc) -> Rel) -> Rel {
    // A LIMIT has no number.
    let number = if rank.spec.number { rank.schema.fields.len().wrapping_sub(1) } else { usize::MAX };
    let (mut above, mut below) = (Vec::new(), Vec::new());
    for conjunct in calc.filter.into_iter().flat_map(rel::conjuncts) {
        if let Some((first, last)) = range(&conjunct, number) {
            rank.spec.first = rank.spec.first.max(first);
            rank.spec.last = rank.spec.last.min(last);
        } else if !rel::any_column(&conjunct, |i| !rank.spec.partition_by.contains(&i)) && !is_constant(&conjunct) {
            below.push(conjunct);
        } else {
            above.push(conjunct);
        }
    }
    if let Some(filter) = rel::conjunction(below) {
        let schema = rank.input.schema().clone();
        rank.input = Box::new(normalise(Calc {
            projection: rel::columns(&schema),
            input: rank.input,
            filter: Some(filter),
            schema,
        }));
    }
    Rel::Calc(Calc { input: Box::new(Rel::Rank(rank)), filter: rel::conjunction(above), ..calc })
}

fn is_constant(expr: &Expr) -> bool {
    !rel::any_column(expr, |_| true)
}

/// The numbers that a comparison of the number column with constants lets through, first to last.
fn range(conjunct: &Expr, number: usize) -> Option<(u64, u64)> {
    let Expr::Call { function, args, .. } = conjunct else { return None };
    let is_number = |e: &Expr| matches!(uncast(e), Expr::Column { index, .. } if *index == number);
    let at_least = |n: i64| u64::try_from(n).unwrap_or(0).max(1);
    let at_most = |n: i64| u64::try_from(n).unwrap_or(0);
    match (function.as_str(), args.as_slice()) {
        ("BETWEEN", [column, low, high]) if is_number(column) => {
            Some((at_least(constant(low)?), at_most(constant(high)?)))
        }
        (comparison, [left, right]) => {
            let (comparison, value) = if is_number(left) {
                (comparison, constant(right)?)
            } else if is_number(right) {
                let mirrored = match comparison {
                    "<" => ">",
                    "<=" => ">=",
                    ">" => "<",
                    ">=" => "<=",
                    other => other,
                };
                (mirrored, constant(left)?)
            } else {
                return None;
            };
            match comparison {
                "=" => Some((at_least(value), at_most(value))),
                "<" => Some((1, at_most(value.saturating_sub(1)))),
                "<=" => Some((1, at_most(value))),
                ">" => Some((at_least(value.saturating_add(1)), u64::MAX)),
                ">=" => Some((at_least(value), u64::MAX)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// An integer's casts to other integer types do not change it.
fn uncast(mut expr: &Expr) -> &Expr {
    while let Expr::Cast { input, data_type, .. } = expr
        && data_type.kind == TypeKind::BigInt
        && input.data_type().kind.is_integer()
    {
        expr = input;
    }
    expr
}

fn constant(expr: &Expr) -> Option<i64> {
    match uncast(expr) {
        Expr::Literal { value: Scalar::Int(value), data_type } if data_type.kind.is_integer() => Some(*value),
        _ => None,
    }
}

/// How a rank is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// When its window is over.
    Window,
    /// The first row by event time, when the watermark has passed it.
    KeepFirst { rowtime: usize },
    /// Row by row. `by_arrival`: its order is that of processing time.
    TopN { ties: Ties, by_arrival: bool, retracts: bool },
}

/// The form of a rank over an input of these kinds. Source: Flink's `RankUtil.canConvertToDeduplicate`, `RankProcessStrategy`.
pub fn form(rank: &Rank, input: ChangelogMode) -> Form {
    let retracts = !input.is_insert_only();
    if rank.window.is_some() && !retracts {
        return Form::Window;
    }
    let deduplicates = !retracts && (rank.spec.first, rank.spec.last) == (1, 1);
    if let (true, [key]) = (deduplicates, rank.spec.order_by.as_slice()) {
        let kind = rank.input.schema().fields.get(key.column).map(|f| &f.data_type.kind);
        let ties = if key.order == SortOrder::Ascending { Ties::Oldest } else { Ties::Newest };
        match kind {
            Some(TypeKind::TimestampLtz(_, TimestampKind::Proctime)) => {
                return Form::TopN { ties, by_arrival: true, retracts };
            }
            Some(kind) if kind.is_rowtime() && ties == Ties::Oldest => return Form::KeepFirst { rowtime: key.column },
            Some(kind) if kind.is_rowtime() => return Form::TopN { ties, by_arrival: false, retracts },
            _ => {}
        }
    }
    Form::TopN { ties: Ties::Oldest, by_arrival: false, retracts }
}

/// The spec of a rank that is computed row by row.
pub fn top_n(rank: &Rank, ties: Ties, by_arrival: bool, retracts: bool) -> TopNSpec {
    TopNSpec {
        partition_by: rank.spec.partition_by.clone(),
        order_by: if by_arrival { vec![] } else { rank.spec.order_by.clone() },
        first: rank.spec.first,
        last: rank.spec.last,
        number: rank.spec.number,
        ties,
        retracts,
        update_before: rank.update_before,
    }
}

/// The kinds of rows that a rank emits.
pub fn produces(rank: &Rank, input: ChangelogMode) -> ChangelogMode {
    if in_order_of_time(rank).is_some() {
        return ChangelogMode::INSERT_ONLY;
    }
    let Form::TopN { ties, by_arrival, retracts } = form(rank, input) else { return ChangelogMode::INSERT_ONLY };
    let spec = top_n(rank, ties, by_arrival, retracts);
    if spec.is_insert_only() {
        return ChangelogMode::INSERT_ONLY;
    }
    let update = spec.number || spec.first == spec.last;
    ChangelogMode { update, update_before: update && spec.update_before, delete: retracts || !update }
}

/// The time attribute of a rank that only numbers rows in the order of time, and whether that is processing time.
pub fn in_order_of_time(rank: &Rank) -> Option<(usize, bool)> {
    let [key] = rank.spec.order_by.as_slice() else { return None };
    let kind = &rank.input.schema().fields.get(key.column)?.data_type.kind;
    let processing_time = matches!(kind, TypeKind::TimestampLtz(_, TimestampKind::Proctime));
    let in_order = rank.spec.last == u64::MAX && rank.spec.first <= 1 && key.order == SortOrder::Ascending;
    (in_order && (processing_time || kind.is_rowtime())).then_some((key.column, processing_time))
}

/// Whether a rank may be the deduplication that keeps the first row by event time.
pub fn may_wait_for_watermarks(rank: &Rank) -> bool {
    matches!(form(rank, ChangelogMode::INSERT_ONLY), Form::KeepFirst { .. })
        || in_order_of_time(rank).is_some_and(|(_, processing_time)| !processing_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_with_constants_bound_the_number() {
        let column = || Expr::column(3, number_type());
        let literal = |value: i64| Expr::literal(Scalar::Int(value), TypeKind::Int);
        let cast =
            |input: Expr| Expr::Cast { input: Box::new(input), on_failure_null: false, data_type: number_type() };
        let call = |function: &str, args: Vec<Expr>| Expr::Call {
            function: function.to_owned(),
            args,
            data_type: TypeKind::Boolean.into(),
        };
        for (expr, expected) in [
            (call("<=", vec![column(), literal(3)]), Some((1, 3))),
            (call("<", vec![column(), cast(literal(3))]), Some((1, 2))),
            (call(">", vec![literal(3), column()]), Some((1, 2))),
            (call("=", vec![column(), literal(2)]), Some((2, 2))),
            (call("=", vec![column(), literal(-2)]), Some((1, 0))),
            (call(">=", vec![column(), literal(2)]), Some((2, u64::MAX))),
            (call("BETWEEN", vec![column(), literal(2), literal(4)]), Some((2, 4))),
            (call("<>", vec![column(), literal(2)]), None),
            (call("<=", vec![column(), column()]), None),
            (call("<=", vec![Expr::column(2, number_type()), literal(3)]), None),
        ] {
            assert_eq!(range(&expr, 3), expected, "{expr:?}");
        }
    }
}
