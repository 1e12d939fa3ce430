//! `LIKE` and `SIMILAR TO`.
//!
//! A literal pattern is compiled once. There is no default escape character. As in Flink, `_` does not match
//! line breaks; `%` matches anything.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, StringArray};
use arrow::buffer::BooleanBuffer;
use memchr::memmem;
use regex::Regex;

use super::{any_nullable, coerce, refuse};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::evaluator::constant;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::expr::vector::{length, string};
use crate::types::{DataType, MAX_LENGTH, TypeKind};

pub(super) static FUNCTIONS: &[Function] = &[
    Function { name: "LIKE", bind: |a| bind("LIKE", a), prepare: |c| prepare(Syntax::Like, c), deterministic: true },
    Function {
        name: "SIMILAR_TO",
        bind: |a| bind("SIMILAR TO", a),
        prepare: |c| prepare(Syntax::Similar, c),
        deterministic: true,
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Like,
    Similar,
}

/// Any text, line breaks included.
const ANYTHING: &str = "(?s:.*)";
/// Any character but Java's line ends.
const ANY: &str = "[^\\n\\r\\u{85}\\u{2028}\\u{2029}]";

fn bind(name: &str, args: &mut Vec<Expr>) -> Result<DataType> {
    if !(2..=3).contains(&args.len()) {
        return refuse(format!("{name} takes a string, a pattern and perhaps an escape character"));
    }
    let nullable = any_nullable(args);
    for arg in args.iter_mut() {
        if arg.data_type().kind == TypeKind::Null {
            coerce(arg, &TypeKind::VarChar(MAX_LENGTH), false)?;
        }
        if !arg.data_type().kind.is_string() {
            return refuse(format!("{name} takes strings, not {}; write CAST(… AS STRING)", arg.data_type().kind));
        }
    }
    Ok(DataType { kind: TypeKind::Boolean, nullable })
}

enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(Box<memmem::Finder<'static>>),
    Everything,
    Regex(Regex),
}

impl Matcher {
    fn new(syntax: Syntax, pattern: &str, escape: Option<char>) -> Result<Self> {
        let plain = |text: &str| !text.contains(['%', '_']) && escape.is_none_or(|e| !text.contains(e));
        if syntax == Syntax::Like {
            let head = pattern.strip_suffix('%');
            let tail = pattern.strip_prefix('%');
            let inner = tail.and_then(|t| t.strip_suffix('%'));
            match (head, tail, inner) {
                _ if pattern == "%" => return Ok(Matcher::Everything),
                _ if plain(pattern) => return Ok(Matcher::Exact(pattern.to_owned())),
                (_, _, Some(text)) if plain(text) => {
                    return Ok(Matcher::Contains(Box::new(memmem::Finder::new(text).into_owned())));
                }
                (Some(text), ..) if plain(text) => return Ok(Matcher::Prefix(text.to_owned())),
                (_, Some(text), _) if plain(text) => return Ok(Matcher::Suffix(text.to_owned())),
                _ => {}
            }
        }
        let translated = match syntax {
            Syntax::Like => like_regex(pattern, escape)?,
            Syntax::Similar => similar_regex(pattern, escape)?,
        };
        let regex = Regex::new(&translated).map_err(|e| {
            Error::invalid("invalid_pattern", format!("the pattern '{pattern}' is not valid")).caused_by(&e)
        })?;
        Ok(Matcher::Regex(regex))
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Matcher::Exact(pattern) => text == pattern,
            Matcher::Prefix(pattern) => text.starts_with(pattern.as_str()),
            Matcher::Suffix(pattern) => text.ends_with(pattern.as_str()),
            Matcher::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Matcher::Everything => true,
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }

    fn column(&self, values: &StringArray) -> BooleanArray {
        // The match on the form stays outside of the loops.
        let bits = match self {
            Matcher::Exact(p) => BooleanBuffer::collect_bool(values.len(), |i| values.value(i) == p),
            Matcher::Prefix(p) => {
                BooleanBuffer::collect_bool(values.len(), |i| values.value(i).starts_with(p.as_str()))
            }
            Matcher::Suffix(p) => BooleanBuffer::collect_bool(values.len(), |i| values.value(i).ends_with(p.as_str())),
            Matcher::Contains(finder) => {
                BooleanBuffer::collect_bool(values.len(), |i| finder.find(values.value(i).as_bytes()).is_some())
            }
            Matcher::Everything => BooleanBuffer::new_set(values.len()),
            Matcher::Regex(regex) => {
                BooleanBuffer::collect_bool(values.len(), |i| values.is_valid(i) && regex.is_match(values.value(i)))
            }
        };
        BooleanArray::new(bits, values.nulls().cloned())
    }
}

fn escape_of(text: &str) -> Result<char> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err(Error::invalid("invalid_pattern", format!("the escape '{text}' is not one character"))),
    }
}

