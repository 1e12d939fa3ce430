//! The stored encoding of rows, arrays, maps and multisets: part of [`super::key_codec`], version 1.
//!
//! A row is its members one after another; an array is the number of its elements (u32 BE) and the elements; a map or
//! multiset is the number of entries and each one's key and value, in the order given. Each value inside starts with its
//! own null byte.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Fields};

use super::backend::malformed;
use super::integers;
use super::key_codec::{encodes, read_column, write_scalar};
use crate::error::{Error, Result};

/// Whether a nested type can be encoded.
pub(super) fn encodes_nested(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|f| encodes(f.data_type())),
        DataType::List(item) => encodes(item.data_type()),
        DataType::Map(entries, _) => encodes(entries.data_type()),
        _ => false,
    }
}

/// The encoded values of a nested column: value `i` is `data[ends[i - 1]..ends[i]]`, its null byte included.
pub(super) fn encode(column: &ArrayRef) -> Result<(Vec<u8>, Vec<usize>)> {
    let (mut data, mut ends) = (Vec::new(), Vec::with_capacity(column.len()));
    for row in 0..column.len() {
        write(column, row, &mut data)?;
        ends.push(data.len());
    }
    Ok((data, ends))
}

/// Appends one value with its null byte.
fn write(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<()> {
    if array.is_null(row) {
        out.push(0);
        return Ok(());
    }
    out.push(1);
    let count = |n: usize| u32::try_from(n).expect("arrow's offsets are 32 bits").to_be_bytes();
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().try_for_each(|member| write(member, row, out)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.extend_from_slice(&count(items.len()));
            (0..items.len()).try_for_each(|at| write(&items, at, out))
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            out.extend_from_slice(&count(entries.len()));
            (0..entries.len()).try_for_each(|at| entries.columns().iter().try_for_each(|c| write(c, at, out)))
        }
        _ => write_scalar(array, row, out),
    }
}

/// Reads the values of rows that are not null, cutting them off the front of `keys`; null ones become null.
pub(super) fn read(data_type: &DataType, keys: &mut [&[u8]], valid: &[bool]) -> Result<ArrayRef> {
    match data_type {
        DataType::Struct(fields) => {
            let mut rest: Vec<&[u8]> = keys.iter().zip(valid).filter(|(_, v)| **v).map(|(k, _)| *k).collect();
            let members: Vec<ArrayRef> =
                fields.iter().map(|f| read_column(f.data_type(), &mut rest)).collect::<Result<_>>()?;
            let mut rest = rest.into_iter();
            for (key, _) in keys.iter_mut().zip(valid).filter(|(_, v)| **v) {
                *key = rest.next().unwrap_or_default();
            }
            scatter_struct(fields, members, valid)
        }
        DataType::List(item) => {
            let (lengths, mut items) = elements(keys, valid, |rest| skip(item.data_type(), rest))?;
            let values = read_column(item.data_type(), &mut items)?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, nulls(valid))?))
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(Error::internal("a map's entries are rows"));
            };
            let skip_entry = |rest: &mut &[u8]| fields.iter().try_for_each(|f| skip(f.data_type(), rest));
            let (lengths, mut items) = elements(keys, valid, skip_entry)?;
            let columns: Vec<ArrayRef> =
                fields.iter().map(|f| read_column(f.data_type(), &mut items)).collect::<Result<_>>()?;
            let values = StructArray::try_new(fields.clone(), columns, None)?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, values, nulls(valid), *sorted)?))
        }
        other => Err(Error::internal(format!("{other} is not nested"))),
    }
}

fn nulls(valid: &[bool]) -> Option<NullBuffer> {
    valid.contains(&false).then(|| NullBuffer::from(valid.to_vec()))
}

/// The lengths of all rows' collections and the bytes of their elements, cut off the front of `keys`.
fn elements<'k>(
    keys: &mut [&'k [u8]],
    valid: &[bool],
    skip: impl Fn(&mut &'k [u8]) -> Result<()>,
) -> Result<(Vec<usize>, Vec<&'k [u8]>)> {
    let (mut lengths, mut items) = (Vec::with_capacity(keys.len()), Vec::new());
    for (key, valid) in keys.iter_mut().zip(valid) {
        let count = if *valid { length(key)? } else { 0 };
        lengths.push(count);
        for _ in 0..count {
            let start = *key;
            skip(key)?;
            items.push(&start[..start.len() - key.len()]);
        }
    }
    Ok((lengths, items))
}

fn length(rest: &mut &[u8]) -> Result<usize> {
    let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(|| malformed("a nested value is too short"))?;
    *rest = tail;
    usize::try_from(u32::from_be_bytes(*head)).map_err(|_| malformed("a nested value is too long"))
}

/// Moves past one value with its null byte.
fn skip(data_type: &DataType, rest: &mut &[u8]) -> Result<()> {
    let short = || malformed("a nested value is too short");
    let (null, tail) = rest.split_first().ok_or_else(short)?;
    *rest = tail;
    if *null == 0 {
        return Ok(());
    }
    let bytes = match data_type {
        DataType::Utf8 | DataType::Binary => length(rest)?,
        DataType::Float32 => 4,
        DataType::Float64 => 8,
        DataType::Decimal128(..) => 16,
        DataType::Struct(fields) => return fields.iter().try_for_each(|f| skip(f.data_type(), rest)),
        DataType::List(item) => {
            let count = length(rest)?;
            return (0..count).try_for_each(|_| skip(item.data_type(), rest));
        }
        DataType::Map(entries, _) => {
            let count = length(rest)?;
            let DataType::Struct(fields) = entries.data_type() else { return Err(short()) };
            return (0..count).try_for_each(|_| fields.iter().try_for_each(|f| skip(f.data_type(), rest)));
        }
        other => integers::width(other).ok_or_else(|| Error::internal("the key type was checked"))?,
    };
    *rest = rest.get(bytes..).ok_or_else(short)?;
    Ok(())
}

/// Rows of members that were read for valid rows only.
fn scatter_struct(fields: &Fields, members: Vec<ArrayRef>, valid: &[bool]) -> Result<ArrayRef> {
    let mut next = 0;
    let places: UInt32Array = valid
        .iter()
        .map(|v| {
            v.then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    let spread = |member: ArrayRef| -> Result<ArrayRef> {
        if member.is_empty() {
            return Ok(new_null_array(member.data_type(), valid.len()));
        }
        Ok(take(&member, &places, None)?)
    };
    let columns = members.into_iter().map(spread).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls(valid), valid.len())?))
}
