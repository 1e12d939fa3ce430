//! Scalar subqueries: `(SELECT …)` where a value is wanted. One is joined as one more column.
//!
//! An aggregate that is correlated by equalities, as in `(SELECT MAX(x) FROM t WHERE t.k = o.k)`, becomes the aggregate by
//! the inner sides of the equalities, joined on them; where there is no group, its value is null, and that of `COUNT` 0.
//! Source: Calcite's `RelDecorrelator`.

use std::cell::RefCell;
use std::sync::Arc;

use sqlparser::ast as sp;
use sqlparser::ast::{GroupByExpr, SelectItem, SetExpr};

use super::expression::{self, Binder, SUBQUERY_BASE};
use super::place::{self, unsupported};
use super::query::{Bound, Ctes, QueryBinder};
use super::scope::{OUTER_BASE, Scope};
use super::subquery::{conjuncts, is_correlated};
use super::{join, keys, rel};
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::graph::JoinKind;
use crate::sql::ast::Position;
use crate::types::TypeKind;

/// The columns that stand for scalar subqueries.
const SCALARS: std::ops::Range<usize> = SUBQUERY_BASE..SUBQUERY_BASE + (1 << 20);

/// The scalar subqueries of one `SELECT`; number i stands as column `SUBQUERY_BASE + i` in its expressions.
pub struct Scalars<'a> {
    binder: &'a QueryBinder<'a>,
    ctes: Option<&'a Ctes<'a>>,
    /// The columns of the `SELECT`'s tables.
    outer: Arc<Scope>,
    found: RefCell<Vec<ScalarSubquery>>,
}

/// A bound scalar subquery: its value is the first column.
struct ScalarSubquery {
    bound: Bound,
    /// What the columns after the value must equal, over the outer tables.
    equals: Vec<Expr>,
    /// Whether the value is 0 where there is none.
    counts: bool,
}

impl<'a> Scalars<'a> {
    /// For a `SELECT` over these tables.
    pub fn new(binder: &'a QueryBinder<'a>, ctes: Option<&'a Ctes<'a>>, outer: &Scope) -> Self {
        Scalars { binder, ctes, outer: Arc::new(outer.clone()), found: RefCell::default() }
    }

    /// The common table expressions in scope.
    pub fn ctes(&self) -> Option<&'a Ctes<'a>> {
        self.ctes
    }

    /// Binds `(SELECT …)` where a value is wanted.
    pub fn bind(&self, query: &sp::Query) -> Result<Expr> {
        let at = self.binder.position(query);
        let scalar = match self.correlated(query, at)? {
            Some(scalar) => scalar,
            None => self.uncorrelated(query, at)?,
        };
        let Some(field) = scalar.bound.rel.schema().fields.first() else {
            return Err(crate::error::Error::internal("a scalar subquery without a column"));
        };
        let data_type = field.data_type.with_nullable(!scalar.counts);
        let mut found = self.found.borrow_mut();
        found.push(scalar);
        Ok(Expr::column(SUBQUERY_BASE + found.len() - 1, data_type))
    }

    fn uncorrelated(&self, query: &sp::Query, at: Position) -> Result<ScalarSubquery> {
        let bound = self.binder.bind(query, self.ctes)?;
        if bound.rel.schema().fields.len() != 1 {
            return Err(place::error("sql_type", "a subquery that stands for a value needs exactly one column", at));
        }
        if !keys::unique_keys(&bound.rel).iter().any(Vec::is_empty) {
            let what = "a scalar subquery that may have more than one row is not supported";
            return unsupported(what, "aggregate it, as in (SELECT MAX(x) FROM t)", at);
        }
        Ok(ScalarSubquery { bound, equals: vec![], counts: false })
    }

