//! Lists as ranges of a flat array of elements: reading them, comparing elements, building new lists by index.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType as A;
use arrow::datatypes::{FieldRef, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};

use super::super::kernels::{casts_implicitly, coerce, column, not_applicable, primitive, row_count, wrap};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::Value;
use crate::types::{DataType, TypeKind};

/// The element type of an `ARRAY` argument.
pub(super) fn element_type(arg: Option<&Expr>) -> Option<&DataType> {
    match arg.map(|a| &a.data_type().kind) {
        Some(TypeKind::Array(item)) => Some(item),
        _ => None,
    }
}

/// Casts argument 1 to the element type of argument 0, if Flink does; answers its nullability then.
pub(super) fn bind_needle(function: &str, args: &mut [Expr]) -> Result<bool> {
    let takes = "an array and a value of its element type";
    let (Some(item), Some(needle)) = (element_type(args.first()).cloned(), args.get(1)) else {
        return Err(not_applicable(function, takes, args));
    };
    let given = needle.data_type().clone();
    if args.len() != 2 || !casts_implicitly(&given.kind, &item.kind) {
        return Err(not_applicable(function, takes, args));
    }
    coerce(args, 1, &item.kind)?;
    // A value that is converted takes the element's nullability too, as in Flink.
    Ok(given.nullable || (given.kind != item.kind && item.nullable))
}

/// A list argument.
pub(super) struct Lists<'a> {
    array: &'a ListArray,
    constant: bool,
}

impl<'a> Lists<'a> {
    /// Argument `index`.
    pub fn new(args: &'a [Value], index: usize) -> Result<Self> {
        let constant = matches!(args.get(index), Some(Value::Scalar(_)));
        Ok(Lists { array: column::<ListArray>(args, index)?.array, constant })
    }
    /// The flat elements that the ranges refer to.
    pub fn values(&self) -> &'a ArrayRef {
        self.array.values()
    }
    /// Where the elements of this row's list are; `None` if the list is null.
    #[inline]
    pub fn get(&self, row: usize) -> Option<Range<usize>> {
        let at = if self.constant { 0 } else { row };
        if self.array.is_null(at) {
            return None;
        }
        let offsets = self.array.value_offsets();
        let bound = |i: usize| offsets.get(i).and_then(|o| usize::try_from(*o).ok());
        Some(bound(at)?..bound(at + 1)?)
    }
}

/// Encodes elements so that equal elements, and only they, have equal rows, and rows sort as elements do.
pub(super) fn encode(arrays: &[&ArrayRef]) -> Result<Vec<Rows>> {
    let Some(first) = arrays.first() else { return Ok(Vec::new()) };
    let converter = RowConverter::new(vec![SortField::new(first.data_type().clone())])?;
    arrays.iter().map(|array| Ok(converter.convert_columns(&[canonical(array)?])?)).collect()
}

/// Zeros and NaNs that SQL does not tell apart get one encoding.
fn canonical(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        A::Float32 => {
            let one = |x: f32| {
                if x == 0.0 {
                    0.0
                } else if x.is_nan() {
                    f32::NAN
                } else {
                    x
                }
            };
            Arc::new(primitive::<Float32Type>(array)?.unary::<_, Float32Type>(one))
        }
        A::Float64 => {
            let one = |x: f64| {
                if x == 0.0 {
                    0.0
                } else if x.is_nan() {
                    f64::NAN
                } else {
                    x
                }
            };
            Arc::new(primitive::<Float64Type>(array)?.unary::<_, Float64Type>(one))
        }
        _ => array.clone(),
    })
}

/// Collects the elements of new lists by their index in a flat array.
pub(super) struct Picked {
    indices: Vec<Option<u32>>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Picked {
    /// For this many lists.
    pub fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Picked { indices: Vec::with_capacity(rows * 2), offsets, valid: Vec::with_capacity(rows) }
    }
    /// Appends an element to the current list.
    #[inline]
    pub fn push(&mut self, index: usize) {
        self.indices.push(u32::try_from(index).ok());
    }
    /// Appends elements to the current list.
    pub fn extend(&mut self, range: Range<usize>) {
        range.for_each(|index| self.push(index));
    }
    /// Ends the current list; it is null if not `valid`.
    pub fn end(&mut self, valid: bool) -> Result<()> {
        let end = i32::try_from(self.indices.len());
        self.offsets
            .push(end.map_err(|_| Error::invalid("array_too_large", "a batch of arrays has over 2^31 elements"))?);
        self.valid.push(valid);
        Ok(())
    }
    /// The elements, the offsets of the lists in them, and which lists are null.
    pub fn parts(self, values: &ArrayRef) -> Result<(ArrayRef, OffsetBuffer<i32>, NullBuffer)> {
        let items = arrow::compute::take(values, &UInt32Array::from(self.indices), None)?;
        Ok((items, OffsetBuffer::new(self.offsets.into()), NullBuffer::from(self.valid)))
    }
    /// The lists, of elements of `values`.
    pub fn finish(self, values: &ArrayRef, list_type: &A) -> Result<ArrayRef> {
        let field = list_field(list_type)?;
        let (items, offsets, nulls) = self.parts(values)?;
        Ok(Arc::new(ListArray::try_new(field, offsets, items, Some(nulls))?))
    }
}

/// The element field of a list type.
pub(super) fn list_field(list_type: &A) -> Result<FieldRef> {
    match list_type {
        A::List(field) => Ok(field.clone()),
        other => Err(Error::internal(format!("{other} is not a list"))),
    }
}

/// Builds one list a row: `f` picks elements of `values`, and answers whether the list is not null.
pub(super) fn build(
    args: &[Value],
    rows: usize,
    list_type: &A,
    values: &ArrayRef,
    mut f: impl FnMut(usize, &mut Picked) -> Result<bool>,
) -> Result<Value> {
    let rows = row_count(args, rows);
    let mut picked = Picked::with_capacity(rows);
    for row in 0..rows {
        let valid = f(row, &mut picked)?;
        picked.end(valid)?;
    }
    Ok(wrap(args, picked.finish(values, list_type)?))
}
