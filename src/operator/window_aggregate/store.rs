//! The slices of one subtask: tables in memory, behind them RocksDB (encodings: see [`crate::state`]).
//!
//! Invariants: 1. for a key in a slice's table, the table is right, whatever RocksDB has; 2. a slice that is not
//! `partial` has all its keys in its table; 3. `disk` names every key group for which RocksDB may have entries of the
//! slice; 4. after [`SliceStore::snapshot`] RocksDB has every group of every slice.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use arrow::array::ArrayRef;

use super::slice_table::{SliceTable, TableType};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::graph::key_group::key_group;
use crate::operator::aggregate::{AggregateInput, AggregateType, VALUE_VERSION};
use crate::operator::window::Window;
use crate::state::backend::{Put, malformed};
use crate::state::{Backend, StateContext, StateSnapshot};

const WINDOW: &str = "window";
const DISTINCT: &str = "distinct";
/// From this many entries on, a slice is written as a sorted file of its own.
const INGEST_ENTRIES: usize = if cfg!(test) { 8 } else { 20_000 };
/// Key group, slice end, slice start.
const PREFIX_BYTES: usize = 18;

/// One slice.
struct Slice {
    table: SliceTable,
    /// Groups below this were written before; of these, `dirty` ones changed since. The others are all unwritten.
    stored: usize,
    dirty: Vec<bool>,
    changed: bool,
    /// By key group, from the first owned one.
    disk: Vec<bool>,
    /// RocksDB may have keys that the table has not.
    partial: bool,
    last_used: u64,
    bytes: usize,
}

/// See the module text.
pub struct SliceStore {
    backend: Backend,
    of: TableType,
    key_groups: Range<u16>,
    max_parallelism: u32,
    budget_bytes: usize,
    slices: BTreeMap<Window, Slice>,
    bytes: usize,
    /// Counts updates, for `last_used`.
    clock: u64,
    /// Scratch: the groups of a batch.
    groups: Vec<u32>,
}

fn prefix(key_group: u16, slice: Window) -> [u8; PREFIX_BYTES] {
    let mut bytes = [0; PREFIX_BYTES];
    bytes[..2].copy_from_slice(&key_group.to_be_bytes());
    bytes[2..10].copy_from_slice(&(slice.end ^ i64::MIN).to_be_bytes());
    bytes[10..].copy_from_slice(&(slice.start ^ i64::MIN).to_be_bytes());
    bytes
}

fn parse_prefix(bytes: &[u8]) -> Result<(u16, Window)> {
    let parse = || {
        let (group, rest) = bytes.split_first_chunk::<2>()?;
        let (end, rest) = rest.split_first_chunk::<8>()?;
        let start = rest.first_chunk::<8>()?;
        let time = |b: &[u8; 8]| i64::from_be_bytes(*b) ^ i64::MIN;
        Some((u16::from_be_bytes(*group), Window { end: time(end), start: time(start) }))
    };
    parse().ok_or_else(|| malformed("a window's key is too short"))
}

/// The start of a group's keys in the table of distinct values.
fn distinct_prefix(prefix: &[u8], key: &[u8]) -> Vec<u8> {
    let length = u32::try_from(key.len()).expect("keys are shorter than 4 GB");
    [prefix, &length.to_be_bytes(), key].concat()
}

impl Slice {
    fn new(of: &TableType, key_groups: usize) -> Result<Self> {
        Ok(Slice {
            table: SliceTable::new(of)?,
            stored: 0,
            dirty: Vec::new(),
            changed: false,
            disk: vec![false; key_groups],
            partial: false,
            last_used: 0,
            bytes: 0,
        })
    }
    fn all_groups(&self) -> Vec<u32> {
        (0u32..).take(self.table.len()).collect()
    }
}

