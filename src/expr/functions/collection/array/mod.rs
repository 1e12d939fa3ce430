//! Functions of one array: searching, changing, sorting, joining.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, StringArray, StringBuilder, UInt32Array};

use super::super::kernels::{
    any_nullable, arity, casts_implicitly, coerce, column, not_applicable, row_count, values, wrap,
};
use super::elements::{Lists, bind_needle, build, element_type, encode};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

macro_rules! function {
    ($($name:ident: $bind:expr, $prepare:expr;)*) => {
        $(pub(super) const $name: Function =
            Function { name: stringify!($name), bind: $bind, prepare: $prepare, deterministic: true };)*
    };
}

function! {
    ARRAY_CONTAINS: |args| bind_contains(args), prepare_contains;
    ARRAY_POSITION: |args| bind_position(args), prepare_position;
    ARRAY_REMOVE: |args| bind_remove(args), prepare_remove;
    ARRAY_APPEND: |args| bind_extend("ARRAY_APPEND", args), |call| Ok(prepare_extend(call, End::Back));
    ARRAY_PREPEND: |args| bind_extend("ARRAY_PREPEND", args), |call| Ok(prepare_extend(call, End::Front));
    ARRAY_DISTINCT: |args| bind_same("ARRAY_DISTINCT", args), prepare_distinct;
    ARRAY_REVERSE: |args| bind_same("ARRAY_REVERSE", args), prepare_reverse;
    ARRAY_SLICE: |args| bind_slice(args), prepare_slice;
    ARRAY_SORT: |args| bind_sort(args), prepare_sort;
    ARRAY_MAX: |args| bind_extreme("ARRAY_MAX", args), |_| Ok(prepare_extreme(Extreme::Largest));
    ARRAY_MIN: |args| bind_extreme("ARRAY_MIN", args), |_| Ok(prepare_extreme(Extreme::Smallest));
    ARRAY_JOIN: |args| bind_join(args), prepare_join;
}

fn result(args: &[Expr], nullable: bool) -> Result<DataType> {
    let array = args.first().ok_or_else(|| Error::internal("an array function without arguments"))?;
    Ok(array.data_type().with_nullable(nullable))
}

fn array_nullable(args: &[Expr]) -> bool {
    args.first().is_some_and(|a| a.data_type().nullable)
}

// --- search

fn bind_contains(args: &mut [Expr]) -> Result<DataType> {
    bind_needle("ARRAY_CONTAINS", args)?;
    Ok(DataType { kind: TypeKind::Boolean, nullable: array_nullable(args) })
}

/// A null needle is found where the array has a null.
fn prepare_contains(_: &Call<'_>) -> Result<Kernel> {
    Ok(Box::new(|args, rows| {
        let found: BooleanArray = positions(args, rows)?.into_iter().map(|p| p.map(|p| p > 0)).collect();
        Ok(wrap(args, Arc::new(found)))
    }))
}

fn bind_position(args: &mut [Expr]) -> Result<DataType> {
    let needle_nullable = bind_needle("ARRAY_POSITION", args)?;
    Ok(DataType { kind: TypeKind::Int, nullable: array_nullable(args) || needle_nullable })
}

fn prepare_position(_: &Call<'_>) -> Result<Kernel> {
    Ok(Box::new(|args, rows| {
        let needles = values(args, 1)?;
        let constant = matches!(args.get(1), Some(Value::Scalar(_)));
        let found = positions(args, rows)?.into_iter().enumerate();
        let found: Int32Array =
            found.map(|(row, p)| p.filter(|_| needles.is_valid(if constant { 0 } else { row }))).collect();
        Ok(wrap(args, Arc::new(found)))
    }))
}

/// The first position of the needle in each array, from 1; 0 if it is not there, `None` where the array is null.
fn positions(args: &[Value], rows: usize) -> Result<Vec<Option<i32>>> {
    let lists = Lists::new(args, 0)?;
    let encoded = encode(&[lists.values(), values(args, 1)?])?;
    let [items, needles] = encoded.as_slice() else { return Err(Error::internal("two columns were encoded")) };
    let constant = matches!(args.get(1), Some(Value::Scalar(_)));
    Ok((0..row_count(args, rows))
        .map(|row| {
            let range = lists.get(row)?;
            let needle = needles.row(if constant { 0 } else { row });
            let at = range.clone().position(|i| items.row(i) == needle);
            Some(at.and_then(|at| i32::try_from(at + 1).ok()).unwrap_or(0))
        })
        .collect())
}

