//! The values that each group has already seen, for `DISTINCT`: one hash table of (group, value) pairs.
//!
//! A pair is never removed, so what a snapshot has to write is the list of pairs made since the last one.

use arrow::array::{ArrayRef, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use hashbrown::HashTable;

use super::fold::for_selected;
use crate::error::Result;
use crate::state::key_codec::{KeyBatch, KeyCodec};
use crate::state::key_table::{KeyTable, mix};

/// See the module text.
pub struct DistinctPairs {
    codec: KeyCodec,
    /// The distinct values of all groups; a pair refers to its value's id.
    values: KeyTable,
    table: HashTable<(u64, u32)>,
    /// (group, value id) of each pair.
    pairs: Vec<(u32, u32)>,
    /// Pairs that RocksDB does not have.
    dirty: Vec<u32>,
}

fn code_of(group: u32, value: u32) -> u64 {
    u64::from(group) << 32 | u64::from(value)
}

impl DistinctPairs {
    /// No pairs; values have this codec.
    pub fn new(codec: KeyCodec) -> Self {
        let values = KeyTable::new(&codec);
        DistinctPairs { codec, values, table: HashTable::new(), pairs: Vec::new(), dirty: Vec::new() }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.values.bytes() + self.table.allocation_size() + 8 * self.pairs.capacity() + 4 * self.dirty.capacity()
    }

    /// Inserts the selected rows' pairs; answers which rows were the first of their pair.
    pub fn insert(
        &mut self,
        argument: &ArrayRef,
        groups: &[u32],
        mask: Option<&BooleanBuffer>,
    ) -> Result<BooleanBuffer> {
        let keys: KeyBatch = self.codec.encode(std::slice::from_ref(argument), groups.len())?;
        let mut ids = Vec::new();
        self.values.resolve(&keys, &mut ids)?;
        let mut first = BooleanBufferBuilder::new(groups.len());
        first.append_n(groups.len(), false);
        for_selected(groups.len(), mask, |row| {
            if self.insert_pair(groups[row], ids[row], true) {
                first.set_bit(row, true);
            }
        });
        Ok(first.finish())
    }

    /// Takes the pairs of another table's groups; `to_of[group]` is the group here, `u32::MAX` = not wanted. Answers the
    /// groups and values of those that were new.
    pub fn merge(&mut self, from: &DistinctPairs, to_of: &[u32]) -> Result<(Vec<u32>, ArrayRef)> {
        let wanted: Vec<(u32, u32)> = from
            .pairs
            .iter()
            .filter_map(|(group, value)| {
                let to = to_of.get(*group as usize).copied().filter(|to| *to != u32::MAX)?;
                Some((to, *value))
            })
            .collect();
        let ids: Vec<u32> = wanted.iter().map(|(_, value)| *value).collect();
        let mut here = Vec::new();
        self.values.insert_all(&from.values, &ids, &mut here)?;
        let (mut groups, mut fresh, mut ends) = (Vec::new(), Vec::new(), vec![0]);
        for ((group, value), id) in wanted.iter().zip(here) {
            if self.insert_pair(*group, id, true) {
                groups.push(*group);
                from.values.write_key(*value as usize, &mut fresh);
                ends.push(fresh.len());
            }
        }
        let keys: Vec<&[u8]> = ends.windows(2).map(|bounds| &fresh[bounds[0]..bounds[1]]).collect();
        let mut columns = self.codec.decode(&keys)?;
        Ok((groups, columns.pop().expect("the codec has one column")))
    }

    /// Inserts a pair that RocksDB has.
    pub fn insert_stored(&mut self, group: u32, value: &[u8]) -> Result<()> {
        let id = self.values.insert(value)?;
        self.insert_pair(group, id, false);
        Ok(())
    }

    /// Visits the pairs that RocksDB does not have yet, as group and stored value, and counts them as written.
    pub fn take_dirty(&mut self, mut visit: impl FnMut(u32, &[u8]) -> Result<()>) -> Result<()> {
        let mut value = Vec::new();
        for pair in std::mem::take(&mut self.dirty) {
            let (group, id) = self.pairs[pair as usize];
            value.clear();
            self.values.write_key(id as usize, &mut value);
            visit(group, &value)?;
        }
        Ok(())
    }

    fn insert_pair(&mut self, group: u32, value: u32, dirty: bool) -> bool {
        let code = code_of(group, value);
        let hash = mix(code);
        if self.table.find(hash, |(c, _)| *c == code).is_some() {
            return false;
        }
        let id = u32::try_from(self.pairs.len()).expect("the memory budget is reached long before 2^32 pairs");
        self.pairs.push((group, value));
        self.table.insert_unique(hash, (code, id), |(c, _)| mix(*c));
        if dirty {
            self.dirty.push(id);
        }
        true
    }
}
