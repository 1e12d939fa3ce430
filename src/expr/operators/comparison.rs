//! `= <> < <= > >=`, `IS [NOT] DISTINCT FROM` and `BETWEEN`.
//!
//! Numbers are compared as numbers (floats as Java compares primitives: NaN equals nothing, -0.0 equals 0.0), text and
//! bytes byte by byte, timestamps as instants of any precision. Text is read as a date or a time where it meets one;
//! collections know only equality. Null where a side is null.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::boolean::{and_kleene, not, or_kleene};
use arrow::compute::kernels::cmp;
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalYearMonthType, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, i256,
};

use super::{any_nullable, coerce, expect_count, refuse};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::cast::{decimal_of_integer, least_restrictive};
use crate::expr::function::{Function, Kernel, Value};
use crate::expr::text::{pow10, units_per_second};
use crate::expr::vector::{boolean, compare, compare_rows, primitive};
use crate::types::{DataType, TypeKind};

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

macro_rules! comparison {
    ($name:literal, $test:expr) => {
        Function {
            name: $name,
            bind: |args| bind($name, $test, args),
            prepare: |_| Ok(kernel($test)),
            deterministic: true,
        }
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    comparison!("=", Test::Eq),
    comparison!("<>", Test::Ne),
    comparison!("<", Test::Lt),
    comparison!("<=", Test::Le),
    comparison!(">", Test::Gt),
    comparison!(">=", Test::Ge),
    Function {
        name: "IS_DISTINCT_FROM",
        bind: |args| bind_distinct("IS DISTINCT FROM", args),
        prepare: |_| Ok(distinct(true)),
        deterministic: true,
    },
    Function {
        name: "IS_NOT_DISTINCT_FROM",
        bind: |args| bind_distinct("IS NOT DISTINCT FROM", args),
        prepare: |_| Ok(distinct(false)),
        deterministic: true,
    },
    Function { name: "BETWEEN", bind: bind_between, prepare: |_| Ok(Box::new(between)), deterministic: true },
    Function {
        name: "BETWEEN_SYMMETRIC",
        bind: bind_between,
        prepare: |_| Ok(Box::new(between_symmetric)),
        deterministic: true,
    },
];

fn bind(name: &str, test: Test, args: &mut Vec<Expr>) -> Result<DataType> {
    expect_count(name, args, 2)?;
    let nullable = any_nullable(args);
    coerce_comparable(name, args, !matches!(test, Test::Eq | Test::Ne))?;
    Ok(DataType { kind: TypeKind::Boolean, nullable })
}

fn bind_distinct(name: &str, args: &mut Vec<Expr>) -> Result<DataType> {
    expect_count(name, args, 2)?;
    coerce_comparable(name, args, false)?;
    Ok(DataType::not_null(TypeKind::Boolean))
}

fn bind_between(args: &mut Vec<Expr>) -> Result<DataType> {
    expect_count("BETWEEN", args, 3)?;
    let nullable = any_nullable(args);
    coerce_comparable("BETWEEN", args, true)?;
    Ok(DataType { kind: TypeKind::Boolean, nullable })
}

/// Casts arguments so that each can be compared with each, or says why that is not possible.
pub(crate) fn coerce_comparable(name: &str, args: &mut [Expr], ordered: bool) -> Result<()> {
    use TypeKind as K;
    let kinds: Vec<K> = args.iter().map(|a| a.data_type().kind.regular()).filter(|k| *k != K::Null).collect();
    let all = |test: &dyn Fn(&K) -> bool| kinds.iter().all(test);
    let nested = |k: &K| matches!(k, K::Array(_) | K::Map(..) | K::Multiset(_) | K::Row(_));
    let temporal = |k: &K| matches!(k, K::Date | K::Time(_) | K::Timestamp(..) | K::TimestampLtz(..));
    if ordered && kinds.iter().any(nested) {
        return refuse(format!("{name} orders its arguments; arrays, maps and rows know only = and <>"));
    }
    let Some(first) = kinds.first() else { return each(args, |_| Some(K::Int)) };
    let wrong = || {
        let names: Vec<_> = args.iter().map(|a| a.data_type().kind.to_string()).collect();
        format!("{name} cannot compare {}; write a CAST", names.join(" with "))
    };
    if all(&K::is_numeric) {
        // The kernels compare decimals of different scales, which may have no common type of 38 digits.
        return if kinds.iter().any(|k| matches!(k, K::Double)) {
            each(args, |_| Some(K::Double))
        } else if all(&|k| decimal_of_integer(k).is_some()) && !all(&K::is_integer) {
            each(args, |k| decimal_of_integer(k).map(|(precision, scale)| K::Decimal { precision, scale }))
        } else {
            let types: Vec<_> = kinds.into_iter().map(DataType::nullable).collect();
            let common = least_restrictive(&types)?.kind;
            each(args, |_| Some(common.clone()))
        };
    }
    if all(&K::is_string) || all(&K::is_binary) || all(&|k| k == first) {
        let (first, text) = (first.clone(), !nested(first));
        return each(args, |k| if text && *k != K::Null { None } else { Some(first.clone()) });
    }
    if let Some(time) = kinds.iter().find(|k| temporal(k)).cloned() {
        if kinds.iter().any(|k| !temporal(k) && !k.is_string()) {
            return refuse(wrong());
        }
        let zoned = kinds.iter().find(|k| matches!(k, K::TimestampLtz(..))).cloned();
        let stamps = all(&|k| matches!(k, K::Timestamp(..) | K::TimestampLtz(..)) || k.is_string());
        let same = all(&|k| std::mem::discriminant(k) == std::mem::discriminant(&time) || k.is_string());
        if !stamps && !same {
            return refuse(wrong());
        }
        return each(args, |k| match (k, &zoned) {
            (K::Timestamp(p, _), Some(_)) => Some(K::TimestampLtz(*p, crate::types::TimestampKind::Regular)),
            (K::Char(_) | K::VarChar(_) | K::Null, zoned) => Some(zoned.clone().unwrap_or_else(|| time.clone())),
            _ => None,
        });
    }
    if kinds.iter().any(nested) {
        let types: Vec<_> = kinds.into_iter().map(DataType::nullable).collect();
        if let Ok(common) = least_restrictive(&types) {
            return each(args, |_| Some(common.kind.clone()));
        }
    }
    refuse(wrong())
}

/// Casts each argument to what `target` wants of its type.
fn each(args: &mut [Expr], target: impl Fn(&TypeKind) -> Option<TypeKind>) -> Result<()> {
    for arg in args {
        if let Some(kind) = target(&arg.data_type().kind) {
            coerce(arg, &kind, true)?;
        }
    }
    Ok(())
}

fn kernel(test: Test) -> Kernel {
    Box::new(move |args, _| {
        let [left, right] = args else { return Err(Error::internal("a comparison takes two arguments")) };
        run(test, left, right)
    })
}

/// Compares two values of comparable types.
pub(crate) fn run(test: Test, left: &Value, right: &Value) -> Result<Value> {
    use ArrowType as A;
    match (left.data_type(), right.data_type()) {
        (A::Null, _) | (_, A::Null) => {
            let nothing = Value::null(&A::Boolean);
            if left.is_scalar() && right.is_scalar() {
                return Ok(nothing);
            }
            let rows = if left.is_scalar() { right.array().len() } else { left.array().len() };
            Ok(Value::Array(nothing.into_array(rows)?))
        }
        (A::Int8, _) => by::<Int8Type>(test, left, right),
        (A::Int16, _) => by::<Int16Type>(test, left, right),
        (A::Int32, _) => by::<Int32Type>(test, left, right),
        (A::Int64, _) => by::<Int64Type>(test, left, right),
        (A::Float32, _) => by::<Float32Type>(test, left, right),
        (A::Float64, _) => by::<Float64Type>(test, left, right),
        (A::Date32, _) => by::<Date32Type>(test, left, right),
        (A::Time32(_), _) => by::<Time32MillisecondType>(test, left, right),
        (A::Interval(_), _) => by::<IntervalYearMonthType>(test, left, right),
        (A::Duration(_), _) => by::<DurationMillisecondType>(test, left, right),
        (A::Timestamp(a, _), A::Timestamp(b, _)) if a == b => match a {
            TimeUnit::Second | TimeUnit::Millisecond => by::<TimestampMillisecondType>(test, left, right),
            TimeUnit::Microsecond => by::<TimestampMicrosecondType>(test, left, right),
            TimeUnit::Nanosecond => by::<TimestampNanosecondType>(test, left, right),
        },
        (A::Timestamp(a, _), A::Timestamp(b, _)) => mixed_timestamps(test, (left, *a), (right, *b)),
        (A::Decimal128(_, a), A::Decimal128(_, b)) if a == b => by::<Decimal128Type>(test, left, right),
        (A::Decimal128(p, a), A::Decimal128(q, b)) => mixed_decimals(test, (left, *p, *a), (right, *q, *b)),
        (A::Utf8 | A::Binary | A::Boolean, _) => {
            let array = match test {
                Test::Eq => cmp::eq(left, right)?,
                Test::Ne => cmp::neq(left, right)?,
                Test::Lt => cmp::lt(left, right)?,
                Test::Le => cmp::lt_eq(left, right)?,
                Test::Gt => cmp::gt(left, right)?,
                Test::Ge => cmp::gt_eq(left, right)?,
            };
            Ok(Value::of(&[left, right], Arc::new(array)))
        }
        _ => {
            let comparator = make_comparator(left.array(), right.array(), Default::default())?;
            Ok(compare_rows(left, right, |i, j| comparator(i, j).is_eq() == (test == Test::Eq)))
        }
    }
}

fn by<T: ArrowPrimitiveType>(test: Test, left: &Value, right: &Value) -> Result<Value>
where
    T::Native: PartialOrd,
{
    match test {
        Test::Eq => compare::<T>(left, right, |a, b| a == b),
        Test::Ne => compare::<T>(left, right, |a, b| a != b),
        Test::Lt => compare::<T>(left, right, |a, b| a < b),
        Test::Le => compare::<T>(left, right, |a, b| a <= b),
        Test::Gt => compare::<T>(left, right, |a, b| a > b),
        Test::Ge => compare::<T>(left, right, |a, b| a >= b),
    }
}

fn holds<T: PartialOrd>(test: Test, a: T, b: T) -> bool {
    match test {
        Test::Eq => a == b,
        Test::Ne => a != b,
        Test::Lt => a < b,
        Test::Le => a <= b,
        Test::Gt => a > b,
        Test::Ge => a >= b,
    }
}

fn numbers(value: &Value) -> Result<Vec<i64>> {
    let array: ArrayRef = arrow::compute::cast(value.array(), &ArrowType::Int64)?;
    Ok(primitive::<Int64Type>(&Value::Array(array))?.values().to_vec())
}

fn mixed_timestamps(test: Test, left: (&Value, TimeUnit), right: (&Value, TimeUnit)) -> Result<Value> {
    let nanos = |unit| i128::from(1_000_000_000 / units_per_second(unit));
    let (a, b) = (numbers(left.0)?, numbers(right.0)?);
    let (x, y) = (nanos(left.1), nanos(right.1));
    Ok(compare_rows(left.0, right.0, |i, j| holds(test, i128::from(a[i]) * x, i128::from(b[j]) * y)))
}

fn mixed_decimals(test: Test, left: (&Value, u8, i8), right: (&Value, u8, i8)) -> Result<Value> {
    let (a, b) = (primitive::<Decimal128Type>(left.0)?.values(), primitive::<Decimal128Type>(right.0)?.values());
    let lift = |own: i8, other: i8| u8::try_from(other.saturating_sub(own)).unwrap_or(0);
    let (up, down) = (lift(left.2, right.2), lift(right.2, left.2));
    let (x, y) = (pow10(up), pow10(down));
    if left.1 + up <= 38 && right.1 + down <= 38 {
        return Ok(compare_rows(left.0, right.0, |i, j| holds(test, a[i].wrapping_mul(x), b[j].wrapping_mul(y))));
    }
    let wide = |v: i128, by: i128| i256::from_i128(v).wrapping_mul(i256::from_i128(by));
    Ok(compare_rows(left.0, right.0, |i, j| holds(test, wide(a[i], x), wide(b[j], y))))
}

/// Equal values and two nulls are not distinct.
fn distinct(negated: bool) -> Kernel {
    Box::new(move |args, _| {
        let [left, right] = args else { return Err(Error::internal("a comparison takes two arguments")) };
        let equal = run(Test::Eq, left, right)?;
        let rows = equal.array().len();
        let one = |v: &Value| v.clone().into_array(if v.is_scalar() { rows } else { v.array().len() });
        let (a, b) = (one(left)?.logical_nulls(), one(right)?.logical_nulls());
        // A scalar null beside a column makes the comparison itself a scalar.
        let rows = if left.is_scalar() { right.array().len() } else { left.array().len() };
        let equal = equal.into_array(rows)?;
        let equal = boolean(&Value::Array(equal))?.clone();
        let null_at = |v: &Value, nulls: &Option<arrow::buffer::NullBuffer>, i: usize| {
            nulls.as_ref().is_some_and(|n| n.is_null(if v.is_scalar() { 0 } else { i }))
        };
        let bits = BooleanBuffer::collect_bool(rows, |i| {
            let same = match (null_at(left, &a, i), null_at(right, &b, i)) {
                (false, false) => equal.value(i),
                (x, y) => x && y,
            };
            same != negated
        });
        Ok(Value::of(&[left, right], Arc::new(BooleanArray::new(bits, None))))
    })
}

fn between(args: &[Value], rows: usize) -> Result<Value> {
    let [value, low, high] = args else { return Err(Error::internal("BETWEEN takes three arguments")) };
    let (above, below) = (run(Test::Ge, value, low)?, run(Test::Le, value, high)?);
    if above.is_scalar() && below.is_scalar() {
        return Ok(Value::Scalar(Arc::new(and_kleene(boolean(&above)?, boolean(&below)?)?)));
    }
    let (above, below) = (Value::Array(above.into_array(rows)?), Value::Array(below.into_array(rows)?));
    Ok(Value::Array(Arc::new(and_kleene(boolean(&above)?, boolean(&below)?)?)))
}

/// `BETWEEN SYMMETRIC`: the bounds come in either order.
fn between_symmetric(args: &[Value], rows: usize) -> Result<Value> {
    let [value, one, other] = args else { return Err(Error::internal("BETWEEN takes three arguments")) };
    let up = between(args, rows)?;
    let down = between(&[value.clone(), other.clone(), one.clone()], rows)?;
    Ok(Value::of(&[&up, &down], Arc::new(or_kleene(boolean(&up)?, boolean(&down)?)?)))
}

/// The negation, for `NOT IN` and the like.
pub(crate) fn negate(value: &Value) -> Result<Value> {
    Ok(Value::of(&[value], Arc::new(not(boolean(value)?)?)))
}
