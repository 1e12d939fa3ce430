//! Casts among dates, times and timestamps.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::{ArrayKernel, Setting, shared, unexpected};
use crate::error::{Error, Result};
use crate::expr::text::{MILLIS_PER_DAY, units_per_second};
use crate::types::{TypeKind, timestamp_unit};

const SECONDS_PER_DAY: i64 = 86_400;

/// The numbers behind a timestamp, a date (days) or a time (ms).
fn numbers(array: &ArrayRef) -> Result<PrimitiveArray<Int64Type>> {
    let cast = |a: &dyn Array| Error::internal(format!("expected a date or a timestamp, got {}", a.data_type()));
    let found = match array.data_type() {
        ArrowType::Timestamp(TimeUnit::Second, _) => {
            array.as_primitive_opt::<TimestampSecondType>().map(|a| a.reinterpret_cast())
        }
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            array.as_primitive_opt::<TimestampMillisecondType>().map(|a| a.reinterpret_cast())
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive_opt::<TimestampMicrosecondType>().map(|a| a.reinterpret_cast())
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            array.as_primitive_opt::<TimestampNanosecondType>().map(|a| a.reinterpret_cast())
        }
        ArrowType::Date32 => array.as_primitive_opt::<Date32Type>().map(|a| a.unary(i64::from)),
        ArrowType::Time32(_) => array.as_primitive_opt::<Time32MillisecondType>().map(|a| a.unary(i64::from)),
        _ => None,
    };
    found.ok_or_else(|| cast(array))
}

/// Such numbers as an array of the type.
fn of_numbers(numbers: PrimitiveArray<Int64Type>, arrow_type: &ArrowType) -> Result<ArrayRef> {
    // A time of day and a date in Flink's range fit 32 bits.
    Ok(match arrow_type {
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            shared(numbers.reinterpret_cast::<TimestampMillisecondType>().with_data_type(arrow_type.clone()))
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            shared(numbers.reinterpret_cast::<TimestampMicrosecondType>().with_data_type(arrow_type.clone()))
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            shared(numbers.reinterpret_cast::<TimestampNanosecondType>().with_data_type(arrow_type.clone()))
        }
        ArrowType::Date32 => shared(numbers.unary::<_, Date32Type>(|x| x as i32)),
        ArrowType::Time32(_) => shared(numbers.unary::<_, Time32MillisecondType>(|x| x as i32)),
        other => return Err(Error::internal(format!("expected a date or a timestamp, got {other}"))),
    })
}

fn map(arrow_type: ArrowType, op: impl Fn(i64) -> i64 + Send + Sync + 'static) -> ArrayKernel {
    Box::new(move |array| of_numbers(numbers(array)?.unary(&op), &arrow_type))
}

/// The instant at which clocks in `zone` show this many seconds since 1970; in a gap as `java.time`: moved forward.
pub(super) fn to_utc(zone: Tz, local_seconds: i64) -> i64 {
    let Some(local) = DateTime::from_timestamp(local_seconds, 0).map(|t| t.naive_utc()) else { return local_seconds };
    let offset = |t: NaiveDateTime| i64::from(zone.offset_from_utc_datetime(&t).fix().local_minus_utc());
    match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(o) | LocalResult::Ambiguous(o, _) => local_seconds - i64::from(o.fix().local_minus_utc()),
        // The offset before the gap.
        LocalResult::None => local_seconds - offset(local - chrono::TimeDelta::days(1)),
    }
}

/// What clocks in `zone` show at this instant.
pub(super) fn to_local(zone: Tz, seconds: i64) -> i64 {
    match DateTime::from_timestamp(seconds, 0) {
        Some(t) => seconds + i64::from(zone.offset_from_utc_datetime(&t.naive_utc()).fix().local_minus_utc()),
        None => seconds,
    }
}

