//! Aggregate functions: which exist, what they give, and the calls of one query.

use super::expression::{self, AGGREGATE_BASE};
use super::place::{self, unsupported};
use super::{Environment, coercion};
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::graph::AggregateFunction;
use crate::sql::ast::Position;
use crate::types::{DataType, TypeKind};

/// Flink's aggregate functions that are not built.
const UNSUPPORTED: &[&str] = &[
    "APPROX_COUNT_DISTINCT",
    "PERCENTILE",
    "RANK",
    "DENSE_RANK",
    "ROW_NUMBER",
    "LEAD",
    "LAG",
    "NTILE",
    "CUME_DIST",
    "PERCENT_RANK",
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
    /// `GROUPING` and its kin: of the grouping set, not of rows.
    Grouping,
    Unsupported,
    Scalar,
}

/// What the function of this upper-case name is.
pub fn kind(name: &str) -> Kind {
    match name {
        "COUNT" | "SUM" | "MIN" | "MAX" | "AVG" | "FIRST_VALUE" | "LAST_VALUE" | "LISTAGG" | "COLLECT"
        | "ARRAY_AGG" | "STDDEV_POP" | "STDDEV_SAMP" | "STDDEV" | "VAR_POP" | "VAR_SAMP" | "VARIANCE"
        | "JSON_OBJECTAGG" | "JSON_ARRAYAGG" => Kind::Supported,
        "GROUPING" | "GROUPING_ID" | "GROUP_ID" => Kind::Grouping,
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
    /// Whether there is no `GROUP BY`: results over no rows are null then.
    pub is_global: bool,
    /// Where `GROUPING` or its kin is used first.
    pub grouping: Option<Position>,
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

/// A call as it is written, its arguments bound.
pub struct Call<'a> {
    pub name: &'a str,
    /// None = `*`.
    pub arguments: Vec<Expr>,
    pub distinct: bool,
    pub filter: Option<Expr>,
    pub at: Position,
}

/// Adds a call, or those of which it is computed, and answers its value.
pub fn add(call: Call<'_>, aggregates: &mut Aggregates, environment: &Environment) -> Result<Expr> {
    let Call { name, mut arguments, distinct, filter, at } = call;
    let function = |name: &str, args: Vec<Expr>| expression::call(environment, name, args, at);
    let wrong = |what: &str| Err(place::error("sql_type", format!("{name} takes {what}"), at));
    let mut absent = None;
    if name.starts_with("JSON_")
        && let Some(Expr::Literal { value: Scalar::String(text), .. }) = arguments.pop()
    {
        absent = Some(text == "ABSENT");
    }
    let argument = match (name, arguments.len()) {
        ("COUNT", 0) => None,
        ("LISTAGG", 1 | 2) => {
            if !arguments.iter().all(|a| a.data_type().kind.is_string()) {
                return wrong("a text, and a literal text as separator");
            }
            match arguments.get(1) {
                None => arguments.pop(),
                Some(Expr::Literal { value: Scalar::String(_), .. }) => Some(function("ROW", arguments)?),
                Some(_) => return wrong("a literal text as separator"),
            }
        }
        ("JSON_OBJECTAGG", 2) => {
            let value = arguments.pop();
            let key = arguments.pop().filter(|k| k.data_type().kind.is_string());
            let (Some(key), Some(value)) = (key, value) else { return wrong("a text as key") };
            Some(function("ROW", vec![key, function("JSON_STRING", vec![value])?])?)
        }
        ("JSON_ARRAYAGG", 1) => Some(function("JSON_STRING", arguments)?),
        (_, 1) => arguments.pop(),
        (_, 0) => None,
        ("COUNT", _) => {
            return unsupported("COUNT of several columns is not supported", "count one, or a CONCAT_WS of them", at);
        }
        _ => return wrong("one argument"),
    };
    if let (Some(argument), true) = (&argument, distinct)
        && matches!(
            argument.data_type().kind,
            TypeKind::Row(_) | TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_)
        )
        && name != "LISTAGG"
    {
        let what = format!("{name}(DISTINCT …) of {} is not supported", argument.data_type());
        return unsupported(&what, "use one of its members", at);
    }
    if let ("STDDEV_POP" | "STDDEV_SAMP" | "STDDEV" | "VAR_POP" | "VAR_SAMP" | "VARIANCE", Some(argument)) =
        (name, &argument)
    {
        return variance(name, argument, distinct, filter, at, aggregates, environment);
    }
    let absent_on_null = absent.unwrap_or(name == "JSON_ARRAYAGG");
    let mut bound = bind(name, argument, distinct, filter, at)?;
    match &mut bound.function {
        AggregateFunction::JsonArrayAgg { absent_on_null: of }
        | AggregateFunction::JsonObjectAgg { absent_on_null: of } => {
            *of = absent_on_null;
        }
        AggregateFunction::Sum
        | AggregateFunction::Avg
        | AggregateFunction::Min
        | AggregateFunction::Max
        | AggregateFunction::FirstValue
        | AggregateFunction::LastValue => bound.data_type.nullable |= aggregates.is_global,
        _ => {}
    }
    Ok(aggregates.add(bound))
}

