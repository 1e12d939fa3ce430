//! `ORDER BY`: columns with direction and place of nulls, as Flink reads them: null is the smallest value; and `LIMIT`.
//!
//! A limit makes a rank of all rows (Flink's `SortLimit`); without one, a stream can be sorted by time alone.

use sqlparser::ast as sp;
use sqlparser::ast::SetExpr;

use super::expression::Binder;
use super::place::{self, unsupported};
use super::query::{Bound, Ctes, QueryBinder};
use super::rel::{Rank, Rel};
use super::scope::Scope;
use crate::error::{Error, Result};
use crate::expr::{Expr, Scalar};
use crate::graph::ranking::TemporalSortSpec;
use crate::graph::{NullOrder, RankSpec, SortKey, SortOrder};
use crate::sql::ast::Position;
use crate::state::sort_codec;
use crate::types::{TimestampKind, TypeKind};

/// The names of columns that are selected only to order by them.
const HIDDEN: &str = "$order";

/// A bound item of `ORDER BY`.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderItem {
    pub expr: Expr,
    pub order: SortOrder,
    pub nulls: NullOrder,
    pub at: Position,
}

impl OrderItem {
    /// The item, where its value is in this column.
    pub fn key(&self, column: usize) -> SortKey {
        SortKey { column, order: self.order, nulls: self.nulls }
    }
}

/// Binds the items of `ORDER BY`.
pub fn items(order_by: &[sp::OrderByExpr], binder: &mut Binder<'_>) -> Result<Vec<OrderItem>> {
    order_by.iter().map(|item| self::item(item, |node| binder.bind(node), binder_position(item))).collect()
}

fn binder_position(item: &sp::OrderByExpr) -> Position {
    place::position(&item.expr).unwrap_or_default()
}

/// Binds one item.
pub fn item(item: &sp::OrderByExpr, bind: impl FnOnce(&sp::Expr) -> Result<Expr>, at: Position) -> Result<OrderItem> {
    if item.with_fill.is_some() {
        return unsupported("WITH FILL is not part of Flink SQL", "leave it out", at);
    }
    let expr = bind(&item.expr)?;
    if !sort_codec::is_sortable(&expr.data_type().to_arrow()) {
        let message = format!("rows cannot be ordered by {}", expr.data_type());
        return Err(place::error("sql_type", message, at));
    }
    let order = if item.options.asc == Some(false) { SortOrder::Descending } else { SortOrder::Ascending };
    let nulls = match (item.options.nulls_first, order) {
        (Some(true), _) | (None, SortOrder::Ascending) => NullOrder::First,
        (Some(false), _) | (None, SortOrder::Descending) => NullOrder::Last,
    };
    Ok(OrderItem { expr, order, nulls, at })
}

/// Binds `ORDER BY` of columns alone.
pub fn sort_keys(order_by: &[sp::OrderByExpr], binder: &mut Binder<'_>) -> Result<Vec<SortKey>> {
    items(order_by, binder)?
        .into_iter()
        .map(|item| match item.expr {
            Expr::Column { index, .. } => Ok(item.key(index)),
            _ => unsupported("ORDER BY of an expression is not supported here", "name a column", item.at),
        })
        .collect()
}

/// What stands after a query's body.
pub struct Ordering<'q> {
    order_by: &'q [sp::OrderByExpr],
    offset: u64,
    limit: Option<u64>,
    at: Position,
}

