//! Functions that cut, pad and repeat.

use super::super::arguments::{Want, function, length, put, put_char, refuse, signature, string, text_rows};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel};
use crate::types::{DataType, MAX_LENGTH, TypeKind};

use arrow::array::StringBuilder;

pub(super) const TRIM: Function = function("TRIM", |a| trim_type(a), prepare_trim);
pub(super) const LTRIM: Function = function(
    "LTRIM",
    |a| signature(a, "LTRIM(string [, characters])", &[Want::Text], &[Want::Text]).map(|n| varchar(length(&a[0]), n)),
    |_| Ok(trim_kernel(0, 1, Sides { start: true, end: false })),
);
pub(super) const RTRIM: Function = function(
    "RTRIM",
    |a| signature(a, "RTRIM(string [, characters])", &[Want::Text], &[Want::Text]).map(|n| varchar(length(&a[0]), n)),
    |_| Ok(trim_kernel(0, 1, Sides { start: false, end: true })),
);
pub(super) const BTRIM: Function = function(
    "BTRIM",
    |a| signature(a, "BTRIM(string [, characters])", &[Want::Text], &[Want::Text]).map(string),
    |_| Ok(trim_kernel(0, 1, BOTH)),
);
pub(super) const SUBSTRING: Function =
    function("SUBSTRING", |a| substring_type(a, "SUBSTRING(string, integer [, integer])"), |_| Ok(substring_kernel()));
pub(super) const SUBSTR: Function =
    function("SUBSTR", |a| substring_type(a, "SUBSTR(string, integer [, integer])"), |_| Ok(substring_kernel()));
pub(super) const LEFT: Function = function(
    "LEFT",
    |a| end_type(a, "LEFT(string, integer)"),
    |_| {
        Ok(text_rows(|row, out| {
            put(out, characters(row.str(0), 0, usize::try_from(row.int(1).unwrap_or(0)).unwrap_or(0)));
            Ok(true)
        }))
    },
);
pub(super) const RIGHT: Function = function(
    "RIGHT",
    |a| end_type(a, "RIGHT(string, integer)"),
    |_| {
        Ok(text_rows(|row, out| {
            let (text, count) = (row.str(0), usize::try_from(row.int(1).unwrap_or(0)).unwrap_or(0));
            put(out, characters(text, count_characters(text).saturating_sub(count), count));
            Ok(true)
        }))
    },
);
pub(super) const OVERLAY: Function = function(
    "OVERLAY",
    |a| overlay_type(a),
    |_| {
        Ok(text_rows(|row, out| {
            put_overlay(row.str(0), row.str(1), row.int(2).unwrap_or(0), row.int(3), out);
            Ok(true)
        }))
    },
);
pub(super) const LPAD: Function =
    function("LPAD", |a| pad_type(a, "LPAD(string, integer, string)"), |_| Ok(pad_kernel(Side::Start)));
pub(super) const RPAD: Function =
    function("RPAD", |a| pad_type(a, "RPAD(string, integer, string)"), |_| Ok(pad_kernel(Side::End)));
pub(super) const REPEAT: Function = function(
    "REPEAT",
    |a| signature(a, "REPEAT(string, integer)", &[Want::Text, Want::Int], &[]).map(string),
    |_| {
        Ok(text_rows(|row, out| {
            let (text, times) = (row.str(0), row.int(1).unwrap_or(0));
            limit(text.len(), times)?;
            for _ in 0..times {
                put(out, text);
            }
            Ok(true)
        }))
    },
);

/// The longest value that a function may make: a larger one fails its query instead of the process.
const LONGEST_VALUE_BYTES: usize = 64 << 20;

fn limit(bytes: usize, times: i64) -> Result<()> {
    match usize::try_from(times).map(|times| bytes.saturating_mul(times)) {
        Ok(size) if size > LONGEST_VALUE_BYTES => Err(crate::error::Error::invalid(
            "value_too_long",
            format!("the result would have {size} bytes: at most {LONGEST_VALUE_BYTES} are allowed"),
        )),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy)]
struct Sides {
    start: bool,
    end: bool,
}

const BOTH: Sides = Sides { start: true, end: true };

enum Side {
    Start,
    End,
}

fn varchar(length: u32, nullable: bool) -> DataType {
    DataType { kind: TypeKind::VarChar(length), nullable }
}

const TRIM_USAGE: &str = "TRIM([BOTH | LEADING | TRAILING] [characters FROM] string)";

fn trim_type(args: &[Expr]) -> Result<DataType> {
    match args.len() {
        1 => signature(args, TRIM_USAGE, &[Want::Text], &[]).map(|n| varchar(length(&args[0]), n)),
        3 => {
            let nullable = signature(args, TRIM_USAGE, &[Want::Text; 3], &[])?;
            sides(&args[0]).ok_or_else(|| refuse(TRIM_USAGE, args))?;
            Ok(varchar(length(&args[2]), nullable))
        }
        _ => Err(refuse(TRIM_USAGE, args)),
    }
}

