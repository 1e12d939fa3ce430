//! `ROUND` (half away from zero) and `TRUNCATE` (toward zero) to a number of decimal places.
//!
//! As Flink does, floating-point numbers are rounded in their shortest decimal notation: `ROUND(2.675e0, 2)` is 2.68.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, Int32Array, PrimitiveArray};
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};

use super::super::kernels::{any_nullable, arity, casts_implicitly, coerce, column, literal_int, not_applicable};
use super::super::kernels::{row_count, wrap};
use super::number::unexpected;
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

pub(super) const ROUND: Function = Function {
    name: "ROUND",
    bind: |args| bind("ROUND", args),
    prepare: |call| prepare(call, Mode::HalfUp),
    deterministic: true,
};
pub(super) const TRUNCATE: Function = Function {
    name: "TRUNCATE",
    bind: |args| bind("TRUNCATE", args),
    prepare: |call| prepare(call, Mode::Down),
    deterministic: true,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    HalfUp,
    Down,
}

fn bind(name: &str, args: &mut [Expr]) -> Result<DataType> {
    let takes = "a number and, if wanted, an INT of decimal places";
    arity(name, takes, args, 1..=2)?;
    let places_fit = args.get(1).is_none_or(|p| casts_implicitly(&p.data_type().kind, &TypeKind::Int));
    let Some(number) = args.first().filter(|a| a.data_type().kind.is_numeric() && places_fit) else {
        return Err(not_applicable(name, takes, args));
    };
    let mut kind = number.data_type().kind.clone();
    let places = if args.len() == 1 { Some(0) } else { literal_int(args.get(1)) };
    if let (TypeKind::Decimal { precision, scale }, Some(places)) = (&mut kind, places)
        && places < i64::from(*scale)
    {
        let kept = u8::try_from(places.max(0)).unwrap_or(0);
        *precision = (1 + *precision - *scale + kept).min(38);
        *scale = kept;
    }
    if args.len() == 2 {
        coerce(args, 1, &TypeKind::Int)?;
    }
    Ok(DataType { kind, nullable: any_nullable(args) })
}

fn prepare(call: &Call<'_>, mode: Mode) -> Result<Kernel> {
    let Some(number) = call.args.first() else { return Err(unexpected(call)) };
    Ok(match (&number.data_type().kind, &call.data_type.kind) {
        (TypeKind::TinyInt, _) => kernel::<Int8Type>(call, move |x, n| integer(x.into(), n, mode) as i8),
        (TypeKind::SmallInt, _) => kernel::<Int16Type>(call, move |x, n| integer(x.into(), n, mode) as i16),
        (TypeKind::Int, _) => kernel::<Int32Type>(call, move |x, n| integer(x.into(), n, mode) as i32),
        (TypeKind::BigInt, _) => kernel::<Int64Type>(call, move |x, n| integer(x.into(), n, mode) as i64),
        (TypeKind::Float, _) => kernel::<Float32Type>(call, move |x, n| {
            if x.is_finite() { decimal_notation(format_args!("{x:e}"), n, mode).parse().unwrap_or(x) } else { x }
        }),
        (TypeKind::Double, _) => kernel::<Float64Type>(call, move |x, n| {
            if x.is_finite() { decimal_notation(format_args!("{x:e}"), n, mode).parse().unwrap_or(x) } else { x }
        }),
        (TypeKind::Decimal { scale: from, .. }, TypeKind::Decimal { scale: to, .. }) => {
            let (from, to) = (i32::from(*from), i32::from(*to));
            kernel::<Decimal128Type>(call, move |x, n| {
                // The result's scale is the places of a literal; of a column's value it is the argument's.
                let kept = n.min(from);
                let rounded = drop_digits(x, from - kept, mode);
                if to >= kept { rounded.saturating_mul(power(to - kept)) } else { rounded / power(kept - to) }
            })
        }
        _ => return Err(unexpected(call)),
    })
}

