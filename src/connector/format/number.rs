//! Numbers as text: integers, decimals without a detour through binary floats, and floats as Java writes them.

/// Appends an unsigned integer.
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    push_padded(out, value, 1);
}

/// Appends an unsigned integer with leading zeros up to `width` digits (at most 20).
pub fn push_padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).expect("a digit");
        value /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len().saturating_sub(width))..]);
}

/// Appends an integer.
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

fn push_u128(out: &mut Vec<u8>, value: u128) {
    const CUT: u128 = 10_000_000_000_000_000_000;
    match (u64::try_from(value), u64::try_from(value % CUT)) {
        (Ok(small), _) => push_u64(out, small),
        (_, Ok(low)) => {
            push_u128(out, value / CUT);
            push_padded(out, low, 19);
        }
        _ => unreachable!("a remainder of less than 10^19 fits"),
    }
}

/// Appends a decimal without an exponent (`BigDecimal.toPlainString`).
pub fn push_decimal_plain(out: &mut Vec<u8>, unscaled: i128, scale: u8) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let start = out.len();
    push_u128(out, unscaled.unsigned_abs());
    let scale = usize::from(scale);
    if scale == 0 {
        return;
    }
    let digits = out.len() - start;
    if digits <= scale {
        let zeros = scale - digits + 1;
        out.splice(start..start, std::iter::repeat_n(b'0', zeros));
    }
    out.insert(out.len() - scale, b'.');
}

/// Appends a decimal as `BigDecimal.toString` does: with an exponent where it would start with six zeros or more.
pub fn push_decimal(out: &mut Vec<u8>, unscaled: i128, scale: u8) {
    let mut digits = Vec::with_capacity(40);
    push_u128(&mut digits, unscaled.unsigned_abs());
    let adjusted = i64::try_from(digits.len()).unwrap_or(0) - 1 - i64::from(scale);
    if adjusted >= -6 {
        return push_decimal_plain(out, unscaled, scale);
    }
    if unscaled < 0 {
        out.push(b'-');
    }
    out.push(digits.first().copied().unwrap_or(b'0'));
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.push(b'E');
    push_i64(out, adjusted);
}

/// Why a text is no decimal of some precision.
#[derive(Debug, PartialEq, Eq)]
pub enum BadDecimal {
    Syntax,
    Overflow,
}

/// The unscaled value of a decimal text at `scale`, rounded half up, with at most `precision` digits.
pub fn parse_decimal(text: &[u8], precision: u8, scale: u8) -> Result<i128, BadDecimal> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let end = text.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(end);
    let exponent: i64 = match exponent {
        [] => 0,
        [_, digits @ ..] => {
            std::str::from_utf8(digits).ok().and_then(|t| t.parse::<i32>().ok()).ok_or(BadDecimal::Syntax)?.into()
        }
    };
    let point = mantissa.iter().position(|b| *b == b'.').unwrap_or(mantissa.len());
    let digits = mantissa[..point].iter().chain(mantissa.iter().skip(point + 1));
    let count = digits.clone().count();
    if count == 0 || digits.clone().any(|b| !b.is_ascii_digit()) {
        return Err(BadDecimal::Syntax);
    }
    let fraction = i64::try_from(count - point).map_err(|_| BadDecimal::Overflow)?;
    let leading = digits.clone().take_while(|b| **b == b'0').count();
    let digits = digits.skip(leading).map(|b| i128::from(b - b'0'));
    let count = i64::try_from(count - leading).map_err(|_| BadDecimal::Overflow)?;
    if count == 0 {
        return Ok(0);
    }
    // The value at `scale` has this many digits before rounding.
    let keep = count + exponent - fraction + i64::from(scale);
    if keep < 0 {
        return Ok(0);
    }
    if keep > i64::from(precision) {
        return Err(BadDecimal::Overflow);
    }
    let mut value: i128 = 0;
    let mut rest = digits;
    for taken in 0..keep {
        let digit = if taken < count { rest.next().unwrap_or(0) } else { 0 };
        value = value * 10 + digit;
    }
    if keep < count && rest.next().unwrap_or(0) >= 5 {
        value += 1;
    }
    if value >= 10i128.pow(u32::from(precision.min(38))) {
        return Err(BadDecimal::Overflow);
    }
    Ok(if negative { -value } else { value })
}

/// An integer text as Java's `parseLong` takes it, and a number whose fraction is zero (`1.0`, `2e3`).
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let plain = std::str::from_utf8(text).ok()?;
    if let Ok(value) = plain.parse() {
        return Some(value);
    }
    // Ten further digits tell a zero fraction from one that rounds to zero; more than that is not an integer.
    let scaled = parse_decimal(text, 38, 10).ok()?;
    (plain.len() < 40 && scaled % 10_000_000_000 == 0 && !has_deep_fraction(text))
        .then_some(scaled / 10_000_000_000)?
        .try_into()
        .ok()
}

/// Whether a decimal text has more fraction than [`parse_integer`] looks at.
fn has_deep_fraction(text: &[u8]) -> bool {
    let fraction = text.iter().skip_while(|b| **b != b'.').skip(1).take_while(|b| b.is_ascii_digit()).count();
    fraction > 10 || text.windows(2).any(|w| matches!(w, [b'e' | b'E', b'-']))
}

