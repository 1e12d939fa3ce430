//! Reading dates and timestamps from text, by Java's rules.
//!
//! `DateTimeFormatter` reads strictly by width, wants the whole text, and clamps the day to the month's length;
//! `SimpleDateFormat` is lenient: fields carry over (month 13 is next January) and what follows the pattern is ignored.
//! Source: the classes' documentation and Flink's `DateTimeUtils`.

use super::calendar::{DAY_MS, Date, HOUR_MS, MINUTE_MS, Overlap, Zone, days_of, month_length, parse_offset};
use super::pattern::{Dialect, Item, MONTHS, Pattern, WEEKDAYS};

/// A wall-clock time: milliseconds, and nanoseconds within the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Local {
    pub ms: i64,
    pub nanos: i64,
}

/// What a text said about each field.
#[derive(Debug, Clone, Copy, Default)]
struct Fields {
    year: Option<i64>,
    before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    /// From monday, 0..=6.
    weekday: Option<i64>,
    /// 0..=24.
    hour: Option<i64>,
    /// 0..=11.
    half_day_hour: Option<i64>,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    nano: Option<i64>,
    ms: Option<i64>,
    offset_ms: Option<i64>,
}

/// A position in the text.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }
    fn literal(&mut self, literal: &str) -> Option<()> {
        self.rest().starts_with(literal).then(|| self.at += literal.len())
    }
    fn digits_ahead(&self) -> usize {
        self.rest().bytes().take_while(u8::is_ascii_digit).count()
    }
    /// Exactly `count` digits, of which there are that many.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let value = self.rest().get(..count)?.parse().ok()?;
        self.at += count;
        Some(value)
    }
    /// Between `least` and `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.digits_ahead().min(most);
        if count < least || count == 0 { None } else { self.digits(count) }
    }
    /// The index of the name, in full (`count` 4 and more) or of three letters.
    fn name(&mut self, names: &[&str], full: bool, any_case: bool) -> Option<i64> {
        let rest = self.rest();
        let matches = |name: &str| {
            rest.get(..name.len()).is_some_and(|r| if any_case { r.eq_ignore_ascii_case(name) } else { r == name })
        };
        let (index, length) = names.iter().enumerate().find_map(|(i, name)| {
            let short = name.get(..3).unwrap_or(name);
            if full && matches(name) {
                Some((i, name.len()))
            } else {
                ((!full || any_case) && matches(short)).then_some((i, short.len()))
            }
        })?;
        self.at += length;
        i64::try_from(index).ok()
    }
    /// `Z`, or an offset as `parse_offset` reads it.
    fn offset(&mut self) -> Option<i64> {
        if self.accept(b'Z') {
            return Some(0);
        }
        let rest = self.rest();
        let length = rest
            .char_indices()
            .take_while(|(i, c)| c.is_ascii_digit() || (*i == 0 && matches!(c, '+' | '-')) || (*c == ':' && *i == 3))
            .count();
        let offset = parse_offset(rest.get(..length)?)?;
        self.at += length;
        Some(offset)
    }
    /// A zone's name; only its offset matters, so that names other than UTC are skipped.
    fn zone(&mut self) -> Option<i64> {
        let length = self.rest().bytes().take_while(|b| b.is_ascii_alphabetic() || matches!(b, b'/' | b'_')).count();
        let zone = Zone::parse(self.rest().get(..length)?);
        match zone {
            Some(zone) => {
                self.at += length;
                let fixed = if matches!(self.peek(), Some(b'+' | b'-')) { self.offset()? } else { 0 };
                Some(zone.offset_ms(0) + fixed)
            }
            None => self.offset(),
        }
    }
}

impl Pattern {
    /// The wall-clock time of a text, by the rules of `DateTimeFormatter`; a zone is read and ignored.
    pub fn read(&self, text: &str) -> Option<Local> {
        debug_assert_eq!(self.dialect, Dialect::DateTimeFormatter);
        let mut reader = Reader { text, at: 0 };
        let mut fields = Fields::default();
        read_strict(&self.items, &mut reader, &mut fields)?;
        if reader.at == text.len() { resolve(&fields) } else { None }
    }

