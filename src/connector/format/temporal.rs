//! Dates, times and timestamps as text: Flink's `TimeFormats` and Java's `toString` of `LocalDateTime` and its kin.
//!
//! Years are 0000 to 9999. Fractions have up to nine digits; a column keeps as many as its precision says.

use crate::types::timestamp_unit;
use arrow::datatypes::TimeUnit;

use super::number::{push_padded, push_u64};

const SECONDS_PER_DAY: i64 = 86_400;

/// How the seconds and their fraction are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seconds {
    /// Always, with a fraction of as many digits as needed: Java's `DateTimeFormatter`s.
    Formatter,
    /// Left out when zero, with a fraction of 3, 6 or 9 digits: Java's `toString`.
    ToString,
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days_from_civil(year: u32, month: u32, day: u32) -> i32 {
    let (y, m, d) = (i64::from(year), i64::from(month), i64::from(day));
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + d - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    i32::try_from(days).expect("four-digit years are under four million days")
}

/// Year, month and day of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month.unsigned_abs(), day.unsigned_abs())
}

/// Two digits at `i`, or a number too large for any part of a date.
#[inline]
fn two<const N: usize>(b: &[u8; N], i: usize) -> u32 {
    let (x, y) = (b[i].wrapping_sub(b'0'), b[i + 1].wrapping_sub(b'0'));
    if x > 9 || y > 9 { 1000 } else { u32::from(x) * 10 + u32::from(y) }
}

#[inline]
fn date(b: &[u8; 10]) -> Option<i32> {
    let (century, year, month, day) = (two(b, 0), two(b, 2), two(b, 5), two(b, 8));
    if b[4] != b'-' || b[7] != b'-' || century > 99 || year > 99 || day == 0 {
        return None;
    }
    let year = century * 100 + year;
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => return None,
    };
    (day <= last).then(|| days_from_civil(year, month, day))
}

/// Days of `yyyy-MM-dd`.
pub fn parse_date(text: &[u8]) -> Option<i32> {
    date(text.try_into().ok()?)
}

/// Seconds of the day and nanoseconds of `HH:mm:ss[.fraction]`, and of `HH:mm` too where the format allows that.
#[inline]
pub fn parse_time(text: &[u8], seconds_optional: bool) -> Option<(u32, u32)> {
    let Some(b) = text.first_chunk::<8>() else {
        let b: &[u8; 5] = text.try_into().ok()?;
        let (hour, minute) = (two(b, 0), two(b, 3));
        return (seconds_optional && b[2] == b':' && hour < 24 && minute < 60)
            .then_some((hour * 3600 + minute * 60, 0));
    };
    let (hour, minute, second) = (two(b, 0), two(b, 3), two(b, 6));
    if b[2] != b':' || b[5] != b':' || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second, parse_fraction(&text[8..])?))
}

