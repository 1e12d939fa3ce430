//! Subqueries of `WHERE`: `EXISTS` and `IN` become semi joins, with `NOT` anti joins.
//!
//! `x NOT IN (SELECT y …)` keeps a row only if `x = y` is false for every `y`: the anti join's condition is
//! `(x = y) IS NOT FALSE`, which is a key only where neither side can be null. Source: Flink's `SubQueryDecorrelator` and
//! `FlinkSubQueryRemoveRule`.

use std::sync::Arc;

use sqlparser::ast as sp;
use sqlparser::ast::{SetExpr, UnaryOperator};

use super::expression::{self, Binder, SUBQUERY_BASE};
use super::place::{self, unsupported};
use super::query::{Bound, Ctes, QueryBinder};
use super::scalar_subquery::{Scalars, has_scalar, place_scalars};
use super::scope::{OUTER_BASE, Scope};
use super::{join, rel};
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::JoinKind;
use crate::sql::ast::Position;

/// What a `WHERE` asks for.
#[derive(Default)]
pub struct Where<'q> {
    /// Over the columns of `FROM` alone.
    pub conditions: Vec<Expr>,
    /// Over columns of the enclosing query too.
    pub correlated: Vec<Expr>,
    /// Over scalar subqueries too.
    pub with_scalars: Vec<Expr>,
    /// `[NOT] EXISTS` and `[NOT] IN`.
    subqueries: Vec<Subquery<'q>>,
}

struct Subquery<'q> {
    query: &'q sp::Query,
    /// The left side of `IN`.
    value: Option<&'q sp::Expr>,
    negated: bool,
    at: Position,
}

/// Whether an expression reads columns of the enclosing query.
pub fn is_correlated(expr: &Expr) -> bool {
    rel::any_column(expr, |i| (OUTER_BASE..SUBQUERY_BASE).contains(&i))
}

/// The conjuncts of a written predicate.
pub fn conjuncts(node: &sp::Expr) -> Vec<&sp::Expr> {
    let mut found = Vec::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        match node {
            sp::Expr::BinaryOp { left, op: sp::BinaryOperator::And, right } => open.extend([right.as_ref(), left]),
            sp::Expr::Nested(inner) => open.push(inner),
            other => found.push(other),
        }
    }
    found
}

