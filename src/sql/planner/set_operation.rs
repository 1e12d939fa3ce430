//! `UNION`, `INTERSECT` and `EXCEPT`, with and without `ALL`, as aggregates.
//!
//! `UNION` is the different rows of both inputs. For the others both inputs are counted together, row by row: a row is in
//! the result as often as its counts say (Flink's rules `RewriteIntersectAllRule` and `RewriteMinusAllRule`; without
//! `ALL` Flink joins, with the same rows in the end).

use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier};

use super::expression;
use super::place::unsupported;
use super::query::{Bound, Ctes, QueryBinder, align};
use super::rel::{Rel, columns};
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::graph::{AggregateCall, AggregateFunction, GroupAggregateSpec, ReplicateSpec};
use crate::sql::ast::Position;
use crate::types::{DataType, Field, Schema, TypeKind};

impl QueryBinder<'_> {
    /// Binds a set operation other than `UNION ALL`.
    pub(super) fn bind_set_operation(
        &self,
        op: &SetOperator,
        quantifier: &SetQuantifier,
        sides: [&SetExpr; 2],
        ctes: Option<&Ctes<'_>>,
    ) -> Result<Bound> {
        let mut inputs = Vec::with_capacity(2);
        for side in sides {
            inputs.push((self.bind_side(side, ctes)?, self.position(side)));
        }
        let at = inputs.last().map_or(self.here, |(_, at)| *at);
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::None | SetQuantifier::Distinct => false,
            other => return unsupported(&format!("{op} {other} is not part of Flink SQL"), "leave it out", at),
        };
        let (inputs, schema) = align(inputs, &op.to_string())?;
        let rel = match op {
            SetOperator::Union => Rel::Union { inputs, schema: schema.clone() }.distinct(),
            SetOperator::Intersect => self.counted(inputs, &schema, all, true, at)?,
            SetOperator::Except => self.counted(inputs, &schema, all, false, at)?,
            SetOperator::Minus => return unsupported("MINUS is not supported", "write EXCEPT", at),
        };
        Ok(Bound { rel, windows: vec![None; schema.fields.len()] })
    }

    fn counted(&self, inputs: Vec<Rel>, schema: &Schema, all: bool, intersect: bool, at: Position) -> Result<Rel> {
        let arity = schema.fields.len();
        let bigint = || DataType::not_null(TypeKind::BigInt);
        let number = |n: i64| Expr::literal(Scalar::Int(n), TypeKind::BigInt);
        let names = |more: &[&str]| {
            schema.fields.iter().map(|f| f.name.clone()).chain(more.iter().map(|m| (*m).to_owned())).collect::<Vec<_>>()
        };
        let mut marked = Vec::with_capacity(2);
        for (side, input) in inputs.into_iter().enumerate() {
            let mut exprs = input.columns();
            exprs.extend([number(i64::from(side == 0)), number(i64::from(side == 1))]);
            marked.push(input.project(exprs, names(&["$left", "$right"])));
        }
        let with_counts = |a: &str, b: &str| {
            let counts = [a, b].map(|name| Field::new(name, bigint()));
            Schema::new(schema.fields.iter().cloned().chain(counts).collect())
        };
        let union = Rel::Union { inputs: marked, schema: with_counts("$left", "$right") };
        let sum = |column: usize| AggregateCall {
            function: AggregateFunction::Sum,
            argument: Some(column),
            distinct: false,
            filter: None,
            data_type: bigint(),
        };
        let spec = GroupAggregateSpec {
            keys: (0..arity).collect(),
            aggregates: vec![sum(arity), sum(arity + 1)],
            retracts: false,
            update_before: false,
            state_ttl_ms: 0,
            bundles: false,
        };
        let counts = Rel::GroupAggregate { input: Box::new(union), spec, schema: with_counts("$lefts", "$rights") };
        let (left, right) = (Expr::column(arity, bigint()), Expr::column(arity + 1, bigint()));
        let call = |name: &str, args: Vec<Expr>| expression::call(self.environment, name, args, at);
        let (filter, times) = if intersect {
            let both = vec![call(">", vec![left.clone(), number(0)])?, call(">", vec![right.clone(), number(0)])?];
            let fewer = (call("<", vec![left.clone(), right.clone()])?, left);
            let times = Expr::Case { branches: vec![fewer], otherwise: Box::new(right), data_type: bigint() };
            (call("AND", both)?, times)
        } else if all {
            (call(">", vec![left.clone(), right.clone()])?, call("-", vec![left, right])?)
        } else {
            let only = vec![call(">", vec![left, number(0)])?, call("=", vec![right, number(0)])?];
            (call("AND", only)?, number(1))
        };
        let kept = counts.filter(filter);
        let mut exprs = columns(schema);
        if !all {
            return Ok(kept.project(exprs, names(&[])));
        }
        exprs.push(times);
        let counted = kept.project(exprs, names(&["$times"]));
        let replicated = counted.schema().clone();
        let spec = ReplicateSpec { count: arity };
        let rows = Rel::Replicate { input: Box::new(counted), spec, schema: replicated };
        Ok(rows.project(columns(schema), names(&[])))
    }
}
