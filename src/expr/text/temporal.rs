//! Dates, times, timestamps and intervals as text, and the calendar arithmetic behind them.

use std::fmt::Write;

use crate::types::timestamp_unit;
use arrow::datatypes::TimeUnit;

/// Milliseconds of a day.
pub const MILLIS_PER_DAY: i64 = 86_400_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Days since 1970-01-01 of a proleptic Gregorian date (Hinnant's algorithm).
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let shifted = i64::from((month + 9) % 12);
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = u32::try_from(of_year - (153 * shifted + 2) / 5 + 1).unwrap_or(1);
    let month = u32::try_from(if shifted < 10 { shifted + 3 } else { shifted - 9 }).unwrap_or(1);
    (years + era * 400 + i64::from(month <= 2), month, day)
}

/// Days of a month, 1 to 12.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `java.time`'s `plusMonths`: the day is clamped to the month's last.
pub fn add_months(days: i64, months: i64) -> i64 {
    let (year, month, day) = civil_from_days(days);
    let total = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (total.div_euclid(12), u32::try_from(total.rem_euclid(12)).unwrap_or(0) + 1);
    days_from_civil(year, month, day.min(days_in_month(year, month)))
}

/// How many of a timestamp's units make a second.
pub fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Seconds and nanoseconds of a timestamp in `unit`.
pub fn timestamp_parts(value: i64, unit: TimeUnit) -> (i64, u32) {
    let per = units_per_second(unit);
    let nanos = value.rem_euclid(per) * (1_000_000_000 / per);
    (value.div_euclid(per), u32::try_from(nanos).unwrap_or(0))
}

/// The timestamp in `unit`, cut (not rounded) to `precision` digits; `None` beyond 64 bits.
pub fn timestamp_from_parts(seconds: i64, nanos: u32, precision: u8) -> Option<i64> {
    let per = units_per_second(timestamp_unit(precision));
    let step = 10i64.pow(9 - u32::from(precision.min(9)));
    let nanos = i64::from(nanos) / step * step;
    seconds.checked_mul(per)?.checked_add(nanos / (1_000_000_000 / per))
}

