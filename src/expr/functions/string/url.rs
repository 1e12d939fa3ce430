//! `PARSE_URL`, `URL_ENCODE`, `URL_DECODE`: what Java's `URL`, `URLEncoder` and `URLDecoder` do.

use std::borrow::Cow;

use super::super::arguments::{Want, function, put, put_char, signature, string, text_rows};
use crate::expr::function::Function;

/// A part of a URL, or with a key the value of that key in its query; null for what is not a URL or has no such part.
pub(super) const PARSE_URL: Function = function(
    "PARSE_URL",
    |a| signature(a, "PARSE_URL(url, part [, key])", &[Want::Text, Want::Text], &[Want::Text]).map(|_| string(true)),
    |_| {
        Ok(text_rows(|row, out| {
            let Some(url) = Url::parse(row.str(0)) else { return Ok(false) };
            let part = match (row.len(), row.str(1)) {
                (3, "QUERY") => url.query.and_then(|query| query_value(query, row.str(2))),
                (3, _) => None,
                (_, "HOST") => Some(url.host),
                (_, "PATH") => Some(url.path),
                (_, "QUERY") => url.query,
                (_, "REF") => url.reference,
                (_, "AUTHORITY") => url.authority,
                (_, "USERINFO") => url.user_info,
                (_, "PROTOCOL") => {
                    put(out, &url.protocol);
                    return Ok(true);
                }
                (_, "FILE") => {
                    put(out, url.path);
                    if let Some(query) = url.query {
                        put_char(out, '?');
                        put(out, query);
                    }
                    return Ok(true);
                }
                _ => None,
            };
            Ok(part.inspect(|part| put(out, part)).is_some())
        }))
    },
);
pub(super) const URL_ENCODE: Function = function(
    "URL_ENCODE",
    |a| signature(a, "URL_ENCODE(string)", &[Want::Text], &[]).map(|_| string(true)),
    |_| {
        Ok(text_rows(|row, out| {
            for byte in row.str(0).bytes() {
                match byte {
                    b' ' => put_char(out, '+'),
                    b'.' | b'-' | b'*' | b'_' => put_char(out, char::from(byte)),
                    _ if byte.is_ascii_alphanumeric() => put_char(out, char::from(byte)),
                    _ => std::fmt::Write::write_fmt(out, format_args!("%{byte:02X}"))
                        .expect("a string builder accepts every write"),
                }
            }
            Ok(true)
        }))
    },
);
/// Null for a broken escape.
pub(super) const URL_DECODE: Function = function(
    "URL_DECODE",
    |a| signature(a, "URL_DECODE(string)", &[Want::Text], &[]).map(|_| string(true)),
    |_| {
        Ok(text_rows(|row, out| {
            let decoded = url_decoded(row.str(0));
            Ok(decoded.inspect(|text| put(out, text)).is_some())
        }))
    },
);

fn url_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).ok()?;
                bytes.push(byte[0]);
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

fn query_value<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// The parts of a URL, as `java.net.URL` names them.
struct Url<'a> {
    protocol: Cow<'a, str>,
    authority: Option<&'a str>,
    user_info: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    reference: Option<&'a str>,
}

