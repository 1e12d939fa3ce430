//! `PRINTF`: Java's `String.format` for the conversions `b s c d o x e f %` and `n`; a format or an argument that Java
//! would refuse gives null, as in Flink.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{
    DataType as ArrowType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use chrono::{DateTime, NaiveDateTime, Timelike};

use super::super::arguments::{function, refuse, string};
use super::super::json::number::{java_double, java_float, shortest_digits};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::function::{Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

pub(super) const PRINTF: Function = function("PRINTF", |a| printf_type(a), |_| Ok(printf_kernel()));

/// The widest field: a wider one gives null instead of using the memory.
const WIDEST: usize = 1 << 20;

fn printf_type(args: &[Expr]) -> Result<DataType> {
    let usage = "PRINTF(format, value, …), values strings, numbers, booleans or timestamps";
    let printable = |a: &Expr| match &a.data_type().kind {
        TypeKind::Boolean | TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..) | TypeKind::Null => true,
        kind => kind.is_string() || kind.is_numeric(),
    };
    match args.first() {
        Some(format) if format.data_type().kind.is_string() && args.iter().all(printable) => Ok(string(true)),
        _ => Err(refuse(usage, args)),
    }
}

fn printf_kernel() -> Kernel {
    Box::new(|values, rows| {
        let scalar = values.iter().all(|v| matches!(v, Value::Scalar(_)));
        let rows = if scalar { 1 } else { rows };
        let columns: Vec<(&ArrayRef, usize)> = values
            .iter()
            .map(|v| match v {
                Value::Array(array) => (array, 1),
                Value::Scalar(array) => (array, 0),
            })
            .collect();
        let mut out = StringBuilder::with_capacity(rows, rows * 16);
        let mut cells = Vec::with_capacity(columns.len());
        let mut text = String::new();
        for row in 0..rows {
            cells.clear();
            cells.extend(columns.iter().map(|(array, stride)| Cell::read(array, row * stride)));
            text.clear();
            match cells.split_first() {
                Some((Cell::Text(format), rest)) if print(format, rest, &mut text).is_some() => out.append_value(&text),
                _ => out.append_null(),
            }
        }
        let array: ArrayRef = Arc::new(out.finish());
        Ok(if scalar { Value::Scalar(array) } else { Value::Array(array) })
    })
}

enum Cell<'a> {
    Null,
    Bool(bool),
    /// Value and width in bits.
    Int(i64, u32),
    Float(f32),
    Double(f64),
    Text(&'a str),
    /// A type that only `%s` and `%b` print.
    Other(String),
}

impl<'a> Cell<'a> {
    fn read(array: &'a ArrayRef, i: usize) -> Cell<'a> {
        if array.is_null(i) {
            return Cell::Null;
        }
        let local =
            |time: Option<DateTime<chrono::Utc>>| Cell::Other(time.map_or(String::new(), |t| local(t.naive_utc())));
        match array.data_type() {
            ArrowType::Utf8 => Cell::Text(array.as_string::<i32>().value(i)),
            ArrowType::Boolean => Cell::Bool(array.as_boolean().value(i)),
            ArrowType::Int8 => Cell::Int(array.as_primitive::<Int8Type>().value(i).into(), 8),
            ArrowType::Int16 => Cell::Int(array.as_primitive::<Int16Type>().value(i).into(), 16),
            ArrowType::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(i).into(), 32),
            ArrowType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(i), 64),
            ArrowType::Float32 => Cell::Float(array.as_primitive::<Float32Type>().value(i)),
            ArrowType::Float64 => Cell::Double(array.as_primitive::<Float64Type>().value(i)),
            ArrowType::Decimal128(..) => Cell::Other(array.as_primitive::<Decimal128Type>().value_as_string(i)),
            ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
                local(DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(i)))
            }
            ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
                local(DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(i)))
            }
            ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
                local(Some(DateTime::from_timestamp_nanos(array.as_primitive::<TimestampNanosecondType>().value(i))))
            }
            _ => Cell::Null,
        }
    }
    fn text(&self) -> String {
        match self {
            Cell::Null => "null".to_owned(),
            Cell::Bool(b) => b.to_string(),
            Cell::Int(i, _) => i.to_string(),
            Cell::Float(f) => java_float(*f),
            Cell::Double(d) => java_double(*d),
            Cell::Text(text) => (*text).to_owned(),
            Cell::Other(text) => text.clone(),
        }
    }
}

