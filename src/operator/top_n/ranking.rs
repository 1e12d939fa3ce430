//! The ranked rows of each partition.
//!
//! Where rows only come, a partition has the best of them, in one list, stored as one value. Where rows are also taken
//! back it has all of them, in a tree; each row is stored on its own, so that a change writes little however many rows
//! there are, and a partition's rows are read when it is touched.
//!
//! Stored, version 1, integers big endian. Table `ranking`, by key: version | next number of arrival u64 | number of rows
//! u32, for a list each: number u64, length of the sort key u32, length of both u32, sort key, row. Table `ranked` (trees):
//! key = key group u16 | length of the partition key u32 | partition key | sort key | number u64; value = version | row.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::error::Result;
use crate::operator::aggregate::Stored;
use crate::state::Backend;
use crate::state::backend::malformed;
use crate::state::keyed_map::{Entries, KeyedMap};

/// The table of lists, and of what is known of trees.
pub const RANKING: &str = "ranking";
/// The table of a tree's rows.
pub const RANKED: &str = "ranked";
const VALUE_VERSION: u8 = 1;

/// A row of a list: its sort key and the row in one piece.
struct Entry {
    bytes: Box<[u8]>,
    sort: u32,
    number: u64,
}

impl Entry {
    fn new(sort: &[u8], number: u64, row: &[u8]) -> Self {
        let length = u32::try_from(sort.len()).unwrap_or(u32::MAX);
        Entry { bytes: [sort, row].concat().into(), sort: length, number }
    }
    fn key(&self) -> (&[u8], u64) {
        (self.bytes.get(..self.sort as usize).unwrap_or_default(), self.number)
    }
    fn row(&self) -> &[u8] {
        self.bytes.get(self.sort as usize..).unwrap_or_default()
    }
}

/// A sort key with the number of arrival.
type TreeKey = (Box<[u8]>, u64);

enum Rows {
    List(Vec<Entry>),
    Tree {
        rows: BTreeMap<TreeKey, Box<[u8]>>,
        /// Rows are in memory.
        loaded: bool,
        /// How many rows RocksDB has, where they are not loaded.
        stored: u32,
        /// Rows that came (true) or went since the last flush.
        changed: BTreeMap<TreeKey, bool>,
    },
}

/// The rows of a partition.
pub struct Ranking {
    rows: Rows,
    /// The number of the next row that comes.
    pub next: u64,
}

