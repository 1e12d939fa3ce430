//! The sessions of one subtask with their accumulators: tables in memory, behind them RocksDB.
//!
//! Stored, with version byte 1 (see [`crate::state`] for keys): `session`: key = key group u16 | grouping key; value =
//! version | number of sessions u32 | for each: start, end, id i64 | its accumulators. `distinct`: key = key group |
//! length of the grouping key u32 | grouping key | session id i64, sign flipped | position of the aggregate u8 | value.
//! `due` (only of keys that are not in memory): key group | instant at which a session is over, sign flipped | grouping
//! key. All integers big endian.
//!
//! Invariants: 1. a key in memory is right, whatever RocksDB has; 2. a key that is not in memory is in RocksDB, if it has
//! sessions, with an entry in `due` for each; 3. after [`SessionStore::snapshot`] RocksDB has every session.

use std::ops::{ControlFlow, Range};

use arrow::array::ArrayRef;

use super::tracker::Tracker;
use crate::error::{Error, Result};
use crate::graph::key_group::key_group;
use crate::operator::Watermark;
use crate::operator::aggregate::{Aggregate, AggregateInput, AggregateType, Stored, VALUE_VERSION};
use crate::state::backend::malformed;
use crate::state::key_codec::KeyCodec;
use crate::state::key_table::KeyTable;
use crate::state::{Backend, StateContext, StateSnapshot};

const SESSION: &str = "session";
const DISTINCT: &str = "distinct";
const DUE: &str = "due";
/// Tables smaller than this are not rebuilt, slots.
const MIN_REBUILD: usize = if cfg!(test) { 4 } else { 4096 };

/// See the module text.
pub struct SessionStore {
    backend: Backend,
    key_groups: Range<u16>,
    max_parallelism: u32,
    budget_bytes: usize,
    codec: KeyCodec,
    types: Vec<AggregateType>,
    tracker: Tracker,
    keys: KeyTable,
    aggregates: Vec<Aggregate>,
    /// By key: whether RocksDB may have an entry, whether that is not what is in memory, and when it was last used.
    stored: Vec<bool>,
    dirty: Vec<bool>,
    used: Vec<u64>,
    /// Counts batches, for `used`.
    clock: u64,
    /// Whether there may be keys that are not in memory, and a lower bound of the instants at which they are due.
    evicted: Option<i64>,
}

impl SessionStore {
    /// Opens the state; restored sessions are read into memory while they take half of the budget. `others` are tables
    /// of the owner in the same [`SessionStore::backend`].
    pub fn open(
        context: &StateContext,
        codec: KeyCodec,
        types: Vec<AggregateType>,
        tracker: Tracker,
        layout: &str,
        others: &[&str],
    ) -> Result<Self> {
        let backend = Backend::open(context, &[&[SESSION, DISTINCT, DUE], others].concat(), layout)?;
        let mut store = SessionStore {
            key_groups: backend.key_groups(),
            max_parallelism: context.max_parallelism,
            budget_bytes: context.memory_budget_bytes,
            keys: KeyTable::new(&codec),
            aggregates: types.iter().map(AggregateType::create).collect::<Result<_>>()?,
            stored: Vec::new(),
            dirty: Vec::new(),
            used: Vec::new(),
            clock: 0,
            evicted: None,
            backend,
            codec,
            types,
            tracker,
        };
        if store.backend.is_restored() {
            store.load()?;
        }
        Ok(store)
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
            + self.tracker.bytes()
            + self.aggregates.iter().map(Aggregate::bytes).sum::<usize>()
            + 10 * self.used.capacity()
    }
    /// The database.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Finds the session of each row; answers its slot, `u32::MAX` where the row is late.
    pub fn assign(&mut self, keys: &[ArrayRef], times: &[i64], watermark: Watermark) -> Result<Vec<u32>> {
        let batch = self.codec.encode(keys, times.len())?;
        let known = self.keys.len();
        let mut ids = Vec::new();
        self.keys.resolve(&batch, &mut ids)?;
        self.grow();
        self.read_back(known..self.keys.len())?;
        self.clock += 1;
        let slots_before = self.tracker.slots();
        let mut merges = Vec::new();
        let mut slots = Vec::with_capacity(times.len());
        for (key, time) in ids.iter().zip(times) {
            let slot = self.tracker.assign(*key, *time, watermark, &mut merges);
            if slot.is_some() {
                self.dirty[*key as usize] = true;
            }
            self.used[*key as usize] = self.clock;
            slots.push(slot.unwrap_or(u32::MAX));
        }
        self.grow();
        merges.retain(|(from, _)| (*from as usize) < slots_before);
        self.merge(&merges)?;
        for slot in slots.iter_mut().filter(|slot| **slot != u32::MAX) {
            *slot = self.tracker.root(*slot);
        }
        Ok(slots)
    }

