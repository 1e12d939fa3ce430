//! Casts among numbers and booleans.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    IntervalYearMonthType,
};

use super::{ArrayKernel, Setting, failed, shared, unexpected};
use crate::error::{Error, Result};
use crate::expr::text::{fits_precision, parse_decimal, pow10, write_decimal, write_double};
use crate::expr::vector::try_unary;
use crate::types::TypeKind;

/// Precision and scale with which an exact number takes part in decimal arithmetic.
pub(crate) fn decimal_of_integer(kind: &TypeKind) -> Option<(u8, u8)> {
    match kind {
        TypeKind::TinyInt => Some((3, 0)),
        TypeKind::SmallInt => Some((5, 0)),
        TypeKind::Int => Some((10, 0)),
        TypeKind::BigInt => Some((19, 0)),
        TypeKind::Decimal { precision, scale } => Some((*precision, *scale)),
        _ => None,
    }
}

/// The unscaled value at another scale, HALF_UP; `None` beyond 38 digits.
pub(crate) fn rescale(value: i128, from: u8, to: u8) -> Option<i128> {
    if to >= from {
        return value.checked_mul(pow10(to - from));
    }
    let unit = pow10(from - to);
    let (quotient, rest) = (value / unit, value % unit);
    Some(if rest.abs() >= unit - rest.abs() { quotient + value.signum() } else { quotient })
}

/// An array of the primitive type, or a defect.
fn typed<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    array
        .as_primitive_opt::<T>()
        .ok_or_else(|| Error::internal(format!("expected {}, got {}", T::DATA_TYPE, array.data_type())))
}

/// A source number as Java's casts see it.
#[derive(Clone, Copy)]
enum Number {
    Long(i64),
    Float(f32),
    Double(f64),
}

// Java's narrowing is what `as` does: integers wrap, floats are cut and saturate, NaN is 0. `(byte) double` goes
// through `int`.
impl Number {
    fn int(self) -> i32 {
        match self {
            Number::Long(x) => x as i32,
            Number::Float(x) => x as i32,
            Number::Double(x) => x as i32,
        }
    }
    fn long(self) -> i64 {
        match self {
            Number::Long(x) => x,
            Number::Float(x) => x as i64,
            Number::Double(x) => x as i64,
        }
    }
    fn float(self) -> f32 {
        match self {
            Number::Long(x) => x as f32,
            Number::Float(x) => x,
            Number::Double(x) => x as f32,
        }
    }
    fn double(self) -> f64 {
        match self {
            Number::Long(x) => x as f64,
            Number::Float(x) => f64::from(x),
            Number::Double(x) => x,
        }
    }
}

/// Casts among numbers and booleans.
pub(super) fn convert(from: &TypeKind, to: &TypeKind, setting: Setting<'_>) -> Result<ArrayKernel> {
    use TypeKind as K;
    Ok(match from {
        K::TinyInt => primitive::<Int8Type>(|x| Number::Long(i64::from(x)), from, to, setting)?,
        K::SmallInt => primitive::<Int16Type>(|x| Number::Long(i64::from(x)), from, to, setting)?,
        K::Int => primitive::<Int32Type>(|x| Number::Long(i64::from(x)), from, to, setting)?,
        K::BigInt => primitive::<Int64Type>(Number::Long, from, to, setting)?,
        K::Float => primitive::<Float32Type>(Number::Float, from, to, setting)?,
        K::Double => primitive::<Float64Type>(Number::Double, from, to, setting)?,
        K::Decimal { precision, scale } => from_decimal(*precision, *scale, to)?,
        K::Boolean => from_boolean(to, setting)?,
        _ => return Err(unexpected(from, to)),
    })
}

fn primitive<A: ArrowPrimitiveType>(
    number: impl Fn(A::Native) -> Number + Send + Sync + Copy + 'static,
    from: &TypeKind,
    to: &TypeKind,
    setting: Setting<'_>,
) -> Result<ArrayKernel> {
    use TypeKind as K;
    fn map<A: ArrowPrimitiveType, O: ArrowPrimitiveType>(
        op: impl Fn(A::Native) -> O::Native + Send + Sync + 'static,
    ) -> ArrayKernel {
        Box::new(move |array| Ok(shared(typed::<A>(array)?.unary::<_, O>(&op))))
    }
    Ok(match to {
        K::TinyInt => map::<A, Int8Type>(move |x| number(x).int() as i8),
        K::SmallInt => map::<A, Int16Type>(move |x| number(x).int() as i16),
        K::Int => map::<A, Int32Type>(move |x| number(x).int()),
        K::BigInt => map::<A, Int64Type>(move |x| number(x).long()),
        K::Float => map::<A, Float32Type>(move |x| number(x).float()),
        K::Double => map::<A, Float64Type>(move |x| number(x).double()),
        K::Boolean => Box::new(move |array| {
            let array = typed::<A>(array)?;
            let values = array.values();
            let bits = BooleanBuffer::collect_bool(values.len(), |i| number(values[i]).double() != 0.0);
            Ok(shared(BooleanArray::new(bits, array.nulls().cloned())))
        }),
        K::Decimal { precision, scale } => match decimal_of_integer(from) {
            Some((digits, _)) => integer_to_decimal::<A>(number, digits, *precision, *scale, to),
            None => float_to_decimal::<A>(number, *precision, *scale, to, setting),
        },
        _ => return Err(unexpected(from, to)),
    })
}

