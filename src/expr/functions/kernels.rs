//! What the kernels of `math`, `temporal` and `collection` share: argument checks, access to columns and constants,
//! and lifting a function of one row to a function of a batch.
//!
//! Invariants: 1. a kernel answers [`Value::Scalar`] only if all its arguments are scalars; 2. a null argument gives a
//! null result unless a kernel says otherwise; 3. the result has the Arrow type of the call.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray, UInt32Array};

use crate::error::{Error, Result};
use crate::expr::function::{Kernel, Value};
use crate::expr::{Expr, Scalar, cast};
use crate::types::{DataType, TypeKind};

/// The error for arguments that a function does not take; `takes` lists its signatures.
pub(super) fn not_applicable(function: &str, takes: &str, args: &[Expr]) -> Error {
    let given: Vec<_> = args.iter().map(|a| a.data_type().to_string()).collect();
    Error::invalid("invalid_argument", format!("{function} takes {takes}, not ({})", given.join(", ")))
}

/// Checks the number of arguments.
pub(super) fn arity(
    function: &str,
    takes: &str,
    args: &[Expr],
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<()> {
    if allowed.contains(&args.len()) { Ok(()) } else { Err(not_applicable(function, takes, args)) }
}

/// Whether a result that is null exactly when an argument is null can be null.
pub(super) fn any_nullable(args: &[Expr]) -> bool {
    args.iter().any(|a| a.data_type().nullable)
}

/// Casts argument `index` to `kind`, keeping its nullability.
pub(super) fn coerce(args: &mut [Expr], index: usize, kind: &TypeKind) -> Result<()> {
    let arg = args.get_mut(index).ok_or_else(|| Error::internal("an argument to coerce is missing"))?;
    if arg.data_type().kind == *kind {
        return Ok(());
    }
    let to = DataType { kind: kind.clone(), nullable: arg.data_type().nullable };
    let input = std::mem::replace(arg, Expr::literal(Scalar::Null, TypeKind::Null));
    // What is implicit here was checked by the caller; CHAR(3) to CHAR(1) is, for one.
    *arg = cast(input, &to, true)?;
    Ok(())
}

/// The text of a string literal.
pub(super) fn literal_text(arg: Option<&Expr>) -> Option<&str> {
    match arg {
        Some(Expr::Literal { value: Scalar::String(text), .. }) => Some(text),
        _ => None,
    }
}

/// The value of an integer literal.
pub(super) fn literal_int(arg: Option<&Expr>) -> Option<i64> {
    match arg {
        Some(Expr::Literal { value: Scalar::Int(n), data_type }) if data_type.kind.is_integer() => Some(*n),
        Some(Expr::Cast { input, .. }) => literal_int(Some(input.as_ref())),
        _ => None,
    }
}

/// The values behind an argument, constant or not.
pub(super) fn values(args: &[Value], index: usize) -> Result<&ArrayRef> {
    match args.get(index) {
        Some(Value::Array(array) | Value::Scalar(array)) => Ok(array),
        None => Err(Error::internal(format!("a kernel was called without argument {index}"))),
    }
}

/// Whether all arguments are constants; a call without arguments is not constant here (`RAND()`, `NOW()`).
pub(super) fn all_scalar(args: &[Value]) -> bool {
    !args.is_empty() && args.iter().all(|a| matches!(a, Value::Scalar(_)))
}

/// The number of rows to compute: one if all arguments are constants.
pub(super) fn row_count(args: &[Value], rows: usize) -> usize {
    if all_scalar(args) { 1 } else { rows }
}

/// Wraps computed values in the variant that the arguments call for.
pub(super) fn wrap(args: &[Value], array: ArrayRef) -> Value {
    if all_scalar(args) { Value::Scalar(array) } else { Value::Array(array) }
}

/// An argument of a known Arrow type, constant or one value per row.
pub(super) struct Column<'a, A: Array> {
    pub array: &'a A,
    constant: bool,
}

impl<A: Array> Column<'_, A> {
    /// Where the value of this row is.
    #[inline]
    pub fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }
    /// Whether the value of this row is null.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(self.at(row))
    }
}

impl Column<'_, StringArray> {
    /// The value of this row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&str> {
        let at = self.at(row);
        self.array.is_valid(at).then(|| self.array.value(at))
    }
}

