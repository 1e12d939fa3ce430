//! JSON paths: the subset of Jayway JsonPath without filters and scripts.
//!
//! `$`, `.name`, `['name']`, `['a','b']`, `[n]` (negative from the end), `[n,m]`, `[a:b]`, `[*]`, `.*`, `..name`,
//! `..[*]` and so on, and `.length()` at the end. A path is *definite* if it can find at most one value; any other
//! finds an array of what matches. A definite step that finds nothing is an error in strict mode and nothing in lax
//! mode; behind an indefinite step it is just no match.

use std::borrow::Cow;

use super::value::Json;
use crate::error::{Error, Result};

/// How errors on the way are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing found is nothing.
    Lax,
    /// Nothing found, and a JSON null, is an error.
    Strict,
}

/// A compiled path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) mode: Mode,
    steps: Vec<Step>,
    length: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Names(Vec<String>),
    Indices(Vec<i64>),
    Slice(Option<i64>, Option<i64>),
    Wildcard,
    /// The next step at every depth.
    Deep,
}

impl Step {
    fn definite(&self) -> bool {
        match self {
            Step::Names(_) => true,
            Step::Indices(indices) => indices.len() == 1,
            Step::Slice(..) | Step::Wildcard | Step::Deep => false,
        }
    }
}

/// No value where a definite path must have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing;

impl Path {
    /// Compiles a path; errors have code `invalid_argument`.
    pub(super) fn new(text: &str) -> Result<Path> {
        let (mode, spec) = split_mode(text);
        let mut parser = Parser { rest: spec.trim() };
        let (steps, length) = parser.path().map_err(|why| {
            Error::invalid("invalid_argument", format!("the JSON path '{text}' cannot be used: {why}"))
        })?;
        Ok(Path { mode, steps, length })
    }
    /// Whether it can find at most one value.
    pub(super) fn definite(&self) -> bool {
        self.steps.iter().all(Step::definite)
    }
    /// What the path finds.
    pub(super) fn find<'j, 'a>(&self, root: &'j Json<'a>) -> Result<Cow<'j, Json<'a>>, Missing> {
        let mut found = Vec::new();
        walk(root, &self.steps, true, &mut found)?;
        let value = if self.definite() { found.pop().ok_or(Missing)? } else { Cow::Owned(array(found)) };
        if !self.length {
            return Ok(value);
        }
        let length = match value.as_ref() {
            Json::Array(items) => items.len(),
            Json::Object(members) => members.len(),
            _ => return Err(Missing),
        };
        Ok(Cow::Owned(Json::Number(Cow::Owned(length.to_string()))))
    }
}

fn array<'a>(found: Vec<Cow<'_, Json<'a>>>) -> Json<'a> {
    Json::Array(found.into_iter().map(Cow::into_owned).collect())
}

/// `lax $.a` and `strict $.a`, any case; strict if neither is written.
fn split_mode(text: &str) -> (Mode, &str) {
    let trimmed = text.trim_start();
    for (word, mode) in [("strict", Mode::Strict), ("lax", Mode::Lax)] {
        if let Some((first, rest)) = trimmed.split_at_checked(word.len())
            && first.eq_ignore_ascii_case(word)
            && rest.starts_with(char::is_whitespace)
        {
            return (mode, rest);
        }
    }
    (Mode::Strict, text)
}

