//! Functions from text to text or to a verdict: `JSON`, `JSON_QUOTE`, `JSON_UNQUOTE`, `IS_JSON`.

use std::fmt::Write;

use arrow::array::StringBuilder;

use super::super::arguments::{
    Want, function, literal_text, nullable_bool_rows, put, put_char, refuse, signature, string, text_rows,
};
use super::value::Json as Value;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function};
use crate::types::{DataType, TypeKind};

/// A text as a JSON value, for embedding in `JSON_OBJECT` and `JSON_ARRAY`; null for a blank text.
pub(super) const JSON: Function = function(
    "JSON",
    |a| signature(a, "JSON(string)", &[Want::Text], &[]).map(|_| string(true)),
    |_| {
        Ok(text_rows(|row, out| {
            let text = row.str(0).trim_matches(|c| c <= ' ');
            if text.is_empty() {
                return Ok(false);
            }
            let value = Value::parse(text).ok_or_else(|| {
                Error::invalid("invalid_json", "JSON: the text is not JSON; test it with IS JSON first")
            })?;
            value.write(out);
            Ok(true)
        }))
    },
);
/// A JSON string literal in ASCII: Flink escapes `/` and everything beyond ASCII, but no other control characters.
pub(super) const JSON_QUOTE: Function = function(
    "JSON_QUOTE",
    |a| signature(a, "JSON_QUOTE(string)", &[Want::Text], &[]).map(string),
    |_| {
        Ok(text_rows(|row, out| {
            put_quoted(row.str(0), out);
            Ok(true)
        }))
    },
);
/// The text of a JSON string literal; anything else stays as it is.
pub(super) const JSON_UNQUOTE: Function = function(
    "JSON_UNQUOTE",
    |a| signature(a, "JSON_UNQUOTE(string)", &[Want::Text], &[]).map(string),
    |_| {
        Ok(text_rows(|row, out| {
            let text = row.str(0);
            match Value::parse(text) {
                Some(Value::String(value)) if text.starts_with('"') && text.ends_with('"') => put(out, &value),
                _ => put(out, text),
            }
            Ok(true)
        }))
    },
);
pub(super) const IS_JSON: Function = function(
    "IS_JSON",
    |a| is_json_type(a),
    |call| {
        let kind = kind(call)?;
        Ok(nullable_bool_rows(move |row| {
            let value = row.text(0).and_then(Value::parse);
            Ok(Some(value.is_some_and(|value| match kind {
                Kind::Value => true,
                Kind::Scalar => value.is_scalar(),
                Kind::Array => matches!(value, Value::Array(_)),
                Kind::Object => matches!(value, Value::Object(_)),
            })))
        }))
    },
);

#[derive(Clone, Copy)]
enum Kind {
    Value,
    Scalar,
    Array,
    Object,
}

const IS_JSON_USAGE: &str = "string IS JSON [VALUE | SCALAR | ARRAY | OBJECT]";

fn kind(call: &Call<'_>) -> Result<Kind> {
    Ok(match call.args.get(1).map(literal_text) {
        None | Some(Some("VALUE")) => Kind::Value,
        Some(Some("SCALAR")) => Kind::Scalar,
        Some(Some("ARRAY")) => Kind::Array,
        Some(Some("OBJECT")) => Kind::Object,
        _ => return Err(refuse(IS_JSON_USAGE, call.args)),
    })
}

fn is_json_type(args: &[Expr]) -> Result<DataType> {
    signature(args, IS_JSON_USAGE, &[Want::Text], &[Want::Text])?;
    match args.get(1).map(literal_text) {
        None | Some(Some("VALUE" | "SCALAR" | "ARRAY" | "OBJECT")) => Ok(DataType::not_null(TypeKind::Boolean)),
        _ => Err(refuse(IS_JSON_USAGE, args)),
    }
}

fn put_quoted(text: &str, out: &mut StringBuilder) {
    put(out, "\"");
    for c in text.chars() {
        match c {
            '"' => put(out, "\\\""),
            '\\' => put(out, "\\\\"),
            '/' => put(out, "\\/"),
            '\u{8}' => put(out, "\\b"),
            '\u{C}' => put(out, "\\f"),
            '\n' => put(out, "\\n"),
            '\r' => put(out, "\\r"),
            '\t' => put(out, "\\t"),
            c if c.is_ascii() => put_char(out, c),
            c => {
                let mut units = [0; 2];
                // Flink writes the code point and then, beyond the basic plane, the second unit as well.
                let low = c.encode_utf16(&mut units).get(1).copied();
                write!(out, "\\u{:04x}", u32::from(c)).expect("a string builder accepts every write");
                if let Some(low) = low {
                    write!(out, "\\u{low:04x}").expect("a string builder accepts every write");
                }
            }
        }
    }
    put(out, "\"");
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{check, code, lit, null};
    use super::super::FUNCTIONS;

    #[test]
    fn judges_json() {
        let cases = [
            ("{\"a\":1}", "OBJECT", "true"),
            ("{\"a\":1}", "VALUE", "true"),
            ("[1]", "ARRAY", "true"),
            ("[1]", "SCALAR", "false"),
            ("1", "SCALAR", "true"),
            ("null", "SCALAR", "true"),
            ("", "VALUE", "false"),
            ("not json", "VALUE", "false"),
        ];
        for (text, kind, expected) in cases {
            check(FUNCTIONS, "IS_JSON", vec![lit(text), lit(kind)], expected, "BOOLEAN NOT NULL");
        }
        check(FUNCTIONS, "IS_JSON", vec![lit("1 2")], "true", "BOOLEAN NOT NULL");
        check(FUNCTIONS, "IS_JSON", vec![null()], "false", "BOOLEAN NOT NULL");
        assert_eq!(code(FUNCTIONS, "IS_JSON", vec![lit("1"), lit("NUMBER")]), "invalid_argument");
    }

    #[test]
    fn quotes_and_unquotes() {
        let s = "STRING NOT NULL";
        check(FUNCTIONS, "JSON_QUOTE", vec![lit("é\"\\/☃\u{1}\t")], "\"\\u00e9\\\"\\\\\\/\\u2603\u{1}\\t\"", s);
        for (text, expected) in [
            ("\"a\\u0041\\n\"", "aA\n"),
            ("\"abc", "\"abc"),
            ("\"\\x\"", "\"\\x\""),
            ("\"\"", ""),
            ("[1, 2]", "[1, 2]"),
        ] {
            check(FUNCTIONS, "JSON_UNQUOTE", vec![lit(text)], expected, s);
        }
        check(FUNCTIONS, "JSON_QUOTE", vec![null()], "NULL", "STRING");
        check(FUNCTIONS, "JSON", vec![lit(" {\"b\": 1, \"a\": 2} ")], "{\"a\":2,\"b\":1}", "STRING");
        check(FUNCTIONS, "JSON", vec![lit(" ")], "NULL", "STRING");
        assert_eq!(code(FUNCTIONS, "JSON", vec![lit("{")]), "invalid_json");
    }
}