impl SliceStore {
    /// Opens the state; restored slices are read into memory, earliest first, while they take half of the budget.
    pub fn open(context: &StateContext, of: TableType, layout: &str) -> Result<Self> {
        let backend = Backend::open(context, &[WINDOW, DISTINCT], layout)?;
        let mut store = SliceStore {
            key_groups: backend.key_groups(),
            max_parallelism: context.max_parallelism,
            budget_bytes: context.memory_budget_bytes,
            slices: BTreeMap::new(),
            bytes: 0,
            clock: 0,
            groups: Vec::new(),
            backend,
            of,
        };
        if store.backend.is_restored() {
            for found in store.backend.prefixes(WINDOW, PREFIX_BYTES)? {
                let (group, id) = parse_prefix(&found)?;
                let position = store.position(group)?;
                let slice = store.slice_mut(id)?;
                (slice.disk[position], slice.partial) = (true, true);
            }
            store.load()?;
        }
        Ok(store)
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// The earliest slice.
    pub fn first(&self) -> Option<Window> {
        self.slices.keys().next().copied()
    }
    /// The type of the tables.
    pub fn table_type(&self) -> &TableType {
        &self.of
    }

    /// Takes rows of one slice.
    pub fn update(&mut self, id: Window, keys: &[ArrayRef], inputs: &[AggregateInput], rows: usize) -> Result<()> {
        let keys = self.of.keys.encode(keys, rows)?;
        self.clock += 1;
        let clock = self.clock;
        let mut groups = std::mem::take(&mut self.groups);
        let slice = self.slice_mut(id)?;
        let known = slice.table.len();
        slice.table.keys.resolve(&keys, &mut groups)?;
        slice.table.grow();
        let grown = slice.table.len();
        if slice.partial && grown > known {
            self.read_back(id, known..grown)?;
        }
        let slice = self.slice_mut(id)?;
        slice.table.update(inputs, &groups)?;
        if slice.stored > 0 {
            for group in &groups {
                if let Some(dirty) = slice.dirty.get_mut(*group as usize) {
                    *dirty = true;
                }
            }
        }
        (slice.changed, slice.last_used) = (true, clock);
        self.groups = groups;
        self.recount(id);
        self.keep_budget()
    }

    /// Visits the groups of these slices (ascending), merged by key, in tables of disjoint keys. In memory that is one
    /// table in order of first appearance; with slices on disk there are several, in order of key groups.
    pub fn visit(&self, slices: Range<Window>, mut each: impl FnMut(&SliceTable) -> Result<()>) -> Result<()> {
        let found: Vec<(Window, &Slice)> = self.slices.range(slices).map(|(id, slice)| (*id, slice)).collect();
        match &found[..] {
            [] => return Ok(()),
            [(_, only)] if !only.partial => return each(&only.table),
            _ => {}
        }
        let mut merged = SliceTable::new(&self.of)?;
        if found.iter().all(|(_, slice)| !slice.partial) {
            for (_, slice) in &found {
                merged.merge(&slice.table, &slice.all_groups())?;
            }
            return each(&merged);
        }
        let mut in_memory: Vec<Vec<Vec<u32>>> = Vec::with_capacity(found.len());
        for (_, slice) in &found {
            let mut by_key_group = vec![Vec::new(); self.key_groups.len()];
            for group in slice.all_groups() {
                let key_group = key_group(slice.table.keys.hash(group as usize), self.max_parallelism);
                by_key_group[self.position(key_group)?].push(group);
            }
            in_memory.push(by_key_group);
        }
        for (position, group) in self.key_groups.clone().enumerate() {
            for ((id, slice), by_key_group) in found.iter().zip(&in_memory) {
                merged.merge(&slice.table, &by_key_group[position])?;
                if slice.partial && slice.disk[position] {
                    let mut stored = Slice::new(&self.of, 0)?;
                    read_stored(&self.backend, *id, group, &mut stored.table, Some(&slice.table))?;
                    merged.merge(&stored.table, &stored.all_groups())?;
                }
            }
            if merged.len() >= MAX_BATCH_ROWS {
                each(&merged)?;
                merged = SliceTable::new(&self.of)?;
            }
        }
        if merged.len() > 0 { each(&merged) } else { Ok(()) }
    }

    /// Deletes a slice.
    pub fn remove(&mut self, id: Window) -> Result<()> {
        let Some(slice) = self.slices.remove(&id) else { return Ok(()) };
        self.bytes -= slice.bytes;
        self.erase(id, &slice)
    }

    /// Moves the groups of these slices into the first one, if all are in memory: cumulating windows would merge them
    /// again for each window.
    pub fn coalesce(&mut self, slices: Range<Window>) -> Result<()> {
        let found: Vec<(Window, bool)> = self.slices.range(slices).map(|(id, slice)| (*id, slice.partial)).collect();
        let [(first, _), rest @ ..] = &found[..] else { return Ok(()) };
        if rest.is_empty() || found.iter().any(|(_, partial)| *partial) {
            return Ok(());
        }
        for (id, _) in rest {
            let Some(from) = self.slices.remove(id) else { continue };
            self.bytes -= from.bytes;
            let slice = self.slice_mut(*first)?;
            for group in slice.table.merge(&from.table, &from.all_groups())? {
                if let Some(dirty) = slice.dirty.get_mut(group as usize) {
                    *dirty = true;
                }
            }
            slice.changed = true;
            self.erase(*id, &from)?;
        }
        self.recount(*first);
        Ok(())
    }

    /// Deletes what RocksDB has of a slice.
    fn erase(&self, id: Window, slice: &Slice) -> Result<()> {
        let on_disk: Vec<u16> =
            self.key_groups.clone().zip(&slice.disk).filter_map(|(group, disk)| disk.then_some(group)).collect();
        if on_disk.is_empty() {
            return Ok(());
        }
        let mut writes = self.backend.writes(WINDOW)?;
        if !slice.partial && slice.table.len() <= 2 * on_disk.len() {
            // A range's tombstone costs readers more than a few keys' tombstones.
            for group in 0..slice.table.len() {
                writes.delete(&stored_key(&slice.table, group, self.max_parallelism, id))?;
            }
        } else {
            on_disk.iter().try_for_each(|group| writes.delete_prefix(&prefix(*group, id)))?;
        }
        writes.commit()?;
        if self.of.aggregates.iter().any(AggregateType::is_distinct) {
            let mut writes = self.backend.writes(DISTINCT)?;
            on_disk.iter().try_for_each(|group| writes.delete_prefix(&prefix(*group, id)))?;
            writes.commit()?;
        }
        Ok(())
    }

    /// Writes everything that changed and takes a local image.
    pub fn snapshot(&mut self) -> Result<StateSnapshot> {
        let ids: Vec<Window> = self.slices.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.flush(id))?;
        self.backend.snapshot()
    }

