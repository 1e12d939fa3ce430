//! Casts of arrays, maps and rows: member by member.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, make_array, new_null_array};
use arrow::datatypes::{DataType as ArrowType, FieldRef};

use super::{ArrayKernel, Setting, build, unexpected};
use crate::error::{Error, Result};
use crate::types::{DataType, TypeKind};

/// `None` if only names and nullability of members differ (that is left to [`relabel`]).
pub(super) fn members(from: &TypeKind, to: &TypeKind, setting: Setting<'_>) -> Result<Option<ArrayKernel>> {
    use TypeKind as K;
    let child = |a: &DataType, b: &DataType| build(&a.kind, &b.kind, setting);
    let arrow_type = to.to_arrow();
    let kernels = match (from, to) {
        (K::Array(a), K::Array(b)) => vec![child(a, b)?],
        (K::Map(k, v), K::Map(k2, v2)) => vec![child(k, k2)?, child(v, v2)?],
        (K::Multiset(a), K::Multiset(b)) => vec![child(a, b)?, None],
        (K::Row(a), K::Row(b)) => {
            a.iter().zip(b).map(|(x, y)| child(&x.data_type, &y.data_type)).collect::<Result<_>>()?
        }
        _ => return Err(unexpected(from, to)),
    };
    if kernels.iter().all(Option::is_none) && from.to_arrow() == arrow_type {
        return Ok(None);
    }
    Ok(Some(Box::new(move |array| rebuild(array, &arrow_type, &kernels))))
}

fn apply(kernels: &[Option<ArrayKernel>], index: usize, array: &ArrayRef) -> Result<ArrayRef> {
    match kernels.get(index) {
        Some(Some(kernel)) => kernel(array),
        _ => Ok(array.clone()),
    }
}

fn rebuild(array: &ArrayRef, arrow_type: &ArrowType, kernels: &[Option<ArrayKernel>]) -> Result<ArrayRef> {
    let wrong = || Error::internal(format!("cannot turn {} into {arrow_type}", array.data_type()));
    let fitted = |field: &FieldRef, values: ArrayRef| relabel(&values, field.data_type());
    Ok(match arrow_type {
        ArrowType::List(field) => {
            let list = array.as_list_opt::<i32>().ok_or_else(wrong)?;
            let values = fitted(field, apply(kernels, 0, list.values())?)?;
            Arc::new(ListArray::try_new(field.clone(), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        ArrowType::Map(field, sorted) => {
            let map = array.as_map_opt().ok_or_else(wrong)?;
            let ArrowType::Struct(fields) = field.data_type() else { return Err(wrong()) };
            let columns = [map.keys(), map.values()]
                .into_iter()
                .zip(fields)
                .enumerate()
                .map(|(i, (column, field))| fitted(field, apply(kernels, i, column)?))
                .collect::<Result<Vec<_>>>()?;
            let entries = StructArray::try_new(fields.clone(), columns, None)?;
            let offsets = map.offsets().clone();
            Arc::new(MapArray::try_new(field.clone(), offsets, entries, map.nulls().cloned(), *sorted)?)
        }
        ArrowType::Struct(fields) => {
            let row = array.as_struct_opt().ok_or_else(wrong)?;
            if row.num_columns() != fields.len() {
                return Err(wrong());
            }
            let columns = row
                .columns()
                .iter()
                .zip(fields)
                .enumerate()
                .map(|(i, (column, field))| fitted(field, apply(kernels, i, column)?))
                .collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, row.nulls().cloned(), row.len())?)
        }
        _ => return Err(wrong()),
    })
}

/// The same values under a type of the same layout (member names and nested nullability may differ).
pub(super) fn relabel(array: &ArrayRef, arrow_type: &ArrowType) -> Result<ArrayRef> {
    if array.data_type() == arrow_type {
        return Ok(array.clone());
    }
    if array.data_type() == &ArrowType::Null {
        return Ok(new_null_array(arrow_type, array.len()));
    }
    match (array.data_type(), arrow_type) {
        (ArrowType::List(_), ArrowType::List(_))
        | (ArrowType::Map(..), ArrowType::Map(..))
        | (ArrowType::Struct(_), ArrowType::Struct(_)) => rebuild(array, arrow_type, &[]),
        // Time zone labels and decimal precisions say nothing about the stored numbers.
        (ArrowType::Timestamp(a, _), ArrowType::Timestamp(b, _)) if a == b => retyped(array, arrow_type),
        (ArrowType::Decimal128(_, a), ArrowType::Decimal128(_, b)) if a == b => retyped(array, arrow_type),
        (found, wanted) => Err(Error::internal(format!("an expression gave {found} instead of {wanted}"))),
    }
}

fn retyped(array: &ArrayRef, arrow_type: &ArrowType) -> Result<ArrayRef> {
    Ok(make_array(array.to_data().into_builder().data_type(arrow_type.clone()).build()?))
}
