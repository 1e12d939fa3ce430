//! Flink's casts and implicit coercions: which are allowed, what type they give, how they compute.

use super::Expr;
use crate::error::Result;
use crate::types::DataType;

/// Wraps `input` in a cast to `to` if its type differs (nullability of the input is kept). `explicit` allows what only
/// a written `CAST` allows; errors have code `invalid_cast`.
pub fn cast(input: Expr, to: &DataType, explicit: bool) -> Result<Expr> {
    let _ = explicit;
    Ok(Expr::Cast { input: Box::new(input), on_failure_null: false, data_type: to.clone() })
}
