//! Java's regular expressions, run by the `regex` crate.
//!
//! A pattern is rewritten where the two languages differ in what a common construct means (`\d \w \s` are ASCII in
//! Java, `.` stops at more line ends, POSIX classes have other names, `\Q…\E`). What the crate cannot do in linear time
//! (look-around, back-references, possessive quantifiers, atomic groups) is refused by name: it is valid Java, so
//! treating it as a broken pattern would give a wrong answer silently. Known difference: `$` does not match before a
//! final line end.

use regex::{CaptureLocations, Regex};

use crate::error::{Error, Result};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
}

/// Why a pattern does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadPattern {
    /// Valid in Java, not possible here.
    Unsupported(&'static str),
    /// Invalid in Java too, for all we know.
    Broken(String),
}

impl Pattern {
    /// Compiles; the error has code `invalid_argument`.
    pub(super) fn new(java: &str) -> Result<Self> {
        Self::compile(java).map_err(|e| e.into_error(java))
    }
    /// Compiles.
    pub(super) fn compile(java: &str) -> Result<Self, BadPattern> {
        let rewritten = rewrite(java)?;
        let regex = Regex::new(&rewritten).map_err(|e| BadPattern::Broken(e.to_string()))?;
        Ok(Pattern { regex })
    }
    /// The compiled form.
    pub(super) fn regex(&self) -> &Regex {
        &self.regex
    }
    /// The number of groups, without the whole match.
    pub(super) fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }
    /// Calls `f` with the bounds of every match, in Java's order: unlike `find_iter`, an empty match directly behind a
    /// match counts.
    pub(super) fn each_match(&self, text: &str, mut f: impl FnMut(usize, usize)) {
        let mut at = 0;
        while let Some(found) = self.regex.find_at(text, at) {
            f(found.start(), found.end());
            match next_start(text, found.start(), found.end()) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    /// As [`Self::each_match`], with the bounds of one group.
    pub(super) fn each_group(
        &self,
        text: &str,
        group: usize,
        locations: &mut CaptureLocations,
        mut f: impl FnMut(Option<(usize, usize)>),
    ) {
        let mut at = 0;
        while let Some(found) = self.regex.captures_read_at(locations, text, at) {
            f(locations.get(group));
            match next_start(text, found.start(), found.end()) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
}

/// Where Java's `Matcher.find` goes on after a match.
fn next_start(text: &str, start: usize, end: usize) -> Option<usize> {
    if end > start {
        return Some(end);
    }
    text[end..].chars().next().map(|c| end + c.len_utf8())
}

impl BadPattern {
    /// The error for whoever wrote the pattern.
    pub(super) fn into_error(self, java: &str) -> Error {
        let why = match self {
            BadPattern::Unsupported(what) => format!("it uses {what}, which is not supported: rewrite it without"),
            BadPattern::Broken(why) => format!("it does not compile: {}", why.replace('\n', " ")),
        };
        Error::invalid("invalid_argument", format!("the regular expression '{java}' cannot be used: {why}"))
    }
}

const LINE_ENDS: &str = r"\n\r\u0085\u2028\u2029";

/// Rewrites Java syntax to that of the `regex` crate.
fn rewrite(java: &str) -> Result<String, BadPattern> {
    let mut out = String::with_capacity(java.len() + 16);
    let mut rest = java.chars().peekable();
    // Depth of nested character classes; whether `.` matches line ends; whether the last item can be repeated.
    let mut depth = 0_usize;
    let mut dot_all = false;
    let mut after_quantifier = false;
    while let Some(c) = rest.next() {
        let was_quantifier = std::mem::take(&mut after_quantifier);
        match c {
            '\\' => escape(&mut rest, depth > 0, &mut out)?,
            '[' => {
                depth += 1;
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            ']' if depth > 0 => {
                depth -= 1;
                out.push(']');
            }
            // Set operators of the crate that are plain characters in Java.
            '-' | '~' if depth > 0 => {
                out.push(c);
                if rest.next_if_eq(&c).is_some() {
                    out.push('\\');
                    out.push(c);
                }
            }
            '.' if depth == 0 && !dot_all => {
                out.push_str("[^");
                out.push_str(LINE_ENDS);
                out.push(']');
            }
            '(' if depth == 0 => {
                let group: String = rest.clone().take(12).collect();
                if let Some(what) = unsupported_group(&group) {
                    return Err(BadPattern::Unsupported(what));
                }
                if group.starts_with('?') && !group.starts_with("?<") {
                    let flags = group[1..].split([':', ')']).next().unwrap_or_default();
                    dot_all |= flags.split('-').next().is_some_and(|on| on.contains('s'));
                }
                out.push('(');
            }
            '+' if depth == 0 && was_quantifier => return Err(BadPattern::Unsupported("a possessive quantifier")),
            '*' | '+' | '?' if depth == 0 => {
                out.push(c);
                // `?` after a quantifier makes it lazy and ends it; after `(` it opens a group's flags.
                after_quantifier = !(c == '?' && was_quantifier || out.ends_with("(?"));
            }
            '}' if depth == 0 => {
                out.push(c);
                after_quantifier = true;
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

fn unsupported_group(group: &str) -> Option<&'static str> {
    let look = ["?=", "?!", "?<=", "?<!"];
    if look.iter().any(|l| group.starts_with(l)) {
        return Some("look-around");
    }
    group.starts_with("?>").then_some("an atomic group")
}

fn escape(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    in_class: bool,
    out: &mut String,
) -> Result<(), BadPattern> {
    let Some(c) = rest.next() else { return Err(BadPattern::Broken("it ends in a backslash".to_owned())) };
    let class = |inner: &str, negated: bool, out: &mut String| {
        if in_class && !negated {
            out.push_str(inner);
        } else {
            out.push_str(if negated { "[^" } else { "[" });
            out.push_str(inner);
            out.push(']');
        }
    };
    match c {
        'd' | 'D' => class("0-9", c == 'D', out),
        'w' | 'W' => class("a-zA-Z0-9_", c == 'W', out),
        's' | 'S' => class(r" \t\n\x0B\f\r", c == 'S', out),
        'v' | 'V' => class(r"\n\x0B\f\r\u0085\u2028\u2029", c == 'V', out),
        'h' | 'H' => class(r" \t\u00A0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000", c == 'H', out),
        'R' => out.push_str(r"(?:\r\n|[\n\x0B\f\r\u0085\u2028\u2029])"),
        'Z' => out.push_str(r"\z"),
        'e' => out.push_str(r"\x1B"),
        'Q' => {
            let mut quoted = String::new();
            while let Some(c) = rest.next() {
                if c == '\\' && rest.next_if_eq(&'E').is_some() {
                    break;
                }
                quoted.push(c);
            }
            out.push_str(&regex::escape(&quoted));
        }
        '0' => {
            let mut code = 0_u32;
            let mut digits = 0;
            while digits < 3
                && let Some(digit) = rest.peek().and_then(|c| c.to_digit(8))
                && code * 8 + digit <= 0o377
            {
                code = code * 8 + digit;
                digits += 1;
                rest.next();
            }
            out.push_str(&format!("\\x{{{code:X}}}"));
        }
        'c' => {
            let code = rest.next().map_or(0, |c| u32::from(c) ^ 64);
            out.push_str(&format!("\\x{{{code:X}}}"));
        }
        '1'..='9' | 'k' => return Err(BadPattern::Unsupported("a back-reference")),
        'G' => return Err(BadPattern::Unsupported("\\G")),
        'X' => return Err(BadPattern::Unsupported("\\X")),
        'p' | 'P' => property(rest, c == 'P', out),
        'u' | 'x' | 't' | 'n' | 'r' | 'f' | 'a' | 'b' | 'B' | 'A' | 'z' => {
            out.push('\\');
            out.push(c);
        }
        _ if c.is_ascii_alphabetic() => return Err(BadPattern::Broken(format!("\\{c} is not an escape"))),
        _ => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
    }
    Ok(())
}

/// `\p{…}`: Java's POSIX names are ASCII classes, `Is…` are Unicode's.
fn property(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, negated: bool, out: &mut String) {
    let mut name = String::new();
    if rest.next_if_eq(&'{').is_some() {
        name.extend(rest.by_ref().take_while(|c| *c != '}'));
    } else {
        name.extend(rest.next());
    }
    let posix = ["Lower", "Upper", "Alpha", "Digit", "Alnum", "Punct", "Graph", "Print", "Blank", "Cntrl", "Space"];
    if name == "ASCII" || name == "XDigit" || posix.contains(&name.as_str()) {
        let not = if negated { "^" } else { "" };
        out.push_str(&format!("[[:{not}{}:]]", name.to_ascii_lowercase()));
        return;
    }
    let name = name.strip_prefix("Is").or_else(|| name.strip_prefix("java")).unwrap_or(&name);
    let name = match name {
        "LowerCase" => "Lowercase",
        "UpperCase" => "Uppercase",
        "WhiteSpace" | "Whitespace" => "White_Space",
        other => other,
    };
    out.push_str(&format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_what_java_means() {
        let cases = [
            (r"^\d+$", "٣", false),
            (r"^\d+$", "37", true),
            (r"^[\d.]+$", "3.7", true),
            (r"^[^\d]+$", "ab", true),
            (r"^[\D]+$", "3", false),
            (r"^\w+$", "é", false),
            (r"a.b", "a\rb", false),
            (r"(?s)a.b", "a\nb", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b\E", "axb", false),
            (r"^\p{Alpha}+$", "abé", false),
            (r"^\p{L}+$", "abé", true),
            (r"^\p{IsAlphabetic}+$", "abé", true),
            (r"^\P{Upper}+$", "abé", true),
            (r"\<a\>", "<a>", true),
            (r"\x41\u0042", "AB", true),
            (r"\0101", "A", true),
            (r"a+?b", "aab", true),
            (r"a{2}?b", "aab", true),
            (r"(?<n>a)(?:b)?", "a", true),
            (r"[+*]+", "+*", true),
            (r"[+--]", ",", true),
            (r"\/\-\ \#", "/- #", true),
            (r"(a)?+b|c", "b", false),
        ];
        for (java, text, expected) in cases {
            match Pattern::compile(java) {
                Ok(pattern) => assert_eq!(pattern.regex().is_match(text), expected, "{java} on {text:?}"),
                Err(BadPattern::Unsupported(_)) => assert!(!expected, "{java} is refused"),
                Err(e) => panic!("{java}: {e:?}"),
            }
        }
    }

    #[test]
    fn refuses_by_name_what_it_cannot_do() {
        let unsupported =
            [r"(?=a)", r"(?!a)", r"(?<=a)b", r"(?<!a)b", r"(?>a)", r"a++", r"a*+", r"(a)\1", r"(?<n>a)\k<n>"];
        for java in unsupported {
            assert!(matches!(Pattern::compile(java), Err(BadPattern::Unsupported(_))), "{java}");
        }
        for java in ["[", "(", "a\\", "\\y", "*"] {
            assert!(matches!(Pattern::compile(java), Err(BadPattern::Broken(_))), "{java}");
        }
        assert_eq!(Pattern::new("(?=a)").unwrap_err().code, "invalid_argument");
    }

    #[test]
    fn finds_the_matches_that_java_finds() {
        let cases =
            [("a*", "baac", "0-0 1-3 3-3 4-4"), ("", "aé", "0-0 1-1 3-3"), ("a", "aa", "0-1 1-2"), ("x", "a", "")];
        for (java, text, expected) in cases {
            let mut found = Vec::new();
            Pattern::new(java).unwrap().each_match(text, |a, b| found.push(format!("{a}-{b}")));
            assert_eq!(found.join(" "), expected, "{java} on {text}");
        }
    }
}