impl QueryBinder<'_> {
    /// Binds a `WHERE`.
    pub fn bind_where<'q>(
        &self,
        selection: Option<&'q sp::Expr>,
        scope: &Scope,
        scalars: &Scalars<'_>,
        at: Position,
    ) -> Result<Where<'q>> {
        let mut bound = Where::default();
        for node in selection.into_iter().flat_map(conjuncts) {
            if let Some(subquery) = self.subquery(node, at) {
                bound.subqueries.push(subquery);
                continue;
            }
            let mut binder = Binder::new(scope, self.environment, at);
            binder.scalars = Some(scalars);
            for condition in rel::conjuncts(binder.bind_predicate(node, "WHERE")?) {
                match (has_scalar(&condition), is_correlated(&condition)) {
                    (true, true) => {
                        let what = "a condition over both the enclosing query and a scalar subquery is not supported";
                        return unsupported(what, "join the tables in FROM instead", self.position(node));
                    }
                    (true, false) => bound.with_scalars.push(condition),
                    (false, true) => bound.correlated.push(condition),
                    (false, false) => bound.conditions.push(condition),
                }
            }
        }
        Ok(bound)
    }

    fn subquery<'q>(&self, node: &'q sp::Expr, at: Position) -> Option<Subquery<'q>> {
        let mut node = node;
        let mut not = false;
        let at = place::position(node).unwrap_or(at);
        loop {
            match node {
                sp::Expr::UnaryOp { op: UnaryOperator::Not, expr } => (node, not) = (expr, !not),
                sp::Expr::Nested(inner) => node = inner,
                sp::Expr::Exists { subquery, negated } => {
                    return Some(Subquery { query: subquery, value: None, negated: *negated != not, at });
                }
                sp::Expr::InSubquery { expr, subquery, negated } => {
                    return Some(Subquery { query: subquery, value: Some(expr), negated: *negated != not, at });
                }
                _ => return None,
            }
        }
    }

    /// Joins the subqueries of a `WHERE` to the tables of its `FROM`, whose columns `scope` has.
    pub fn join_subqueries(
        &self,
        mut input: Bound,
        scope: &Scope,
        bound: Where<'_>,
        scalars: &Scalars<'_>,
        at: Position,
    ) -> Result<Bound> {
        let outer = Arc::new(scope.clone());
        for subquery in bound.subqueries {
            input = self.join_subquery(input, &outer, &subquery, scalars.ctes())?;
        }
        if bound.with_scalars.is_empty() {
            return Ok(input);
        }
        let arity = scope.schema.fields.len();
        let columns = input.rel.columns().into_iter().take(arity).collect();
        let names = input.rel.schema().fields.iter().take(arity).map(|f| f.name.clone()).collect();
        let windows = input.windows.clone();
        let mut input = scalars.join(input, at)?;
        let filters: Vec<Expr> = bound.with_scalars.iter().map(|f| place_scalars(f, arity)).collect();
        if let Some(filter) = rel::conjunction(filters) {
            input.rel = input.rel.filter(filter);
        }
        Ok(Bound { rel: input.rel.project(columns, names), windows })
    }

    fn join_subquery(
        &self,
        input: Bound,
        outer: &Arc<Scope>,
        subquery: &Subquery<'_>,
        ctes: Option<&Ctes<'_>>,
    ) -> Result<Bound> {
        let at = subquery.at;
        let arity = input.rel.schema().fields.len();
        let inner = self.bind_inner(subquery.query, ctes, outer)?;
        let mut condition: Vec<Expr> = inner.correlated.iter().map(|c| join::beside_outer(c, arity)).collect();
        if let Some(value) = subquery.value {
            let values: Vec<&sp::Expr> = match value {
                sp::Expr::Tuple(items) => items.iter().collect(),
                one => vec![one],
            };
            if values.len() != inner.items.len() {
                let message = format!("IN compares {} values with {} columns", values.len(), inner.items.len());
                return Err(place::error("sql_type", message, at));
            }
            let mut equalities = Vec::with_capacity(values.len());
            for (value, item) in values.into_iter().zip(&inner.items) {
                let mine = Binder::new(outer, self.environment, at).bind(value)?;
                if is_correlated(&mine) {
                    let what = "IN of a value of a query further out is not supported";
                    return unsupported(what, "join the tables in FROM instead", at);
                }
                let theirs = join::beside_outer(item, arity);
                equalities.push(expression::call(self.environment, "=", vec![mine, theirs], at)?);
            }
            let can_be_null = equalities.iter().any(|e| e.data_type().nullable);
            if subquery.negated && can_be_null {
                let all = rel::conjunction(equalities).into_iter();
                let unknown = all.map(|e| expression::call(self.environment, "IS_NOT_FALSE", vec![e], at));
                condition.extend(unknown.collect::<Result<Vec<_>>>()?);
            } else {
                condition.extend(equalities);
            }
        }
        let kind = if subquery.negated { JoinKind::Anti } else { JoinKind::Semi };
        join::of_queries(kind, input, inner.bound, condition, self.environment, at)
    }

    /// Binds a subquery whose conditions may name columns of `outer`.
    fn bind_inner(&self, query: &sp::Query, ctes: Option<&Ctes<'_>>, outer: &Arc<Scope>) -> Result<Inner> {
        let at = self.position(query);
        if let (SetExpr::Select(select), None, None, None) =
            (query.body.as_ref(), &query.with, &query.order_by, &query.limit_clause)
            && is_plain(select)
        {
            super::refuse::query(query, self.here)?;
            super::refuse::select(select, at)?;
            if let Some(inner) = self.deeper(at, || self.bind_plain(select, ctes, outer, at))? {
                return Ok(inner);
            }
        }
        let bound = self.bind(query, ctes)?;
        let items = bound.rel.columns();
        Ok(Inner { bound, correlated: vec![], items })
    }

    /// `None` if it aggregates.
    fn bind_plain(
        &self,
        select: &sp::Select,
        ctes: Option<&Ctes<'_>>,
        outer: &Arc<Scope>,
        at: Position,
    ) -> Result<Option<Inner>> {
        let from = self.bind_from(&select.from, ctes)?;
        let scope = from.scope(Some(outer));
        let scalars = Scalars::new(self, ctes, &scope);
        let mut bound = self.bind_where(select.selection.as_ref(), &scope, &scalars, at)?;
        let mut aggregates = super::aggregate::Aggregates::default();
        let mut binder = Binder::new(&scope, self.environment, at);
        binder.aggregates = Some(&mut aggregates);
        let items: Vec<Expr> =
            self.bind_items(&select.projection, &mut binder)?.into_iter().map(|item| item.expr).collect();
        if !aggregates.calls.is_empty() {
            return Ok(None);
        }
        let correlated = std::mem::take(&mut bound.correlated);
        let input = join::settle(from.tree, std::mem::take(&mut bound.conditions), self.environment)?;
        let bound = self.join_subqueries(input, &scope, bound, &scalars, at)?;
        Ok(Some(Inner { bound, correlated, items }))
    }
}

/// A subquery: its tables, the conditions that also name columns of the enclosing query, and its columns over the tables.
struct Inner {
    bound: Bound,
    correlated: Vec<Expr>,
    items: Vec<Expr>,
}

/// Whether each row of `FROM` and `WHERE` is a row of the result.
fn is_plain(select: &sp::Select) -> bool {
    let grouped = match &select.group_by {
        sp::GroupByExpr::Expressions(nodes, _) => !nodes.is_empty(),
        sp::GroupByExpr::All(_) => true,
    };
    !grouped && select.having.is_none() && select.distinct.is_none() && !select.from.is_empty()
}