    /// Binds an aggregate that is correlated; `None` if the query is not.
    fn correlated(&self, query: &sp::Query, at: Position) -> Result<Option<ScalarSubquery>> {
        let SetExpr::Select(select) = query.body.as_ref() else { return Ok(None) };
        let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(nodes, _) if nodes.is_empty());
        let (true, Some(selection), None, false) = (ungrouped, &select.selection, &query.with, select.from.is_empty())
        else {
            return Ok(None);
        };
        let scope = self.binder.bind_from(&select.from, self.ctes)?.scope(Some(&self.outer));
        let (mut rest, mut inner, mut equals): (Option<sp::Expr>, Vec<sp::Expr>, Vec<Expr>) = (None, vec![], vec![]);
        for node in conjuncts(selection) {
            let correlated =
                Binder::new(&scope, self.binder.environment, at).bind(node).is_ok_and(|e| is_correlated(&e));
            if correlated {
                let (mine, theirs) = self.equality(node, &scope, at)?;
                inner.push(mine);
                equals.push(theirs);
            } else {
                rest = Some(match rest {
                    None => node.clone(),
                    Some(left) => sp::Expr::BinaryOp {
                        left: Box::new(left),
                        op: sp::BinaryOperator::And,
                        right: Box::new(node.clone()),
                    },
                });
            }
        }
        if inner.is_empty() {
            return Ok(None);
        }
        let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
            select.projection.as_slice()
        else {
            return Err(place::error("sql_type", "a subquery that stands for a value needs exactly one column", at));
        };
        let counts = matches!(value, sp::Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("COUNT"));
        if !counts && value.to_string().to_uppercase().contains("COUNT(") {
            let what = "an expression over COUNT in a correlated subquery is not supported";
            return unsupported(what, "compute it outside of the subquery", at);
        }
        let mut grouped = select.as_ref().clone();
        grouped.selection = rest;
        grouped.projection.extend(inner.iter().cloned().map(SelectItem::UnnamedExpr));
        grouped.group_by = GroupByExpr::Expressions(inner, vec![]);
        let query = sp::Query { body: Box::new(SetExpr::Select(Box::new(grouped))), ..query.clone() };
        let bound = self.binder.bind(&query, self.ctes)?;
        Ok(Some(ScalarSubquery { bound, equals, counts }))
    }

    /// The inner side of an equality with the outer query, as written, and the outer side.
    fn equality(&self, node: &sp::Expr, scope: &Scope, at: Position) -> Result<(sp::Expr, Expr)> {
        if let sp::Expr::BinaryOp { left, op: sp::BinaryOperator::Eq, right } = node {
            let bind = |node: &sp::Expr| Binder::new(scope, self.binder.environment, at).bind(node);
            let is_inner = |e: &Expr| rel::any_column(e, |i| i < OUTER_BASE);
            for (mine, theirs) in [(left, right), (right, left)] {
                let (inner, outer) = (bind(mine)?, bind(theirs)?);
                if !is_correlated(&inner) && !is_inner(&outer) {
                    let outer =
                        rel::substitute(&outer, &mut |i, t| Expr::column(i.saturating_sub(OUTER_BASE), t.clone()));
                    return Ok((mine.as_ref().clone(), outer));
                }
            }
        }
        let what = "a scalar subquery may name columns of the enclosing query only in equalities";
        unsupported(what, "join the tables in FROM instead", place::position(node).unwrap_or(at))
    }

    /// Adds the values to a query's columns, as the last ones.
    pub fn join(&self, mut input: Bound, at: Position) -> Result<Bound> {
        let environment = self.binder.environment;
        for scalar in self.found.take() {
            let arity = input.rel.schema().fields.len();
            let mut windows = input.windows.clone();
            windows.push(None);
            let group = scalar.bound.rel.columns();
            let mut condition = Vec::with_capacity(scalar.equals.len());
            for (mine, theirs) in scalar.equals.into_iter().zip(group.iter().skip(1)) {
                let theirs = rel::substitute(theirs, &mut |i, t| Expr::column(i + arity, t.clone()));
                condition.push(expression::call(environment, "=", vec![mine, theirs], at)?);
            }
            let joined = join::of_queries(JoinKind::Left, input, scalar.bound, condition, environment, at)?.rel;
            let mut columns: Vec<Expr> = joined.columns().into_iter().take(arity + 1).collect();
            if let Some(value) = columns.last_mut().filter(|_| scalar.counts) {
                let zero = Expr::literal(Scalar::Int(0), TypeKind::BigInt);
                *value = expression::call(environment, "COALESCE", vec![value.clone(), zero], at)?;
            }
            let names = joined.schema().fields.iter().take(arity + 1).map(|f| f.name.clone()).collect();
            input = Bound { rel: joined.project(columns, names), windows };
        }
        Ok(input)
    }
}

/// Whether an expression reads a scalar subquery.
pub fn has_scalar(expr: &Expr) -> bool {
    rel::any_column(expr, |i| SCALARS.contains(&i))
}

/// Moves scalar subqueries to the columns behind `arity` others.
pub fn place_scalars(expr: &Expr, arity: usize) -> Expr {
    rel::substitute(expr, &mut |index, data_type| {
        let is_scalar = SCALARS.contains(&index);
        Expr::column(if is_scalar { index - SUBQUERY_BASE + arity } else { index }, data_type.clone())
    })
}
