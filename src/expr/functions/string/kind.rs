//! What a text consists of; false for null and for an empty text.

use super::super::arguments::{Want, function, nullable_bool_rows, signature};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::function::{Function, Kernel};
use crate::types::{DataType, TypeKind};

pub(super) const IS_ALPHA: Function = function(
    "IS_ALPHA",
    |a| verdict(a, "IS_ALPHA(string)"),
    |_| Ok(test(|text| text.chars().all(char::is_alphabetic))),
);
pub(super) const IS_DIGIT: Function = function(
    "IS_DIGIT",
    |a| verdict(a, "IS_DIGIT(string)"),
    |_| Ok(test(|text| text.bytes().all(|b| b.is_ascii_digit()))),
);
/// Whether Java's `Double.parseDouble` would read it.
pub(super) const IS_DECIMAL: Function = function(
    "IS_DECIMAL",
    |a| verdict(a, "IS_DECIMAL(string)"),
    |_| {
        Ok(test(|text| {
            let text = text.trim_matches(|c| c <= ' ');
            let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
            match unsigned {
                "NaN" | "Infinity" => true,
                number => {
                    number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
                        && number.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(number).parse::<f64>().is_ok()
                }
            }
        }))
    },
);

fn verdict(args: &[Expr], usage: &str) -> Result<DataType> {
    signature(args, usage, &[Want::Text], &[]).map(|_| DataType::not_null(TypeKind::Boolean))
}

fn test(f: fn(&str) -> bool) -> Kernel {
    nullable_bool_rows(move |row| Ok(Some(row.text(0).is_some_and(|text| !text.is_empty() && f(text)))))
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{check, lit, null};
    use super::super::FUNCTIONS;

    #[test]
    fn judges_texts() {
        let cases = [
            ("IS_ALPHA", "ß", "true"),
            ("IS_ALPHA", "a1", "false"),
            ("IS_ALPHA", "", "false"),
            ("IS_DIGIT", "12", "true"),
            ("IS_DIGIT", "1.2", "false"),
            ("IS_DECIMAL", "-3.75", "true"),
            ("IS_DECIMAL", "1e3", "true"),
            ("IS_DECIMAL", "NaN", "true"),
            ("IS_DECIMAL", "inf", "false"),
            ("IS_DECIMAL", "abc", "false"),
        ];
        for (name, text, expected) in cases {
            check(FUNCTIONS, name, vec![lit(text)], expected, "BOOLEAN NOT NULL");
            check(FUNCTIONS, name, vec![null()], "false", "BOOLEAN NOT NULL");
        }
    }
}