fn sides(mode: &Expr) -> Option<Sides> {
    match super::super::arguments::literal_text(mode)? {
        "BOTH" => Some(BOTH),
        "LEADING" => Some(Sides { start: true, end: false }),
        "TRAILING" => Some(Sides { start: false, end: true }),
        _ => None,
    }
}

fn prepare_trim(call: &Call<'_>) -> Result<Kernel> {
    Ok(match call.args {
        [_] => trim_kernel(0, 1, BOTH),
        [mode, ..] => trim_kernel(2, 1, sides(mode).ok_or_else(|| refuse(TRIM_USAGE, call.args))?),
        [] => return Err(refuse(TRIM_USAGE, call.args)),
    })
}

/// Strips any of the characters of argument `set` (a space if there is none) from argument `text`.
fn trim_kernel(text: usize, set: usize, sides: Sides) -> Kernel {
    text_rows(move |row, out| {
        let set = if row.len() > 1 { row.str(set) } else { " " };
        let mut text = row.str(text);
        if sides.start {
            text = text.trim_start_matches(|c| set.contains(c));
        }
        if sides.end {
            text = text.trim_end_matches(|c| set.contains(c));
        }
        put(out, text);
        Ok(true)
    })
}

fn substring_type(args: &[Expr], usage: &str) -> Result<DataType> {
    signature(args, usage, &[Want::Text, Want::Int], &[Want::Int])?;
    Ok(varchar(length(&args[0]), true))
}

fn end_type(args: &[Expr], usage: &str) -> Result<DataType> {
    signature(args, usage, &[Want::Text, Want::Int], &[])?;
    Ok(varchar(length(&args[0]), true))
}

/// From 1; from the end if negative (empty if that is before the start); 0 is the start; a negative length is null.
fn substring_kernel() -> Kernel {
    text_rows(|row, out| {
        let (text, from) = (row.str(0), row.int(1).unwrap_or(0));
        let Ok(count) = usize::try_from(row.int(2).unwrap_or(i64::MAX)) else { return Ok(false) };
        let start = match from {
            1.. => usize::try_from(from - 1).unwrap_or(usize::MAX),
            0 => 0,
            _ => {
                let back = usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX);
                match count_characters(text).checked_sub(back) {
                    Some(start) => start,
                    None => return Ok(true),
                }
            }
        };
        put(out, characters(text, start, count));
        Ok(true)
    })
}

/// At most `count` characters from character `start`.
fn characters(text: &str, start: usize, count: usize) -> &str {
    if text.is_ascii() {
        let start = start.min(text.len());
        return &text[start..start.saturating_add(count).min(text.len())];
    }
    let from = text.char_indices().nth(start).map_or(text.len(), |(i, _)| i);
    let rest = &text[from..];
    let end = rest.char_indices().nth(count).map_or(rest.len(), |(i, _)| i);
    &rest[..end]
}

fn count_characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

fn overlay_type(args: &[Expr]) -> Result<DataType> {
    let wants = [Want::Text, Want::Text, Want::Int];
    let nullable = signature(args, "OVERLAY(string PLACING string FROM integer [FOR integer])", &wants, &[Want::Int])?;
    Ok(varchar(length(&args[0]).saturating_add(length(&args[1])).min(MAX_LENGTH), nullable))
}

/// Flink's rule, which drops the rest when the replaced stretch is empty or reaches the end.
fn put_overlay(text: &str, by: &str, from: i64, count: Option<i64>, out: &mut StringBuilder) {
    let size = i64::try_from(count_characters(text)).unwrap_or(i64::MAX);
    if from <= 0 || from > size {
        return put(out, text);
    }
    let count = count.unwrap_or_else(|| i64::try_from(count_characters(by)).unwrap_or(i64::MAX));
    let start = usize::try_from(from - 1).unwrap_or(usize::MAX);
    put(out, characters(text, 0, start));
    put(out, by);
    if count > 0 && from.saturating_add(count) <= size {
        put(out, characters(text, start + usize::try_from(count).unwrap_or(usize::MAX), usize::MAX));
    }
}

fn pad_type(args: &[Expr], usage: &str) -> Result<DataType> {
    signature(args, usage, &[Want::Text, Want::Int, Want::Text], &[]).map(string)
}

