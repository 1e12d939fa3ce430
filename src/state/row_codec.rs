//! The stored encoding of whole rows: every type that a stream can carry, nested ones included.
//!
//! Version 1: columns one after another. Null is the byte 0. Otherwise the byte 1, then
//! - what can be a key: as in [`super::key_codec`];
//! - `ROW`: its members, one after another;
//! - `ARRAY`, `MAP`, `MULTISET`: the number of entries u32 BE, then for each its length u32 BE and its bytes (a map's
//!   entry is its key and its value).
//!
//! Invariant: a decoded row has the values of the encoded one; all NaNs are one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Float32Array, Float64Array, ListArray, MapArray, NullArray,
    StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};

use super::backend::malformed;
use super::{integers, key_codec};
use crate::error::{Error, Result};

/// The encoding of null.
const NULL: &[u8] = &[0];

/// Encodes and decodes rows of some column types.
#[derive(Debug, Clone)]
pub struct RowCodec {
    columns: Vec<DataType>,
}

/// The columns of a batch, ready to be written row by row.
pub struct RowEncoder<'a> {
    columns: Vec<Column<'a>>,
}

struct Column<'a> {
    nulls: Option<&'a NullBuffer>,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Null,
    Int { values: ScalarBuffer<i64>, width: usize },
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array),
    String(&'a StringArray),
    Bytes(&'a BinaryArray),
    Row(Vec<Column<'a>>),
    List { offsets: &'a OffsetBuffer<i32>, entry: Vec<Column<'a>> },
}

impl RowCodec {
    /// A codec of these column types.
    pub fn new(columns: Vec<DataType>) -> Self {
        RowCodec { columns }
    }

    /// The types of the columns.
    pub fn columns(&self) -> &[DataType] {
        &self.columns
    }

    /// Prepares the columns of a batch, which must be of the codec's types.
    pub fn encoder<'a>(&self, columns: &'a [ArrayRef]) -> Result<RowEncoder<'a>> {
        if columns.len() != self.columns.len() {
            return Err(Error::internal("a row has another number of columns than its codec"));
        }
        Ok(RowEncoder { columns: columns.iter().map(|c| Column::new(c)).collect::<Result<_>>()? })
    }

    /// The columns of these encoded rows.
    pub fn decode(&self, rows: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let mut rest = rows.to_vec();
        let columns = self.columns.iter().map(|c| read(c, &mut rest)).collect::<Result<_>>()?;
        if rest.iter().any(|r| !r.is_empty()) {
            return Err(malformed("a row is longer than its columns"));
        }
        Ok(columns)
    }
}

impl RowEncoder<'_> {
    /// Appends the encoding of a row.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        self.columns.iter().for_each(|c| c.write(row, out));
    }

    /// The encoding of a row.
    pub fn row(&self, row: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(row, &mut out);
        out
    }
}

impl<'a> Column<'a> {
    fn new(array: &'a dyn Array) -> Result<Column<'a>> {
        let cells = match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Float32 => Cells::Float(array.as_primitive::<Float32Type>()),
            DataType::Float64 => Cells::Double(array.as_primitive::<Float64Type>()),
            DataType::Decimal128(..) => Cells::Decimal(array.as_primitive::<Decimal128Type>()),
            DataType::Utf8 => Cells::String(array.as_string::<i32>()),
            DataType::Binary => Cells::Bytes(array.as_binary::<i32>()),
            DataType::Struct(_) => {
                let members = array.as_struct().columns().iter();
                Cells::Row(members.map(|m| Column::new(m)).collect::<Result<_>>()?)
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Cells::List { offsets: list.offsets(), entry: vec![Column::new(list.values())?] }
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let entry = vec![Column::new(map.keys())?, Column::new(map.values())?];
                Cells::List { offsets: map.offsets(), entry }
            }
            other => match integers::width(other) {
                Some(width) => Cells::Int { values: integers::to_i64(array)?, width },
                None => return Err(Error::internal(format!("a column of {other} cannot be stored"))),
            },
        };
        Ok(Column { nulls: array.nulls().filter(|n| n.null_count() > 0), cells })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if matches!(self.cells, Cells::Null) || self.nulls.is_some_and(|n| n.is_null(row)) {
            return out.push(0);
        }
        out.push(1);
        match &self.cells {
            Cells::Null => {}
            Cells::Int { values, width } => {
                out.extend_from_slice(&key_codec::flip(values[row], *width).to_be_bytes()[8 - width..]);
            }
            Cells::Float(array) => {
                let value = array.value(row);
                let bits = if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() };
                out.extend_from_slice(&bits.to_be_bytes());
            }
            Cells::Double(array) => {
                let value = array.value(row);
                let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                out.extend_from_slice(&bits.to_be_bytes());
            }
            Cells::Decimal(array) => out.extend_from_slice(&(array.value(row) ^ i128::MIN).to_be_bytes()),
            Cells::String(array) => write_sized(array.value(row).as_bytes(), out),
            Cells::Bytes(array) => write_sized(array.value(row), out),
            Cells::Row(members) => members.iter().for_each(|m| m.write(row, out)),
            Cells::List { offsets, entry } => {
                let bound = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
                let (start, end) = (bound(row), bound(row + 1));
                out.extend_from_slice(&length(end - start));
                for at in start..end {
                    let head = out.len();
                    out.extend_from_slice(&[0; 4]);
                    entry.iter().for_each(|part| part.write(at, out));
                    let written = length(out.len() - head - 4);
                    out[head..head + 4].copy_from_slice(&written);
                }
            }
        }
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("arrow's offsets are 32 bits").to_be_bytes()
}

