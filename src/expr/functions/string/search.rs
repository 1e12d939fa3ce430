//! Functions that find and replace.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::StringBuilder;

use super::super::arguments::{
    Arguments, Want, bool_rows, function, int_rows, nullable, put, put_char, refuse, signature, string, text_rows,
};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Function, Kernel};
use crate::types::{DataType, TypeKind};

pub(super) const POSITION: Function = function(
    "POSITION",
    |a| int_type(a, "POSITION(string IN string)", &[Want::Text, Want::Text], &[]),
    |_| Ok(int_rows(|row| Ok(Some(index_to_int(find_from(row.str(1), row.str(0), 0)))))),
);
pub(super) const LOCATE: Function = function(
    "LOCATE",
    |a| int_type(a, "LOCATE(string, string [, integer])", &[Want::Text, Want::Text], &[Want::Int]),
    |_| {
        Ok(int_rows(|row| {
            let from = usize::try_from(row.int(2).unwrap_or(1).saturating_sub(1)).unwrap_or(0);
            Ok(Some(index_to_int(find_from(row.str(1), row.str(0), from))))
        }))
    },
);
pub(super) const INSTR: Function = function(
    "INSTR",
    |a| {
        let usage = "INSTR(string, string [, integer [, integer]])";
        int_type(a, usage, &[Want::Text, Want::Text], &[Want::Int, Want::Int])
    },
    |_| Ok(int_rows(|row| instr(row.str(0), row.str(1), row.int(2).unwrap_or(1), row.int(3).unwrap_or(1)).map(Some))),
);
pub(super) const REPLACE: Function = function(
    "REPLACE",
    |a| signature(a, "REPLACE(string, string, string)", &[Want::Text; 3], &[]).map(string),
    |_| {
        Ok(text_rows(|row, out| {
            put_replaced(row.str(0), row.str(1), row.str(2), out);
            Ok(true)
        }))
    },
);
pub(super) const TRANSLATE: Function = function(
    "TRANSLATE",
    |a| signature(a, "TRANSLATE(string, string, string)", &[Want::Text; 3], &[]).map(string),
    |_| Ok(translate_kernel()),
);
pub(super) const STARTSWITH: Function = function(
    "STARTSWITH",
    |a| affix_type(a, "STARTSWITH(value, start), both strings or both bytes"),
    |_| Ok(bool_rows(|row| Ok(row.bytes(0).zip(row.bytes(1)).map(|(value, part)| value.starts_with(part))))),
);
pub(super) const ENDSWITH: Function = function(
    "ENDSWITH",
    |a| affix_type(a, "ENDSWITH(value, end), both strings or both bytes"),
    |_| Ok(bool_rows(|row| Ok(row.bytes(0).zip(row.bytes(1)).map(|(value, part)| value.ends_with(part))))),
);

fn int_type(args: &[Expr], usage: &str, required: &[Want], optional: &[Want]) -> Result<DataType> {
    Ok(DataType { kind: TypeKind::Int, nullable: signature(args, usage, required, optional)? })
}

fn affix_type(args: &[Expr], usage: &str) -> Result<DataType> {
    let [value, part] = args else { return Err(refuse(usage, args)) };
    let (value, part) = (&value.data_type().kind, &part.data_type().kind);
    let same = value.is_string() && part.is_string() || value.is_binary() && part.is_binary();
    if same || *value == TypeKind::Null || *part == TypeKind::Null {
        Ok(DataType { kind: TypeKind::Boolean, nullable: nullable(args) })
    } else {
        Err(refuse(usage, args))
    }
}

/// The character index of the first `part` at or after character `from`; an empty part is always found at 0.
fn find_from(text: &str, part: &str, from: usize) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    if text.is_ascii() {
        return text.get(from..)?.find(part).map(|i| from + i);
    }
    let start = text.char_indices().nth(from)?.0;
    let found = start + text[start..].find(part)?;
    Some(text[..found].chars().count())
}

/// SQL's position of an index: from 1, 0 for none.
fn index_to_int(index: Option<usize>) -> i32 {
    index.map_or(0, |i| i32::try_from(i).map_or(i32::MAX, |i| i.saturating_add(1)))
}

fn instr(text: &str, part: &str, from: i64, nth: i64) -> Result<i32> {
    if nth <= 0 {
        return Err(Error::invalid("invalid_argument", "INSTR: the occurrence to find must be positive"));
    }
    if from == 0 {
        return Ok(0);
    }
    if from < 0 {
        let reverse = |s: &str| s.chars().rev().collect::<String>();
        let found = instr(&reverse(text), &reverse(part), from.saturating_neg(), nth)?;
        let count = |s: &str| i32::try_from(s.chars().count()).unwrap_or(i32::MAX);
        return Ok(if found == 0 { 0 } else { count(text) + 2 - found - count(part) });
    }
    let mut start = usize::try_from(from - 1).unwrap_or(usize::MAX);
    let mut found = 0;
    for _ in 0..nth {
        match find_from(text, part, start) {
            Some(index) => found = index,
            None => return Ok(0),
        }
        if part.is_empty() {
            break;
        }
        start = found + 1;
    }
    Ok(index_to_int(Some(found)))
}

