//! Casts that the planner adds, and the type that several types have in common.

use crate::error::{Error, Result};
use crate::expr::{self, Expr, Scalar};
use crate::types::DataType;

/// Casts to the kind of `to` as an implicit coercion; the nullability stays the input's.
pub fn coerce(input: Expr, to: &DataType) -> Result<Expr> {
    convert(input, to, false)
}

/// Casts as a written `CAST` does.
pub fn explicit(input: Expr, to: &DataType) -> Result<Expr> {
    convert(input, to, true)
}

fn convert(input: Expr, to: &DataType, explicit: bool) -> Result<Expr> {
    if input.data_type().kind == to.kind {
        return Ok(input);
    }
    if let Expr::Literal { value: Scalar::Null, .. } = input {
        return Ok(Expr::literal(Scalar::Null, to.kind.clone()));
    }
    let to = to.with_nullable(input.data_type().nullable);
    // A time attribute is a timestamp: nothing to compute, but the type must say so.
    if input.data_type().kind.regular() == to.kind && matches!(input, Expr::Column { .. }) {
        return Ok(with_type(input, to));
    }
    expr::cast(input, &to, explicit)
}

fn with_type(mut expr: Expr, to: DataType) -> Expr {
    if let Expr::Column { data_type, .. } = &mut expr {
        *data_type = to;
    }
    expr
}

/// The type that all of these can be coerced to; nullable if one is. Errors have code `sql_type`.
pub fn least_restrictive(types: &[DataType]) -> Result<DataType> {
    expr::least_restrictive(types).map_err(|e| Error::invalid("sql_type", e.message))
}
