//! Numbers and booleans as text.

use std::fmt::Write;

/// Powers of ten that fit 128 bits.
static POW10: [i128; 39] = {
    let mut table = [1i128; 39];
    let mut i = 1;
    while i < 39 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// 10 to the power of `exponent`; exponents above 38 answer 10^38 (callers stay within decimal precision).
pub fn pow10(exponent: u8) -> i128 {
    POW10[usize::from(exponent.min(38))]
}

/// Whether the unscaled `value` has at most `precision` digits.
pub fn fits_precision(value: i128, precision: u8) -> bool {
    value.unsigned_abs() < pow10(precision).unsigned_abs()
}

/// Java's `Double.toString`: `0.1`, `1.0E10`, `1.23456789E7`, `NaN`, `Infinity`.
pub fn write_double(value: f64, out: &mut String) {
    if !write_special(value.is_nan(), value.is_infinite(), value.is_sign_negative(), value == 0.0, out) {
        write_java(ryu::Buffer::new().format_finite(value), out);
    }
}

/// Java's `Float.toString`.
pub fn write_float(value: f32, out: &mut String) {
    if !write_special(value.is_nan(), value.is_infinite(), value.is_sign_negative(), value == 0.0, out) {
        write_java(ryu::Buffer::new().format_finite(value), out);
    }
}

fn write_special(nan: bool, infinite: bool, negative: bool, zero: bool, out: &mut String) -> bool {
    let text = match (nan, infinite, zero, negative) {
        (true, ..) => "NaN",
        (_, true, _, true) => "-Infinity",
        (_, true, _, false) => "Infinity",
        (_, _, true, true) => "-0.0",
        (_, _, true, false) => "0.0",
        _ => return false,
    };
    out.push_str(text);
    true
}

/// Lays the shortest digits out as Java does: plain between 10^-3 and 10^7, else `d.dddE±n`.
fn write_java(shortest: &str, out: &mut String) {
    let (negative, text) = match shortest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, shortest),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i32>().unwrap_or(0)),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    // The value is 0.DIGITS * 10^point once leading zeros are gone.
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let point = i32::try_from(whole.len()).unwrap_or(0) - i32::try_from(leading).unwrap_or(0) + exponent;
    let digits = digits.trim_start_matches('0').trim_end_matches('0');
    if negative {
        out.push('-');
    }
    let count = i32::try_from(digits.len()).unwrap_or(0);
    if (-2..=7).contains(&point) {
        if point <= 0 {
            out.push_str("0.");
            (0..-point).for_each(|_| out.push('0'));
            out.push_str(digits);
        } else if point >= count {
            out.push_str(digits);
            (0..point - count).for_each(|_| out.push('0'));
            out.push_str(".0");
        } else {
            let (head, tail) = digits.split_at(usize::try_from(point).unwrap_or(0));
            out.push_str(head);
            out.push('.');
            out.push_str(tail);
        }
    } else {
        let (head, tail) = digits.split_at(1);
        out.push_str(head);
        out.push('.');
        out.push_str(if tail.is_empty() { "0" } else { tail });
        out.push('E');
        // Writing to a String cannot fail.
        let _ = write!(out, "{}", point - 1);
    }
}

/// An unscaled decimal, plain: `-12.30`, `0.05`.
pub fn write_decimal(value: i128, scale: u8, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    let magnitude = value.unsigned_abs();
    // Writing to a String cannot fail.
    if scale == 0 {
        let _ = write!(out, "{magnitude}");
    } else {
        let unit = pow10(scale).unsigned_abs();
        let _ = write!(out, "{}.{:0width$}", magnitude / unit, magnitude % unit, width = usize::from(scale));
    }
}

/// An integer as Flink's cast reads it: trimmed, `+`/`-`, a fraction is cut off (`-3.75` is -3).
pub fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim_matches(' ').as_bytes();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    let mut fraction = false;
    for &byte in digits {
        match byte {
            b'.' if !fraction => fraction = true,
            b'0'..=b'9' if fraction => {}
            // Accumulated as a negative number, whose range is larger by one.
            b'0'..=b'9' => value = value.checked_mul(10)?.checked_sub(i64::from(byte - b'0'))?,
            _ => return None,
        }
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// Java's `Double.parseDouble`, without hexadecimal floats.
pub fn parse_double(text: &str) -> Option<f64> {
    parse_java_float(text)
}

/// Java's `Float.parseFloat`, without hexadecimal floats.
pub fn parse_float(text: &str) -> Option<f32> {
    parse_java_float(text)
}

fn parse_java_float<T: std::str::FromStr>(text: &str) -> Option<T> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "NaN" || unsigned == "Infinity" {
        return text.parse().ok();
    }
    let number = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    // Rust also reads `inf` and `nan`, which Java does not.
    let plain = number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if plain { number.parse().ok() } else { None }
}

