//! The `REGEXP…` functions.
//!
//! A literal pattern is compiled when the kernel is prepared, and one that does not compile is refused when the call is
//! bound. A computed pattern is compiled when it changes; a broken one gives null (false for `REGEXP`), as in Flink,
//! and one that Java could run but this engine cannot is an error.

use std::sync::Arc;

use arrow::array::{BooleanBuilder, Int32Builder, StringBuilder};

use super::super::arguments::{
    Arguments, Row, Want, function, literal_text, put, signature, string, text_list_builder,
};
use super::pattern::{BadPattern, Pattern};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel};
use crate::types::{DataType, TypeKind};

pub(super) const REGEXP: Function = function(
    "REGEXP",
    |a| {
        let nullable = pattern_call(a, "REGEXP(string, regular expression)", &TWO, &[])?;
        Ok(DataType { kind: TypeKind::Boolean, nullable })
    },
    |call| {
        let literal = literal_pattern(call)?;
        Ok(Box::new(move |values, rows| {
            let arguments = Arguments::new(values, rows)?;
            let mut patterns = Patterns::new(&literal);
            let mut out = BooleanBuilder::with_capacity(arguments.rows());
            for i in 0..arguments.rows() {
                let row = arguments.row(i);
                out.append_option(match () {
                    () if row.any_null() => None,
                    // Flink: an empty pattern matches nothing.
                    () if row.str(1).is_empty() => Some(false),
                    () => Some(patterns.of(row)?.is_some_and(|p| p.regex().is_match(row.str(0)))),
                });
            }
            Ok(arguments.answer(Arc::new(out.finish())))
        }))
    },
);
/// The replacement is plain text: `$1` is not a reference.
pub(super) const REGEXP_REPLACE: Function = function(
    "REGEXP_REPLACE",
    |a| pattern_call(a, "REGEXP_REPLACE(string, regular expression, replacement)", &THREE, &[]).map(string),
    |call| {
        text_kernel(call, |row, pattern, _, out| {
            let (text, by) = (row.str(0), row.str(2));
            let mut done = 0;
            pattern.each_match(text, |start, end| {
                put(out, &text[done..start]);
                put(out, by);
                done = end;
            });
            put(out, &text[done..]);
            true
        })
    },
);
pub(super) const REGEXP_EXTRACT: Function = function(
    "REGEXP_EXTRACT",
    |a| {
        pattern_call(a, "REGEXP_EXTRACT(string, regular expression [, group])", &TWO, &[Want::Int])
            .map(|_| string(true))
    },
    |call| {
        text_kernel(call, |row, pattern, locations, out| {
            let text = row.str(0);
            let group = if row.len() > 2 { row.int(2).unwrap_or(-1) } else { 0 };
            let bounds = match usize::try_from(group) {
                Ok(0) => pattern.regex().find(text).map(|m| (m.start(), m.end())),
                Ok(group) if group <= pattern.groups() => {
                    pattern.regex().captures_read(locations, text).and_then(|_| locations.get(group))
                }
                _ => None,
            };
            bounds.inspect(|(start, end)| put(out, &text[*start..*end])).is_some()
        })
    },
);
pub(super) const REGEXP_SUBSTR: Function = function(
    "REGEXP_SUBSTR",
    |a| pattern_call(a, "REGEXP_SUBSTR(string, regular expression)", &TWO, &[]).map(|_| string(true)),
    |call| {
        text_kernel(call, |row, pattern, _, out| {
            pattern.regex().find(row.str(0)).inspect(|m| put(out, m.as_str())).is_some()
        })
    },
);
pub(super) const REGEXP_COUNT: Function = function(
    "REGEXP_COUNT",
    |a| int_type(a, "REGEXP_COUNT(string, regular expression)"),
    |call| {
        int_kernel(call, |text, pattern| {
            let mut count = 0_usize;
            pattern.each_match(text, |_, _| count += 1);
            count
        })
    },
);
pub(super) const REGEXP_INSTR: Function = function(
    "REGEXP_INSTR",
    |a| int_type(a, "REGEXP_INSTR(string, regular expression)"),
    |call| {
        int_kernel(call, |text, pattern| {
            pattern.regex().find(text).map_or(0, |m| text[..m.start()].chars().count() + 1)
        })
    },
);
/// All matches of a group, of the first if none is given.
pub(super) const REGEXP_EXTRACT_ALL: Function = function(
    "REGEXP_EXTRACT_ALL",
    |a| {
        pattern_call(a, "REGEXP_EXTRACT_ALL(string, regular expression [, group])", &TWO, &[Want::Int])?;
        Ok(DataType::nullable(TypeKind::Array(Box::new(DataType::string()))))
    },
    prepare_extract_all,
);