/// A float text as Java's `parseDouble` takes it.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"Infinity" | b"+Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        _ if text.last().is_some_and(|b| b.is_ascii_digit() || *b == b'.') => {
            std::str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// Appends a `DOUBLE` as `Double.toString` writes it.
pub fn push_double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        push_java(out, ryu::Buffer::new().format_finite(value));
    } else {
        out.extend_from_slice(non_finite(value));
    }
}

/// Appends a `FLOAT` as `Float.toString` writes it.
pub fn push_float(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        push_java(out, ryu::Buffer::new().format_finite(value));
    } else {
        out.extend_from_slice(non_finite(f64::from(value)));
    }
}

fn non_finite(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    }
}

/// Rewrites shortest digits (`1e16`, `1.5e-7`, `123.0`) in Java's notation: plain from 10^-3 up to 10^7, else `d.dE±n`.
fn push_java(out: &mut Vec<u8>, shortest: &str) {
    let unsigned = match shortest.strip_prefix('-') {
        Some(rest) => {
            out.push(b'-');
            rest
        }
        None => shortest,
    };
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let leading = all.len() - all.trim_start_matches('0').len();
    let digits = all.trim_matches('0').as_bytes();
    if digits.is_empty() {
        out.extend_from_slice(b"0.0");
        return;
    }
    let length = |n: usize| i32::try_from(n).expect("a float has few digits");
    // The value is 0.digits times ten to this.
    let point = length(whole.len()) - length(leading) + exponent.parse::<i32>().expect("the exponent of a float");
    match point {
        ..=-3 | 8.. => {
            out.push(digits[0]);
            out.push(b'.');
            out.extend_from_slice(if digits.len() > 1 { &digits[1..] } else { b"0" });
            out.push(b'E');
            push_i64(out, i64::from(point - 1));
        }
        -2..=0 => {
            out.extend_from_slice(b"0.");
            out.extend((point..0).map(|_| b'0'));
            out.extend_from_slice(digits);
        }
        1..=7 => {
            let point = usize::try_from(point).unwrap_or(0);
            let (whole, fraction) = digits.split_at(point.min(digits.len()));
            out.extend_from_slice(whole);
            out.extend((whole.len()..point).map(|_| b'0'));
            out.push(b'.');
            out.extend_from_slice(if fraction.is_empty() { b"0" } else { fraction });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_look_as_in_java() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (1.5, "1.5"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (0.00123, "0.00123"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (12_345_678.9, "1.23456789E7"),
            (-1.5e-7, "-1.5E-7"),
            (1e16, "1.0E16"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(|o| push_double(o, value)), expected);
        }
        assert_eq!(text(|o| push_float(o, 0.1)), "0.1");
    }

    #[test]
    fn decimals_are_exact() {
        for (input, p, s, expected) in [
            ("1.5", 10, 2, Ok(150)),
            ("-1.005", 10, 2, Ok(-101)),
            ("0.004", 10, 2, Ok(0)),
            ("1e3", 10, 2, Ok(100_000)),
            ("12345e-3", 10, 2, Ok(1235)),
            ("99.995", 4, 2, Err(BadDecimal::Overflow)),
            ("100", 4, 2, Err(BadDecimal::Overflow)),
            ("000100", 5, 2, Ok(10_000)),
            ("0.1234567890123456789012345678901234567", 38, 37, Ok(1_234_567_890_123_456_789_012_345_678_901_234_567)),
            ("1e99999999", 38, 0, Err(BadDecimal::Overflow)),
            ("1e-99999999", 38, 0, Ok(0)),
            ("", 10, 2, Err(BadDecimal::Syntax)),
            (".", 10, 2, Err(BadDecimal::Syntax)),
            ("1.2.3", 10, 2, Err(BadDecimal::Syntax)),
            ("x", 10, 2, Err(BadDecimal::Syntax)),
        ] {
            assert_eq!(parse_decimal(input.as_bytes(), p, s), expected, "{input}");
        }
        for (unscaled, scale, plain, java) in [
            (0, 2, "0.00", "0.00"),
            (150, 2, "1.50", "1.50"),
            (-5, 3, "-0.005", "-0.005"),
            (27, 9, "0.000000027", "2.7E-8"),
            (i128::from(u64::MAX) * 10, 0, "184467440737095516150", "184467440737095516150"),
            (100_000_000_000_000_000_001, 1, "10000000000000000000.1", "10000000000000000000.1"),
        ] {
            assert_eq!(text(|o| push_decimal_plain(o, unscaled, scale)), plain);
            assert_eq!(text(|o| push_decimal(o, unscaled, scale)), java);
        }
    }

    #[test]
    fn integers_are_strict() {
        for (input, expected) in [
            ("12", Some(12)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("+5", Some(5)),
            ("1.0", Some(1)),
            ("2e3", Some(2000)),
            ("1.5", None),
            ("1.00000000000000001", None),
            ("", None),
            ("1a", None),
        ] {
            assert_eq!(parse_integer(input.as_bytes()), expected, "{input}");
        }
    }

    proptest::proptest! {
        #[test]
        fn doubles_are_read_back(value in proptest::num::f64::NORMAL) {
            proptest::prop_assert_eq!(parse_double(text(|o| push_double(o, value)).as_bytes()), Some(value));
        }
    }
}
