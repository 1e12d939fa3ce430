//! Keyed state by key: a list of rows in the order in which they came, in memory, behind it RocksDB.
//!
//! A key has a group, a row an entry. Groups and entries are stable between two calls of [`RowLists::keep_budget`].
//! Adding a row to a key needs nothing of what is stored: the row is merged into the stored list when it is written
//! (`state::backend` appends). Whatever looks at a list, or takes from it, has it read first, many keys at once.
//!
//! Invariants: 1. a `COMPLETE` group has all its rows in memory, in order; of others memory has the rows that were not
//! written yet; 2. `all_in_memory`: RocksDB has no key that memory has not; 3. only complete groups lose or change rows;
//! 4. after [`RowLists::flush`] RocksDB has every row.
//!
//! With a time to live, a row is as good as removed when it was added (or replaced) so long ago; it is taken out when its
//! key is looked up, and by [`RowLists::sweep`].
//!
//! Stored key: key group u16 BE, then the key ([`super::key_codec`]). Stored value, per row: version byte 2, when it was
//! added (ms since the epoch, i64 BE; 0 without a time to live), associations u32 BE, length of the identity u32 BE,
//! length u32 BE, then identity and row.

use std::ops::{ControlFlow, Range};

use hashbrown::HashTable;

use super::Backend;
use super::backend::malformed;
use super::key_codec::{KeyBatch, KeyCodec};
use super::key_table::{KeyTable, mix};
use crate::error::{Error, Result};
use crate::graph::key_group::{hash_key, key_group};

/// No group, no entry.
pub const NONE: u32 = u32::MAX;
const VERSION: u8 = 2;
/// Bytes before a stored row.
const HEAD_BYTES: usize = 21;
/// Rows lie in blocks of this size, bytes, so that growing copies nothing.
const BLOCK_BYTES: usize = 256 << 10;
/// Lists up to this length are searched one by one.
const MAX_LINEAR: u32 = 8;
/// A sweep looks at one of so many parts of the keys.
const SWEEP_PARTS: u16 = 16;
/// Removed rows, bytes, below which memory is not compacted.
const MIN_GARBAGE_BYTES: usize = if cfg!(test) { 64 } else { 1 << 20 };
/// Empty groups below which the table is not compacted.
const MIN_EMPTY_GROUPS: usize = if cfg!(test) { 4 } else { 10_000 };

/// All rows of the key are in memory.
const COMPLETE: u8 = 1;
/// The group is in the list of those to write.
const DIRTY: u8 = 2;
/// Rows were removed or changed: the whole list is written.
const REWRITTEN: u8 = 4;

#[derive(Clone, Copy)]
struct Group {
    first: u32,
    last: u32,
    length: u32,
    /// The first entry that is not stored.
    pending: u32,
    /// When it was used last, on [`RowLists::clock`].
    used: u32,
    flags: u8,
}

#[derive(Clone, Copy)]
struct Entry {
    block: u32,
    start: u32,
    length: u32,
    identity: u32,
    associations: u32,
    group: u32,
    next: u32,
    previous: u32,
    added_ms: i64,
}

/// See the module text.
pub struct RowLists {
    table: &'static str,
    codec: KeyCodec,
    max_parallelism: u32,
    keys: KeyTable,
    groups: Vec<Group>,
    entries: Vec<Entry>,
    /// The first of the free entries, which are chained by `next`.
    free: u32,
    blocks: Vec<Vec<u8>>,
    block_bytes: usize,
    garbage_bytes: usize,
    empty_groups: usize,
    /// Entries by group and identity, from the first search in a long list on.
    index: Option<HashTable<u32>>,
    dirty: Vec<u32>,
    all_in_memory: bool,
    /// RocksDB may have keys.
    stored: bool,
    clock: u32,
    /// Leading bytes of keys that do not decide the key group.
    prefix_bytes: usize,
    /// How long a row lives, ms; 0 = for ever.
    ttl_ms: i64,
    now_ms: i64,
    /// The part of the keys that was swept last.
    swept: u16,
}