    fn position(&self, group: u16) -> Result<usize> {
        if !self.key_groups.contains(&group) {
            return Err(misrouted(group, &self.key_groups));
        }
        Ok(usize::from(group - self.key_groups.start))
    }

    fn slice_mut(&mut self, id: Window) -> Result<&mut Slice> {
        use std::collections::btree_map::Entry;
        match self.slices.entry(id) {
            Entry::Occupied(slice) => Ok(slice.into_mut()),
            Entry::Vacant(slot) => Ok(slot.insert(Slice::new(&self.of, self.key_groups.len())?)),
        }
    }

    fn recount(&mut self, id: Window) {
        if let Some(slice) = self.slices.get_mut(&id) {
            let bytes = slice.table.bytes() + slice.dirty.capacity();
            self.bytes = self.bytes - slice.bytes + bytes;
            slice.bytes = bytes;
        }
    }

    /// Reads restored slices while they fit.
    fn load(&mut self) -> Result<()> {
        let ids: Vec<Window> = self.slices.keys().copied().collect();
        for id in ids {
            let mut table = SliceTable::new(&self.of)?;
            let slice = self.slice_mut(id)?;
            let disk = slice.disk.clone();
            for (group, _) in self.key_groups.clone().zip(disk).filter(|(_, disk)| *disk) {
                read_stored(&self.backend, id, group, &mut table, None)?;
                if self.bytes + table.bytes() > self.budget_bytes / 2 {
                    return Ok(());
                }
            }
            let slice = self.slice_mut(id)?;
            slice.stored = table.len();
            slice.dirty = vec![false; table.len()];
            (slice.table, slice.partial) = (table, false);
            self.recount(id);
        }
        Ok(())
    }

