//! A small table and helpers for the tests of expressions: `check(expression, type, values as text)`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMillisecondArray,
};
use arrow::record_batch::RecordBatch;

use super::{EvalContext, Evaluator, Expr, Scalar};
use crate::types::{DataType, Field, MAX_LENGTH, Schema, TimestampKind, TypeKind};

/// How [`ts`] reads as text.
pub const TS: [&str; 4] = ["2026-03-01 00:00:00.779", "2026-03-31 23:59:59.670", "1969-12-31 23:59:59.999", "NULL"];

pub fn context() -> EvalContext {
    EvalContext { time_zone: chrono_tz::Tz::UTC }
}

/// Four rows of `i l d dec s t b ts`; the last is mostly null.
pub fn batch() -> RecordBatch {
    let decimals = Decimal128Array::from(vec![Some(5), Some(123), Some(-9999), None]);
    let ts = [1_772_323_200_779, 1_775_001_599_670, -1];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(7), Some(1), Some(-7), None])),
        Arc::new(Int64Array::from(vec![Some(1_000_000_000_000), Some(5), None, Some(9_007_199_254_740_993)])),
        Arc::new(Float64Array::from(vec![Some(1e-7), Some(2.5), Some(-2.5), None])),
        Arc::new(decimals.with_precision_and_scale(12, 2).expect("it fits")),
        Arc::new(StringArray::from(vec![Some("12"), Some("hello"), Some("%_\\"), None])),
        Arc::new(StringArray::from(vec![Some("12"), Some("jello"), Some("line\nbreak"), Some("x")])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(false)])),
        Arc::new(TimestampMillisecondArray::from(ts.map(Some).into_iter().chain([None]).collect::<Vec<_>>())),
    ];
    let fields = [i(), l(), d(), dec(), s(), t(), b(), ts_column()];
    let fields = fields.iter().enumerate().map(|(n, e)| Field::new(format!("c{n}"), e.data_type().clone())).collect();
    RecordBatch::try_new(Schema::new(fields).to_arrow(), columns).expect("the columns fit")
}

fn ts_column() -> Expr {
    ts()
}
fn column(index: usize, kind: TypeKind) -> Expr {
    Expr::column(index, DataType::nullable(kind))
}
pub fn i() -> Expr {
    column(0, TypeKind::Int)
}
pub fn l() -> Expr {
    column(1, TypeKind::BigInt)
}
pub fn d() -> Expr {
    column(2, TypeKind::Double)
}
pub fn dec() -> Expr {
    column(3, TypeKind::Decimal { precision: 12, scale: 2 })
}
pub fn s() -> Expr {
    column(4, TypeKind::VarChar(MAX_LENGTH))
}
pub fn t() -> Expr {
    column(5, TypeKind::VarChar(MAX_LENGTH))
}
pub fn b() -> Expr {
    column(6, TypeKind::Boolean)
}
pub fn ts() -> Expr {
    column(7, TypeKind::Timestamp(3, TimestampKind::Rowtime))
}

pub fn int(value: i64) -> Expr {
    Expr::literal(Scalar::Int(value), TypeKind::Int)
}
pub fn null_of(kind: TypeKind) -> Expr {
    Expr::literal(Scalar::Null, kind)
}
pub fn lit(text: &str) -> Expr {
    let length = u32::try_from(text.chars().count()).expect("short");
    Expr::literal(Scalar::String(text.to_owned()), TypeKind::Char(length))
}
pub fn decimal(unscaled: &str, precision: u8, scale: u8) -> Expr {
    Expr::literal(Scalar::Decimal(unscaled.to_owned()), TypeKind::Decimal { precision, scale })
}
pub fn of_kind(value: i64, kind: TypeKind) -> Expr {
    Expr::literal(Scalar::Int(value), kind)
}

/// A call that must be accepted.
pub fn call<const N: usize>(name: &str, args: [Expr; N]) -> Expr {
    super::call(name, args.to_vec()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The code of a call that must be refused.
pub fn refused(name: &str, args: Vec<Expr>) -> String {
    super::call(name, args).expect_err("it should be refused").code
}

/// A written cast that must be accepted.
pub fn cast(input: Expr, kind: TypeKind) -> Expr {
    super::cast(input, &DataType::nullable(kind), true).unwrap_or_else(|e| panic!("{e}"))
}

/// The values over [`batch`] as text.
pub fn values(expr: &Expr) -> Vec<String> {
    evaluate(expr).unwrap_or_else(|e| panic!("{expr:?}: {e}"))
}

pub fn evaluate(expr: &Expr) -> crate::error::Result<Vec<String>> {
    let array = Evaluator::new(expr, &context())?.evaluate(&batch())?;
    assert_eq!(array.data_type(), &expr.data_type().to_arrow(), "the layout of {expr:?}");
    assert_eq!(array.len(), 4, "the rows of {expr:?}");
    let kernel = super::cast::kernel(expr.data_type(), &DataType::string(), false, &context())?;
    let text = kernel.map_or(Ok(array.clone()), |k| k(&array))?;
    Ok(text.as_string::<i32>().iter().map(|v| v.unwrap_or("NULL").to_owned()).collect())
}

/// The code of an evaluation that must fail.
pub fn fails(expr: &Expr) -> String {
    evaluate(expr).expect_err("it should fail").code
}

/// Checks the type's text and the values over [`batch`].
pub fn check(expr: &Expr, data_type: &str, expected: &[&str]) {
    assert_eq!(expr.data_type().to_string(), data_type, "the type of {expr:?}");
    assert_eq!(values(expr), expected, "the values of {expr:?}");
}
