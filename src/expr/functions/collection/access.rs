//! `ITEM` (`array[i]`, `map[key]`, `row[i]`), `CARDINALITY` and `ELEMENT`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, MapArray, StructArray, UInt32Array};
use arrow::buffer::NullBuffer;

use super::super::kernels::{
    any_nullable, arity, casts_implicitly, coerce, column, literal_int, literal_text, not_applicable, on_array,
    row_count, values, wrap,
};
use super::elements::{Lists, encode};
use super::map::as_map;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, Field, TypeKind};

pub(super) const ITEM: Function =
    Function { name: "ITEM", bind: |args| bind_item(args), prepare: prepare_item, deterministic: true };
pub(super) const CARDINALITY: Function = Function {
    name: "CARDINALITY",
    bind: |args| bind_cardinality(args),
    prepare: prepare_cardinality,
    deterministic: true,
};
pub(super) const ELEMENT: Function =
    Function { name: "ELEMENT", bind: |args| bind_element(args), prepare: prepare_element, deterministic: true };

const ITEM_TAKES: &str = "an array and an integer, a map and a key, or a row and a literal position or name";

fn bind_item(args: &mut [Expr]) -> Result<DataType> {
    arity("ITEM", ITEM_TAKES, args, 2..=2)?;
    let [container, index] = &*args else { return Err(not_applicable("ITEM", ITEM_TAKES, args)) };
    let refused = || not_applicable("ITEM", ITEM_TAKES, args);
    let nullable = container.data_type().nullable;
    let index_kind = &index.data_type().kind;
    match container.data_type().kind.clone() {
        TypeKind::Array(item) if index_kind.is_integer() => {
            if let Some(position) = literal_int(args.get(1)).filter(|p| *p < 1) {
                let message = format!("array positions start at 1, not {position}");
                return Err(Error::invalid("invalid_argument", message));
            }
            coerce(args, 1, &TypeKind::BigInt)?;
            Ok(item.with_nullable(true))
        }
        TypeKind::Map(key, value) => {
            let comparable =
                casts_implicitly(index_kind, &key.kind) || (key.kind.is_string() && index_kind.is_string());
            if !comparable {
                return Err(refused());
            }
            // Strings of any length compare as they are; cutting the key to the map's length would be wrong.
            if !key.kind.is_string() || !index_kind.is_string() {
                coerce(args, 1, &key.kind)?;
            }
            Ok(value.with_nullable(true))
        }
        TypeKind::Row(fields) => {
            let at = member(&fields, index).ok_or_else(refused)?;
            let field = fields.get(at).ok_or_else(refused)?;
            Ok(field.data_type.with_nullable(field.data_type.nullable || nullable))
        }
        _ => Err(refused()),
    }
}

/// The member that a literal position (from 1) or name means.
fn member(fields: &[Field], index: &Expr) -> Option<usize> {
    match literal_text(Some(index)) {
        Some(name) => fields.iter().position(|f| f.name == name),
        None => usize::try_from(literal_int(Some(index))? - 1).ok().filter(|at| *at < fields.len()),
    }
}

fn prepare_item(call: &Call<'_>) -> Result<Kernel> {
    let [container, index] = call.args else { return Err(Error::internal("ITEM without two arguments")) };
    match &container.data_type().kind {
        TypeKind::Array(_) => Ok(Box::new(|args, rows| {
            let (lists, positions) = (Lists::new(args, 0)?, column::<Int64Array>(args, 1)?);
            let found: UInt32Array = (0..row_count(args, rows))
                .map(|row| {
                    let (range, position) = lists.get(row).zip(positions.get(row))?;
                    let at = usize::try_from(position.checked_sub(1)?).ok()?;
                    range.clone().nth(at).and_then(|i| u32::try_from(i).ok())
                })
                .collect();
            Ok(wrap(args, arrow::compute::take(lists.values(), &found, None)?))
        })),
        TypeKind::Map(..) => Ok(Box::new(item_of_map)),
        TypeKind::Row(fields) => {
            let at = member(fields, index).ok_or_else(|| Error::internal("ITEM of a row without a position"))?;
            Ok(Box::new(move |args, rows| {
                let array = values(args, 0)?;
                let row: &StructArray =
                    array.as_any().downcast_ref().ok_or_else(|| Error::internal("a row is not a struct"))?;
                let member = row.columns().get(at).ok_or_else(|| Error::internal("a row has too few members"))?;
                let nulls = NullBuffer::union(member.nulls(), row.nulls());
                let array = arrow::array::make_array(member.to_data().into_builder().nulls(nulls).build()?);
                // The position is a constant always: the row alone decides.
                let _ = rows;
                Ok(match args.first() {
                    Some(Value::Scalar(_)) => Value::Scalar(array),
                    _ => Value::Array(array),
                })
            }))
        }
        _ => Err(Error::internal("ITEM of neither an array, a map nor a row")),
    }
}

