//! Functions of single characters: case, length, order, code.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType as ArrowType;

use super::super::arguments::{Want, function, int_rows, put_char, signature, string, text_rows};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

pub(super) const UPPER: Function = function(
    "UPPER",
    |a| same_type(a, "UPPER(string)"),
    |_| Ok(case_kernel(<[u8]>::make_ascii_uppercase, str::to_uppercase)),
);
pub(super) const LOWER: Function = function(
    "LOWER",
    |a| same_type(a, "LOWER(string)"),
    |_| Ok(case_kernel(<[u8]>::make_ascii_lowercase, str::to_lowercase)),
);
pub(super) const INITCAP: Function = function(
    "INITCAP",
    |a| same_type(a, "INITCAP(string)"),
    |_| {
        Ok(text_rows(|row, out| {
            put_initcap(row.str(0), out);
            Ok(true)
        }))
    },
);
pub(super) const CHAR_LENGTH: Function =
    function("CHAR_LENGTH", |a| int_type(a, "CHAR_LENGTH(string)"), |_| Ok(length_kernel()));
pub(super) const CHARACTER_LENGTH: Function =
    function("CHARACTER_LENGTH", |a| int_type(a, "CHARACTER_LENGTH(string)"), |_| Ok(length_kernel()));
pub(super) const REVERSE: Function = function(
    "REVERSE",
    |a| signature(a, "REVERSE(string)", &[Want::Text], &[]).map(|_| string(true)),
    |_| {
        Ok(text_rows(|row, out| {
            for c in row.str(0).chars().rev() {
                put_char(out, c);
            }
            Ok(true)
        }))
    },
);
/// The first byte of the UTF-8 form, signed, as Flink has it.
pub(super) const ASCII: Function = function(
    "ASCII",
    |a| int_type(a, "ASCII(string)"),
    |_| Ok(int_rows(|row| Ok(Some(row.str(0).as_bytes().first().map_or(0, |b| i32::from(i8::from_ne_bytes([*b]))))))),
);
/// The Latin-1 character of the lowest byte; empty for a negative number.
pub(super) const CHR: Function = function(
    "CHR",
    |a| signature(a, "CHR(integer)", &[Want::Int], &[]).map(|_| string(true)),
    |_| {
        Ok(text_rows(|row, out| {
            if let Some(code @ 0..) = row.int(0) {
                put_char(out, char::from(code.to_le_bytes()[0]));
            }
            Ok(true)
        }))
    },
);

fn same_type(args: &[Expr], usage: &str) -> Result<DataType> {
    let nullable = signature(args, usage, &[Want::Text], &[])?;
    match args[0].data_type() {
        t if t.kind == TypeKind::Null => Ok(string(true)),
        t => Ok(t.with_nullable(nullable)),
    }
}

fn int_type(args: &[Expr], usage: &str) -> Result<DataType> {
    Ok(DataType { kind: TypeKind::Int, nullable: signature(args, usage, &[Want::Text], &[])? })
}

/// Maps a whole array at once where it is ASCII: the offsets and nulls stay.
fn case_kernel(ascii: fn(&mut [u8]), unicode: fn(&str) -> String) -> Kernel {
    let map = move |array: &ArrayRef| -> Result<ArrayRef> {
        if *array.data_type() == ArrowType::Null {
            return Ok(arrow::array::new_null_array(&ArrowType::Utf8, array.len()));
        }
        let texts = array.as_string::<i32>();
        if texts.value_data().is_ascii() {
            let mut bytes = texts.value_data().to_vec();
            ascii(&mut bytes);
            let mapped =
                StringArray::try_new(texts.offsets().clone(), Buffer::from_vec(bytes), texts.nulls().cloned())?;
            return Ok(Arc::new(mapped));
        }
        let mut out = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        for text in texts {
            match text {
                Some(text) => out.append_value(unicode(text)),
                None => out.append_null(),
            }
        }
        Ok(Arc::new(out.finish()))
    };
    Box::new(move |values, _| match values {
        [Value::Array(array)] => Ok(Value::Array(map(array)?)),
        [Value::Scalar(array)] => Ok(Value::Scalar(map(array)?)),
        _ => Err(Error::internal("a case function takes one argument")),
    })
}

fn length_kernel() -> Kernel {
    // Of the UTF-8 bytes, those that do not continue a character are counted; Flink's lengths are INT too.
    int_rows(|row| {
        let text = row.str(0);
        let count = if text.is_ascii() { text.len() } else { text.chars().count() };
        Ok(Some(i32::try_from(count).unwrap_or(i32::MAX)))
    })
}

/// Calcite's rule: a word is a run of ASCII letters and digits; everything else separates and stays as it is.
fn put_initcap(text: &str, out: &mut StringBuilder) {
    let mut start = true;
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            put_char(out, if start { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
            start = false;
        } else {
            put_char(out, c);
            start = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{check, code, lit, null, num};
    use super::super::FUNCTIONS;

    #[test]
    fn case_follows_unicode_and_keeps_the_type() {
        let cases = [
            ("UPPER", "Hello", "HELLO"),
            ("UPPER", "ß", "SS"),
            ("UPPER", "naïve café", "NAÏVE CAFÉ"),
            ("LOWER", "ＦＵＬＬ", "ｆｕｌｌ"),
            ("INITCAP", "naïve café", "NaïVe Café"),
            ("INITCAP", "https://user@x.COM/1ab", "Https://User@X.Com/1ab"),
        ];
        for (name, input, expected) in cases {
            let n = input.chars().count();
            check(FUNCTIONS, name, vec![lit(input)], expected, &format!("CHAR({n}) NOT NULL"));
        }
        check(FUNCTIONS, "UPPER", vec![null()], "NULL", "STRING");
        assert_eq!(code(FUNCTIONS, "UPPER", vec![num(1)]), "invalid_argument");
        assert_eq!(code(FUNCTIONS, "UPPER", vec![]), "invalid_argument");
    }

    #[test]
    fn codes_and_lengths() {
        check(FUNCTIONS, "CHAR_LENGTH", vec![lit("☃ snow ☃")], "8", "INT NOT NULL");
        check(FUNCTIONS, "CHARACTER_LENGTH", vec![lit("")], "0", "INT NOT NULL");
        check(FUNCTIONS, "REVERSE", vec![lit("naïve")], "evïan", "STRING");
        check(FUNCTIONS, "ASCII", vec![lit("é")], "-61", "INT NOT NULL");
        check(FUNCTIONS, "ASCII", vec![lit("")], "0", "INT NOT NULL");
        check(FUNCTIONS, "CHR", vec![num(256 + 65)], "A", "STRING");
        check(FUNCTIONS, "CHR", vec![num(200)], "È", "STRING");
        check(FUNCTIONS, "CHR", vec![num(-1)], "", "STRING");
        check(FUNCTIONS, "CHR", vec![num(0)], "\0", "STRING");
    }
}