    /// The instant of a text in milliseconds, by the rules of `SimpleDateFormat`.
    pub fn read_simple(&self, text: &str, zone: Zone, century_start: i64) -> Option<i64> {
        debug_assert_eq!(self.dialect, Dialect::SimpleDateFormat);
        let mut reader = Reader { text, at: 0 };
        let mut fields = Fields::default();
        for (i, item) in self.items.iter().enumerate() {
            match item {
                Item::Text(literal) => reader.literal(literal)?,
                Item::Field(c, count) => {
                    let abuts = matches!(self.items.get(i + 1), Some(Item::Field(next, n)) if is_number(*next, *n));
                    let most = if abuts { *count } else { 18 };
                    read_lenient(*c, *count, most, century_start, &mut reader, &mut fields)?;
                }
                Item::Optional(_) => return None,
            }
        }
        let local = carry_over(&fields);
        Some(match fields.offset_ms {
            Some(offset) => local - offset,
            None => zone.to_utc_ms(local, Overlap::Later),
        })
    }
}

fn is_number(c: char, count: usize) -> bool {
    !(matches!(c, 'E' | 'a' | 'G' | 'z' | 'Z' | 'X') || (matches!(c, 'M' | 'L') && count >= 3))
}

fn read_strict(items: &[Item], reader: &mut Reader<'_>, fields: &mut Fields) -> Option<()> {
    for (i, item) in items.iter().enumerate() {
        match item {
            Item::Text(literal) => reader.literal(literal)?,
            Item::Optional(inner) => {
                let (at, before) = (reader.at, *fields);
                if read_strict(inner, reader, fields).is_none() {
                    (reader.at, *fields) = (at, before);
                }
            }
            Item::Field(c, count) => {
                // Digits that belong to the fixed-width fields that follow at once.
                let following = items.get(i + 1..).unwrap_or_default();
                let reserved = following.iter().map_while(fixed_width).sum();
                read_strict_field(*c, *count, reserved, reader, fields)?;
            }
        }
    }
    Some(())
}

fn fixed_width(item: &Item) -> Option<usize> {
    match item {
        Item::Field('S', count) => Some(*count),
        Item::Field(c, 2) if "uyYMLQqdhHkKmsw".contains(*c) => Some(2),
        _ => None,
    }
}

/// A number of a field that was repeated `count` times, minding the digits that the next fields need.
fn strict_number(c: char, count: usize, reserved: usize, reader: &mut Reader<'_>) -> Option<i64> {
    if fixed_width(&Item::Field(c, count)).is_some() {
        return reader.number(count, count);
    }
    let is_year = matches!(c, 'u' | 'y' | 'Y');
    let plus = is_year && count >= 4 && reader.accept(b'+');
    let minus = (count == 1 || is_year) && !plus && reader.accept(b'-');
    let most = if c == 'D' && count > 1 { 3 } else { 19 };
    let available = reader.digits_ahead().min(most + reserved);
    let length = available.saturating_sub(reserved).max(count).min(available);
    if length < count || length == 0 || length > 18 {
        return None;
    }
    // A year beyond its width must have a plus, and only such a year may.
    if is_year && count >= 4 && !minus && plus != (length > count) {
        return None;
    }
    let value = reader.digits(length)?;
    Some(if minus { -value } else { value })
}

