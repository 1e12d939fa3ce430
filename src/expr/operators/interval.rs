//! Dates, times, timestamps and intervals under `+ - *`.
//!
//! The type of the time is kept with its time attribute. Months clamp the day as `java.time`'s `plusMonths`; a date
//! moves by whole days of the interval; a time wraps around midnight. The difference of two times is refused, as in Flink.

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, DurationMillisecondType, Int32Type, Int64Type, IntervalYearMonthType,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};

use super::arithmetic::Op;
use super::{coerce, refuse};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Kernel};
use crate::expr::text::{MILLIS_PER_DAY, add_months, units_per_second};
use crate::expr::vector::binary;
use crate::types::{TypeKind, timestamp_unit};

fn is_interval(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime)
}

fn is_time(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Date | TypeKind::Time(_) | TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..))
}

/// The type of `op` if a time or an interval takes part, with the time (or the interval) put first.
pub(super) fn bind(op: Op, args: &mut [Expr]) -> Result<Option<TypeKind>> {
    let [left, right] = args else { return Ok(None) };
    let (l, r) = (&left.data_type().kind, &right.data_type().kind);
    if (op == Op::Add && is_interval(l) && is_time(r)) || (op == Op::Mul && l.is_numeric() && is_interval(r)) {
        std::mem::swap(left, right);
    }
    let (a, b) = (left.data_type().kind.clone(), right.data_type().kind.clone());
    if ![&a, &b].into_iter().any(|k| is_time(k) || is_interval(k)) {
        return Ok(None);
    }
    match (op, &a, &b) {
        (Op::Add | Op::Sub, TypeKind::Time(_), TypeKind::IntervalYearMonth) => {
            refuse("months cannot be added to a TIME")
        }
        (Op::Add | Op::Sub, time, interval) if is_time(time) && is_interval(interval) => Ok(Some(a)),
        (Op::Add | Op::Sub, x, y) if is_interval(x) && x == y => Ok(Some(a)),
        (Op::Mul, interval, number) if is_interval(interval) && number.is_integer() => {
            let months = *interval == TypeKind::IntervalYearMonth;
            coerce(right, if months { &TypeKind::Int } else { &TypeKind::BigInt }, true)?;
            Ok(Some(a))
        }
        (Op::Sub, x, y) if is_time(x) && is_time(y) => {
            refuse(format!("cannot subtract {y} from {x}; use TIMESTAMPDIFF(unit, start, end)"))
        }
        _ => refuse(format!("cannot combine {a} and {b}; add intervals to times, or multiply intervals by integers")),
    }
}

/// The kernel, if a time or an interval takes part.
pub(super) fn prepare(op: Op, call: &Call<'_>) -> Result<Option<Kernel>> {
    use TypeKind as K;
    let [left, right] = call.args else { return Ok(None) };
    let arrow_type = call.data_type.to_arrow();
    let sign: i64 = if op == Op::Sub { -1 } else { 1 };
    Ok(Some(match (&left.data_type().kind, &right.data_type().kind) {
        (K::Date, K::IntervalDayTime) => kernel::<Date32Type, DurationMillisecondType>(arrow_type, move |d, ms| {
            narrow(i64::from(d) + sign * (ms / MILLIS_PER_DAY))
        }),
        (K::Date, K::IntervalYearMonth) => kernel::<Date32Type, IntervalYearMonthType>(arrow_type, move |d, m| {
            narrow(add_months(i64::from(d), sign * i64::from(m)))
        }),
        (K::Time(_), K::IntervalDayTime) => {
            kernel::<Time32MillisecondType, DurationMillisecondType>(arrow_type, move |t, ms| {
                narrow((i64::from(t) + sign * (ms % MILLIS_PER_DAY)).rem_euclid(MILLIS_PER_DAY))
            })
        }
        (K::Timestamp(p, _) | K::TimestampLtz(p, _), K::IntervalDayTime) => {
            let per_milli = units_per_second(timestamp_unit(*p)) / 1000;
            timestamp::<DurationMillisecondType>(*p, arrow_type, move |t, ms: i64| {
                t.wrapping_add(sign.wrapping_mul(ms).wrapping_mul(per_milli))
            })
        }
        (K::Timestamp(p, _) | K::TimestampLtz(p, _), K::IntervalYearMonth) => {
            let per_day = units_per_second(timestamp_unit(*p)) * 86_400;
            timestamp::<IntervalYearMonthType>(*p, arrow_type, move |t, months: i32| {
                let days = add_months(t.div_euclid(per_day), sign * i64::from(months));
                days.saturating_mul(per_day).saturating_add(t.rem_euclid(per_day))
            })
        }
        (K::IntervalDayTime, K::IntervalDayTime) => {
            kernel::<DurationMillisecondType, DurationMillisecondType>(arrow_type, move |a, b| {
                a.wrapping_add(sign.wrapping_mul(b))
            })
        }
        (K::IntervalYearMonth, K::IntervalYearMonth) => {
            kernel::<IntervalYearMonthType, IntervalYearMonthType>(arrow_type, move |a, b| {
                if sign < 0 { a.wrapping_sub(b) } else { a.wrapping_add(b) }
            })
        }
        (K::IntervalDayTime, _) => kernel::<DurationMillisecondType, Int64Type>(arrow_type, i64::wrapping_mul),
        (K::IntervalYearMonth, _) => kernel::<IntervalYearMonthType, Int32Type>(arrow_type, i32::wrapping_mul),
        _ => return Ok(None),
    }))
}

/// Days and times of day in Flink's range fit 32 bits.
fn narrow(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

fn kernel<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    arrow_type: ArrowType,
    op: impl Fn(A::Native, B::Native) -> A::Native + Send + Sync + 'static,
) -> Kernel {
    Box::new(move |args, _| {
        let [left, right] = args else { return Err(Error::internal("an operator takes two arguments")) };
        binary::<A, B, A>(left, right, &arrow_type, &op)
    })
}

fn timestamp<B: ArrowPrimitiveType>(
    precision: u8,
    arrow_type: ArrowType,
    op: impl Fn(i64, B::Native) -> i64 + Send + Sync + 'static,
) -> Kernel {
    match timestamp_unit(precision) {
        TimeUnit::Second | TimeUnit::Millisecond => kernel::<TimestampMillisecondType, B>(arrow_type, op),
        TimeUnit::Microsecond => kernel::<TimestampMicrosecondType, B>(arrow_type, op),
        TimeUnit::Nanosecond => kernel::<TimestampNanosecondType, B>(arrow_type, op),
    }
}