/// Java's `LocalDateTime.toString`.
fn local(time: NaiveDateTime) -> String {
    let format = match (time.second(), time.nanosecond()) {
        (0, 0) => "%Y-%m-%dT%H:%M",
        (_, 0) => "%Y-%m-%dT%H:%M:%S",
        (_, n) if n % 1_000_000 == 0 => "%Y-%m-%dT%H:%M:%S%.3f",
        (_, n) if n % 1_000 == 0 => "%Y-%m-%dT%H:%M:%S%.6f",
        _ => "%Y-%m-%dT%H:%M:%S%.9f",
    };
    time.format(format).to_string()
}

/// `%[index$][flags][width][.precision]conversion`.
#[derive(Default)]
struct Spec {
    index: Option<usize>,
    previous: bool,
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    group: bool,
    paren: bool,
    alternate: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn print(format: &str, cells: &[Cell<'_>], out: &mut String) -> Option<()> {
    let mut rest = format;
    let (mut ordinary, mut last) = (0, None);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (spec, conversion, after) = parse(&rest[at + 1..])?;
        rest = after;
        match conversion {
            'n' => {
                out.push('\n');
                continue;
            }
            '%' => {
                pad(&spec, "%", out)?;
                continue;
            }
            _ => {}
        }
        let index = match (spec.previous, spec.index) {
            (true, _) => last?,
            (_, Some(index)) => index.checked_sub(1)?,
            _ => {
                ordinary += 1;
                ordinary - 1
            }
        };
        last = Some(index);
        let text = convert(&spec, conversion, cells.get(index)?)?;
        if conversion.is_ascii_uppercase() {
            pad(&spec, &text.to_uppercase(), out)?;
        } else {
            pad(&spec, &text, out)?;
        }
    }
    out.push_str(rest);
    Some(())
}

fn parse(text: &str) -> Option<(Spec, char, &str)> {
    let mut spec = Spec::default();
    let number = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut rest = text;
    let digits = number(rest);
    if digits > 0 && rest[digits..].starts_with('$') {
        spec.index = Some(rest[..digits].parse().ok()?);
        rest = &rest[digits + 1..];
    }
    loop {
        let flag = match rest.chars().next()? {
            '-' => &mut spec.left,
            '+' => &mut spec.plus,
            ' ' => &mut spec.space,
            '0' => &mut spec.zero,
            ',' => &mut spec.group,
            '(' => &mut spec.paren,
            '#' => &mut spec.alternate,
            '<' => &mut spec.previous,
            _ => break,
        };
        if std::mem::replace(flag, true) {
            return None;
        }
        rest = &rest[1..];
    }
    let digits = number(rest);
    if digits > 0 {
        spec.width = Some(rest[..digits].parse().ok().filter(|w| *w <= WIDEST)?);
        rest = &rest[digits..];
    }
    if let Some(after) = rest.strip_prefix('.') {
        let digits = number(after);
        spec.precision = Some(after[..digits].parse().ok().filter(|p| *p <= WIDEST)?);
        rest = &after[digits..];
    }
    let conversion = rest.chars().next()?;
    let lonely = (spec.left || spec.zero) && spec.width.is_none();
    let clash = spec.left && spec.zero || spec.plus && spec.space;
    (!lonely && !clash).then_some((spec, conversion, &rest[conversion.len_utf8()..]))
}

fn pad(spec: &Spec, text: &str, out: &mut String) -> Option<()> {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if spec.left {
        out.push_str(text);
    }
    out.extend(std::iter::repeat_n(' ', missing));
    if !spec.left {
        out.push_str(text);
    }
    Some(())
}

fn convert(spec: &Spec, conversion: char, cell: &Cell<'_>) -> Option<String> {
    let numeric = spec.plus || spec.space || spec.zero || spec.group || spec.paren;
    let general = |text: String| match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    };
    match (conversion, cell) {
        ('s' | 'S' | 'b' | 'B' | 'c' | 'C', _) if numeric || spec.alternate => None,
        ('s' | 'S', cell) => Some(general(cell.text())),
        ('b' | 'B', Cell::Null) => Some(general("false".to_owned())),
        ('b' | 'B', Cell::Bool(b)) => Some(general(b.to_string())),
        ('b' | 'B', _) => Some(general("true".to_owned())),
        ('c' | 'C' | 'd' | 'o' | 'x' | 'X', _) if spec.precision.is_some() => None,
        ('c' | 'C' | 'd' | 'o' | 'x' | 'X', Cell::Null) => Some("null".to_owned()),
        ('e' | 'E' | 'f', Cell::Null) => Some(general("null".to_owned())),
        ('c' | 'C', Cell::Int(code, ..=32)) => char::from_u32(u32::try_from(*code).ok()?).map(String::from),
        ('d', Cell::Int(value, _)) => Some(signed(spec, *value < 0, value.unsigned_abs().to_string())),
        ('o' | 'x' | 'X', Cell::Int(..)) if spec.group || spec.plus || spec.space || spec.paren => None,
        ('o' | 'x' | 'X', Cell::Int(value, bits)) => {
            let raw = u64::from_ne_bytes(value.to_ne_bytes()) & (u64::MAX >> (64 - bits));
            let (prefix, digits) = match conversion {
                'o' => ("0", format!("{raw:o}")),
                _ => ("0x", format!("{raw:x}")),
            };
            let prefix = if spec.alternate { prefix } else { "" };
            Some(format!("{prefix}{}", zero_filled(spec, prefix.len(), digits)))
        }
        ('e' | 'E' | 'f', Cell::Float(value)) => {
            floating(spec, conversion, format!("{value:e}").parse().unwrap_or(f64::NAN))
        }
        ('e' | 'E' | 'f', Cell::Double(value)) => floating(spec, conversion, *value),
        _ => None,
    }
}

