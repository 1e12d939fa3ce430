//! One text to one value: what a JSON string or number, or a CSV field, means for each scalar type.
//!
//! Stricter than Flink where Flink would quietly store something else than was written: an integer column refuses `1.5`
//! (Flink cuts it to 1), a decimal that does not fit is refused (Flink stores null), a boolean is `true` or `false`
//! (Flink takes any other text for false).

use base64::Engine;

use super::column::{Column, Data};
use super::number::{parse_decimal, parse_double, parse_integer};
use super::temporal::{parse_date, parse_time, parse_timestamp, to_unit};
use crate::types::TypeKind;

/// How timestamps are written in JSON and CSV (`json.timestamp-format.standard`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampFormat {
    /// `2026-03-01 00:00:00.123`.
    #[default]
    Sql,
    /// `2026-03-01T00:00:00.123`.
    Iso8601,
}

impl TimestampFormat {
    /// What stands between date and time.
    #[inline]
    pub fn separator(self) -> u8 {
        match self {
            TimestampFormat::Sql => b' ',
            TimestampFormat::Iso8601 => b'T',
        }
    }
}

/// Whether the value was taken. If not, the column must be truncated to its former length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    Yes,
    No,
}

impl From<bool> for Taken {
    fn from(taken: bool) -> Self {
        if taken { Taken::Yes } else { Taken::No }
    }
}

fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    match value {
        Some(v) => {
            values.push(v);
            true
        }
        None => false,
    }
}

/// Appends a number that was already read.
#[inline]
pub fn append_integer(column: &mut Column, value: i64) -> Option<Taken> {
    let taken = match column.values() {
        (TypeKind::BigInt | TypeKind::IntervalDayTime, Data::Int64(v)) => {
            v.push(value);
            true
        }
        (TypeKind::Int | TypeKind::IntervalYearMonth, Data::Int32(v)) => push(v, i32::try_from(value).ok()),
        (TypeKind::SmallInt, Data::Int16(v)) => push(v, i16::try_from(value).ok()),
        (TypeKind::TinyInt, Data::Int8(v)) => push(v, i8::try_from(value).ok()),
        _ => return None,
    };
    if taken {
        column.end_value();
    }
    Some(taken.into())
}

/// Appends the value that `text` (valid UTF-8) stands for in a column of a scalar type.
#[inline]
pub fn append_text(column: &mut Column, text: &[u8], format: TimestampFormat) -> Taken {
    let taken = match column.values() {
        (TypeKind::Timestamp(p, _), Data::Int64(v)) => {
            push(v, parse_timestamp(text, format.separator()).and_then(|(s, n)| to_unit(s, n, *p)))
        }
        (TypeKind::TimestampLtz(p, _), Data::Int64(v)) => {
            let local = text.strip_suffix(b"Z");
            let instant = local.and_then(|t| parse_timestamp(t, format.separator()));
            push(v, instant.and_then(|(s, n)| to_unit(s, n, *p)))
        }
        (TypeKind::Char(_) | TypeKind::VarChar(_), Data::Bytes(v)) => {
            v.push(text);
            true
        }
        (_, _) => return append_rare(column, text.trim_ascii()),
    };
    if taken {
        column.end_value();
    }
    taken.into()
}

fn append_rare(column: &mut Column, text: &[u8]) -> Taken {
    let kind = column.kind();
    if kind.is_integer() || matches!(kind, TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime) {
        return parse_integer(text).and_then(|n| append_integer(column, n)).unwrap_or(Taken::No);
    }
    let taken = match column.values() {
        (TypeKind::Boolean, Data::Boolean(v)) => {
            let truth = text.eq_ignore_ascii_case(b"true");
            v.append(truth);
            truth || text.eq_ignore_ascii_case(b"false")
        }
        #[expect(clippy::cast_possible_truncation, reason = "a FLOAT is the nearest single-precision number")]
        (TypeKind::Float, Data::Float32(v)) => push(v, parse_double(text).map(|d| d as f32)),
        (TypeKind::Double, Data::Float64(v)) => push(v, parse_double(text)),
        (TypeKind::Decimal { precision, scale }, Data::Decimal(v)) => {
            push(v, parse_decimal(text, *precision, *scale).ok())
        }
        (TypeKind::Date, Data::Int32(v)) => push(v, parse_date(text)),
        (TypeKind::Time(p), Data::Int32(v)) => {
            let cut = 10i32.pow(u32::from(3u8.saturating_sub(*p)));
            let ms = parse_time(text, false).and_then(|(s, n)| i32::try_from(s * 1000 + n / 1_000_000).ok());
            push(v, ms.map(|ms| ms / cut * cut))
        }
        (TypeKind::Binary(_) | TypeKind::VarBinary(_), Data::Bytes(v)) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode_vec(text, &mut v.data);
            v.end();
            decoded.is_ok()
        }
        _ => false,
    };
    if taken {
        column.end_value();
    }
    taken.into()
}
