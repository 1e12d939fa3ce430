//! `AND OR NOT`, `IS [NOT] NULL` and the truth tests.
//!
//! `AND` and `OR` are three-valued; the evaluator runs them itself so that the right side is not evaluated for rows
//! that the left side decides; the kernels here serve folding and callers that have both sides.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::boolean::{and_kleene, or_kleene};

use super::comparison::negate;
use super::{any_nullable, coerce, expect_count, refuse};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Function, Kernel, Value};
use crate::expr::vector::boolean;
use crate::types::{DataType, TypeKind};

macro_rules! truth {
    ($name:literal, $test:expr) => {
        Function {
            name: $name,
            bind: |args| bind_truth($name, args),
            prepare: |_| Ok(truth($test)),
            deterministic: true,
        }
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    Function { name: "AND", bind: |a| bind("AND", 2, a), prepare: |_| Ok(both(false)), deterministic: true },
    Function { name: "OR", bind: |a| bind("OR", 2, a), prepare: |_| Ok(both(true)), deterministic: true },
    Function { name: "NOT", bind: |a| bind("NOT", 1, a), prepare: |_| Ok(not()), deterministic: true },
    Function { name: "IS_NULL", bind: bind_null, prepare: |_| Ok(null_test(true)), deterministic: true },
    Function { name: "IS_NOT_NULL", bind: bind_null, prepare: |_| Ok(null_test(false)), deterministic: true },
    truth!("IS_TRUE", |v| v == Some(true)),
    truth!("IS_FALSE", |v| v == Some(false)),
    truth!("IS_UNKNOWN", |v| v.is_none()),
    truth!("IS_NOT_TRUE", |v| v != Some(true)),
    truth!("IS_NOT_FALSE", |v| v != Some(false)),
    truth!("IS_NOT_UNKNOWN", |v| v.is_some()),
];

fn booleans(name: &str, args: &mut [Expr]) -> Result<()> {
    for arg in args {
        if arg.data_type().kind == TypeKind::Null {
            coerce(arg, &TypeKind::Boolean, false)?;
        }
        if arg.data_type().kind != TypeKind::Boolean {
            return refuse(format!("{name} takes a BOOLEAN, not {}", arg.data_type().kind));
        }
    }
    Ok(())
}

fn bind(name: &str, count: usize, args: &mut Vec<Expr>) -> Result<DataType> {
    expect_count(name, args, count)?;
    booleans(name, args)?;
    Ok(DataType { kind: TypeKind::Boolean, nullable: any_nullable(args) })
}

fn bind_truth(name: &str, args: &mut Vec<Expr>) -> Result<DataType> {
    bind(name, 1, args)?;
    Ok(DataType::not_null(TypeKind::Boolean))
}

fn bind_null(args: &mut Vec<Expr>) -> Result<DataType> {
    expect_count("IS NULL", args, 1)?;
    Ok(DataType::not_null(TypeKind::Boolean))
}

fn both(or: bool) -> Kernel {
    Box::new(move |args, rows| {
        let [left, right] = args else { return Err(Error::internal("AND takes two arguments")) };
        let rows = if left.is_scalar() && right.is_scalar() { 1 } else { rows };
        let (a, b) = (left.clone().into_array(rows)?, right.clone().into_array(rows)?);
        let (a, b) = (Value::Array(a), Value::Array(b));
        let (a, b) = (boolean(&a)?, boolean(&b)?);
        Ok(Value::of(&[left, right], Arc::new(if or { or_kleene(a, b)? } else { and_kleene(a, b)? })))
    })
}

fn not() -> Kernel {
    Box::new(|args, _| match args {
        [arg] => negate(arg),
        _ => Err(Error::internal("NOT takes one argument")),
    })
}

fn null_test(wanted: bool) -> Kernel {
    Box::new(move |args, _| {
        let [arg] = args else { return Err(Error::internal("IS NULL takes one argument")) };
        let rows = arg.array().len();
        let bits = match arg.array().logical_nulls() {
            Some(nulls) if wanted => !nulls.inner(),
            Some(nulls) => nulls.inner().clone(),
            None if wanted => BooleanBuffer::new_unset(rows),
            None => BooleanBuffer::new_set(rows),
        };
        Ok(Value::of(&[arg], Arc::new(BooleanArray::new(bits, None))))
    })
}

/// From the answers for true, false and null, a word of bits at a time.
fn truth(test: fn(Option<bool>) -> bool) -> Kernel {
    let (on_true, on_false, on_null) = (test(Some(true)), test(Some(false)), test(None));
    Box::new(move |args, _| {
        let [arg] = args else { return Err(Error::internal("a truth test takes one argument")) };
        let array = boolean(arg)?;
        let fill = |bit| if bit { BooleanBuffer::new_set(array.len()) } else { BooleanBuffer::new_unset(array.len()) };
        let (values, valid) = (array.values(), array.nulls().map(NullBuffer::inner));
        let known = match (on_true, on_false) {
            (true, true) => fill(true),
            (true, false) => values.clone(),
            (false, true) => !values,
            (false, false) => fill(false),
        };
        let bits = match valid {
            Some(valid) if on_null => &known | &!valid,
            Some(valid) => &known & valid,
            None => known,
        };
        Ok(Value::of(&[arg], Arc::new(BooleanArray::new(bits, None))))
    })
}
