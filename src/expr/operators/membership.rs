//! `IN` with a list: the first argument is looked for among the others, with SQL's three-valued nulls.
//!
//! Constant lists become a hash set once; other lists are a chain of comparisons.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::boolean::or_kleene;
use arrow::datatypes::{DataType as ArrowType, Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type};
use hashbrown::HashSet;

use super::comparison::{self, Test};
use super::{any_nullable, refuse};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::evaluator::constant;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::expr::vector::boolean;
use crate::types::{DataType, TypeKind};

pub(super) static FUNCTIONS: &[Function] = &[Function { name: "IN", bind, prepare, deterministic: true }];

fn bind(args: &mut Vec<Expr>) -> Result<DataType> {
    if args.len() < 2 {
        return refuse("IN takes a value and at least one candidate");
    }
    let nullable = any_nullable(args);
    comparison::coerce_comparable("IN", args, false)?;
    Ok(DataType { kind: TypeKind::Boolean, nullable })
}

/// The distinct constants of a list.
enum Set {
    Long(HashSet<i64>),
    Decimal(HashSet<i128>),
    Text(HashSet<Box<[u8]>>),
}

fn prepare(call: &Call<'_>) -> Result<Kernel> {
    let Some((needle, list)) = call.args.split_first() else { return Err(Error::internal("IN takes a list")) };
    let constants: Option<Vec<ArrayRef>> = list.iter().map(|e| constant(e, call.context)).collect();
    if let Some((set, has_null)) = constants.and_then(|c| collect(&needle.data_type().to_arrow(), &c)) {
        return Ok(Box::new(move |args, _| {
            let Some(needle) = args.first() else { return Err(Error::internal("IN takes a value")) };
            look_up(needle, &set, has_null)
        }));
    }
    Ok(Box::new(|args, rows| {
        let Some((needle, list)) = args.split_first() else { return Err(Error::internal("IN takes a list")) };
        let scalar = args.iter().all(Value::is_scalar);
        let rows = if scalar { 1 } else { rows };
        let mut found: Option<BooleanArray> = None;
        for candidate in list {
            let equal = Value::Array(comparison::run(Test::Eq, needle, candidate)?.into_array(rows)?);
            let equal = boolean(&equal)?.clone();
            found = Some(match found {
                Some(before) => or_kleene(&before, &equal)?,
                None => equal,
            });
        }
        let found = found.ok_or_else(|| Error::internal("IN takes a list"))?;
        Ok(if scalar { Value::Scalar(Arc::new(found)) } else { Value::Array(Arc::new(found)) })
    }))
}

/// The set, and whether the list has a null; `None` for types that are compared one by one.
fn collect(needle: &ArrowType, list: &[ArrayRef]) -> Option<(Set, bool)> {
    let (there, nulls): (Vec<_>, Vec<_>) = list.iter().partition(|a| a.logical_null_count() == 0);
    if there.iter().any(|a| a.data_type() != needle) {
        return None;
    }
    macro_rules! longs {
        ($type:ty) => {
            Set::Long(there.iter().map(|a| i64::from(a.as_primitive::<$type>().value(0))).collect())
        };
    }
    let set = match needle {
        ArrowType::Int8 => longs!(Int8Type),
        ArrowType::Int16 => longs!(Int16Type),
        ArrowType::Int32 => longs!(Int32Type),
        ArrowType::Int64 => longs!(Int64Type),
        ArrowType::Date32 => longs!(Date32Type),
        ArrowType::Decimal128(..) => {
            Set::Decimal(there.iter().map(|a| a.as_primitive::<Decimal128Type>().value(0)).collect())
        }
        ArrowType::Utf8 => Set::Text(there.iter().map(|a| a.as_string::<i32>().value(0).as_bytes().into()).collect()),
        _ => return None,
    };
    Some((set, !nulls.is_empty()))
}

fn look_up(needle: &Value, set: &Set, has_null: bool) -> Result<Value> {
    let array = needle.array();
    macro_rules! longs {
        ($set:expr, $type:ty) => {{
            let values = array.as_primitive::<$type>().values();
            if $set.len() <= 4 {
                // A few comparisons cost less than a hash.
                let few: Vec<i64> = $set.iter().copied().collect();
                BooleanBuffer::collect_bool(array.len(), |i| few.contains(&i64::from(values[i])))
            } else {
                BooleanBuffer::collect_bool(array.len(), |i| $set.contains(&i64::from(values[i])))
            }
        }};
    }
    let found = match (set, array.data_type()) {
        (Set::Long(set), ArrowType::Int8) => longs!(set, Int8Type),
        (Set::Long(set), ArrowType::Int16) => longs!(set, Int16Type),
        (Set::Long(set), ArrowType::Int32) => longs!(set, Int32Type),
        (Set::Long(set), ArrowType::Int64) => longs!(set, Int64Type),
        (Set::Long(set), ArrowType::Date32) => longs!(set, Date32Type),
        (Set::Decimal(set), ArrowType::Decimal128(..)) => {
            let values = array.as_primitive::<Decimal128Type>().values();
            BooleanBuffer::collect_bool(array.len(), |i| set.contains(&values[i]))
        }
        (Set::Text(set), ArrowType::Utf8) => {
            let values = array.as_string::<i32>();
            BooleanBuffer::collect_bool(array.len(), |i| set.contains(values.value(i).as_bytes()))
        }
        (_, other) => return Err(Error::internal(format!("IN was prepared for another type than {other}"))),
    };
    // Not found beside a null is unknown.
    let known = has_null.then(|| NullBuffer::new(found.clone()));
    let nulls = NullBuffer::union(array.nulls(), known.as_ref());
    Ok(Value::of(&[needle], Arc::new(BooleanArray::new(found, nulls))))
}