fn item_of_map(args: &[Value], rows: usize) -> Result<Value> {
    let maps = column::<MapArray>(args, 0)?;
    let wanted = values(args, 1)?;
    let constant = matches!(args.get(1), Some(Value::Scalar(_)));
    let encoded = encode(&[maps.array.keys(), wanted])?;
    let [keys, needles] = encoded.as_slice() else { return Err(Error::internal("two columns were encoded")) };
    let offsets = maps.array.value_offsets();
    let bound = |i: usize| offsets.get(i).and_then(|o| usize::try_from(*o).ok());
    let found: UInt32Array = (0..row_count(args, rows))
        .map(|row| {
            let needle = if constant { 0 } else { row };
            if maps.is_null(row) || wanted.is_null(needle) {
                return None;
            }
            let (at, needle) = (maps.at(row), needles.row(needle));
            let entry = (bound(at)?..bound(at + 1)?).find(|i| keys.row(*i) == needle)?;
            u32::try_from(entry).ok()
        })
        .collect();
    Ok(wrap(args, arrow::compute::take(maps.array.values(), &found, None)?))
}

fn bind_cardinality(args: &mut [Expr]) -> Result<DataType> {
    match &*args {
        [arg] if matches!(arg.data_type().kind, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_)) => {
            Ok(DataType { kind: TypeKind::Int, nullable: any_nullable(args) })
        }
        _ => Err(not_applicable("CARDINALITY", "an array, a map or a multiset", args)),
    }
}

/// A multiset's entries carry how often each element occurs.
fn prepare_cardinality(call: &Call<'_>) -> Result<Kernel> {
    let is_multiset = call.args.first().is_some_and(|a| matches!(a.data_type().kind, TypeKind::Multiset(_)));
    Ok(on_array(move |array| {
        let lengths: Int32Array = match array.as_any().downcast_ref::<arrow::array::ListArray>() {
            Some(lists) => {
                let lengths =
                    lists.value_offsets().windows(2).map(|w| w.last().zip(w.first()).map_or(0, |(b, a)| b - a));
                Int32Array::new(lengths.collect(), lists.nulls().cloned())
            }
            None => {
                let maps = as_map(array)?;
                let counts = maps.values().as_any().downcast_ref::<Int32Array>().filter(|_| is_multiset);
                let length = |w: &[i32]| {
                    let (from, to) = w.first().zip(w.last()).map_or((0, 0), |(a, b)| (*a, *b));
                    match counts {
                        None => to - from,
                        Some(counts) => {
                            (from..to).filter_map(|i| usize::try_from(i).ok()).map(|i| counts.value(i)).sum()
                        }
                    }
                };
                Int32Array::new(maps.value_offsets().windows(2).map(length).collect(), maps.nulls().cloned())
            }
        };
        Ok(Arc::new(lengths) as ArrayRef)
    }))
}

fn bind_element(args: &mut [Expr]) -> Result<DataType> {
    match &*args {
        [arg] => match &arg.data_type().kind {
            TypeKind::Array(item) => Ok(item.with_nullable(item.nullable || arg.data_type().nullable)),
            _ => Err(not_applicable("ELEMENT", "an array", args)),
        },
        _ => Err(not_applicable("ELEMENT", "an array", args)),
    }
}

