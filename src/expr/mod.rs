//! Scalar expressions: a typed tree that is stored with a job's plan, and its vectorised evaluation over Arrow batches.
//!
//! This is the only place that knows how a Flink function computes. `sql` builds trees through [`call`] and [`cast()`]
//! (which check and coerce arguments, so that a plan never fails to type at run time); operators turn a tree into an
//! [`Evaluator`] once and run it per batch.
//!
//! Invariants: 1. a tree is fully typed: evaluating it yields an array of exactly `data_type().to_arrow()`;
//! 2. evaluation never panics: an operating error (division by zero, a failing `CAST`) is an `Error` with a code;
//! 3. a branch that a row does not take (`CASE`, `COALESCE`, `IF`, `AND`, `OR`) raises no error for that row.

#![allow(clippy::ptr_arg, reason = "a function's `bind` takes the vector, because some lengthen or shorten it")]

pub mod cast;
pub mod evaluator;
pub mod function;
mod functions;
mod operators;
#[cfg(test)]
mod testing;
pub mod text;
pub(crate) mod vector;

use crate::types::{DataType, TypeKind};

pub use cast::{cast, least_restrictive, try_cast};
pub use evaluator::{EvalContext, Evaluator};
pub use function::call;

/// A constant, in the form in which it is stored with a plan.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Scalar {
    Null,
    Boolean(bool),
    /// `TINYINT` to `BIGINT`; `DATE` (days), `TIME` (ms), `TIMESTAMP` and `TIMESTAMP_LTZ` (in the unit of their
    /// precision, see [`crate::types::timestamp_unit`]), both intervals (months, ms).
    Int(i64),
    /// `FLOAT` and `DOUBLE`.
    Double(f64),
    /// The unscaled value, as text because JSON has no 128-bit integers.
    Decimal(String),
    /// `CHAR` and `VARCHAR`.
    String(String),
    /// `BINARY` and `VARBINARY`.
    Binary(Vec<u8>),
}

/// A typed expression over the columns of one input.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Expr {
    /// Column `index` of the input.
    Column { index: usize, data_type: DataType },
    /// A constant.
    Literal { value: Scalar, data_type: DataType },
    /// Member `index` of a `ROW`; null where the row is null.
    Field { row: Box<Expr>, index: usize, data_type: DataType },
    /// A function or an operator (`+ - * / % = <> < <= > >= AND OR NOT IS_NULL LIKE BETWEEN IN …`, by its registered
    /// upper-case name), over arguments that already have the types it wants.
    Call { function: String, args: Vec<Expr>, data_type: DataType },
    /// `CASE WHEN … THEN … ELSE … END`, searched form; branches have type `data_type`.
    Case { branches: Vec<(Expr, Expr)>, otherwise: Box<Expr>, data_type: DataType },
    /// `CAST` and, if `on_failure_null`, `TRY_CAST`; implicit coercions too.
    Cast { input: Box<Expr>, on_failure_null: bool, data_type: DataType },
}

impl Expr {
    /// A reference to column `index`.
    pub fn column(index: usize, data_type: DataType) -> Self {
        Expr::Column { index, data_type }
    }
    /// A constant; its type is `NOT NULL` unless the value is null.
    pub fn literal(value: Scalar, kind: TypeKind) -> Self {
        let nullable = value == Scalar::Null;
        Expr::Literal { value, data_type: DataType { kind, nullable } }
    }
    /// The type of the values.
    pub fn data_type(&self) -> &DataType {
        match self {
            Expr::Column { data_type, .. }
            | Expr::Literal { data_type, .. }
            | Expr::Field { data_type, .. }
            | Expr::Call { data_type, .. }
            | Expr::Case { data_type, .. }
            | Expr::Cast { data_type, .. } => data_type,
        }
    }
    /// The direct sub-expressions.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Column { .. } | Expr::Literal { .. } => vec![],
            Expr::Field { row, .. } => vec![row],
            Expr::Call { args, .. } => args.iter().collect(),
            Expr::Case { branches, otherwise, .. } => {
                branches.iter().flat_map(|(c, v)| [c, v]).chain([otherwise.as_ref()]).collect()
            }
            Expr::Cast { input, .. } => vec![input],
        }
    }
    /// The direct sub-expressions, to be replaced in place.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Expr::Column { .. } | Expr::Literal { .. } => vec![],
            Expr::Field { row, .. } => vec![row],
            Expr::Call { args, .. } => args.iter_mut().collect(),
            Expr::Case { branches, otherwise, .. } => {
                branches.iter_mut().flat_map(|(c, v)| [c, v]).chain([otherwise.as_mut()]).collect()
            }
            Expr::Cast { input, .. } => vec![input],
        }
    }
}
