//! Checking the arguments of string-like functions, and running a row function over them.
//!
//! Two halves: [`signature`] says at bind time whether the arguments are what a function takes; [`text_rows`] and its
//! siblings make a kernel from a function of one row. Rows are read through [`Row`] straight from the Arrow arrays and
//! written straight into the result's builder: no allocation per row. When every argument is a scalar, one row is
//! computed and the answer is a scalar.
//!
//! Invariant: a row function that writes to its output and then answers "null" would leak bytes into the next value;
//! it must decide before it writes.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanBuilder, Int8Array, Int16Array, Int32Array,
    Int32Builder, Int64Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Int8Type, Int16Type, Int32Type, Int64Type};

use crate::error::{Error, Result};
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::expr::{Expr, Scalar};
use crate::types::{DataType, MAX_LENGTH, TypeKind};

/// What one argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// `CHAR` or `VARCHAR`.
    Text,
    /// `TINYINT` to `BIGINT`.
    Int,
    /// `CHAR`, `VARCHAR`, `BINARY` or `VARBINARY`.
    TextOrBytes,
    /// `BINARY` or `VARBINARY`.
    Bytes,
}

impl Want {
    fn accepts(self, kind: &TypeKind) -> bool {
        *kind == TypeKind::Null
            || match self {
                Want::Text => kind.is_string(),
                Want::Int => kind.is_integer(),
                Want::Bytes => kind.is_binary(),
                Want::TextOrBytes => kind.is_string() || kind.is_binary(),
            }
    }
}

/// A deterministic function.
pub(super) const fn function(
    name: &'static str,
    bind: fn(&mut Vec<Expr>) -> Result<DataType>,
    prepare: fn(&Call<'_>) -> Result<Kernel>,
) -> Function {
    Function { name, bind, prepare, deterministic: true }
}

/// The error for arguments that a function does not take; `usage` is how the function is written.
pub(super) fn refuse(usage: &str, args: &[Expr]) -> Error {
    let types: Vec<_> = args.iter().map(|a| a.data_type().to_string()).collect();
    Error::invalid("invalid_argument", format!("expected {usage}, but the arguments are ({})", types.join(", ")))
}

/// Checks number and types: `required`, then up to all of `optional`. Answers whether any argument is nullable.
pub(super) fn signature(args: &[Expr], usage: &str, required: &[Want], optional: &[Want]) -> Result<bool> {
    let enough = args.len() >= required.len() && args.len() <= required.len() + optional.len();
    let fits = args.iter().zip(required.iter().chain(optional)).all(|(a, want)| want.accepts(&a.data_type().kind));
    if enough && fits { Ok(nullable(args)) } else { Err(refuse(usage, args)) }
}

/// Checks `required` and then any number of `rest`, at least `least`.
pub(super) fn variadic(args: &[Expr], usage: &str, required: &[Want], rest: Want, least: usize) -> Result<bool> {
    let enough = args.len() >= required.len() + least;
    let wants = required.iter().copied().chain(std::iter::repeat(rest));
    let fits = args.iter().zip(wants).all(|(a, want)| want.accepts(&a.data_type().kind));
    if enough && fits { Ok(nullable(args)) } else { Err(refuse(usage, args)) }
}

/// Whether any argument is nullable.
pub(super) fn nullable(args: &[Expr]) -> bool {
    args.iter().any(|a| a.data_type().nullable)
}

/// `STRING` with this nullability.
pub(super) fn string(nullable: bool) -> DataType {
    DataType::string().with_nullable(nullable)
}

/// The declared length of a string type; unbounded for any other.
pub(super) fn length(expr: &Expr) -> u32 {
    match expr.data_type().kind {
        TypeKind::Char(n) | TypeKind::VarChar(n) => n,
        _ => MAX_LENGTH,
    }
}

/// The text of a literal argument.
pub(super) fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal { value: Scalar::String(text), .. } => Some(text),
        Expr::Cast { input, data_type, .. } if data_type.kind.is_string() => literal_text(input),
        _ => None,
    }
}

enum Column<'a> {
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Int8(&'a Int8Array),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Null,
}

struct Argument<'a> {
    column: Column<'a>,
    /// 0 for a scalar: every row reads element 0.
    stride: usize,
}

