//! Functions that join and split.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, MapBuilder, MapFieldNames, StringBuilder, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType as ArrowType;

use super::super::arguments::{
    Arguments, Want, function, list_rows, literal_text, nullable_text_rows, put, refuse, signature, string, text_rows,
    variadic,
};
use super::pattern::Pattern;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

pub(super) const CONCAT: Function = function(
    "CONCAT",
    |a| variadic(a, "CONCAT(string, …)", &[], Want::Text, 1).map(string),
    |_| {
        Ok(text_rows(|row, out| {
            for k in 0..row.len() {
                put(out, row.str(k));
            }
            Ok(true)
        }))
    },
);
/// Null arguments are left out; only a null separator gives null.
pub(super) const CONCAT_WS: Function = function(
    "CONCAT_WS",
    |a| variadic(a, "CONCAT_WS(separator, string, …)", &[Want::Text], Want::Text, 1).map(string),
    |_| {
        Ok(nullable_text_rows(|row, out| {
            let Some(separator) = row.text(0) else { return Ok(false) };
            let mut first = true;
            for text in (1..row.len()).filter_map(|k| row.text(k)) {
                if !first {
                    put(out, separator);
                }
                first = false;
                put(out, text);
            }
            Ok(true)
        }))
    },
);
pub(super) const SPLIT: Function = function(
    "SPLIT",
    |a| {
        let nullable = signature(a, "SPLIT(string, separator)", &[Want::Text, Want::Text], &[])?;
        Ok(DataType { kind: TypeKind::Array(Box::new(DataType::string())), nullable })
    },
    |_| {
        Ok(list_rows(|row, out| {
            let (text, separator) = (row.str(0), row.str(1));
            if separator.is_empty() {
                let mut buffer = [0; 4];
                text.chars().for_each(|c| out.append_value(c.encode_utf8(&mut buffer)));
            } else if !text.is_empty() {
                text.split(separator).for_each(|part| out.append_value(part));
            }
            Ok(true)
        }))
    },
);
pub(super) const SPLIT_INDEX: Function = function(
    "SPLIT_INDEX",
    |a| split_index_type(a),
    |_| {
        Ok(text_rows(|row, out| {
            let text = row.str(0);
            let Ok(index) = usize::try_from(row.int(2).unwrap_or(-1)) else { return Ok(false) };
            if text.is_empty() {
                return Ok(false);
            }
            let part = match (row.text(1), row.int(1)) {
                // No separator: whitespace, as Commons Lang has it.
                (Some(""), _) => text.split(char::is_whitespace).nth(index),
                (Some(separator), _) => nth_part(text, separator, index),
                (None, Some(code @ 1..=255)) => text.split(char::from(code.to_le_bytes()[0])).nth(index),
                _ => None,
            };
            part.inspect(|part| put(out, part)).map_or(Ok(false), |_| Ok(true))
        }))
    },
);
pub(super) const ELT: Function = function("ELT", |a| elt_type(a), prepare_elt);
pub(super) const STR_TO_MAP: Function = function("STR_TO_MAP", |a| str_to_map_type(a), prepare_str_to_map);

/// A separator of one byte is searched with `memchr`.
fn nth_part<'a>(text: &'a str, separator: &str, index: usize) -> Option<&'a str> {
    if let [byte] = separator.as_bytes() {
        let bytes = text.as_bytes();
        let mut ends = memchr::memchr_iter(*byte, bytes).chain([bytes.len()]);
        let start = match index.checked_sub(1) {
            // `nth` leaves the iterator behind the separator before the part.
            Some(before) => ends.nth(before).filter(|end| *end < bytes.len())? + 1,
            None => 0,
        };
        return ends.next().map(|end| &text[start..end]);
    }
    text.split(separator).nth(index)
}

fn split_index_type(args: &[Expr]) -> Result<DataType> {
    let usage = "SPLIT_INDEX(string, separator, integer)";
    let separator = match args.get(1).map(|a| a.data_type().kind.is_integer()) {
        Some(true) => Want::Int,
        _ => Want::Text,
    };
    signature(args, usage, &[Want::Text, separator, Want::Int], &[]).map(|_| string(true))
}

const ELT_USAGE: &str = "ELT(integer, value, …), values all strings or all bytes";

