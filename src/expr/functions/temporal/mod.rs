//! Functions of the chapter "temporal functions" of Flink's system-function page.
//!
//! Where Flink's answer is odd (before 1970, ceilings, unreadable text), it is Flink's answer that is given: each file
//! says which. What differs: `TO_DATE` of a text that its format cannot read is null (Flink: a date in the year 5471).

mod argument;
mod calendar;
mod convert;
mod epoch;
mod extract;
mod format;
mod now;
mod parse;
mod pattern;
mod rounding;
mod shift;

use crate::expr::function::Function;

pub(super) use rounding::{bind_round, prepare_round};

pub(super) static FUNCTIONS: &[Function] = &[
    extract::EXTRACT,
    extract::YEAR,
    extract::QUARTER,
    extract::MONTH,
    extract::WEEK,
    extract::DAYOFYEAR,
    extract::DAYOFMONTH,
    extract::DAYOFWEEK,
    extract::HOUR,
    extract::MINUTE,
    extract::SECOND,
    shift::TIMESTAMPADD,
    shift::TIMESTAMPDIFF,
    shift::OVERLAPS,
    format::DATE_FORMAT,
    format::CONVERT_TZ,
    convert::TO_TIMESTAMP,
    convert::TO_TIMESTAMP_LTZ,
    convert::TO_DATE,
    epoch::UNIX_TIMESTAMP,
    epoch::FROM_UNIXTIME,
    now::NOW,
    now::CURRENT_TIMESTAMP,
    now::CURRENT_ROW_TIMESTAMP,
    now::PROCTIME,
    now::LOCALTIMESTAMP,
    now::CURRENT_DATE,
    now::CURRENT_TIME,
    now::LOCALTIME,
    now::CURRENT_WATERMARK,
];

/// Values that the tests of this chapter share.
#[cfg(test)]
mod testing {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, TimestampMicrosecondArray, TimestampMillisecondArray};
    use chrono::NaiveDateTime;

    use crate::types::{TimestampKind, TypeKind};

    pub const TS: TypeKind = TypeKind::Timestamp(3, TimestampKind::Regular);
    pub const TS6: TypeKind = TypeKind::Timestamp(6, TimestampKind::Regular);
    pub const LTZ: TypeKind = TypeKind::TimestampLtz(3, TimestampKind::Regular);
    pub const DATE: TypeKind = TypeKind::Date;

    fn parse(text: &str) -> chrono::DateTime<chrono::Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").unwrap().and_utc()
    }
    pub fn ts(texts: &[&str]) -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from_iter_values(texts.iter().map(|t| parse(t).timestamp_millis())))
    }
    pub fn ts6(texts: &[&str]) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(texts.iter().map(|t| parse(t).timestamp_micros())))
    }
    pub fn ltz(texts: &[&str]) -> ArrayRef {
        let array = TimestampMillisecondArray::from_iter_values(texts.iter().map(|t| parse(t).timestamp_millis()));
        Arc::new(array.with_timezone("UTC"))
    }
    pub fn date(texts: &[&str]) -> ArrayRef {
        let days = |t: &&str| parse(&format!("{t}T00:00:00")).timestamp() / 86_400;
        Arc::new(Date32Array::from_iter_values(texts.iter().map(|t| i32::try_from(days(t)).unwrap())))
    }
}
