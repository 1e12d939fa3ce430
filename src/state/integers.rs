//! Arrow columns that are integers underneath (integers, booleans, dates, times, timestamps, intervals) as `i64`, and
//! back. Keys and accumulators then need one implementation instead of twelve.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Date32Array, DurationMillisecondArray, Int8Array,
    Int16Array, Int32Array, Int64Array, IntervalYearMonthArray, Time32MillisecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, DurationMillisecondType, Int8Type, Int16Type, Int32Type, Int64Type, IntervalUnit,
    IntervalYearMonthType, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};

use crate::error::{Error, Result};

/// Bytes of one value in the layout of `data_type`, where it is an integer underneath (a boolean takes one).
pub fn width(data_type: &DataType) -> Option<usize> {
    Some(match data_type {
        DataType::Boolean | DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32
        | DataType::Date32
        | DataType::Time32(TimeUnit::Millisecond)
        | DataType::Interval(IntervalUnit::YearMonth) => 4,
        DataType::Int64
        | DataType::Duration(TimeUnit::Millisecond)
        | DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond, _) => 8,
        _ => return None,
    })
}

/// The values as `i64`; zero-copy for 8-byte types. Values at null positions are arbitrary.
pub fn to_i64(array: &dyn Array) -> Result<ScalarBuffer<i64>> {
    fn widen<T: ArrowPrimitiveType>(array: &dyn Array) -> ScalarBuffer<i64>
    where
        T::Native: Into<i64>,
    {
        array.as_primitive::<T>().values().iter().map(|v| (*v).into()).collect()
    }
    fn same<T: ArrowPrimitiveType<Native = i64>>(array: &dyn Array) -> ScalarBuffer<i64> {
        array.as_primitive::<T>().values().clone()
    }
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().values().iter().map(i64::from).collect(),
        DataType::Int8 => widen::<Int8Type>(array),
        DataType::Int16 => widen::<Int16Type>(array),
        DataType::Int32 => widen::<Int32Type>(array),
        DataType::Date32 => widen::<Date32Type>(array),
        DataType::Time32(TimeUnit::Millisecond) => widen::<Time32MillisecondType>(array),
        DataType::Interval(IntervalUnit::YearMonth) => widen::<IntervalYearMonthType>(array),
        DataType::Int64 => same::<Int64Type>(array),
        DataType::Duration(TimeUnit::Millisecond) => same::<DurationMillisecondType>(array),
        DataType::Timestamp(TimeUnit::Millisecond, _) => same::<TimestampMillisecondType>(array),
        DataType::Timestamp(TimeUnit::Microsecond, _) => same::<TimestampMicrosecondType>(array),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => same::<TimestampNanosecondType>(array),
        other => return Err(not_integer(other)),
    })
}

/// A column of `data_type` with these values; they are truncated to its width, so that integer sums wrap.
#[expect(clippy::cast_possible_truncation, reason = "wrapping is what the doc promises")]
pub fn from_i64(values: Vec<i64>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef> {
    let ints = |values: Vec<i64>| values.into_iter().map(|v| v as i32).collect::<ScalarBuffer<i32>>();
    Ok(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::new(values.into_iter().map(|v| v != 0).collect(), nulls)),
        DataType::Int8 => Arc::new(Int8Array::new(values.into_iter().map(|v| v as i8).collect(), nulls)),
        DataType::Int16 => Arc::new(Int16Array::new(values.into_iter().map(|v| v as i16).collect(), nulls)),
        DataType::Int32 => Arc::new(Int32Array::new(ints(values), nulls)),
        DataType::Date32 => Arc::new(Date32Array::new(ints(values), nulls)),
        DataType::Time32(TimeUnit::Millisecond) => Arc::new(Time32MillisecondArray::new(ints(values), nulls)),
        DataType::Interval(IntervalUnit::YearMonth) => Arc::new(IntervalYearMonthArray::new(ints(values), nulls)),
        DataType::Int64 => Arc::new(Int64Array::new(values.into(), nulls)),
        DataType::Duration(TimeUnit::Millisecond) => Arc::new(DurationMillisecondArray::new(values.into(), nulls)),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            Arc::new(TimestampMillisecondArray::new(values.into(), nulls).with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Arc::new(TimestampNanosecondArray::new(values.into(), nulls).with_timezone_opt(zone.clone()))
        }
        other => return Err(not_integer(other)),
    })
}

fn not_integer(data_type: &DataType) -> Error {
    Error::internal(format!("a column of {data_type} is not an integer underneath"))
}