/// The only element; null of an empty array, an error of a longer one.
fn prepare_element(_: &Call<'_>) -> Result<Kernel> {
    Ok(Box::new(|args, rows| {
        let lists = Lists::new(args, 0)?;
        let found = (0..row_count(args, rows)).map(|row| {
            let Some(range) = lists.get(row) else { return Ok(None) };
            if range.len() > 1 {
                let message = format!("ELEMENT takes an array of one element, not of {}", range.len());
                return Err(Error::invalid("invalid_argument", message));
            }
            Ok(range.clone().next().and_then(|i| u32::try_from(i).ok()))
        });
        let found = found.collect::<Result<UInt32Array>>()?;
        Ok(wrap(args, arrow::compute::take(lists.values(), &found, None)?))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::super::testing::{ints, lists};
    use super::*;
    use crate::expr::functions::kernels::testing::{col, col_not_null, int, run, show, text};
    use arrow::array::StringArray;

    #[test]
    fn items_of_arrays_count_from_one() {
        let arrays = Value::Array(lists(&[Some(&[Some(5), None]), None, Some(&[])]));
        let at = |p: i64| Value::Scalar(Arc::new(Int64Array::from(vec![p])));
        for (position, expected) in [
            (1, "5 | null | null"),
            (2, "null | null | null"),
            (0, "null | null | null"),
            (i64::MIN, "null | null | null"),
        ] {
            let args = vec![col(ints()), col(TypeKind::BigInt)];
            let (kind, got) = run(FUNCTIONS, "ITEM", args, &[arrays.clone(), at(position)], 3).unwrap();
            assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("INT", expected), "{position}");
        }
    }

    #[test]
    fn items_of_maps_and_rows() {
        let strings = |v: &[Option<&str>]| Value::Array(Arc::new(StringArray::from(v.to_vec())) as ArrayRef);
        let string = || col(TypeKind::VarChar(9));
        let inputs = [strings(&[Some("k"), Some("l")]), strings(&[Some("v"), None])];
        let (map_type, map) = run(FUNCTIONS, "MAP", vec![string(), string()], &inputs, 2).unwrap();
        let key = Value::Scalar(Arc::new(StringArray::from(vec!["k"])) as ArrayRef);
        let args = vec![Expr::column(0, map_type), text("k")];
        let (kind, got) = run(FUNCTIONS, "ITEM", args, &[Value::Array(map), key], 2).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("VARCHAR(9)", "v | null"));

        let (row_type, row) = run(FUNCTIONS, "ROW", vec![string(), string()], &inputs, 2).unwrap();
        for (index, expected) in [(int(1), "k | l"), (text("EXPR$1"), "v | null")] {
            let args = vec![Expr::column(0, row_type.clone()), index];
            let unused = Value::Scalar(Arc::new(Int32Array::from(vec![0])));
            let (_, got) = run(FUNCTIONS, "ITEM", args, &[Value::Array(row.clone()), unused], 2).unwrap();
            assert_eq!(show(&got), expected);
        }
    }

    #[test]
    fn sizes_and_only_elements() {
        let arrays = || Value::Array(lists(&[Some(&[Some(5)]), None, Some(&[])]));
        let (kind, got) = run(FUNCTIONS, "CARDINALITY", vec![col(ints())], &[arrays()], 3).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("INT", "1 | null | 0"));
        let (kind, got) = run(FUNCTIONS, "ELEMENT", vec![col(ints())], &[arrays()], 3).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("INT", "5 | null | null"));
        let two = Value::Array(lists(&[Some(&[None, None])]));
        let error = run(FUNCTIONS, "ELEMENT", vec![col(ints())], &[two], 1).unwrap_err();
        assert_eq!(error.code, "invalid_argument");
        let inputs = [
            Value::Array(Arc::new(Int32Array::from(vec![1, 1])) as ArrayRef),
            Value::Scalar(Arc::new(Int32Array::from(vec![2]))),
        ];
        let (map_type, map) = run(FUNCTIONS, "MAP", vec![col_not_null(TypeKind::Int), int(2)], &inputs, 2).unwrap();
        let (kind, got) =
            run(FUNCTIONS, "CARDINALITY", vec![Expr::column(0, map_type)], &[Value::Array(map)], 2).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("INT NOT NULL", "1 | 1"));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (name, args) in [
            ("ITEM", vec![col(ints()), int(0)]),
            ("ITEM", vec![col(ints()), text("1")]),
            ("ITEM", vec![col(TypeKind::Int), int(1)]),
            ("CARDINALITY", vec![col(TypeKind::Int)]),
            ("ELEMENT", vec![col(TypeKind::Int)]),
        ] {
            assert_eq!(run(FUNCTIONS, name, args, &[], 0).unwrap_err().code, "invalid_argument", "{name}");
        }
    }
}
