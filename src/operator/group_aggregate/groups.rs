//! The groups in memory: how many rows each has, its accumulators, and when it was last written to.
//!
//! Stored value, version 1: version byte, rows i64, with a time to live also the time of the last write in ms i64, then
//! one accumulator after another (`operator::aggregate`).

use crate::error::Result;
use crate::operator::aggregate::{Aggregate, AggregateType, Stored, VALUE_VERSION};
use crate::state::backend::malformed;
use crate::state::keyed_map::Entries;

/// Offset of the time of the last write in a stored value.
const WRITTEN_AT: usize = 9;

/// Time to live of state: Flink's `table.exec.state.ttl`, counted from the last write, never returning what expired.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeToLive {
    /// 0 = for ever.
    pub ms: i64,
    /// Processing time of the batch.
    pub now: i64,
}

impl TimeToLive {
    /// Whether something last written then has expired.
    pub fn has_expired(self, written: i64) -> bool {
        self.ms > 0 && written.saturating_add(self.ms) <= self.now
    }
    /// Whether a stored value of [`Groups`] or of distinct values has expired.
    pub fn has_expired_stored(self, value: &[u8]) -> bool {
        let written = value.get(WRITTEN_AT..).and_then(|v| v.first_chunk::<8>());
        self.ms > 0 && written.is_some_and(|w| self.has_expired(i64::from_be_bytes(*w)))
    }
}

/// See the module text.
pub struct Groups {
    pub rows: Vec<i64>,
    /// Of the last write; empty without a time to live.
    pub written: Vec<i64>,
    pub ttl: TimeToLive,
    pub aggregates: Vec<Aggregate>,
}

impl Groups {
    /// No groups.
    pub fn new(types: &[AggregateType], ttl: TimeToLive) -> Result<Self> {
        let aggregates = types.iter().map(AggregateType::create_plain).collect::<Result<_>>()?;
        Ok(Groups { rows: Vec::new(), written: Vec::new(), ttl, aggregates })
    }
    /// Forgets a group that has expired.
    pub fn expire(&mut self, slot: usize) {
        if self.ttl.ms > 0 && self.rows[slot] > 0 && self.ttl.has_expired(self.written[slot]) {
            self.rows[slot] = 0;
            self.aggregates.iter_mut().for_each(|a| a.clear(slot));
        }
    }
}

impl Entries for Groups {
    fn resize(&mut self, slots: usize) {
        self.rows.resize(slots, 0);
        if self.ttl.ms > 0 {
            self.written.resize(slots, i64::MIN);
        }
        self.aggregates.iter_mut().for_each(|a| a.resize(slots));
    }
    fn is_empty(&self, slot: usize) -> bool {
        self.rows[slot] == 0 || self.written.get(slot).is_some_and(|w| self.ttl.has_expired(*w))
    }
    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        out.push(VALUE_VERSION);
        out.extend_from_slice(&self.rows[slot].to_be_bytes());
        if let Some(written) = self.written.get(slot) {
            out.extend_from_slice(&written.to_be_bytes());
        }
        self.aggregates.iter().for_each(|a| a.write(slot, out));
    }
    fn read(&mut self, slot: usize, value: &[u8]) -> Result<()> {
        let Some((&VALUE_VERSION, rest)) = value.split_first() else {
            return Err(malformed("a group's value has an unknown version"));
        };
        let mut stored = Stored(rest);
        self.rows[slot] = i64::from_be_bytes(stored.array()?);
        if let Some(written) = self.written.get_mut(slot) {
            *written = i64::from_be_bytes(stored.array()?);
        }
        self.aggregates.iter_mut().try_for_each(|a| a.read(slot, &mut stored))?;
        if !stored.0.is_empty() {
            return Err(malformed("a group's value is longer than its aggregates"));
        }
        self.expire(slot);
        Ok(())
    }
    fn keep(&mut self, slots: &[u32]) -> Result<()> {
        self.rows = slots.iter().map(|s| self.rows[*s as usize]).collect();
        if self.ttl.ms > 0 {
            self.written = slots.iter().map(|s| self.written[*s as usize]).collect();
        }
        self.aggregates.iter_mut().for_each(|a| a.keep(slots));
        Ok(())
    }
    fn bytes(&self) -> usize {
        8 * (self.rows.capacity() + self.written.capacity())
            + self.aggregates.iter().map(Aggregate::bytes).sum::<usize>()
    }
}
