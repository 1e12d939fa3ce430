//! `ARRAY[…]`, `MAP[…]` and `ROW(…)`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::interleave;
use arrow::datatypes::DataType as A;

use super::super::kernels::{arity, coerce, expand, not_applicable, row_count, values, wrap};
use super::elements::{encode, list_field};
use super::map::build_map;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::expr::least_restrictive;
use crate::types::{DataType, Field, TypeKind};

pub(super) const ARRAY: Function =
    Function { name: "ARRAY", bind: |args| bind_array(args), prepare: prepare_array, deterministic: true };
pub(super) const MAP: Function =
    Function { name: "MAP", bind: |args| bind_map(args), prepare: prepare_map, deterministic: true };
pub(super) const ROW: Function =
    Function { name: "ROW", bind: |args| bind_row(args), prepare: prepare_row, deterministic: true };

/// The type of a collection's elements; one that has only bare nulls has none.
fn common(name: &str, types: &[DataType]) -> Result<DataType> {
    match least_restrictive(types) {
        Ok(common) if common.kind != TypeKind::Null => Ok(common),
        Ok(_) => {
            Err(Error::invalid("invalid_argument", format!("{name} has only nulls: give one of them a type with CAST")))
        }
        Err(e) => Err(Error::invalid("invalid_argument", format!("{name}: {}", e.message))),
    }
}

fn bind_array(args: &mut [Expr]) -> Result<DataType> {
    arity("ARRAY", "at least one element", args, 1..=usize::MAX)?;
    let types: Vec<_> = args.iter().map(|a| a.data_type().clone()).collect();
    let item = common("ARRAY", &types)?;
    for index in 0..args.len() {
        coerce(args, index, &item.kind)?;
    }
    Ok(DataType::not_null(TypeKind::Array(Box::new(item.with_nullable(types.iter().any(|t| t.nullable))))))
}

fn prepare_array(call: &Call<'_>) -> Result<Kernel> {
    let field = list_field(&call.data_type.to_arrow())?;
    Ok(Box::new(move |args, rows| {
        let rows = row_count(args, rows);
        let arrays = (0..args.len()).map(|i| Ok(values(args, i)?.as_ref())).collect::<Result<Vec<&dyn Array>>>()?;
        let places: Vec<_> = (0..rows).flat_map(|row| places(args, row)).collect();
        let items = if places.is_empty() {
            arrow::array::new_empty_array(field.data_type())
        } else {
            interleave(&arrays, &places)?
        };
        let offsets = OffsetBuffer::from_repeated_length(args.len(), rows);
        Ok(wrap(args, Arc::new(ListArray::try_new(field.clone(), offsets, items, None)?)))
    }))
}

/// Where the values of a row are: the argument and the index in it.
fn places(args: &[Value], row: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
    args.iter().enumerate().map(move |(i, a)| (i, if matches!(a, Value::Scalar(_)) { 0 } else { row }))
}

fn bind_map(args: &mut [Expr]) -> Result<DataType> {
    let takes = "an even number of arguments: keys and values in turn";
    if args.is_empty() || args.len() % 2 == 1 {
        return Err(not_applicable("MAP", takes, args));
    }
    let types = |from: usize| args.iter().skip(from).step_by(2).map(|a| a.data_type().clone()).collect::<Vec<_>>();
    let (keys, values) = (types(0), types(1));
    let key = common("MAP", &keys)?;
    let value = if values.iter().all(|t| t.kind == TypeKind::Null) {
        // Nothing says which type the nulls have; Flink takes the keys'.
        key.with_nullable(true)
    } else {
        common("MAP", &values)?
    };
    for index in 0..args.len() {
        coerce(args, index, if index % 2 == 0 { &key.kind } else { &value.kind })?;
    }
    Ok(DataType::not_null(TypeKind::Map(Box::new(key), Box::new(value))))
}

/// Of equal keys the last value wins.
fn prepare_map(call: &Call<'_>) -> Result<Kernel> {
    let map_type = call.data_type.to_arrow();
    Ok(Box::new(move |args, rows| {
        let rows = row_count(args, rows);
        let all = |from: usize| {
            (from..args.len()).step_by(2).map(|i| Ok(values(args, i)?.clone())).collect::<Result<Vec<_>>>()
        };
        let (keys, items) = (all(0)?, all(1)?);
        let encoded = encode(&keys.iter().collect::<Vec<_>>())?;
        let at = |i: usize, row: usize| if matches!(args.get(i), Some(Value::Scalar(_))) { 0 } else { row };
        let (mut key_places, mut item_places, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(rows));
        let mut first = HashMap::new();
        for row in 0..rows {
            first.clear();
            let before = key_places.len();
            for (pair, rows_of_keys) in encoded.iter().enumerate() {
                let key_at = at(2 * pair, row);
                let item = (pair, at(2 * pair + 1, row));
                match first.get(&rows_of_keys.row(key_at)) {
                    Some(&slot) => {
                        if let Some(place) = item_places.get_mut(slot) {
                            *place = item;
                        }
                    }
                    None => {
                        first.insert(rows_of_keys.row(key_at), item_places.len());
                        key_places.push((pair, key_at));
                        item_places.push(item);
                    }
                }
            }
            lengths.push(key_places.len() - before);
        }
        let gather = |arrays: &[ArrayRef], places: &[(usize, usize)]| -> Result<ArrayRef> {
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            match arrays.first() {
                Some(first) if places.is_empty() => Ok(arrow::array::new_empty_array(first.data_type())),
                _ => Ok(interleave(&arrays, places)?),
            }
        };
        let (keys, items) = (gather(&keys, &key_places)?, gather(&items, &item_places)?);
        Ok(wrap(args, build_map(&map_type, OffsetBuffer::from_lengths(lengths), keys, items, None)?))
    }))
}

