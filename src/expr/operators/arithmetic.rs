//! `+ - * / %` and unary minus.
//!
//! Integers wrap as in Java and divide towards zero; a zero divisor of integers and decimals is an error with code
//! `division_by_zero`, of floats gives infinity or NaN. Types are Calcite's: see [`super::decimal`] for decimals.

use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use arrow::array::{Array, ArrowNativeTypeOp, ArrowPrimitiveType};
use arrow::compute::kernels::numeric::{add_wrapping, div, mul_wrapping, neg_wrapping, sub_wrapping};
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};

use super::decimal::{self, decimal_type};
use super::{any_nullable, coerce, expect_count, interval, refuse};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::cast::{decimal_of_integer, least_restrictive};
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::expr::vector::{binary, primitive, try_binary};
use crate::types::{DataType, TypeKind};

pub(super) static FUNCTIONS: &[Function] = &[
    Function { name: "+", bind: |a| bind(Op::Add, a), prepare: |c| prepare(Op::Add, c), deterministic: true },
    Function { name: "-", bind: |a| bind(Op::Sub, a), prepare: |c| prepare(Op::Sub, c), deterministic: true },
    Function { name: "*", bind: |a| bind(Op::Mul, a), prepare: |c| prepare(Op::Mul, c), deterministic: true },
    Function { name: "/", bind: |a| bind(Op::Div, a), prepare: |c| prepare(Op::Div, c), deterministic: true },
    Function { name: "%", bind: bind_modulo, prepare: prepare_modulo, deterministic: true },
    Function { name: "NEGATE", bind: bind_negate, prepare: prepare_negate, deterministic: true },
];

/// An operator between two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
}

impl Op {
    fn sign(self) -> &'static str {
        match self {
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::Div => "/",
            Op::Mod => "%",
        }
    }
}

/// For the function `MOD`, which is `%`.
pub(crate) fn bind_modulo(args: &mut Vec<Expr>) -> Result<DataType> {
    bind(Op::Mod, args)
}

/// For the function `MOD`, which is `%`.
pub(crate) fn prepare_modulo(call: &Call<'_>) -> Result<Kernel> {
    prepare(Op::Mod, call)
}

pub(super) fn division_by_zero() -> Error {
    Error::invalid("division_by_zero", "division by zero; guard the divisor with NULLIF(divisor, 0) or CASE")
}

fn bind(op: Op, args: &mut Vec<Expr>) -> Result<DataType> {
    expect_count(op.sign(), args, 2)?;
    let nullable = any_nullable(args);
    let kind = match interval::bind(op, args)? {
        Some(kind) => kind,
        None => bind_numbers(op, args)?,
    };
    Ok(DataType { kind, nullable })
}

fn bind_numbers(op: Op, args: &mut [Expr]) -> Result<TypeKind> {
    let kinds: Vec<TypeKind> = args.iter().map(|a| a.data_type().kind.clone()).collect();
    let [left, right] = kinds.as_slice() else { return refuse("an operator takes two arguments") };
    // A bare NULL is of the other side's type.
    let (left, right) = match (left, right) {
        (TypeKind::Null, TypeKind::Null) => (&TypeKind::Int, &TypeKind::Int),
        (TypeKind::Null, other) | (other, TypeKind::Null) => (other, other),
        pair => pair,
    };
    let exact = |k: &TypeKind| decimal_of_integer(k).is_some();
    let sign = op.sign();
    if !left.is_numeric() || !right.is_numeric() {
        return refuse(format!(
            "cannot apply {sign} to {left} and {right}; it takes numbers, or a time and an interval"
        ));
    }
    if op == Op::Mod && !(exact(left) && exact(right)) {
        return refuse(format!("cannot apply % to {left} and {right}; it takes integers and decimals"));
    }
    let has_decimal = [left, right].iter().any(|k| matches!(k, TypeKind::Decimal { .. }));
    if let (true, Some(a), Some(b)) = (has_decimal, decimal_of_integer(left), decimal_of_integer(right)) {
        for (arg, (precision, scale)) in args.iter_mut().zip([a, b]) {
            coerce(arg, &TypeKind::Decimal { precision, scale }, true)?;
        }
        // Whole numbers: the remainder is of the divisor's type.
        return Ok(if op == Op::Mod && a.1 == 0 && b.1 == 0 { right.clone() } else { decimal_type(op, a, b) });
    }
    let common = least_restrictive(&[DataType::nullable(left.clone()), DataType::nullable(right.clone())])?.kind;
    for arg in args.iter_mut() {
        coerce(arg, &common, true)?;
    }
    Ok(if op == Op::Mod { right.clone() } else { common })
}