fn after_escape(pattern: &str, next: Option<char>, escape: char) -> Result<char> {
    match next {
        Some(c) if c == escape || c == '%' || c == '_' => Ok(c),
        _ => Err(Error::invalid("invalid_pattern", format!("in '{pattern}', '{escape}' must stand before % or _"))),
    }
}

fn literal(c: char, out: &mut String) {
    let mut buffer = [0; 4];
    out.push_str(&regex::escape(c.encode_utf8(&mut buffer)));
}

fn like_regex(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => literal(after_escape(pattern, chars.next(), c)?, &mut out),
            '_' => out.push_str(ANY),
            '%' => out.push_str(ANYTHING),
            c => literal(c, &mut out),
        }
    }
    out.push_str(")$");
    Ok(out)
}

/// SQL's regular expressions: `% _ | * + ? {m,n} ( ) [ ]` with classes such as `[:ALPHA:]`.
fn similar_regex(pattern: &str, escape: Option<char>) -> Result<String> {
    const CLASSES: &[(&str, &str)] = &[
        ("[:ALPHA:]", "A-Za-z"),
        ("[:UPPER:]", "A-Z"),
        ("[:LOWER:]", "a-z"),
        ("[:DIGIT:]", "0-9"),
        ("[:ALNUM:]", "A-Za-z0-9"),
        ("[:SPACE:]", " "),
        ("[:WHITESPACE:]", "\\s"),
    ];
    let mut out = String::from("^(?:");
    let mut rest = pattern;
    let mut in_set = false;
    while let Some(c) = rest.chars().next() {
        if in_set
            && let Some((name, set)) = CLASSES
                .iter()
                .find(|(name, _)| rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)))
        {
            out.push_str(set);
            rest = &rest[name.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            c if Some(c) == escape => {
                let Some(next) = rest.chars().next() else {
                    return after_escape(pattern, None, c).map(|_| out);
                };
                rest = &rest[next.len_utf8()..];
                literal(next, &mut out);
            }
            '[' if !in_set => {
                in_set = true;
                out.push(c);
            }
            ']' if in_set => {
                in_set = false;
                out.push(c);
            }
            '-' | '^' if in_set => out.push(c),
            _ if in_set => literal(c, &mut out),
            '%' => out.push_str(ANYTHING),
            '_' => out.push_str(ANY),
            '|' | '*' | '+' | '?' | '{' | '}' | '(' | ')' => out.push(c),
            c => literal(c, &mut out),
        }
    }
    out.push_str(")$");
    Ok(out)
}

fn text_of(expr: &Expr, call: &Call<'_>) -> Option<String> {
    let array = constant(expr, call.context)?;
    let value = Value::Scalar(array);
    let text = string(&value).ok()?;
    text.is_valid(0).then(|| text.value(0).to_owned())
}

fn prepare(syntax: Syntax, call: &Call<'_>) -> Result<Kernel> {
    let [_, pattern, escape @ ..] = call.args else { return Err(Error::internal("LIKE takes a pattern")) };
    let fixed_escape = match escape.first() {
        None => Some(None),
        Some(e) => text_of(e, call).map(|text| escape_of(&text)).transpose()?.map(Some),
    };
    if let (Some(text), Some(escape)) = (text_of(pattern, call), fixed_escape) {
        let matcher = Matcher::new(syntax, &text, escape)?;
        return Ok(Box::new(move |args, _| {
            let Some(value) = args.first() else { return Err(Error::internal("LIKE takes a string")) };
            Ok(Value::of(&[value], Arc::new(matcher.column(string(value)?))))
        }));
    }
    Ok(Box::new(move |args, _| dynamic(syntax, args)))
}

/// A pattern per row; each distinct one of a batch is compiled once.
fn dynamic(syntax: Syntax, args: &[Value]) -> Result<Value> {
    let all: Vec<&Value> = args.iter().collect();
    let arrays = args.iter().map(string).collect::<Result<Vec<_>>>()?;
    let steps: Vec<usize> = args.iter().map(|a| usize::from(!a.is_scalar())).collect();
    let mut matchers: HashMap<(&str, Option<&str>), Matcher> = HashMap::new();
    let mut result = arrow::array::BooleanBuilder::with_capacity(length(&all));
    for i in 0..length(&all) {
        let get = |n: usize| arrays.get(n).zip(steps.get(n)).map(|(a, s)| a.is_valid(i * s).then(|| a.value(i * s)));
        match (get(0).flatten(), get(1).flatten(), get(2)) {
            (Some(text), Some(pattern), escape @ (None | Some(Some(_)))) => {
                let escape = escape.flatten();
                let matcher = match matchers.entry((pattern, escape)) {
                    std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
                    std::collections::hash_map::Entry::Vacant(place) => {
                        place.insert(Matcher::new(syntax, pattern, escape.map(escape_of).transpose()?)?)
                    }
                };
                result.append_value(matcher.matches(text));
            }
            _ => result.append_null(),
        }
    }
    Ok(Value::of(&all, Arc::new(result.finish())))
}