impl<T: ArrowPrimitiveType> Column<'_, PrimitiveArray<T>> {
    /// The value of this row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<T::Native> {
        let at = self.at(row);
        self.array.is_valid(at).then(|| self.array.value(at))
    }
}

/// Argument `index` as an array of type `A`.
pub(super) fn column<A: Array + 'static>(args: &[Value], index: usize) -> Result<Column<'_, A>> {
    let array = values(args, index)?;
    let typed = array
        .as_any()
        .downcast_ref()
        .ok_or_else(|| Error::internal(format!("argument {index} has the wrong type: {}", array.data_type())))?;
    Ok(Column { array: typed, constant: matches!(args.get(index), Some(Value::Scalar(_))) })
}

/// An array as one of a known primitive type.
pub(super) fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    array
        .as_primitive_opt()
        .ok_or_else(|| Error::internal(format!("a value has the wrong type: {}", array.data_type())))
}

/// Lifts a function of one array to a kernel.
pub(super) fn on_array(f: impl Fn(&ArrayRef) -> Result<ArrayRef> + Send + Sync + 'static) -> Kernel {
    Box::new(move |args, _| Ok(wrap(args, f(values(args, 0)?)?)))
}

/// Lifts a total function of one value.
pub(super) fn unary<I, O>(f: impl Fn(I::Native) -> O::Native + Send + Sync + 'static) -> Kernel
where
    I: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    on_array(move |array| Ok(Arc::new(primitive::<I>(array)?.unary::<_, O>(&f))))
}

/// Applies a total function of two values, row by row; vectorised where one of them is constant.
pub(super) fn zip<A, B, O>(
    args: &[Value],
    rows: usize,
    f: impl Fn(A::Native, B::Native) -> O::Native,
) -> Result<PrimitiveArray<O>>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let (left, right) = (column::<PrimitiveArray<A>>(args, 0)?, column::<PrimitiveArray<B>>(args, 1)?);
    let nulls = || PrimitiveArray::<O>::new_null(row_count(args, rows));
    Ok(match (left.constant, right.constant) {
        (false, true) => right.get(0).map_or_else(nulls, |b| left.array.unary(|a| f(a, b))),
        (true, false) => left.get(0).map_or_else(nulls, |a| right.array.unary(|b| f(a, b))),
        _ => arrow::compute::binary(left.array, right.array, f)?,
    })
}

/// Applies a partial function of two values: `Err` stops the batch, null arguments are skipped.
pub(super) fn try_zip<A, B, O>(
    args: &[Value],
    rows: usize,
    f: impl Fn(A::Native, B::Native) -> Result<O::Native>,
) -> Result<PrimitiveArray<O>>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let (left, right) = (column::<PrimitiveArray<A>>(args, 0)?, column::<PrimitiveArray<B>>(args, 1)?);
    let nulls = || PrimitiveArray::<O>::new_null(row_count(args, rows));
    match (left.constant, right.constant) {
        (false, true) => right.get(0).map_or_else(|| Ok(nulls()), |b| left.array.try_unary(|a| f(a, b))),
        (true, false) => left.get(0).map_or_else(|| Ok(nulls()), |a| right.array.try_unary(|b| f(a, b))),
        _ => (0..row_count(args, rows))
            .map(|row| left.get(row).zip(right.get(row)).map(|(a, b)| f(a, b)).transpose())
            .collect(),
    }
}

/// Repeats a constant, so that it has one value per row.
pub(super) fn expand(value: &Value, rows: usize) -> Result<ArrayRef> {
    match value {
        Value::Array(array) => Ok(array.clone()),
        Value::Scalar(array) => Ok(arrow::compute::take(array, &UInt32Array::from(vec![0; rows]), None)?),
    }
}

/// Precision and scale of an exact number.
pub(super) fn decimal_shape(kind: &TypeKind) -> Option<(u8, u8)> {
    match kind {
        TypeKind::TinyInt => Some((3, 0)),
        TypeKind::SmallInt => Some((5, 0)),
        TypeKind::Int => Some((10, 0)),
        TypeKind::BigInt => Some((19, 0)),
        TypeKind::Decimal { precision, scale } => Some((*precision, *scale)),
        _ => None,
    }
}

