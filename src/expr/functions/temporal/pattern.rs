//! Java's two languages of date patterns: compiling them, and writing a moment by them.
//!
//! `DATE_FORMAT` of a timestamp and `TO_TIMESTAMP` use `java.time.format.DateTimeFormatter`; everything that converts
//! strings to strings or seconds uses `java.text.SimpleDateFormat`. Both in their US-English form, in which weeks start
//! on sunday and the 1st of January is in week 1. Source: the classes' documentation.

use super::calendar::{DAY_MS, Date, HOUR_MS, MINUTE_MS, days_of};
use crate::error::{Error, Result};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From monday.
pub(super) const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Which of Java's classes reads the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    DateTimeFormatter,
    SimpleDateFormat,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Text(String),
    /// A letter and how often it was repeated.
    Field(char, usize),
    /// `[…]`: written always, read if it is there.
    Optional(Vec<Item>),
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub dialect: Dialect,
    pub items: Vec<Item>,
}

/// A wall-clock time and what its zone adds to UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    days: i64,
    date: Date,
    ms_of_day: i64,
    nanos_of_second: i64,
    offset_ms: i64,
}

impl Moment {
    /// The moment of a local time in milliseconds, with nanoseconds beyond.
    pub fn new(local_ms: i64, nanos: i64, offset_ms: i64) -> Moment {
        let days = local_ms.div_euclid(DAY_MS);
        let ms_of_day = local_ms.rem_euclid(DAY_MS);
        let nanos_of_second = ms_of_day % 1000 * 1_000_000 + nanos;
        Moment { days, date: Date::of(days), ms_of_day, nanos_of_second, offset_ms }
    }
    fn hour(&self) -> i64 {
        self.ms_of_day / HOUR_MS
    }
    /// Year and week of the year.
    fn week(&self) -> (i64, i64) {
        let since_sunday = |days: i64| (Date::weekday(days) + 1) % 7;
        let next_year = days_of(self.date.year + 1, 1, 1);
        if self.days >= next_year - since_sunday(next_year) {
            return (self.date.year + 1, 1);
        }
        let first = days_of(self.date.year, 1, 1);
        (self.date.year, (self.days - first + since_sunday(first)) / 7 + 1)
    }
    fn week_of_month(&self) -> i64 {
        let first = self.days - self.date.day + 1;
        (self.date.day - 1 + (Date::weekday(first) + 1) % 7) / 7 + 1
    }
}

impl Pattern {
    /// Compiles a pattern; errors name the letter that is wrong.
    pub fn compile(text: &str, dialect: Dialect) -> Result<Pattern> {
        let mut stack: Vec<Vec<Item>> = vec![Vec::new()];
        let mut chars = text.chars().peekable();
        let wrong = |what: String| Error::invalid("invalid_argument", format!("{what} in the date pattern '{text}'"));
        while let Some(c) = chars.next() {
            let items = stack.last_mut().expect("the outermost level is never popped");
            match c {
                'a'..='z' | 'A'..='Z' => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    check_field(c, count, dialect).map_err(wrong)?;
                    items.push(Item::Field(c, count));
                }
                '\'' if chars.next_if_eq(&'\'').is_some() => push_text(items, '\''),
                '\'' => loop {
                    match chars.next() {
                        Some('\'') if chars.next_if_eq(&'\'').is_some() => push_text(items, '\''),
                        Some('\'') => break,
                        Some(c) => push_text(items, c),
                        None => return Err(wrong("a quote is not closed".into())),
                    }
                },
                '[' if dialect == Dialect::DateTimeFormatter => stack.push(Vec::new()),
                ']' if dialect == Dialect::DateTimeFormatter => {
                    let optional = stack.pop().unwrap_or_default();
                    let Some(items) = stack.last_mut() else { return Err(wrong("']' without '['".into())) };
                    items.push(Item::Optional(optional));
                }
                '{' | '}' | '#' if dialect == Dialect::DateTimeFormatter => {
                    return Err(wrong(format!("the reserved character '{c}'")));
                }
                other => push_text(items, other),
            }
        }
        // Java closes open sections at the end.
        while stack.len() > 1 {
            let optional = stack.pop().unwrap_or_default();
            if let Some(items) = stack.last_mut() {
                items.push(Item::Optional(optional));
            }
        }
        Ok(Pattern { dialect, items: stack.pop().unwrap_or_default() })
    }

    /// Checks that a timestamp without a zone can be written by this pattern.
    pub fn check_has_no_zone(&self) -> Result<()> {
        fn zone_letter(items: &[Item]) -> Option<char> {
            items.iter().find_map(|item| match item {
                Item::Field(c, _) if matches!(c, 'V' | 'z' | 'O' | 'X' | 'x' | 'Z') => Some(*c),
                Item::Optional(inner) => zone_letter(inner),
                _ => None,
            })
        }
        match zone_letter(&self.items) {
            Some(c) if self.dialect == Dialect::DateTimeFormatter => Err(Error::invalid(
                "invalid_argument",
                format!("a timestamp has no time zone to write for '{c}'; take it out of the pattern"),
            )),
            _ => Ok(()),
        }
    }

    /// Appends the moment to `out`.
    pub fn write(&self, moment: &Moment, out: &mut String) {
        write_items(&self.items, self.dialect, moment, out);
    }
}

