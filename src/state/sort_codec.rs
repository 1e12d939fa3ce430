//! The stored encoding of sort keys: bytes that compare as the rows are ordered.
//!
//! Version 1, columns one after another: a byte that places nulls (0 null first, 1 a value, 2 null last), then the value:
//! integers underneath big endian with the sign bit flipped; `FLOAT` and `DOUBLE` so that they sort as numbers (-0.0 is
//! 0.0, NaN is the largest); `DECIMAL` 16 bytes; strings and bytes with 0 written as 0 255 and an end of 0 0. Where the
//! order descends, the value's bytes are inverted.
//!
//! Invariant: for rows of one codec the order of the bytes is the order of `ORDER BY`, and equal bytes are equal keys.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};

use super::{integers, key_codec};
use crate::error::{Error, Result};
use crate::graph::{NullOrder, SortKey, SortOrder};

const NULL_FIRST: u8 = 0;
const VALUE: u8 = 1;
const NULL_LAST: u8 = 2;

/// Appends the sort keys of a batch's rows to `keys[row]`.
pub fn append(columns: &[ArrayRef], order: &[SortKey], keys: &mut [Vec<u8>]) -> Result<()> {
    for key in order {
        let column = columns.get(key.column).ok_or_else(|| Error::internal("a sort column does not exist"))?;
        append_column(column, key, keys)?;
    }
    Ok(())
}

/// The sort keys of a batch's rows.
pub fn encode(columns: &[ArrayRef], order: &[SortKey], rows: usize) -> Result<Vec<Vec<u8>>> {
    let mut keys = vec![Vec::with_capacity(9 * order.len()); rows];
    append(columns, order, &mut keys)?;
    Ok(keys)
}

/// Whether rows can be ordered by a column of this type.
pub fn is_sortable(data_type: &DataType) -> bool {
    integers::width(data_type).is_some()
        || matches!(data_type, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..))
        || matches!(data_type, DataType::Utf8 | DataType::Binary | DataType::Null)
}

fn append_column(column: &ArrayRef, key: &SortKey, keys: &mut [Vec<u8>]) -> Result<()> {
    let inverted = key.order == SortOrder::Descending;
    let null = if key.nulls == NullOrder::First { NULL_FIRST } else { NULL_LAST };
    let nulls = column.logical_nulls();
    let mut each = |write: &mut dyn FnMut(usize, &mut Vec<u8>)| {
        for (row, out) in keys.iter_mut().enumerate() {
            if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                out.push(null);
                continue;
            }
            out.push(VALUE);
            let start = out.len();
            write(row, out);
            if inverted {
                out[start..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
    };
    match column.data_type() {
        DataType::Utf8 => {
            let array = column.as_string::<i32>();
            each(&mut |row, out| write_bytes(array.value(row).as_bytes(), out));
        }
        DataType::Binary => {
            let array = column.as_binary::<i32>();
            each(&mut |row, out| write_bytes(array.value(row), out));
        }
        DataType::Float32 => {
            let array = column.as_primitive::<Float32Type>();
            each(&mut |row, out| out.extend_from_slice(&double_bits(f64::from(array.value(row))).to_be_bytes()));
        }
        DataType::Float64 => {
            let array = column.as_primitive::<Float64Type>();
            each(&mut |row, out| out.extend_from_slice(&double_bits(array.value(row)).to_be_bytes()));
        }
        DataType::Decimal128(..) => {
            let array = column.as_primitive::<Decimal128Type>();
            each(&mut |row, out| out.extend_from_slice(&(array.value(row) ^ i128::MIN).to_be_bytes()));
        }
        DataType::Null => each(&mut |_, _| {}),
        other => {
            let width = integers::width(other)
                .ok_or_else(|| Error::internal(format!("rows cannot be ordered by a column of {other}")))?;
            let values = integers::to_i64(column)?;
            each(&mut |row, out| {
                out.extend_from_slice(&key_codec::flip(values[row], width).to_be_bytes()[8 - width..]);
            });
        }
    }
    Ok(())
}

/// Bits that compare as the numbers do.
fn double_bits(value: f64) -> u64 {
    let bits = if value.is_nan() {
        f64::NAN.to_bits()
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(255);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Decimal128Array, Float64Array, Int32Array, StringArray};
    use std::sync::Arc;

    /// `column` is in ascending order, null first; equal neighbours in `ties`.
    fn check(column: ArrayRef, ties: &[usize]) {
        for (order, nulls) in [
            (SortOrder::Ascending, NullOrder::First),
            (SortOrder::Ascending, NullOrder::Last),
            (SortOrder::Descending, NullOrder::First),
            (SortOrder::Descending, NullOrder::Last),
        ] {
            let keys =
                encode(std::slice::from_ref(&column), &[SortKey { column: 0, order, nulls }], column.len()).unwrap();
            for at in 2..keys.len() {
                let (before, after) = (&keys[at - 1], &keys[at]);
                assert_eq!(before == after, ties.contains(&at), "{at} of {column:?}");
                assert!(if order == SortOrder::Ascending { before <= after } else { before >= after }, "{at}");
            }
            assert!(keys[1..].iter().all(|k| (keys[0] < *k) == (nulls == NullOrder::First)));
        }
    }

    #[test]
    fn bytes_are_in_the_order_of_the_values() {
        check(Arc::new(Int32Array::from(vec![None, Some(i32::MIN), Some(-1), Some(0), Some(0), Some(7)])), &[4]);
        let doubles = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN];
        let doubles = std::iter::once(None).chain(doubles.map(Some)).collect::<Vec<_>>();
        check(Arc::new(Float64Array::from(doubles)), &[4]);
        let texts = vec![None, Some(""), Some("a"), Some("a\0"), Some("a\0b"), Some("a\u{1}"), Some("ab"), Some("é")];
        check(Arc::new(StringArray::from(texts)), &[]);
        let bytes: Vec<Option<&[u8]>> = vec![None, Some(&[0]), Some(&[0, 0]), Some(&[0, 255]), Some(&[255])];
        check(Arc::new(BinaryArray::from(bytes)), &[]);
        check(Arc::new(Decimal128Array::from(vec![None, Some(-10), Some(0), Some(i128::from(i64::MAX) * 4)])), &[]);
    }

    #[test]
    fn later_columns_break_ties() {
        let first: ArrayRef = Arc::new(StringArray::from(vec!["a", "ab", "a"]));
        let second: ArrayRef = Arc::new(Int32Array::from(vec![2, 1, 1]));
        let key = |column| SortKey { column, order: SortOrder::Ascending, nulls: NullOrder::First };
        let keys = encode(&[first, second], &[key(0), key(1)], 3).unwrap();
        assert!(keys[2] < keys[0] && keys[0] < keys[1]);
    }
}