const TWO: [Want; 2] = [Want::Text; 2];
const THREE: [Want; 3] = [Want::Text; 3];

fn pattern_call(args: &[Expr], usage: &str, required: &[Want], optional: &[Want]) -> Result<bool> {
    let nullable = signature(args, usage, required, optional)?;
    if let Some(java) = args.get(1).and_then(literal_text) {
        Pattern::new(java)?;
    }
    Ok(nullable)
}

fn int_type(args: &[Expr], usage: &str) -> Result<DataType> {
    pattern_call(args, usage, &TWO, &[])?;
    Ok(DataType::nullable(TypeKind::Int))
}

fn literal_pattern(call: &Call<'_>) -> Result<Option<Pattern>> {
    call.args.get(1).and_then(literal_text).map(Pattern::new).transpose()
}

/// The pattern of each row: the literal, or the last computed one.
struct Patterns<'a> {
    literal: Option<&'a Pattern>,
    computed: Option<(String, Option<Pattern>)>,
}

impl<'a> Patterns<'a> {
    fn new(literal: &'a Option<Pattern>) -> Self {
        Patterns { literal: literal.as_ref(), computed: None }
    }
    /// None if the pattern is broken.
    fn of(&mut self, row: Row<'_>) -> Result<Option<&Pattern>> {
        if let Some(literal) = self.literal {
            return Ok(Some(literal));
        }
        let java = row.str(1);
        if self.computed.as_ref().is_none_or(|(text, _)| text != java) {
            let pattern = match Pattern::compile(java) {
                Ok(pattern) => Some(pattern),
                Err(BadPattern::Broken(_)) => None,
                Err(unsupported) => return Err(unsupported.into_error(java)),
            };
            self.computed = Some((java.to_owned(), pattern));
        }
        Ok(self.computed.as_ref().and_then(|(_, pattern)| pattern.as_ref()))
    }
}

fn text_kernel<F>(call: &Call<'_>, f: F) -> Result<Kernel>
where
    F: Fn(Row<'_>, &Pattern, &mut regex::CaptureLocations, &mut StringBuilder) -> bool + Send + Sync + 'static,
{
    let literal = literal_pattern(call)?;
    Ok(Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut patterns = Patterns::new(&literal);
        let mut locations = literal.as_ref().map(|p| p.regex().capture_locations());
        let mut out = StringBuilder::with_capacity(arguments.rows(), arguments.rows() * 16);
        for i in 0..arguments.rows() {
            let row = arguments.row(i);
            let found = match if row.any_null() { None } else { patterns.of(row)? } {
                None => false,
                Some(pattern) => match &mut locations {
                    Some(locations) => f(row, pattern, locations, &mut out),
                    None => f(row, pattern, &mut pattern.regex().capture_locations(), &mut out),
                },
            };
            if found {
                out.append_value("");
            } else {
                out.append_null();
            }
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    }))
}

fn int_kernel(call: &Call<'_>, f: fn(&str, &Pattern) -> usize) -> Result<Kernel> {
    let literal = literal_pattern(call)?;
    Ok(Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut patterns = Patterns::new(&literal);
        let mut out = Int32Builder::with_capacity(arguments.rows());
        for i in 0..arguments.rows() {
            let row = arguments.row(i);
            let pattern = if row.any_null() { None } else { patterns.of(row)? };
            out.append_option(pattern.map(|p| i32::try_from(f(row.str(0), p)).unwrap_or(i32::MAX)));
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    }))
}