    /// Reads what RocksDB has of groups that are new in the table of a partial slice.
    fn read_back(&mut self, id: Window, groups: Range<usize>) -> Result<()> {
        let Some(slice) = self.slices.get_mut(&id) else { return Ok(()) };
        let mut keys = Vec::with_capacity(groups.len());
        let mut wanted = Vec::with_capacity(groups.len());
        for group in groups {
            let key = stored_key(&slice.table, group, self.max_parallelism, id);
            let key_group = u16::from_be_bytes([key[0], key[1]]);
            let position = usize::from(key_group.wrapping_sub(self.key_groups.start));
            if slice.disk.get(position).copied().unwrap_or(false) {
                keys.push(key);
                wanted.push(group);
            }
        }
        let values = self.backend.multi_get(WINDOW, keys.iter().map(|k| &k[..]))?;
        for ((group, key), value) in wanted.into_iter().zip(&keys).zip(values) {
            let Some(value) = value else { continue };
            slice.table.read(group, &value)?;
            if self.of.aggregates.iter().any(AggregateType::is_distinct) {
                let (prefix, key) = key.split_at(PREFIX_BYTES);
                let prefix = distinct_prefix(prefix, key);
                let id = u32::try_from(group).map_err(|_| Error::internal("too many groups"))?;
                read_distinct(&self.backend, &prefix, |rest| insert_distinct(&mut slice.table, id, rest))?;
            }
        }
        Ok(())
    }

    /// Writes the groups of a slice that changed.
    fn flush(&mut self, id: Window) -> Result<()> {
        let Some(slice) = self.slices.get_mut(&id).filter(|s| s.changed) else { return Ok(()) };
        let mut changed: Vec<Vec<u32>> = vec![Vec::new(); self.key_groups.len()];
        for group in slice.all_groups() {
            if slice.dirty.get(group as usize).is_some_and(|dirty| !dirty) {
                continue;
            }
            let key_group = key_group(slice.table.keys.hash(group as usize), self.max_parallelism);
            let position = usize::from(key_group.wrapping_sub(self.key_groups.start));
            let Some(groups) = changed.get_mut(position) else {
                return Err(misrouted(key_group, &self.key_groups));
            };
            groups.push(group);
        }
        slice.disk.iter_mut().zip(&changed).for_each(|(disk, changed)| *disk |= !changed.is_empty());
        if changed.iter().map(Vec::len).sum::<usize>() >= INGEST_ENTRIES {
            let key_groups = self.key_groups.clone();
            self.backend.ingest(WINDOW, |put| put_sorted(&slice.table, key_groups, changed, id, put))?;
        } else {
            let mut writes = self.backend.writes(WINDOW)?;
            put_sorted(&slice.table, self.key_groups.clone(), changed, id, &mut |key, value| writes.put(key, value))?;
            writes.commit()?;
        }
        let mut writes = self.backend.writes(DISTINCT)?;
        let SliceTable { keys, aggregates } = &mut slice.table;
        for (index, aggregate) in (0u8..).zip(aggregates) {
            let Some(distinct) = aggregate.distinct() else { continue };
            distinct.take_dirty(|group, value| {
                let group = group as usize;
                let mut key = Vec::new();
                keys.write_key(group, &mut key);
                let mut key = distinct_prefix(&prefix(key_group(keys.hash(group), self.max_parallelism), id), &key);
                key.push(index);
                key.extend_from_slice(value);
                writes.put(&key, &[VALUE_VERSION])
            })?;
        }
        writes.commit()?;
        slice.stored = slice.table.len();
        slice.dirty = vec![false; slice.stored];
        slice.changed = false;
        Ok(())
    }