/// Whether Flink casts `from` to `to` without being asked to (`LogicalTypeCasts.supportsImplicitCast`).
pub(super) fn casts_implicitly(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind::{
        Array, BigInt, Binary, Char, Date, Decimal, Double, Float, Int, Map, Null, Row, SmallInt, Time, Timestamp,
        TimestampLtz, TinyInt, VarBinary, VarChar,
    };
    match (from, to) {
        (a, b) if a == b => true,
        (Null, _) | (Char(_), Char(_) | VarChar(_)) | (VarChar(_), VarChar(_)) => true,
        (Binary(_), Binary(_) | VarBinary(_)) | (VarBinary(_), VarBinary(_)) => true,
        (TinyInt, SmallInt | Int | BigInt) | (SmallInt, Int | BigInt) | (Int, BigInt) => true,
        (a, Decimal { .. } | Double) => a.is_numeric(),
        (TinyInt | SmallInt | Int | BigInt | Decimal { .. }, Float) => true,
        (Timestamp(..), Date | Time(_) | Timestamp(..) | TimestampLtz(..)) => true,
        (TimestampLtz(..), Timestamp(..) | TimestampLtz(..)) | (Time(_), Time(_)) => true,
        (Array(a), Array(b)) => casts_implicitly(&a.kind, &b.kind),
        (Map(k, v), Map(l, w)) => casts_implicitly(&k.kind, &l.kind) && casts_implicitly(&v.kind, &w.kind),
        (Row(a), Row(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| casts_implicitly(&x.data_type.kind, &y.data_type.kind))
        }
        _ => false,
    }
}

/// What the tests of the three chapters share.
#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::expr::EvalContext;
    use crate::expr::function::{Call, Function};
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    /// A column of this type.
    pub fn col(kind: TypeKind) -> Expr {
        Expr::column(0, DataType::nullable(kind))
    }
    /// A `NOT NULL` column of this type.
    pub fn col_not_null(kind: TypeKind) -> Expr {
        Expr::column(0, DataType::not_null(kind))
    }
    /// A string literal.
    pub fn text(value: &str) -> Expr {
        Expr::literal(Scalar::String(value.into()), TypeKind::Char(u32::try_from(value.chars().count()).unwrap()))
    }
    /// An `INT` literal.
    pub fn int(value: i64) -> Expr {
        Expr::literal(Scalar::Int(value), TypeKind::Int)
    }
    /// Binds, prepares and runs a function; the arguments must need no casts. Answers the type and the values.
    pub fn run_in(
        zone: chrono_tz::Tz,
        functions: &[Function],
        name: &str,
        mut args: Vec<Expr>,
        values: &[Value],
        rows: usize,
    ) -> Result<(DataType, ArrayRef)> {
        let function = functions.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no function {name}"));
        let data_type = (function.bind)(&mut args)?;
        for arg in &args {
            assert!(!matches!(arg, Expr::Cast { .. }), "{name}: give arguments that need no cast: {arg:?}");
        }
        let context = EvalContext { time_zone: zone };
        let kernel = (function.prepare)(&Call { args: &args, data_type: &data_type, context: &context })?;
        let array = match kernel(values, rows)? {
            Value::Array(array) => {
                assert_eq!(array.len(), rows, "{name}: one value per row");
                array
            }
            Value::Scalar(array) => {
                assert_eq!(array.len(), 1, "{name}: a scalar has one value");
                array
            }
        };
        assert_eq!(array.data_type(), &data_type.to_arrow(), "{name}: the kernel keeps to the bound type");
        Ok((data_type, array))
    }
    /// As [`run_in`], in UTC.
    pub fn run(
        functions: &[Function],
        name: &str,
        args: Vec<Expr>,
        values: &[Value],
        rows: usize,
    ) -> Result<(DataType, ArrayRef)> {
        run_in(chrono_tz::UTC, functions, name, args, values, rows)
    }
    /// Every value as text, nulls as `null`, instants with a `Z`, separated by ` | `.
    pub fn show(array: &ArrayRef) -> String {
        use arrow::datatypes::DataType as A;
        if let A::Timestamp(unit, Some(_)) = array.data_type() {
            let local = arrow::compute::cast(array, &A::Int64).unwrap();
            let local = arrow::compute::cast(&local, &A::Timestamp(*unit, None)).unwrap();
            let instant = |t: &str| if t == "null" { t.to_owned() } else { format!("{t}Z") };
            return show(&local).split(" | ").map(instant).collect::<Vec<_>>().join(" | ");
        }
        let options = FormatOptions::default().with_null("null");
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options).unwrap();
        (0..array.len()).map(|i| formatter.value(i).to_string()).collect::<Vec<_>>().join(" | ")
    }
}