    /// Takes row `i` into the session `slots[i]`.
    pub fn update(&mut self, inputs: &[AggregateInput], slots: &[u32]) -> Result<()> {
        self.aggregates.iter_mut().zip(inputs).try_for_each(|(a, input)| a.update(input, slots))
    }

    /// The sessions that are over, in order of their end; they are removed by [`Self::remove`].
    pub fn over(&mut self, watermark: Watermark) -> Result<Vec<u32>> {
        if self.evicted.is_some_and(|due| due <= watermark) {
            self.read_due(watermark)?;
        }
        Ok(self.tracker.over(watermark))
    }

    /// The start and end of a session.
    pub fn bounds(&self, slot: u32) -> (i64, i64) {
        self.tracker.get(slot).map_or((0, 0), |s| (s.start, s.end))
    }

    /// The key columns and the aggregates' results of sessions.
    pub fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut keys = Vec::with_capacity(slots.len());
        for slot in slots {
            let mut key = Vec::new();
            self.keys.write_key(self.key_of(*slot), &mut key);
            keys.push(key);
        }
        let keys: Vec<&[u8]> = keys.iter().map(|k| &k[..]).collect();
        let mut columns = self.codec.decode(&keys)?;
        let picked = pick(&self.types, &self.aggregates, slots)?;
        for (aggregate, of) in picked.iter().zip(&self.types) {
            columns.push(aggregate.finish(0..slots.len(), of)?);
        }
        Ok(columns)
    }

    /// Forgets sessions.
    pub fn remove(&mut self, slots: &[u32]) -> Result<()> {
        self.erase_distinct(slots)?;
        for slot in slots {
            let key = self.key_of(*slot);
            self.dirty[key] = true;
            self.tracker.remove(*slot);
        }
        // Keys whose rows were all late have no slot.
        let held = self.tracker.slots().max(self.keys.len());
        if held > MIN_REBUILD && self.tracker.live() < held / 2 {
            // Keys without sessions go too: what RocksDB has of them must go before.
            let empty = |key: usize| self.tracker.of_key(id(key)).next().is_none();
            let gone: Vec<usize> = (0..self.keys.len()).filter(|k| self.stored[*k] && empty(*k)).collect();
            let mut writes = self.backend.writes(SESSION)?;
            gone.iter().try_for_each(|key| writes.delete(&self.stored_key(*key)))?;
            writes.commit()?;
            let keep: Vec<bool> = (0..self.keys.len()).map(|key| !empty(key)).collect();
            self.rebuild(&keep)?;
        }
        Ok(())
    }

    /// Above the budget: writes everything and forgets the keys that were not used for longest.
    pub fn keep_budget(&mut self) -> Result<()> {
        if self.bytes() <= self.budget_bytes || self.keys.is_empty() {
            return Ok(());
        }
        self.flush()?;
        let mut used = self.used.clone();
        used.sort_unstable();
        let median = used.get(used.len() / 2).copied().unwrap_or(0);
        let keep: Vec<bool> = self.used.iter().map(|used| *used > median).collect();
        let mut due = self.evicted.unwrap_or(i64::MAX);
        let mut writes = self.backend.writes(DUE)?;
        for key in (0..self.keys.len()).filter(|key| !keep[*key]) {
            for slot in self.tracker.of_key(id(key)) {
                let instant = self.tracker.instant(self.bounds(slot).1);
                due = due.min(instant);
                writes.put(&self.due_key(key, instant), &[VALUE_VERSION])?;
            }
        }
        writes.commit()?;
        self.evicted = Some(due);
        self.rebuild(&keep)
    }

    /// Writes everything that changed and takes a local image.
    pub fn snapshot(&mut self) -> Result<StateSnapshot> {
        self.flush()?;
        self.backend.snapshot()
    }

    fn key_of(&self, slot: u32) -> usize {
        self.tracker.get(slot).map_or(0, |s| s.key as usize)
    }

    fn grow(&mut self) {
        let (keys, slots) = (self.keys.len(), self.tracker.slots());
        self.tracker.grow(keys);
        self.stored.resize(keys, false);
        self.dirty.resize(keys, false);
        self.used.resize(keys, self.clock);
        self.aggregates.iter_mut().for_each(|a| a.resize(slots));
    }

    /// Moves accumulators: (from, into), where both are slots that had rows before.
    fn merge(&mut self, merges: &[(u32, u32)]) -> Result<()> {
        if merges.is_empty() {
            return Ok(());
        }
        let from: Vec<u32> = merges.iter().map(|(from, _)| *from).collect();
        let into: Vec<u32> = from.iter().map(|from| self.tracker.root(*from)).collect();
        let picked = pick(&self.types, &self.aggregates, &from)?;
        let all: Vec<u32> = (0u32..).take(from.len()).collect();
        for (aggregate, picked) in self.aggregates.iter_mut().zip(&picked) {
            aggregate.merge(&into, picked, &all)?;
        }
        self.erase_distinct(&from)
    }

    /// Keeps these keys; what of the others is needed must have been written.
    fn rebuild(&mut self, keep: &[bool]) -> Result<()> {
        let kept: Vec<u32> = (0..self.keys.len()).filter(|key| keep[*key]).map(id).collect();
        let mut keys = KeyTable::new(&self.codec);
        let mut ids = Vec::new();
        keys.insert_all(&self.keys, &kept, &mut ids)?;
        let mut new_key = vec![None; self.keys.len()];
        kept.iter().zip(&ids).for_each(|(old, new)| new_key[*old as usize] = Some(*new));
        let (tracker, old) = self.tracker.rebuilt(kept.len(), |key| new_key[key as usize]);
        self.aggregates = pick(&self.types, &self.aggregates, &old)?;
        self.stored = kept.iter().map(|key| self.stored[*key as usize]).collect();
        self.dirty = kept.iter().map(|key| self.dirty[*key as usize]).collect();
        self.used = kept.iter().map(|key| self.used[*key as usize]).collect();
        (self.keys, self.tracker) = (keys, tracker);
        Ok(())
    }

    fn key_group(&self, key: usize) -> Result<u16> {
        let group = key_group(self.keys.hash(key), self.max_parallelism);
        if !self.key_groups.contains(&group) {
            let owned = &self.key_groups;
            return Err(Error::internal(format!("a row of key group {group} reached the subtask of {owned:?}")));
        }
        Ok(group)
    }

    fn stored_key(&self, key: usize) -> Vec<u8> {
        let group = key_group(self.keys.hash(key), self.max_parallelism);
        let mut bytes = group.to_be_bytes().to_vec();
        self.keys.write_key(key, &mut bytes);
        bytes
    }

    fn due_key(&self, key: usize, instant: i64) -> Vec<u8> {
        let stored = self.stored_key(key);
        let (group, key) = stored.split_at(2);
        [group, &(instant ^ i64::MIN).to_be_bytes(), key].concat()
    }

    fn distinct_prefix(&self, key: usize, id: Option<i64>) -> Vec<u8> {
        let stored = self.stored_key(key);
        let (group, key) = stored.split_at(2);
        let length = u32::try_from(key.len()).expect("keys are shorter than 4 GB").to_be_bytes();
        let id = id.map(|id| (id ^ i64::MIN).to_be_bytes());
        [group, &length, key, id.as_ref().map_or(&[][..], |id| &id[..])].concat()
    }

    fn has_distinct(&self) -> bool {
        self.types.iter().any(AggregateType::is_distinct)
    }

    /// Deletes the stored distinct values of sessions, also of merged ones.
    fn erase_distinct(&mut self, slots: &[u32]) -> Result<()> {
        if !self.has_distinct() {
            return Ok(());
        }
        let mut found: Vec<Vec<u8>> = Vec::new();
        for slot in slots {
            let (key, session) = self.tracker.owner(*slot);
            if self.stored[key as usize] {
                self.backend.scan(DISTINCT, &self.distinct_prefix(key as usize, Some(session)), |key, _| {
                    found.push(key.to_vec());
                    Ok(ControlFlow::Continue(()))
                })?;
            }
        }
        let mut writes = self.backend.writes(DISTINCT)?;
        found.iter().try_for_each(|key| writes.delete(key))?;
        writes.commit()
    }

    fn flush(&mut self) -> Result<()> {
        let mut writes = self.backend.writes(SESSION)?;
        let mut value = Vec::new();
        for key in 0..self.keys.len() {
            if !self.dirty[key] {
                continue;
            }
            self.key_group(key)?;
            let slots: Vec<u32> = self.tracker.of_key(id(key)).collect();
            if slots.is_empty() {
                if self.stored[key] {
                    writes.delete(&self.stored_key(key))?;
                }
                continue;
            }
            value.clear();
            value.push(VALUE_VERSION);
            value.extend_from_slice(&u32::try_from(slots.len()).unwrap_or(u32::MAX).to_be_bytes());
            for slot in slots {
                let Some(session) = self.tracker.get(slot) else { continue };
                for time in [session.start, session.end, session.id] {
                    value.extend_from_slice(&time.to_be_bytes());
                }
                self.aggregates.iter().for_each(|a| a.write(slot as usize, &mut value));
            }
            writes.put(&self.stored_key(key), &value)?;
        }
        writes.commit()?;
        for key in 0..self.keys.len() {
            if std::mem::take(&mut self.dirty[key]) {
                self.stored[key] = self.tracker.of_key(id(key)).next().is_some();
            }
        }
        if !self.has_distinct() {
            return Ok(());
        }
        let mut aggregates = std::mem::take(&mut self.aggregates);
        let mut writes = self.backend.writes(DISTINCT)?;
        for (position, aggregate) in (0u8..).zip(&mut aggregates) {
            let Some(distinct) = aggregate.distinct() else { continue };
            distinct.take_dirty(|slot, value| {
                // What was merged away was inserted again where it went.
                let Some(session) = self.tracker.get(slot) else { return Ok(()) };
                let mut key = self.distinct_prefix(session.key as usize, Some(session.id));
                key.push(position);
                key.extend_from_slice(value);
                writes.put(&key, &[VALUE_VERSION])
            })?;
        }
        writes.commit()?;
        self.aggregates = aggregates;
        Ok(())
    }

    /// Reads what RocksDB has of keys that are new in memory.
    fn read_back(&mut self, keys: Range<usize>) -> Result<()> {
        if self.evicted.is_none() || keys.is_empty() {
            return Ok(());
        }
        let stored: Vec<Vec<u8>> = keys.clone().map(|key| self.stored_key(key)).collect();
        let values: Vec<Option<Vec<u8>>> = {
            let values = self.backend.multi_get(SESSION, stored.iter().map(|k| &k[..]))?;
            values.into_iter().map(|v| v.map(|v| v.to_vec())).collect()
        };
        for (key, value) in keys.zip(values) {
            if let Some(value) = value {
                self.read(key, &value)?;
                let due: Vec<Vec<u8>> = (self.tracker.of_key(id(key)))
                    .map(|slot| self.due_key(key, self.tracker.instant(self.bounds(slot).1)))
                    .collect();
                let mut writes = self.backend.writes(DUE)?;
                due.iter().try_for_each(|key| writes.delete(key))?;
                writes.commit()?;
            }
        }
        Ok(())
    }

    /// Takes the stored sessions of a key.
    fn read(&mut self, key: usize, value: &[u8]) -> Result<()> {
        let Some((&VALUE_VERSION, rest)) = value.split_first() else {
            return Err(malformed("a session's value has an unknown version"));
        };
        let mut stored = Stored(rest);
        let mut slots = Vec::new();
        for _ in 0..u32::from_be_bytes(stored.array()?) {
            let [start, end, session] = [stored.array()?, stored.array()?, stored.array()?].map(i64::from_be_bytes);
            let slot = self.tracker.insert(id(key), start, end, session);
            self.grow();
            self.aggregates.iter_mut().try_for_each(|a| a.read(slot as usize, &mut stored))?;
            slots.push(slot);
        }
        if !stored.0.is_empty() {
            return Err(malformed("a session's value is longer than its aggregates"));
        }
        self.stored[key] = true;
        if !self.has_distinct() {
            return Ok(());
        }
        let prefix = self.distinct_prefix(key, None);
        let mut aggregates = std::mem::take(&mut self.aggregates);
        let read = self.backend.scan(DISTINCT, &prefix, |stored, _| {
            let rest = stored.get(prefix.len()..).and_then(|rest| rest.split_first_chunk::<8>());
            let Some((session, [position, value @ ..])) = rest else {
                return Err(malformed("a distinct value's key is too short"));
            };
            let session = i64::from_be_bytes(*session) ^ i64::MIN;
            let slot = slots.iter().find(|s| self.tracker.get(**s).is_some_and(|s| s.id == session));
            let distinct = aggregates.get_mut(usize::from(*position)).and_then(|a| a.distinct());
            match (slot, distinct) {
                (Some(slot), Some(distinct)) => distinct.insert_stored(*slot, value)?,
                _ => return Err(malformed("a distinct value belongs to no session")),
            }
            Ok(ControlFlow::Continue(()))
        });
        self.aggregates = aggregates;
        read
    }

    /// Reads the keys that have sessions that are over.
    fn read_due(&mut self, watermark: Watermark) -> Result<()> {
        let mut next = i64::MAX;
        let mut due: Vec<Vec<u8>> = Vec::new();
        for group in self.key_groups.clone() {
            self.backend.scan(DUE, &group.to_be_bytes(), |key, _| {
                let rest = key.get(2..).and_then(|rest| rest.split_first_chunk::<8>());
                let Some((instant, key)) = rest else { return Err(malformed("a session's due key is too short")) };
                let instant = i64::from_be_bytes(*instant) ^ i64::MIN;
                if instant > watermark {
                    next = next.min(instant);
                    return Ok(ControlFlow::Break(()));
                }
                due.push(key.to_vec());
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let known = self.keys.len();
        for key in due {
            self.keys.insert(&key)?;
        }
        self.grow();
        self.read_back(known..self.keys.len())?;
        self.evicted = Some(next);
        Ok(())
    }

    /// Reads restored sessions while they fit; the others are noted to be read later.
    fn load(&mut self) -> Result<()> {
        let mut writes = self.backend.writes(DUE)?;
        self.key_groups.clone().try_for_each(|group| writes.delete_prefix(&group.to_be_bytes()))?;
        writes.commit()?;
        for group in self.key_groups.clone() {
            let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            self.backend.scan(SESSION, &group.to_be_bytes(), |key, value| {
                entries.push((key.get(2..).unwrap_or_default().to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            })?;
            for (key, value) in entries {
                let key = self.keys.insert(&key)? as usize;
                self.grow();
                self.read(key, &value)?;
            }
            if self.bytes() > self.budget_bytes / 2 {
                // Written already: nothing of it is dirty.
                self.keep_budget_of(0)?;
            }
        }
        Ok(())
    }

    fn keep_budget_of(&mut self, bytes: usize) -> Result<()> {
        let budget = std::mem::replace(&mut self.budget_bytes, bytes);
        let kept = self.keep_budget();
        self.budget_bytes = budget;
        kept
    }
}

/// Accumulators of these slots alone, in their order.
fn pick(types: &[AggregateType], from: &[Aggregate], slots: &[u32]) -> Result<Vec<Aggregate>> {
    let all: Vec<u32> = (0u32..).take(slots.len()).collect();
    types
        .iter()
        .zip(from)
        .map(|(of, from)| {
            let mut picked = of.create()?;
            picked.resize(slots.len());
            picked.merge(&all, from, slots)?;
            Ok(picked)
        })
        .collect()
}

fn id(key: usize) -> u32 {
    u32::try_from(key).expect("the memory budget is reached long before 2^32 keys")
}