fn write_sized(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Reads one column of every row, cutting it off the front of `rows`.
fn read(data_type: &DataType, rows: &mut [&[u8]]) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Null => {
            for row in rows.iter_mut() {
                *row = row.strip_prefix(NULL).ok_or_else(|| malformed("a null column has a value"))?;
            }
            Arc::new(NullArray::new(rows.len()))
        }
        DataType::Struct(fields) => {
            let valid = read_valid(rows)?;
            let mut inner: Vec<&[u8]> = rows.to_vec();
            let mut members = Vec::with_capacity(fields.len());
            for field in fields {
                // The members of a null row are not stored.
                inner.iter_mut().zip(&valid).filter(|(_, valid)| !**valid).for_each(|(row, _)| *row = NULL);
                members.push(read(field.data_type(), &mut inner)?);
            }
            rows.iter_mut().zip(inner).zip(&valid).filter(|(_, v)| **v).for_each(|((row, rest), _)| *row = rest);
            Arc::new(StructArray::try_new_with_length(fields.clone(), members, nulls(&valid), valid.len())?)
        }
        DataType::List(field) => {
            let (offsets, mut entries, valid) = read_entries(rows)?;
            let values = read(field.data_type(), &mut entries)?;
            Arc::new(ListArray::try_new(field.clone(), offsets, values, nulls(&valid))?)
        }
        DataType::Map(field, sorted) => {
            let DataType::Struct(parts) = field.data_type() else {
                return Err(Error::internal("a map's entries are rows"));
            };
            let (offsets, mut entries, valid) = read_entries(rows)?;
            let count = entries.len();
            let columns = parts.iter().map(|p| read(p.data_type(), &mut entries)).collect::<Result<_>>()?;
            let entries = StructArray::try_new_with_length(parts.clone(), columns, None, count)?;
            Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls(&valid), *sorted)?)
        }
        flat => key_codec::read_column(flat, rows)?,
    })
}

fn nulls(valid: &[bool]) -> Option<NullBuffer> {
    valid.contains(&false).then(|| NullBuffer::from(valid.to_vec()))
}

fn read_valid(rows: &mut [&[u8]]) -> Result<Vec<bool>> {
    let mut valid = Vec::with_capacity(rows.len());
    for row in rows.iter_mut() {
        let (first, rest) = row.split_first().ok_or_else(|| malformed("a row is shorter than its columns"))?;
        valid.push(*first != 0);
        *row = rest;
    }
    Ok(valid)
}

fn read_length(row: &mut &[u8]) -> Result<usize> {
    let short = || malformed("a row is shorter than its columns");
    let (head, rest) = row.split_first_chunk::<4>().ok_or_else(short)?;
    *row = rest;
    usize::try_from(u32::from_be_bytes(*head)).map_err(|_| short())
}

/// The bytes of all entries of all rows' lists.
type Entries<'r> = (OffsetBuffer<i32>, Vec<&'r [u8]>, Vec<bool>);