// --- change

fn bind_remove(args: &mut [Expr]) -> Result<DataType> {
    bind_needle("ARRAY_REMOVE", args)?;
    result(args, array_nullable(args))
}

fn prepare_remove(call: &Call<'_>) -> Result<Kernel> {
    let list_type = call.data_type.to_arrow();
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(args, 0)?;
        let encoded = encode(&[lists.values(), values(args, 1)?])?;
        let [items, needles] = encoded.as_slice() else { return Err(Error::internal("two columns were encoded")) };
        let constant = matches!(args.get(1), Some(Value::Scalar(_)));
        build(args, rows, &list_type, lists.values(), |row, picked| {
            let Some(range) = lists.get(row) else { return Ok(false) };
            let needle = needles.row(if constant { 0 } else { row });
            range.filter(|i| items.row(*i) != needle).for_each(|i| picked.push(i));
            Ok(true)
        })
    }))
}

fn bind_extend(name: &str, args: &mut [Expr]) -> Result<DataType> {
    let needle_nullable = bind_needle(name, args)?;
    let Some(item) = element_type(args.first()) else { return Err(Error::internal("no element type")) };
    let item = item.with_nullable(item.nullable || needle_nullable);
    Ok(DataType { kind: TypeKind::Array(Box::new(item)), nullable: array_nullable(args) || needle_nullable })
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Front,
    Back,
}

fn prepare_extend(call: &Call<'_>, end: End) -> Kernel {
    let list_type = call.data_type.to_arrow();
    Box::new(move |args, rows| {
        let lists = Lists::new(args, 0)?;
        let added = values(args, 1)?;
        let constant = matches!(args.get(1), Some(Value::Scalar(_)));
        let first_added = lists.values().len();
        let all = arrow::compute::concat(&[lists.values().as_ref(), added.as_ref()])?;
        build(args, rows, &list_type, &all, |row, picked| {
            let Some(range) = lists.get(row) else { return Ok(false) };
            let added = first_added + if constant { 0 } else { row };
            if end == End::Front {
                picked.push(added);
            }
            picked.extend(range);
            if end == End::Back {
                picked.push(added);
            }
            Ok(true)
        })
    })
}

fn bind_same(name: &str, args: &mut [Expr]) -> Result<DataType> {
    arity(name, "an array", args, 1..=1)?;
    element_type(args.first()).ok_or_else(|| not_applicable(name, "an array", args))?;
    result(args, array_nullable(args))
}

fn prepare_distinct(call: &Call<'_>) -> Result<Kernel> {
    let list_type = call.data_type.to_arrow();
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(args, 0)?;
        let encoded = encode(&[lists.values()])?;
        let [items] = encoded.as_slice() else { return Err(Error::internal("one column was encoded")) };
        let mut seen = HashSet::new();
        build(args, rows, &list_type, lists.values(), |row, picked| {
            let Some(range) = lists.get(row) else { return Ok(false) };
            seen.clear();
            range.filter(|i| seen.insert(items.row(*i))).for_each(|i| picked.push(i));
            Ok(true)
        })
    }))
}

fn prepare_reverse(call: &Call<'_>) -> Result<Kernel> {
    let list_type = call.data_type.to_arrow();
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(args, 0)?;
        build(args, rows, &list_type, lists.values(), |row, picked| {
            let Some(range) = lists.get(row) else { return Ok(false) };
            range.rev().for_each(|i| picked.push(i));
            Ok(true)
        })
    }))
}

fn bind_slice(args: &mut [Expr]) -> Result<DataType> {
    let takes = "an array and one or two INT positions";
    arity("ARRAY_SLICE", takes, args, 2..=3)?;
    let positions_fit = args.iter().skip(1).all(|a| casts_implicitly(&a.data_type().kind, &TypeKind::Int));
    if element_type(args.first()).is_none() || !positions_fit {
        return Err(not_applicable("ARRAY_SLICE", takes, args));
    }
    let nullable = any_nullable(args);
    for index in 1..args.len() {
        coerce(args, index, &TypeKind::Int)?;
    }
    result(args, nullable)
}

