//! Arrays, maps, multisets and rows inside of keys: bytes of [`RowCodec`], which [`super::key_codec`] stores like a
//! `BYTES` column. Two maps of equal entries in another order are two keys.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, new_null_array};
use arrow::datatypes::DataType;

use super::row_codec::RowCodec;
use crate::error::Result;

/// Null, as a row of one column.
const NULL_ROW: &[u8] = &[0];

/// Whether a column of this type is stored as bytes by this module.
pub(super) fn is_nested(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::Map(..) | DataType::Struct(_))
}

/// The column as bytes, if it is nested; else itself.
pub(super) fn flatten(column: &ArrayRef) -> Result<ArrayRef> {
    if !is_nested(column.data_type()) {
        return Ok(column.clone());
    }
    let columns = std::slice::from_ref(column);
    let codec = RowCodec::new(vec![column.data_type().clone()]);
    let rows = codec.encoder(columns)?;
    let mut bytes = BinaryBuilder::new();
    let mut row = Vec::new();
    for i in 0..column.len() {
        if column.is_null(i) {
            bytes.append_null();
            continue;
        }
        row.clear();
        rows.write(i, &mut row);
        bytes.append_value(&row);
    }
    Ok(Arc::new(bytes.finish()))
}

/// The inverse of [`flatten`] for a column of this type.
pub(super) fn unflatten(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let rows: Vec<&[u8]> = column.as_binary::<i32>().iter().map(|b| b.unwrap_or(NULL_ROW)).collect();
    let columns = RowCodec::new(vec![data_type.clone()]).decode(&rows)?;
    Ok(columns.into_iter().next().unwrap_or_else(|| new_null_array(data_type, rows.len())))
}

#[cfg(test)]
mod tests {
    use super::super::key_codec::KeyCodec;
    use super::*;
    use arrow::array::{Int64Array, ListBuilder, NullArray, StringArray, StringBuilder, StructArray};
    use arrow::datatypes::Field;

    #[test]
    fn nested_columns_come_back_as_they_were() {
        let mut list = ListBuilder::new(StringBuilder::new());
        list.append_value([Some("a"), None, Some("")]);
        list.append_null();
        list.append_value([] as [Option<&str>; 0]);
        let list: ArrayRef = Arc::new(list.finish());
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(-4)]));
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("l", list.data_type().clone(), true)];
        let row: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![numbers, list.clone()], None));
        let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("s"), None, Some("")]));
        let columns = vec![row, plain, list, Arc::new(NullArray::new(3))];
        let codec = KeyCodec::new(columns.iter().map(|c| c.data_type().clone()).collect()).unwrap();
        let bytes = |columns: &[ArrayRef], rows: usize| {
            let (data, ends) = codec.encode_bytes(columns, rows).unwrap();
            let mut start = 0;
            let cut = |end: &usize| data[std::mem::replace(&mut start, *end)..*end].to_vec();
            ends.iter().map(cut).collect::<Vec<_>>()
        };
        let keys = bytes(&columns, 3);
        assert_eq!(codec.decode(&keys.iter().map(|k| &k[..]).collect::<Vec<_>>()).unwrap(), columns);
        let sliced: Vec<ArrayRef> = columns.iter().map(|c| c.slice(1, 2)).collect();
        assert_eq!(bytes(&sliced, 2), keys[1..], "a slice has the bytes of its rows");
    }
}