fn bind_row(args: &mut [Expr]) -> Result<DataType> {
    let takes = "at least one value with a type (cast NULL)";
    if args.is_empty() || args.iter().any(|a| a.data_type().kind == TypeKind::Null) {
        return Err(not_applicable("ROW", takes, args));
    }
    let fields = args.iter().enumerate().map(|(i, a)| Field::new(format!("EXPR${i}"), a.data_type().clone()));
    Ok(DataType::not_null(TypeKind::Row(fields.collect())))
}

fn prepare_row(call: &Call<'_>) -> Result<Kernel> {
    let A::Struct(fields) = call.data_type.to_arrow() else {
        return Err(Error::internal("ROW was not bound to a row type"));
    };
    Ok(Box::new(move |args, rows| {
        let rows = row_count(args, rows);
        let members = args.iter().map(|a| expand(a, rows)).collect::<Result<Vec<_>>>()?;
        let array = StructArray::try_new_with_length(fields.clone(), members, None, rows)?;
        Ok(wrap(args, Arc::new(array)))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::*;
    use crate::expr::Scalar;
    use crate::expr::functions::kernels::testing::{col, int, run, show, text};
    use arrow::array::{Int32Array, StringArray};

    fn column(values: &[Option<i32>]) -> Value {
        Value::Array(Arc::new(Int32Array::from(values.to_vec())))
    }
    fn constant(value: i32) -> Value {
        Value::Scalar(Arc::new(Int32Array::from(vec![value])))
    }

    #[test]
    fn arrays_take_columns_and_constants() {
        let inputs = [constant(1), column(&[Some(7), None])];
        let (kind, got) = run(FUNCTIONS, "ARRAY", vec![int(1), col(TypeKind::Int)], &inputs, 2).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("ARRAY<INT> NOT NULL", "[1, 7] | [1, null]"));
        let inputs = [constant(1), constant(2)];
        let (kind, got) = run(FUNCTIONS, "ARRAY", vec![int(1), int(2)], &inputs, 9).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("ARRAY<INT NOT NULL> NOT NULL", "[1, 2]"));
        let (_, got) = run(FUNCTIONS, "ARRAY", vec![col(TypeKind::Int)], &[column(&[])], 0).unwrap();
        assert_eq!(got.len(), 0);
    }

    #[test]
    fn types_are_common() {
        let null = Expr::literal(Scalar::Null, TypeKind::Null);
        let dec = Expr::literal(Scalar::Decimal("15".into()), TypeKind::Decimal { precision: 2, scale: 1 });
        for (name, args, expected) in [
            ("ARRAY", vec![col(TypeKind::Int), col(TypeKind::BigInt), dec], "ARRAY<DECIMAL(20, 1)> NOT NULL"),
            ("ARRAY", vec![int(1), null.clone()], "ARRAY<INT> NOT NULL"),
            ("ARRAY", vec![text("a"), text("bcd")], "ARRAY<VARCHAR(3) NOT NULL> NOT NULL"),
            (
                "MAP",
                vec![int(1), col(TypeKind::Int), int(2), col(TypeKind::BigInt)],
                "MAP<INT NOT NULL, BIGINT> NOT NULL",
            ),
            ("MAP", vec![text("a"), null.clone()], "MAP<CHAR(1) NOT NULL, CHAR(1)> NOT NULL"),
            ("ROW", vec![int(1), col(TypeKind::Int)], "ROW<`EXPR$0` INT NOT NULL, `EXPR$1` INT> NOT NULL"),
        ] {
            let function = FUNCTIONS.iter().find(|f| f.name == name).unwrap();
            assert_eq!((function.bind)(&mut args.clone()).unwrap().to_string(), expected);
        }
        for (name, args) in [
            ("ARRAY", vec![]),
            ("ARRAY", vec![null.clone()]),
            ("ARRAY", vec![text("a"), int(1)]),
            ("MAP", vec![int(1)]),
            ("ROW", vec![null]),
        ] {
            let function = FUNCTIONS.iter().find(|f| f.name == name).unwrap();
            assert_eq!((function.bind)(&mut args.clone()).unwrap_err().code, "invalid_argument", "{name}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        let args = vec![col(TypeKind::Int), int(1), int(5), int(2)];
        let inputs = [column(&[Some(4), Some(5)]), constant(1), constant(5), constant(2)];
        let (_, got) = run(FUNCTIONS, "MAP", args, &inputs, 2).unwrap();
        assert_eq!(show(&got), "{4: 1, 5: 2} | {5: 2}");
        let args = vec![col(TypeKind::Int), int(1)];
        let error = run(FUNCTIONS, "MAP", args, &[column(&[None]), constant(1)], 1).unwrap_err();
        assert_eq!(error.code, "null_map_key");
    }

    #[test]
    fn rows_keep_their_members() {
        let names = Value::Array(Arc::new(StringArray::from(vec![Some("a"), None])));
        let args = vec![int(1), col(TypeKind::VarChar(crate::types::MAX_LENGTH))];
        let (_, got) = run(FUNCTIONS, "ROW", args, &[constant(1), names], 2).unwrap();
        assert_eq!(show(&got), "{EXPR$0: 1, EXPR$1: a} | {EXPR$0: 1, EXPR$1: null}");
    }
}