impl Ranking {
    fn new(retracts: bool) -> Self {
        let rows = if retracts {
            Rows::Tree { rows: BTreeMap::new(), loaded: true, stored: 0, changed: BTreeMap::new() }
        } else {
            Rows::List(Vec::new())
        };
        Ranking { rows, next: 0 }
    }
    /// The number of rows.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::List(list) => list.len(),
            Rows::Tree { rows, loaded: true, .. } => rows.len(),
            Rows::Tree { stored, .. } => *stored as usize,
        }
    }
    /// How many rows come before this key; counts no further than `limit`.
    pub fn before(&self, sort: &[u8], number: u64, limit: usize) -> usize {
        match &self.rows {
            Rows::List(list) => list.partition_point(|e| e.key() < (sort, number)).min(limit),
            Rows::Tree { rows, .. } => {
                rows.keys().take(limit).take_while(|(s, n)| (&s[..], *n) < (sort, number)).count()
            }
        }
    }
    /// The row at a position from 0.
    pub fn row(&self, position: usize) -> Option<&[u8]> {
        match &self.rows {
            Rows::List(list) => list.get(position).map(Entry::row),
            Rows::Tree { rows, .. } => rows.values().nth(position).map(|r| &r[..]),
        }
    }
    /// Rows from a position on.
    pub fn rows(&self, from: usize, count: usize) -> Vec<&[u8]> {
        match &self.rows {
            Rows::List(list) => list.iter().skip(from).take(count).map(Entry::row).collect(),
            Rows::Tree { rows, .. } => rows.values().skip(from).take(count).map(|r| &r[..]).collect(),
        }
    }
    /// Adds a row.
    pub fn insert(&mut self, sort: &[u8], number: u64, row: &[u8]) {
        match &mut self.rows {
            Rows::List(list) => {
                let at = list.partition_point(|e| e.key() < (sort, number));
                list.reserve_exact(usize::from(list.len() == list.capacity()));
                list.insert(at, Entry::new(sort, number, row));
            }
            Rows::Tree { rows, changed, .. } => {
                rows.insert((sort.into(), number), row.into());
                changed.insert((sort.into(), number), true);
            }
        }
    }
    /// Drops the last row, of a list.
    pub fn pop(&mut self) {
        if let Rows::List(list) = &mut self.rows {
            list.pop();
        }
    }
    /// Takes out the first row with this sort key that equals `row`; answers how many come before it, counted no further
    /// than `limit`.
    pub fn remove(&mut self, sort: &[u8], row: &[u8], limit: usize) -> Option<usize> {
        let Rows::Tree { rows, .. } = &self.rows else { return None };
        let from: TreeKey = (sort.into(), 0);
        let same = rows.range(from..).take_while(|((s, _), _)| &s[..] == sort).find(|(_, r)| &r[..] == row);
        let number = same.map(|((_, number), _)| *number)?;
        let before = self.before(sort, number, limit);
        if let Rows::Tree { rows, changed, .. } = &mut self.rows {
            rows.remove(&(sort.into(), number));
            changed.insert((sort.into(), number), false);
        }
        Some(before)
    }
    fn bytes(&self) -> usize {
        match &self.rows {
            Rows::List(list) => {
                list.capacity() * size_of::<Entry>() + list.iter().map(|e| e.bytes.len() + 16).sum::<usize>()
            }
            // Counted as rows come and go.
            Rows::Tree { .. } => 0,
        }
    }
}

/// The rankings of an operator.
pub struct Rankings {
    pub items: Vec<Ranking>,
    retracts: bool,
    held: Vec<usize>,
    bytes: usize,
}

impl Rankings {
    /// No partitions; `retracts` decides their form.
    pub fn new(retracts: bool) -> Self {
        Rankings { items: Vec::new(), retracts, held: Vec::new(), bytes: 0 }
    }
    /// Counts a partition's memory anew; trees grow by `tree`.
    pub fn recount(&mut self, slot: usize, tree: isize) {
        let bytes = if self.retracts { self.held[slot].saturating_add_signed(tree) } else { self.items[slot].bytes() };
        self.bytes = self.bytes - self.held[slot] + bytes;
        self.held[slot] = bytes;
    }
}

/// About what a row of a tree takes besides its bytes.
pub const TREE_ROW_BYTES: usize = 80;

impl Entries for Rankings {
    fn resize(&mut self, slots: usize) {
        let retracts = self.retracts;
        self.items.resize_with(slots, || Ranking::new(retracts));
        self.held.resize(slots, 0);
    }
    fn is_empty(&self, slot: usize) -> bool {
        self.items[slot].len() == 0
    }
    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        let ranking = &self.items[slot];
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        out.push(VALUE_VERSION);
        out.extend_from_slice(&ranking.next.to_be_bytes());
        out.extend_from_slice(&count(ranking.len()));
        if let Rows::List(list) = &ranking.rows {
            for entry in list {
                out.extend_from_slice(&entry.number.to_be_bytes());
                out.extend_from_slice(&entry.sort.to_be_bytes());
                out.extend_from_slice(&count(entry.bytes.len()));
                out.extend_from_slice(&entry.bytes);
            }
        }
    }
    fn read(&mut self, slot: usize, value: &[u8]) -> Result<()> {
        let mut stored = Stored(value);
        if stored.array()? != [VALUE_VERSION] {
            return Err(malformed("a ranking has an unknown version"));
        }
        let ranking = &mut self.items[slot];
        ranking.next = u64::from_be_bytes(stored.array()?);
        let rows = u32::from_be_bytes(stored.array()?);
        match &mut ranking.rows {
            Rows::Tree { loaded, stored, .. } => (*loaded, *stored) = (false, rows),
            Rows::List(list) => {
                list.clear();
                for _ in 0..rows {
                    let number = u64::from_be_bytes(stored.array()?);
                    let sort = u32::from_be_bytes(stored.array()?);
                    let length = usize::try_from(u32::from_be_bytes(stored.array()?)).unwrap_or(usize::MAX);
                    list.push(Entry { bytes: stored.bytes(length)?.into(), sort, number });
                }
            }
        }
        if !stored.0.is_empty() {
            return Err(malformed("a ranking is longer than its rows"));
        }
        self.recount(slot, 0);
        Ok(())
    }
    fn keep(&mut self, slots: &[u32]) -> Result<()> {
        let retracts = self.retracts;
        let take = |s: &u32| std::mem::replace(&mut self.items[*s as usize], Ranking::new(retracts));
        self.items = slots.iter().map(take).collect();
        self.held = slots.iter().map(|s| self.held[*s as usize]).collect();
        self.bytes = self.held.iter().sum();
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.bytes + self.items.capacity() * size_of::<Ranking>() + 8 * self.held.capacity()
    }
}