/// The argument values of one call.
pub(super) struct Arguments<'a> {
    arguments: Vec<Argument<'a>>,
    rows: usize,
    scalar: bool,
}

/// The arguments of one row.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    arguments: &'a [Argument<'a>],
    row: usize,
}

impl<'a> Arguments<'a> {
    /// Views the values; all must be strings, bytes, integers or bare nulls.
    pub(super) fn new(values: &'a [Value], rows: usize) -> Result<Self> {
        let scalar = values.iter().all(|v| matches!(v, Value::Scalar(_)));
        let arguments = values.iter().map(Argument::new).collect::<Result<_>>()?;
        Ok(Arguments { arguments, rows: if scalar { 1 } else { rows }, scalar })
    }
    /// How many rows there are to compute.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
    /// One row.
    pub(super) fn row(&'a self, row: usize) -> Row<'a> {
        Row { arguments: &self.arguments, row }
    }
    /// The result, as a scalar if all arguments are.
    pub(super) fn answer(&self, array: ArrayRef) -> Value {
        if self.scalar { Value::Scalar(array) } else { Value::Array(array) }
    }
}

impl<'a> Argument<'a> {
    fn new(value: &'a Value) -> Result<Self> {
        let (array, stride) = match value {
            Value::Array(array) => (array, 1),
            Value::Scalar(array) => (array, 0),
        };
        let column = match array.data_type() {
            ArrowType::Utf8 => Column::Text(array.as_string::<i32>()),
            ArrowType::Binary => Column::Bytes(array.as_binary::<i32>()),
            ArrowType::Int8 => Column::Int8(array.as_primitive::<Int8Type>()),
            ArrowType::Int16 => Column::Int16(array.as_primitive::<Int16Type>()),
            ArrowType::Int32 => Column::Int32(array.as_primitive::<Int32Type>()),
            ArrowType::Int64 => Column::Int64(array.as_primitive::<Int64Type>()),
            ArrowType::Null => Column::Null,
            other => return Err(Error::internal(format!("a string function got values of Arrow type {other}"))),
        };
        Ok(Argument { column, stride })
    }
    fn is_null(&self, row: usize) -> bool {
        let i = row * self.stride;
        match &self.column {
            Column::Text(a) => a.is_null(i),
            Column::Bytes(a) => a.is_null(i),
            Column::Int8(a) => a.is_null(i),
            Column::Int16(a) => a.is_null(i),
            Column::Int32(a) => a.is_null(i),
            Column::Int64(a) => a.is_null(i),
            Column::Null => true,
        }
    }
}

impl<'a> Row<'a> {
    /// The number of arguments.
    pub(super) fn len(&self) -> usize {
        self.arguments.len()
    }
    /// Whether any argument is null.
    pub(super) fn any_null(&self) -> bool {
        self.arguments.iter().any(|a| a.is_null(self.row))
    }
    /// Argument `k` as text; null for a null, a missing argument or another type.
    pub(super) fn text(&self, k: usize) -> Option<&'a str> {
        let argument = self.arguments.get(k)?;
        let i = self.row * argument.stride;
        match &argument.column {
            Column::Text(a) if a.is_valid(i) => Some(a.value(i)),
            _ => None,
        }
    }
    /// Argument `k`, known not to be null, as text.
    pub(super) fn str(&self, k: usize) -> &'a str {
        self.text(k).unwrap_or_default()
    }
    /// Argument `k` as bytes: of a string its UTF-8.
    pub(super) fn bytes(&self, k: usize) -> Option<&'a [u8]> {
        let argument = self.arguments.get(k)?;
        let i = self.row * argument.stride;
        match &argument.column {
            Column::Text(a) if a.is_valid(i) => Some(a.value(i).as_bytes()),
            Column::Bytes(a) if a.is_valid(i) => Some(a.value(i)),
            _ => None,
        }
    }
    /// Argument `k` as an integer; null for a null, a missing argument or another type.
    pub(super) fn int(&self, k: usize) -> Option<i64> {
        let argument = self.arguments.get(k)?;
        let i = self.row * argument.stride;
        match &argument.column {
            Column::Int8(a) if a.is_valid(i) => Some(i64::from(a.value(i))),
            Column::Int16(a) if a.is_valid(i) => Some(i64::from(a.value(i))),
            Column::Int32(a) if a.is_valid(i) => Some(i64::from(a.value(i))),
            Column::Int64(a) if a.is_valid(i) => Some(a.value(i)),
            _ => None,
        }
    }
}

