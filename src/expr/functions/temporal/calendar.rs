//! Civil dates, time units, time zones, and the Arrow arrays that hold instants.
//!
//! Dates are proleptic Gregorian. All functions work on days or milliseconds since 1970-01-01, for any year.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::datatypes as a;
use arrow::datatypes::DataType as A;
use arrow::datatypes::TimeUnit;
use chrono::{DateTime, MappedLocalTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::super::kernels::primitive;
use crate::error::{Error, Result};

pub(super) const SECOND_MS: i64 = 1000;
pub(super) const MINUTE_MS: i64 = 60 * SECOND_MS;
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// A unit of time, as written in `EXTRACT`, `FLOOR`, `TIMESTAMPADD`, ….
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Nanosecond,
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Epoch,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
}

impl Unit {
    /// The unit of this name, in any case, with the prefix `SQL_TSI_` if wanted.
    pub fn parse(name: &str) -> Option<Unit> {
        let name = name.to_ascii_uppercase();
        Some(match name.strip_prefix("SQL_TSI_").unwrap_or(&name) {
            "NANOSECOND" => Unit::Nanosecond,
            "MICROSECOND" | "FRAC_SECOND" => Unit::Microsecond,
            "MILLISECOND" => Unit::Millisecond,
            "SECOND" => Unit::Second,
            "MINUTE" => Unit::Minute,
            "HOUR" => Unit::Hour,
            "DAY" => Unit::Day,
            "WEEK" => Unit::Week,
            "MONTH" => Unit::Month,
            "QUARTER" => Unit::Quarter,
            "YEAR" => Unit::Year,
            "DECADE" => Unit::Decade,
            "CENTURY" => Unit::Century,
            "MILLENNIUM" => Unit::Millennium,
            "EPOCH" => Unit::Epoch,
            "DOW" => Unit::DayOfWeek,
            "ISODOW" => Unit::IsoDayOfWeek,
            "DOY" => Unit::DayOfYear,
            "ISOYEAR" => Unit::IsoYear,
            _ => return None,
        })
    }
    /// Milliseconds of a unit of fixed length, from the millisecond up.
    pub fn milliseconds(self) -> Option<i64> {
        Some(match self {
            Unit::Millisecond => 1,
            Unit::Second => SECOND_MS,
            Unit::Minute => MINUTE_MS,
            Unit::Hour => HOUR_MS,
            Unit::Day => DAY_MS,
            Unit::Week => 7 * DAY_MS,
            _ => return None,
        })
    }
    /// Months of a unit that is a number of months.
    pub fn months(self) -> Option<i64> {
        Some(match self {
            Unit::Month => 1,
            Unit::Quarter => 3,
            Unit::Year => 12,
            Unit::Decade => 120,
            Unit::Century => 1200,
            Unit::Millennium => 12_000,
            _ => return None,
        })
    }
}

/// A date of the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub year: i64,
    /// 1..=12.
    pub month: i64,
    /// 1..=31.
    pub day: i64,
}

impl Date {
    /// The date of a day since the epoch. Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    pub fn of(days: i64) -> Date {
        let shifted = days.saturating_add(719_468);
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Date {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * month_from_march + 2) / 5 + 1,
        }
    }
    /// The monday-based day of the week, 0..=6.
    pub fn weekday(days: i64) -> i64 {
        (days + 3).rem_euclid(7)
    }
    /// Days since the epoch.
    pub fn days(self) -> i64 {
        days_of(self.year, self.month, self.day)
    }
    /// The day of the year, from 1.
    pub fn day_of_year(self) -> i64 {
        self.days() - days_of(self.year, 1, 1) + 1
    }
}

/// Days since the epoch of a date; months and days beyond their range carry over.
pub(super) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year.saturating_add((month - 1).div_euclid(12)).clamp(-400_000_000, 400_000_000);
    let month = (month - 1).rem_euclid(12) + 1;
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468 + day - 1
}

/// The number of days of a month.
pub(super) fn month_length(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// A day this many months later; the day of the month shrinks to the month's length.
pub(super) fn add_months(days: i64, months: i64) -> i64 {
    let date = Date::of(days);
    let month = (date.month - 1).saturating_add(months);
    let (year, month) = (date.year.saturating_add(month.div_euclid(12)), month.rem_euclid(12) + 1);
    days_of(year, month, date.day.min(month_length(year, month)))
}

/// The week of the year and its year, by ISO 8601.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    // The thursday of a week is in the week's year.
    let thursday = days - Date::weekday(days) + 3;
    let date = Date::of(thursday);
    (date.year, (date.day_of_year() - 1) / 7 + 1)
}