fn prefix(map: &KeyedMap<Rankings>, slot: u32) -> Vec<u8> {
    let mut key = Vec::new();
    map.keys().write_key(slot as usize, &mut key);
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    [&map.key_group(slot).to_be_bytes()[..], &length.to_be_bytes(), &key].concat()
}

/// Reads the rows of a tree, unless they are in memory.
pub fn load(map: &mut KeyedMap<Rankings>, backend: &Backend, slot: u32) -> Result<()> {
    if !matches!(map.entries.items[slot as usize].rows, Rows::Tree { loaded: false, .. }) {
        return Ok(());
    }
    let prefix = prefix(map, slot);
    let (mut found, mut bytes) = (BTreeMap::new(), 0);
    backend.scan(RANKED, &prefix, |key, value| {
        let short = || malformed("a ranked row's key is too short");
        let (sort, number) = key.get(prefix.len()..).and_then(|k| k.split_last_chunk::<8>()).ok_or_else(short)?;
        let Some((&VALUE_VERSION, row)) = value.split_first() else {
            return Err(malformed("a ranked row has an unknown version"));
        };
        bytes += 2 * sort.len() + row.len() + TREE_ROW_BYTES;
        found.insert((sort.into(), u64::from_be_bytes(*number)), row.into());
        Ok(ControlFlow::Continue(()))
    })?;
    if let Rows::Tree { rows, loaded, .. } = &mut map.entries.items[slot as usize].rows {
        (*rows, *loaded) = (found, true);
    }
    map.entries.recount(slot as usize, isize::try_from(bytes).unwrap_or(isize::MAX));
    Ok(())
}

/// Writes the rows of trees that came or went.
pub fn flush(map: &mut KeyedMap<Rankings>, backend: &Backend) -> Result<()> {
    if !map.entries.retracts {
        return Ok(());
    }
    let mut writes = backend.writes(RANKED)?;
    let mut value = Vec::new();
    for slot in (0u32..).take(map.len()) {
        let Rows::Tree { changed, .. } = &mut map.entries.items[slot as usize].rows else { continue };
        let changed = std::mem::take(changed);
        if changed.is_empty() {
            continue;
        }
        let prefix = prefix(map, slot);
        let Rows::Tree { rows, .. } = &map.entries.items[slot as usize].rows else { continue };
        for (key, came) in changed {
            let stored = [&prefix[..], &key.0, &key.1.to_be_bytes()].concat();
            match rows.get(&key).filter(|_| came) {
                Some(row) => {
                    value.clear();
                    value.push(VALUE_VERSION);
                    value.extend_from_slice(row);
                    writes.put(&stored, &value)?;
                }
                None => writes.delete(&stored)?,
            }
        }
    }
    writes.commit()
}