fn kernel<T: ArrowPrimitiveType>(
    call: &Call<'_>,
    f: impl Fn(T::Native, i32) -> T::Native + Send + Sync + 'static,
) -> Kernel {
    let result_type = call.data_type.to_arrow();
    let one_argument = call.args.len() == 1;
    Box::new(move |args: &[Value], rows| {
        let numbers = column::<PrimitiveArray<T>>(args, 0)?;
        let places = if one_argument { None } else { Some(column::<Int32Array>(args, 1)?) };
        let array = match (&places, args) {
            (None, _) => numbers.array.unary(|x| f(x, 0)),
            (Some(places), [Value::Array(_), Value::Scalar(_)]) => match places.get(0) {
                Some(n) => numbers.array.unary(|x| f(x, n)),
                None => PrimitiveArray::<T>::new_null(rows),
            },
            (Some(places), _) => (0..row_count(args, rows))
                .map(|row| numbers.get(row).zip(places.get(row)).map(|(x, n)| f(x, n)))
                .collect(),
        };
        Ok(wrap(args, Arc::new(array.with_data_type(result_type.clone())) as ArrayRef))
    })
}

/// An integer rounded to `10^-places`; it wraps where the type is too small, as in Flink.
fn integer(x: i128, places: i32, mode: Mode) -> i128 {
    if places >= 0 { x } else { drop_digits(x, -places, mode).wrapping_mul(power(-places)) }
}

/// `x / 10^digits`, rounded.
fn drop_digits(x: i128, digits: i32, mode: Mode) -> i128 {
    if digits <= 0 {
        return x;
    }
    if digits > 38 {
        return 0;
    }
    let unit = power(digits);
    let (quotient, rest) = (x / unit, (x % unit).abs());
    if mode == Mode::HalfUp && rest >= unit - rest { quotient + x.signum() } else { quotient }
}

fn power(exponent: i32) -> i128 {
    u32::try_from(exponent).ok().and_then(|e| 10_i128.checked_pow(e)).unwrap_or(if exponent < 0 {
        1
    } else {
        i128::MAX
    })
}

