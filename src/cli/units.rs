//! Values with units, as flags and the configuration file write them: `10s`, `256MB`.

use std::str::FromStr;

use crate::sql::duration::parse_ms;

/// A duration with its unit: `10s`, `500ms`, `2 min`; a number alone is milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Millis(pub u64);

/// A size with its unit: `64kb`, `256MB`, `2g`, as in Flink powers of 1024; a number alone is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes(pub u64);

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_ms(text).map(Millis).map_err(|e| e.message)
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_bytes(text).map(Bytes).ok_or_else(|| format!("'{text}' is not a size; write it like '256MB' or '64 kb'"))
    }
}

impl TryFrom<String> for Millis {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Source of the units: Flink's `MemorySize`.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kib" | "kibibytes" => 10,
        "m" | "mb" | "mib" | "mebibytes" => 20,
        "g" | "gb" | "gib" | "gibibytes" => 30,
        "t" | "tb" | "tib" | "tebibytes" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse_bytes(text), expected, "{text}");
        check("256MB", Some(256 << 20));
        check(" 64 kb ", Some(64 << 10));
        check("2g", Some(2 << 30));
        check("1tb", Some(1 << 40));
        check("17", Some(17));
        for wrong in ["", "MB", "-1MB", "1.5GB", "3 parsecs", "99999999999999999999", "99999999tb"] {
            check(wrong, None);
        }
    }

    #[test]
    fn wrong_values_say_how_to_write_them() {
        assert!("1 fortnight".parse::<Millis>().unwrap_err().contains("10 s"));
        assert!("lots".parse::<Bytes>().unwrap_err().contains("256MB"));
    }
}