/// Java's `String.replace`: an empty `from` matches around every character.
fn put_replaced(text: &str, from: &str, to: &str, out: &mut StringBuilder) {
    let mut done = 0;
    for (at, part) in text.match_indices(from) {
        put(out, &text[done..at]);
        put(out, to);
        done = at + part.len();
    }
    put(out, &text[done..]);
}

/// A null or empty `from` changes nothing; a null `to` is empty; characters of `from` beyond `to` are dropped; the
/// first occurrence in `from` counts.
fn translate_kernel() -> Kernel {
    Box::new(|values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut out = StringBuilder::with_capacity(arguments.rows(), arguments.rows() * 16);
        let mut pair = (String::new(), String::new());
        let mut table: HashMap<char, Option<char>> = HashMap::new();
        for i in 0..arguments.rows() {
            let row = arguments.row(i);
            let Some(text) = row.text(0) else {
                out.append_null();
                continue;
            };
            let (from, to) = (row.str(1), row.str(2));
            if from.is_empty() {
                out.append_value(text);
                continue;
            }
            if pair.0 != from || pair.1 != to {
                pair = (from.to_owned(), to.to_owned());
                table.clear();
                let mut targets = to.chars();
                for c in from.chars() {
                    let target = targets.next();
                    table.entry(c).or_insert(target);
                }
            }
            for c in text.chars() {
                match table.get(&c) {
                    None => put_char(&mut out, c),
                    Some(Some(target)) => put_char(&mut out, *target),
                    Some(None) => {}
                }
            }
            out.append_value("");
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{bytes, check, code, lit, null, num};
    use super::super::FUNCTIONS;

    #[test]
    fn positions_count_characters_from_one() {
        let int = "INT NOT NULL";
        check(FUNCTIONS, "POSITION", vec![lit("a"), lit("ba")], "2", int);
        check(FUNCTIONS, "POSITION", vec![lit("é"), lit("café")], "4", int);
        check(FUNCTIONS, "POSITION", vec![null(), lit("café")], "NULL", "INT");
        for (from, expected) in [(0, "2"), (-2, "2"), (3, "4"), (7, "0"), (99, "0")] {
            check(FUNCTIONS, "LOCATE", vec![lit("a"), lit("banana"), num(from)], expected, int);
        }
        check(FUNCTIONS, "LOCATE", vec![lit(""), lit("abc"), num(2)], "1", int);
        check(FUNCTIONS, "LOCATE", vec![lit("a"), lit("naïve café"), num(3)], "8", int);
        check(FUNCTIONS, "INSTR", vec![lit("Hello World"), lit("l")], "3", int);
        check(FUNCTIONS, "INSTR", vec![lit("Hello World"), lit("l"), num(-1)], "10", int);
        for (from, nth, expected) in [(1, 2, "4"), (0, 1, "0"), (-1, 2, "4"), (1, 9, "0"), (1, 1, "2")] {
            let part = if from == 1 { "an" } else { "a" };
            check(FUNCTIONS, "INSTR", vec![lit("banana"), lit(part), num(from), num(nth)], expected, int);
        }
        check(FUNCTIONS, "INSTR", vec![lit(""), lit("")], "1", int);
        assert_eq!(code(FUNCTIONS, "INSTR", vec![lit("a"), lit("a"), num(1), num(0)]), "invalid_argument");
    }

    #[test]
    fn replaces_and_translates() {
        let s = "STRING NOT NULL";
        check(FUNCTIONS, "REPLACE", vec![lit("ababab"), lit("abab"), lit("z")], "zab", s);
        check(FUNCTIONS, "REPLACE", vec![lit("abc"), lit(""), lit("-")], "-a-b-c-", s);
        check(FUNCTIONS, "TRANSLATE", vec![lit("naïve café"), lit("abc"), lit("xyz")], "nxïve zxfé", s);
        check(FUNCTIONS, "TRANSLATE", vec![lit("Hello"), lit("lo"), lit("0")], "He00", s);
        check(FUNCTIONS, "TRANSLATE", vec![lit("abca"), lit("aba"), lit("xyz")], "xycx", s);
        check(FUNCTIONS, "TRANSLATE", vec![lit("abc"), lit(""), lit("x")], "abc", s);
        check(FUNCTIONS, "TRANSLATE", vec![lit("abc"), lit("ab"), null()], "c", "STRING");
        check(FUNCTIONS, "TRANSLATE", vec![null(), lit("ab"), lit("x")], "NULL", "STRING");
    }

    #[test]
    fn affixes_of_strings_and_bytes() {
        let b = "BOOLEAN NOT NULL";
        check(FUNCTIONS, "STARTSWITH", vec![lit("hello"), lit("he")], "true", b);
        check(FUNCTIONS, "STARTSWITH", vec![lit(""), lit("")], "true", b);
        check(FUNCTIONS, "ENDSWITH", vec![lit("hello"), lit("he")], "false", b);
        check(FUNCTIONS, "STARTSWITH", vec![bytes(b"ab"), bytes(b"a")], "true", b);
        check(FUNCTIONS, "STARTSWITH", vec![null(), lit("a")], "NULL", "BOOLEAN");
        assert_eq!(code(FUNCTIONS, "STARTSWITH", vec![bytes(b"ab"), lit("a")]), "invalid_argument");
    }
}