/// Nanoseconds of `.123`, or of nothing.
#[inline]
fn parse_fraction(text: &[u8]) -> Option<u32> {
    let digits = match text {
        [] => return Some(0),
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    let mut nanos = 0;
    for b in digits {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        nanos = nanos * 10 + u32::from(digit);
    }
    Some(nanos * power_of_ten(9 - digits.len()))
}

fn power_of_ten(exponent: usize) -> u32 {
    const POWERS: [u32; 10] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
    POWERS.get(exponent).copied().unwrap_or(1)
}

/// Seconds since the epoch and nanoseconds of `yyyy-MM-dd<separator>HH:mm:ss[.fraction]`; the seconds may be missing
/// after a `T`, as in ISO-8601.
#[inline]
pub fn parse_timestamp(text: &[u8], separator: u8) -> Option<(i64, u32)> {
    let (day, rest) = text.split_first_chunk::<10>()?;
    let (&sep, time) = rest.split_first()?;
    if sep != separator {
        return None;
    }
    let (seconds, nanos) = parse_time(time, separator == b'T')?;
    Some((i64::from(date(day)?) * SECONDS_PER_DAY + i64::from(seconds), nanos))
}

/// The value that a column of this precision holds; `None` if it is outside of the column's range.
#[inline]
pub fn to_unit(seconds: i64, nanos: u32, precision: u8) -> Option<i64> {
    let cut = power_of_ten(usize::from(9u8.saturating_sub(precision)));
    let nanos = i64::from(nanos / cut * cut);
    match timestamp_unit(precision) {
        TimeUnit::Second | TimeUnit::Millisecond => Some(seconds * 1000 + nanos / 1_000_000),
        TimeUnit::Microsecond => Some(seconds * 1_000_000 + nanos / 1000),
        TimeUnit::Nanosecond => seconds.checked_mul(1_000_000_000)?.checked_add(nanos),
    }
}

/// How many units of a column of this precision make a second.
pub fn units_per_second(precision: u8) -> i64 {
    match timestamp_unit(precision) {
        TimeUnit::Second | TimeUnit::Millisecond => 1000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Writes `yyyy-MM-dd`.
pub fn push_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        push_padded(out, year.unsigned_abs(), 4);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        push_u64(out, year.unsigned_abs());
    }
    out.push(b'-');
    push_padded(out, month, 2);
    out.push(b'-');
    push_padded(out, day, 2);
}

/// Writes `HH:mm:ss` and the fraction.
pub fn push_time(out: &mut Vec<u8>, second_of_day: u64, nanos: u64, seconds: Seconds) {
    push_padded(out, second_of_day / 3600, 2);
    out.push(b':');
    push_padded(out, second_of_day / 60 % 60, 2);
    if seconds == Seconds::ToString && second_of_day.is_multiple_of(60) && nanos == 0 {
        return;
    }
    out.push(b':');
    push_padded(out, second_of_day % 60, 2);
    if nanos == 0 {
        return;
    }
    out.push(b'.');
    let (mut digits, mut fraction) = (9, nanos);
    let step: u64 = if seconds == Seconds::Formatter { 10 } else { 1000 };
    while fraction.is_multiple_of(step) {
        fraction /= step;
        digits -= if step == 10 { 1 } else { 3 };
    }
    push_padded(out, fraction, digits);
}

/// Writes a timestamp that is held in `per_second` units per second.
pub fn push_timestamp(out: &mut Vec<u8>, value: i64, per_second: i64, separator: u8, seconds: Seconds) {
    let (total, units) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    push_date(out, total.div_euclid(SECONDS_PER_DAY));
    out.push(separator);
    let nanos = units.unsigned_abs() * (1_000_000_000 / per_second).unsigned_abs();
    push_time(out, total.rem_euclid(SECONDS_PER_DAY).unsigned_abs(), nanos, seconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read() {
        for (text, separator, expected) in [
            ("1970-01-01 00:00:00", b' ', Some((0, 0))),
            ("2026-01-01T00:00:00.035", b'T', Some((1_767_225_600, 35_000_000))),
            ("2026-01-01T00:01", b'T', Some((1_767_225_660, 0))),
            ("2026-01-01 00:01", b' ', None),
            ("2024-02-29 23:59:59.123456789", b' ', Some((1_709_251_199, 123_456_789))),
            ("2023-02-29 00:00:00", b' ', None),
            ("1969-12-31 23:59:59", b' ', Some((-1, 0))),
            ("2026-01-01T24:00:00", b'T', None),
            ("2026-01-01 00:00:00", b'T', None),
            ("2026-01-01 00:00:00.", b' ', None),
            ("2026-1-01 00:00:00", b' ', None),
            ("", b' ', None),
            ("2026-01-01 00:00:0x", b' ', None),
            ("0001-01-01 00:00:00", b' ', Some((-62_135_596_800, 0))),
        ] {
            assert_eq!(parse_timestamp(text.as_bytes(), separator), expected, "{text}");
        }
    }

    #[test]
    fn timestamps_are_written() {
        let check = |ms: i64, seconds, expected: &str| {
            let mut out = Vec::new();
            push_timestamp(&mut out, ms, 1000, b' ', seconds);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check(0, Seconds::Formatter, "1970-01-01 00:00:00");
        check(0, Seconds::ToString, "1970-01-01 00:00");
        check(100, Seconds::Formatter, "1970-01-01 00:00:00.1");
        check(100, Seconds::ToString, "1970-01-01 00:00:00.100");
        check(-1, Seconds::Formatter, "1969-12-31 23:59:59.999");
        check(1_767_225_661_000, Seconds::ToString, "2026-01-01 00:01:01");
    }

    proptest::proptest! {
        #[test]
        fn written_timestamps_are_read_back(ms in -62_135_596_800_000i64..253_402_300_799_999) {
            let mut out = Vec::new();
            push_timestamp(&mut out, ms, 1000, b'T', Seconds::Formatter);
            let (s, n) = parse_timestamp(&out, b'T').unwrap();
            proptest::prop_assert_eq!(to_unit(s, n, 3), Some(ms));
        }
    }
}
