//! Typed access to the options of a table, with Flink's notation for durations and sizes.
//!
//! Every error names the option. Codes: `missing_option`, `invalid_option`, `unknown_option`.
//! Source: Flink's `TimeUtils` and `MemorySize`.

use std::fmt::Display;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::graph::ConnectorSpec;

/// Names within this many edits of a known option are offered in `unknown_option`.
const NEAR_EDITS: usize = 4;

/// The options of one table.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    spec: &'a ConnectorSpec,
}

impl<'a> Options<'a> {
    /// The options of `spec`.
    pub fn new(spec: &'a ConnectorSpec) -> Self {
        Options { spec }
    }

    /// The text of an option, if given.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.spec.options.get(name).map(String::as_str)
    }

    /// The text of an option that must be given.
    pub fn required(&self, name: &str) -> Result<&'a str> {
        self.get(name).ok_or_else(|| {
            let (table, connector) = (&self.spec.table, &self.spec.connector);
            Error::invalid(
                "missing_option",
                format!("table '{table}' with connector '{connector}' needs the option '{name}'"),
            )
        })
    }

    /// An option that is `true` or `false`.
    pub fn boolean(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(t) if t.trim().eq_ignore_ascii_case("true") => Ok(true),
            Some(t) if t.trim().eq_ignore_ascii_case("false") => Ok(false),
            Some(t) => Err(invalid(name, t, "true or false")),
        }
    }

    /// A number of type `T`.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.get(name)
            .map(|t| t.trim().replace('_', "").parse().map_err(|_| invalid(name, t, "a number in range")))
            .transpose()
    }

    /// A number of type `T` that must be at least `least`.
    pub fn number_from<T: FromStr + PartialOrd + Display>(&self, name: &str, least: T) -> Result<Option<T>> {
        match self.number(name)? {
            Some(n) if n < least => {
                Err(invalid(name, self.get(name).unwrap_or_default(), &format!("at least {least}")))
            }
            n => Ok(n),
        }
    }

    /// A duration (`10 s`, `500 ms`, `1 min`; without a unit, milliseconds), in ms.
    pub fn duration_ms(&self, name: &str) -> Result<Option<u64>> {
        self.get(name)
            .map(|t| {
                parse_duration_ms(t).ok_or_else(|| invalid(name, t, "a duration such as '10 s', '500 ms' or '1 min'"))
            })
            .transpose()
    }

    /// A memory size (`128 MB`; without a unit, bytes), in bytes.
    pub fn bytes(&self, name: &str) -> Result<Option<u64>> {
        self.get(name)
            .map(|t| parse_bytes(t).ok_or_else(|| invalid(name, t, "a size such as '128 MB' or '64 kb'")))
            .transpose()
    }

    /// One character (`\t` and the like are understood), or none.
    pub fn character(&self, name: &str) -> Result<Option<u8>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.as_bytes() {
            [b'\\', b't'] => Ok(Some(b'\t')),
            [b'\\', b'n'] => Ok(Some(b'\n')),
            [b'\\', b'\\'] => Ok(Some(b'\\')),
            [one] if one.is_ascii() => Ok(Some(*one)),
            _ => Err(invalid(name, text, "one ASCII character")),
        }
    }

    /// One of `values`; compared without regard to case.
    pub fn one_of(&self, name: &str, values: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match values.iter().find(|v| v.eq_ignore_ascii_case(text.trim())) {
            Some(v) => Ok(Some(v)),
            None => Err(invalid(name, text, &format!("one of {}", values.join(", ")))),
        }
    }

    /// Refuses options outside of `known`, in which `#` stands for any text. `connector` is always known.
    pub fn refuse_unknown(&self, known: &[&str]) -> Result<()> {
        for name in self.spec.options.keys() {
            if name == "connector" || known.iter().any(|k| matches(k, name)) {
                continue;
            }
            let connector = &self.spec.connector;
            return Err(Error::invalid(
                "unknown_option",
                format!("connector '{connector}' does not know the option '{name}'; {}", offer(name, known)),
            ));
        }
        Ok(())
    }
}

