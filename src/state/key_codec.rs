//! The stored encoding of keys (and of distinct values): our own, because Arrow's row format promises no stability.
//!
//! Version 1: columns one after another. Null is the byte 0. Otherwise the byte 1, then
//! - integers underneath (see [`integers`]): their width in bytes, big endian, the sign bit flipped;
//! - `FLOAT`, `DOUBLE`: the bits, big endian; all NaNs are one; 0.0 and -0.0 differ, as in Flink;
//! - `DECIMAL`: 16 bytes, big endian, the sign bit flipped;
//! - strings and bytes: length u32 BE, then the bytes;
//! - arrays, maps, multisets, rows: bytes, made by [`nested_codec`](super::nested_codec).
//!
//! It is also the stored encoding of whole rows ([`KeyCodec::encode_bytes`]).
//!
//! Invariants: 1. equal keys have equal bytes and the reverse; 2. the bytes, and XXH3-64 of them, never change: key
//! groups depend on it; 3. one integer column stays in registers (`KeyBatch::Ints`) and has the same stored bytes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Float32Array, Float64Array, GenericByteArray, NullArray,
    StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{ByteArrayType, DataType, Decimal128Type, Float32Type, Float64Type};

use super::backend::malformed;
use super::integers;
use super::nested_codec::{flatten, is_nested, unflatten};
use crate::error::{Error, Result};
use crate::graph::key_group::hash_key;

/// Encodes and decodes keys of some column types.
#[derive(Debug, Clone)]
pub struct KeyCodec {
    columns: Vec<DataType>,
}

/// The encoded keys of a batch.
pub enum KeyBatch {
    /// One integer column: values in key order (sign bit flipped within `width` bytes).
    Ints { values: Vec<u64>, nulls: Option<NullBuffer>, width: usize },
    /// Key `i` is `data[ends[i - 1]..ends[i]]`.
    Bytes { data: Vec<u8>, ends: Vec<usize> },
}

/// An encoded integer key, on the stack.
#[derive(Clone, Copy)]
pub struct IntKey {
    bytes: [u8; 9],
    length: usize,
}

impl IntKey {
    /// The encoding of a value of [`KeyBatch::Ints`]; `None` = null.
    pub fn new(value: Option<u64>, width: usize) -> IntKey {
        let mut bytes = [0; 9];
        let Some(value) = value else { return IntKey { bytes, length: 1 } };
        bytes[0] = 1;
        bytes[1..].copy_from_slice(&(value << (64 - 8 * width)).to_be_bytes());
        IntKey { bytes, length: 1 + width }
    }
    /// The stored bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
    /// The inverse of [`IntKey::new`].
    pub fn parse(bytes: &[u8], width: usize) -> Result<Option<u64>> {
        match bytes {
            [0] => Ok(None),
            [1, digits @ ..] if digits.len() == width => {
                Ok(Some(digits.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))))
            }
            _ => Err(malformed("an integer key has another length")),
        }
    }
}

pub(super) fn flip(value: i64, width: usize) -> u64 {
    let bits = 8 * width;
    (value.cast_unsigned() ^ (1 << (bits - 1))) & (u64::MAX >> (64 - bits))
}

fn unflip(value: u64, width: usize) -> i64 {
    let unused = 64 - 8 * width;
    ((value ^ (1 << (8 * width - 1))) << unused).cast_signed() >> unused
}

fn canonical_bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

