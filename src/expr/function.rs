//! The registry of functions: how each checks its arguments and how it computes.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::array::{Array, ArrayRef, Datum, UInt32Array, new_null_array};
use arrow::datatypes::DataType as ArrowType;

use super::{EvalContext, Expr, functions, operators};
use crate::error::{Error, Result};
use crate::types::DataType;

/// One argument's or result's values for a batch.
#[derive(Debug, Clone)]
pub enum Value {
    /// One value per row.
    Array(ArrayRef),
    /// An array of length 1: the same value for every row.
    Scalar(ArrayRef),
}

impl Value {
    /// The scalar null of a type.
    pub fn null(data_type: &ArrowType) -> Self {
        Value::Scalar(new_null_array(data_type, 1))
    }
    /// A result computed from `args`: a scalar if all of them are.
    pub fn of(args: &[&Value], array: ArrayRef) -> Self {
        if args.iter().all(|v| v.is_scalar()) { Value::Scalar(array) } else { Value::Array(array) }
    }
    /// The values; length 1 for a scalar.
    pub fn array(&self) -> &ArrayRef {
        match self {
            Value::Array(a) | Value::Scalar(a) => a,
        }
    }
    /// Whether it is the same value for every row.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Value::Scalar(_))
    }
    /// The Arrow type of the values.
    pub fn data_type(&self) -> &ArrowType {
        self.array().data_type()
    }
    /// One value per row: a scalar is repeated `rows` times.
    pub fn into_array(self, rows: usize) -> Result<ArrayRef> {
        match self {
            Value::Array(array) => Ok(array),
            Value::Scalar(array) if rows == 1 => Ok(array),
            Value::Scalar(array) if array.is_null(0) => Ok(new_null_array(array.data_type(), rows)),
            Value::Scalar(array) => Ok(arrow::compute::take(&array, &UInt32Array::from_value(0, rows), None)?),
        }
    }
}

impl Datum for Value {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array().as_ref(), self.is_scalar())
    }
}

/// What a kernel is prepared from: literal arguments (patterns, formats) can be compiled once.
pub struct Call<'a> {
    pub args: &'a [Expr],
    pub data_type: &'a DataType,
    pub context: &'a EvalContext,
}

/// Computes a batch: one value per argument, the number of rows; answers `rows` values (or a scalar) of the call's type.
pub type Kernel = Box<dyn Fn(&[Value], usize) -> Result<Value> + Send + Sync>;

/// A function or operator of the dialect.
pub struct Function {
    /// Upper-case name.
    pub name: &'static str,
    /// Checks the number and types of the arguments, wraps them in casts where Flink coerces, and answers the result's
    /// type with its nullability. Errors say what the function takes.
    pub bind: fn(&mut Vec<Expr>) -> Result<DataType>,
    /// Prepares the kernel of one call.
    pub prepare: fn(&Call<'_>) -> Result<Kernel>,
    /// Whether equal arguments always give equal results (false: `UUID`, `RAND`, `NOW`, …): only such calls are folded.
    pub deterministic: bool,
}

static REGISTRY: LazyLock<HashMap<&'static str, &'static Function>> =
    LazyLock::new(|| operators::all().chain(functions::all()).map(|f| (f.name, f)).collect());

/// The function registered under this name (any case).
pub fn lookup(name: &str) -> Option<&'static Function> {
    REGISTRY.get(name.to_ascii_uppercase().as_str()).copied()
}

/// All registered names, sorted; for "did you mean" and for the documentation's table.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = REGISTRY.keys().copied().collect();
    names.sort_unstable();
    names
}

/// Builds a typed call: looks the function up, checks and coerces the arguments. Errors with code
/// `unknown_function` or `invalid_argument` and no place: the caller knows the line and column.
pub fn call(name: &str, mut args: Vec<Expr>) -> Result<Expr> {
    let function = lookup(name)
        .ok_or_else(|| Error::invalid("unknown_function", format!("there is no function {}", name.to_uppercase())))?;
    let data_type = (function.bind)(&mut args)?;
    Ok(Expr::Call { function: function.name.to_owned(), args, data_type })
}
