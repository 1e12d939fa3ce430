//! What a key has: the rows that its frame or a `LAG` may still ask for, and the state of its functions.
//!
//! Stored, version 1, integers big endian: count of rows u32 | how many of them, from the end, the functions have seen u32 |
//! each row: time i64, length u32, bytes | number of rows so far u64 | each aggregate (`operator::aggregate`), then for
//! each `DISTINCT` the number of its values u32, each: length u32, bytes, how often u32.

use std::collections::{HashMap, VecDeque};

use crate::error::Result;
use crate::operator::aggregate::{Aggregate, Stored};
use crate::state::backend::malformed;
use crate::state::keyed_map::Entries;

const VALUE_VERSION: u8 = 1;

/// A row with its time, ms.
pub struct Row {
    pub time: i64,
    pub bytes: Box<[u8]>,
}

/// Rows of a key.
#[derive(Default)]
pub struct Partition {
    pub rows: VecDeque<Row>,
    /// How many of them, from the end, are in the frame.
    pub framed: usize,
    /// How many rows came in all.
    pub count: u64,
    /// By `DISTINCT` call: how often each value is in the frame.
    pub distinct: Vec<HashMap<Box<[u8]>, u32>>,
}

impl Partition {
    fn bytes(&self) -> usize {
        let values = |map: &HashMap<Box<[u8]>, u32>| map.keys().map(|k| k.len() + 40).sum::<usize>();
        self.rows.capacity() * size_of::<Row>()
            + self.rows.iter().map(|r| r.bytes.len()).sum::<usize>()
            + self.distinct.iter().map(values).sum::<usize>()
    }
}

/// The partitions of an operator.
pub struct Partitions {
    pub items: Vec<Partition>,
    /// One per aggregate call; slots are its groups.
    pub aggregates: Vec<Aggregate>,
    distinct: usize,
    /// Rows before this time are no longer in any frame.
    pub horizon: i64,
    held: Vec<usize>,
    bytes: usize,
}

impl Partitions {
    /// No partitions; `distinct` calls keep values.
    pub fn new(aggregates: Vec<Aggregate>, distinct: usize) -> Self {
        Partitions { items: Vec::new(), aggregates, distinct, horizon: i64::MIN, held: Vec::new(), bytes: 0 }
    }
    /// Counts a partition's memory anew.
    pub fn recount(&mut self, slot: usize) {
        let bytes = self.items[slot].bytes();
        self.bytes = self.bytes - self.held[slot] + bytes;
        self.held[slot] = bytes;
    }
    /// Whether nothing that a later row asks for is left.
    pub fn is_over(&self, slot: usize) -> bool {
        self.horizon > i64::MIN && self.items[slot].rows.back().is_none_or(|row| row.time < self.horizon)
    }
    /// Forgets everything of a slot.
    pub fn clear(&mut self, slot: usize) {
        self.items[slot] = self.fresh();
        self.aggregates.iter_mut().for_each(|a| a.clear(slot));
        self.recount(slot);
    }
    fn fresh(&self) -> Partition {
        Partition { distinct: vec![HashMap::new(); self.distinct], ..Partition::default() }
    }
}

impl Entries for Partitions {
    fn resize(&mut self, slots: usize) {
        while self.items.len() < slots {
            let fresh = self.fresh();
            self.items.push(fresh);
        }
        self.held.resize(slots, 0);
        self.aggregates.iter_mut().for_each(|a| a.resize(slots));
    }
    fn is_empty(&self, slot: usize) -> bool {
        self.items[slot].count == 0 || self.is_over(slot)
    }
    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        let partition = &self.items[slot];
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        out.push(VALUE_VERSION);
        out.extend_from_slice(&count(partition.rows.len()));
        out.extend_from_slice(&count(partition.framed));
        for row in &partition.rows {
            out.extend_from_slice(&row.time.to_be_bytes());
            out.extend_from_slice(&count(row.bytes.len()));
            out.extend_from_slice(&row.bytes);
        }
        out.extend_from_slice(&partition.count.to_be_bytes());
        self.aggregates.iter().for_each(|a| a.write(slot, out));
        for values in &partition.distinct {
            out.extend_from_slice(&count(values.len()));
            for (value, times) in values {
                out.extend_from_slice(&count(value.len()));
                out.extend_from_slice(value);
                out.extend_from_slice(&times.to_be_bytes());
            }
        }
    }
    fn read(&mut self, slot: usize, value: &[u8]) -> Result<()> {
        let mut stored = Stored(value);
        if stored.array()? != [VALUE_VERSION] {
            return Err(malformed("a partition has an unknown version"));
        }
        let size = |stored: &mut Stored<'_>| {
            usize::try_from(u32::from_be_bytes(stored.array()?)).map_err(|_| malformed("a partition's count"))
        };
        let mut partition = Partition::default();
        let rows = size(&mut stored)?;
        partition.framed = size(&mut stored)?;
        for _ in 0..rows {
            let time = i64::from_be_bytes(stored.array()?);
            let length = size(&mut stored)?;
            partition.rows.push_back(Row { time, bytes: stored.bytes(length)?.into() });
        }
        if partition.framed > rows {
            return Err(malformed("a partition's frame is larger than its rows"));
        }
        partition.count = u64::from_be_bytes(stored.array()?);
        self.aggregates.iter_mut().try_for_each(|a| a.read(slot, &mut stored))?;
        for _ in 0..self.distinct {
            let mut values = HashMap::new();
            for _ in 0..size(&mut stored)? {
                let length = size(&mut stored)?;
                let value = stored.bytes(length)?.into();
                values.insert(value, u32::from_be_bytes(stored.array()?));
            }
            partition.distinct.push(values);
        }
        if !stored.0.is_empty() {
            return Err(malformed("a partition is longer than its parts"));
        }
        self.items[slot] = partition;
        self.recount(slot);
        Ok(())
    }
    fn keep(&mut self, slots: &[u32]) -> Result<()> {
        self.items = slots.iter().map(|s| std::mem::take(&mut self.items[*s as usize])).collect();
        self.aggregates.iter_mut().for_each(|a| a.keep(slots));
        self.held = slots.iter().map(|s| self.held[*s as usize]).collect();
        self.bytes = self.held.iter().sum();
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.bytes
            + self.items.capacity() * size_of::<Partition>()
            + 8 * self.held.capacity()
            + self.aggregates.iter().map(Aggregate::bytes).sum::<usize>()
    }
}