fn integer_to_decimal<A: ArrowPrimitiveType>(
    number: impl Fn(A::Native) -> Number + Send + Sync + 'static,
    digits: u8,
    precision: u8,
    scale: u8,
    to: &TypeKind,
) -> ArrayKernel {
    let (arrow_type, unit) = (to.to_arrow(), pow10(scale));
    let always_fits = digits + scale <= precision;
    Box::new(move |array| {
        let array = typed::<A>(array)?;
        // At most 19 digits and a scale of 38: the product may leave 128 bits only where it does not fit anyway.
        let decimals: PrimitiveArray<Decimal128Type> = if always_fits {
            array.unary(|x| i128::from(number(x).long()) * unit)
        } else {
            array
                .unary_opt(|x| i128::from(number(x).long()).checked_mul(unit).filter(|v| fits_precision(*v, precision)))
        };
        Ok(shared(decimals.with_data_type(arrow_type.clone())))
    })
}

/// By way of the shortest text, as `BigDecimal.valueOf`.
fn float_to_decimal<A: ArrowPrimitiveType>(
    number: impl Fn(A::Native) -> Number + Send + Sync + 'static,
    precision: u8,
    scale: u8,
    to: &TypeKind,
    setting: Setting<'_>,
) -> ArrayKernel {
    let (arrow_type, target, lenient) = (to.to_arrow(), to.clone(), setting.on_failure_null);
    Box::new(move |array| {
        try_unary::<A, Decimal128Type>(typed::<A>(array)?, &arrow_type, |x| {
            let value = number(x).double();
            let mut text = String::new();
            write_double(value, &mut text);
            if value.is_finite() {
                Ok(parse_decimal(&text, precision, scale))
            } else if lenient {
                Ok(None)
            } else {
                Err(failed(&text, &target))
            }
        })
    })
}

fn from_decimal(precision: u8, scale: u8, to: &TypeKind) -> Result<ArrayKernel> {
    use TypeKind as K;
    let unit = pow10(scale);
    fn map<O: ArrowPrimitiveType>(op: impl Fn(i128) -> O::Native + Send + Sync + 'static) -> ArrayKernel {
        Box::new(move |array| Ok(shared(typed::<Decimal128Type>(array)?.unary::<_, O>(&op))))
    }
    Ok(match to {
        // As `BigDecimal.longValue`: cut, then wrapped.
        K::TinyInt => map::<Int8Type>(move |x| (x / unit) as i8),
        K::SmallInt => map::<Int16Type>(move |x| (x / unit) as i16),
        K::Int => map::<Int32Type>(move |x| (x / unit) as i32),
        K::BigInt => map::<Int64Type>(move |x| (x / unit) as i64),
        K::Float => map::<Float32Type>(move |x| decimal_to_double(x, scale) as f32),
        K::Double => map::<Float64Type>(move |x| decimal_to_double(x, scale)),
        K::Boolean => Box::new(move |array| {
            let array = typed::<Decimal128Type>(array)?;
            let values = array.values();
            let bits = BooleanBuffer::collect_bool(values.len(), |i| values[i] != 0);
            Ok(shared(BooleanArray::new(bits, array.nulls().cloned())))
        }),
        K::Decimal { precision: p, scale: s } => {
            let (p, s, arrow_type) = (*p, *s, to.to_arrow());
            let always_fits = s >= scale && p - s >= precision - scale;
            let factor = pow10(s.saturating_sub(scale));
            Box::new(move |array| {
                let array = typed::<Decimal128Type>(array)?;
                let decimals: PrimitiveArray<Decimal128Type> = if always_fits {
                    array.unary(|x| x.wrapping_mul(factor))
                } else {
                    array.unary_opt(|x| rescale(x, scale, s).filter(|v| fits_precision(*v, p)))
                };
                Ok(shared(decimals.with_data_type(arrow_type.clone())))
            })
        }
        _ => return Err(unexpected(&K::Decimal { precision, scale }, to)),
    })
}

/// The nearest double.
fn decimal_to_double(value: i128, scale: u8) -> f64 {
    // Both are exact doubles here, so that the division rounds once.
    if value.unsigned_abs() < (1 << 53) && scale <= 22 {
        return value as f64 / pow10(scale) as f64;
    }
    let mut text = String::new();
    write_decimal(value, scale, &mut text);
    text.parse().unwrap_or(f64::NAN)
}

fn from_boolean(to: &TypeKind, setting: Setting<'_>) -> Result<ArrayKernel> {
    let then = convert_or_none(&TypeKind::TinyInt, to, setting)?;
    Ok(Box::new(move |array| {
        let array = array.as_boolean_opt().ok_or_else(|| Error::internal("expected a boolean"))?;
        let bytes: PrimitiveArray<Int8Type> =
            PrimitiveArray::new(array.values().iter().map(i8::from).collect(), array.nulls().cloned());
        let bytes = shared(bytes);
        then.as_ref().map_or(Ok(bytes.clone()), |kernel| kernel(&bytes))
    }))
}

fn convert_or_none(from: &TypeKind, to: &TypeKind, setting: Setting<'_>) -> Result<Option<ArrayKernel>> {
    if from == to { Ok(None) } else { convert(from, to, setting).map(Some) }
}

/// A number of months, or of milliseconds.
pub(super) fn to_interval(from: &TypeKind, to: &TypeKind, setting: Setting<'_>) -> Result<ArrayKernel> {
    let months = *to == TypeKind::IntervalYearMonth;
    let integer = if months { TypeKind::Int } else { TypeKind::BigInt };
    let first = convert_or_none(from, &integer, setting)?;
    Ok(Box::new(move |array| {
        let array = first.as_ref().map_or(Ok(array.clone()), |kernel| kernel(array))?;
        Ok(if months {
            shared(typed::<Int32Type>(&array)?.reinterpret_cast::<IntervalYearMonthType>())
        } else {
            shared(typed::<Int64Type>(&array)?.reinterpret_cast::<DurationMillisecondType>())
        })
    }))
}
