//! `ABS`, `SIGN`, `CEIL` and `FLOOR`: functions that keep the type of their argument.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};

use super::super::kernels::{arity, not_applicable, on_array, primitive, unary};
use super::super::temporal;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

pub(super) const ABS: Function =
    Function { name: "ABS", bind: |args| bind("ABS", args), prepare: prepare_abs, deterministic: true };
pub(super) const SIGN: Function =
    Function { name: "SIGN", bind: |args| bind("SIGN", args), prepare: prepare_sign, deterministic: true };
pub(super) const CEIL: Function =
    Function { name: "CEIL", bind: |args| bind_step("CEIL", args), prepare: prepare_ceil, deterministic: true };
pub(super) const CEILING: Function =
    Function { name: "CEILING", bind: |args| bind_step("CEILING", args), prepare: prepare_ceil, deterministic: true };
pub(super) const FLOOR: Function =
    Function { name: "FLOOR", bind: |args| bind_step("FLOOR", args), prepare: prepare_floor, deterministic: true };

fn bind(name: &str, args: &[Expr]) -> Result<DataType> {
    arity(name, "a number", args, 1..=1)?;
    match args {
        [arg] if arg.data_type().kind.is_numeric() => Ok(arg.data_type().clone()),
        _ => Err(not_applicable(name, "a number", args)),
    }
}

/// The smallest number of its type has no absolute value: it stays as it is, as in Java.
fn prepare_abs(call: &Call<'_>) -> Result<Kernel> {
    Ok(match call.data_type.kind {
        TypeKind::TinyInt => unary::<Int8Type, Int8Type>(i8::wrapping_abs),
        TypeKind::SmallInt => unary::<Int16Type, Int16Type>(i16::wrapping_abs),
        TypeKind::Int => unary::<Int32Type, Int32Type>(i32::wrapping_abs),
        TypeKind::BigInt => unary::<Int64Type, Int64Type>(i64::wrapping_abs),
        TypeKind::Float => unary::<Float32Type, Float32Type>(f32::abs),
        TypeKind::Double => unary::<Float64Type, Float64Type>(f64::abs),
        TypeKind::Decimal { .. } => decimal(call, i128::wrapping_abs)?,
        _ => return Err(unexpected(call)),
    })
}

fn prepare_sign(call: &Call<'_>) -> Result<Kernel> {
    Ok(match call.data_type.kind {
        TypeKind::TinyInt => unary::<Int8Type, Int8Type>(i8::signum),
        TypeKind::SmallInt => unary::<Int16Type, Int16Type>(i16::signum),
        TypeKind::Int => unary::<Int32Type, Int32Type>(i32::signum),
        TypeKind::BigInt => unary::<Int64Type, Int64Type>(i64::signum),
        // Unlike Rust's, Java's signum keeps zeros.
        TypeKind::Float => unary::<Float32Type, Float32Type>(|x: f32| if x == 0.0 { x } else { x.signum() }),
        TypeKind::Double => unary::<Float64Type, Float64Type>(|x: f64| if x == 0.0 { x } else { x.signum() }),
        TypeKind::Decimal { scale, .. } => {
            let one = 10_i128.pow(scale.into());
            decimal(call, move |x| x.signum() * one)?
        }
        _ => return Err(unexpected(call)),
    })
}

fn bind_step(name: &str, args: &[Expr]) -> Result<DataType> {
    if args.len() == 2 {
        return temporal::bind_round(name, args);
    }
    let mut result = bind(name, args)?;
    if let TypeKind::Decimal { scale, .. } = &mut result.kind {
        *scale = 0;
    }
    Ok(result)
}

fn prepare_ceil(call: &Call<'_>) -> Result<Kernel> {
    prepare_step(call, f32::ceil, f64::ceil, |x, unit| x.div_euclid(unit) + i128::from(x.rem_euclid(unit) != 0), true)
}

fn prepare_floor(call: &Call<'_>) -> Result<Kernel> {
    prepare_step(call, f32::floor, f64::floor, i128::div_euclid, false)
}

