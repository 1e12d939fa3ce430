//! Numbers as Java writes them: `Double.toString` and `BigDecimal.toString`.

use std::borrow::Cow;

/// The shortest decimal digits of a finite number: `(negative, digits, exponent)` with value `d.ddd × 10^exponent`.
pub(in crate::expr::functions) fn shortest_digits(value: f64) -> (bool, String, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.chars().filter(char::is_ascii_digit).collect();
    (value.is_sign_negative(), digits, exponent.parse().unwrap_or(0))
}

/// Java's `Double.toString`.
pub(in crate::expr::functions) fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return format!("{sign}Infinity");
    }
    if value == 0.0 {
        return format!("{sign}0.0");
    }
    let (_, digits, exponent) = shortest_digits(value);
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    match exponent {
        0..7 if exponent + 1 >= count => {
            let zeros = "0".repeat(usize::try_from(exponent + 1 - count).unwrap_or(0));
            format!("{sign}{digits}{zeros}.0")
        }
        0..7 => {
            let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or(0));
            format!("{sign}{whole}.{fraction}")
        }
        -3..0 => format!("{sign}0.{}{digits}", "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0))),
        _ => {
            let (first, rest) = digits.split_at(1);
            format!("{sign}{first}.{}E{exponent}", if rest.is_empty() { "0" } else { rest })
        }
    }
}

/// Java's `Float.toString`.
pub(in crate::expr::functions) fn java_float(value: f32) -> String {
    // The shortest digits of the float itself; read as a double they are found again.
    format!("{value:e}").parse().map(java_double).unwrap_or_default()
}

/// A number's text as `new BigDecimal(text).toString()` gives it back; integers stay as they are.
pub(in crate::expr::functions) fn big_decimal(text: &str) -> Cow<'_, str> {
    if !text.contains(['.', 'e', 'E']) {
        return Cow::Borrowed(if text == "-0" { "0" } else { text });
    }
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let Ok(exponent) = exponent.parse::<i64>() else { return Cow::Borrowed(text) };
    let scale = i64::try_from(fraction.len()).unwrap_or(i64::MAX).saturating_sub(exponent);
    let all = format!("{whole}{fraction}");
    let digits = match all.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let sign = if negative && digits != "0" { "-" } else { "" };
    let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let adjusted = (count - 1).saturating_sub(scale);
    if scale == 0 {
        return Cow::Owned(format!("{sign}{digits}"));
    }
    if scale > 0 && adjusted >= -6 {
        return Cow::Owned(if scale >= count {
            let zeros = "0".repeat(usize::try_from(scale - count).unwrap_or(0));
            format!("{sign}0.{zeros}{digits}")
        } else {
            let (whole, fraction) = digits.split_at(usize::try_from(count - scale).unwrap_or(0));
            format!("{sign}{whole}.{fraction}")
        });
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    Cow::Owned(format!("{sign}{first}{point}{rest}E{adjusted:+}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_like_java() {
        let doubles = [
            (123.456, "123.456"),
            (0.1, "0.1"),
            (1e-7, "1.0E-7"),
            (1e10, "1.0E10"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (9_999_999.0, "9999999.0"),
            (10_000_000.0, "1.0E7"),
            (-2.5, "-2.5"),
            (100.0, "100.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in doubles {
            assert_eq!(java_double(value), expected);
        }
        assert_eq!(java_float(0.1), "0.1");
        let decimals = [
            ("1.50", "1.50"),
            ("1e3", "1E+3"),
            ("1E400", "1E+400"),
            ("0.00000001", "1E-8"),
            ("1.0E10", "1.0E+10"),
            ("1.0E-7", "1.0E-7"),
            ("1.0E-6", "0.0000010"),
            ("0.00", "0.00"),
            ("0.00000000", "0E-8"),
            ("-0.0", "0.0"),
            ("-0", "0"),
            ("12345678901234567890", "12345678901234567890"),
            ("1.23456789E8", "123456789"),
            ("-12.5e1", "-125"),
            ("-12.5e0", "-12.5"),
        ];
        for (text, expected) in decimals {
            assert_eq!(big_decimal(text), expected, "{text}");
        }
    }
}