fn read_strict_field(c: char, count: usize, reserved: usize, reader: &mut Reader<'_>, f: &mut Fields) -> Option<()> {
    match c {
        'M' | 'L' if count >= 3 => f.month = Some(reader.name(&MONTHS, count == 4, false)? + 1),
        'E' | 'e' | 'c' if count >= 3 || c == 'E' => f.weekday = Some(reader.name(&WEEKDAYS, count == 4, false)?),
        'a' => f.afternoon = Some(half_of_day(reader, false)?),
        'G' => f.before_christ = era(reader)?,
        'X' | 'x' | 'Z' | 'O' => f.offset_ms = Some(reader.zone()?),
        'V' | 'z' => f.offset_ms = Some(reader.zone()?),
        'S' => {
            let digits = u32::try_from(count).ok().filter(|d| *d <= 9)?;
            f.nano = Some(reader.number(count, count)? * 10_i64.pow(9 - digits));
        }
        'y' | 'u' if count == 2 => f.year = Some(2000 + strict_number(c, 2, reserved, reader)?),
        _ => {
            let value = strict_number(c, count, reserved, reader)?;
            let within = |range: std::ops::RangeInclusive<i64>| range.contains(&value).then_some(value);
            match c {
                'y' | 'u' => f.year = Some(value),
                'M' | 'L' => f.month = Some(within(1..=12)?),
                'd' => f.day = Some(within(1..=31)?),
                'D' => f.day_of_year = Some(within(1..=366)?),
                'H' => f.hour = Some(within(0..=24)?),
                'k' => f.hour = Some(within(1..=24)? % 24),
                'K' => f.half_day_hour = Some(within(0..=11)?),
                'h' => f.half_day_hour = Some(within(1..=12)? % 12),
                'm' => f.minute = Some(within(0..=59)?),
                's' => f.second = Some(within(0..=59)?),
                'n' => f.nano = Some(within(0..=999_999_999)?),
                'A' => {
                    let value = within(0..=DAY_MS - 1)?;
                    (f.hour, f.minute) = (Some(value / HOUR_MS), Some(value / MINUTE_MS % 60));
                    (f.second, f.nano) = (Some(value / 1000 % 60), Some(value % 1000 * 1_000_000));
                }
                // Weeks, quarters and the like do not decide the date.
                _ => {}
            }
        }
    }
    Some(())
}

fn half_of_day(reader: &mut Reader<'_>, any_case: bool) -> Option<bool> {
    let found = reader.rest().get(..2)?;
    let is = |name: &str| found == name || (any_case && found.eq_ignore_ascii_case(name));
    let afternoon = if is("AM") {
        false
    } else if is("PM") {
        true
    } else {
        return None;
    };
    reader.at += 2;
    Some(afternoon)
}

fn era(reader: &mut Reader<'_>) -> Option<bool> {
    let before = match reader.rest().get(..2)? {
        "AD" => false,
        "BC" => true,
        _ => return None,
    };
    reader.at += 2;
    Some(before)
}

/// The date and time of strictly read fields; a day beyond its month is the month's last, 24:00 is the next day.
fn resolve(f: &Fields) -> Option<Local> {
    let year = if f.before_christ { 1 - f.year.unwrap_or(1) } else { f.year.unwrap_or(1970) };
    if year.abs() > 999_999_999 {
        return None;
    }
    let mut days = match (f.month, f.day, f.day_of_year) {
        (None, None, Some(day)) => days_of(year, 1, day),
        (month, day, _) => {
            let month = month.unwrap_or(1);
            days_of(year, month, day.unwrap_or(1).min(month_length(year, month)))
        }
    };
    if f.weekday.is_some_and(|w| f.day.is_some() && w != Date::weekday(days)) {
        return None;
    }
    let half_day = f.half_day_hour.zip(f.afternoon).map(|(hour, afternoon)| hour + if afternoon { 12 } else { 0 });
    let mut hour = f.hour.or(half_day).unwrap_or(0);
    let (minute, second, nano) = (f.minute.unwrap_or(0), f.second.unwrap_or(0), f.nano.unwrap_or(0));
    if hour == 24 {
        if minute != 0 || second != 0 || nano != 0 {
            return None;
        }
        (hour, days) = (0, days + 1);
    }
    let ms = days.checked_mul(DAY_MS)? + hour * HOUR_MS + minute * MINUTE_MS + second * 1000 + nano / 1_000_000;
    Some(Local { ms, nanos: nano % 1_000_000 })
}