impl RowLists {
    /// Lists in a table of a backend that the owner has opened.
    pub fn open(backend: &Backend, table: &'static str, codec: KeyCodec, max_parallelism: u32) -> Self {
        RowLists {
            table,
            max_parallelism,
            keys: KeyTable::new(&codec),
            codec,
            groups: Vec::new(),
            entries: Vec::new(),
            free: NONE,
            blocks: Vec::new(),
            block_bytes: 0,
            garbage_bytes: 0,
            empty_groups: 0,
            index: None,
            dirty: Vec::new(),
            all_in_memory: !backend.is_restored(),
            stored: backend.is_restored(),
            clock: 0,
            prefix_bytes: 0,
            ttl_ms: 0,
            now_ms: 0,
            swept: 0,
        }
    }

    /// The same, where rows live for so long; 0 = for ever.
    pub fn with_ttl(mut self, ttl_ms: u64) -> Self {
        self.ttl_ms = i64::try_from(ttl_ms).unwrap_or(i64::MAX);
        self
    }

    /// Sets the time by which rows expire, ms since the epoch.
    pub fn set_now(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Takes out what has expired in the next part of the keys, after a flush.
    pub fn sweep(&mut self, backend: &Backend) -> Result<()> {
        if self.ttl_ms == 0 {
            return Ok(());
        }
        self.swept = (self.swept + 1) % SWEEP_PARTS;
        let part = |group: &u32| u16::try_from(*group % u32::from(SWEEP_PARTS)).is_ok_and(|p| p == self.swept);
        let groups: Vec<u32> = (0u32..).take(self.groups.len()).filter(part).collect();
        self.expire(&groups);
        self.flush(backend)?;
        if self.all_in_memory {
            return Ok(());
        }
        for key_group in backend.key_groups().filter(|g| g % SWEEP_PARTS == self.swept) {
            let mut expired = Vec::new();
            backend.scan(self.table, &key_group.to_be_bytes(), |key, value| {
                let mut lives = false;
                each_stored(value, |row| {
                    lives |= !self.has_expired(row.added_ms);
                    Ok(())
                })?;
                if !lives {
                    expired.push(key.to_vec());
                }
                Ok(ControlFlow::Continue(()))
            })?;
            let mut writes = backend.writes(self.table)?;
            expired.iter().try_for_each(|key| writes.delete(key))?;
            writes.commit()?;
        }
        Ok(())
    }

    fn has_expired(&self, added_ms: i64) -> bool {
        self.ttl_ms > 0 && added_ms.saturating_add(self.ttl_ms) <= self.now_ms
    }

    /// Takes expired rows out of these groups: they are the first ones.
    fn expire(&mut self, groups: &[u32]) {
        if self.ttl_ms == 0 {
            return;
        }
        for group in groups {
            let Some(found) = self.groups.get(*group as usize).filter(|g| g.flags & COMPLETE != 0) else { continue };
            let mut entry = found.first;
            while entry != NONE && self.has_expired(self.entries[entry as usize].added_ms) {
                let next = self.entries[entry as usize].next;
                self.remove(entry);
                entry = next;
            }
        }
    }

    /// The same, where the first bytes of a key do not decide its key group: keys must be of several columns.
    pub fn with_prefix(mut self, prefix_bytes: usize) -> Self {
        self.prefix_bytes = prefix_bytes;
        self
    }

    /// How keys are encoded.
    pub fn codec(&self) -> &KeyCodec {
        &self.codec
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
            + self.groups.capacity() * size_of::<Group>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.block_bytes
            + self.index.as_ref().map_or(0, HashTable::allocation_size)
            + 4 * self.dirty.capacity()
    }

    /// The group of each key, made where there is none. Rows may be added to them; what is stored is not read.
    pub fn groups(&mut self, keys: &KeyBatch, groups: &mut Vec<u32>) -> Result<()> {
        self.keys.resolve(keys, groups)?;
        let fresh = Group {
            first: NONE,
            last: NONE,
            length: 0,
            pending: NONE,
            used: 0,
            flags: if self.all_in_memory { COMPLETE } else { 0 },
        };
        self.empty_groups += self.keys.len() - self.groups.len();
        self.groups.resize(self.keys.len(), fresh);
        self.touch(groups);
        Ok(())
    }

    /// The group of each key with its rows in memory; [`NONE`] where there is none.
    pub fn lookup(&mut self, backend: &Backend, keys: &KeyBatch, groups: &mut Vec<u32>) -> Result<()> {
        if self.all_in_memory {
            self.keys.lookup(keys, groups)?;
            self.touch(groups);
            self.expire(groups);
            return Ok(());
        }
        self.groups(keys, groups)?;
        self.read(backend, groups)
    }

    /// Reads the stored rows of these groups.
    pub fn read(&mut self, backend: &Backend, groups: &[u32]) -> Result<()> {
        let mut wanted: Vec<u32> = Vec::new();
        for group in groups {
            let Some(found) = self.groups.get_mut(*group as usize) else { continue };
            if found.flags & COMPLETE == 0 {
                found.flags |= COMPLETE;
                wanted.push(*group);
            }
        }
        if wanted.is_empty() {
            self.expire(groups);
            return Ok(());
        }
        let (data, ends) = self.stored_keys(&wanted);
        let values = backend.multi_get(self.table, slices(&data, &ends))?;
        for (group, value) in wanted.into_iter().zip(values) {
            if let Some(value) = value {
                self.prepend(group, &value)?;
            }
        }
        self.expire(groups);
        Ok(())
    }

    /// The entries of a group, in order.
    pub fn entries(&self, group: u32) -> impl Iterator<Item = u32> {
        let first = self.groups.get(group as usize).map_or(NONE, |g| g.first);
        let next = |entry: &u32| Some(self.entries[*entry as usize].next).filter(|n| *n != NONE);
        std::iter::successors(Some(first).filter(|f| *f != NONE), next)
    }

    /// The number of rows of a group that are in memory.
    pub fn length(&self, group: u32) -> usize {
        self.groups.get(group as usize).map_or(0, |g| g.length as usize)
    }

    /// The row of an entry.
    pub fn row(&self, entry: u32) -> &[u8] {
        let found = &self.entries[entry as usize];
        let bytes = self.bytes_of(found);
        // An identity that is the whole row is not kept twice.
        if found.identity == found.length { bytes } else { &bytes[found.identity as usize..] }
    }

    /// The number that the owner keeps with an entry.
    pub fn associations(&self, entry: u32) -> u32 {
        self.entries[entry as usize].associations
    }

    /// Sets the number that the owner keeps with an entry of a group that was read.
    pub fn associate(&mut self, entry: u32, associations: u32) {
        let found = &mut self.entries[entry as usize];
        found.associations = associations;
        let group = found.group;
        self.change(group, REWRITTEN);
    }

    /// Adds a row to a group. Its identity, by which it is found again, is its first bytes, or all of them.
    pub fn push(&mut self, group: u32, row: &[u8], identity: Identity<'_>, associations: u32) -> Result<()> {
        let entry = self.allocate(group, row, &identity, associations)?;
        self.link_last(entry);
        let found = &mut self.groups[group as usize];
        if found.pending == NONE {
            found.pending = entry;
        }
        self.change(group, 0);
        Ok(())
    }

    /// The first entry of a group that was read with this identity.
    pub fn find(&mut self, group: u32, identity: &[u8]) -> Option<u32> {
        if self.groups.get(group as usize)?.length <= MAX_LINEAR {
            return self.entries(group).find(|e| self.identity(*e) == identity);
        }
        if self.index.is_none() {
            let mut index = HashTable::with_capacity(self.entries.len());
            for group in 0..self.groups.len() {
                let group = u32::try_from(group).unwrap_or(NONE);
                for entry in self.entries(group) {
                    index.insert_unique(self.hash(entry), entry, |e| self.hash(*e));
                }
            }
            self.index = Some(index);
        }
        let same = |e: &u32| self.entries[*e as usize].group == group && self.identity(*e) == identity;
        self.index.as_ref()?.find(hash_of(group, identity), same).copied()
    }

    /// Removes a row of a group that was read.
    pub fn remove(&mut self, entry: u32) {
        if self.index.is_some() {
            self.remove_from_index(entry);
        }
        let Entry { group, next, previous, length, .. } = self.entries[entry as usize];
        let list = &mut self.groups[group as usize];
        list.length -= 1;
        if list.pending == entry {
            list.pending = next;
        }
        self.empty_groups += usize::from(list.length == 0);
        match previous {
            NONE => list.first = next,
            before => self.entries[before as usize].next = next,
        }
        match next {
            NONE => self.groups[group as usize].last = previous,
            after => self.entries[after as usize].previous = previous,
        }
        self.garbage_bytes += length as usize;
        self.entries[entry as usize].next = self.free;
        self.free = entry;
        self.change(group, REWRITTEN);
    }

    /// Writes what has changed.
    pub fn flush(&mut self, backend: &Backend) -> Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return Ok(());
        }
        self.stored = true;
        let mut writes = backend.writes(self.table)?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for id in dirty {
            let group = self.groups[id as usize];
            key.clear();
            value.clear();
            self.write_key(id, &mut key);
            if group.flags & REWRITTEN != 0 {
                self.entries(id).for_each(|e| self.write_entry(e, &mut value));
                if value.is_empty() { writes.delete(&key)? } else { writes.put(&key, &value)? }
            } else {
                let mut entry = group.pending;
                while entry != NONE {
                    self.write_entry(entry, &mut value);
                    entry = self.entries[entry as usize].next;
                }
                if !value.is_empty() {
                    writes.merge(&key, &value)?;
                }
            }
            let found = &mut self.groups[id as usize];
            found.flags &= !(DIRTY | REWRITTEN);
            found.pending = NONE;
            if found.flags & COMPLETE == 0 {
                self.forget(id);
            }
        }
        writes.commit()
    }

    /// Takes the rows of an incomplete group, all of which are stored, out of memory.
    fn forget(&mut self, group: u32) {
        let mut entry = self.groups[group as usize].first;
        while entry != NONE {
            if self.index.is_some() {
                self.remove_from_index(entry);
            }
            let found = &mut self.entries[entry as usize];
            self.garbage_bytes += found.length as usize;
            let next = std::mem::replace(&mut found.next, self.free);
            self.free = std::mem::replace(&mut entry, next);
        }
        let found = &mut self.groups[group as usize];
        self.empty_groups += usize::from(found.length > 0);
        (found.first, found.last, found.length) = (NONE, NONE, 0);
    }

    fn remove_from_index(&mut self, entry: u32) {
        let hash = self.hash(entry);
        if let Some(Ok(found)) = self.index.as_mut().map(|index| index.find_entry(hash, |e| *e == entry)) {
            found.remove();
        }
    }

    /// Removes all keys whose first bytes are at most `bound`, and visits their rows: the row, its associations.
    pub fn drain(
        &mut self,
        backend: &Backend,
        bound: &[u8],
        mut visit: impl FnMut(&[u8], u32) -> Result<()>,
    ) -> Result<()> {
        let within = |key: &[u8]| key.get(..bound.len()).is_some_and(|start| start <= bound);
        if !self.all_in_memory {
            self.flush(backend)?;
            for key_group in backend.key_groups() {
                backend.scan(self.table, &key_group.to_be_bytes(), |key, value| {
                    if !key.get(2..).is_some_and(within) {
                        return Ok(ControlFlow::Break(()));
                    }
                    each_stored(value, |row| {
                        visit(row.bytes.get(row.identity as usize..).unwrap_or_default(), row.associations)
                    })?;
                    Ok(ControlFlow::Continue(()))
                })?;
            }
        }
        let mut key = Vec::new();
        for group in (0u32..).take(self.groups.len()) {
            if self.groups[group as usize].flags == COMPLETE && self.groups[group as usize].length == 0 {
                continue;
            }
            key.clear();
            self.keys.write_key(group as usize, &mut key);
            if !within(&key) {
                continue;
            }
            if self.all_in_memory {
                self.entries(group).try_for_each(|e| visit(self.row(e), self.associations(e)))?;
            }
            self.forget(group);
            let found = &mut self.groups[group as usize];
            // The key is not written any more, not even as one without rows.
            found.flags = COMPLETE | (found.flags & DIRTY);
            found.pending = NONE;
        }
        if !self.stored {
            return Ok(());
        }
        let mut writes = backend.writes(self.table)?;
        for key_group in backend.key_groups() {
            let from = key_group.to_be_bytes();
            let mut to = [&from, bound].concat();
            // All keys that start with the bound too: it is followed by bytes of any value.
            to.push(u8::MAX);
            to.extend_from_slice(&[u8::MAX; 8]);
            writes.delete_range(&from, &to)?;
        }
        writes.commit()
    }

    /// Takes what is not needed out of memory: removed rows and empty groups if they are many, and above the budget the
    /// groups that were not used for longest, until half of it is free.
    pub fn keep_budget(&mut self, backend: &Backend, budget_bytes: usize) -> Result<()> {
        let live = self.block_bytes.saturating_sub(self.garbage_bytes);
        let wasteful = self.garbage_bytes > live.max(MIN_GARBAGE_BYTES)
            || self.empty_groups > MIN_EMPTY_GROUPS.max(self.groups.len() / 2);
        let over = self.bytes() > budget_bytes;
        if !wasteful && !over {
            return Ok(());
        }
        self.flush(backend)?;
        let mut kept: Vec<u32> = (0u32..).take(self.groups.len()).collect();
        kept.retain(|g| {
            let group = &self.groups[*g as usize];
            group.flags & COMPLETE != 0 && group.length > 0
        });
        if over {
            kept.sort_unstable_by_key(|g| std::cmp::Reverse(self.groups[*g as usize].used));
            let mut room = budget_bytes / 2;
            let count = kept.iter().take_while(|g| {
                let bytes = self.group_bytes(**g);
                room.checked_sub(bytes).map(|rest| room = rest).is_some()
            });
            let count = count.count();
            self.all_in_memory &= count == kept.len();
            kept.truncate(count);
            kept.sort_unstable();
        }
        self.rebuild(&kept)
    }

    /// Copies these groups (ascending, written) to new memory and forgets the others.
    fn rebuild(&mut self, kept: &[u32]) -> Result<()> {
        let mut keys = KeyTable::new(&self.codec);
        let mut renumbered = Vec::new();
        keys.insert_all(&self.keys, kept, &mut renumbered)?;
        let mut next = RowLists {
            table: self.table,
            codec: self.codec.clone(),
            max_parallelism: self.max_parallelism,
            keys,
            groups: Vec::with_capacity(kept.len()),
            entries: Vec::new(),
            free: NONE,
            blocks: Vec::new(),
            block_bytes: 0,
            garbage_bytes: 0,
            empty_groups: 0,
            index: None,
            dirty: Vec::new(),
            all_in_memory: self.all_in_memory,
            stored: self.stored,
            clock: self.clock,
            prefix_bytes: self.prefix_bytes,
            ttl_ms: self.ttl_ms,
            now_ms: self.now_ms,
            swept: self.swept,
        };
        for (to, from) in (0u32..).zip(kept) {
            let old = self.groups[*from as usize];
            next.groups.push(Group { first: NONE, last: NONE, length: 0, pending: NONE, ..old });
            for entry in self.entries(*from) {
                let found = self.entries[entry as usize];
                let copy = next.place(to, self.bytes_of(&found), found.identity, found.associations, found.added_ms)?;
                next.link_last(copy);
            }
        }
        *self = next;
        Ok(())
    }

    fn touch(&mut self, groups: &[u32]) {
        self.clock = self.clock.saturating_add(1);
        for group in groups {
            if let Some(group) = self.groups.get_mut(*group as usize) {
                group.used = self.clock;
            }
        }
    }

    fn change(&mut self, group: u32, flag: u8) {
        let found = &mut self.groups[group as usize];
        if found.flags & DIRTY == 0 {
            self.dirty.push(group);
        }
        found.flags |= DIRTY | flag;
    }

    fn group_bytes(&self, group: u32) -> usize {
        const TABLE_BYTES: usize = 48;
        let rows: usize =
            self.entries(group).map(|e| self.entries[e as usize].length as usize + size_of::<Entry>()).sum();
        rows + size_of::<Group>() + TABLE_BYTES
    }

    fn bytes_of(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        &self.blocks[entry.block as usize][start..start + entry.length as usize]
    }

    /// The identity of an entry.
    pub fn identity(&self, entry: u32) -> &[u8] {
        let found = &self.entries[entry as usize];
        &self.bytes_of(found)[..found.identity as usize]
    }

    fn hash(&self, entry: u32) -> u64 {
        hash_of(self.entries[entry as usize].group, self.identity(entry))
    }

    fn allocate(&mut self, group: u32, row: &[u8], identity: &Identity<'_>, associations: u32) -> Result<u32> {
        let added = if self.ttl_ms > 0 { self.now_ms } else { 0 };
        match identity {
            Identity::Row => self.place(group, row, length_of(row)?, associations, added),
            Identity::Key(key) => {
                let bytes = [*key, row].concat();
                self.place(group, &bytes, length_of(key)?, associations, added)
            }
        }
    }

    /// Copies bytes into memory and makes an entry of them, not yet in a list.
    fn place(&mut self, group: u32, bytes: &[u8], identity: u32, associations: u32, added_ms: i64) -> Result<u32> {
        let fits = self.blocks.last().is_some_and(|b| b.capacity() - b.len() >= bytes.len());
        if !fits {
            let block = Vec::with_capacity(bytes.len().max(BLOCK_BYTES));
            self.block_bytes += block.capacity();
            self.blocks.push(block);
        }
        let block = u32::try_from(self.blocks.len() - 1).map_err(|_| too_many())?;
        let Some(target) = self.blocks.last_mut() else { return Err(too_many()) };
        let start = u32::try_from(target.len()).map_err(|_| too_many())?;
        target.extend_from_slice(bytes);
        let length = length_of(bytes)?;
        let made = Entry { block, start, length, identity, associations, group, next: NONE, previous: NONE, added_ms };
        Ok(match self.free {
            NONE => {
                self.entries.push(made);
                u32::try_from(self.entries.len() - 1).ok().filter(|e| *e != NONE).ok_or_else(too_many)?
            }
            entry => {
                self.free = self.entries[entry as usize].next;
                self.entries[entry as usize] = made;
                entry
            }
        })
    }

    fn link_last(&mut self, entry: u32) {
        let group = self.entries[entry as usize].group;
        let list = &mut self.groups[group as usize];
        self.empty_groups -= usize::from(list.length == 0);
        list.length += 1;
        let before = std::mem::replace(&mut list.last, entry);
        match before {
            NONE => list.first = entry,
            before => self.entries[before as usize].next = entry,
        }
        self.entries[entry as usize].previous = before;
        self.add_to_index(entry);
    }

    fn add_to_index(&mut self, entry: u32) {
        if let Some(mut index) = self.index.take() {
            index.insert_unique(self.hash(entry), entry, |e| self.hash(*e));
            self.index = Some(index);
        }
    }

    /// Puts stored rows before those that a group has.
    fn prepend(&mut self, group: u32, value: &[u8]) -> Result<()> {
        let list = self.groups[group as usize];
        let list_was = (list.first, list.last, list.length);
        let found = &mut self.groups[group as usize];
        (found.first, found.last, found.length) = (NONE, NONE, 0);
        self.empty_groups += usize::from(list.length > 0);
        each_stored(value, |row| {
            let entry = self.place(group, row.bytes, row.identity, row.associations, row.added_ms)?;
            self.link_last(entry);
            Ok(())
        })?;
        let (first, last, length) = list_was;
        if first != NONE {
            let stored = self.groups[group as usize].last;
            let found = &mut self.groups[group as usize];
            self.empty_groups -= usize::from(found.length == 0);
            found.length += length;
            found.last = last;
            match stored {
                NONE => found.first = first,
                stored => self.entries[stored as usize].next = first,
            }
            self.entries[first as usize].previous = stored;
        }
        Ok(())
    }

    fn write_key(&self, group: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 2]);
        self.keys.write_key(group as usize, out);
        let hash = match self.prefix_bytes {
            0 => self.keys.hash(group as usize),
            prefix => hash_key(out.get(start + 2 + prefix..).unwrap_or_default()),
        };
        out[start..start + 2].copy_from_slice(&key_group(hash, self.max_parallelism).to_be_bytes());
    }

    fn write_entry(&self, entry: u32, out: &mut Vec<u8>) {
        let found = &self.entries[entry as usize];
        out.push(VERSION);
        out.extend_from_slice(&found.added_ms.to_be_bytes());
        out.extend_from_slice(&found.associations.to_be_bytes());
        out.extend_from_slice(&found.identity.to_be_bytes());
        out.extend_from_slice(&found.length.to_be_bytes());
        out.extend_from_slice(self.bytes_of(found));
    }

    fn stored_keys(&self, groups: &[u32]) -> (Vec<u8>, Vec<usize>) {
        let (mut data, mut ends) = (Vec::new(), Vec::with_capacity(groups.len()));
        for group in groups {
            self.write_key(*group, &mut data);
            ends.push(data.len());
        }
        (data, ends)
    }
}

