//! JSON values: reading as Jackson does, writing with sorted keys.

use std::borrow::Cow;
use std::fmt::Write;

use super::number::big_decimal;

/// A JSON value that borrows from its text where it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// As Java writes it.
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// In the order of the text, keys unique.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Jackson's limit: deeper nesting is an error.
const DEEPEST: usize = 1000;

impl<'a> Json<'a> {
    /// Reads the first value of a text; None if it is not JSON.
    pub(super) fn parse(text: &'a str) -> Option<Json<'a>> {
        let mut reader = Reader { text, bytes: text.as_bytes(), at: 0 };
        reader.skip_space();
        let value = reader.value(0)?;
        // Jackson wants space between a bare scalar and what follows.
        let bare = matches!(value, Json::Number(_) | Json::Bool(_) | Json::Null);
        let next = text[reader.at..].chars().next();
        let ends = match &value {
            Json::Number(_) => next.is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r')),
            _ => next.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '$')),
        };
        (!bare || ends).then_some(value)
    }
    /// Neither array nor object.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Json::Array(_) | Json::Object(_))
    }
    /// The member of an object.
    pub(super) fn member(&self, name: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }
    /// A scalar's text as `JSON_VALUE` gives it; None for null, arrays and objects.
    pub(super) fn scalar_text(&self) -> Option<&str> {
        match self {
            Json::Bool(true) => Some("true"),
            Json::Bool(false) => Some("false"),
            Json::Number(text) | Json::String(text) => Some(text),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        }
    }
    /// Writes the value, keys sorted.
    pub(super) fn write(&self, out: &mut impl Write) {
        match self {
            Json::Null => write(out, "null"),
            Json::Bool(b) => write(out, if *b { "true" } else { "false" }),
            Json::Number(text) => write(out, text),
            Json::String(text) => write_string(text, out),
            Json::Array(items) => {
                write(out, "[");
                for (i, item) in items.iter().enumerate() {
                    write(out, if i == 0 { "" } else { "," });
                    item.write(out);
                }
                write(out, "]");
            }
            Json::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                write(out, "{");
                for (i, (key, value)) in sorted.into_iter().enumerate() {
                    write(out, if i == 0 { "" } else { "," });
                    write_string(key, out);
                    write(out, ":");
                    value.write(out);
                }
                write(out, "}");
            }
        }
    }
}

/// Writes to memory.
pub(super) fn write(out: &mut impl Write, text: &str) {
    out.write_str(text).expect("memory accepts every write");
}

/// Writes a quoted string with Jackson's escapes.
pub(super) fn write_string(text: &str, out: &mut impl Write) {
    write(out, "\"");
    let mut done = 0;
    for (i, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0C => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        write(out, &text[done..i]);
        if escape.is_empty() {
            write!(out, "\\u{byte:04X}").expect("memory accepts every write");
        } else {
            write(out, escape);
        }
        done = i + 1;
    }
    write(out, &text[done..]);
    write(out, "\"");
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }
    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        if depth > DEEPEST {
            return None;
        }
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Json::String),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }
    fn word(&mut self, word: &str, value: Json<'a>) -> Option<Json<'a>> {
        self.bytes[self.at..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }
    fn array(&mut self, depth: usize) -> Option<Json<'a>> {
        self.at += 1;
        self.skip_space();
        let mut items = Vec::new();
        if self.eat(b']').is_some() {
            return Some(Json::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.eat(b',').is_none() {
                self.eat(b']')?;
                return Some(Json::Array(items));
            }
        }
    }
    fn object(&mut self, depth: usize) -> Option<Json<'a>> {
        self.at += 1;
        self.skip_space();
        let mut members: Vec<(Cow<'a, str>, Json<'a>)> = Vec::new();
        if self.eat(b'}').is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            self.skip_space();
            self.eat(b':')?;
            self.skip_space();
            let value = self.value(depth + 1)?;
            match members.iter_mut().find(|(known, _)| *known == key) {
                Some(known) => known.1 = value,
                None => members.push((key, value)),
            }
            self.skip_space();
            if self.eat(b',').is_none() {
                self.eat(b'}')?;
                return Some(Json::Object(members));
            }
        }
    }
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
    fn number(&mut self) -> Option<Json<'a>> {
        let start = self.at;
        let _ = self.eat(b'-');
        if self.eat(b'0').is_none() {
            self.digits()?;
        }
        if self.eat(b'.').is_some() {
            self.digits()?;
        }
        if self.eat(b'e').or_else(|| self.eat(b'E')).is_some() {
            let _ = self.eat(b'+').or_else(|| self.eat(b'-'));
            self.digits()?;
        }
        Some(Json::Number(big_decimal(&self.text[start..self.at])))
    }
    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.eat(b'"')?;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Some(Cow::Borrowed(text));
                }
                b'\\' => return self.escaped(start).map(Cow::Owned),
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }
    fn escaped(&mut self, start: usize) -> Option<String> {
        let mut text = self.text[start..self.at].to_owned();
        let mut plain = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    text.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    return Some(text);
                }
                b'\\' => {
                    text.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    text.push(self.escape()?);
                    plain = self.at;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }
    fn escape(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                if (0xD800..0xDC00).contains(&unit) && self.bytes[self.at..].starts_with(b"\\u") {
                    let low_at = self.at;
                    self.at += 2;
                    let low = self.unit()?;
                    if let Some(Ok(c)) = char::decode_utf16([unit, low]).next() {
                        return Some(c);
                    }
                    self.at = low_at;
                }
                char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        })
    }
    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(text: &str) -> Option<String> {
        let mut out = String::new();
        Json::parse(text)?.write(&mut out);
        Some(out)
    }

    #[test]
    fn reads_as_jackson_does() {
        let cases = [
            (r#"{"b":1.50,"a":[1e3,12345678901234567890]}"#, Some(r#"{"a":[1E+3,12345678901234567890],"b":1.50}"#)),
            (r#""\u00e9\u0001\/\ud83d\ude00""#, Some("\"é\\u0001/😀\"")),
            (r#"{"a":1,"a":2}"#, Some(r#"{"a":2}"#)),
            (" [ ] ", Some("[]")),
            ("1 2", Some("1")),
            (r#"{"a":1} x"#, Some(r#"{"a":1}"#)),
            ("[1]x", Some("[1]")),
            ("-0", Some("0")),
            ("2026-03-01", None),
            ("truex", None),
            ("0042", None),
            ("01", None),
            ("1.", None),
            (".5", None),
            ("+1", None),
            ("[1,]", None),
            ("{a:1}", None),
            ("NaN", None),
            ("", None),
            ("  ", None),
            ("\"a\nb\"", None),
            (r#""\x""#, None),
            ("\"abc", None),
            ("{\"a\":1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(round(text).as_deref(), expected, "{text}");
        }
        assert!(round(&"[".repeat(100_000)).is_none());
    }

    proptest! {
        #[test]
        fn any_string_survives(text in ".*") {
            let mut quoted = String::new();
            write_string(&text, &mut quoted);
            prop_assert_eq!(Json::parse(&quoted), Some(Json::String(Cow::Owned(text))));
        }
        #[test]
        fn never_panics(text in r#"[\[\]{}",:\\u0-9a-f.eE+\- ]*"#) {
            let _ = Json::parse(&text);
        }
    }
}