impl KeyCodec {
    /// A codec of these column types; refuses types that no SQL type has (`unsupported_key_type`).
    pub fn new(columns: Vec<DataType>) -> Result<Self> {
        for column in &columns {
            let known = integers::width(column).is_some()
                || matches!(column, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..))
                || matches!(column, DataType::Utf8 | DataType::Binary | DataType::Null)
                || is_nested(column);
            if !known {
                return Err(Error::invalid(
                    "unsupported_key_type",
                    format!("a column of {column} cannot be grouped by or counted distinct: group by its members"),
                ));
            }
        }
        Ok(KeyCodec { columns })
    }

    /// The width in bytes if the key is one integer column.
    pub fn integer_width(&self) -> Option<usize> {
        match &self.columns[..] {
            [one] => integers::width(one),
            _ => None,
        }
    }

    /// Encodes `rows` keys.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<KeyBatch> {
        if let (Some(width), [column]) = (self.integer_width(), columns) {
            let values = integers::to_i64(column)?.iter().map(|v| flip(*v, width)).collect();
            return Ok(KeyBatch::Ints { values, nulls: column.nulls().filter(|n| n.null_count() > 0).cloned(), width });
        }
        let (data, ends) = self.encode_bytes(columns, rows)?;
        Ok(KeyBatch::Bytes { data, ends })
    }

    /// The stored bytes of `rows` keys, or of whole rows: the bytes of row `i` are `data[ends[i - 1]..ends[i]]`.
    pub fn encode_bytes(&self, columns: &[ArrayRef], rows: usize) -> Result<(Vec<u8>, Vec<usize>)> {
        let flat: Vec<ArrayRef>;
        let mut columns = columns;
        if self.columns.iter().any(is_nested) {
            flat = columns.iter().map(flatten).collect::<Result<_>>()?;
            columns = &flat;
        }
        let mut lengths = vec![columns.len(); rows];
        for column in columns {
            add_lengths(column, &mut lengths);
        }
        let mut total = 0;
        let mut cursors = lengths; // Becomes each key's write position, and at last its end.
        for cursor in &mut cursors {
            (*cursor, total) = (total, total + *cursor);
        }
        let mut data = vec![0; total];
        for column in columns {
            write_column(column, &mut data, &mut cursors)?;
        }
        Ok((data, cursors))
    }

    /// The columns of these encoded keys.
    pub fn decode(&self, keys: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let mut rest: Vec<&[u8]> = keys.to_vec();
        let columns = self.columns.iter().map(|c| match is_nested(c) {
            true => unflatten(&read_column(&DataType::Binary, &mut rest)?, c),
            false => read_column(c, &mut rest),
        });
        let columns = columns.collect::<Result<_>>()?;
        if rest.iter().any(|r| !r.is_empty()) {
            return Err(malformed("a key is longer than its columns"));
        }
        Ok(columns)
    }

    /// The column of keys that are one integer, as [`KeyBatch::Ints`] holds them.
    pub fn decode_ints(&self, values: &[u64], nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let (Some(width), Some(column)) = (self.integer_width(), self.columns.first()) else {
            return Err(Error::internal("the key is not one integer"));
        };
        integers::from_i64(values.iter().map(|v| unflip(*v, width)).collect(), nulls, column)
    }
}

