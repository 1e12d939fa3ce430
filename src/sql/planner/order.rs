//! `ORDER BY`: columns with direction and place of nulls, as Flink reads them: null is the smallest value.

use sqlparser::ast as sp;

use super::expression::Binder;
use super::place::{self, unsupported};
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::{NullOrder, SortKey, SortOrder};
use crate::sql::ast::Position;
use crate::state::sort_codec;

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
