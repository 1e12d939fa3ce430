//! Rows that wait until the watermark passes their time.
//!
//! Rows lie in memory as they came, column by column; those that a snapshot or the memory budget made RocksDB have are
//! read back from there when they are due. They are released in the order of time, then of arrival.
//!
//! Invariants: 1. every waiting row is either in memory, or in RocksDB with a number below `spilled`; 2. after
//! [`TimeBuffer::flush`] RocksDB has every waiting row; 3. rows of one key keep their order of arrival, also over a
//! change of parallelism.
//!
//! Stored: key = key group u16 BE | time i64 BE, sign bit flipped | number of arrival u64 BE; value = version byte 1 |
//! the row ([`super::row_codec`]). What was released is deleted with the next flush.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{interleave, take};

use super::Backend;
use super::backend::malformed;
use super::row_codec::RowCodec;
use crate::error::Result;

const VALUE_VERSION: u8 = 1;
/// Above this many pieces of batches they are put together.
const MAX_SEGMENTS: usize = 64;

/// Rows of one batch that are still waiting.
struct Segment {
    columns: Vec<ArrayRef>,
    rows: Vec<Waiting>,
    min_time: i64,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Waiting {
    time: i64,
    number: u64,
    key_group: u16,
    stored: bool,
}

/// Rows that are due, in the order of time.
pub struct Released {
    pub columns: Vec<ArrayRef>,
    pub times: Vec<i64>,
}

/// See the module text.
pub struct TimeBuffer {
    table: &'static str,
    codec: RowCodec,
    segments: Vec<Segment>,
    next_number: u64,
    /// Rows below this number are not in memory.
    spilled: u64,
    /// Key groups with rows that are not in memory, and a time before which there are none.
    on_disk: BTreeMap<u16, i64>,
    /// Key groups with stored rows that were released since the last flush.
    released: BTreeMap<u16, i64>,
}

impl TimeBuffer {
    /// A buffer over a table of a backend that the owner has opened. `next_number` is the highest that
    /// [`TimeBuffer::next_number`] answered when the snapshots were taken.
    pub fn open(backend: &Backend, table: &'static str, codec: RowCodec, next_number: u64) -> Result<Self> {
        let mut on_disk = BTreeMap::new();
        if backend.is_restored() {
            for prefix in backend.prefixes(table, 2)? {
                let group = prefix.first_chunk::<2>().ok_or_else(|| malformed("a waiting row's key is too short"))?;
                on_disk.insert(u16::from_be_bytes(*group), i64::MIN);
            }
        }
        let segments = Vec::new();
        Ok(TimeBuffer { table, codec, segments, next_number, spilled: next_number, on_disk, released: BTreeMap::new() })
    }

    /// To be stored by the owner.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|s| s.bytes).sum()
    }

    /// Takes rows; `times` and `key_groups` have an item for each.
    pub fn push(&mut self, columns: Vec<ArrayRef>, times: &[i64], key_groups: &[u16]) -> Result<()> {
        let mut rows = Vec::with_capacity(times.len());
        for (time, key_group) in times.iter().zip(key_groups) {
            rows.push(Waiting { time: *time, number: self.next_number, key_group: *key_group, stored: false });
            self.next_number += 1;
        }
        self.add(columns, rows);
        if self.segments.len() > MAX_SEGMENTS {
            let all = std::mem::take(&mut self.segments);
            let order: Vec<(usize, usize)> =
                all.iter().enumerate().flat_map(|(s, segment)| (0..segment.rows.len()).map(move |r| (s, r))).collect();
            let rows = order.iter().map(|(s, r)| all[*s].rows[*r]).collect();
            let columns = self.gather(&all, &order)?;
            self.add(columns, rows);
        }
        Ok(())
    }

    fn add(&mut self, columns: Vec<ArrayRef>, rows: Vec<Waiting>) {
        let Some(min_time) = rows.iter().map(|r| r.time).min() else { return };
        let held = columns.iter().map(|c| c.get_array_memory_size()).sum::<usize>();
        let bytes = held + rows.capacity() * size_of::<Waiting>();
        self.segments.push(Segment { columns, rows, min_time, bytes });
    }

    fn gather(&self, segments: &[Segment], order: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
        let column = |at: usize| {
            let arrays: Vec<&dyn Array> = segments.iter().map(|s| s.columns[at].as_ref()).collect();
            interleave(&arrays, order)
        };
        Ok((0..self.codec.columns().len()).map(column).collect::<Result<_, _>>()?)
    }

    /// Takes out the rows that are due at a watermark, those of this very time included.
    pub fn release(&mut self, backend: &Backend, watermark: i64) -> Result<Option<Released>> {
        let mut due = Vec::new();
        for segment in std::mem::take(&mut self.segments) {
            if segment.min_time > watermark {
                self.segments.push(segment);
                continue;
            }
            let kept: Vec<u32> =
                (0u32..).zip(&segment.rows).filter(|(_, r)| r.time > watermark).map(|(i, _)| i).collect();
            if !kept.is_empty() {
                let rows = kept.iter().map(|i| segment.rows[*i as usize]).collect();
                let kept = UInt32Array::from(kept);
                let columns = segment.columns.iter().map(|c| take(c, &kept, None)).collect::<Result<_, _>>()?;
                self.add(columns, rows);
            }
            due.push(segment);
        }
        if let Some(segment) = self.read_back(backend, watermark)? {
            due.push(segment);
        }
        let mut order: Vec<(i64, u64, usize, usize)> = Vec::new();
        for (s, segment) in due.iter().enumerate() {
            for (r, row) in segment.rows.iter().enumerate().filter(|(_, r)| r.time <= watermark) {
                order.push((row.time, row.number, s, r));
                if row.stored {
                    self.released.insert(row.key_group, watermark);
                }
            }
        }
        if order.is_empty() {
            return Ok(None);
        }
        order.sort_unstable();
        let times = order.iter().map(|(time, ..)| *time).collect();
        let order: Vec<(usize, usize)> = order.into_iter().map(|(.., s, r)| (s, r)).collect();
        Ok(Some(Released { columns: self.gather(&due, &order)?, times }))
    }

