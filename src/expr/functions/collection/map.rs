//! Functions of maps. In Arrow a map is a list of entries; a null key is refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType as A;

use super::super::kernels::{any_nullable, arity, coerce, column, not_applicable, on_array, row_count, wrap};
use super::elements::{Lists, Picked, encode, list_field};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel};
use crate::expr::least_restrictive;
use crate::types::{DataType, Field, TypeKind};

pub(super) const MAP_KEYS: Function = Function {
    name: "MAP_KEYS",
    bind: |args| bind_keys(args),
    prepare: |call| prepare_part(call, Part::Keys),
    deterministic: true,
};
pub(super) const MAP_VALUES: Function = Function {
    name: "MAP_VALUES",
    bind: |args| bind_values(args),
    prepare: |call| prepare_part(call, Part::Values),
    deterministic: true,
};
pub(super) const MAP_ENTRIES: Function = Function {
    name: "MAP_ENTRIES",
    bind: |args| bind_entries(args),
    prepare: |call| prepare_part(call, Part::Entries),
    deterministic: true,
};
pub(super) const MAP_FROM_ARRAYS: Function = Function {
    name: "MAP_FROM_ARRAYS",
    bind: |args| bind_from_arrays(args),
    prepare: prepare_from_arrays,
    deterministic: true,
};
pub(super) const MAP_UNION: Function =
    Function { name: "MAP_UNION", bind: |args| bind_union(args), prepare: prepare_union, deterministic: true };

/// Builds maps from flat keys and values; a null key is an error.
pub(super) fn build_map(
    map_type: &A,
    offsets: OffsetBuffer<i32>,
    keys: ArrayRef,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    if keys.null_count() > 0 {
        return Err(Error::invalid("null_map_key", "a key of a MAP is null; filter such rows or use COALESCE"));
    }
    let A::Map(entries_field, _) = map_type else { return Err(Error::internal(format!("{map_type} is not a map"))) };
    let A::Struct(fields) = entries_field.data_type() else {
        return Err(Error::internal("the entries of a map are not a struct"));
    };
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(entries_field.clone(), offsets, entries, nulls, false)?))
}

#[derive(Clone, Copy)]
enum Part {
    Keys,
    Values,
    Entries,
}

fn map_type<'a>(name: &str, args: &'a [Expr]) -> Result<(&'a DataType, &'a DataType)> {
    match args {
        [arg] => match &arg.data_type().kind {
            TypeKind::Map(key, value) => Ok((key, value)),
            _ => Err(not_applicable(name, "a map", args)),
        },
        _ => Err(not_applicable(name, "a map", args)),
    }
}

fn list_of(args: &[Expr], item: DataType) -> DataType {
    DataType { kind: TypeKind::Array(Box::new(item)), nullable: any_nullable(args) }
}

fn bind_keys(args: &mut [Expr]) -> Result<DataType> {
    let key = map_type("MAP_KEYS", args)?.0.clone();
    Ok(list_of(args, key))
}

fn bind_values(args: &mut [Expr]) -> Result<DataType> {
    let value = map_type("MAP_VALUES", args)?.1.clone();
    Ok(list_of(args, value))
}

fn bind_entries(args: &mut [Expr]) -> Result<DataType> {
    let (key, value) = map_type("MAP_ENTRIES", args)?;
    let row = TypeKind::Row(vec![Field::new("key", key.clone()), Field::new("value", value.clone())]);
    Ok(list_of(args, DataType::nullable(row)))
}

fn prepare_part(call: &Call<'_>, part: Part) -> Result<Kernel> {
    let field = list_field(&call.data_type.to_arrow())?;
    Ok(on_array(move |array| {
        let map = as_map(array)?;
        let items: ArrayRef = match part {
            Part::Keys => map.keys().clone(),
            Part::Values => map.values().clone(),
            Part::Entries => {
                let A::Struct(fields) = field.data_type() else { return Err(Error::internal("entries are rows")) };
                Arc::new(StructArray::try_new(fields.clone(), map.entries().columns().to_vec(), None)?)
            }
        };
        Ok(Arc::new(ListArray::try_new(field.clone(), map.offsets().clone(), items, map.nulls().cloned())?))
    }))
}

pub(super) fn as_map(array: &ArrayRef) -> Result<&MapArray> {
    array.as_any().downcast_ref().ok_or_else(|| Error::internal(format!("{} is not a map", array.data_type())))
}

