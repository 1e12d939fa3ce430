//! Keyed state by key: entries in memory, behind them RocksDB.
//!
//! A key has a slot; whatever belongs to it lies in the owner's columns at that slot ([`Entries`]). A batch is one
//! [`KeyedMap::resolve`] (misses are looked up together), then work on slots, then [`KeyedMap::change`] for those that
//! changed. Slots are stable between two calls of [`KeyedMap::evict`] or [`KeyedMap::flush`], never across them.
//!
//! Invariants: 1. for a key in memory, memory is right, whatever RocksDB has; 2. a map that is not `partial` has all keys
//! in memory; 3. after [`KeyedMap::flush`] RocksDB has every entry, and no entry that is [`Entries::is_empty`].
//!
//! Stored key: key group u16 BE, then a tag byte if the map has one (so that several maps share a table), then the key's
//! own bytes ([`super::key_codec`]). Stored value: the owner's, with its version.

use std::ops::ControlFlow;

use super::Backend;
use super::backend::malformed;
use super::key_codec::{KeyBatch, KeyCodec};
use super::key_table::KeyTable;
use crate::error::{Error, Result};
use crate::graph::key_group::key_group;

/// From this many entries on, a flush writes a sorted file past the memtable.
const INGEST_ENTRIES: usize = if cfg!(test) { 8 } else { 20_000 };
/// Empty entries that are kept before a flush takes them out of memory.
const MAX_EMPTY: usize = if cfg!(test) { 4 } else { 10_000 };

/// Memory has changes that RocksDB has not.
const DIRTY: u8 = 1;
/// RocksDB may have the key.
const STORED: u8 = 2;
/// Used since the last eviction.
const USED: u8 = 4;

/// What the owner keeps for each slot, in columns.
pub trait Entries {
    /// Makes room for `slots` slots; new ones are empty.
    fn resize(&mut self, slots: usize);
    /// Whether there is nothing worth keeping at a slot: it is deleted from RocksDB and forgotten.
    fn is_empty(&self, slot: usize) -> bool;
    /// Appends a slot's stored value.
    fn write(&self, slot: usize, out: &mut Vec<u8>);
    /// Replaces a slot by its stored value.
    fn read(&mut self, slot: usize, value: &[u8]) -> Result<()>;
    /// Keeps only these slots (ascending), renumbered from 0.
    fn keep(&mut self, slots: &[u32]) -> Result<()>;
    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// See the module text.
pub struct KeyedMap<E> {
    table: &'static str,
    tag: Option<u8>,
    max_parallelism: u32,
    codec: KeyCodec,
    keys: KeyTable,
    key_groups: Vec<u16>,
    flags: Vec<u8>,
    /// The owner's columns.
    pub entries: E,
    partial: bool,
}

impl<E: Entries> KeyedMap<E> {
    /// A map over a table of a backend that the owner has opened. Restored entries are read while they take less than
    /// `budget_bytes`.
    pub fn open(
        backend: &Backend,
        table: &'static str,
        tag: Option<u8>,
        codec: KeyCodec,
        max_parallelism: u32,
        entries: E,
        budget_bytes: usize,
    ) -> Result<Self> {
        let keys = KeyTable::new(&codec);
        let (key_groups, flags) = (Vec::new(), Vec::new());
        let mut map = KeyedMap { table, tag, max_parallelism, codec, keys, key_groups, flags, entries, partial: false };
        if backend.is_restored() {
            map.load(backend, budget_bytes)?;
        }
        Ok(map)
    }

    /// How keys are encoded.
    pub fn codec(&self) -> &KeyCodec {
        &self.codec
    }
    /// The keys in memory; slots are its groups.
    pub fn keys(&self) -> &KeyTable {
        &self.keys
    }
    /// The number of slots.
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    /// Whether nothing is in memory.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
    /// The key group of a slot's key.
    pub fn key_group(&self, slot: u32) -> u16 {
        self.key_groups[slot as usize]
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + 2 * self.key_groups.capacity() + self.flags.capacity() + self.entries.bytes()
    }