fn prepare(op: Op, call: &Call<'_>) -> Result<Kernel> {
    let [left, right] = call.args else { return Err(Error::internal("an operator takes two arguments")) };
    if let Some(kernel) = interval::prepare(op, call)? {
        return Ok(kernel);
    }
    match (&left.data_type().kind, &right.data_type().kind) {
        (TypeKind::Decimal { scale: a, .. }, TypeKind::Decimal { scale: b, .. }) => {
            decimal::prepare(op, left, *a, right, *b, call)
        }
        (kind, _) => Ok(numbers(op, kind, &call.data_type.kind)),
    }
}

fn numbers(op: Op, operand: &TypeKind, result: &TypeKind) -> Kernel {
    let (operand, arrow_type) = (operand.clone(), result.to_arrow());
    let narrow = operand != *result;
    Box::new(move |args, _| {
        let [left, right] = args else { return Err(Error::internal("an operator takes two arguments")) };
        let value = match (op, &operand) {
            (Op::Add, TypeKind::Float) => floats::<Float32Type>(left, right, Add::add)?,
            (Op::Sub, TypeKind::Float) => floats::<Float32Type>(left, right, Sub::sub)?,
            (Op::Mul, TypeKind::Float) => floats::<Float32Type>(left, right, Mul::mul)?,
            (Op::Add, TypeKind::Double) => floats::<Float64Type>(left, right, Add::add)?,
            (Op::Sub, TypeKind::Double) => floats::<Float64Type>(left, right, Sub::sub)?,
            (Op::Mul, TypeKind::Double) => floats::<Float64Type>(left, right, Mul::mul)?,
            (Op::Add, _) => Value::of(&[left, right], add_wrapping(left, right)?),
            (Op::Sub, _) => Value::of(&[left, right], sub_wrapping(left, right)?),
            (Op::Mul, _) => Value::of(&[left, right], mul_wrapping(left, right)?),
            (Op::Div, TypeKind::Float | TypeKind::Double) => Value::of(&[left, right], div(left, right)?),
            (Op::Div | Op::Mod, TypeKind::TinyInt) => divide::<Int8Type>(op, left, right)?,
            (Op::Div | Op::Mod, TypeKind::SmallInt) => divide::<Int16Type>(op, left, right)?,
            (Op::Div | Op::Mod, TypeKind::Int) => divide::<Int32Type>(op, left, right)?,
            (Op::Div | Op::Mod, TypeKind::BigInt) => divide::<Int64Type>(op, left, right)?,
            _ => return Err(Error::internal(format!("cannot apply {} to {operand}", op.sign()))),
        };
        // The remainder's type is the divisor's; its value is smaller than that, so that nothing is lost.
        Ok(if narrow { Value::of(&[&value], arrow::compute::cast(value.array(), &arrow_type)?) } else { value })
    })
}

fn floats<T: ArrowPrimitiveType>(
    left: &Value,
    right: &Value,
    op: impl Fn(T::Native, T::Native) -> T::Native,
) -> Result<Value> {
    binary::<T, T, T>(left, right, &T::DATA_TYPE, op)
}

fn divide<T: ArrowPrimitiveType>(op: Op, left: &Value, right: &Value) -> Result<Value> {
    let divisor = primitive::<T>(right)?;
    if right.is_scalar() && divisor.is_valid(0) && !divisor.value(0).is_zero() {
        return match op {
            Op::Mod => binary::<T, T, T>(left, right, &T::DATA_TYPE, |a, b| a.mod_wrapping(b)),
            _ => binary::<T, T, T>(left, right, &T::DATA_TYPE, |a, b| a.div_wrapping(b)),
        };
    }
    try_binary::<T, T, T>(left, right, &T::DATA_TYPE, |a, b| {
        if b.is_zero() {
            return Err(division_by_zero());
        }
        Ok(Some(if op == Op::Mod { a.mod_wrapping(b) } else { a.div_wrapping(b) }))
    })
}

fn bind_negate(args: &mut Vec<Expr>) -> Result<DataType> {
    expect_count("unary -", args, 1)?;
    let Some(arg) = args.first() else { return refuse("unary - takes one argument") };
    let data_type = arg.data_type().clone();
    match data_type.kind {
        TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime => Ok(data_type),
        ref kind if kind.is_numeric() => Ok(data_type),
        other => refuse(format!("cannot apply unary - to {other}; it takes a number or an interval")),
    }
}

fn prepare_negate(call: &Call<'_>) -> Result<Kernel> {
    let kind = call.data_type.kind.clone();
    let arrow_type = call.data_type.to_arrow();
    Ok(Box::new(move |args, _| {
        let [arg] = args else { return Err(Error::internal("unary - takes one argument")) };
        let array = match kind {
            TypeKind::IntervalYearMonth => {
                let months = primitive::<arrow::datatypes::IntervalYearMonthType>(arg)?;
                Arc::new(months.unary::<_, arrow::datatypes::IntervalYearMonthType>(i32::wrapping_neg))
            }
            _ => neg_wrapping(arg.array())?,
        };
        debug_assert_eq!(array.data_type(), &arrow_type);
        Ok(Value::of(&[arg], array))
    }))
}