fn bind_from_arrays(args: &mut [Expr]) -> Result<DataType> {
    match &*args {
        [keys, values] => match (&keys.data_type().kind, &values.data_type().kind) {
            (TypeKind::Array(key), TypeKind::Array(value)) => {
                Ok(DataType { kind: TypeKind::Map(key.clone(), value.clone()), nullable: any_nullable(args) })
            }
            _ => Err(not_applicable("MAP_FROM_ARRAYS", "an array of keys and an array of values", args)),
        },
        _ => Err(not_applicable("MAP_FROM_ARRAYS", "an array of keys and an array of values", args)),
    }
}

fn prepare_from_arrays(call: &Call<'_>) -> Result<Kernel> {
    let map_type = call.data_type.to_arrow();
    Ok(Box::new(move |args, rows| {
        let (keys, items) = (Lists::new(args, 0)?, Lists::new(args, 1)?);
        let mut entries = Entries::new(encode(&[keys.values()])?, row_count(args, rows));
        for row in 0..row_count(args, rows) {
            let (Some(keys), Some(items)) = (keys.get(row), items.get(row)) else {
                entries.end(false)?;
                continue;
            };
            if keys.len() != items.len() {
                let message = format!("MAP_FROM_ARRAYS got {} keys and {} values", keys.len(), items.len());
                return Err(Error::invalid("invalid_argument", message));
            }
            keys.zip(items).for_each(|(key, item)| entries.put(0, key, key, item));
            entries.end(true)?;
        }
        Ok(wrap(args, entries.finish(&map_type, keys.values(), items.values())?))
    }))
}

fn bind_union(args: &mut [Expr]) -> Result<DataType> {
    let takes = "maps of a common type";
    arity("MAP_UNION", takes, args, 1..=usize::MAX)?;
    if !args.iter().all(|a| matches!(a.data_type().kind, TypeKind::Map(..))) {
        return Err(not_applicable("MAP_UNION", takes, args));
    }
    let types: Vec<_> = args.iter().map(|a| a.data_type().clone()).collect();
    let common = least_restrictive(&types)?;
    for index in 0..args.len() {
        coerce(args, index, &common.kind)?;
    }
    Ok(common.with_nullable(types.iter().any(|t| t.nullable)))
}

/// Of equal keys the value of the last map wins.
fn prepare_union(call: &Call<'_>) -> Result<Kernel> {
    let map_type = call.data_type.to_arrow();
    Ok(Box::new(move |args, rows| {
        let maps = (0..args.len()).map(|i| column::<MapArray>(args, i)).collect::<Result<Vec<_>>>()?;
        let all = |part: fn(&MapArray) -> &ArrayRef| -> Result<ArrayRef> {
            let parts: Vec<&dyn Array> = maps.iter().map(|m| part(m.array).as_ref()).collect();
            Ok(arrow::compute::concat(&parts)?)
        };
        let (keys, items) = (all(MapArray::keys)?, all(MapArray::values)?);
        let rows = row_count(args, rows);
        let mut entries = Entries::new(encode(&[&keys])?, rows);
        for row in 0..rows {
            let valid = maps.iter().all(|m| !m.is_null(row));
            let mut start = 0;
            for map in &maps {
                let at = map.at(row);
                let bound = |i: usize| map.array.value_offsets().get(i).and_then(|o| usize::try_from(*o).ok());
                if valid && let (Some(from), Some(to)) = (bound(at), bound(at + 1)) {
                    (start + from..start + to).for_each(|i| entries.put(0, i, i, i));
                }
                start += map.array.keys().len();
            }
            entries.end(valid)?;
        }
        Ok(wrap(args, entries.finish(&map_type, &keys, &items)?))
    }))
}

/// Collects the entries of maps by index: of equal keys the first place and the last value.
struct Entries {
    encoded: Vec<arrow::row::Rows>,
    /// The slot of each key of the current map, by its encoding.
    slots: HashMap<Vec<u8>, usize>,
    keys: Picked,
    items: Vec<u32>,
}