/// Null for a negative length or an empty padding.
fn pad_kernel(side: Side) -> Kernel {
    text_rows(move |row, out| {
        let (text, pad) = (row.str(0), row.str(2));
        let Ok(size) = usize::try_from(row.int(1).unwrap_or(-1)) else { return Ok(false) };
        if pad.is_empty() {
            return Ok(false);
        }
        limit(1, i64::try_from(size).unwrap_or(i64::MAX))?;
        let missing = size.saturating_sub(count_characters(text));
        if matches!(side, Side::End) {
            put(out, characters(text, 0, size));
        }
        for c in pad.chars().cycle().take(missing) {
            put_char(out, c);
        }
        if matches!(side, Side::Start) {
            put(out, characters(text, 0, size));
        }
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{check, code, lit, null, num};
    use super::super::FUNCTIONS;

    #[test]
    fn trims_sets_of_characters() {
        let s = "STRING NOT NULL";
        check(FUNCTIONS, "TRIM", vec![lit(" \ta ")], "\ta", "VARCHAR(4) NOT NULL");
        check(FUNCTIONS, "TRIM", vec![lit("LEADING"), lit("a"), lit("aba")], "ba", "VARCHAR(3) NOT NULL");
        check(FUNCTIONS, "TRIM", vec![lit("TRAILING"), lit("a"), lit("aba")], "ab", "VARCHAR(3) NOT NULL");
        check(FUNCTIONS, "TRIM", vec![lit("BOTH"), lit("ba"), lit("abcab")], "c", "VARCHAR(5) NOT NULL");
        check(FUNCTIONS, "TRIM", vec![lit("BOTH"), null(), lit("abcab")], "NULL", "VARCHAR(5)");
        check(FUNCTIONS, "LTRIM", vec![lit("  a ")], "a ", "VARCHAR(4) NOT NULL");
        check(FUNCTIONS, "RTRIM", vec![lit("aba"), lit("a")], "ab", "VARCHAR(3) NOT NULL");
        check(FUNCTIONS, "BTRIM", vec![lit("aba"), lit("a")], "b", s);
        check(FUNCTIONS, "BTRIM", vec![lit(" a ")], "a", s);
        assert_eq!(code(FUNCTIONS, "TRIM", vec![lit("x"), lit("a"), lit("aba")]), "invalid_argument");
        assert_eq!(code(FUNCTIONS, "TRIM", vec![lit("x"), lit("a")]), "invalid_argument");
    }

    #[test]
    fn substrings_count_from_one_or_from_the_end() {
        let cases = [
            ("naïve café", 2, Some(3), "aïv"),
            ("naïve café", -3, None, "afé"),
            ("ab", -3, None, ""),
            ("abc", 0, Some(2), "ab"),
            ("abc", 0, None, "abc"),
            ("abc", 5, None, ""),
            ("abc", 2, Some(0), ""),
            ("abc", 2, Some(-1), "NULL"),
            ("naïve café", -4, Some(2), "ca"),
        ];
        for (text, from, count, expected) in cases {
            let mut args = vec![lit(text), num(from)];
            args.extend(count.map(num));
            let n = text.chars().count();
            check(FUNCTIONS, "SUBSTRING", args.clone(), expected, &format!("VARCHAR({n})"));
            check(FUNCTIONS, "SUBSTR", args, expected, &format!("VARCHAR({n})"));
        }
        for (name, n, expected) in
            [("LEFT", 2, "aé"), ("LEFT", -1, ""), ("RIGHT", 2, "éc"), ("RIGHT", 0, ""), ("RIGHT", 9, "aéc")]
        {
            check(FUNCTIONS, name, vec![lit("aéc"), num(n)], expected, "VARCHAR(3)");
        }
    }

    #[test]
    fn overlays_as_flink_does() {
        let cases = [
            (5, None, "abcdXY"),
            (9, None, "abcdef"),
            (2, Some(0), "aXY"),
            (2, Some(4), "aXYf"),
            (2, Some(5), "aXY"),
            (2, Some(-1), "aXY"),
            (1, None, "XYcdef"),
        ];
        for (from, count, expected) in cases {
            let mut args = vec![lit("abcdef"), lit("XY"), num(from)];
            args.extend(count.map(num));
            check(FUNCTIONS, "OVERLAY", args, expected, "VARCHAR(8) NOT NULL");
        }
    }

    #[test]
    fn pads_and_repeats() {
        let s = "STRING NOT NULL";
        check(FUNCTIONS, "LPAD", vec![lit("12"), num(7), lit("*-")], "*-*-*12", s);
        check(FUNCTIONS, "RPAD", vec![lit("12"), num(7), lit("*-")], "12*-*-*", s);
        check(FUNCTIONS, "LPAD", vec![lit("☃ snow ☃"), num(7), lit("x")], "☃ snow ", s);
        check(FUNCTIONS, "LPAD", vec![lit("a"), num(0), lit("x")], "", s);
        check(FUNCTIONS, "LPAD", vec![lit("a"), num(-1), lit("x")], "NULL", s);
        check(FUNCTIONS, "LPAD", vec![lit("a"), num(3), lit("")], "NULL", s);
        check(FUNCTIONS, "REPEAT", vec![lit("ab"), num(2)], "abab", s);
        check(FUNCTIONS, "REPEAT", vec![lit("ab"), num(-2)], "", s);
        assert_eq!(code(FUNCTIONS, "REPEAT", vec![lit("ab"), num(2_000_000_000)]), "value_too_long");
    }
}