fn read_lenient(
    c: char,
    count: usize,
    most: usize,
    century_start: i64,
    reader: &mut Reader<'_>,
    f: &mut Fields,
) -> Option<()> {
    while matches!(reader.peek(), Some(b' ' | b'\t')) {
        reader.at += 1;
    }
    match c {
        'M' | 'L' if count >= 3 => f.month = Some(reader.name(&MONTHS, true, true)? + 1),
        'E' => f.weekday = Some(reader.name(&WEEKDAYS, true, true)?),
        'a' => f.afternoon = Some(half_of_day(reader, true)?),
        'G' => f.before_christ = era(reader)?,
        'z' | 'Z' | 'X' => f.offset_ms = Some(reader.zone()?),
        _ => {
            let start = reader.at;
            let minus = reader.accept(b'-');
            let value = reader.number(1, most.min(18))?;
            let value = if minus { -value } else { value };
            match c {
                'y' | 'Y' if count <= 2 && reader.at - start == 2 && !minus => {
                    let century = century_start.div_euclid(100) * 100;
                    let later = if value < century_start.rem_euclid(100) { 100 } else { 0 };
                    f.year = Some(century + later + value);
                }
                'y' | 'Y' => f.year = Some(value),
                'M' | 'L' => f.month = Some(value),
                'd' => f.day = Some(value),
                'D' => f.day_of_year = Some(value),
                'H' => f.hour = Some(value),
                'k' => f.hour = Some(if value == 24 { 0 } else { value }),
                'K' => f.half_day_hour = Some(value),
                'h' => f.half_day_hour = Some(if value == 12 { 0 } else { value }),
                'm' => f.minute = Some(value),
                's' => f.second = Some(value),
                'S' => f.ms = Some(value),
                // Weeks and numbers of weekdays do not decide the date.
                _ => {}
            }
        }
    }
    Some(())
}

/// The local time in milliseconds of leniently read fields.
fn carry_over(f: &Fields) -> i64 {
    // Far beyond any date that anybody means; keeps the arithmetic in range.
    let bounded = |v: Option<i64>, default: i64| v.unwrap_or(default).clamp(-400_000_000, 400_000_000);
    let year = if f.before_christ { 1 - bounded(f.year, 1) } else { bounded(f.year, 1970) };
    let days = match (f.month, f.day, f.day_of_year) {
        (None, None, Some(_)) => days_of(year, 1, bounded(f.day_of_year, 1)),
        _ => days_of(year, bounded(f.month, 1), bounded(f.day, 1)),
    };
    let half_day = f.half_day_hour.map(|hour| hour + if f.afternoon == Some(true) { 12 } else { 0 });
    let hour = bounded(f.hour.or(half_day), 0);
    (days.saturating_mul(DAY_MS))
        .saturating_add(hour * HOUR_MS + bounded(f.minute, 0) * MINUTE_MS + bounded(f.second, 0) * 1000)
        .saturating_add(f.ms.unwrap_or(0))
}

/// Flink's own notation, `yyyy-[M]M-[d]d[ [H]H:[m]m:[s]s[.fraction]]`.
pub(super) fn read_timestamp(text: &str) -> Option<Local> {
    let mut reader = Reader { text, at: 0 };
    let mut fields = Fields { year: Some(strict_number('y', 4, 0, &mut reader)?), ..Fields::default() };
    let within = |value: i64, range: std::ops::RangeInclusive<i64>| range.contains(&value).then_some(value);
    reader.literal("-")?;
    fields.month = Some(within(reader.number(1, 2)?, 1..=12)?);
    reader.literal("-")?;
    fields.day = Some(within(reader.number(1, 2)?, 1..=31)?);
    if reader.accept(b' ') {
        fields.hour = Some(within(reader.number(1, 2)?, 0..=24)?);
        reader.literal(":")?;
        fields.minute = Some(within(reader.number(1, 2)?, 0..=59)?);
        reader.literal(":")?;
        fields.second = Some(within(reader.number(1, 2)?, 0..=59)?);
        if reader.accept(b'.') {
            fields.nano = fraction(&mut reader);
        }
    }
    if reader.at == text.len() { resolve(&fields) } else { None }
}

/// Up to nine digits of a second, in nanoseconds.
fn fraction(reader: &mut Reader<'_>) -> Option<i64> {
    let count = reader.digits_ahead().min(9);
    let value = reader.number(1, 9)?;
    Some(value * 10_i64.pow(9 - u32::try_from(count).ok()?))
}