    /// The slot of each key; entries that are not in memory are read, and those of new keys are empty. `key_groups` are
    /// the keys' key groups, where they are not those of the keys' own bytes (a key within a key).
    pub fn resolve(
        &mut self,
        backend: &Backend,
        keys: &KeyBatch,
        key_groups: Option<&[u16]>,
        slots: &mut Vec<u32>,
    ) -> Result<()> {
        let known = self.keys.len();
        self.keys.resolve(keys, slots)?;
        let grown = self.keys.len();
        if grown > known {
            self.entries.resize(grown);
            self.flags.resize(grown, 0);
            self.key_groups.resize(grown, 0);
            match key_groups {
                Some(groups) => {
                    for (slot, group) in slots.iter().zip(groups) {
                        self.key_groups[*slot as usize] = *group;
                    }
                }
                None => {
                    for slot in known..grown {
                        self.key_groups[slot] = key_group(self.keys.hash(slot), self.max_parallelism);
                    }
                }
            }
            if self.partial {
                self.read_back(backend, known..grown)?;
            }
        }
        for slot in slots.iter() {
            self.flags[*slot as usize] |= USED;
        }
        Ok(())
    }

    /// Notes that these entries have changed.
    pub fn change(&mut self, slots: &[u32]) {
        for slot in slots {
            self.flags[*slot as usize] |= DIRTY;
        }
    }

    /// Writes what has changed; forgets empty entries if there are many, so that slots are renumbered.
    pub fn flush(&mut self, backend: &Backend) -> Result<()> {
        let (mut written, mut deleted, mut empty) = (Vec::new(), Vec::new(), 0);
        for (slot, flags) in (0u32..).zip(self.flags.iter_mut()) {
            let is_empty = self.entries.is_empty(slot as usize);
            if is_empty {
                empty += 1;
            }
            if *flags & DIRTY == 0 {
                continue;
            }
            *flags &= !DIRTY;
            if !is_empty {
                *flags |= STORED;
                written.push(slot);
            } else if *flags & STORED != 0 {
                *flags &= !STORED;
                deleted.push(slot);
            }
        }
        if !deleted.is_empty() {
            let mut writes = backend.writes(self.table)?;
            let mut key = Vec::new();
            for slot in deleted {
                key.clear();
                self.write_key(slot, &mut key);
                writes.delete(&key)?;
            }
            writes.commit()?;
        }
        self.put(backend, &written)?;
        if empty > MAX_EMPTY && empty * 2 > self.len() {
            let full: Vec<u32> = (0u32..).take(self.len()).filter(|s| !self.entries.is_empty(*s as usize)).collect();
            self.keep(&full)?;
        }
        Ok(())
    }

    /// Flushes, then forgets entries until about `target_bytes` are left: those first that were not used since the last
    /// eviction.
    pub fn evict(&mut self, backend: &Backend, target_bytes: usize) -> Result<()> {
        self.flush(backend)?;
        if self.is_empty() {
            return Ok(());
        }
        let allowed = target_bytes / (self.bytes() / self.len()).max(1);
        let worth = |slot: &u32| self.flags[*slot as usize] & USED != 0 && !self.entries.is_empty(*slot as usize);
        // Of used ones, the newest: they are at the end.
        let mut kept: Vec<u32> = (0u32..).take(self.len()).filter(worth).collect();
        kept.drain(..kept.len().saturating_sub(allowed));
        self.flags.iter_mut().for_each(|f| *f &= !USED);
        self.partial = true;
        self.keep(&kept)
    }

