//! Decimal arithmetic: Flink's result types (`LogicalTypeMerging`), HALF_UP, null where a result does not fit.

use arrow::datatypes::{DataType as ArrowType, Decimal128Type, i256};

use super::arithmetic::{Op, division_by_zero};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::cast::rescale;
use crate::expr::function::{Call, Kernel, Value};
use crate::expr::text::{fits_precision, pow10};
use crate::expr::vector::{binary, primitive, try_binary};
use crate::types::TypeKind;

const MAX_PRECISION: u8 = 38;
/// Digits of a fraction that are kept when the whole part needs the room.
const MIN_ADJUSTED_SCALE: u8 = 6;

/// The type of an operation on decimals of these precisions and scales.
pub(crate) fn decimal_type(op: Op, (p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> TypeKind {
    let scale = match op {
        Op::Add | Op::Sub | Op::Mod => s1.max(s2),
        Op::Mul => s1 + s2,
        Op::Div => (s1 + p2 + 1).max(6),
    };
    let precision = match op {
        Op::Add | Op::Sub => (p1 - s1).max(p2 - s2) + scale + 1,
        Op::Mod => (p1 - s1).min(p2 - s2) + scale,
        Op::Mul => p1 + p2 + 1,
        Op::Div => p1 - s1 + s2 + scale,
    };
    adjust(precision, scale)
}

/// Keeps the whole part and gives up digits of the fraction, as Spark and Hive do.
fn adjust(precision: u8, scale: u8) -> TypeKind {
    if precision <= MAX_PRECISION {
        return TypeKind::Decimal { precision: precision.max(1), scale };
    }
    let whole = precision - scale;
    let scale = MAX_PRECISION.saturating_sub(whole).max(scale.min(MIN_ADJUSTED_SCALE));
    TypeKind::Decimal { precision: MAX_PRECISION, scale }
}

fn shape(expr: &Expr) -> u8 {
    match expr.data_type().kind {
        TypeKind::Decimal { precision, .. } => precision,
        _ => MAX_PRECISION,
    }
}

/// The kernel of `op` on two decimals of scales `s1` and `s2`.
pub(super) fn prepare(op: Op, left: &Expr, s1: u8, right: &Expr, s2: u8, call: &Call<'_>) -> Result<Kernel> {
    let (precision, scale) = match call.data_type.kind {
        TypeKind::Decimal { precision, scale } => (precision, scale),
        // A remainder of whole numbers.
        _ => (MAX_PRECISION, 0),
    };
    let (p1, p2) = (shape(left), shape(right));
    let arrow_type = ArrowType::Decimal128(precision, i8::try_from(scale).unwrap_or(0));
    let whole =
        if matches!(call.data_type.kind, TypeKind::Decimal { .. }) { None } else { Some(call.data_type.to_arrow()) };
    // Nothing to round and room for every digit: no checks needed.
    let exact = match op {
        Op::Mul => scale == s1 + s2 && p1 + p2 <= precision,
        Op::Add | Op::Sub => scale == s1.max(s2) && (p1 - s1).max(p2 - s2) + scale < precision,
        _ => false,
    };
    let (up1, up2) = (pow10(scale.saturating_sub(s1)), pow10(scale.saturating_sub(s2)));
    Ok(Box::new(move |args, _| {
        let [left, right] = args else { return Err(Error::internal("an operator takes two arguments")) };
        let total = |f: &dyn Fn(i128, i128) -> Option<i128>| {
            try_binary::<Decimal128Type, Decimal128Type, Decimal128Type>(left, right, &arrow_type, |a, b| {
                Ok(f(a, b).filter(|v| fits_precision(*v, precision)))
            })
        };
        let value = match op {
            Op::Mul if exact => product(left, right, &arrow_type)?,
            Op::Add if exact => {
                sum(left, right, &arrow_type, move |a, b| a.wrapping_mul(up1).wrapping_add(b.wrapping_mul(up2)))?
            }
            Op::Sub if exact => {
                sum(left, right, &arrow_type, move |a, b| a.wrapping_mul(up1).wrapping_sub(b.wrapping_mul(up2)))?
            }
            Op::Mul => total(&|a, b| multiply(a, b, s1 + s2, scale))?,
            Op::Add => total(&|a, b| add(a, s1, b, s2, scale))?,
            Op::Sub => total(&|a, b| add(a, s1, b.checked_neg()?, s2, scale))?,
            Op::Div | Op::Mod => {
                try_binary::<Decimal128Type, Decimal128Type, Decimal128Type>(left, right, &arrow_type, |a, b| {
                    if b == 0 {
                        return Err(division_by_zero());
                    }
                    let value = if op == Op::Div { divide(a, s1, b, s2, scale) } else { modulo(a, s1, b, s2, scale) };
                    Ok(value.filter(|v| fits_precision(*v, precision)))
                })?
            }
        };
        Ok(match &whole {
            Some(integer) => Value::of(&[&value], arrow::compute::cast(value.array(), integer)?),
            None => value,
        })
    }))
}

fn sum(left: &Value, right: &Value, arrow_type: &ArrowType, op: impl Fn(i128, i128) -> i128) -> Result<Value> {
    binary::<Decimal128Type, Decimal128Type, Decimal128Type>(left, right, arrow_type, op)
}

/// The usual product of a column and a small constant (`0.908 * price`) needs one 64-bit multiplication each.
fn product(left: &Value, right: &Value, arrow_type: &ArrowType) -> Result<Value> {
    let small = |v: &Value| -> Result<Option<i64>> {
        let array = primitive::<Decimal128Type>(v)?;
        Ok(if v.is_scalar() && !array.values().is_empty() { i64::try_from(array.value(0)).ok() } else { None })
    };
    let (column, factor) = match (small(left)?, small(right)?) {
        (Some(x), _) => (right, Some(x)),
        (_, Some(y)) => (left, Some(y)),
        _ => (left, None),
    };
    let other = if std::ptr::eq(column, left) { right } else { left };
    match factor {
        Some(factor) => binary::<Decimal128Type, Decimal128Type, Decimal128Type>(column, other, arrow_type, |a, _| {
            match i64::try_from(a) {
                Ok(a) => i128::from(a) * i128::from(factor),
                Err(_) => a.wrapping_mul(i128::from(factor)),
            }
        }),
        None => sum(left, right, arrow_type, i128::wrapping_mul),
    }
}

fn wide(value: i128) -> i256 {
    i256::from_i128(value)
}

/// Ten to the power of up to 76.
fn wide_pow10(exponent: u8) -> i256 {
    wide(pow10(exponent.min(38))).wrapping_mul(wide(pow10(exponent.saturating_sub(38))))
}

/// Divides HALF_UP by 10^digits.
fn round_wide(value: i256, digits: u8) -> Option<i128> {
    divide_wide(value, wide_pow10(digits))
}

fn divide_wide(value: i256, by: i256) -> Option<i128> {
    let quotient = value.checked_div(by)?;
    let rest = value.checked_rem(by)?;
    let (rest, by_abs) = (rest.wrapping_abs(), by.wrapping_abs());
    let up = rest >= by_abs.wrapping_sub(rest);
    let away = if value.is_negative() == by.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    let rounded = if up && rest != i256::ZERO { quotient.wrapping_add(away) } else { quotient };
    rounded.to_i128()
}

fn multiply(a: i128, b: i128, from: u8, to: u8) -> Option<i128> {
    match a.checked_mul(b) {
        Some(product) => rescale(product, from, to),
        // A scale is only ever reduced here: the result type keeps at most the product's digits.
        None => round_wide(wide(a).checked_mul(wide(b))?, from.saturating_sub(to)),
    }
}

fn add(a: i128, s1: u8, b: i128, s2: u8, to: u8) -> Option<i128> {
    let scale = s1.max(s2);
    let aligned = |v: i128, s: u8| v.checked_mul(pow10(scale - s));
    if let (Some(x), Some(y)) = (aligned(a, s1), aligned(b, s2))
        && let Some(sum) = x.checked_add(y)
    {
        return rescale(sum, scale, to);
    }
    let aligned = |v: i128, s: u8| wide(v).wrapping_mul(wide_pow10(scale - s));
    round_wide(aligned(a, s1).wrapping_add(aligned(b, s2)), scale.saturating_sub(to))
}

fn divide(a: i128, s1: u8, b: i128, s2: u8, to: u8) -> Option<i128> {
    // a / 10^s1 / (b / 10^s2) * 10^to = a * 10^(to + s2 - s1) / b
    let up = to + s2;
    if up < s1 {
        return divide_wide(wide(a), wide(b).checked_mul(wide_pow10(s1 - up))?);
    }
    let digits = up - s1;
    if digits <= 38
        && let Some(numerator) = a.checked_mul(pow10(digits))
    {
        let (quotient, rest) = (numerator / b, numerator % b);
        let (rest, by) = (rest.unsigned_abs(), b.unsigned_abs());
        let away = if (numerator < 0) == (b < 0) { 1 } else { -1 };
        return Some(if rest != 0 && rest >= by - rest { quotient + away } else { quotient });
    }
    if let (true, Some(numerator)) = (digits <= 76, wide(a).checked_mul(wide_pow10(digits))) {
        return divide_wide(numerator, wide(b));
    }
    // Digit by digit: the quotient leaves 38 digits long before the steps leave 256 bits.
    let negative = (a < 0) != (b < 0);
    let (by, mut rest) = (wide(b).wrapping_abs(), wide(a).wrapping_abs());
    let mut quotient = rest.checked_div(by)?.to_i128()?;
    rest = rest.checked_rem(by)?;
    for _ in 0..digits {
        rest = rest.wrapping_mul(wide(10));
        quotient = quotient.checked_mul(10)?.checked_add(rest.checked_div(by)?.to_i128()?)?;
        rest = rest.checked_rem(by)?;
    }
    if rest != i256::ZERO && rest >= by.wrapping_sub(rest) {
        quotient = quotient.checked_add(1)?;
    }
    Some(if negative { -quotient } else { quotient })
}

/// The remainder has the dividend's sign.
fn modulo(a: i128, s1: u8, b: i128, s2: u8, to: u8) -> Option<i128> {
    let scale = s1.max(s2);
    let aligned = |v: i128, s: u8| v.checked_mul(pow10(scale - s));
    let rest = match (aligned(a, s1), aligned(b, s2)) {
        (Some(x), Some(y)) => x.checked_rem(y)?,
        _ => {
            let aligned = |v: i128, s: u8| wide(v).wrapping_mul(wide_pow10(scale - s));
            aligned(a, s1).checked_rem(aligned(b, s2))?.to_i128()?
        }
    };
    rescale(rest, scale, to)
}