/// A decimal, rounded HALF_UP to `scale`; `None` if it is no number or has more digits than `precision`.
pub fn parse_decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let text = text.trim_matches(|c: char| c <= ' ');
    let (negative, text) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    // How many of the digits stand before the end of the wanted scale.
    let kept = i64::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(i64::from(scale))?;
    let mut value = 0i128;
    let mut digits = whole.bytes().chain(fraction.bytes());
    let mut taken = 0i64;
    while taken < kept {
        match digits.next() {
            Some(b) => value = value.checked_mul(10)?.checked_add(i128::from(b - b'0'))?,
            None if value == 0 => break,
            None => value = value.checked_mul(10)?,
        }
        taken += 1;
    }
    // The first digit cut off decides, unless even its place lies beyond the number.
    if kept >= 0 && taken == kept && digits.next().is_some_and(|b| b >= b'5') {
        value = value.checked_add(1)?;
    }
    fits_precision(value, precision).then_some(if negative { -value } else { value })
}

/// A boolean as Flink's cast reads it: `t true y yes 1`, `f false n no 0`, any case, not trimmed.
pub fn parse_boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|w| text.eq_ignore_ascii_case(w));
    if is(&["t", "true", "y", "yes", "1"]) {
        Some(true)
    } else if is(&["f", "false", "n", "no", "0"]) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_are_written_as_java_does() {
        let cases: &[(f64, &str)] = &[
            (12_345_678.9, "1.23456789E7"),
            (1e10, "1.0E10"),
            (0.1, "0.1"),
            (1e-7, "1.0E-7"),
            (0.001, "0.001"),
            (0.000_99, "9.9E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (123.456, "123.456"),
            (-2.5, "-2.5"),
            (100.0, "100.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (9_223_372_036_854_775_808.0, "9.223372036854776E18"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157E308"),
        ];
        for (value, expected) in cases {
            let mut out = String::new();
            write_double(*value, &mut out);
            assert_eq!(&out, expected);
        }
        let mut out = String::new();
        write_float(9.007_199e15, &mut out);
        // The shortest digits, as JDK 19 and later; older ones print 9.0071993E15.
        assert_eq!(out, "9.007199E15");
    }

    #[test]
    fn integers_are_read_as_flink_does() {
        let cases: &[(&str, Option<i64>)] = &[
            ("12", Some(12)),
            (" 12 ", Some(12)),
            ("-3.75", Some(-3)),
            ("+5", Some(5)),
            ("12.", Some(12)),
            (".5", Some(0)),
            ("0042", Some(42)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1e3", None),
            ("", None),
            ("-", None),
            ("12 3", None),
            ("1.2.3", None),
            ("१२", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_integer(text), *expected, "{text}");
        }
    }

    #[test]
    fn doubles_are_read_as_java_does() {
        let cases: &[(&str, Option<f64>)] = &[
            (" 12 ", Some(12.0)),
            ("1e3", Some(1000.0)),
            ("1.5e-2", Some(0.015)),
            ("12.", Some(12.0)),
            (".5", Some(0.5)),
            ("12d", Some(12.0)),
            ("Infinity", Some(f64::INFINITY)),
            ("-inf", None),
            ("nan", None),
            (".", None),
            ("", None),
            ("0x10", None),
            ("1_0", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_double(text), *expected, "{text}");
        }
        assert!(parse_double("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn decimals_round_half_up_and_respect_precision() {
        let cases: &[(&str, u8, u8, Option<i128>)] = &[
            ("12", 10, 2, Some(1200)),
            (" -3.75 ", 10, 1, Some(-38)),
            ("1.5e-2", 10, 2, Some(2)),
            ("1e3", 10, 2, Some(100_000)),
            ("99999999.994", 10, 2, Some(9_999_999_999)),
            ("99999999.995", 10, 2, None),
            (".5", 5, 0, Some(1)),
            ("0.04", 5, 0, Some(0)),
            ("5e-3", 5, 1, Some(0)),
            ("5e-2", 5, 1, Some(1)),
            ("0e99", 5, 1, Some(0)),
            ("abc", 5, 1, None),
            ("", 5, 1, None),
            (".", 5, 1, None),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(parse_decimal(text, *precision, *scale), *expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn written_doubles_read_back(value in proptest::num::f64::NORMAL) {
            let mut out = String::new();
            write_double(value, &mut out);
            prop_assert_eq!(parse_double(&out), Some(value));
        }
        #[test]
        fn written_decimals_read_back(value in -10i128.pow(37)..10i128.pow(37), scale in 0u8..38) {
            let mut out = String::new();
            write_decimal(value, scale, &mut out);
            prop_assert_eq!(parse_decimal(&out, 38, scale), Some(value));
        }
    }
}