/// By what a row is found again.
#[derive(Debug, Clone, Copy)]
pub enum Identity<'a> {
    /// All of it.
    Row,
    /// These bytes, which may be empty: then there is one row for the key.
    Key(&'a [u8]),
}

impl<'a> Identity<'a> {
    /// The bytes for [`RowLists::find`].
    pub fn of(self, row: &'a [u8]) -> &'a [u8] {
        match self {
            Identity::Row => row,
            Identity::Key(key) => key,
        }
    }
}

/// A stored row.
struct Stored<'v> {
    /// Identity and row.
    bytes: &'v [u8],
    /// The length of the identity.
    identity: u32,
    associations: u32,
    added_ms: i64,
}

/// Visits the rows of a stored list.
fn each_stored(value: &[u8], mut visit: impl FnMut(Stored<'_>) -> Result<()>) -> Result<()> {
    let short = || malformed("a stored list of rows is cut off");
    let mut rest = value;
    while !rest.is_empty() {
        let (head, after) = rest.split_first_chunk::<HEAD_BYTES>().ok_or_else(short)?;
        let number = |at: Range<usize>| head.get(at).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        let added = head.get(1..9).and_then(|b| b.try_into().ok()).map(i64::from_be_bytes);
        let (Some(added_ms), Some(associations), Some(identity), Some(length)) =
            (added, number(9..13), number(13..17), number(17..21))
        else {
            return Err(short());
        };
        if head[0] != VERSION {
            return Err(malformed("a stored row has an unknown version"));
        }
        if identity > length {
            return Err(malformed("a stored row is shorter than its identity"));
        }
        let (bytes, after) = after.split_at_checked(length as usize).ok_or_else(short)?;
        visit(Stored { bytes, identity, associations, added_ms })?;
        rest = after;
    }
    Ok(())
}

fn slices<'d>(data: &'d [u8], ends: &'d [usize]) -> impl Iterator<Item = &'d [u8]> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| &data[start..*end])
}

fn hash_of(group: u32, identity: &[u8]) -> u64 {
    hash_key(identity) ^ mix(u64::from(group))
}

fn length_of(bytes: &[u8]) -> Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| Error::invalid("row_too_large", "a row of a join is larger than 4 GB"))
}

fn too_many() -> Error {
    Error::internal("the memory budget is reached long before 2^32 rows")
}

#[cfg(test)]
#[path = "row_lists_tests.rs"]
mod tests;