/// Positions count from 1, negative ones from the end; both ends are included.
fn prepare_slice(call: &Call<'_>) -> Result<Kernel> {
    let list_type = call.data_type.to_arrow();
    let has_end = call.args.len() > 2;
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(args, 0)?;
        let starts = column::<Int32Array>(args, 1)?;
        let ends = if has_end { Some(column::<Int32Array>(args, 2)?) } else { None };
        build(args, rows, &list_type, lists.values(), |row, picked| {
            let (Some(range), Some(start)) = (lists.get(row), starts.get(row)) else { return Ok(false) };
            let length = i64::try_from(range.len()).unwrap_or(i64::MAX);
            let end = match &ends {
                None => length,
                Some(ends) => match ends.get(row) {
                    Some(end) => i64::from(end),
                    None => return Ok(false),
                },
            };
            let from_end = |position: i64| if position < 0 { position + length + 1 } else { position };
            let start = from_end(start.into()).max(1);
            // Position 0 is the first, also where counting from the end arrives at it.
            let end = match from_end(end) {
                0 => 1.min(length),
                end => end.min(length),
            };
            if let (Ok(skip), Ok(take)) = (usize::try_from(start - 1), usize::try_from(end - start + 1)) {
                range.skip(skip).take(take).for_each(|i| picked.push(i));
            }
            Ok(true)
        })
    }))
}

// --- order

/// Whether values of this type have an order in Flink; `BOOLEAN` and constructed types have none.
fn is_comparable(kind: &TypeKind) -> bool {
    kind.is_numeric()
        || kind.is_string()
        || kind.is_binary()
        || matches!(
            kind,
            TypeKind::Date
                | TypeKind::Time(_)
                | TypeKind::Timestamp(..)
                | TypeKind::TimestampLtz(..)
                | TypeKind::IntervalDayTime
                | TypeKind::IntervalYearMonth
        )
}

fn bind_sort(args: &mut [Expr]) -> Result<DataType> {
    let takes = "an array of comparable elements, and if wanted BOOLEANs: ascending, nulls first";
    arity("ARRAY_SORT", takes, args, 1..=3)?;
    let comparable = element_type(args.first()).is_some_and(|t| is_comparable(&t.kind));
    let flags = args.iter().skip(1).all(|a| matches!(a.data_type().kind, TypeKind::Boolean | TypeKind::Null));
    if !comparable || !flags {
        return Err(not_applicable("ARRAY_SORT", takes, args));
    }
    let nullable = any_nullable(args);
    for index in 1..args.len() {
        coerce(args, index, &TypeKind::Boolean)?;
    }
    result(args, nullable)
}

/// Nulls come first in ascending order and last in descending order, unless said otherwise.
fn prepare_sort(call: &Call<'_>) -> Result<Kernel> {
    let list_type = call.data_type.to_arrow();
    let arguments = call.args.len();
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(args, 0)?;
        let flag = |index: usize| {
            if arguments > index { Some(column::<BooleanArray>(args, index)).transpose() } else { Ok(None) }
        };
        let (ascending, nulls_first) = (flag(1)?, flag(2)?);
        let read = |flag: &super::super::kernels::Column<'_, BooleanArray>, row: usize| {
            (!flag.is_null(row)).then(|| flag.array.value(flag.at(row)))
        };
        let elements = lists.values();
        let encoded = encode(&[elements])?;
        let [items] = encoded.as_slice() else { return Err(Error::internal("one column was encoded")) };
        let mut order: Vec<usize> = Vec::new();
        build(args, rows, &list_type, elements, |row, picked| {
            let ascending = ascending.as_ref().map_or(Some(true), |f| read(f, row));
            let nulls_first = nulls_first.as_ref().map_or(ascending, |f| read(f, row));
            let (Some(range), Some(ascending), Some(nulls_first)) = (lists.get(row), ascending, nulls_first) else {
                return Ok(false);
            };
            order.clear();
            order.extend(range.clone().filter(|i| elements.is_valid(*i)));
            order.sort_by(|a, b| {
                let ordering = items.row(*a).cmp(&items.row(*b));
                if ascending { ordering } else { ordering.reverse() }
            });
            let nulls = range.filter(|i| elements.is_null(*i));
            if nulls_first {
                nulls.for_each(|i| picked.push(i));
                order.iter().for_each(|i| picked.push(*i));
            } else {
                order.iter().for_each(|i| picked.push(*i));
                nulls.for_each(|i| picked.push(i));
            }
            Ok(true)
        })
    }))
}