fn prepare_extract_all(call: &Call<'_>) -> Result<Kernel> {
    let literal = literal_pattern(call)?;
    Ok(Box::new(move |values, rows| {
        let arguments = Arguments::new(values, rows)?;
        let mut patterns = Patterns::new(&literal);
        let mut out = text_list_builder(arguments.rows());
        for i in 0..arguments.rows() {
            let row = arguments.row(i);
            let pattern = if row.any_null() { None } else { patterns.of(row)? };
            let group = if row.len() > 2 { row.int(2).unwrap_or(-1) } else { 1 };
            let found = match (pattern, usize::try_from(group)) {
                (Some(pattern), Ok(group)) if group <= pattern.groups() => {
                    let text = row.str(0);
                    let mut locations = pattern.regex().capture_locations();
                    let items = out.values();
                    pattern.each_group(text, group, &mut locations, |bounds| {
                        items.append_option(bounds.map(|(start, end)| &text[start..end]));
                    });
                    true
                }
                _ => false,
            };
            out.append(found);
        }
        Ok(arguments.answer(Arc::new(out.finish())))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{check, code, lit, null, num};
    use super::super::FUNCTIONS;

    #[test]
    fn extracts_groups() {
        let cases = [
            ("Hello World", "([a-z]+)([0-9]*)", Some(1), "ello"),
            ("1e3", "([a-z]+)([0-9]*)", Some(2), "3"),
            ("12", "([a-z]+)([0-9]*)", Some(1), "NULL"),
            ("https://h/?a=1&channel_id=apple", "(&|^)channel_id=([^&]*)", Some(2), "apple"),
            ("Hello", "l+", None, "ll"),
            ("Hello", "l+", Some(3), "NULL"),
            ("Hello", "l+", Some(-1), "NULL"),
            ("ab", "(x)?b", Some(1), "NULL"),
        ];
        for (text, java, group, expected) in cases {
            let mut args = vec![lit(text), lit(java)];
            args.extend(group.map(num));
            check(FUNCTIONS, "REGEXP_EXTRACT", args, expected, "STRING");
        }
        let list = "ARRAY<STRING>";
        let pairs = "([a-z])([a-z])";
        check(FUNCTIONS, "REGEXP_EXTRACT_ALL", vec![lit("Hello World"), lit(pairs)], "[e, l, o, l]", list);
        check(FUNCTIONS, "REGEXP_EXTRACT_ALL", vec![lit("Hello World"), lit(pairs), num(2)], "[l, o, r, d]", list);
        check(FUNCTIONS, "REGEXP_EXTRACT_ALL", vec![lit("123"), lit(pairs)], "[]", list);
        check(FUNCTIONS, "REGEXP_EXTRACT_ALL", vec![lit("a"), lit("a")], "NULL", list);
        check(FUNCTIONS, "REGEXP_EXTRACT_ALL", vec![lit("ab b"), lit("(a)?b"), num(1)], "[a, NULL]", list);
    }

    #[test]
    fn replaces_counts_and_finds() {
        let s = "STRING NOT NULL";
        check(FUNCTIONS, "REGEXP_REPLACE", vec![lit("foobar"), lit("oo|ar"), lit("")], "fb", s);
        check(FUNCTIONS, "REGEXP_REPLACE", vec![lit("ab1"), lit("([a-z])"), lit("$1")], "$1$11", s);
        check(FUNCTIONS, "REGEXP_REPLACE", vec![lit("abc"), lit(""), lit("-")], "-a-b-c-", s);
        check(FUNCTIONS, "REGEXP_REPLACE", vec![lit("baac"), lit("a*"), lit("-")], "-b--c-", s);
        check(FUNCTIONS, "REGEXP_REPLACE", vec![null(), lit("a*"), lit("-")], "NULL", "STRING");
        check(FUNCTIONS, "REGEXP_COUNT", vec![lit("Hello World"), lit("l")], "3", "INT");
        check(FUNCTIONS, "REGEXP_COUNT", vec![lit("Hello World"), lit("")], "12", "INT");
        check(FUNCTIONS, "REGEXP_INSTR", vec![lit("é Hello"), lit("l+")], "5", "INT");
        check(FUNCTIONS, "REGEXP_INSTR", vec![lit("a"), lit("b")], "0", "INT");
        check(FUNCTIONS, "REGEXP_SUBSTR", vec![lit("Hello"), lit("l+.")], "llo", "STRING");
        check(FUNCTIONS, "REGEXP_SUBSTR", vec![lit("Hello"), lit("z")], "NULL", "STRING");
        check(FUNCTIONS, "REGEXP", vec![lit("Hello"), lit("^[A-Z]")], "true", "BOOLEAN NOT NULL");
        check(FUNCTIONS, "REGEXP", vec![lit("Hello"), lit("")], "false", "BOOLEAN NOT NULL");
        check(FUNCTIONS, "REGEXP", vec![null(), lit("a")], "NULL", "BOOLEAN");
    }

    #[test]
    fn refuses_literal_patterns_that_cannot_run() {
        for java in ["(?<=l)o", "(a)\\1", "["] {
            assert_eq!(code(FUNCTIONS, "REGEXP", vec![lit("a"), lit(java)]), "invalid_argument", "{java}");
        }
    }
}