/// What `TO_TIMESTAMP` with a format tries when the format does not fit: `java.sql.Timestamp.valueOf` (lenient) where
/// there is a space, else `java.sql.Date.valueOf`.
pub(super) fn read_sql_timestamp(text: &str) -> Option<Local> {
    let text = text.trim();
    let mut reader = Reader { text, at: 0 };
    let year = reader.number(4, 4)?;
    reader.literal("-")?;
    let month = reader.number(1, 2).filter(|m| (1..=12).contains(m))?;
    reader.literal("-")?;
    let day = reader.number(1, 2).filter(|d| (1..=31).contains(d))?;
    let mut fields = Fields { year: Some(year), month: Some(month), day: Some(day), ..Fields::default() };
    if reader.accept(b' ') {
        fields.hour = Some(reader.number(1, 9)?);
        reader.literal(":")?;
        fields.minute = Some(reader.number(1, 9)?);
        reader.literal(":")?;
        fields.second = Some(reader.number(1, 9)?);
        if reader.accept(b'.') {
            fields.nano = Some(fraction(&mut reader)?);
        }
    }
    let nano = fields.nano.unwrap_or(0);
    (reader.at == text.len()).then(|| Local { ms: carry_over(&fields) + nano / 1_000_000, nanos: nano % 1_000_000 })
}