/// `2026-03-01`.
pub fn write_date(days: i64, out: &mut String) {
    let (year, month, day) = civil_from_days(days);
    let sign = if year < 0 { "-" } else { "" };
    // Writing to a String cannot fail, here and below.
    let _ = write!(out, "{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs());
}

fn write_clock(seconds_of_day: i64, out: &mut String) {
    let (h, m, s) = (seconds_of_day / 3600, seconds_of_day / 60 % 60, seconds_of_day % 60);
    let _ = write!(out, "{h:02}:{m:02}:{s:02}");
}

fn write_fraction(nanos: u32, digits: u8, out: &mut String) {
    if digits > 0 {
        let shown = nanos / 10u32.pow(9 - u32::from(digits.min(9)));
        let _ = write!(out, ".{shown:0width$}", width = usize::from(digits.min(9)));
    }
}

/// `12:30:01`, with `precision` digits of the second; from milliseconds of the day.
pub fn write_time(millis: i64, precision: u8, out: &mut String) {
    let millis = millis.rem_euclid(MILLIS_PER_DAY);
    write_clock(millis / 1000, out);
    write_fraction(u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000, precision, out);
}

/// `2026-03-01 00:00:00.000`, with exactly `precision` digits of the second; the SQL text of a timestamp.
pub fn write_timestamp(value: i64, unit: TimeUnit, precision: u8, out: &mut String) {
    let (seconds, nanos) = timestamp_parts(value, unit);
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(' ');
    write_clock(seconds.rem_euclid(SECONDS_PER_DAY), out);
    write_fraction(nanos, precision, out);
}

/// Java's `LocalTime.toString`: seconds only if needed, the fraction in groups of three digits.
fn write_iso_clock(seconds_of_day: i64, nanos: u32, full_seconds: bool, out: &mut String) {
    let (h, m, s) = (seconds_of_day / 3600, seconds_of_day / 60 % 60, seconds_of_day % 60);
    let _ = write!(out, "{h:02}:{m:02}");
    if s != 0 || nanos != 0 || full_seconds {
        let _ = write!(out, ":{s:02}");
    }
    match nanos {
        0 => {}
        n if n % 1_000_000 == 0 => write_fraction(n, 3, out),
        n if n % 1_000 == 0 => write_fraction(n, 6, out),
        n => write_fraction(n, 9, out),
    }
}

/// Java's `LocalTime.toString`: `12:30`, `12:30:01.123`; from milliseconds of the day.
pub fn write_iso_time(millis: i64, out: &mut String) {
    let millis = millis.rem_euclid(MILLIS_PER_DAY);
    write_iso_clock(millis / 1000, u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000, false, out);
}

/// Java's `LocalDateTime.toString`: `2026-03-01T00:01`, `2026-03-01T00:00:00.123`.
pub fn write_iso_timestamp(value: i64, unit: TimeUnit, out: &mut String) {
    let (seconds, nanos) = timestamp_parts(value, unit);
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push('T');
    write_iso_clock(seconds.rem_euclid(SECONDS_PER_DAY), nanos, false, out);
}

/// Java's `Instant.toString`: `2026-03-01T00:00:00.123Z`.
pub fn write_iso_instant(value: i64, unit: TimeUnit, out: &mut String) {
    let (seconds, nanos) = timestamp_parts(value, unit);
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push('T');
    write_iso_clock(seconds.rem_euclid(SECONDS_PER_DAY), nanos, true, out);
    out.push('Z');
}

/// `+1-02`: years and months.
pub fn write_interval_year_month(months: i64, out: &mut String) {
    let sign = if months < 0 { '-' } else { '+' };
    let m = months.unsigned_abs();
    let _ = write!(out, "{sign}{}-{:02}", m / 12, m % 12);
}

/// `+1 02:00:00.000`: days, hours, minutes, seconds.
pub fn write_interval_day_time(millis: i64, out: &mut String) {
    let sign = if millis < 0 { '-' } else { '+' };
    let ms = millis.unsigned_abs();
    let (days, h, m) = (ms / 86_400_000, ms / 3_600_000 % 24, ms / 60_000 % 60);
    let _ = write!(out, "{sign}{days} {h:02}:{m:02}:{:02}.{:03}", ms / 1000 % 60, ms % 1000);
}

fn number(text: &str, max_digits: usize) -> Option<u32> {
    let fine = !text.is_empty() && text.len() <= max_digits && text.bytes().all(|b| b.is_ascii_digit());
    if fine { text.parse().ok() } else { None }
}

/// A date as Flink's cast reads it: trimmed, `y`, `y-m` or `y-m-d`, what follows a space is ignored.
pub fn parse_date(text: &str) -> Option<i32> {
    let text = text.trim_matches(' ');
    let text = text.split_once(' ').map_or(text, |(date, _)| date);
    let mut parts = text.splitn(3, '-');
    let year = i64::from(number(parts.next()?, 9)?);
    let month = parts.next().map_or(Some(1), |t| number(t, 9))?;
    let day = parts.next().map_or(Some(1), |t| number(t, 9))?;
    if year > 9999 || !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    i32::try_from(days_from_civil(year, month, day)).ok()
}

/// A time as Flink's cast reads it: trimmed, `h`, `h:m`, `h:m:s` or `h:m:s.f`; in milliseconds of the day.
pub fn parse_time(text: &str) -> Option<i32> {
    let text = text.trim_matches(' ');
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().any(|b| !b.is_ascii_digit()) || (text.contains('.') && clock.matches(':').count() != 2) {
        return None;
    }
    let mut parts = clock.splitn(3, ':');
    let hour = number(parts.next()?, 9)?;
    let minute = parts.next().map_or(Some(0), |t| number(t, 9))?;
    let second = parts.next().map_or(Some(0), |t| number(t, 9))?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let millis = format!("{fraction:0<3}").get(..3)?.parse::<u32>().ok()?;
    i32::try_from(((hour * 60 + minute) * 60 + second) * 1000 + millis).ok()
}

/// A timestamp as Flink's cast reads it, `yyyy-M-d[ H:m:s[.f]]`, not trimmed; seconds since 1970 and nanoseconds.
///
/// Like `java.time`'s smart resolver, a day beyond the month's end is its last day, and 24:00:00 is the next day.
pub fn parse_timestamp(text: &str) -> Option<(i64, u32)> {
    parse_separated(text, ' ', false)
}

/// ISO-8601 as Flink's JSON format reads it: `2026-03-01T00:01`, `2026-03-01T00:00:00.123`, an ending `Z` is allowed.
pub fn parse_iso_timestamp(text: &str) -> Option<(i64, u32)> {
    parse_separated(text.strip_suffix('Z').unwrap_or(text), 'T', true)
}

fn parse_separated(text: &str, separator: char, optional_seconds: bool) -> Option<(i64, u32)> {
    let (date, clock) = match text.split_once(separator) {
        Some((date, clock)) => (date, Some(clock)),
        None if optional_seconds => return None,
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = parts.next().filter(|y| y.len() == 4).and_then(|y| number(y, 4))?;
    let (month, day) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_from_civil(i64::from(year), month, day.min(days_in_month(i64::from(year), month)));
    let (seconds, nanos) = clock.map_or(Some((0, 0)), |c| parse_clock(c, optional_seconds))?;
    Some((days * SECONDS_PER_DAY + i64::from(seconds), nanos))
}

fn parse_clock(text: &str, optional_seconds: bool) -> Option<(u32, u32)> {
    let (clock, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some((clock, fraction)) => (clock, fraction),
        None => (text, ""),
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = match parts.next() {
        Some(text) => number(text, 2)?,
        None if optional_seconds && fraction.is_empty() => 0,
        None => return None,
    };
    let midnight = hour == 24 && minute == 0 && second == 0;
    if (hour > 23 && !midnight) || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let nanos =
        if fraction.is_empty() { 0 } else { number(fraction, 9)? * 10u32.pow(9 - u32::try_from(fraction.len()).ok()?) };
    Some(((hour * 60 + minute) * 60 + second, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date(text: &str) -> Option<String> {
        parse_date(text).map(|days| {
            let mut out = String::new();
            write_date(i64::from(days), &mut out);
            out
        })
    }

    fn timestamp(text: &str) -> Option<String> {
        parse_timestamp(text).and_then(|(s, n)| timestamp_from_parts(s, n, 9)).map(|value| {
            let mut out = String::new();
            write_iso_timestamp(value, TimeUnit::Nanosecond, &mut out);
            out
        })
    }

    /// What Flink 2.3.0 answered to TRY_CAST of these.
    #[test]
    fn dates_and_timestamps_are_read_as_flink_does() {
        let cases: &[(&str, Option<&str>, Option<&str>)] = &[
            ("2026-03-01", Some("2026-03-01"), Some("2026-03-01T00:00")),
            ("2026-3-1", Some("2026-03-01"), Some("2026-03-01T00:00")),
            (" 2026-03-01 ", Some("2026-03-01"), None),
            ("2026", Some("2026-01-01"), None),
            ("2026-03", Some("2026-03-01"), None),
            ("12 3", Some("0012-01-01"), None),
            ("2026-02-29", None, Some("2026-02-28T00:00")),
            ("2026-13-01", None, None),
            ("10000-01-01", None, None),
            ("-1-01-01", None, None),
            ("2026-03-01 12", Some("2026-03-01"), None),
            ("2026-03-01 12:34", Some("2026-03-01"), None),
            ("2026-03-01 1:2:3", Some("2026-03-01"), Some("2026-03-01T01:02:03")),
            ("2026-03-01 24:00:00", Some("2026-03-01"), Some("2026-03-02T00:00")),
            ("2026-03-01 12:34:56.7894", Some("2026-03-01"), Some("2026-03-01T12:34:56.789400")),
            ("2026-03-01 12:34:56.1234567891", Some("2026-03-01"), None),
            ("2026-03-01 12:34:56Z", Some("2026-03-01"), None),
            ("2026-03-01T12:34:56", None, None),
            ("", None, None),
            ("abc", None, None),
            ("+5", None, None),
        ];
        for (text, as_date, as_timestamp) in cases {
            assert_eq!(date(text).as_deref(), *as_date, "date {text}");
            assert_eq!(timestamp(text).as_deref(), *as_timestamp, "timestamp {text}");
        }
    }

    #[test]
    fn times_are_read_as_flink_does() {
        let cases: &[(&str, Option<&str>)] = &[
            (" 12 ", Some("12:00:00.000")),
            ("1:2:3", Some("01:02:03.000")),
            ("12:34", Some("12:34:00.000")),
            ("12:34:56.789", Some("12:34:56.789")),
            ("12:34:56.", Some("12:34:56.000")),
            ("25:00:00", None),
            ("12:60:00", None),
            ("300", None),
            (".5", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let written = parse_time(text).map(|ms| {
                let mut out = String::new();
                write_time(i64::from(ms), 3, &mut out);
                out
            });
            assert_eq!(written.as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn months_clamp_the_day() {
        let cases =
            [("2026-01-31", 1, "2026-02-28"), ("2024-01-31", 1, "2024-02-29"), ("2026-03-15", -15, "2024-12-15")];
        for (from, months, to) in cases {
            let days = parse_date(from).expect("a date");
            assert_eq!(add_months(i64::from(days), months), i64::from(parse_date(to).expect("a date")));
        }
    }

    #[test]
    fn iso_forms_are_javas() {
        let cases: &[(&str, &str, &str)] = &[
            ("2026-03-01T00:01", "2026-03-01T00:01", "2026-03-01T00:01:00Z"),
            ("2026-03-01T00:00:00.123", "2026-03-01T00:00:00.123", "2026-03-01T00:00:00.123Z"),
            ("2026-03-01T00:00:07Z", "2026-03-01T00:00:07", "2026-03-01T00:00:07Z"),
        ];
        for (text, local, instant) in cases {
            let (s, n) = parse_iso_timestamp(text).expect("a timestamp");
            let value = timestamp_from_parts(s, n, 3).expect("in range");
            let (mut a, mut b) = (String::new(), String::new());
            write_iso_timestamp(value, TimeUnit::Millisecond, &mut a);
            write_iso_instant(value, TimeUnit::Millisecond, &mut b);
            assert_eq!((a.as_str(), b.as_str()), (*local, *instant));
        }
        assert_eq!(parse_iso_timestamp("2026-03-01 00:00:00"), None);
    }

    #[test]
    fn intervals_are_written_as_flink_does() {
        let mut out = String::new();
        write_interval_day_time(93_600_000, &mut out);
        write_interval_day_time(-93_784_500, &mut out);
        write_interval_year_month(14, &mut out);
        write_interval_year_month(-14, &mut out);
        assert_eq!(out, "+1 02:00:00.000-1 02:03:04.500+1-02-1-02");
    }

    proptest! {
        #[test]
        fn days_and_dates_agree(days in -1_000_000i64..3_000_000) {
            let (y, m, d) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(y, m, d), days);
            prop_assert!(d <= days_in_month(y, m));
        }
    }
}