/// What the zone adds to UTC at an instant, in milliseconds.
pub(super) fn offset_ms(zone: Tz, utc_ms: i64) -> i64 {
    if zone == Tz::UTC {
        return 0;
    }
    let seconds = utc_ms.div_euclid(SECOND_MS).clamp(-8_000_000_000_000, 8_000_000_000_000);
    DateTime::from_timestamp(seconds, 0)
        .map_or(0, |t| i64::from(zone.offset_from_utc_datetime(&t.naive_utc()).fix().local_minus_utc()) * SECOND_MS)
}

/// Which instant a wall-clock time means that occurs twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlap {
    /// `java.time`.
    Earlier,
    /// `java.util.Calendar`.
    Later,
}

/// The instant of a wall-clock time. A time that a zone skips moves on by what was skipped, as in Java.
pub(super) fn to_utc_ms(zone: Tz, local_ms: i64, overlap: Overlap) -> i64 {
    if zone == Tz::UTC {
        return local_ms;
    }
    let seconds = local_ms.div_euclid(SECOND_MS).clamp(-8_000_000_000_000, 8_000_000_000_000);
    let Some(local) = DateTime::from_timestamp(seconds, 0) else { return local_ms };
    let offset = match zone.offset_from_local_datetime(&local.naive_utc()) {
        MappedLocalTime::Single(offset) => i64::from(offset.fix().local_minus_utc()) * SECOND_MS,
        MappedLocalTime::Ambiguous(first, second) => {
            let (a, b) = (first.fix().local_minus_utc(), second.fix().local_minus_utc());
            i64::from(if overlap == Overlap::Earlier { a.max(b) } else { a.min(b) }) * SECOND_MS
        }
        MappedLocalTime::None => offset_ms(zone, local_ms - DAY_MS),
    };
    local_ms - offset
}

/// The zone of a name as `java.util.TimeZone` reads it: an IANA name, or `GMT` with an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    Named(Tz),
    /// Milliseconds east of UTC.
    Fixed(i64),
}

impl Zone {
    /// The zone of this name.
    pub fn parse(name: &str) -> Option<Zone> {
        if let Ok(zone) = name.parse::<Tz>() {
            return Some(Zone::Named(zone));
        }
        if name == "Z" {
            return Some(Zone::Fixed(0));
        }
        let rest = name.strip_prefix("GMT").or_else(|| name.strip_prefix("UTC")).or_else(|| name.strip_prefix("UT"));
        parse_offset(rest?).map(Zone::Fixed)
    }
    /// As `java.util.TimeZone.getTimeZone`: only `GMT` takes an offset, and an unknown name means UTC.
    pub fn parse_or_utc(name: &str) -> Zone {
        if name.starts_with("UT") && name != "UTC" {
            return Zone::Fixed(0);
        }
        Zone::parse(name).unwrap_or(Zone::Fixed(0))
    }
    /// As `java.time.ZoneId.of`: an offset may stand alone.
    pub fn parse_id(name: &str) -> Option<Zone> {
        Zone::parse(name).or_else(|| parse_offset(name).map(Zone::Fixed))
    }
    /// What the zone adds to UTC at an instant, in milliseconds.
    pub fn offset_ms(self, utc_ms: i64) -> i64 {
        match self {
            Zone::Named(zone) => offset_ms(zone, utc_ms),
            Zone::Fixed(offset) => offset,
        }
    }
    /// The instant of a wall-clock time.
    pub fn to_utc_ms(self, local_ms: i64, overlap: Overlap) -> i64 {
        match self {
            Zone::Named(zone) => to_utc_ms(zone, local_ms, overlap),
            Zone::Fixed(offset) => local_ms - offset,
        }
    }
}

/// `+8`, `+08`, `+0830`, `+08:30` in milliseconds.
pub(super) fn parse_offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match (digits.split_once(':'), digits.len()) {
        (Some((hours, minutes)), _) if minutes.len() == 2 => (hours, minutes),
        (None, 1 | 2) => (digits, "0"),
        (None, 3 | 4) if digits.is_ascii() => digits.split_at(digits.len() - 2),
        _ => return None,
    };
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<i64>().ok()).flatten();
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 18 && minutes < 60).then_some(sign * (hours * HOUR_MS + minutes * MINUTE_MS))
}

/// How many of a type's ticks make a millisecond.
pub(super) fn ticks_per_ms(data_type: &A) -> i64 {
    match data_type {
        A::Timestamp(TimeUnit::Microsecond, _) => 1000,
        A::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000,
        _ => 1,
    }
}

