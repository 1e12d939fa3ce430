//! Flink's casts and implicit coercions: which are allowed, what type they give, how they compute.
//!
//! Failures: a text that does not parse is an error with code `cast_failed` (`TRY_CAST` answers null); a number beyond
//! the range of an integer type wraps, beyond that of a decimal is null, as in Flink. Source: Flink's
//! `LogicalTypeCasts` and casting rules; the table of allowed casts was asked of 2.3.0.

mod common_type;
mod format;
mod nested;
mod number;
mod parse;
mod rules;
mod temporal;

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType as ArrowType;

use super::{EvalContext, Expr, Scalar};
use crate::error::{Error, Result};
use crate::types::{DataType, TypeKind};

pub use common_type::least_restrictive;
pub(crate) use number::{decimal_of_integer, rescale};
pub(crate) use rules::is_total;

/// Casts all values of an array.
pub(crate) type ArrayKernel = Box<dyn Fn(&ArrayRef) -> Result<ArrayRef> + Send + Sync>;

/// Wraps `input` in a cast to `to` if its type differs (nullability of the input is kept). `explicit` allows what only
/// a written `CAST` allows; errors have code `invalid_cast`.
pub fn cast(input: Expr, to: &DataType, explicit: bool) -> Result<Expr> {
    let from = input.data_type();
    if from.kind == to.kind {
        return Ok(input);
    }
    if from.kind == TypeKind::Null {
        return Ok(Expr::Literal { value: Scalar::Null, data_type: to.with_nullable(true) });
    }
    rules::check(&from.kind, &to.kind, explicit)?;
    let data_type = to.with_nullable(from.nullable);
    Ok(Expr::Cast { input: Box::new(input), on_failure_null: false, data_type })
}

/// `TRY_CAST`: like a written [`cast`], but null where that would fail; always nullable.
pub fn try_cast(input: Expr, to: &DataType) -> Result<Expr> {
    if input.data_type().kind != to.kind && input.data_type().kind != TypeKind::Null {
        rules::check(&input.data_type().kind, &to.kind, true)?;
    }
    Ok(Expr::Cast { input: Box::new(input), on_failure_null: true, data_type: to.with_nullable(true) })
}

/// What a cast's kernel needs to know.
#[derive(Clone, Copy)]
struct Setting<'a> {
    on_failure_null: bool,
    context: &'a EvalContext,
}

/// The kernel of a cast; `None` if the values stay as they are.
pub(crate) fn kernel(
    from: &DataType,
    to: &DataType,
    on_failure_null: bool,
    context: &EvalContext,
) -> Result<Option<ArrayKernel>> {
    build(&from.kind, &to.kind, Setting { on_failure_null, context })
}

fn build(from: &TypeKind, to: &TypeKind, setting: Setting<'_>) -> Result<Option<ArrayKernel>> {
    use TypeKind as K;
    if from.regular() == to.regular() {
        return Ok(None);
    }
    let arrow_type = to.to_arrow();
    let kernel: ArrayKernel = match (from, to) {
        (K::Null, _) => Box::new(move |array| Ok(new_null_array(&arrow_type, array.len()))),
        (_, K::Char(_) | K::VarChar(_)) if from.is_string() => return Ok(format::resize_string(from, to)),
        (_, K::Char(_) | K::VarChar(_)) => format::to_string(from, to, setting)?,
        (_, K::Binary(_) | K::VarBinary(_)) if from.is_binary() || from.is_string() => format::to_binary(from, to),
        (K::Char(_) | K::VarChar(_), _) => parse::from_string(to, setting)?,
        (K::Array(_) | K::Map(..) | K::Multiset(_) | K::Row(_), _) => return nested::members(from, to, setting),
        _ if (from.is_numeric() || *from == K::Boolean) && (to.is_numeric() || *to == K::Boolean) => {
            number::convert(from, to, setting)?
        }
        (_, K::IntervalYearMonth | K::IntervalDayTime) if from.is_numeric() => number::to_interval(from, to, setting)?,
        _ => match temporal::convert(from, to, setting)? {
            Some(kernel) => kernel,
            None => return Ok(None),
        },
    };
    Ok(Some(kernel))
}

/// The same values under a type of the same layout (member names and nested nullability may differ).
pub(crate) fn relabel(array: &ArrayRef, arrow_type: &ArrowType) -> Result<ArrayRef> {
    nested::relabel(array, arrow_type)
}

fn failed(value: &str, to: &TypeKind) -> Error {
    let shown: String = value.chars().take(100).collect();
    Error::invalid(
        "cast_failed",
        format!("cannot cast '{shown}' to {to}; use TRY_CAST to get NULL where a value does not fit"),
    )
}

fn unexpected(from: &TypeKind, to: &TypeKind) -> Error {
    Error::internal(format!("a plan casts {from} to {to}, which was not checked"))
}

fn shared<T: arrow::array::Array + 'static>(array: T) -> ArrayRef {
    Arc::new(array)
}

#[cfg(test)]
mod tests;