fn bind_extreme(name: &str, args: &[Expr]) -> Result<DataType> {
    let takes = "an array of comparable elements";
    arity(name, takes, args, 1..=1)?;
    match element_type(args.first()) {
        Some(item) if is_comparable(&item.kind) => Ok(item.with_nullable(true)),
        _ => Err(not_applicable(name, takes, args)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Extreme {
    Smallest,
    Largest,
}

/// Nulls are passed over; an array without other elements gives null.
fn prepare_extreme(extreme: Extreme) -> Kernel {
    Box::new(move |args, rows| {
        let lists = Lists::new(args, 0)?;
        let elements = lists.values();
        let encoded = encode(&[elements])?;
        let [items] = encoded.as_slice() else { return Err(Error::internal("one column was encoded")) };
        let found: UInt32Array = (0..row_count(args, rows))
            .map(|row| {
                let candidates = lists.get(row)?.filter(|i| elements.is_valid(*i));
                let best = match extreme {
                    Extreme::Smallest => candidates.min_by_key(|i| items.row(*i)),
                    Extreme::Largest => candidates.max_by_key(|i| items.row(*i)),
                };
                best.and_then(|i| u32::try_from(i).ok())
            })
            .collect();
        Ok(wrap(args, arrow::compute::take(elements, &found, None)?))
    })
}

// --- join

fn bind_join(args: &mut [Expr]) -> Result<DataType> {
    let takes = "an array of strings, a delimiter and, if wanted, a string for nulls";
    arity("ARRAY_JOIN", takes, args, 2..=3)?;
    let is_string = |kind: &TypeKind| kind.is_string() || *kind == TypeKind::Null;
    let array_fits = element_type(args.first()).is_some_and(|t| t.kind.is_string());
    if !array_fits || !args.iter().skip(1).all(|a| is_string(&a.data_type().kind)) {
        return Err(not_applicable("ARRAY_JOIN", takes, args));
    }
    let nullable = any_nullable(args);
    for index in 1..args.len() {
        if args.get(index).is_some_and(|a| a.data_type().kind == TypeKind::Null) {
            coerce(args, index, &DataType::string().kind)?;
        }
    }
    Ok(DataType::string().with_nullable(nullable))
}

/// Null elements are left out, or replaced by the third argument.
fn prepare_join(call: &Call<'_>) -> Result<Kernel> {
    let has_replacement = call.args.len() > 2;
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(args, 0)?;
        let elements: &StringArray = lists
            .values()
            .as_any()
            .downcast_ref()
            .ok_or_else(|| Error::internal("ARRAY_JOIN was called with other elements than strings"))?;
        let delimiters = column::<StringArray>(args, 1)?;
        let replacements = if has_replacement { Some(column::<StringArray>(args, 2)?) } else { None };
        let rows = row_count(args, rows);
        let mut out = StringBuilder::with_capacity(rows, rows * 16);
        let mut text = String::new();
        for row in 0..rows {
            let replacement = replacements.as_ref().map(|r| r.get(row));
            let (Some(range), Some(delimiter)) = (lists.get(row), delimiters.get(row)) else {
                out.append_null();
                continue;
            };
            if replacement == Some(None) {
                out.append_null();
                continue;
            }
            text.clear();
            let parts = range
                .filter_map(|i| if elements.is_valid(i) { Some(elements.value(i)) } else { replacement.flatten() });
            for (i, part) in parts.enumerate() {
                if i > 0 {
                    text.push_str(delimiter);
                }
                text.push_str(part);
            }
            out.append_value(&text);
        }
        Ok(wrap(args, Arc::new(out.finish()) as ArrayRef))
    }))
}

#[cfg(test)]
mod tests;