fn push_text(items: &mut Vec<Item>, c: char) {
    if let Some(Item::Text(text)) = items.last_mut() {
        text.push(c);
    } else {
        items.push(Item::Text(c.into()));
    }
}

fn check_field(c: char, count: usize, dialect: Dialect) -> Result<(), String> {
    let most = match dialect {
        Dialect::SimpleDateFormat if "GyYMLwWDdFEuaHkKhmsSzZ".contains(c) => usize::MAX,
        Dialect::SimpleDateFormat => {
            if c == 'X' {
                3
            } else {
                0
            }
        }
        Dialect::DateTimeFormatter => match c {
            'u' | 'y' | 'Y' | 'n' | 'N' | 'A' => 19,
            'S' => 9,
            'M' | 'L' | 'Q' | 'q' | 'E' | 'e' | 'c' | 'G' | 'X' | 'x' | 'Z' => 5,
            'O' | 'z' => 4,
            'D' => 3,
            'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' | 'w' | 'V' => 2,
            'a' | 'W' | 'F' => 1,
            _ => 0,
        },
    };
    match most {
        0 => Err(format!("the unknown letter '{c}'")),
        _ if count > most => Err(format!("too many letters '{c}'")),
        _ => Ok(()),
    }
}

fn write_items(items: &[Item], dialect: Dialect, moment: &Moment, out: &mut String) {
    for item in items {
        match item {
            Item::Text(text) => out.push_str(text),
            Item::Optional(inner) => write_items(inner, dialect, moment, out),
            Item::Field(c, count) => match dialect {
                Dialect::DateTimeFormatter => write_formatter_field(*c, *count, moment, out),
                Dialect::SimpleDateFormat => write_simple_field(*c, *count, moment, out),
            },
        }
    }
}

/// Appends a number with at least `width` digits.
fn number(value: i64, width: usize, out: &mut String) {
    use std::fmt::Write;
    if value < 0 {
        out.push('-');
    }
    write!(out, "{:0width$}", value.unsigned_abs()).expect("writing to memory cannot fail");
}

fn year(value: i64, count: usize, out: &mut String) {
    if count == 2 {
        return number(value.rem_euclid(100), 2, out);
    }
    if count >= 4 && value.checked_ilog10().is_some_and(|digits| digits as usize >= count) {
        out.push('+');
    }
    number(value, count, out);
}

fn name(full: &str, count: usize, out: &mut String) {
    let length = match count {
        4 => full.len(),
        5 => 1,
        _ => 3,
    };
    out.push_str(full.get(..length).unwrap_or(full));
}

fn at<'a>(names: &[&'a str], index: i64) -> &'a str {
    usize::try_from(index).ok().and_then(|i| names.get(i)).copied().unwrap_or("")
}

/// Hours of the half day, 0..=11.
fn half_day(hour: i64) -> i64 {
    hour % 12
}

/// 0 is counted as `period`, as in a clock that shows 12 or 24.
fn clock(hour: i64, period: i64) -> i64 {
    if hour == 0 { period } else { hour }
}