/// The protocols that Java knows without further modules.
const PROTOCOLS: [&str; 6] = ["http", "https", "ftp", "file", "jar", "mailto"];

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Url<'a>> {
        let text = text.trim_matches(|c| c <= ' ');
        let text = match text.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("url:") => &text[4..],
            _ => text,
        };
        let (protocol, rest) = text.split_at(text.find([':', '/']).filter(|i| text.as_bytes()[*i] == b':')?);
        let protocol = match protocol {
            p if p.bytes().any(|b| b.is_ascii_uppercase()) => Cow::Owned(p.to_ascii_lowercase()),
            p => Cow::Borrowed(p),
        };
        if !PROTOCOLS.contains(&protocol.as_ref()) {
            return None;
        }
        let rest = &rest[1..];
        let (rest, reference) = rest.split_once('#').map_or((rest, None), |(a, b)| (a, Some(b)));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        let mut url = Url { protocol, authority: None, user_info: None, host: "", path: rest, query, reference };
        if let Some(rest) = rest.strip_prefix("//")
            && !rest.starts_with("//")
        {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            url.authority = Some(authority);
            url.path = path;
            url.parse_authority(authority)?;
        }
        Some(url)
    }
    fn parse_authority(&mut self, authority: &'a str) -> Option<()> {
        let host = match authority.split_once('@') {
            // More than one @: Java gives up on the host, not on the URL.
            Some((_, host)) if host.contains('@') => "",
            Some((user, host)) => {
                self.user_info = Some(user);
                host
            }
            None => authority,
        };
        let (host, port) = if host.starts_with('[') {
            let end = host.find(']')?;
            host[1..end].parse::<std::net::Ipv6Addr>().ok()?;
            let rest = &host[end + 1..];
            (&host[..=end], if rest.is_empty() { rest } else { rest.strip_prefix(':')? })
        } else {
            host.split_once(':').unwrap_or((host, ""))
        };
        if !port.is_empty() && port.parse::<i32>().ok()? < -1 {
            return None;
        }
        self.host = host;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{check, lit, null};
    use super::super::FUNCTIONS;

    #[test]
    fn parses_urls_as_java_does() {
        let full = "https://user@example.com:8080/a/b.html?x=1&y=two#frag";
        let cases = [
            (full, "HOST", "example.com"),
            (full, "PATH", "/a/b.html"),
            (full, "QUERY", "x=1&y=two"),
            (full, "REF", "frag"),
            (full, "PROTOCOL", "https"),
            (full, "FILE", "/a/b.html?x=1&y=two"),
            (full, "AUTHORITY", "user@example.com:8080"),
            (full, "USERINFO", "user"),
            (full, "host", "NULL"),
            ("http://h.com", "PATH", ""),
            ("http://h.com", "QUERY", "NULL"),
            ("http://h.com", "FILE", ""),
            ("foo://h.com/a", "HOST", "NULL"),
            ("file:///a/b", "HOST", ""),
            ("http://h.com?x=1", "FILE", "?x=1"),
            ("HTTP://H.com/%41", "PROTOCOL", "http"),
            ("mailto:a@b.c", "PATH", "a@b.c"),
            ("http://h.com/p?k=v#", "REF", ""),
            (" http://h.com/p ", "PATH", "/p"),
            ("http://[::1]:80/p", "HOST", "[::1]"),
            ("http://h.com:x/p", "HOST", "NULL"),
            ("http:/p/q", "HOST", ""),
            ("http:p/q", "PATH", "p/q"),
            ("http://h/a/../b/./c", "PATH", "/a/../b/./c"),
            ("no url", "HOST", "NULL"),
            ("/a:b", "HOST", "NULL"),
            ("", "HOST", "NULL"),
        ];
        for (url, part, expected) in cases {
            check(FUNCTIONS, "PARSE_URL", vec![lit(url), lit(part)], expected, "STRING");
        }
        for (key, expected) in [("y", "two"), ("x", "1"), ("z", "NULL"), ("", "NULL")] {
            check(FUNCTIONS, "PARSE_URL", vec![lit(full), lit("QUERY"), lit(key)], expected, "STRING");
        }
        check(FUNCTIONS, "PARSE_URL", vec![lit(full), lit("PATH"), lit("x")], "NULL", "STRING");
        check(FUNCTIONS, "PARSE_URL", vec![lit(full), null()], "NULL", "STRING");
    }

    #[test]
    fn escapes_and_unescapes() {
        check(FUNCTIONS, "URL_ENCODE", vec![lit("a b*~é")], "a+b*%7E%C3%A9", "STRING");
        for (text, expected) in [("a+%41", "a A"), ("%zz", "NULL"), ("%4", "NULL"), ("%C3%A9", "é"), ("é", "é")] {
            check(FUNCTIONS, "URL_DECODE", vec![lit(text)], expected, "STRING");
        }
    }
}
