//! Loops over one or two columns that kernels are made of: a scalar operand never becomes a column, nulls are
//! united once, and the operation is a generic closure, so that each loop is compiled for its types.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, NullBufferBuilder, PrimitiveArray, make_array,
    new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalYearMonthType, Time32MillisecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use std::sync::Arc;

use super::function::Value;
use crate::error::{Error, Result};

/// The primitive array behind a value; the planner has checked the types, so that another one is a defect.
pub(crate) fn primitive<T: ArrowPrimitiveType>(value: &Value) -> Result<&PrimitiveArray<T>> {
    let array = value.array();
    array
        .as_primitive_opt::<T>()
        .ok_or_else(|| Error::internal(format!("expected {}, got {}", T::DATA_TYPE, array.data_type())))
}

/// The boolean array behind a value.
pub(crate) fn boolean(value: &Value) -> Result<&BooleanArray> {
    let array = value.array();
    array.as_boolean_opt().ok_or_else(|| Error::internal(format!("expected a boolean, got {}", array.data_type())))
}

/// The string array behind a value.
pub(crate) fn string(value: &Value) -> Result<&arrow::array::StringArray> {
    let array = value.array();
    array.as_string_opt::<i32>().ok_or_else(|| Error::internal(format!("expected a string, got {}", array.data_type())))
}

/// The number of rows of a result over these values: 1 if all are scalars.
pub(crate) fn length(values: &[&Value]) -> usize {
    values.iter().find(|v| !v.is_scalar()).map_or(1, |v| v.array().len())
}

/// Where any of the values is null; `None` if a scalar is null, so that the whole result is.
fn united(values: &[&Value]) -> Option<Option<NullBuffer>> {
    let mut nulls = None;
    for value in values {
        if value.is_scalar() && value.array().is_null(0) {
            return None;
        }
        if !value.is_scalar() {
            nulls = NullBuffer::union(nulls.as_ref(), value.array().logical_nulls().as_ref());
        }
    }
    Some(nulls)
}

/// A total operation on each pair of elements; `out` is the result's type.
pub(crate) fn binary<A, B, O>(
    left: &Value,
    right: &Value,
    out: &ArrowType,
    op: impl Fn(A::Native, B::Native) -> O::Native,
) -> Result<Value>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let (a, b) = (primitive::<A>(left)?, primitive::<B>(right)?);
    if united(&[left, right]).is_none() {
        return Ok(Value::null(out));
    }
    let array: PrimitiveArray<O> = match (left.is_scalar(), right.is_scalar()) {
        (false, true) => {
            let y = b.value(0);
            a.unary(|x| op(x, y))
        }
        (true, false) => {
            let x = a.value(0);
            b.unary(|y| op(x, y))
        }
        _ => arrow::compute::binary(a, b, op)?,
    };
    Ok(Value::of(&[left, right], Arc::new(array.with_data_type(out.clone()))))
}

/// An operation that may answer null or fail, run only where both elements are there.
pub(crate) fn try_binary<A, B, O>(
    left: &Value,
    right: &Value,
    out: &ArrowType,
    op: impl Fn(A::Native, B::Native) -> Result<Option<O::Native>>,
) -> Result<Value>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let (a, b) = (primitive::<A>(left)?.values(), primitive::<B>(right)?.values());
    let Some(nulls) = united(&[left, right]) else { return Ok(Value::null(out)) };
    let rows = length(&[left, right]);
    let (a_step, b_step) = (usize::from(!left.is_scalar()), usize::from(!right.is_scalar()));
    let mut values = Vec::with_capacity(rows);
    let mut validity = NullBufferBuilder::new(rows);
    for i in 0..rows {
        let value = match &nulls {
            Some(n) if n.is_null(i) => None,
            _ => op(a[i * a_step], b[i * b_step])?,
        };
        match value {
            Some(_) => validity.append_non_null(),
            None => validity.append_null(),
        }
        values.push(value.unwrap_or_default());
    }
    let array = PrimitiveArray::<O>::new(values.into(), validity.finish()).with_data_type(out.clone());
    Ok(Value::of(&[left, right], Arc::new(array)))
}

/// An operation on one column that may answer null or fail.
pub(crate) fn try_unary<A, O>(
    array: &PrimitiveArray<A>,
    out: &ArrowType,
    op: impl Fn(A::Native) -> Result<Option<O::Native>>,
) -> Result<ArrayRef>
where
    A: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let mut values = Vec::with_capacity(array.len());
    let mut validity = NullBufferBuilder::new(array.len());
    for (i, &x) in array.values().iter().enumerate() {
        let value = if array.is_null(i) { None } else { op(x)? };
        match value {
            Some(_) => validity.append_non_null(),
            None => validity.append_null(),
        }
        values.push(value.unwrap_or_default());
    }
    Ok(Arc::new(PrimitiveArray::<O>::new(values.into(), validity.finish()).with_data_type(out.clone())))
}