    /// Above the budget: writes and forgets slices until half of it is free, the longest unused first, of these the one
    /// that fires last.
    fn keep_budget(&mut self) -> Result<()> {
        if self.bytes <= self.budget_bytes {
            return Ok(());
        }
        let mut order: Vec<(u64, std::cmp::Reverse<Window>)> =
            self.slices.iter().map(|(id, slice)| (slice.last_used, std::cmp::Reverse(*id))).collect();
        order.sort_unstable();
        for (_, std::cmp::Reverse(id)) in order {
            if self.bytes <= self.budget_bytes / 2 {
                break;
            }
            self.flush(id)?;
            let table = SliceTable::new(&self.of)?;
            let slice = self.slice_mut(id)?;
            (slice.table, slice.stored, slice.dirty, slice.partial) = (table, 0, Vec::new(), true);
            self.recount(id);
        }
        Ok(())
    }
}

fn misrouted(group: u16, owned: &Range<u16>) -> Error {
    Error::internal(format!("a row of key group {group} reached the subtask of {owned:?}"))
}

/// Puts groups, given by key group, in the order of their stored keys.
fn put_sorted(
    table: &SliceTable,
    key_groups: Range<u16>,
    groups: Vec<Vec<u32>>,
    id: Window,
    put: &mut Put<'_>,
) -> Result<()> {
    let (mut keys, mut value) = (Vec::new(), Vec::new());
    for (key_group, groups) in key_groups.zip(groups) {
        keys.clear();
        let mut order = Vec::with_capacity(groups.len());
        for group in groups {
            let start = keys.len();
            keys.extend_from_slice(&prefix(key_group, id));
            table.keys.write_key(group as usize, &mut keys);
            order.push((start..keys.len(), group));
        }
        order.sort_unstable_by(|(a, _), (b, _)| keys[a.clone()].cmp(&keys[b.clone()]));
        for (key, group) in order {
            value.clear();
            table.write(group as usize, &mut value);
            put(&keys[key], &value)?;
        }
    }
    Ok(())
}

fn stored_key(table: &SliceTable, group: usize, max_parallelism: u32, id: Window) -> Vec<u8> {
    let mut key = Vec::with_capacity(PREFIX_BYTES + 16);
    key.extend_from_slice(&prefix(key_group(table.keys.hash(group), max_parallelism), id));
    table.keys.write_key(group, &mut key);
    key
}

/// Adds the stored groups of a slice and key group to `table`, except those that `skip` has.
fn read_stored(
    backend: &Backend,
    id: Window,
    group: u16,
    table: &mut SliceTable,
    skip: Option<&SliceTable>,
) -> Result<()> {
    let prefix = prefix(group, id);
    backend.scan(WINDOW, &prefix, |key, value| {
        let key = key.get(PREFIX_BYTES..).ok_or_else(|| malformed("a window's key is too short"))?;
        if let Some(skip) = skip
            && skip.keys.find(key)?.is_some()
        {
            return Ok(ControlFlow::Continue(()));
        }
        let group = table.keys.insert(key)?;
        table.grow();
        table.read(group as usize, value)?;
        Ok(ControlFlow::Continue(()))
    })?;
    if table.aggregates.iter_mut().all(|a| a.distinct().is_none()) {
        return Ok(());
    }
    read_distinct(backend, &prefix, |rest| {
        let parse = || {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
        };
        let (key, rest) = parse().ok_or_else(|| malformed("a distinct value's key is too short"))?;
        match table.keys.find(key)? {
            Some(group) => insert_distinct(table, group, rest),
            None => Ok(()),
        }
    })
}

/// Visits stored distinct values: the bytes of their keys after `prefix`.
fn read_distinct(backend: &Backend, prefix: &[u8], mut visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    backend.scan(DISTINCT, prefix, |key, value| {
        if value != [VALUE_VERSION] {
            return Err(malformed("a distinct value has an unknown version"));
        }
        visit(key.get(prefix.len()..).unwrap_or_default())?;
        Ok(ControlFlow::Continue(()))
    })
}

/// `rest` is the aggregate's position and the value.
fn insert_distinct(table: &mut SliceTable, group: u32, rest: &[u8]) -> Result<()> {
    let (index, value) = rest.split_first().ok_or_else(|| malformed("a distinct value's key is too short"))?;
    let distinct = table.aggregates.get_mut(usize::from(*index)).and_then(|a| a.distinct());
    distinct.ok_or_else(|| malformed("a distinct value belongs to no aggregate"))?.insert_stored(group, value)
}