fn am_pm(hour: i64) -> &'static str {
    if hour < 12 { "AM" } else { "PM" }
}

fn write_formatter_field(c: char, count: usize, m: &Moment, out: &mut String) {
    let weekday = Date::weekday(m.days);
    let from_sunday = (weekday + 1) % 7 + 1;
    match c {
        'u' => year(m.date.year, count, out),
        'y' => year(if m.date.year > 0 { m.date.year } else { 1 - m.date.year }, count, out),
        'Y' => year(m.week().0, count, out),
        'M' | 'L' if count >= 3 => name(at(&MONTHS, m.date.month - 1), count, out),
        'M' | 'L' => number(m.date.month, count, out),
        'd' => number(m.date.day, count, out),
        'D' => number(m.date.day_of_year(), count, out),
        'Q' | 'q' => {
            let quarter = (m.date.month + 2) / 3;
            match count {
                3 => {
                    out.push('Q');
                    number(quarter, 1, out);
                }
                4 => out.push_str(at(&["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"], quarter - 1)),
                5 => number(quarter, 1, out),
                _ => number(quarter, count, out),
            }
        }
        'E' => name(at(&WEEKDAYS, weekday), count, out),
        'e' | 'c' if count >= 3 => name(at(&WEEKDAYS, weekday), count, out),
        'e' | 'c' => number(from_sunday, count, out),
        'w' => number(m.week().1, count, out),
        'W' => number(m.week_of_month(), count, out),
        'F' => number((m.date.day - 1) % 7 + 1, count, out),
        'G' => out.push_str(era(m.date.year, count)),
        'S' => {
            let digits = u32::try_from(count).unwrap_or(9).min(9);
            number(m.nanos_of_second / 10_i64.pow(9 - digits), count, out);
        }
        'A' => number(m.ms_of_day, count, out),
        'n' => number(m.nanos_of_second, count, out),
        'N' => number(m.ms_of_day / 1000 * 1_000_000_000 + m.nanos_of_second, count, out),
        _ => write_time_field(c, count, m, out),
    }
}

fn write_simple_field(c: char, count: usize, m: &Moment, out: &mut String) {
    let weekday = Date::weekday(m.days);
    // There are two styles of names only.
    let style = if count >= 4 { 4 } else { 3 };
    match c {
        'y' | 'Y' => {
            let year = if c == 'Y' { m.week().0 } else { m.date.year };
            let year = if year > 0 { year } else { 1 - year };
            if count == 2 { number(year % 100, 2, out) } else { number(year, count, out) }
        }
        'M' | 'L' if count >= 3 => name(at(&MONTHS, m.date.month - 1), style, out),
        'M' | 'L' => number(m.date.month, count, out),
        'd' => number(m.date.day, count, out),
        'D' => number(m.date.day_of_year(), count, out),
        'E' => name(at(&WEEKDAYS, weekday), style, out),
        'u' => number(weekday + 1, count, out),
        'w' => number(m.week().1, count, out),
        'W' => number(m.week_of_month(), count, out),
        'F' => number((m.date.day - 1) / 7 + 1, count, out),
        'G' => out.push_str(era(m.date.year, 1)),
        'S' => number(m.ms_of_day % 1000, count, out),
        'z' if m.offset_ms == 0 => out.push_str(if count >= 4 { "Coordinated Universal Time" } else { "UTC" }),
        'z' => {
            out.push_str("GMT");
            offset(m.offset_ms, ":", out);
        }
        'Z' => offset(m.offset_ms, "", out),
        'X' if m.offset_ms == 0 => out.push('Z'),
        'X' if count == 1 => {
            out.push(if m.offset_ms < 0 { '-' } else { '+' });
            number(m.offset_ms.abs() / HOUR_MS, 2, out);
        }
        'X' => offset(m.offset_ms, if count == 2 { "" } else { ":" }, out),
        _ => write_time_field(c, count, m, out),
    }
}