/// Collects the matches. `upstream`: all steps so far were definite, so that a missing value is an error.
fn walk<'j, 'a>(
    value: &'j Json<'a>,
    steps: &[Step],
    upstream: bool,
    found: &mut Vec<Cow<'j, Json<'a>>>,
) -> Result<(), Missing> {
    let Some((step, rest)) = steps.split_first() else {
        found.push(Cow::Borrowed(value));
        return Ok(());
    };
    let here = upstream && step.definite();
    let missing = || if upstream { Err(Missing) } else { Ok(()) };
    match (step, value) {
        (Step::Names(names), Json::Object(members)) => match names.as_slice() {
            [name] => match value.member(name) {
                Some(member) => walk(member, rest, here, found)?,
                None if here => return Err(Missing),
                None => {}
            },
            // Several names make a new object; they are the last step (checked when compiled).
            names => {
                let picked = members.iter().filter(|(key, _)| names.iter().any(|n| n == key)).cloned().collect();
                found.push(Cow::Owned(Json::Object(picked)));
            }
        },
        (Step::Indices(indices), Json::Array(items)) => {
            for index in indices {
                match at(items, *index) {
                    Some(item) => walk(item, rest, here, found)?,
                    None if here => return Err(Missing),
                    None => {}
                }
            }
        }
        (Step::Slice(from, to), Json::Array(items)) => {
            let size = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let bound = |b: i64| usize::try_from(if b < 0 { size + b } else { b }.clamp(0, size)).unwrap_or(0);
            let (from, to) = (bound(from.unwrap_or(0)), bound(to.unwrap_or(size)));
            for item in items.get(from..to).unwrap_or_default() {
                walk(item, rest, false, found)?;
            }
        }
        (Step::Wildcard, Json::Array(items)) => {
            for item in items {
                walk(item, rest, false, found)?;
            }
        }
        (Step::Wildcard, Json::Object(members)) => {
            for (_, member) in members {
                walk(member, rest, false, found)?;
            }
        }
        (Step::Wildcard, _) => {}
        (Step::Deep, value) => deep(value, rest, found)?,
        _ => return missing(),
    }
    Ok(())
}

/// The steps at this value and at all below it, parents first.
fn deep<'j, 'a>(value: &'j Json<'a>, steps: &[Step], found: &mut Vec<Cow<'j, Json<'a>>>) -> Result<(), Missing> {
    walk(value, steps, false, found)?;
    match value {
        Json::Array(items) => items.iter().try_for_each(|item| deep(item, steps, found)),
        Json::Object(members) => members.iter().try_for_each(|(_, member)| deep(member, steps, found)),
        _ => Ok(()),
    }
}