fn prepare_step(
    call: &Call<'_>,
    single: fn(f32) -> f32,
    double: fn(f64) -> f64,
    exact: fn(i128, i128) -> i128,
    up: bool,
) -> Result<Kernel> {
    let Some(arg) = call.args.first() else { return Err(unexpected(call)) };
    if call.args.len() == 2 {
        return temporal::prepare_round(call, up);
    }
    Ok(match arg.data_type().kind {
        TypeKind::Float => unary::<Float32Type, Float32Type>(single),
        TypeKind::Double => unary::<Float64Type, Float64Type>(double),
        TypeKind::Decimal { scale, .. } => {
            let unit = 10_i128.pow(scale.into());
            decimal(call, move |x| exact(x, unit))?
        }
        _ => Box::new(|args: &[Value], _| args.first().cloned().ok_or_else(|| Error::internal("no argument"))),
    })
}

/// A function of unscaled values; the result takes the call's precision and scale.
pub(super) fn decimal(call: &Call<'_>, f: impl Fn(i128) -> i128 + Send + Sync + 'static) -> Result<Kernel> {
    let shape = call.data_type.to_arrow();
    Ok(on_array(move |array| {
        let result = primitive::<Decimal128Type>(array)?.unary::<_, Decimal128Type>(&f);
        Ok(Arc::new(result.with_data_type(shape.clone())) as ArrayRef)
    }))
}

/// The error for a call that `bind` cannot have made.
pub(super) fn unexpected(call: &Call<'_>) -> Error {
    Error::internal(format!("a kernel was prepared for {}, which it does not compute", call.data_type))
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::*;
    use crate::expr::functions::kernels::testing::{col, run, show};
    use arrow::array::{Decimal128Array, Float64Array, Int32Array};

    fn check(name: &str, kind: TypeKind, values: ArrayRef, expected_type: &str, expected: &str) {
        let rows = values.len();
        let (got_type, got) = run(FUNCTIONS, name, vec![col(kind)], &[Value::Array(values)], rows).unwrap();
        assert_eq!((got_type.to_string().as_str(), show(&got).as_str()), (expected_type, expected), "{name}");
    }

    fn decimals(values: &[i128]) -> ArrayRef {
        Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(12, 2).unwrap())
    }

    #[test]
    fn results_keep_the_type() {
        let dec = TypeKind::Decimal { precision: 12, scale: 2 };
        let ints = || Arc::new(Int32Array::from(vec![Some(-7), None, Some(i32::MIN)]));
        let doubles = || Arc::new(Float64Array::from(vec![-2.5, 0.1, -0.0]));
        check("ABS", TypeKind::Int, ints(), "INT", "7 | null | -2147483648");
        check("SIGN", TypeKind::Int, ints(), "INT", "-1 | null | -1");
        check("CEIL", TypeKind::Int, ints(), "INT", "-7 | null | -2147483648");
        check("SIGN", TypeKind::Double, doubles(), "DOUBLE", "-1.0 | 1.0 | -0.0");
        check("CEIL", TypeKind::Double, doubles(), "DOUBLE", "-2.0 | 1.0 | -0.0");
        check("FLOOR", TypeKind::Double, doubles(), "DOUBLE", "-3.0 | 0.0 | -0.0");
        check("ABS", dec.clone(), decimals(&[-9_999_999_999]), "DECIMAL(12, 2)", "99999999.99");
        check("SIGN", dec.clone(), decimals(&[-9, 0, 123]), "DECIMAL(12, 2)", "-1.00 | 0.00 | 1.00");
        check("CEIL", dec.clone(), decimals(&[123, -199, 5, 0, 100]), "DECIMAL(12, 0)", "2 | -1 | 1 | 0 | 1");
        check("FLOOR", dec, decimals(&[123, -199, 5, 0, 100]), "DECIMAL(12, 0)", "1 | -2 | 0 | 0 | 1");
    }
}
