//! Casts from text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanBuilder, NullBufferBuilder, PrimitiveArray, StringArray,
};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};

use super::{ArrayKernel, Setting, failed, temporal};
use crate::error::{Error, Result};
use crate::expr::text;
use crate::types::{TypeKind, timestamp_unit};

fn strings(array: &ArrayRef) -> Result<&StringArray> {
    array.as_string_opt::<i32>().ok_or_else(|| Error::internal(format!("expected text, got {}", array.data_type())))
}

fn each<O: ArrowPrimitiveType>(
    to: &TypeKind,
    setting: Setting<'_>,
    read: impl Fn(&str) -> Option<O::Native> + Send + Sync + 'static,
) -> ArrayKernel {
    each_nullable::<O>(to, setting, move |s| read(s).map(Some))
}

/// `None` fails, `Some(None)` is null.
fn each_nullable<O: ArrowPrimitiveType>(
    to: &TypeKind,
    setting: Setting<'_>,
    read: impl Fn(&str) -> Option<Option<O::Native>> + Send + Sync + 'static,
) -> ArrayKernel {
    let (target, arrow_type, lenient) = (to.clone(), to.to_arrow(), setting.on_failure_null);
    Box::new(move |array| {
        let array = strings(array)?;
        let mut values = Vec::with_capacity(array.len());
        let mut validity = NullBufferBuilder::new(array.len());
        for i in 0..array.len() {
            let value = if array.is_null(i) {
                None
            } else {
                let text = array.value(i);
                match read(text) {
                    None if !lenient => return Err(failed(text, &target)),
                    value => value.flatten(),
                }
            };
            validity.append(value.is_some());
            values.push(value.unwrap_or_default());
        }
        let array = PrimitiveArray::<O>::new(values.into(), validity.finish());
        Ok(Arc::new(array.with_data_type(arrow_type.clone())))
    })
}

/// Casts from `CHAR` and `VARCHAR` to anything but text, bytes and collections.
pub(super) fn from_string(to: &TypeKind, setting: Setting<'_>) -> Result<ArrayKernel> {
    use TypeKind as K;
    Ok(match to {
        K::Boolean => boolean(to, setting),
        K::TinyInt => each::<Int8Type>(to, setting, |s| i8::try_from(text::parse_integer(s)?).ok()),
        K::SmallInt => each::<Int16Type>(to, setting, |s| i16::try_from(text::parse_integer(s)?).ok()),
        K::Int => each::<Int32Type>(to, setting, |s| i32::try_from(text::parse_integer(s)?).ok()),
        K::BigInt => each::<Int64Type>(to, setting, text::parse_integer),
        K::Float => each::<Float32Type>(to, setting, text::parse_float),
        K::Double => each::<Float64Type>(to, setting, text::parse_double),
        K::Decimal { precision, scale } => decimal(*precision, *scale, to, setting),
        K::Date => each::<Date32Type>(to, setting, text::parse_date),
        K::Time(p) => {
            let step = 10i32.pow(3 - u32::from((*p).min(3)));
            each::<Time32MillisecondType>(to, setting, move |s| Some(text::parse_time(s)? / step * step))
        }
        K::Timestamp(p, _) => timestamp(*p, to, setting, |s| s),
        K::TimestampLtz(p, _) => {
            let zone = setting.context.time_zone;
            timestamp(*p, to, setting, move |s| temporal::to_utc(zone, s))
        }
        _ => return Err(super::unexpected(&K::VarChar(crate::types::MAX_LENGTH), to)),
    })
}

/// A number that is too large for the precision is null, what is no number fails.
fn decimal(precision: u8, scale: u8, to: &TypeKind, setting: Setting<'_>) -> ArrayKernel {
    each_nullable::<Decimal128Type>(to, setting, move |s| match text::parse_decimal(s, precision, scale) {
        None => text::parse_double(s).filter(|d| !d.is_nan()).map(|_| None),
        value => Some(value),
    })
}

fn timestamp(
    precision: u8,
    to: &TypeKind,
    setting: Setting<'_>,
    shift: impl Fn(i64) -> i64 + Send + Sync + 'static,
) -> ArrayKernel {
    let read = move |s: &str| {
        let (seconds, nanos) = text::parse_timestamp(s)?;
        text::timestamp_from_parts(shift(seconds), nanos, precision)
    };
    match timestamp_unit(precision) {
        TimeUnit::Second | TimeUnit::Millisecond => each::<TimestampMillisecondType>(to, setting, read),
        TimeUnit::Microsecond => each::<TimestampMicrosecondType>(to, setting, read),
        TimeUnit::Nanosecond => each::<TimestampNanosecondType>(to, setting, read),
    }
}

fn boolean(to: &TypeKind, setting: Setting<'_>) -> ArrayKernel {
    let (target, lenient) = (to.clone(), setting.on_failure_null);
    Box::new(move |array| {
        let array = strings(array)?;
        let mut builder = BooleanBuilder::with_capacity(array.len());
        for text in array {
            match text.map(|t| (t, text::parse_boolean(t))) {
                Some((text, None)) if !lenient => return Err(failed(text, &target)),
                Some((_, value)) => builder.append_option(value),
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    })
}