impl Entries {
    fn new(encoded: Vec<arrow::row::Rows>, rows: usize) -> Self {
        Entries { encoded, slots: HashMap::new(), keys: Picked::with_capacity(rows), items: Vec::new() }
    }
    /// Puts a key (its row in column `column` of the encoding, its index among the keys) with the index of its value.
    fn put(&mut self, column: usize, encoded: usize, key: usize, item: usize) {
        let Some(rows) = self.encoded.get(column) else { return };
        let row = rows.row(encoded);
        let item = u32::try_from(item).unwrap_or(u32::MAX);
        if let Some(slot) = self.slots.get(row.as_ref()) {
            if let Some(place) = self.items.get_mut(*slot) {
                *place = item;
            }
        } else {
            self.slots.insert(row.as_ref().to_vec(), self.items.len());
            self.keys.push(key);
            self.items.push(item);
        }
    }
    fn end(&mut self, valid: bool) -> Result<()> {
        self.slots.clear();
        self.keys.end(valid)
    }
    fn finish(self, map_type: &A, keys: &ArrayRef, items: &ArrayRef) -> Result<ArrayRef> {
        let (keys, offsets, nulls) = self.keys.parts(keys)?;
        let items = arrow::compute::take(items, &UInt32Array::from(self.items), None)?;
        build_map(map_type, offsets, keys, items, Some(nulls))
    }
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::super::testing::{ints, lists, whole_ints};
    use super::*;
    use crate::expr::function::Value;
    use crate::expr::functions::kernels::testing::{col, col_not_null, run, show};
    use arrow::array::Int32Array;

    fn int_map() -> TypeKind {
        TypeKind::Map(Box::new(DataType::not_null(TypeKind::Int)), Box::new(DataType::nullable(TypeKind::Int)))
    }
    type Entries<'a> = &'a [(i32, Option<i32>)];

    fn map(rows: &[Option<Entries<'_>>]) -> Value {
        let entries = || rows.iter().flat_map(|r| r.unwrap_or_default());
        let keys: ArrayRef = Arc::new(entries().map(|e| Some(e.0)).collect::<Int32Array>());
        let values: ArrayRef = Arc::new(entries().map(|e| e.1).collect::<Int32Array>());
        let offsets = OffsetBuffer::from_lengths(rows.iter().map(|r| r.map_or(0, <[_]>::len)));
        let nulls = NullBuffer::from(rows.iter().map(Option::is_some).collect::<Vec<_>>());
        Value::Array(build_map(&int_map().to_arrow(), offsets, keys, values, Some(nulls)).unwrap())
    }
    fn check(name: &str, kinds: Vec<TypeKind>, inputs: &[Value], expected_type: &str, expected: &str) {
        let rows = super::super::super::kernels::values(inputs, 0).unwrap().len();
        let args = kinds.into_iter().map(col).collect();
        let (kind, got) = run(FUNCTIONS, name, args, inputs, rows).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), (expected_type, expected), "{name}");
    }

    #[test]
    fn parts_of_maps() {
        let input = || [map(&[Some(&[(1, Some(2)), (3, None)]), None])];
        let kinds = || vec![int_map()];
        check("MAP_KEYS", kinds(), &input(), "ARRAY<INT NOT NULL>", "[1, 3] | null");
        check("MAP_VALUES", kinds(), &input(), "ARRAY<INT>", "[2, null] | null");
        let entries = "ARRAY<ROW<`key` INT NOT NULL, `value` INT>>";
        check("MAP_ENTRIES", kinds(), &input(), entries, "[{key: 1, value: 2}, {key: 3, value: null}] | null");
    }

    #[test]
    fn maps_of_arrays_and_maps() {
        let keys = || lists(&[Some(&[Some(1), Some(1)]), None]);
        let values = || lists(&[Some(&[Some(5), None]), Some(&[])]);
        let inputs = [Value::Array(keys()), Value::Array(values())];
        check("MAP_FROM_ARRAYS", vec![whole_ints(), ints()], &inputs, "MAP<INT NOT NULL, INT>", "{1: null} | null");
        let uneven = [Value::Array(keys()), Value::Array(lists(&[Some(&[Some(1)]), None]))];
        let args = vec![col(whole_ints()), col(ints())];
        let error = run(FUNCTIONS, "MAP_FROM_ARRAYS", args, &uneven, 2).unwrap_err();
        assert_eq!(error.code, "invalid_argument");
        let inputs =
            [map(&[Some(&[(1, Some(1)), (3, Some(5))]), Some(&[(1, Some(1))])]), map(&[Some(&[(1, Some(2))]), None])];
        check("MAP_UNION", vec![int_map(), int_map()], &inputs, "MAP<INT NOT NULL, INT>", "{1: 2, 3: 5} | null");
        let one = (MAP_UNION.bind)(&mut vec![col_not_null(int_map())]).unwrap();
        assert_eq!(one.to_string(), "MAP<INT NOT NULL, INT> NOT NULL");
        assert!((MAP_KEYS.bind)(&mut vec![col(ints())]).is_err());
    }
}