/// `TO_DATE`'s own notation: `year[-month[-day]]`, what follows a space ignored.
pub(super) fn read_date(text: &str) -> Option<i64> {
    let text = match text.find(' ') {
        Some(space) if space > 0 => text.get(..space)?,
        _ => text,
    };
    let mut parts = text.splitn(3, '-');
    let mut next = || {
        parts.next().map(|part| {
            let part = part.trim();
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if digits { part.parse::<i64>().ok() } else { None }
        })
    };
    let year = next()??;
    let month = next().unwrap_or(Some(1))?;
    let day = next().unwrap_or(Some(1))?;
    ((0..=9999).contains(&year) && (1..=12).contains(&month) && (1..=month_length(year, month)).contains(&day))
        .then(|| days_of(year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> Option<Local> {
        let at = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?.and_utc();
        Some(Local { ms: at.timestamp_millis(), nanos: i64::from(at.timestamp_subsec_nanos()) % 1_000_000 })
    }

    // The expected values are what Flink 2.3.0 answered; the empty text stands for null.
    #[test]
    fn flinks_notation() {
        for (text, expected) in [
            ("2020-01-02", "2020-01-02T00:00:00"),
            ("2020-01-02T03:04:05", ""),
            ("2020-01-02 03:04", ""),
            ("2020-01-02 03:04:05.123456789", "2020-01-02T03:04:05.123456789"),
            ("2020-1-2 3:4:5", "2020-01-02T03:04:05"),
            ("2020-13-02", ""),
            ("2020-02-30 00:00:00", "2020-02-29T00:00:00"),
            (" 2020-01-02 ", ""),
            ("2020-01-02 03:04:05Z", ""),
            ("2020-01-02 24:00:00", "2020-01-03T00:00:00"),
            ("12020-01-02", ""),
            ("☃", ""),
            ("", ""),
        ] {
            assert_eq!(read_timestamp(text), local(expected), "{text}");
        }
        for (text, expected) in [
            ("12", "0012-01-01"),
            ("2020-1-2", "2020-01-02"),
            ("2020-02-30", ""),
            ("2020-01-02 03:04:05", "2020-01-02"),
            ("2020-02", "2020-02-01"),
            ("2020-01-02T03", ""),
            ("20200102", ""),
            ("x", ""),
        ] {
            let expected = local(&format!("{expected}T00:00:00")).map(|l| l.ms / DAY_MS);
            assert_eq!(read_date(text), expected, "{text}");
        }
    }

    #[test]
    fn date_time_formatter_is_strict() {
        for (pattern, text, expected) in [
            ("dd/MM/yyyy HH", "01/03/2026 05", "2026-03-01T05:00:00"),
            ("yyyy", "2020", "2020-01-01T00:00:00"),
            ("HH:mm", "12:30", "1970-01-01T12:30:00"),
            ("yyyy-MM-dd hh a", "2020-01-02 11 PM", "2020-01-02T23:00:00"),
            ("yyyy-MM-dd hh:mm a", "2020-01-02 12:30 AM", "2020-01-02T00:30:00"),
            ("yyyy-MM-dd hh", "2020-01-02 12", "2020-01-02T00:00:00"),
            ("yyyyMMdd", "20200102", "2020-01-02T00:00:00"),
            ("yyyyMMddHHmmssSSS", "20200102030405123", "2020-01-02T03:04:05.123"),
            ("yyyy-MM-dd", "2020-02-30", "2020-02-29T00:00:00"),
            ("yy-MMM-dd", "20-Jan-02", "2020-01-02T00:00:00"),
            ("M/d/yyyy", "1/2/2020", "2020-01-02T00:00:00"),
            ("yyyy-MM-dd H:m", "2020-01-02 1:2", "2020-01-02T01:02:00"),
            ("yyy-MM-dd", "020-01-02", "0020-01-02T00:00:00"),
            ("yyyy DDD", "2020 100", "2020-04-09T00:00:00"),
            ("EEE yyyy-MM-dd", "Thu 2020-01-02", "2020-01-02T00:00:00"),
            ("EEE yyyy-MM-dd", "Fri 2020-01-02", ""),
            ("yyyy-MM-dd ", "2020-01-02", ""),
            ("yyyy-MM", "2020-01", "2020-01-01T00:00:00"),
            ("yyyy-MM-dd[ H]", "2020-01-02 1", "2020-01-02T01:00:00"),
            ("yyyy-MM-dd[ H]", "2020-01-02", "2020-01-02T00:00:00"),
            ("yyyy-MM-dd", "12020-01-02", ""),
            ("yyyy-MM-dd HH:mm:ss.S", "2020-01-02 03:04:05.5", "2020-01-02T03:04:05.5"),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2020-01-02 03:04:05", ""),
            ("d MMMM yyyy", "2 January 2020", "2020-01-02T00:00:00"),
            ("d MMM yyyy", "2 JAN 2020", ""),
            ("yyyy-MM-dd'T'HH:mm:ssX", "2020-01-02T03:04:05Z", "2020-01-02T03:04:05"),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", "2020-01-02T03:04:05+08:00", "2020-01-02T03:04:05"),
        ] {
            let pattern = Pattern::compile(pattern, Dialect::DateTimeFormatter).unwrap();
            assert_eq!(pattern.read(text), local(expected), "{pattern:?} {text}");
        }
    }

    #[test]
    fn what_sql_types_read_is_the_fallback() {
        assert_eq!(read_sql_timestamp("2020-1-2 3:4:5.75"), local("2020-01-02T03:04:05.75"));
        assert_eq!(read_sql_timestamp(" 2020-1-2 "), local("2020-01-02T00:00:00"));
        assert_eq!(read_sql_timestamp("2020-01-02T00:00:00"), None);
    }

    #[test]
    fn simple_date_format_is_lenient() {
        for (pattern, text, expected) in [
            ("yyyy-MM-dd HH:mm:ss", "2020-13-40 25:61:61", "2021-02-10T02:02:01"),
            ("yyyy-MM-dd HH:mm:ss", "2020-1-2 3:4:5", "2020-01-02T03:04:05"),
            ("yyyy-MM-dd HH:mm:ss", "2020-01-02", ""),
            ("d MMM yy", "1 Jan 20", "2020-01-01T00:00:00"),
            ("d MMM yyyy", "1 january 2020", "2020-01-01T00:00:00"),
            ("yyyyMMdd", "20200102", "2020-01-02T00:00:00"),
            ("yyyy-MM-dd", "2020-01-02x", "2020-01-02T00:00:00"),
            ("yyyy-MM-dd", "2020-02-30", "2020-03-01T00:00:00"),
            ("yyyy-MM-dd", "x", ""),
            ("yyyy-MM-dd hh:mm:ss a", "2020-01-02 03:04:05 PM", "2020-01-02T15:04:05"),
            ("yyyy-MM-dd'T'HH:mm:ssX", "2020-01-02T03:04:05Z", "2020-01-02T03:04:05"),
            ("yyyy-MM-dd HH:mm:ss Z", "2020-01-02 03:04:05 +0800", "2020-01-01T19:04:05"),
            ("yyyy DDD", "2020 100", "2020-04-09T00:00:00"),
            ("yy-M", "80-1", "1980-01-01T00:00:00"),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2020-01-02 03:04:05.678", "2020-01-02T03:04:05.678"),
        ] {
            let pattern = Pattern::compile(pattern, Dialect::SimpleDateFormat).unwrap();
            let got = pattern.read_simple(text, Zone::Named(chrono_tz::UTC), 1946);
            assert_eq!(got, local(expected).map(|l| l.ms), "{pattern:?} {text}");
        }
    }
}