impl<'q> Ordering<'q> {
    /// The `ORDER BY`, `LIMIT`, `OFFSET` and `FETCH` of a query, if it has any.
    pub fn of(query: &'q sp::Query, here: Position) -> Result<Option<Self>> {
        let mut ordering = Ordering { order_by: &[], offset: 0, limit: None, at: here };
        if let Some(order) = &query.order_by {
            ordering.at = place::position(order).unwrap_or(here);
            match &order.kind {
                sp::OrderByKind::Expressions(items) if order.interpolate.is_none() => ordering.order_by = items,
                _ => return unsupported("this form of ORDER BY is not part of Flink SQL", "name columns", ordering.at),
            }
        }
        if let Some(clause) = &query.limit_clause {
            let at = place::position(clause).unwrap_or(ordering.at);
            let sp::LimitClause::LimitOffset { limit, offset, limit_by } = clause else {
                return unsupported(
                    "LIMIT offset, count is not part of Flink SQL",
                    "write LIMIT count OFFSET offset",
                    at,
                );
            };
            if !limit_by.is_empty() {
                return unsupported(
                    "LIMIT … BY is not part of Flink SQL",
                    "use ROW_NUMBER() OVER (PARTITION BY …)",
                    at,
                );
            }
            ordering.at = if ordering.order_by.is_empty() { at } else { ordering.at };
            ordering.limit = limit.as_ref().map(|l| count(l, "LIMIT", at)).transpose()?;
            if let Some(offset) = offset {
                ordering.offset = count(&offset.value, "OFFSET", at)?;
            }
        }
        if let Some(fetch) = &query.fetch {
            let at = place::position(fetch).unwrap_or(ordering.at);
            if fetch.with_ties || fetch.percent || ordering.limit.is_some() {
                return unsupported("this form of FETCH is not part of Flink SQL", "write FETCH FIRST n ROWS ONLY", at);
            }
            ordering.limit = Some(fetch.quantity.as_ref().map_or(Ok(1), |n| count(n, "FETCH", at))?);
        }
        let is_empty = ordering.order_by.is_empty() && ordering.limit.is_none() && ordering.offset == 0;
        Ok((!is_empty).then_some(ordering))
    }
}

fn count(node: &sp::Expr, clause: &str, at: Position) -> Result<u64> {
    let number = match node {
        sp::Expr::Value(value) => match &value.value {
            sp::Value::Number(text, _) => text.to_string().parse().ok(),
            _ => None,
        },
        _ => None,
    };
    let at = place::position(node).unwrap_or(at);
    number.ok_or_else(|| place::error("sql_type", format!("{clause} needs a whole number"), at))
}

