//! Durations as Flink's options write them: `10 s`, `500 ms`, `1 min`, `2h`; a number alone is milliseconds.
//!
//! Source: Flink's `TimeUtils`.

use crate::error::{Error, Result};

/// Milliseconds of a duration; what is finer than a millisecond is cut off. Errors have code `invalid_duration`.
pub fn parse_ms(text: &str) -> Result<u64> {
    let invalid = |why: &str| {
        Error::invalid(
            "invalid_duration",
            format!("'{text}' is not a duration: {why}; write it like '10 s' or '500 ms'"),
        )
    };
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    if number.is_empty() {
        return Err(invalid("it must begin with a whole number"));
    }
    let number: u64 = number.parse().map_err(|_| invalid("the number is too large"))?;
    let (factor, divisor) = match unit.trim().to_ascii_lowercase().as_str() {
        "d" | "day" | "days" => (86_400_000, 1),
        "h" | "hour" | "hours" => (3_600_000, 1),
        "min" | "m" | "minute" | "minutes" => (60_000, 1),
        "s" | "sec" | "secs" | "second" | "seconds" => (1000, 1),
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => (1, 1),
        "µs" | "micro" | "micros" | "microsecond" | "microseconds" => (1, 1000),
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => (1, 1_000_000),
        _ => return Err(invalid("the unit is not known")),
    };
    Ok(number.checked_mul(factor).ok_or_else(|| invalid("the number is too large"))? / divisor)
}

#[cfg(test)]
mod tests {
    use super::parse_ms;

    #[test]
    fn durations_are_read_as_flink_reads_them() {
        for (text, ms) in [
            ("10 s", 10_000),
            ("500 ms", 500),
            ("1 min", 60_000),
            ("2h", 7_200_000),
            (" 3 DAYS ", 259_200_000),
            ("42", 42),
            ("1500 micros", 1),
            ("0 ms", 0),
        ] {
            assert_eq!(parse_ms(text).ok(), Some(ms), "{text}");
        }
        for text in ["", "s", "-1 s", "1.5 s", "10 fortnights", "99999999999999999999 s", "9999999999999999999 d"] {
            assert_eq!(parse_ms(text).unwrap_err().code, "invalid_duration", "{text}");
        }
    }
}
