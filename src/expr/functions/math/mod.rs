//! Functions of the chapter "arithmetic functions" of Flink's system-function page.
//!
//! Transcendental functions are computed in `DOUBLE` as Java's `Math` does: outside their domain they give `NaN` or an
//! infinity, never an error.

mod number;
mod random;
mod remainder;
mod round;

use std::sync::Arc;

use arrow::array::{Float64Array, StringBuilder};
use arrow::datatypes::{Float64Type, Int64Type};

use super::kernels::{any_nullable, arity, coerce, not_applicable, on_array, primitive, unary, wrap, zip};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

/// One function of `DOUBLE` arguments: its name, how many it takes, and how it computes.
macro_rules! double_function {
    ($name:literal, 1, $f:expr) => {
        Function {
            name: $name,
            bind: |args| bind_doubles($name, args, 1),
            prepare: |_| Ok(unary::<Float64Type, Float64Type>($f)),
            deterministic: true,
        }
    };
    ($name:literal, 2, $f:expr) => {
        Function {
            name: $name,
            bind: |args| bind_doubles($name, args, 2),
            prepare: |_| Ok(binary_kernel($f)),
            deterministic: true,
        }
    };
}

macro_rules! constant {
    ($name:literal, $value:expr) => {
        Function {
            name: $name,
            bind: |args| {
                arity($name, "no arguments", args, 0..=0)?;
                Ok(DataType::not_null(TypeKind::Double))
            },
            prepare: |_| Ok(Box::new(|_, _| Ok(Value::Scalar(Arc::new(Float64Array::from(vec![$value])))))),
            deterministic: true,
        }
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    number::ABS,
    number::SIGN,
    number::CEIL,
    number::CEILING,
    number::FLOOR,
    remainder::MOD,
    round::ROUND,
    round::TRUNCATE,
    random::RAND,
    random::RAND_INTEGER,
    double_function!("SQRT", 1, f64::sqrt),
    double_function!("LN", 1, f64::ln),
    double_function!("LOG10", 1, f64::log10),
    double_function!("LOG2", 1, |x| logarithm(2.0, x)),
    double_function!("EXP", 1, f64::exp),
    double_function!("SIN", 1, f64::sin),
    double_function!("COS", 1, f64::cos),
    double_function!("TAN", 1, f64::tan),
    double_function!("COT", 1, |x: f64| 1.0 / x.tan()),
    double_function!("ASIN", 1, f64::asin),
    double_function!("ACOS", 1, f64::acos),
    double_function!("ATAN", 1, f64::atan),
    double_function!("SINH", 1, f64::sinh),
    double_function!("COSH", 1, f64::cosh),
    double_function!("TANH", 1, f64::tanh),
    double_function!("DEGREES", 1, f64::to_degrees),
    double_function!("RADIANS", 1, f64::to_radians),
    double_function!("POWER", 2, java_power),
    double_function!("ATAN2", 2, f64::atan2),
    Function { name: "LOG", bind: |args| bind_log(args), prepare: prepare_log, deterministic: true },
    Function { name: "BIN", bind: |args| bind_bin(args), prepare: prepare_bin, deterministic: true },
    constant!("PI", std::f64::consts::PI),
    constant!("E", std::f64::consts::E),
];

fn bind_doubles(name: &str, args: &mut [Expr], count: usize) -> Result<DataType> {
    let takes = if count == 1 { "a number" } else { "two numbers" };
    arity(name, takes, args, count..=count)?;
    if !args.iter().all(|a| a.data_type().kind.is_numeric()) {
        return Err(not_applicable(name, takes, args));
    }
    for index in 0..args.len() {
        coerce(args, index, &TypeKind::Double)?;
    }
    Ok(DataType { kind: TypeKind::Double, nullable: any_nullable(args) })
}

fn binary_kernel(f: impl Fn(f64, f64) -> f64 + Send + Sync + 'static) -> Kernel {
    Box::new(move |args, rows| Ok(wrap(args, Arc::new(zip::<Float64Type, Float64Type, Float64Type>(args, rows, &f)?))))
}

/// `Math.log(x) / Math.log(base)`: what Flink computes, with its rounding.
fn logarithm(base: f64, x: f64) -> f64 {
    x.ln() / base.ln()
}

/// Java's `Math.pow` differs from C's: one to the power of an infinity or of `NaN` is `NaN`.
fn java_power(base: f64, exponent: f64) -> f64 {
    if exponent.is_nan() || (base.abs() == 1.0 && exponent.is_infinite()) { f64::NAN } else { base.powf(exponent) }
}

fn bind_log(args: &mut [Expr]) -> Result<DataType> {
    let count = if args.len() == 1 { 1 } else { 2 };
    bind_doubles("LOG", args, count)
}

fn prepare_log(call: &Call<'_>) -> Result<Kernel> {
    Ok(if call.args.len() == 1 { unary::<Float64Type, Float64Type>(f64::ln) } else { binary_kernel(logarithm) })
}

fn bind_bin(args: &mut [Expr]) -> Result<DataType> {
    arity("BIN", "an integer", args, 1..=1)?;
    if !args.iter().all(|a| a.data_type().kind.is_integer()) {
        return Err(not_applicable("BIN", "an integer", args));
    }
    coerce(args, 0, &TypeKind::BigInt)?;
    Ok(DataType::string().with_nullable(any_nullable(args)))
}

/// Negative numbers are written in two's complement of 64 bits, whatever their type.
fn prepare_bin(_: &Call<'_>) -> Result<Kernel> {
    Ok(on_array(|array| {
        use std::fmt::Write;
        let array = primitive::<Int64Type>(array)?;
        let mut out = StringBuilder::with_capacity(array.len(), array.len() * 16);
        for value in array {
            if let Some(value) = value {
                write!(out, "{value:b}").expect("writing to memory cannot fail");
                out.append_value("");
            } else {
                out.append_null();
            }
        }
        Ok(Arc::new(out.finish()))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::functions::kernels::testing::{col, col_not_null, run, show};
    use arrow::array::{ArrayRef, Int64Array};

    fn check(name: &str, args: &[&[Option<f64>]], expected: &str) {
        let values: Vec<_> =
            args.iter().map(|a| Value::Array(Arc::new(Float64Array::from(a.to_vec())) as ArrayRef)).collect();
        let exprs = args.iter().map(|_| col(TypeKind::Double)).collect();
        let (_, got) = run(FUNCTIONS, name, exprs, &values, args[0].len()).unwrap();
        assert_eq!(show(&got), expected, "{name}");
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn doubles_compute_as_in_java() {
        check("SQRT", &[&[Some(4.0), Some(-1.0), None]], "2.0 | NaN | null");
        check("LN", &[&[Some(10.0), Some(0.0), Some(-1.0)]], "2.302585092994046 | -inf | NaN");
        check("LOG2", &[&[Some(9007199254740993.0), Some(0.0)]], "53.0 | -inf");
        check("LOG", &[&[Some(2.0), Some(0.0)], &[Some(2147483647.0), Some(1.0)]], "30.999999999328196 | -0.0");
        check("COT", &[&[Some(0.1)]], "9.966644423259238");
        check("DEGREES", &[&[Some(0.1), Some(-2.5)]], "5.729577951308233 | -143.2394487827058");
        check("RADIANS", &[&[Some(1.0)]], "0.017453292519943295");
        check("ATAN2", &[&[Some(1.0)], &[Some(2.0)]], "0.4636476090008061");
        check("POWER", &[&[Some(2.0), Some(1.0)], &[Some(10.0), Some(f64::NAN)]], "1024.0 | NaN");
    }

    #[test]
    fn constants_and_nullability() {
        let (kind, pi) = run(FUNCTIONS, "PI", vec![], &[], 3).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&pi).as_str()), ("DOUBLE NOT NULL", "3.141592653589793"));
        let one: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let args = vec![col_not_null(TypeKind::Double)];
        let (kind, e) = run(FUNCTIONS, "EXP", args, &[Value::Scalar(one)], 3).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&e).as_str()), ("DOUBLE NOT NULL", "2.718281828459045"));
    }

    #[test]
    fn other_types_are_refused() {
        for (name, kinds) in [
            ("SQRT", vec![TypeKind::VarChar(3)]),
            ("SQRT", vec![]),
            ("LOG", vec![TypeKind::Int; 3]),
            ("BIN", vec![TypeKind::Double]),
            ("POWER", vec![TypeKind::Boolean, TypeKind::Int]),
        ] {
            let error = run(FUNCTIONS, name, kinds.into_iter().map(col).collect(), &[], 0).unwrap_err();
            assert_eq!(error.code, "invalid_argument", "{error}");
        }
    }

    #[test]
    fn bin_is_twos_complement() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(0), None, Some(-5)]));
        let (kind, got) = run(FUNCTIONS, "BIN", vec![col(TypeKind::BigInt)], &[Value::Array(values)], 4).unwrap();
        assert_eq!(kind.to_string(), "STRING");
        assert_eq!(show(&got), format!("111 | 0 | null | {}011", "1".repeat(61)));
    }
}