/// The values of any temporal array as 64-bit integers, in its own ticks (days, ms, µs, ns or months).
pub(super) fn ticks(array: &ArrayRef) -> Result<Int64Array> {
    Ok(match array.data_type() {
        A::Date32 => primitive::<a::Date32Type>(array)?.unary(i64::from),
        A::Time32(_) => primitive::<a::Time32MillisecondType>(array)?.unary(i64::from),
        A::Interval(_) => primitive::<a::IntervalYearMonthType>(array)?.unary(i64::from),
        A::Duration(_) => primitive::<a::DurationMillisecondType>(array)?.reinterpret_cast(),
        A::Timestamp(TimeUnit::Millisecond, _) => primitive::<a::TimestampMillisecondType>(array)?.reinterpret_cast(),
        A::Timestamp(TimeUnit::Microsecond, _) => primitive::<a::TimestampMicrosecondType>(array)?.reinterpret_cast(),
        A::Timestamp(TimeUnit::Nanosecond, _) => primitive::<a::TimestampNanosecondType>(array)?.reinterpret_cast(),
        A::Null => Int64Array::new_null(array.len()),
        other => return Err(Error::internal(format!("{other} is not a temporal type"))),
    })
}

/// The inverse of [`ticks`]: an array of a temporal type. Days and times of day beyond 32 bits wrap, as in Flink.
pub(super) fn from_ticks(values: Int64Array, data_type: &A) -> Result<ArrayRef> {
    Ok(match data_type {
        A::Date32 => Arc::new(values.unary::<_, a::Date32Type>(|v| v as i32)),
        A::Time32(_) => Arc::new(values.unary::<_, a::Time32MillisecondType>(|v| v as i32)),
        A::Int64 => Arc::new(values),
        A::Int32 => Arc::new(values.unary::<_, a::Int32Type>(|v| v as i32)),
        A::Timestamp(TimeUnit::Millisecond, zone) => {
            let array = values.reinterpret_cast::<a::TimestampMillisecondType>();
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        A::Timestamp(TimeUnit::Microsecond, zone) => {
            let array = values.reinterpret_cast::<a::TimestampMicrosecondType>();
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        A::Timestamp(TimeUnit::Nanosecond, zone) => {
            let array = values.reinterpret_cast::<a::TimestampNanosecondType>();
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        other => return Err(Error::internal(format!("{other} does not hold instants"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn days_and_dates_are_inverse(days in -200_000_000_i64..200_000_000) {
            let date = Date::of(days);
            prop_assert_eq!(date.days(), days);
            prop_assert!((1..=12).contains(&date.month) && (1..=month_length(date.year, date.month)).contains(&date.day));
        }
    }

    #[test]
    fn known_days() {
        assert_eq!(Date::of(0), Date { year: 1970, month: 1, day: 1 });
        assert_eq!(days_of(2000, 2, 29), 11_016);
        assert_eq!(days_of(2020, 13, 1), days_of(2021, 1, 1));
        assert_eq!(days_of(2020, 1, 0), days_of(2019, 12, 31));
        assert_eq!(iso_week(days_of(2021, 1, 1)), (2020, 53));
        assert_eq!(iso_week(days_of(2018, 12, 31)), (2019, 1));
        assert_eq!(add_months(days_of(2020, 1, 31), 1), days_of(2020, 2, 29));
        assert_eq!(add_months(days_of(2020, 1, 31), -2), days_of(2019, 11, 30));
    }

    #[test]
    fn wall_clock_times_that_do_not_exist_or_exist_twice() {
        let zone = chrono_tz::America::New_York;
        let spring = (days_of(2026, 3, 8) * 24 + 2) * HOUR_MS;
        assert_eq!(to_utc_ms(zone, spring, Overlap::Earlier), spring + 5 * HOUR_MS);
        let autumn = (days_of(2026, 11, 1) * 24 + 1) * HOUR_MS;
        assert_eq!(to_utc_ms(zone, autumn, Overlap::Earlier), autumn + 4 * HOUR_MS);
        assert_eq!(to_utc_ms(zone, autumn, Overlap::Later), autumn + 5 * HOUR_MS);
    }

    #[test]
    fn zone_names() {
        assert_eq!(Zone::parse_or_utc("GMT+2"), Zone::Fixed(2 * HOUR_MS));
        assert_eq!(Zone::parse_or_utc("+08:00"), Zone::Fixed(0));
        assert_eq!(Zone::parse_id("+08:00"), Some(Zone::Fixed(8 * HOUR_MS)));
        assert_eq!(Zone::parse_id("Bogus/Zone"), None);
        assert_eq!(Zone::parse_or_utc("Asia/Shanghai"), Zone::Named(chrono_tz::Asia::Shanghai));
    }
}
