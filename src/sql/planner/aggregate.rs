//! Aggregate functions: which exist, what they give, and the calls of one query.

use super::expression::AGGREGATE_BASE;
use super::place;
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::AggregateFunction;
use crate::sql::ast::Position;
use crate::types::{DataType, TypeKind};

/// Flink's aggregate functions that are not built.
const UNSUPPORTED: &[&str] = &[
    "LISTAGG",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STDDEV",
    "VAR_POP",
    "VAR_SAMP",
    "VARIANCE",
    "COLLECT",
    "ARRAY_AGG",
    "FIRST_VALUE",
    "LAST_VALUE",
    "APPROX_COUNT_DISTINCT",
    "JSON_OBJECTAGG",
    "JSON_ARRAYAGG",
    "PERCENTILE",
    "RANK",
    "DENSE_RANK",
    "ROW_NUMBER",
    "LEAD",
    "LAG",
    "NTILE",
    "CUME_DIST",
    "PERCENT_RANK",
    "GROUPING",
    "GROUPING_ID",
    "GROUP_ID",
    "SINGLE_VALUE",
    "REGR_COUNT",
    "EVERY",
    "SOME",
    "INTERSECTION",
    "FUSION",
];

/// What a function name is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Supported,
    Unsupported,
    Scalar,
}

/// What the function of this upper-case name is.
pub fn kind(name: &str) -> Kind {
    match name {
        "COUNT" | "SUM" | "MIN" | "MAX" | "AVG" => Kind::Supported,
        _ if UNSUPPORTED.contains(&name) => Kind::Unsupported,
        _ => Kind::Scalar,
    }
}

/// An aggregate call over the query's input.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundAggregate {
    pub function: AggregateFunction,
    pub argument: Option<Expr>,
    pub distinct: bool,
    pub filter: Option<Expr>,
    pub data_type: DataType,
}

/// The distinct aggregate calls of one query.
#[derive(Debug, Default)]
pub struct Aggregates {
    pub calls: Vec<BoundAggregate>,
}

impl Aggregates {
    /// Adds a call unless it is there, and answers the column that stands for it.
    pub fn add(&mut self, call: BoundAggregate) -> Expr {
        let data_type = call.data_type.clone();
        let index = self.calls.iter().position(|c| *c == call).unwrap_or_else(|| {
            self.calls.push(call);
            self.calls.len() - 1
        });
        Expr::column(AGGREGATE_BASE + index, data_type)
    }
}

/// Types a call.
pub fn bind(
    name: &str,
    argument: Option<Expr>,
    distinct: bool,
    filter: Option<Expr>,
    at: Position,
) -> Result<BoundAggregate> {
    let not_null = DataType::not_null(TypeKind::BigInt);
    let Some(argument) = argument else {
        if name != "COUNT" || distinct {
            return Err(place::error("sql_type", format!("{name} needs an argument other than *"), at));
        }
        let function = AggregateFunction::CountStar;
        return Ok(BoundAggregate { function, argument: None, distinct, filter, data_type: not_null });
    };
    let input = argument.data_type();
    let refuse = |what: &str| Err(place::error("sql_type", format!("{name} takes {what}, not {input}"), at));
    let (function, kind) = match name {
        "COUNT" => {
            let function = AggregateFunction::Count;
            return Ok(BoundAggregate { function, argument: Some(argument), distinct, filter, data_type: not_null });
        }
        "SUM" | "AVG" if !input.kind.is_numeric() => return refuse("numbers"),
        "SUM" => match input.kind {
            TypeKind::Decimal { scale, .. } => (AggregateFunction::Sum, TypeKind::Decimal { precision: 38, scale }),
            ref other => (AggregateFunction::Sum, other.clone()),
        },
        "AVG" => match input.kind {
            TypeKind::Decimal { scale, .. } => {
                (AggregateFunction::Avg, TypeKind::Decimal { precision: 38, scale: scale.max(6) })
            }
            ref other => (AggregateFunction::Avg, other.clone()),
        },
        _ => {
            let orderable = input.kind.is_numeric()
                || input.kind.is_string()
                || matches!(
                    input.kind,
                    TypeKind::Boolean
                        | TypeKind::Date
                        | TypeKind::Time(_)
                        | TypeKind::Timestamp(..)
                        | TypeKind::TimestampLtz(..)
                );
            if !orderable {
                return refuse("numbers, strings, booleans, dates and times");
            }
            let function = if name == "MIN" { AggregateFunction::Min } else { AggregateFunction::Max };
            // As Flink types it, time attribute included.
            (function, input.kind.clone())
        }
    };
    // The smallest of distinct values is the smallest value.
    let distinct = distinct && !matches!(function, AggregateFunction::Min | AggregateFunction::Max);
    let data_type = DataType { kind, nullable: input.nullable || filter.is_some() };
    Ok(BoundAggregate { function, argument: Some(argument), distinct, filter, data_type })
}
