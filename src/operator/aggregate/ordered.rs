//! `MIN` and `MAX` over an input that takes rows away: how often each value is there, by group, in order.
//!
//! A count below zero (a value taken away before it came) is kept, as in Flink, and is no value.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Decimal128Type};

use super::Stored;
use super::accumulator::to_f64;
use super::trace::{from_f64, from_i128};
use crate::error::{Error, Result};
use crate::state::backend::malformed;
use crate::state::integers;

/// See the module text.
pub struct Ordered {
    largest: bool,
    groups: Vec<BTreeMap<Box<[u8]>, i64>>,
    held: usize,
}

/// Bytes of one entry besides its value's.
const ENTRY_BYTES: usize = 40;

impl Ordered {
    /// No groups.
    pub fn new(largest: bool) -> Self {
        Ordered { largest, groups: Vec::new(), held: 0 }
    }
    /// Makes room for `groups` groups.
    pub fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, BTreeMap::new);
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<BTreeMap<Box<[u8]>, i64>>() + self.held
    }
    /// Counts a value `by` times more.
    pub fn add(&mut self, group: usize, value: &[u8], by: i64) {
        if let Some(count) = self.groups[group].get_mut(value) {
            *count += by;
            if *count == 0 {
                self.groups[group].remove(value);
                self.held -= ENTRY_BYTES + value.len();
            }
        } else if by != 0 {
            self.groups[group].insert(value.into(), by);
            self.held += ENTRY_BYTES + value.len();
        }
    }
    /// Forgets a group's values.
    pub fn clear(&mut self, group: usize) {
        let values = std::mem::take(&mut self.groups[group]);
        self.held -= values.keys().map(|v| ENTRY_BYTES + v.len()).sum::<usize>();
    }
    /// The smallest or largest value.
    pub fn best(&self, group: usize) -> Option<&[u8]> {
        let values = &self.groups[group];
        let found = if self.largest {
            values.iter().rev().find(|(_, count)| **count > 0)
        } else {
            values.iter().find(|(_, count)| **count > 0)
        };
        found.map(|(value, _)| &value[..])
    }
    /// Keeps only these groups, renumbered.
    pub fn keep(&mut self, groups: &[u32]) {
        self.groups = groups.iter().map(|g| std::mem::take(&mut self.groups[*g as usize])).collect();
        self.held = self.groups.iter().flat_map(BTreeMap::keys).map(|v| ENTRY_BYTES + v.len()).sum();
    }
    /// Takes group `groups[i]` of another into group `to[i]`.
    pub fn merge(&mut self, to: &[u32], from: &Self, groups: &[u32]) {
        for (to, group) in to.iter().zip(groups) {
            for (value, count) in &from.groups[*group as usize] {
                self.add(*to as usize, value, *count);
            }
        }
    }
    /// Appends a group's stored form: the number of values u32, then each one's count i64, length u32 and bytes.
    pub fn write(&self, group: usize, out: &mut Vec<u8>) {
        let length = |n: usize| u32::try_from(n).expect("a group has fewer than 2^32 values").to_be_bytes();
        let values = &self.groups[group];
        out.extend_from_slice(&length(values.len()));
        for (value, count) in values {
            out.extend_from_slice(&count.to_be_bytes());
            out.extend_from_slice(&length(value.len()));
            out.extend_from_slice(value);
        }
    }
    /// Replaces a group by its stored form.
    pub fn read(&mut self, group: usize, input: &mut Stored<'_>) -> Result<()> {
        self.clear(group);
        for _ in 0..input.length()? {
            let count = i64::from_be_bytes(input.array()?);
            let length = input.length()?;
            let value = input.bytes(length)?;
            self.add(group, value, count);
        }
        Ok(())
    }
}

/// Calls `each` with the row and bytes of every row's value: bytes that sort as the values do. Null rows are arbitrary.
pub fn each_ordered(values: &ArrayRef, mut each: impl FnMut(usize, &[u8])) -> Result<()> {
    match values.data_type() {
        DataType::Utf8 => {
            let values = values.as_string::<i32>();
            (0..values.len()).for_each(|row| each(row, values.value(row).as_bytes()));
        }
        DataType::Binary => {
            let values = values.as_binary::<i32>();
            (0..values.len()).for_each(|row| each(row, values.value(row)));
        }
        DataType::Decimal128(..) => {
            let values = values.as_primitive::<Decimal128Type>();
            values.values().iter().enumerate().for_each(|(row, v)| each(row, &(v ^ i128::MIN).to_be_bytes()));
        }
        DataType::Float32 | DataType::Float64 => {
            for (row, value) in to_f64(values)?.iter().enumerate() {
                let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                each(row, &flip_float(bits).to_be_bytes());
            }
        }
        _ => {
            for (row, value) in integers::to_i64(values)?.iter().enumerate() {
                each(row, &(value ^ i64::MIN).to_be_bytes());
            }
        }
    }
    Ok(())
}

/// Negative floats sort backwards by their bits.
fn flip_float(bits: u64) -> u64 {
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The column of values that [`each_ordered`] gave.
pub fn from_ordered(values: &[Option<&[u8]>], result: &DataType) -> Result<ArrayRef> {
    fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N]> {
        value.try_into().map_err(|_| malformed("an ordered value has another length"))
    }
    Ok(match result {
        DataType::Utf8 => {
            let text = |v: &[u8]| {
                std::str::from_utf8(v).map_err(|e| malformed("a text is not UTF-8").caused_by(&e)).map(str::to_owned)
            };
            let texts: Vec<Option<String>> = values.iter().map(|v| v.map(text).transpose()).collect::<Result<_>>()?;
            Arc::new(StringArray::from(texts))
        }
        DataType::Binary => Arc::new(arrow::array::BinaryArray::from_iter(values.iter())),
        DataType::Decimal128(..) => {
            let value = |v: &[u8]| Ok::<_, Error>(i128::from_be_bytes(fixed(v)?) ^ i128::MIN);
            let all: Vec<Option<i128>> = values.iter().map(|v| v.map(value).transpose()).collect::<Result<_>>()?;
            from_i128(all.into_iter(), result)?
        }
        DataType::Float32 | DataType::Float64 => {
            let value = |v: &[u8]| {
                let bits = u64::from_be_bytes(fixed(v)?);
                Ok::<_, Error>(f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits }))
            };
            let all: Vec<f64> = values.iter().map(|v| v.map_or(Ok(0.0), value)).collect::<Result<_>>()?;
            from_f64(all, values.iter().map(Option::is_some).collect(), result)?
        }
        _ => {
            let value = |v: &[u8]| Ok::<_, Error>(i64::from_be_bytes(fixed(v)?) ^ i64::MIN);
            let all: Vec<i64> = values.iter().map(|v| v.map_or(Ok(0), value)).collect::<Result<_>>()?;
            integers::from_i64(all, Some(values.iter().map(Option::is_some).collect()), result)?
        }
    })
}