fn shift_seconds(value: i64, per: i64, shift: impl Fn(i64) -> i64) -> i64 {
    let seconds = value.div_euclid(per);
    value.saturating_add((shift(seconds) - seconds).saturating_mul(per))
}

/// Moves a timestamp to another precision: a finer unit, or digits cut off.
fn rescale(from: u8, to: u8) -> impl Fn(i64) -> i64 + Send + Sync + Copy + 'static {
    let (per_from, per_to) = (units_per_second(timestamp_unit(from)), units_per_second(timestamp_unit(to)));
    let shown = 10i64.pow(u32::from(to.min(9)));
    let step = (per_to / shown).max(1);
    let cut = to < from;
    move |value| {
        let scaled = if per_to >= per_from {
            value.saturating_mul(per_to / per_from)
        } else {
            value.div_euclid(per_from / per_to)
        };
        if cut && step > 1 { scaled.div_euclid(step) * step } else { scaled }
    }
}

/// `None` if the values stay as they are.
pub(super) fn convert(from: &TypeKind, to: &TypeKind, setting: Setting<'_>) -> Result<Option<ArrayKernel>> {
    use TypeKind as K;
    let zone = setting.context.time_zone;
    let utc = zone == Tz::UTC;
    let arrow_type = to.to_arrow();
    let unit = |p: &u8| units_per_second(timestamp_unit(*p));
    let zoned = |k: &K| matches!(k, K::TimestampLtz(..));
    let time_step = |p: u8| 10i64.pow(3 - u32::from(p.min(3)));
    Ok(Some(match (from, to) {
        (K::Timestamp(p, _) | K::TimestampLtz(p, _), K::Timestamp(q, _) | K::TimestampLtz(q, _)) => {
            let (scale, per) = (rescale(*p, *q), unit(q));
            match (zoned(from), zoned(to)) {
                (false, true) if !utc => map(arrow_type, move |x| shift_seconds(scale(x), per, |s| to_utc(zone, s))),
                (true, false) if !utc => map(arrow_type, move |x| shift_seconds(scale(x), per, |s| to_local(zone, s))),
                _ => map(arrow_type, scale),
            }
        }
        (K::Timestamp(p, _) | K::TimestampLtz(p, _), K::Date | K::Time(_)) => {
            let per = unit(p);
            let local = zoned(from) && !utc;
            let seconds = move |x: i64| {
                let s = x.div_euclid(per);
                if local { to_local(zone, s) } else { s }
            };
            match to {
                K::Time(q) => {
                    let step = time_step(*q);
                    map(arrow_type, move |x| {
                        let millis = x.rem_euclid(per) * 1000 / per;
                        (seconds(x).rem_euclid(SECONDS_PER_DAY) * 1000 + millis) / step * step
                    })
                }
                _ => map(arrow_type, move |x| seconds(x).div_euclid(SECONDS_PER_DAY)),
            }
        }
        (K::Date, K::Timestamp(q, _)) => {
            let per = unit(q);
            map(arrow_type, move |d| (d * SECONDS_PER_DAY).saturating_mul(per))
        }
        (K::Date, K::TimestampLtz(q, _)) => {
            let per = unit(q);
            map(arrow_type, move |d| to_utc(zone, d * SECONDS_PER_DAY).saturating_mul(per))
        }
        (K::Time(_), K::Timestamp(q, _) | K::TimestampLtz(q, _)) => {
            let (per, local) = (unit(q), zoned(to));
            let cut = rescale(9, *q);
            map(arrow_type, move |ms| {
                let value = cut(ms.rem_euclid(MILLIS_PER_DAY) * 1_000_000);
                if local { shift_seconds(value, per, |s| to_utc(zone, s)) } else { value }
            })
        }
        (K::Time(p), K::Time(q)) if q >= p => return Ok(None),
        (K::Time(_), K::Time(q)) => {
            let step = time_step(*q);
            map(arrow_type, move |ms| ms / step * step)
        }
        _ => return Err(unexpected(from, to)),
    }))
}