fn at<'j, 'a>(items: &'j [Json<'a>], index: i64) -> Option<&'j Json<'a>> {
    let index = if index < 0 { index.checked_add(i64::try_from(items.len()).ok()?)? } else { index };
    items.get(usize::try_from(index).ok()?)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn path(&mut self) -> Result<(Vec<Step>, bool), String> {
        if self.rest.is_empty() {
            return Err("it is empty".to_owned());
        }
        let mut steps = Vec::new();
        if !self.eat("$") {
            // Jayway reads `a.b` as `$.a.b`.
            steps.push(self.name()?);
        }
        while !self.rest.is_empty() {
            if steps.iter().any(|s| matches!(s, Step::Names(names) if names.len() > 1)) {
                return Err("several names must be its last step".to_owned());
            }
            if self.rest == ".length()" {
                return Ok((steps, true));
            }
            if self.eat("..") {
                steps.push(Step::Deep);
                if !self.rest.starts_with('[') {
                    steps.push(self.name()?);
                }
            } else if self.eat(".") {
                steps.push(self.name()?);
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else {
                return Err(format!("expected . or [ before '{}'", self.rest));
            }
        }
        if steps.last() == Some(&Step::Deep) {
            return Err("it ends in ..".to_owned());
        }
        Ok((steps, false))
    }
    fn eat(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }
    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }
    fn name(&mut self) -> Result<Step, String> {
        if self.eat("*") {
            return Ok(Step::Wildcard);
        }
        let (name, rest) = self.rest.split_at(self.rest.find(['.', '[']).unwrap_or(self.rest.len()));
        if name.is_empty() {
            return Err("a name is missing".to_owned());
        }
        if name.contains('(') {
            return Err(format!("functions other than length() at the end are not supported: '{name}'"));
        }
        if name.contains(' ') {
            return Err(format!("write ['{name}'] for a name with a space"));
        }
        self.rest = rest;
        Ok(Step::Names(vec![name.to_owned()]))
    }
    fn bracket(&mut self) -> Result<Step, String> {
        self.spaces();
        let step = match self.rest.chars().next() {
            Some('?') => return Err("filters are not supported".to_owned()),
            Some('*') => {
                self.rest = &self.rest[1..];
                Step::Wildcard
            }
            Some('\'' | '"') => {
                let mut names = vec![self.quoted()?];
                self.spaces();
                while self.eat(",") {
                    self.spaces();
                    names.push(self.quoted()?);
                    self.spaces();
                }
                Step::Names(names)
            }
            _ => self.indices()?,
        };
        self.spaces();
        if self.eat("]") { Ok(step) } else { Err("a ] is missing".to_owned()) }
    }
    fn quoted(&mut self) -> Result<String, String> {
        let mut chars = self.rest.char_indices();
        let quote = match chars.next() {
            Some((_, quote @ ('\'' | '"'))) => quote,
            _ => return Err("a quoted name is missing".to_owned()),
        };
        let mut name = String::new();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                c if c == quote => {
                    self.rest = &self.rest[i + 1..];
                    return Ok(name);
                }
                c => name.push(c),
            }
        }
        Err("a quote is missing".to_owned())
    }
    fn indices(&mut self) -> Result<Step, String> {
        let end = self.rest.find(']').ok_or("a ] is missing")?;
        let (inner, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("'{text}' is not an index"));
        if let Some((from, to)) = inner.split_once(':') {
            let bound = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
            return Ok(Step::Slice(bound(from)?, bound(to)?));
        }
        inner.split(',').map(number).collect::<Result<_, _>>().map(Step::Indices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(json: &str, path: &str) -> String {
        let json = Json::parse(json).unwrap();
        let mut out = String::new();
        match Path::new(path).unwrap().find(&json) {
            Ok(value) => value.write(&mut out),
            Err(Missing) => out.push_str("missing"),
        }
        out
    }

    #[test]
    fn finds_what_jayway_finds() {
        let doc = r#"{"a":{"b":[1,2,{"c":"d"}]},"n":null,"A b":3}"#;
        let cases = [
            (doc, "$.a.b[0]", "1"),
            (doc, "$.a.b[-1].c", "\"d\""),
            (doc, "$['a']['b'][1]", "2"),
            (doc, "$[\"A b\"]", "3"),
            (doc, "a.b[1]", "2"),
            (doc, "$.a.b[*].c", "[\"d\"]"),
            (doc, "$..c", "[\"d\"]"),
            (doc, "$.zz", "missing"),
            (doc, "$.a.b[9]", "missing"),
            (doc, "$.a.b.c", "missing"),
            (doc, "$.zz[*]", "missing"),
            (doc, "$.n", "null"),
            (doc, "$.a.b.length()", "3"),
            ("[1,2,3]", "$..c", "[]"),
            ("[1,2,3]", "$.a[*]", "missing"),
            ("[1,2,3,4]", "$[1:3]", "[2,3]"),
            ("[1,2,3,4]", "$[-2:]", "[3,4]"),
            ("[1,2,3,4]", "$[:1]", "[1]"),
            ("[1,2,3,4]", "$[0,2]", "[1,3]"),
            ("[]", "$[*]", "[]"),
            (r#"{"a":1,"b":2,"c":3}"#, "$.*", "[1,2,3]"),
            (r#"{"a":1,"b":2,"c":3}"#, "$['a','b']", r#"{"a":1,"b":2}"#),
            (r#"{"a":{"b":1},"c":[{"b":2}]}"#, "$..b", "[1,2]"),
            ("5", "$", "5"),
        ];
        for (json, path, expected) in cases {
            assert_eq!(find(json, path), expected, "{path} of {json}");
        }
    }

    #[test]
    fn modes_and_refusals() {
        for (text, mode) in [("$.a", Mode::Strict), ("lax $.a", Mode::Lax), (" STRICT  $.a", Mode::Strict)] {
            assert_eq!(Path::new(text).unwrap().mode, mode, "{text}");
        }
        for bad in ["", "$.", "$..", "$[", "$['a", "$[x]", "$[?(@.a > 2)]", "$.a b", "$.max()", "$x", "$['a','b'].c"] {
            assert_eq!(Path::new(bad).unwrap_err().code, "invalid_argument", "{bad}");
        }
    }
}
