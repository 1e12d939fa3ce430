//! Functions of the chapters "collection functions" and "value construction functions" of Flink's page.
//!
//! Nothing here knows an element's type: elements are compared by their Arrow row encoding and moved by index. A
//! position or key that does not exist is null (Flink 2.3 answers -1 or an empty text where the element is `NOT NULL`).

mod access;
mod array;
mod construct;
mod elements;
mod map;
mod set;

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[
    construct::ARRAY,
    construct::MAP,
    construct::ROW,
    access::ITEM,
    access::CARDINALITY,
    access::ELEMENT,
    array::ARRAY_CONTAINS,
    array::ARRAY_POSITION,
    array::ARRAY_REMOVE,
    array::ARRAY_APPEND,
    array::ARRAY_PREPEND,
    array::ARRAY_DISTINCT,
    array::ARRAY_REVERSE,
    array::ARRAY_SLICE,
    array::ARRAY_SORT,
    array::ARRAY_MAX,
    array::ARRAY_MIN,
    array::ARRAY_JOIN,
    set::ARRAY_CONCAT,
    set::ARRAY_UNION,
    set::ARRAY_INTERSECT,
    set::ARRAY_EXCEPT,
    map::MAP_KEYS,
    map::MAP_VALUES,
    map::MAP_ENTRIES,
    map::MAP_FROM_ARRAYS,
    map::MAP_UNION,
];

/// Types and values that the tests of this chapter share.
#[cfg(test)]
mod testing {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, ListArray};
    use arrow::datatypes::Int32Type;

    use crate::types::{DataType, TypeKind};

    /// `ARRAY<INT>`, nullable elements.
    pub fn ints() -> TypeKind {
        TypeKind::Array(Box::new(DataType::nullable(TypeKind::Int)))
    }
    /// `ARRAY<INT NOT NULL>`.
    pub fn whole_ints() -> TypeKind {
        TypeKind::Array(Box::new(DataType::not_null(TypeKind::Int)))
    }
    /// One list a row.
    pub fn lists(rows: &[Option<&[Option<i32>]>]) -> ArrayRef {
        let rows = rows.iter().map(|row| row.map(|r| r.to_vec()));
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows))
    }
}