fn elt_type(args: &[Expr]) -> Result<DataType> {
    let Some(first) = args.get(1) else { return Err(refuse(ELT_USAGE, args)) };
    let rest = if first.data_type().kind.is_binary() { Want::Bytes } else { Want::Text };
    variadic(args, ELT_USAGE, &[Want::Int], rest, 1)?;
    let kinds: Vec<_> = args[1..].iter().map(|a| &a.data_type().kind).collect();
    if kinds.iter().all(|k| *k == kinds[0]) && *kinds[0] != TypeKind::Null {
        return Ok(DataType::nullable(kinds[0].clone()));
    }
    let longest = kinds.iter().filter_map(|k| match k {
        TypeKind::Char(n) | TypeKind::VarChar(n) | TypeKind::Binary(n) | TypeKind::VarBinary(n) => Some(*n),
        _ => None,
    });
    let longest = longest.max().unwrap_or(crate::types::MAX_LENGTH);
    let kind = if rest == Want::Bytes { TypeKind::VarBinary(longest) } else { TypeKind::VarChar(longest) };
    Ok(DataType::nullable(kind))
}

fn prepare_elt(call: &Call<'_>) -> Result<Kernel> {
    let result = call.data_type.to_arrow();
    Ok(Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut choices: Vec<ArrayRef> = vec![new_null_array(&result, 1)];
        let mut strides = vec![0];
        for value in values.iter().skip(1) {
            let (array, stride) = match value {
                Value::Array(array) => (array, 1),
                Value::Scalar(array) => (array, 0),
            };
            let null = *array.data_type() == ArrowType::Null;
            choices.push(if null { new_null_array(&result, array.len()) } else { array.clone() });
            strides.push(stride);
        }
        let picks: Vec<_> = (0..arguments.rows())
            .map(|row| {
                let index = arguments.row(row).int(0).and_then(|i| usize::try_from(i).ok()).unwrap_or(0);
                if index < choices.len() { (index, row * strides[index]) } else { (0, 0) }
            })
            .collect();
        let arrays: Vec<_> = choices.iter().map(|a| a.as_ref()).collect();
        Ok(arguments.answer(interleave(&arrays, &picks)?))
    }))
}

const STR_TO_MAP_USAGE: &str = "STR_TO_MAP(string [, list delimiter, pair delimiter])";

fn str_to_map_type(args: &[Expr]) -> Result<DataType> {
    if args.len() == 2 {
        return Err(refuse(STR_TO_MAP_USAGE, args));
    }
    signature(args, STR_TO_MAP_USAGE, &[Want::Text], &[Want::Text, Want::Text])?;
    for delimiter in args.iter().skip(1).filter_map(literal_text) {
        Pattern::new(delimiter)?;
    }
    Ok(DataType::nullable(TypeKind::Map(Box::new(DataType::string()), Box::new(DataType::string()))))
}

/// Both delimiters are patterns, as in Java's `String.split`; a pair without delimiter has a null value; the last of
/// equal keys counts.
fn prepare_str_to_map(call: &Call<'_>) -> Result<Kernel> {
    let literal = |k: usize, default: &str| match call.args.get(k) {
        None => Delimiter::new(default).map(Some),
        Some(arg) => literal_text(arg).map(Delimiter::new).transpose(),
    };
    let (list, pair) = (literal(1, ",")?, literal(2, "=")?);
    Ok(Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
        let mut out = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for i in 0..arguments.rows() {
            let row = arguments.row(i);
            if row.any_null() {
                out.append(false).map_err(Error::from)?;
                continue;
            }
            let (list_here, pair_here);
            let list = match &list {
                Some(list) => list,
                None => {
                    list_here = Delimiter::new(row.str(1))?;
                    &list_here
                }
            };
            let pair = match &pair {
                Some(pair) => pair,
                None => {
                    pair_here = Delimiter::new(row.str(2))?;
                    &pair_here
                }
            };
            let entries = entries(row.str(0), list, pair);
            for (k, (key, value)) in entries.iter().enumerate() {
                if entries[k + 1..].iter().any(|(later, _)| later == key) {
                    continue;
                }
                out.keys().append_value(key);
                out.values().append_option(*value);
            }
            out.append(true).map_err(Error::from)?;
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    }))
}

enum Delimiter {
    Plain(String),
    Pattern(Pattern),
}

impl Delimiter {
    fn new(text: &str) -> Result<Self> {
        if !text.is_empty() && regex::escape(text) == text {
            return Ok(Delimiter::Plain(text.to_owned()));
        }
        Pattern::new(text).map(Delimiter::Pattern)
    }
    fn split<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut parts: Vec<&str> = match self {
            Delimiter::Plain(by) => text.split(by.as_str()).collect(),
            Delimiter::Pattern(by) => by.regex().split(text).collect(),
        };
        // Java drops empty parts at the end.
        while parts.len() > 1 && parts.last().is_some_and(|p| p.is_empty()) {
            parts.pop();
        }
        parts
    }
    fn split_once<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        match self {
            Delimiter::Plain(by) => text.split_once(by.as_str()),
            Delimiter::Pattern(by) => by.regex().find(text).map(|m| (&text[..m.start()], &text[m.end()..])),
        }
    }
}