/// A variance or its root from sums, in the argument's own arithmetic, as Calcite's `AggregateReduceFunctionsRule` does:
/// `(SUM(x * x) - SUM(x) * SUM(x) / COUNT(x)) / COUNT(x)`, by one less for samples.
fn variance(
    name: &str,
    argument: &Expr,
    distinct: bool,
    filter: Option<Expr>,
    at: Position,
    aggregates: &mut Aggregates,
    environment: &Environment,
) -> Result<Expr> {
    let function = |name: &str, args: Vec<Expr>| expression::call(environment, name, args, at);
    let cast = |expr: Expr, to: &DataType| coercion::explicit(expr, to).map_err(|e| expression::as_type_error(e, at));
    // Typed like an average.
    let mut result = bind("AVG", Some(argument.clone()), distinct, filter.clone(), at)?.data_type;
    result.nullable |= aggregates.is_global;
    let value = cast(argument.clone(), &result)?;
    let square = function("*", vec![value.clone(), value])?;
    let mut sum = |of: Expr, name: &str| {
        let arguments = vec![of];
        add(Call { name, arguments, distinct, filter: filter.clone(), at }, aggregates, environment)
    };
    let squares = sum(square, "SUM")?;
    let total = cast(sum(argument.clone(), "SUM")?, &result)?;
    let count = sum(argument.clone(), "COUNT")?;
    let mean = function("/", vec![function("*", vec![total.clone(), total])?, count.clone()])?;
    let difference = function("-", vec![squares, mean])?;
    let one = || Expr::literal(Scalar::Int(1), TypeKind::Int);
    let divisor = if name.ends_with("_POP") {
        count
    } else {
        let less = function("-", vec![count.clone(), one()])?;
        let data_type = less.data_type().with_nullable(true);
        let null = Expr::literal(Scalar::Null, data_type.kind.clone());
        Expr::Case { branches: vec![(function("=", vec![count, one()])?, null)], otherwise: Box::new(less), data_type }
    };
    let mut answer = function("/", vec![difference, divisor])?;
    if name.starts_with("STDDEV") {
        let half = Expr::literal(Scalar::Decimal("5".to_owned()), TypeKind::Decimal { precision: 2, scale: 1 });
        answer = function("POWER", vec![answer, half])?;
    }
    let nullable = result.nullable || answer.data_type().nullable;
    cast(answer, &result.with_nullable(nullable))
}

/// Types a call.
fn bind(
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
        "FIRST_VALUE" | "LAST_VALUE" => {
            let function =
                if name == "FIRST_VALUE" { AggregateFunction::FirstValue } else { AggregateFunction::LastValue };
            (function, input.kind.clone())
        }
        "LISTAGG" => (AggregateFunction::ListAgg, DataType::string().kind),
        "COLLECT" => (AggregateFunction::Collect, TypeKind::Multiset(Box::new(input.clone()))),
        "ARRAY_AGG" => (AggregateFunction::ArrayAgg, TypeKind::Array(Box::new(input.clone()))),
        "JSON_ARRAYAGG" => (AggregateFunction::JsonArrayAgg { absent_on_null: true }, TypeKind::VarChar(2000)),
        "JSON_OBJECTAGG" => (AggregateFunction::JsonObjectAgg { absent_on_null: false }, TypeKind::VarChar(2000)),
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
    let nullable = match function {
        AggregateFunction::Collect
        | AggregateFunction::JsonArrayAgg { .. }
        | AggregateFunction::JsonObjectAgg { .. } => false,
        AggregateFunction::ListAgg => true,
        _ => input.nullable || filter.is_some(),
    };
    let data_type = DataType { kind, nullable };
    Ok(BoundAggregate { function, argument: Some(argument), distinct, filter, data_type })
}
