//! Constants: numbers, strings, dates and times, intervals, with the types that Calcite gives them.

use chrono::{NaiveDate, NaiveTime, Timelike};
use sqlparser::ast as sp;
use sqlparser::ast::DateTimeField;

use super::place;
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::sql::ast::Position;
use crate::types::{TimestampKind, TypeKind, timestamp_unit};
use arrow::datatypes::TimeUnit;

const MS_PER_SECOND: i64 = 1000;
const MS_PER_MINUTE: i64 = 60 * MS_PER_SECOND;
const MS_PER_HOUR: i64 = 60 * MS_PER_MINUTE;
const MS_PER_DAY: i64 = 24 * MS_PER_HOUR;

/// `TRUE`, `NULL`, `12`, `0.5`, `1e3`, `'text'`, `X'ff'`.
pub fn value(value: &sp::Value, at: Position) -> Result<Expr> {
    match value {
        sp::Value::Boolean(b) => Ok(Expr::literal(Scalar::Boolean(*b), TypeKind::Boolean)),
        sp::Value::Null => Ok(Expr::literal(Scalar::Null, TypeKind::Null)),
        sp::Value::Number(text, _) => number(text, at),
        sp::Value::SingleQuotedString(text) => Ok(string(text)),
        sp::Value::HexStringLiteral(digits) => match hex::decode(digits) {
            Ok(bytes) => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                Ok(Expr::literal(Scalar::Binary(bytes), TypeKind::Binary(length)))
            }
            Err(_) => Err(place::error("sql_type", "X'…' needs pairs of hexadecimal digits", at)),
        },
        other => place::unsupported(&format!("the literal {other} is not supported"), "use '…' for strings", at),
    }
}

/// `CHAR(n) NOT NULL`.
pub fn string(text: &str) -> Expr {
    let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    Expr::literal(Scalar::String(text.to_owned()), TypeKind::Char(length))
}

fn number(text: &str, at: Position) -> Result<Expr> {
    let invalid = || place::error("sql_type", format!("the number {text} has more than 38 digits"), at);
    if text.contains(['e', 'E']) {
        let value = text.parse::<f64>().ok().filter(|v| v.is_finite());
        let value = value.ok_or_else(|| place::error("sql_type", format!("the number {text} is out of range"), at))?;
        return Ok(Expr::literal(Scalar::Double(value), TypeKind::Double));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if let (true, Ok(value)) = (fraction.is_empty(), whole.parse::<i64>()) {
        let kind = if i32::try_from(value).is_ok() { TypeKind::Int } else { TypeKind::BigInt };
        return Ok(Expr::literal(Scalar::Int(value), kind));
    }
    // As Calcite: every written digit counts, a leading zero too.
    let precision =
        u8::try_from(whole.len() + fraction.len()).ok().filter(|p| (1..=38).contains(p)).ok_or_else(invalid)?;
    let scale = u8::try_from(fraction.len()).map_err(|_| invalid())?;
    let unscaled: i128 = format!("{whole}{fraction}").parse().map_err(|_| invalid())?;
    Ok(Expr::literal(Scalar::Decimal(unscaled.to_string()), TypeKind::Decimal { precision, scale }))
}

/// `-literal`, folded; `None` for what is not a number.
pub fn negated(expr: &Expr) -> Option<Expr> {
    let Expr::Literal { value, data_type } = expr else { return None };
    let value = match value {
        Scalar::Int(v) if data_type.kind.is_integer() => Scalar::Int(v.checked_neg()?),
        Scalar::Double(v) => Scalar::Double(-v),
        Scalar::Decimal(v) => Scalar::Decimal(v.parse::<i128>().ok()?.checked_neg()?.to_string()),
        _ => return None,
    };
    Some(Expr::Literal { value, data_type: data_type.clone() })
}

/// `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'`; the precision is the number of written fractional digits.
pub fn typed(literal: &sp::TypedString, at: Position) -> Result<Expr> {
    let text = match &literal.value.value {
        sp::Value::SingleQuotedString(text) => text.as_str(),
        _ => return place::unsupported("this literal is not supported", "write its value in single quotes", at),
    };
    let invalid = |form: &str| place::error("sql_type", format!("'{text}' is not of the form {form}"), at);
    match &literal.data_type {
        sp::DataType::Date => {
            let date = date(text).ok_or_else(|| invalid("'2026-12-31'"))?;
            Ok(Expr::literal(Scalar::Int(days(date)), TypeKind::Date))
        }
        sp::DataType::Time(..) => {
            let (time, precision) = time(text).ok_or_else(|| invalid("'23:59:59.123'"))?;
            let ms =
                i64::from(time.num_seconds_from_midnight()) * MS_PER_SECOND + i64::from(time.nanosecond() / 1_000_000);
            Ok(Expr::literal(Scalar::Int(ms), TypeKind::Time(precision)))
        }
        sp::DataType::Timestamp(..) => {
            let form = "'2026-12-31 23:59:59.123'";
            let (day, clock) = text.trim().split_once(' ').ok_or_else(|| invalid(form))?;
            let day = date(day).ok_or_else(|| invalid(form))?;
            let (time, precision) = time(clock).ok_or_else(|| invalid(form))?;
            let moment = day.and_time(time).and_utc();
            let value = match timestamp_unit(precision) {
                TimeUnit::Second | TimeUnit::Millisecond => Some(moment.timestamp_millis()),
                TimeUnit::Microsecond => Some(moment.timestamp_micros()),
                TimeUnit::Nanosecond => moment.timestamp_nanos_opt(),
            };
            let value = value.ok_or_else(|| place::error("sql_type", format!("'{text}' is out of range"), at))?;
            Ok(Expr::literal(Scalar::Int(value), TypeKind::Timestamp(precision, TimestampKind::Regular)))
        }
        other => place::unsupported(&format!("a literal of type {other} is not supported"), "use CAST('…' AS …)", at),
    }
}

fn date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok()
}