fn read_entries<'r>(rows: &mut [&'r [u8]]) -> Result<Entries<'r>> {
    let valid = read_valid(rows)?;
    let (mut lengths, mut entries) = (Vec::with_capacity(rows.len()), Vec::new());
    for (row, valid) in rows.iter_mut().zip(&valid) {
        let count = if *valid { read_length(row)? } else { 0 };
        for _ in 0..count {
            let size = read_length(row)?;
            let (entry, rest) =
                row.split_at_checked(size).ok_or_else(|| malformed("a row is shorter than its columns"))?;
            entries.push(entry);
            *row = rest;
        }
        lengths.push(count);
    }
    Ok((OffsetBuffer::from_lengths(lengths), entries, valid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DataType as SqlType, Field, TimestampKind, TypeKind};
    use arrow::array::{BooleanArray, Int32Array, Int64Array, TimestampMicrosecondArray};
    use arrow::record_batch::RecordBatch;

    fn nested() -> Vec<ArrayRef> {
        let member = |name: &str, kind| Field::new(name, SqlType::from(kind));
        let row = TypeKind::Row(vec![
            member("a", TypeKind::BigInt),
            member("s", TypeKind::VarChar(crate::types::MAX_LENGTH)),
        ]);
        let DataType::Struct(fields) = row.to_arrow() else { panic!() };
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None, Some(4)]));
        let s: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), Some(""), None, Some("größe")]));
        let valid = NullBuffer::from(vec![true, true, false, true]);
        let row: ArrayRef = Arc::new(StructArray::new(fields, vec![a, s], Some(valid)));
        let DataType::List(item) = TypeKind::Array(Box::new(SqlType::from(TypeKind::Int))).to_arrow() else { panic!() };
        let items: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None, Some(9)]));
        let valid = NullBuffer::from(vec![true, false, true, true]);
        let list: ArrayRef =
            Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 0, 1]), items, Some(valid)));
        let map = TypeKind::Map(Box::new(SqlType::string()), Box::new(SqlType::from(TypeKind::Double)));
        let DataType::Map(entries, _) = map.to_arrow() else { panic!() };
        let DataType::Struct(parts) = entries.data_type().clone() else { panic!() };
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["k", "l"]));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None]));
        let pairs = StructArray::new(parts, vec![keys, values], None);
        let map: ArrayRef =
            Arc::new(MapArray::new(entries, OffsetBuffer::from_lengths([0, 1, 1, 0]), pairs, None, false));
        vec![row, list, map, Arc::new(NullArray::new(4))]
    }

    #[test]
    fn rows_of_every_type_come_back() {
        let mut columns = nested();
        columns.push(Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])));
        columns.push(Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None, Some(b""), Some(b"a")])));
        columns.push(Arc::new(Float32Array::from(vec![Some(-0.0), None, Some(1.5), Some(f32::MAX)])));
        let decimals = Decimal128Array::from(vec![Some(-1), None, Some(12345), Some(0)]);
        columns.push(Arc::new(decimals.with_precision_and_scale(20, 2).unwrap()));
        let kind = TypeKind::TimestampLtz(6, TimestampKind::Rowtime);
        let times = TimestampMicrosecondArray::from(vec![Some(1), None, Some(-1), Some(i64::MAX)]).with_timezone("UTC");
        assert_eq!(times.data_type(), &kind.to_arrow());
        columns.push(Arc::new(times));
        let codec = RowCodec::new(columns.iter().map(|c| c.data_type().clone()).collect());
        let encoder = codec.encoder(&columns).unwrap();
        let rows: Vec<Vec<u8>> = (0..4).map(|r| encoder.row(r)).collect();
        // In another order, so that nothing depends on neighbours.
        let order = [2usize, 0, 3, 1, 1];
        let picked: Vec<&[u8]> = order.iter().map(|r| &rows[*r][..]).collect();
        let decoded = codec.decode(&picked).unwrap();
        let take = arrow::array::UInt32Array::from(order.map(|r| u32::try_from(r).unwrap()).to_vec());
        let batch = RecordBatch::try_from_iter(columns.iter().enumerate().map(|(i, c)| (i.to_string(), c.clone())));
        let expected = arrow::compute::take_record_batch(&batch.unwrap(), &take).unwrap();
        for (decoded, expected) in decoded.iter().zip(expected.columns()) {
            assert_eq!(decoded.data_type(), expected.data_type());
            assert_eq!(format!("{decoded:?}"), format!("{expected:?}"));
        }
        assert!(codec.decode(&[]).unwrap().iter().all(|c| c.is_empty()));
    }

    #[test]
    fn damaged_rows_are_refused() {
        let columns = nested();
        let codec = RowCodec::new(columns.iter().map(|c| c.data_type().clone()).collect());
        let row = codec.encoder(&columns).unwrap().row(0);
        for end in 0..row.len() {
            assert!(codec.decode(&[&row[..end]]).is_err(), "cut at {end}");
        }
        assert!(codec.decode(&[&[&row[..], &[0]].concat()]).is_err());
    }
}