/// The letters of the time of day, the same in both dialects.
fn write_time_field(c: char, count: usize, m: &Moment, out: &mut String) {
    let hour = m.hour();
    match c {
        'H' => number(hour, count, out),
        'k' => number(clock(hour, 24), count, out),
        'K' => number(half_day(hour), count, out),
        'h' => number(clock(half_day(hour), 12), count, out),
        'm' => number(m.ms_of_day / MINUTE_MS % 60, count, out),
        's' => number(m.ms_of_day / 1000 % 60, count, out),
        _ => out.push_str(am_pm(hour)),
    }
}

fn era(year: i64, count: usize) -> &'static str {
    match (year > 0, count) {
        (true, 4) => "Anno Domini",
        (true, 5) => "A",
        (true, _) => "AD",
        (false, 4) => "Before Christ",
        (false, 5) => "B",
        (false, _) => "BC",
    }
}

fn offset(offset_ms: i64, separator: &str, out: &mut String) {
    out.push(if offset_ms < 0 { '-' } else { '+' });
    number(offset_ms.abs() / HOUR_MS, 2, out);
    out.push_str(separator);
    number(offset_ms.abs() / MINUTE_MS % 60, 2, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dialect: Dialect, pattern: &str, local: &str, expected: &str) {
        let at = chrono::NaiveDateTime::parse_from_str(local, "%Y-%m-%dT%H:%M:%S%.f").unwrap().and_utc();
        let moment = Moment::new(at.timestamp_millis(), i64::from(at.timestamp_subsec_nanos()) % 1_000_000, 0);
        let mut out = String::new();
        Pattern::compile(pattern, dialect).unwrap().write(&moment, &mut out);
        assert_eq!(out, expected, "{dialect:?} {pattern}");
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn date_time_formatter() {
        for (pattern, expected) in [
            ("yyyy/MM/dd HH:mm:ss.SSS", "2026/03/01 23:59:59.670"),
            ("EEE d MMM yy", "Sun 1 Mar 26"),
            ("EEEE MMMM D w W e a h K k", "Sunday March 60 10 1 1 PM 11 11 23"),
            ("'T'HH n N A", "T23 670000000 86399670000000 86399670"),
            ("G y u Q q L yyy yyyyy M MM MMM d E", "AD 2026 2026 1 1 3 2026 02026 3 03 Mar 1 Sun"),
            ("YYYY-ww e W F MMMMM LLLL EEEEE", "2026-10 1 1 1 M March S"),
            ("QQQ QQQQ GGGG ee eee DDD kk hh KK", "Q1 1st quarter Anno Domini 01 Sun 060 23 11 11"),
            ("yyyy[-MM] ''-'o''clock'", "2026-03 '-o'clock"),
            ("", ""),
        ] {
            check(Dialect::DateTimeFormatter, pattern, "2026-03-01T23:59:59.670", expected);
        }
        check(Dialect::DateTimeFormatter, "S SS SSSS SSSSSSSSS", "2020-01-02T03:04:05.123456", "1 12 1234 123456000");
        check(Dialect::DateTimeFormatter, "yyyy yy", "0005-01-01T00:00:00", "0005 05");
        check(Dialect::DateTimeFormatter, "YYYY ww F W", "2020-12-31T00:00:00", "2021 01 3 5");
    }

    #[test]
    fn simple_date_format() {
        let at = "2020-01-02T13:04:05";
        let pattern = "EEEE EEE MMM MMMM M D w W a h K k u F yy y yyy yyyyy";
        let expected = "Thursday Thu Jan January 1 2 1 1 PM 1 1 13 4 1 20 2020 2020 02020";
        check(Dialect::SimpleDateFormat, pattern, at, expected);
        check(Dialect::SimpleDateFormat, "z Z X XXX S SSS G L", at, "UTC +0000 Z Z 0 000 AD 1");
        check(Dialect::SimpleDateFormat, "SSSSSS", "2020-01-02T13:04:05.123456", "000123");
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for pattern in ["bogus", "yyyy {", "ddd", "'open", "]", "i"] {
            let error = Pattern::compile(pattern, Dialect::DateTimeFormatter).unwrap_err();
            assert_eq!(error.code, "invalid_argument", "{error}");
        }
        assert!(Pattern::compile("bogus", Dialect::SimpleDateFormat).is_err());
        assert!(Pattern::compile("z", Dialect::DateTimeFormatter).unwrap().check_has_no_zone().is_err());
    }
}
