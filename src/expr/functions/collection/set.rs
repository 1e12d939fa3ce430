//! Functions of several arrays: `ARRAY_CONCAT`, and set operations, which drop duplicates and keep the order.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef};

use super::super::kernels::{any_nullable, arity, coerce, not_applicable};
use super::elements::{Lists, build, element_type, encode};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel};
use crate::expr::least_restrictive;
use crate::types::DataType;

pub(super) const ARRAY_CONCAT: Function = Function {
    name: "ARRAY_CONCAT",
    bind: |args| bind("ARRAY_CONCAT", args, usize::MAX),
    prepare: prepare_concat,
    deterministic: true,
};
pub(super) const ARRAY_UNION: Function = Function {
    name: "ARRAY_UNION",
    bind: |args| bind("ARRAY_UNION", args, 2),
    prepare: |call| Ok(prepare_set(call, Set::Union)),
    deterministic: true,
};
pub(super) const ARRAY_INTERSECT: Function = Function {
    name: "ARRAY_INTERSECT",
    bind: |args| bind("ARRAY_INTERSECT", args, 2),
    prepare: |call| Ok(prepare_set(call, Set::Intersect)),
    deterministic: true,
};
pub(super) const ARRAY_EXCEPT: Function = Function {
    name: "ARRAY_EXCEPT",
    bind: |args| bind("ARRAY_EXCEPT", args, 2),
    prepare: |call| Ok(prepare_set(call, Set::Except)),
    deterministic: true,
};

fn bind(name: &str, args: &mut [Expr], most: usize) -> Result<DataType> {
    let takes = if most == 2 { "two arrays of a common type" } else { "arrays of a common type" };
    arity(name, takes, args, if most == 2 { 2 } else { 1 }..=most)?;
    if args.iter().any(|a| element_type(Some(a)).is_none()) {
        return Err(not_applicable(name, takes, args));
    }
    let types: Vec<_> = args.iter().map(|a| a.data_type().clone()).collect();
    let common = least_restrictive(&types)?;
    let nullable = any_nullable(args);
    for index in 0..args.len() {
        coerce(args, index, &common.kind)?;
    }
    Ok(common.with_nullable(nullable))
}

/// The flat elements of all lists in one array, and where each list's begin.
fn flatten(lists: &[Lists<'_>]) -> Result<(ArrayRef, Vec<usize>)> {
    let arrays: Vec<&dyn Array> = lists.iter().map(|l| l.values().as_ref()).collect();
    let starts = arrays.iter().scan(0, |start, a| {
        let this = *start;
        *start += a.len();
        Some(this)
    });
    Ok((arrow::compute::concat(&arrays)?, starts.collect()))
}

fn prepare_concat(call: &Call<'_>) -> Result<Kernel> {
    let list_type = call.data_type.to_arrow();
    Ok(Box::new(move |args, rows| {
        let lists = (0..args.len()).map(|i| Lists::new(args, i)).collect::<Result<Vec<_>>>()?;
        let (all, starts) = flatten(&lists)?;
        build(args, rows, &list_type, &all, |row, picked| {
            let ranges = lists.iter().map(|l| l.get(row));
            if ranges.clone().any(|r| r.is_none()) {
                return Ok(false);
            }
            for (range, start) in ranges.flatten().zip(&starts) {
                picked.extend(range.start + start..range.end + start);
            }
            Ok(true)
        })
    }))
}

#[derive(Clone, Copy, PartialEq)]
enum Set {
    Union,
    Intersect,
    Except,
}

fn prepare_set(call: &Call<'_>, set: Set) -> Kernel {
    let list_type = call.data_type.to_arrow();
    Box::new(move |args, rows| {
        let lists = [Lists::new(args, 0)?, Lists::new(args, 1)?];
        let (all, starts) = flatten(&lists)?;
        let encoded = encode(&[&all])?;
        let ([items], [left, right], [_, start]) = (encoded.as_slice(), &lists, starts.as_slice()) else {
            return Err(Error::internal("two lists were flattened"));
        };
        let (mut seen, mut other) = (HashSet::new(), HashSet::new());
        build(args, rows, &list_type, &all, |row, picked| {
            let (Some(left), Some(right)) = (left.get(row), right.get(row)) else { return Ok(false) };
            let right = right.start + start..right.end + start;
            seen.clear();
            if set == Set::Union {
                left.chain(right).filter(|i| seen.insert(items.row(*i))).for_each(|i| picked.push(i));
            } else {
                other.clear();
                other.extend(right.map(|i| items.row(i)));
                left.filter(|i| other.contains(&items.row(*i)) == (set == Set::Intersect))
                    .filter(|i| seen.insert(items.row(*i)))
                    .for_each(|i| picked.push(i));
            }
            Ok(true)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::super::testing::{ints, lists, whole_ints};
    use super::*;
    use crate::expr::function::Value;
    use crate::expr::functions::kernels::testing::{col, col_not_null, run, show};
    use crate::types::TypeKind;

    // The expected values are what Flink 2.3.0 answered, nulls kept in their place.
    #[test]
    fn sets_have_no_duplicates() {
        let (one, two, five) = (Some(1), Some(2), Some(5));
        for (name, left, right, expected) in [
            ("ARRAY_CONCAT", &[one, one][..], &[None, two][..], "[1, 1, null, 2]"),
            ("ARRAY_UNION", &[one, None, one], &[None, two], "[1, null, 2]"),
            ("ARRAY_INTERSECT", &[one, one, two], &[one, one], "[1]"),
            ("ARRAY_INTERSECT", &[one, None, one], &[None, one], "[1, null]"),
            ("ARRAY_EXCEPT", &[one, one, one, two], &[one], "[2]"),
            ("ARRAY_EXCEPT", &[one, None, five, five], &[None], "[1, 5]"),
            ("ARRAY_EXCEPT", &[one, one, two], &[one, two], "[]"),
        ] {
            let inputs = [Value::Array(lists(&[Some(left), None])), Value::Scalar(lists(&[Some(right)]))];
            let (_, got) = run(FUNCTIONS, name, vec![col(ints()), col(ints())], &inputs, 2).unwrap();
            assert_eq!(show(&got), format!("{expected} | null"), "{name}");
        }
    }

    #[test]
    fn types_are_common() {
        let args = vec![col_not_null(whole_ints()), col_not_null(whole_ints())];
        let inputs = [Value::Scalar(lists(&[Some(&[Some(1)])])), Value::Scalar(lists(&[Some(&[])]))];
        let (kind, got) = run(FUNCTIONS, "ARRAY_CONCAT", args, &inputs, 5).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("ARRAY<INT NOT NULL> NOT NULL", "[1]"));
        let longs = TypeKind::Array(Box::new(DataType::nullable(TypeKind::BigInt)));
        let mut args = vec![col_not_null(whole_ints()), col_not_null(longs)];
        assert_eq!((ARRAY_UNION.bind)(&mut args).unwrap().to_string(), "ARRAY<BIGINT> NOT NULL");
        let strings = TypeKind::Array(Box::new(DataType::string()));
        assert!((ARRAY_CONCAT.bind)(&mut vec![col(ints()), col(strings)]).is_err());
        assert!((ARRAY_UNION.bind)(&mut vec![col(ints())]).is_err());
        assert!((ARRAY_CONCAT.bind)(&mut vec![]).is_err());
    }
}