/// A predicate on each pair of elements, null where either is.
pub(crate) fn compare<T: ArrowPrimitiveType>(
    left: &Value,
    right: &Value,
    op: impl Fn(T::Native, T::Native) -> bool,
) -> Result<Value> {
    let (a, b) = (primitive::<T>(left)?.values(), primitive::<T>(right)?.values());
    let Some(nulls) = united(&[left, right]) else { return Ok(Value::null(&ArrowType::Boolean)) };
    let rows = length(&[left, right]);
    let bits = match (left.is_scalar(), right.is_scalar()) {
        (false, true) => {
            let y = b[0];
            BooleanBuffer::collect_bool(rows, |i| op(a[i], y))
        }
        (true, false) => {
            let x = a[0];
            BooleanBuffer::collect_bool(rows, |i| op(x, b[i]))
        }
        _ => BooleanBuffer::collect_bool(rows, |i| op(a[i], b[i])),
    };
    Ok(Value::of(&[left, right], Arc::new(BooleanArray::new(bits, nulls))))
}

/// A predicate on row numbers (a scalar's is always 0), null where either side is.
pub(crate) fn compare_rows(left: &Value, right: &Value, op: impl Fn(usize, usize) -> bool) -> Value {
    let Some(nulls) = united(&[left, right]) else { return Value::null(&ArrowType::Boolean) };
    let (a_step, b_step) = (usize::from(!left.is_scalar()), usize::from(!right.is_scalar()));
    let bits = BooleanBuffer::collect_bool(length(&[left, right]), |i| {
        nulls.as_ref().is_none_or(|n| n.is_valid(i)) && op(i * a_step, i * b_step)
    });
    Value::of(&[left, right], Arc::new(BooleanArray::new(bits, nulls)))
}

/// `truthy` where `mask` (which has no nulls) is set, else `falsy`; both of the same type.
pub(crate) fn select(mask: &BooleanArray, truthy: &Value, falsy: &Value) -> Result<ArrayRef> {
    macro_rules! primitives {
        ($($type:ty),*) => {
            match truthy.data_type() {
                $(t if *t == <$type>::DATA_TYPE => return select_primitive::<$type>(mask, truthy, falsy),)*
                ArrowType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, _) =>
                    return select_primitive::<TimestampMillisecondType>(mask, truthy, falsy),
                ArrowType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) =>
                    return select_primitive::<TimestampMicrosecondType>(mask, truthy, falsy),
                ArrowType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, _) =>
                    return select_primitive::<TimestampNanosecondType>(mask, truthy, falsy),
                ArrowType::Decimal128(..) => return select_primitive::<Decimal128Type>(mask, truthy, falsy),
                _ => {}
            }
        };
    }
    primitives!(
        Int8Type,
        Int16Type,
        Int32Type,
        Int64Type,
        Float32Type,
        Float64Type,
        Date32Type,
        Time32MillisecondType,
        IntervalYearMonthType,
        DurationMillisecondType
    );
    Ok(zip(mask, truthy, falsy)?)
}

/// Without branches per row; Arrow's `zip` copies runs, which alternating masks make short.
fn select_primitive<T: ArrowPrimitiveType>(mask: &BooleanArray, truthy: &Value, falsy: &Value) -> Result<ArrayRef> {
    let (a, b) = (primitive::<T>(truthy)?, primitive::<T>(falsy)?);
    let (rows, bits) = (mask.len(), mask.values());
    let (x, y) = (a.values(), b.values());
    let values: Vec<T::Native> = match (truthy.is_scalar(), falsy.is_scalar()) {
        (false, false) => x.iter().zip(y.iter()).zip(bits.iter()).map(|((&x, &y), m)| if m { x } else { y }).collect(),
        (false, true) => x.iter().zip(bits.iter()).map(|(&x, m)| if m { x } else { y[0] }).collect(),
        (true, false) => y.iter().zip(bits.iter()).map(|(&y, m)| if m { x[0] } else { y }).collect(),
        (true, true) => bits.iter().map(|m| if m { x[0] } else { y[0] }).collect(),
    };
    let valid = |v: &Value| {
        if v.is_scalar() {
            if v.array().is_null(0) { BooleanBuffer::new_unset(rows) } else { BooleanBuffer::new_set(rows) }
        } else {
            v.array().nulls().map_or_else(|| BooleanBuffer::new_set(rows), |n| n.inner().clone())
        }
    };
    let nulls = (a.null_count() > 0 || b.null_count() > 0)
        .then(|| NullBuffer::new(&(bits & &valid(truthy)) | &(&!bits & &valid(falsy))));
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(truthy.data_type().clone())))
}

/// The same values, null also where `nulls` says so.
pub(crate) fn with_nulls(array: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<ArrayRef> {
    let Some(nulls) = nulls.filter(|n| n.null_count() > 0) else { return Ok(array.clone()) };
    if array.data_type() == &ArrowType::Null || array.nulls().is_some_and(|own| own.contains(nulls)) {
        return Ok(array.clone());
    }
    if nulls.null_count() == nulls.len() {
        return Ok(new_null_array(array.data_type(), array.len()));
    }
    let hidden = BooleanArray::new(!nulls.inner(), None);
    Ok(make_array(arrow::compute::nullif(array, &hidden)?.to_data()))
}