    /// Reads the due rows that are not in memory.
    fn read_back(&mut self, backend: &Backend, watermark: i64) -> Result<Option<Segment>> {
        let (mut data, mut ends, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for (group, from) in self.on_disk.clone() {
            if from > watermark {
                continue;
            }
            let mut next = None;
            backend.scan(self.table, &group.to_be_bytes(), |key, value| {
                let (time, number) = parse_key(key)?;
                if time < from || number >= self.spilled {
                    return Ok(ControlFlow::Continue(()));
                }
                if time > watermark {
                    next = Some(time);
                    return Ok(ControlFlow::Break(()));
                }
                let Some((&VALUE_VERSION, row)) = value.split_first() else {
                    return Err(malformed("a waiting row has an unknown version"));
                };
                data.extend_from_slice(row);
                ends.push(data.len());
                rows.push(Waiting { time, number, key_group: group, stored: true });
                Ok(ControlFlow::Continue(()))
            })?;
            match next {
                Some(time) => self.on_disk.insert(group, time),
                None => self.on_disk.remove(&group),
            };
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let encoded: Vec<&[u8]> = starts.zip(&ends).map(|(start, end)| &data[start..*end]).collect();
        let columns = self.codec.decode(&encoded)?;
        Ok(Some(Segment { columns, rows, min_time: i64::MIN, bytes: 0 }))
    }

    /// Writes what RocksDB has not, and deletes what was released.
    pub fn flush(&mut self, backend: &Backend) -> Result<()> {
        let mut writes = backend.writes(self.table)?;
        for (group, watermark) in std::mem::take(&mut self.released) {
            let group = group.to_be_bytes();
            let Some(after) = watermark.checked_add(1) else {
                writes.delete_prefix(&group)?;
                continue;
            };
            writes.delete_range(&group, &stored_key(u16::from_be_bytes(group), after, 0))?;
        }
        let mut value = Vec::new();
        for segment in &mut self.segments {
            if segment.rows.iter().all(|r| r.stored) {
                continue;
            }
            let encoder = self.codec.encoder(&segment.columns)?;
            for (at, row) in segment.rows.iter_mut().enumerate().filter(|(_, r)| !r.stored) {
                value.clear();
                value.push(VALUE_VERSION);
                encoder.write(at, &mut value);
                writes.put(&stored_key(row.key_group, row.time, row.number), &value)?;
                row.stored = true;
            }
        }
        writes.commit()
    }

    /// Flushes, then forgets everything in memory.
    pub fn spill(&mut self, backend: &Backend) -> Result<()> {
        self.flush(backend)?;
        for row in self.segments.drain(..).flat_map(|s| s.rows) {
            let from = self.on_disk.entry(row.key_group).or_insert(row.time);
            *from = row.time.min(*from);
        }
        self.spilled = self.next_number;
        Ok(())
    }
}

fn stored_key(key_group: u16, time: i64, number: u64) -> [u8; 18] {
    let mut key = [0; 18];
    key[..2].copy_from_slice(&key_group.to_be_bytes());
    key[2..10].copy_from_slice(&(time ^ i64::MIN).to_be_bytes());
    key[10..].copy_from_slice(&number.to_be_bytes());
    key
}

fn parse_key(key: &[u8]) -> Result<(i64, u64)> {
    let parse = || {
        let (_, rest) = key.split_first_chunk::<2>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        Some((i64::from_be_bytes(*time) ^ i64::MIN, u64::from_be_bytes(rest.try_into().ok()?)))
    };
    parse().ok_or_else(|| malformed("a waiting row's key has another length"))
}

/// The operator state of an operator that works in event time, version 1: its watermark and the number of the next row.
pub fn operator_state(watermark: i64, buffer: Option<&TimeBuffer>) -> serde_json::Value {
    serde_json::json!({"v": 1, "watermark": watermark, "next_number": buffer.map_or(0, TimeBuffer::next_number)})
}

/// Reads [`operator_state`] of all old subtasks: the lowest watermark, `i64::MIN` if there is none, and the highest
/// number.
pub fn restored_operator_state(states: &[serde_json::Value]) -> Result<(i64, u64)> {
    let (mut lowest, mut highest) = (None, 0);
    for state in states {
        let version = state.get("v").and_then(serde_json::Value::as_u64);
        let watermark = state.get("watermark").and_then(serde_json::Value::as_i64);
        let number = state.get("next_number").and_then(serde_json::Value::as_u64);
        let (Some(1), Some(watermark), Some(number)) = (version, watermark, number) else {
            return Err(malformed("the operator state is not of version 1"));
        };
        lowest = Some(lowest.map_or(watermark, |l: i64| l.min(watermark)));
        highest = highest.max(number);
    }
    Ok((lowest.unwrap_or(i64::MIN), highest))
}

/// The rows whose time the watermark has not passed; the others are late. `None` = all.
pub fn in_time(times: &[i64], watermark: i64) -> Option<Vec<u32>> {
    if watermark == i64::MIN || times.iter().all(|t| *t > watermark) {
        return None;
    }
    Some((0u32..).zip(times).filter(|(_, t)| **t > watermark).map(|(i, _)| i).collect())
}

#[cfg(test)]
#[path = "time_buffer_tests.rs"]
mod tests;