fn zero_filled(spec: &Spec, taken: usize, digits: String) -> String {
    let width = if spec.zero { spec.width.unwrap_or(0).saturating_sub(taken) } else { 0 };
    format!("{}{digits}", "0".repeat(width.saturating_sub(digits.len())))
}

/// Grouping, sign and leading zeros of decimal digits with an optional fraction.
fn signed(spec: &Spec, negative: bool, digits: String) -> String {
    let digits = if spec.group { grouped(&digits) } else { digits };
    let (before, after) = match (negative, spec) {
        (true, Spec { paren: true, .. }) => ("(", ")"),
        (true, _) => ("-", ""),
        (false, Spec { plus: true, .. }) => ("+", ""),
        (false, Spec { space: true, .. }) => (" ", ""),
        (false, _) => ("", ""),
    };
    format!("{before}{}{after}", zero_filled(spec, before.len() + after.len(), digits))
}

fn grouped(digits: &str) -> String {
    let whole = digits.find(['.', 'e']).unwrap_or(digits.len());
    let mut text = String::with_capacity(digits.len() + whole / 3);
    for (i, c) in digits[..whole].chars().enumerate() {
        if i > 0 && (whole - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text + &digits[whole..]
}

fn floating(spec: &Spec, conversion: char, value: f64) -> Option<String> {
    if !value.is_finite() {
        let plain =
            Spec { zero: false, group: false, ..Spec { plus: spec.plus, paren: spec.paren, ..Spec::default() } };
        let name = if value.is_nan() { "NaN" } else { "Infinity" };
        return Some(if value.is_nan() { name.to_owned() } else { signed(&plain, value < 0.0, name.to_owned()) });
    }
    let precision = spec.precision.unwrap_or(6);
    let (negative, digits, exponent) = shortest_digits(value);
    let digits = if conversion == 'f' {
        fixed(&digits, exponent, precision)
    } else if spec.group {
        return None;
    } else {
        let text = fixed(&digits, 0, precision);
        // Rounding up may carry: 9.99 becomes 10.0.
        let (text, exponent) =
            if text.starts_with("10") { (fixed("1", 0, precision), exponent + 1) } else { (text, exponent) };
        let exponent = if value == 0.0 { 0 } else { exponent };
        format!("{text}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    Some(signed(spec, negative, digits))
}

/// `d.ddd × 10^exponent` with `precision` decimals, rounded half up on the decimal digits, as Java does.
fn fixed(digits: &str, exponent: i32, precision: usize) -> String {
    let mut all: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
    // The number of digits before the point; zeros in front if that is not positive.
    let mut whole = exponent + 1;
    while whole < 1 {
        all.insert(0, 0);
        whole += 1;
    }
    let whole = usize::try_from(whole).unwrap_or(1);
    let keep = whole + precision;
    let up = all.get(keep).is_some_and(|d| *d >= 5);
    all.resize(keep, 0);
    let mut carry = up;
    for digit in all.iter_mut().rev() {
        if !carry {
            break;
        }
        carry = *digit == 9;
        *digit = if carry { 0 } else { *digit + 1 };
    }
    let mut text = String::with_capacity(keep + 2);
    if carry {
        text.push('1');
    }
    for (i, digit) in all.iter().enumerate() {
        if i == whole {
            text.push('.');
        }
        text.push(char::from(b'0' + digit));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{check, code, lit, null, num};
    use super::super::FUNCTIONS;
    use crate::expr::{Expr, Scalar};
    use crate::types::TypeKind;

    fn double(value: f64) -> Expr {
        Expr::literal(Scalar::Double(value), TypeKind::Double)
    }

    #[test]
    fn formats_like_java() {
        let cases = [
            ("%s %d", vec![lit("a"), num(3)], "a 3"),
            ("%5.2f|", vec![double(0.1)], " 0.10|"),
            ("%5.2f", vec![null()], "   nu"),
            ("%.2f", vec![double(0.125)], "0.13"),
            ("%.0f", vec![double(9.5)], "10"),
            ("%.1f", vec![double(1e-7)], "0.0"),
            ("%x %X %o", vec![num(-1), num(-7), num(-1)], "ffffffff FFFFFFF9 37777777777"),
            ("%b %b", vec![null(), lit("x")], "false true"),
            ("%-6s|%6s", vec![lit("ab"), lit("cd")], "ab    |    cd"),
            ("%06d %06d", vec![num(7), num(-7)], "000007 -00007"),
            ("%,d", vec![num(-2_147_483_648)], "-2,147,483,648"),
            ("%e %e", vec![double(123.456), double(1e-7)], "1.234560e+02 1.000000e-07"),
            ("%.1e", vec![double(9.99)], "1.0e+01"),
            ("%c%%%n", vec![num(65)], "A%\n"),
            ("%S %10.3s", vec![lit("tab"), lit("abcdef")], "TAB        abc"),
            ("%+d|% d|%(d", vec![num(7), num(7), num(-7)], "+7| 7|(7)"),
            ("%2$s %1$s %<s", vec![lit("a"), lit("b")], "b a a"),
            ("%s", vec![double(1e-7)], "1.0E-7"),
            ("none", vec![num(1)], "none"),
            ("%s", vec![], "NULL"),
            ("%d", vec![lit("a")], "NULL"),
            ("%q", vec![lit("a")], "NULL"),
            ("%", vec![lit("a")], "NULL"),
            ("%-d", vec![num(1)], "NULL"),
        ];
        for (format, args, expected) in cases {
            let args = [lit(format)].into_iter().chain(args).collect();
            check(FUNCTIONS, "PRINTF", args, expected, "STRING");
        }
        assert_eq!(code(FUNCTIONS, "PRINTF", vec![num(1)]), "invalid_argument");
    }
}