/// The error for an option whose value is not acceptable.
pub fn invalid(name: &str, value: &str, expected: &str) -> Error {
    Error::invalid("invalid_option", format!("the option '{name}' must be {expected}, not '{value}'"))
}

fn matches(known: &str, name: &str) -> bool {
    match known.split_once('#') {
        None => known == name,
        Some((head, tail)) => name.len() > head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail),
    }
}

/// What to say after "there is no `name`": the nearest of `known`, else all of them.
pub fn offer(name: &str, known: &[&str]) -> String {
    let mut near: Vec<_> = known.iter().map(|k| (edits(name, k), *k)).filter(|(d, _)| *d <= NEAR_EDITS).collect();
    near.sort_unstable();
    match near.first() {
        Some((_, k)) => format!("did you mean '{k}'?"),
        None => format!("it knows {}", known.iter().map(|k| format!("'{k}'")).collect::<Vec<_>>().join(", ")),
    }
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let best = (corner + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            corner = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Splits `10 s` into 10 and `s`.
fn quantity(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

/// Milliseconds of a duration in Flink's notation; `None` if it is not one, or is no whole number of ms.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let (n, unit) = quantity(text)?;
    let ms = match unit.as_str() {
        "d" | "day" | "days" => 86_400_000,
        "h" | "hour" | "hours" => 3_600_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        _ => return None,
    };
    n.checked_mul(ms)
}

/// Bytes of a memory size in Flink's notation.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (n, unit) = quantity(text)?;
    let bytes = match unit.as_str() {
        "" | "b" | "bytes" => 1,
        "k" | "kb" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gibibytes" => 1 << 30,
        "t" | "tb" | "tebibytes" => 1u64 << 40,
        _ => return None,
    };
    n.checked_mul(bytes)
}

#[cfg(test)]
pub(super) fn spec(connector: &str, options: &[(&str, &str)]) -> ConnectorSpec {
    ConnectorSpec {
        table: "t".into(),
        connector: connector.into(),
        options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        for (text, expected) in [
            ("10 s", Some(10_000)),
            ("500 ms", Some(500)),
            ("1 min", Some(60_000)),
            ("1min", Some(60_000)),
            ("7", Some(7)),
            ("2 days", Some(172_800_000)),
            ("x", None),
            ("1 fortnight", None),
        ] {
            assert_eq!(parse_duration_ms(text), expected, "{text}");
        }
        for (text, expected) in [("128 MB", Some(128 << 20)), ("1g", Some(1 << 30)), ("5", Some(5)), ("MB", None)] {
            assert_eq!(parse_bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_name() {
        let spec = spec("filesystem", &[("connector", "filesystem"), ("json.ignore-parse-error", "true")]);
        let e = Options::new(&spec).refuse_unknown(&["path", "json.ignore-parse-errors"]).unwrap_err();
        assert_eq!(e.code, "unknown_option");
        assert!(e.message.contains("did you mean 'json.ignore-parse-errors'?"), "{e}");
    }

    #[test]
    fn a_wildcard_stands_for_a_column() {
        let spec = spec("datagen", &[("fields.a.b.min", "1")]);
        assert!(Options::new(&spec).refuse_unknown(&["fields.#.min"]).is_ok());
        assert!(Options::new(&spec).refuse_unknown(&["fields.#.max"]).is_err());
    }

    #[test]
    fn wrong_values_name_the_option() {
        let spec = spec("x", &[("a", "yes"), ("n", "-1"), ("d", "soon")]);
        let o = Options::new(&spec);
        for e in
            [o.boolean("a", false).unwrap_err(), o.number::<u32>("n").unwrap_err(), o.duration_ms("d").unwrap_err()]
        {
            assert_eq!(e.code, "invalid_option");
        }
        assert_eq!(o.required("path").unwrap_err().code, "missing_option");
    }
}