/// A kernel for a function of non-null arguments to text: `f` writes the value and answers true, or answers false for
/// null without having written. A null argument gives null.
pub(super) fn text_rows<F>(f: F) -> Kernel
where
    F: Fn(Row<'_>, &mut StringBuilder) -> Result<bool> + Send + Sync + 'static,
{
    nullable_text_rows(move |row, out| Ok(!row.any_null() && f(row, out)?))
}

/// As [`text_rows`], for a function that looks at nulls itself.
pub(super) fn nullable_text_rows<F>(f: F) -> Kernel
where
    F: Fn(Row<'_>, &mut StringBuilder) -> Result<bool> + Send + Sync + 'static,
{
    Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut out = StringBuilder::with_capacity(arguments.rows(), arguments.rows() * 16);
        for row in 0..arguments.rows() {
            if f(arguments.row(row), &mut out)? {
                out.append_value("");
            } else {
                out.append_null();
            }
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    })
}

/// Writes text to the value being built. Cannot fail: a `StringBuilder` only grows.
pub(super) fn put(out: &mut StringBuilder, text: &str) {
    out.write_str(text).expect("a string builder accepts every write");
}

/// Writes one character to the value being built.
pub(super) fn put_char(out: &mut StringBuilder, c: char) {
    out.write_char(c).expect("a string builder accepts every write");
}

/// A kernel for a function of non-null arguments to `INT`.
pub(super) fn int_rows<F>(f: F) -> Kernel
where
    F: Fn(Row<'_>) -> Result<Option<i32>> + Send + Sync + 'static,
{
    Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut out = Int32Builder::with_capacity(arguments.rows());
        for row in 0..arguments.rows() {
            let row = arguments.row(row);
            out.append_option(if row.any_null() { None } else { f(row)? });
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    })
}

/// A kernel for a function to `BOOLEAN` that looks at nulls itself.
pub(super) fn nullable_bool_rows<F>(f: F) -> Kernel
where
    F: Fn(Row<'_>) -> Result<Option<bool>> + Send + Sync + 'static,
{
    Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut out = BooleanBuilder::with_capacity(arguments.rows());
        for row in 0..arguments.rows() {
            out.append_option(f(arguments.row(row))?);
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    })
}

/// A kernel for a function of non-null arguments to `BOOLEAN`.
pub(super) fn bool_rows<F>(f: F) -> Kernel
where
    F: Fn(Row<'_>) -> Result<Option<bool>> + Send + Sync + 'static,
{
    nullable_bool_rows(move |row| if row.any_null() { Ok(None) } else { f(row) })
}

/// A kernel for a function of non-null arguments to `BYTES`.
pub(super) fn bytes_rows<F>(f: F) -> Kernel
where
    F: Fn(Row<'_>, &mut Vec<u8>) -> Result<bool> + Send + Sync + 'static,
{
    Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut out = BinaryBuilder::with_capacity(arguments.rows(), arguments.rows() * 16);
        let mut value = Vec::new();
        for row in 0..arguments.rows() {
            let row = arguments.row(row);
            value.clear();
            if !row.any_null() && f(row, &mut value)? {
                out.append_value(&value);
            } else {
                out.append_null();
            }
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    })
}

/// A builder of `ARRAY<STRING>` values.
pub(super) fn text_list_builder(rows: usize) -> ListBuilder<StringBuilder> {
    ListBuilder::with_capacity(StringBuilder::new(), rows).with_field(ArrowField::new("item", ArrowType::Utf8, true))
}

/// A kernel for a function of non-null arguments to `ARRAY<STRING>`: `f` appends the elements, or answers false.
pub(super) fn list_rows<F>(f: F) -> Kernel
where
    F: Fn(Row<'_>, &mut StringBuilder) -> Result<bool> + Send + Sync + 'static,
{
    Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut out = text_list_builder(arguments.rows());
        for row in 0..arguments.rows() {
            let row = arguments.row(row);
            let valid = !row.any_null() && f(row, out.values())?;
            out.append(valid);
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    })
}

/// Test support: runs a function's kernel over literal arguments.
#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::expr::EvalContext;
    use arrow::array::{BooleanArray, new_null_array};

    /// A literal argument.
    pub(crate) fn lit(text: &str) -> Expr {
        Expr::literal(Scalar::String(text.to_owned()), TypeKind::Char(u32::try_from(text.chars().count()).unwrap()))
    }
    /// An `INT` literal.
    pub(crate) fn num(value: i64) -> Expr {
        Expr::literal(Scalar::Int(value), TypeKind::Int)
    }
    /// A null `STRING`.
    pub(crate) fn null() -> Expr {
        Expr::literal(Scalar::Null, TypeKind::VarChar(MAX_LENGTH))
    }
    /// A `BYTES` literal.
    pub(crate) fn bytes(value: &[u8]) -> Expr {
        Expr::literal(Scalar::Binary(value.to_vec()), TypeKind::VarBinary(MAX_LENGTH))
    }
    fn scalar(expr: &Expr) -> ArrayRef {
        let Expr::Literal { value, data_type } = expr else { panic!("only literals") };
        match value {
            Scalar::Null => new_null_array(&data_type.to_arrow(), 1),
            Scalar::String(s) => Arc::new(StringArray::from(vec![s.as_str()])),
            Scalar::Int(i) if data_type.kind == TypeKind::BigInt => Arc::new(Int64Array::from(vec![*i])),
            Scalar::Int(i) => Arc::new(Int32Array::from(vec![i32::try_from(*i).unwrap()])),
            Scalar::Double(d) => Arc::new(arrow::array::Float64Array::from(vec![*d])),
            Scalar::Binary(b) => Arc::new(BinaryArray::from(vec![b.as_slice()])),
            Scalar::Boolean(b) => Arc::new(BooleanArray::from(vec![*b])),
            Scalar::Decimal(_) => panic!("not needed"),
        }
    }
    /// The bound type and the answer for these arguments, as arrays of two equal rows too.
    pub(crate) fn run(functions: &[Function], name: &str, mut args: Vec<Expr>) -> Result<(DataType, ArrayRef)> {
        let function = functions.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no {name}"));
        let data_type = (function.bind)(&mut args)?;
        let context = EvalContext { time_zone: chrono_tz::UTC };
        let kernel = (function.prepare)(&Call { args: &args, data_type: &data_type, context: &context })?;
        let scalars: Vec<_> = args.iter().map(|a| Value::Scalar(scalar(a))).collect();
        let Value::Scalar(answer) = kernel(&scalars, 1)? else { panic!("{name} of scalars is not a scalar") };
        assert_eq!(answer.data_type(), &data_type.to_arrow(), "{name}");
        assert_eq!(answer.len(), 1, "{name}");
        if !args.is_empty() {
            let arrays: Vec<_> = args
                .iter()
                .map(|a| {
                    let one = scalar(a);
                    Value::Array(arrow::compute::concat(&[one.as_ref(), one.as_ref()]).unwrap())
                })
                .collect();
            let Value::Array(rows) = kernel(&arrays, 2)? else { panic!("{name} of arrays is not an array") };
            assert_eq!(rows.len(), 2, "{name}");
            assert_eq!(rows.slice(1, 1).as_ref(), answer.as_ref(), "{name} of arrays");
        }
        Ok((data_type, answer))
    }
    /// The answer as text, `NULL` for null.
    pub(crate) fn show(array: &ArrayRef) -> String {
        let options = arrow::util::display::FormatOptions::default().with_null("NULL");
        arrow::util::display::ArrayFormatter::try_new(array.as_ref(), &options).unwrap().value(0).to_string()
    }
    /// One case: the answer and the type.
    pub(crate) fn check(functions: &[Function], name: &str, args: Vec<Expr>, expected: &str, data_type: &str) {
        let label = format!("{name}{args:?}");
        let (found, answer) = run(functions, name, args).unwrap_or_else(|e| panic!("{label}: {e}"));
        assert_eq!(show(&answer), expected, "{label}");
        assert_eq!(found.to_string(), data_type, "{label}");
    }
    /// The code of the error that these arguments give.
    pub(crate) fn code(functions: &[Function], name: &str, args: Vec<Expr>) -> String {
        run(functions, name, args).expect_err("should fail").code
    }
}