impl QueryBinder<'_> {
    /// Binds a query with `ORDER BY` or `LIMIT`. Without a limit the order of a subquery means nothing, as in Flink.
    pub fn bind_ordered(
        &self,
        query: &sp::Query,
        ordering: &Ordering<'_>,
        ctes: Option<&Ctes<'_>>,
        is_outermost: bool,
    ) -> Result<Bound> {
        let tables = query.with.as_ref().map_or(&[][..], |w| &w.cte_tables);
        let bound = self.bind_with(tables, ctes, &query.body)?;
        if ordering.limit.is_none() && ordering.offset == 0 && !is_outermost {
            return Ok(bound);
        }
        let width = bound.rel.schema().fields.len();
        let (mut bound, keys) = match self.sorted(bound.clone(), ordering, width) {
            Ok(found) => found,
            // A column that is not selected: select it too, and drop it above.
            Err(error) => {
                let SetExpr::Select(select) = query.body.as_ref() else { return Err(error) };
                if select.distinct.is_some() {
                    return Err(error);
                }
                let mut wider = select.as_ref().clone();
                let hidden = ordering.order_by.iter().enumerate().map(|(i, item)| sp::SelectItem::ExprWithAlias {
                    expr: item.expr.clone(),
                    alias: sp::Ident::new(format!("{HIDDEN}{i}")),
                });
                wider.projection.extend(hidden);
                let wide = self.bind_with(tables, ctes, &SetExpr::Select(Box::new(wider))).map_err(|_| error)?;
                let mut keys = Vec::new();
                for (at, item) in (width..).zip(ordering.order_by) {
                    let column = wide.rel.columns().get(at).cloned();
                    let column = column.ok_or_else(|| Error::internal("a sort column was not selected"))?;
                    keys.push(self::item(item, |_| Ok(column), ordering.at)?.key(at));
                }
                (wide, keys)
            }
        };
        bound.rel = self.limited(bound.rel, ordering, keys)?;
        if bound.rel.schema().fields.len() > width {
            let names: Vec<String> = bound.rel.schema().fields.iter().take(width).map(|f| f.name.clone()).collect();
            let columns = bound.rel.columns().into_iter().take(width).collect();
            bound.rel = bound.rel.project(columns, names);
            bound.windows.truncate(width);
        }
        Ok(bound)
    }

    /// Binds `ORDER BY` over the selected columns; what is no column of them is appended.
    fn sorted(&self, mut bound: Bound, ordering: &Ordering<'_>, width: usize) -> Result<(Bound, Vec<SortKey>)> {
        let scope = Scope::new(None, bound.rel.schema().clone());
        let mut columns = bound.rel.columns();
        let mut keys = Vec::new();
        for item in ordering.order_by {
            let at = place::position(&item.expr).unwrap_or(ordering.at);
            let bind = |node: &sp::Expr| match ordinal(node) {
                Some(n) => columns
                    .get(n.wrapping_sub(1))
                    .filter(|_| n <= width)
                    .cloned()
                    .ok_or_else(|| place::error("sql_type", format!("there is no column {n} to order by"), at)),
                None => Binder::new(&scope, self.environment, at).bind(node),
            };
            let item = self::item(item, bind, at)?;
            let column = match &item.expr {
                Expr::Column { index, .. } => *index,
                _ => columns.iter().position(|c| *c == item.expr).unwrap_or_else(|| {
                    columns.push(item.expr.clone());
                    columns.len() - 1
                }),
            };
            keys.push(item.key(column));
        }
        if columns.len() > width {
            let mut names: Vec<String> = bound.rel.schema().fields.iter().map(|f| f.name.clone()).collect();
            names.extend((names.len()..columns.len()).map(|i| format!("{HIDDEN}{i}")));
            bound.rel = bound.rel.project(columns, names);
            bound.windows.resize(bound.rel.schema().fields.len(), None);
        }
        Ok((bound, keys))
    }

    fn limited(&self, input: Rel, ordering: &Ordering<'_>, order_by: Vec<SortKey>) -> Result<Rel> {
        let schema = input.schema().clone();
        let Some(limit) = ordering.limit else {
            if ordering.offset > 0 {
                return unsupported("OFFSET without LIMIT is not supported", "add LIMIT", ordering.at);
            }
            let first = order_by.first().filter(|k| k.order == SortOrder::Ascending);
            let kind = first.and_then(|k| schema.fields.get(k.column)).map(|f| &f.data_type.kind);
            return match kind {
                Some(kind) if kind.is_rowtime() => {
                    let spec = TemporalSortSpec { order_by };
                    Ok(Rel::TemporalSort { input: Box::new(input), spec, schema })
                }
                // Rows come in the order of processing time.
                Some(TypeKind::TimestampLtz(_, TimestampKind::Proctime)) if order_by.len() == 1 => Ok(input),
                _ => unsupported(
                    "ORDER BY of a stream by something else than an ascending time attribute is not supported",
                    "add LIMIT, or order by the event-time column first",
                    ordering.at,
                ),
            };
        };
        if limit == 0 {
            return Ok(input.filter(Expr::literal(Scalar::Boolean(false), TypeKind::Boolean)));
        }
        let (first, last) = (ordering.offset.saturating_add(1), ordering.offset.saturating_add(limit));
        let spec = RankSpec { partition_by: vec![], order_by, first, last, number: false };
        let (window, update_before) = (None, true);
        Ok(Rel::Rank(Rank { input: Box::new(input), spec, window, update_before, at: ordering.at, schema }))
    }
}

/// `ORDER BY 2`: the second column.
fn ordinal(node: &sp::Expr) -> Option<usize> {
    let sp::Expr::Value(value) = node else { return None };
    let sp::Value::Number(text, _) = &value.value else { return None };
    text.to_string().parse().ok()
}
