//! `||`.

use std::sync::Arc;

use arrow::array::{Array, BinaryBuilder, StringBuilder};
use arrow::datatypes::DataType as ArrowType;

use super::{any_nullable, coerce, expect_count, refuse};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::expr::vector::{length, string};
use crate::types::{DataType, MAX_LENGTH, TypeKind};

pub(super) static FUNCTIONS: &[Function] = &[Function { name: "||", bind, prepare, deterministic: true }];

/// The lengths add up; two `CHAR` give a `CHAR`.
fn bind(args: &mut Vec<Expr>) -> Result<DataType> {
    expect_count("||", args, 2)?;
    let nullable = any_nullable(args);
    let text = args.iter().map(|a| &a.data_type().kind).find(|k| **k != TypeKind::Null).cloned();
    let text = text.unwrap_or(TypeKind::VarChar(MAX_LENGTH));
    let mut lengths = Vec::with_capacity(2);
    for arg in args.iter_mut() {
        if arg.data_type().kind == TypeKind::Null {
            coerce(arg, &text, false)?;
        }
        lengths.push(match &arg.data_type().kind {
            TypeKind::Char(n) => (*n, true, false),
            TypeKind::VarChar(n) => (*n, false, false),
            TypeKind::Binary(n) => (*n, true, true),
            TypeKind::VarBinary(n) => (*n, false, true),
            other => return refuse(format!("|| takes strings, not {other}; write CAST(… AS STRING)")),
        });
    }
    let [(m, a, x), (n, b, y)] = lengths.as_slice() else { return refuse("|| takes two arguments") };
    if x != y {
        return refuse("|| cannot join text and bytes; write a CAST");
    }
    let sum = m.saturating_add(*n).min(MAX_LENGTH);
    let kind = match (a & b, x) {
        (true, false) => TypeKind::Char(sum),
        (false, false) => TypeKind::VarChar(sum),
        (true, true) => TypeKind::Binary(sum),
        (false, true) => TypeKind::VarBinary(sum),
    };
    Ok(DataType { kind, nullable })
}

fn prepare(call: &Call<'_>) -> Result<Kernel> {
    let binary = call.data_type.kind.is_binary();
    Ok(Box::new(move |args, _| {
        let [left, right] = args else { return Err(Error::internal("|| takes two arguments")) };
        if binary { join_bytes(left, right) } else { join(left, right) }
    }))
}

fn join(left: &Value, right: &Value) -> Result<Value> {
    let (a, b) = (string(left)?, string(right)?);
    for side in [left, right] {
        if side.is_scalar() && side.array().is_null(0) {
            return Ok(Value::null(&ArrowType::Utf8));
        }
    }
    let rows = length(&[left, right]);
    let (a_step, b_step) = (usize::from(!left.is_scalar()), usize::from(!right.is_scalar()));
    let bytes = |v: &Value, len: usize| if v.is_scalar() { len * rows } else { len };
    let capacity = bytes(left, a.value_data().len()) + bytes(right, b.value_data().len());
    let mut builder = StringBuilder::with_capacity(rows, capacity);
    for i in 0..rows {
        let (i, j) = (i * a_step, i * b_step);
        if a.is_null(i) || b.is_null(j) {
            builder.append_null();
        } else {
            // Both parts go straight into the buffer; the empty value only ends the entry.
            for part in [a.value(i), b.value(j)] {
                std::fmt::Write::write_str(&mut builder, part).map_err(|e| Error::internal(e.to_string()))?;
            }
            builder.append_value("");
        }
    }
    Ok(Value::of(&[left, right], Arc::new(builder.finish())))
}

fn join_bytes(left: &Value, right: &Value) -> Result<Value> {
    use arrow::array::AsArray;
    let wrong = || Error::internal("expected bytes");
    let a = left.array().as_binary_opt::<i32>().ok_or_else(wrong)?;
    let b = right.array().as_binary_opt::<i32>().ok_or_else(wrong)?;
    let rows = length(&[left, right]);
    let (a_step, b_step) = (usize::from(!left.is_scalar()), usize::from(!right.is_scalar()));
    let mut builder = BinaryBuilder::with_capacity(rows, a.value_data().len() + b.value_data().len());
    for i in 0..rows {
        let (i, j) = (i * a_step, i * b_step);
        let there = a.is_valid(i) && b.is_valid(j);
        builder.append_option(there.then(|| [a.value(i), b.value(j)].concat()));
    }
    Ok(Value::of(&[left, right], Arc::new(builder.finish())))
}
