//! Values of `DISTINCT` aggregates: how often each is in its group, for all calls over the same column together.
//!
//! An entry's key is the group's key followed by the value, in the key group of the group's key. Stored value, version 1:
//! version byte, the count of the first call i64, with a time to live the time of the last write in ms i64, then the
//! counts of the other calls i64. Over an input that only grows a count stays at 1.

use arrow::array::{ArrayRef, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;

use super::groups::TimeToLive;
use crate::error::Result;
use crate::operator::aggregate::{Changes, Stored, VALUE_VERSION};
use crate::state::Backend;
use crate::state::backend::malformed;
use crate::state::keyed_map::{Entries, KeyedMap};

/// The counts of values in memory.
pub struct Counts {
    /// By call, then by slot.
    counts: Vec<Vec<i64>>,
    written: Vec<i64>,
    pub ttl: TimeToLive,
}

impl Counts {
    /// No values; so many calls.
    pub fn new(calls: usize, ttl: TimeToLive) -> Self {
        Counts { counts: vec![Vec::new(); calls], written: Vec::new(), ttl }
    }
    fn expire(&mut self, slot: usize) {
        if self.written.get(slot).is_some_and(|w| self.ttl.has_expired(*w)) {
            self.counts.iter_mut().for_each(|c| c[slot] = 0);
        }
    }
}

impl Entries for Counts {
    fn resize(&mut self, slots: usize) {
        self.counts.iter_mut().for_each(|c| c.resize(slots, 0));
        if self.ttl.ms > 0 {
            self.written.resize(slots, i64::MIN);
        }
    }
    fn is_empty(&self, slot: usize) -> bool {
        self.counts.iter().all(|c| c[slot] == 0) || self.written.get(slot).is_some_and(|w| self.ttl.has_expired(*w))
    }
    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        out.push(VALUE_VERSION);
        for (call, counts) in self.counts.iter().enumerate() {
            out.extend_from_slice(&counts[slot].to_be_bytes());
            if let (0, Some(written)) = (call, self.written.get(slot)) {
                out.extend_from_slice(&written.to_be_bytes());
            }
        }
    }
    fn read(&mut self, slot: usize, value: &[u8]) -> Result<()> {
        let Some((&VALUE_VERSION, rest)) = value.split_first() else {
            return Err(malformed("a distinct value has an unknown version"));
        };
        let mut stored = Stored(rest);
        for (call, counts) in self.counts.iter_mut().enumerate() {
            counts[slot] = i64::from_be_bytes(stored.array()?);
            if let (0, Some(written)) = (call, self.written.get_mut(slot)) {
                *written = i64::from_be_bytes(stored.array()?);
            }
        }
        self.expire(slot);
        Ok(())
    }
    fn keep(&mut self, slots: &[u32]) -> Result<()> {
        for counts in self.counts.iter_mut() {
            *counts = slots.iter().map(|s| counts[*s as usize]).collect();
        }
        if self.ttl.ms > 0 {
            self.written = slots.iter().map(|s| self.written[*s as usize]).collect();
        }
        Ok(())
    }
    fn bytes(&self) -> usize {
        8 * (self.counts.iter().map(Vec::capacity).sum::<usize>() + self.written.capacity())
    }
}

/// The values of one column.
pub struct DistinctValues {
    /// The aggregates over it, by position.
    pub calls: Vec<usize>,
    pub map: KeyedMap<Counts>,
    /// Whether rows can be taken away.
    pub retracts: bool,
}

impl DistinctValues {
    /// Counts the rows' values; answers for each call the rows that were the first, or the last to go, of their value.
    /// `masks` are the rows that each call takes.
    pub fn count(
        &mut self,
        backend: &Backend,
        keys: &[ArrayRef],
        values: &ArrayRef,
        key_groups: &[u16],
        changes: &Changes<'_>,
        masks: &[Option<BooleanBuffer>],
    ) -> Result<Vec<BooleanBuffer>> {
        let columns: Vec<ArrayRef> = keys.iter().chain([values]).cloned().collect();
        let encoded = self.map.codec().encode(&columns, changes.groups.len())?;
        let mut slots = Vec::new();
        self.map.resolve(backend, &encoded, Some(key_groups), &mut slots)?;
        let entries = &mut self.map.entries;
        if entries.ttl.ms > 0 {
            slots.iter().for_each(|slot| entries.expire(*slot as usize));
        }
        let mut changed = Vec::new();
        let mut answers = Vec::with_capacity(masks.len());
        for (counts, mask) in entries.counts.iter_mut().zip(masks) {
            let mut first = BooleanBufferBuilder::new(slots.len());
            for (row, (slot, sign)) in slots.iter().zip(changes.signs).enumerate() {
                if *sign == 0 || mask.as_ref().is_some_and(|m| !m.value(row)) {
                    first.append(false);
                    continue;
                }
                let count = &mut counts[*slot as usize];
                let before = *count;
                *count = if self.retracts { before + i64::from(*sign) } else { 1 };
                // A value that goes although it never came is nothing to its aggregate.
                first.append(if *sign > 0 { before == 0 } else { before == 1 });
                if *count != before || !entries.written.is_empty() {
                    changed.push(*slot);
                }
                *count = (*count).max(0);
            }
            answers.push(first.finish());
        }
        if !entries.written.is_empty() {
            changed.iter().for_each(|slot| entries.written[*slot as usize] = entries.ttl.now);
        }
        self.map.change(&changed);
        Ok(answers)
    }
}