impl KeyBatch {
    /// The number of keys.
    pub fn len(&self) -> usize {
        match self {
            KeyBatch::Ints { values, .. } => values.len(),
            KeyBatch::Bytes { ends, .. } => ends.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The hash of each key, of which its key group is computed.
    pub fn hashes(&self) -> Vec<u64> {
        match self {
            KeyBatch::Ints { values, nulls: None, width } => {
                values.iter().map(|v| hash_key(IntKey::new(Some(*v), *width).as_bytes())).collect()
            }
            KeyBatch::Ints { values, nulls: Some(nulls), width } => {
                let key = |(v, valid): (&u64, bool)| hash_key(IntKey::new(valid.then_some(*v), *width).as_bytes());
                values.iter().zip(nulls.iter()).map(key).collect()
            }
            KeyBatch::Bytes { data, ends } => {
                let mut start = 0;
                let key = |end: &usize| hash_key(&data[std::mem::replace(&mut start, *end)..*end]);
                ends.iter().map(key).collect()
            }
        }
    }
}

fn add_lengths(column: &ArrayRef, lengths: &mut [usize]) {
    fn variable<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>, lengths: &mut [usize]) {
        for (row, (length, bounds)) in lengths.iter_mut().zip(array.value_offsets().windows(2)).enumerate() {
            if array.is_valid(row) {
                *length += 4 + usize::try_from(bounds[1] - bounds[0]).unwrap_or(0);
            }
        }
    }
    let fixed = match column.data_type() {
        DataType::Utf8 => return variable(column.as_string::<i32>(), lengths),
        DataType::Binary => return variable(column.as_binary::<i32>(), lengths),
        DataType::Float32 => 4,
        DataType::Float64 => 8,
        DataType::Decimal128(..) => 16,
        DataType::Null => return,
        other => integers::width(other).unwrap_or(0),
    };
    match column.nulls() {
        None => lengths.iter_mut().for_each(|l| *l += fixed),
        Some(nulls) => lengths.iter_mut().zip(nulls.iter()).for_each(|(l, valid)| *l += fixed * usize::from(valid)),
    }
}

/// Writes one column of every key at its cursor and moves the cursors on.
fn write_column(column: &ArrayRef, data: &mut [u8], cursors: &mut [usize]) -> Result<()> {
    let nulls = column.nulls();
    let mut each = |bytes_of: &mut dyn FnMut(usize, &mut [u8]) -> usize| {
        for (row, cursor) in cursors.iter_mut().enumerate() {
            let present = nulls.is_none_or(|n| n.is_valid(row));
            data[*cursor] = u8::from(present);
            *cursor += 1;
            if present {
                *cursor += bytes_of(row, &mut data[*cursor..]);
            }
        }
    };
    fn put(target: &mut [u8], bytes: &[u8]) -> usize {
        target[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }
    fn put_sized(target: &mut [u8], bytes: &[u8]) -> usize {
        let length = u32::try_from(bytes.len()).expect("arrow's offsets are 32 bits");
        put(target, &length.to_be_bytes());
        4 + put(&mut target[4..], bytes)
    }
    match column.data_type() {
        DataType::Null => cursors.iter_mut().for_each(|cursor| *cursor += 1),
        DataType::Utf8 => {
            let array = column.as_string::<i32>();
            each(&mut |row, target| put_sized(target, array.value(row).as_bytes()));
        }
        DataType::Binary => {
            let array = column.as_binary::<i32>();
            each(&mut |row, target| put_sized(target, array.value(row)));
        }
        DataType::Float32 => {
            let array = column.as_primitive::<Float32Type>();
            let bits = |v: f32| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() };
            each(&mut |row, target| put(target, &bits(array.value(row)).to_be_bytes()));
        }
        DataType::Float64 => {
            let array = column.as_primitive::<Float64Type>();
            each(&mut |row, target| put(target, &canonical_bits(array.value(row)).to_be_bytes()));
        }
        DataType::Decimal128(..) => {
            let array = column.as_primitive::<Decimal128Type>();
            each(&mut |row, target| put(target, &(array.value(row) ^ i128::MIN).to_be_bytes()));
        }
        other => {
            let width = integers::width(other).ok_or_else(|| Error::internal("the key type was checked"))?;
            let values = integers::to_i64(column)?;
            each(&mut |row, target| put(target, &flip(values[row], width).to_be_bytes()[8 - width..]));
        }
    }
    Ok(())
}

/// Reads one column of every key, cutting it off the front of `keys`.
pub(super) fn read_column(data_type: &DataType, keys: &mut [&[u8]]) -> Result<ArrayRef> {
    let short = || malformed("a key is shorter than its columns");
    let mut valid = Vec::with_capacity(keys.len());
    for key in keys.iter_mut() {
        let (first, rest) = key.split_first().ok_or_else(short)?;
        valid.push(*first != 0);
        *key = rest;
    }
    fn fixed<const N: usize, T>(keys: &mut [&[u8]], valid: &[bool], of: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        let mut values = Vec::with_capacity(keys.len());
        for (key, valid) in keys.iter_mut().zip(valid) {
            let mut bytes = [0; N];
            if *valid {
                let (head, rest) =
                    key.split_first_chunk::<N>().ok_or_else(|| malformed("a key is shorter than its columns"))?;
                (bytes, *key) = (*head, rest);
            }
            values.push(of(bytes));
        }
        Ok(values)
    }
    let integer = |keys: &mut [&[u8]], width: usize| match width {
        1 => fixed::<1, _>(keys, &valid, |b| unflip(u64::from(b[0]), 1)),
        2 => fixed::<2, _>(keys, &valid, |b| unflip(u64::from(u16::from_be_bytes(b)), 2)),
        4 => fixed::<4, _>(keys, &valid, |b| unflip(u64::from(u32::from_be_bytes(b)), 4)),
        _ => fixed::<8, _>(keys, &valid, |b| unflip(u64::from_be_bytes(b), 8)),
    };
    let nulls = || valid.contains(&false).then(|| NullBuffer::from(valid.clone()));
    Ok(match data_type {
        DataType::Null => Arc::new(NullArray::new(valid.len())),
        DataType::Utf8 | DataType::Binary => {
            let mut bytes = Vec::new();
            let mut lengths = Vec::with_capacity(keys.len());
            for (key, valid) in keys.iter_mut().zip(&valid) {
                let mut length = 0;
                if *valid {
                    let (head, rest) = key.split_first_chunk::<4>().ok_or_else(short)?;
                    length = usize::try_from(u32::from_be_bytes(*head)).map_err(|_| short())?;
                    let (value, rest) = rest.split_at_checked(length).ok_or_else(short)?;
                    bytes.extend_from_slice(value);
                    *key = rest;
                }
                lengths.push(length);
            }
            let offsets = OffsetBuffer::from_lengths(lengths);
            let array: ArrayRef = match data_type {
                DataType::Utf8 => Arc::new(
                    StringArray::try_new(offsets, bytes.into(), nulls())
                        .map_err(|e| malformed("a string key is not UTF-8").caused_by(&e))?,
                ),
                _ => Arc::new(BinaryArray::try_new(offsets, bytes.into(), nulls())?),
            };
            array
        }
        DataType::Float32 => {
            let values = fixed::<4, _>(keys, &valid, |b| f32::from_bits(u32::from_be_bytes(b)))?;
            Arc::new(Float32Array::new(values.into(), nulls()))
        }
        DataType::Float64 => {
            let values = fixed::<8, _>(keys, &valid, |b| f64::from_bits(u64::from_be_bytes(b)))?;
            Arc::new(Float64Array::new(values.into(), nulls()))
        }
        DataType::Decimal128(precision, scale) => {
            let values = fixed::<16, _>(keys, &valid, |b| i128::from_be_bytes(b) ^ i128::MIN)?;
            Arc::new(Decimal128Array::new(values.into(), nulls()).with_precision_and_scale(*precision, *scale)?)
        }
        other => {
            let width = integers::width(other).ok_or_else(|| Error::internal("the key type was checked"))?;
            integers::from_i64(integer(keys, width)?, nulls(), other)?
        }
    })
}

#[cfg(test)]
#[path = "key_codec_tests.rs"]
mod tests;