    /// Visits all entries in the order of their stored keys, with the key's own bytes. Flush first: entries are read
    /// from RocksDB alone.
    pub fn scan(
        &self,
        backend: &Backend,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        for group in backend.key_groups() {
            let mut prefix = group.to_be_bytes().to_vec();
            prefix.extend(self.tag);
            let mut ended = false;
            backend.scan(self.table, &prefix, |key, value| {
                let flow = visit(key.get(prefix.len()..).unwrap_or_default(), value)?;
                ended = flow.is_break();
                Ok(flow)
            })?;
            if ended {
                break;
            }
        }
        Ok(())
    }

    fn write_key(&self, slot: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key_groups[slot as usize].to_be_bytes());
        out.extend(self.tag);
        self.keys.write_key(slot as usize, out);
    }

    fn read_back(&mut self, backend: &Backend, slots: std::ops::Range<usize>) -> Result<()> {
        let (mut data, mut ends) = (Vec::new(), Vec::with_capacity(slots.len()));
        for slot in slots.clone() {
            let slot = u32::try_from(slot).map_err(|_| Error::internal("too many entries"))?;
            self.write_key(slot, &mut data);
            ends.push(data.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let keys = starts.zip(&ends).map(|(start, end)| &data[start..*end]);
        for (slot, value) in slots.zip(backend.multi_get(self.table, keys)?) {
            if let Some(value) = value {
                self.entries.read(slot, &value)?;
                self.flags[slot] |= STORED;
            }
        }
        Ok(())
    }

    /// Puts these slots in the order of their stored keys.
    fn put(&self, backend: &Backend, slots: &[u32]) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        let (mut data, mut order) = (Vec::new(), Vec::with_capacity(slots.len()));
        for slot in slots {
            let start = data.len();
            self.write_key(*slot, &mut data);
            order.push((start..data.len(), *slot));
        }
        let mut value = Vec::new();
        let mut entry = |slot: u32, put: &mut dyn FnMut(&[u8]) -> Result<()>| {
            value.clear();
            self.entries.write(slot as usize, &mut value);
            put(&value)
        };
        if slots.len() < INGEST_ENTRIES {
            let mut writes = backend.writes(self.table)?;
            for (key, slot) in order {
                entry(slot, &mut |value| writes.put(&data[key.clone()], value))?;
            }
            return writes.commit();
        }
        order.sort_unstable_by(|(a, _), (b, _)| data[a.clone()].cmp(&data[b.clone()]));
        backend.ingest(self.table, |put| {
            order.into_iter().try_for_each(|(key, slot)| entry(slot, &mut |value| put(&data[key.clone()], value)))
        })
    }

    fn keep(&mut self, slots: &[u32]) -> Result<()> {
        let mut keys = KeyTable::new(&self.codec);
        let mut renumbered = Vec::new();
        keys.insert_all(&self.keys, slots, &mut renumbered)?;
        self.keys = keys;
        self.entries.keep(slots)?;
        self.flags = slots.iter().map(|s| self.flags[*s as usize]).collect();
        self.key_groups = slots.iter().map(|s| self.key_groups[*s as usize]).collect();
        Ok(())
    }

    /// Reads restored entries while they fit.
    fn load(&mut self, backend: &Backend, budget_bytes: usize) -> Result<()> {
        let prefix_bytes = 2 + usize::from(self.tag.is_some());
        for group in backend.key_groups() {
            let mut prefix = group.to_be_bytes().to_vec();
            prefix.extend(self.tag);
            backend.scan(self.table, &prefix, |key, value| {
                let key = key.get(prefix_bytes..).ok_or_else(|| malformed("a stored key is too short"))?;
                let slot = self.keys.insert(key)? as usize;
                self.entries.resize(self.keys.len());
                self.flags.resize(self.keys.len(), STORED);
                self.key_groups.resize(self.keys.len(), group);
                self.entries.read(slot, value)?;
                self.partial = self.len().is_multiple_of(1024) && self.bytes() > budget_bytes;
                Ok(if self.partial { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            if self.partial {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "keyed_map_tests.rs"]
mod tests;