/// A floating-point number in scientific notation (`-1.25e-3`), rounded to `places`, in notation that parses exactly.
fn decimal_notation(number: std::fmt::Arguments<'_>, places: i32, mode: Mode) -> Notation {
    use std::fmt::Write;
    let mut text = Notation::new();
    if text.write_fmt(number).is_err() {
        return text;
    }
    let (mantissa, exponent) = text.as_str().split_once('e').unwrap_or((text.as_str(), "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut digits: i128 = 0;
    let mut fraction = 0_i32;
    let mut after_point = false;
    for byte in mantissa.bytes() {
        match byte {
            b'0'..=b'9' => {
                digits = digits * 10 + i128::from(byte - b'0');
                fraction += i32::from(after_point);
            }
            b'.' => after_point = true,
            _ => {}
        }
    }
    let negative = mantissa.starts_with('-');
    // The number is digits * 10^-scale, with at most 17 digits.
    let scale = fraction - exponent;
    let kept = places.min(scale);
    let rounded = drop_digits(digits, scale.saturating_sub(kept), mode);
    let mut out = Notation::new();
    // Java's BigDecimal has no negative zero.
    let sign = if negative && rounded != 0 { "-" } else { "" };
    // The number came from this buffer's size, so that it fits again.
    let _ = write!(out, "{sign}{rounded}e{}", -i64::from(kept));
    out
}

/// A short text on the stack: 17 digits, point, sign and exponent.
struct Notation {
    bytes: [u8; 48],
    length: usize,
}

impl Notation {
    fn new() -> Self {
        Notation { bytes: [0; 48], length: 0 }
    }
    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("")
    }
    fn parse<F: std::str::FromStr>(&self) -> Result<F, F::Err> {
        self.as_str().parse()
    }
}

impl std::fmt::Write for Notation {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let end = self.length + s.len();
        let target = self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        target.copy_from_slice(s.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::*;
    use crate::expr::functions::kernels::testing::{col, int, run, show};
    use arrow::array::{Array, Decimal128Array, Float32Array, Float64Array, Int64Array};

    fn check(name: &str, kind: TypeKind, values: ArrayRef, places: Option<i32>, expected_type: &str, expected: &str) {
        let rows = values.len();
        let mut args = vec![col(kind)];
        let mut inputs = vec![Value::Array(values)];
        if let Some(places) = places {
            args.push(int(places.into()));
            inputs.push(Value::Scalar(Arc::new(Int32Array::from(vec![places]))));
        }
        let (got_type, got) = run(FUNCTIONS, name, args, &inputs, rows).unwrap();
        assert_eq!(
            (got_type.to_string().as_str(), show(&got).as_str()),
            (expected_type, expected),
            "{name} {places:?}"
        );
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn decimals_change_their_shape() {
        let dec = || {
            Arc::new(Decimal128Array::from(vec![-9_999_999_999, 123]).with_precision_and_scale(12, 2).unwrap())
                as ArrayRef
        };
        let kind = || TypeKind::Decimal { precision: 12, scale: 2 };
        check("ROUND", kind(), dec(), Some(1), "DECIMAL(12, 1)", "-100000000.0 | 1.2");
        check("ROUND", kind(), dec(), None, "DECIMAL(11, 0)", "-100000000 | 1");
        check("ROUND", kind(), dec(), Some(3), "DECIMAL(12, 2)", "-99999999.99 | 1.23");
        check("ROUND", kind(), dec(), Some(-1), "DECIMAL(11, 0)", "-100000000 | 0");
        check("ROUND", kind(), dec(), Some(-12), "DECIMAL(11, 0)", "0 | 0");
        check("TRUNCATE", kind(), dec(), Some(1), "DECIMAL(12, 1)", "-99999999.9 | 1.2");
        check("TRUNCATE", kind(), dec(), Some(-1), "DECIMAL(11, 0)", "-99999990 | 0");
    }

    #[test]
    fn decimal_places_from_a_column_keep_the_scale() {
        let dec = Arc::new(Decimal128Array::from(vec![-9_999_999_999; 2]).with_precision_and_scale(12, 2).unwrap());
        let places = Arc::new(Int32Array::from(vec![1, 6]));
        let args = vec![col(TypeKind::Decimal { precision: 12, scale: 2 }), col(TypeKind::Int)];
        let (kind, got) = run(FUNCTIONS, "ROUND", args, &[Value::Array(dec), Value::Array(places)], 2).unwrap();
        assert_eq!(kind.to_string(), "DECIMAL(12, 2)");
        assert_eq!(show(&got), "-100000000.00 | -99999999.99");
    }

    #[test]
    fn integers_wrap() {
        let ints = || Arc::new(Int32Array::from(vec![-7, 1, i32::MAX])) as ArrayRef;
        check("ROUND", TypeKind::Int, ints(), Some(-1), "INT", "-10 | 0 | -2147483646");
        check("TRUNCATE", TypeKind::Int, ints(), Some(-1), "INT", "0 | 0 | 2147483640");
        let longs = Arc::new(Int64Array::from(vec![9_007_199_254_740_993])) as ArrayRef;
        check("ROUND", TypeKind::BigInt, longs, Some(-2), "BIGINT", "9007199254741000");
    }

    #[test]
    fn doubles_round_as_they_are_written() {
        let doubles = || Arc::new(Float64Array::from(vec![2.675, 1.005, -2.5, 1e-7, 1e300, f64::NAN])) as ArrayRef;
        check("ROUND", TypeKind::Double, doubles(), Some(2), "DOUBLE", "2.68 | 1.01 | -2.5 | 0.0 | 1e300 | NaN");
        check("ROUND", TypeKind::Double, doubles(), None, "DOUBLE", "3.0 | 1.0 | -3.0 | 0.0 | 1e300 | NaN");
        check("TRUNCATE", TypeKind::Double, doubles(), Some(1), "DOUBLE", "2.6 | 1.0 | -2.5 | 0.0 | 1e300 | NaN");
        let floats = Arc::new(Float32Array::from(vec![123.456, -0.04])) as ArrayRef;
        check("ROUND", TypeKind::Float, floats, Some(1), "FLOAT", "123.5 | 0.0");
    }
}