fn days(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

fn time(text: &str) -> Option<(NaiveTime, u8)> {
    let (clock, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let time = NaiveTime::parse_from_str(clock, "%H:%M:%S").ok()?;
    let nanos = format!("{fraction:0<9}").parse::<u32>().ok()?;
    Some((time.with_nanosecond(nanos)?, u8::try_from(fraction.len()).ok()?))
}

/// `INTERVAL '…' unit [TO unit]`: months, or milliseconds.
pub fn interval(interval: &sp::Interval, at: Position) -> Result<Expr> {
    let invalid = |why: &str| place::error("sql_type", format!("this interval cannot be read: {why}"), at);
    let (text, outer_negative) = match interval.value.as_ref() {
        sp::Expr::UnaryOp { op: sp::UnaryOperator::Minus, expr } => (expr.as_ref(), true),
        other => (other, false),
    };
    let sp::Expr::Value(sp::ValueWithSpan { value: sp::Value::SingleQuotedString(text), .. }) = text else {
        return place::unsupported("an interval must be a constant", "write it like INTERVAL '10' SECOND", at);
    };
    let Some(leading) = &interval.leading_field else {
        return Err(invalid("it has no unit, write it like INTERVAL '10' SECOND"));
    };
    let text = text.trim();
    let (text, inner_negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    let last = interval.last_field.as_ref().unwrap_or(leading);
    let (size, kind) = length(text, leading, last).ok_or_else(|| {
        let to = interval.last_field.as_ref().map(|f| format!(" TO {f}")).unwrap_or_default();
        invalid(&format!("'{text}' is not a number of {leading}{to}"))
    })?;
    let size = if outer_negative == inner_negative { size } else { -size };
    Ok(Expr::literal(Scalar::Int(size), kind))
}

fn whole(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Seconds with a fraction, in ms.
fn seconds(text: &str) -> Option<i64> {
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms = whole(format!("{fraction:0<3}").get(..3)?)?;
    whole(integer)?.checked_mul(MS_PER_SECOND)?.checked_add(ms)
}

fn length(text: &str, leading: &DateTimeField, last: &DateTimeField) -> Option<(i64, TypeKind)> {
    use DateTimeField as F;
    let months = |n: Option<i64>, factor: i64| Some((n?.checked_mul(factor)?, TypeKind::IntervalYearMonth));
    let ms = |n: Option<i64>| Some((n?, TypeKind::IntervalDayTime));
    let clock = |text: &str, units: &[i64]| -> Option<i64> {
        let parts: Vec<&str> = text.split(':').collect();
        if parts.len() != units.len() {
            return None;
        }
        parts.iter().zip(units).try_fold(0i64, |sum, (part, unit)| {
            let part = if *unit == MS_PER_SECOND { seconds(part)? } else { whole(part)?.checked_mul(*unit)? };
            sum.checked_add(part)
        })
    };
    match (leading, last) {
        (F::Year | F::Years, F::Year | F::Years) => months(whole(text), 12),
        (F::Quarter, F::Quarter) => months(whole(text), 3),
        (F::Month | F::Months, F::Month | F::Months) => months(whole(text), 1),
        (F::Year, F::Month) => {
            let (years, rest) = text.split_once('-')?;
            months(whole(years)?.checked_mul(12)?.checked_add(whole(rest)?), 1)
        }
        (F::Week(None) | F::Weeks, F::Week(None) | F::Weeks) => ms(whole(text)?.checked_mul(7 * MS_PER_DAY)),
        (F::Day | F::Days, F::Day | F::Days) => ms(whole(text)?.checked_mul(MS_PER_DAY)),
        (F::Hour | F::Hours, F::Hour | F::Hours) => ms(whole(text)?.checked_mul(MS_PER_HOUR)),
        (F::Minute | F::Minutes, F::Minute | F::Minutes) => ms(whole(text)?.checked_mul(MS_PER_MINUTE)),
        (F::Second | F::Seconds, F::Second | F::Seconds) => ms(seconds(text)),
        (F::Day, F::Hour | F::Minute | F::Second) => {
            let units: &[i64] = match last {
                F::Hour => &[MS_PER_HOUR],
                F::Minute => &[MS_PER_HOUR, MS_PER_MINUTE],
                _ => &[MS_PER_HOUR, MS_PER_MINUTE, MS_PER_SECOND],
            };
            let (day, rest) = text.split_once(' ')?;
            ms(whole(day)?.checked_mul(MS_PER_DAY)?.checked_add(clock(rest.trim(), units)?))
        }
        (F::Hour, F::Minute) => ms(clock(text, &[MS_PER_HOUR, MS_PER_MINUTE])),
        (F::Hour, F::Second) => ms(clock(text, &[MS_PER_HOUR, MS_PER_MINUTE, MS_PER_SECOND])),
        (F::Minute, F::Second) => ms(clock(text, &[MS_PER_MINUTE, MS_PER_SECOND])),
        _ => None,
    }
}