fn entries<'a>(text: &'a str, list: &Delimiter, pair: &Delimiter) -> Vec<(&'a str, Option<&'a str>)> {
    if text.is_empty() {
        return Vec::new();
    }
    let entry = |part| pair.split_once(part).map_or((part, None), |(key, value)| (key, Some(value)));
    list.split(text).into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{bytes, check, code, lit, null, num};
    use super::super::FUNCTIONS;

    #[test]
    fn concatenates() {
        let s = "STRING NOT NULL";
        check(FUNCTIONS, "CONCAT", vec![lit("a")], "a", s);
        check(FUNCTIONS, "CONCAT", vec![lit("a"), lit(""), lit("é")], "aé", s);
        check(FUNCTIONS, "CONCAT", vec![lit("a"), null()], "NULL", "STRING");
        check(FUNCTIONS, "CONCAT_WS", vec![lit("-"), null(), lit("a"), lit(""), lit("b")], "a--b", "STRING");
        check(FUNCTIONS, "CONCAT_WS", vec![lit("-"), null()], "", "STRING");
        check(FUNCTIONS, "CONCAT_WS", vec![null(), lit("a")], "NULL", "STRING");
        assert_eq!(code(FUNCTIONS, "CONCAT", vec![num(1), lit("a")]), "invalid_argument");
    }

    #[test]
    fn splits() {
        let list = "ARRAY<STRING> NOT NULL";
        check(FUNCTIONS, "SPLIT", vec![lit("a,b,,c"), lit(",")], "[a, b, , c]", list);
        check(FUNCTIONS, "SPLIT", vec![lit("abc"), lit("bc")], "[a, ]", list);
        check(FUNCTIONS, "SPLIT", vec![lit(""), lit(",")], "[]", list);
        check(FUNCTIONS, "SPLIT", vec![lit("aé"), lit("")], "[a, é]", list);
        let cases = [
            ("a,b,,c", ",", 0, "a"),
            ("a,b,,c", ",", 2, ""),
            ("a,b,,c", ",", 3, "c"),
            ("a,b,,c", ",", 4, "NULL"),
            ("a,b,", ",", 2, ""),
            ("a,b", ",", -1, "NULL"),
            ("a--b", "--", 1, "b"),
            ("a--b", "--", 2, "NULL"),
            ("", ",", 0, "NULL"),
            ("abc", "", 0, "abc"),
            ("https://h/a/b", "/", 3, "a"),
            ("x", ",", 1, "NULL"),
        ];
        for (text, by, index, expected) in cases {
            check(FUNCTIONS, "SPLIT_INDEX", vec![lit(text), lit(by), num(index)], expected, "STRING");
        }
        check(FUNCTIONS, "SPLIT_INDEX", vec![lit("xay"), num(97), num(1)], "y", "STRING");
        check(FUNCTIONS, "SPLIT_INDEX", vec![lit("xay"), num(300), num(1)], "NULL", "STRING");
    }

    #[test]
    fn elt_picks_and_types_like_flink() {
        check(FUNCTIONS, "ELT", vec![num(1), lit("ab"), lit("cde")], "ab", "VARCHAR(3)");
        check(FUNCTIONS, "ELT", vec![num(2), lit("ab"), null()], "NULL", "STRING");
        check(FUNCTIONS, "ELT", vec![num(3), lit("ab"), lit("cd")], "NULL", "CHAR(2)");
        check(FUNCTIONS, "ELT", vec![num(0), bytes(b"a")], "NULL", "BYTES");
        assert_eq!(code(FUNCTIONS, "ELT", vec![num(1), bytes(b"a"), lit("a")]), "invalid_argument");
    }

    #[test]
    fn maps_from_text() {
        let t = "MAP<STRING, STRING>";
        check(FUNCTIONS, "STR_TO_MAP", vec![lit("a=1,b,c=2=3,")], "{a: 1, b: NULL, c: 2=3}", t);
        check(FUNCTIONS, "STR_TO_MAP", vec![lit("")], "{}", t);
        check(FUNCTIONS, "STR_TO_MAP", vec![lit("a=1,a=2")], "{a: 2}", t);
        check(FUNCTIONS, "STR_TO_MAP", vec![lit("a:1||b:2"), lit("\\|\\|"), lit(":")], "{a: 1, b: 2}", t);
        check(FUNCTIONS, "STR_TO_MAP", vec![null()], "NULL", t);
        assert_eq!(code(FUNCTIONS, "STR_TO_MAP", vec![lit("a"), lit(",")]), "invalid_argument");
    }
}
