//! A hash table from keys to group ids 0, 1, 2, … in order of first appearance; keys lie in one arena.
//!
//! Whatever belongs to a group is held by others in columns indexed by its id. Groups are never removed one by one.

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use hashbrown::HashTable;

use super::key_codec::{IntKey, KeyBatch, KeyCodec};
use crate::error::{Error, Result};
use crate::graph::key_group::hash_key;

/// See the module text.
pub enum KeyTable {
    /// Keys of one integer column; the key is in the hash table, so that a lookup misses the cache once.
    Ints { width: usize, table: HashTable<(u64, u32)>, values: Vec<u64>, null: Option<u32> },
    /// All others.
    Bytes { table: HashTable<u32>, hashes: Vec<u64>, data: Vec<u8>, ends: Vec<usize> },
}

/// In-memory hash of an integer (a folded multiplication); not stored, unlike [`hash_key`].
pub(crate) fn mix(value: u64) -> u64 {
    let product = u128::from(value ^ 0x243f_6a88_85a3_08d3) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let low = u64::try_from(product & u128::from(u64::MAX)).expect("masked");
    let high = u64::try_from(product >> 64).expect("shifted");
    low ^ high
}

fn id_of(groups: usize) -> u32 {
    u32::try_from(groups).expect("the memory budget is reached long before 2^32 groups")
}

impl KeyTable {
    /// An empty table for keys of this codec.
    pub fn new(codec: &KeyCodec) -> Self {
        match codec.integer_width() {
            Some(width) => KeyTable::Ints { width, table: HashTable::new(), values: Vec::new(), null: None },
            None => KeyTable::Bytes { table: HashTable::new(), hashes: Vec::new(), data: Vec::new(), ends: Vec::new() },
        }
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        match self {
            KeyTable::Ints { values, .. } => values.len(),
            KeyTable::Bytes { ends, .. } => ends.len(),
        }
    }

    /// Whether there are no groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            KeyTable::Ints { table, values, .. } => table.allocation_size() + 8 * values.capacity(),
            KeyTable::Bytes { table, hashes, data, ends } => {
                table.allocation_size() + 8 * hashes.capacity() + data.capacity() + 8 * ends.capacity()
            }
        }
    }

    /// The group of each key, new groups at the end; `groups` is overwritten.
    pub fn resolve(&mut self, keys: &KeyBatch, groups: &mut Vec<u32>) -> Result<()> {
        groups.clear();
        groups.reserve(keys.len());
        match (self, keys) {
            (KeyTable::Ints { table, values, .. }, KeyBatch::Ints { values: keys, nulls: None, .. }) => {
                groups.extend(keys.iter().map(|key| int_group(table, values, *key)));
            }
            (KeyTable::Ints { table, values, null, .. }, KeyBatch::Ints { values: keys, nulls: Some(nulls), .. }) => {
                for (key, valid) in keys.iter().zip(nulls.iter()) {
                    groups.push(if valid { int_group(table, values, *key) } else { null_group(null, values) });
                }
            }
            (this @ KeyTable::Bytes { .. }, KeyBatch::Bytes { data, ends }) => {
                let mut start = 0;
                for end in ends {
                    let key = &data[start..*end];
                    start = *end;
                    groups.push(this.insert_bytes(hash_key(key), key));
                }
            }
            _ => return Err(Error::internal("keys and key table have different shapes")),
        }
        Ok(())
    }

    /// The group of each key, `u32::MAX` for those without; `groups` is overwritten.
    pub fn lookup(&self, keys: &KeyBatch, groups: &mut Vec<u32>) -> Result<()> {
        groups.clear();
        groups.reserve(keys.len());
        match (self, keys) {
            (KeyTable::Ints { table, null, .. }, KeyBatch::Ints { values: keys, nulls, .. }) => {
                let find = |key: u64| table.find(mix(key), |(k, _)| *k == key).map(|(_, group)| *group);
                for (row, key) in keys.iter().enumerate() {
                    let valid = nulls.as_ref().is_none_or(|n| n.is_valid(row));
                    let group = if valid { find(*key) } else { *null };
                    groups.push(group.unwrap_or(u32::MAX));
                }
            }
            (KeyTable::Bytes { table, hashes, data, ends }, KeyBatch::Bytes { data: keys, ends: bounds }) => {
                let mut start = 0;
                for end in bounds {
                    let key = &keys[std::mem::replace(&mut start, *end)..*end];
                    let hash = hash_key(key);
                    let same = |g: &u32| hashes[*g as usize] == hash && slice(data, ends, *g as usize) == key;
                    groups.push(table.find(hash, same).copied().unwrap_or(u32::MAX));
                }
            }
            _ => return Err(Error::internal("keys and key table have different shapes")),
        }
        Ok(())
    }

    /// The group of a stored key, made if there is none.
    pub fn insert(&mut self, key: &[u8]) -> Result<u32> {
        match self {
            KeyTable::Ints { width, table, values, null } => Ok(match IntKey::parse(key, *width)? {
                Some(value) => int_group(table, values, value),
                None => null_group(null, values),
            }),
            KeyTable::Bytes { .. } => Ok(self.insert_bytes(hash_key(key), key)),
        }
    }

    /// The group of a stored key.
    pub fn find(&self, key: &[u8]) -> Result<Option<u32>> {
        match self {
            KeyTable::Ints { width, table, null, .. } => Ok(match IntKey::parse(key, *width)? {
                Some(value) => table.find(mix(value), |(k, _)| *k == value).map(|(_, group)| *group),
                None => *null,
            }),
            KeyTable::Bytes { table, hashes, data, ends } => {
                let hash = hash_key(key);
                Ok(table.find(hash, |g| hashes[*g as usize] == hash && slice(data, ends, *g as usize) == key).copied())
            }
        }
    }

    /// Inserts groups of another table of the same codec; `to` becomes their ids here.
    pub fn insert_all(&mut self, from: &KeyTable, groups: &[u32], to: &mut Vec<u32>) -> Result<()> {
        to.clear();
        to.reserve(groups.len());
        match (self, from) {
            (KeyTable::Ints { table, values, null, .. }, KeyTable::Ints { values: keys, null: from_null, .. }) => {
                for group in groups {
                    to.push(if *from_null == Some(*group) {
                        null_group(null, values)
                    } else {
                        int_group(table, values, keys[*group as usize])
                    });
                }
            }
            (this @ KeyTable::Bytes { .. }, KeyTable::Bytes { hashes, data, ends, .. }) => {
                for group in groups {
                    let group = *group as usize;
                    to.push(this.insert_bytes(hashes[group], slice(data, ends, group)));
                }
            }
            _ => return Err(Error::internal("key tables have different shapes")),
        }
        Ok(())
    }

    /// Appends the stored bytes of a group's key.
    pub fn write_key(&self, group: usize, out: &mut Vec<u8>) {
        match self {
            KeyTable::Ints { .. } => out.extend_from_slice(self.int_key(group).as_bytes()),
            KeyTable::Bytes { data, ends, .. } => out.extend_from_slice(slice(data, ends, group)),
        }
    }

    /// [`hash_key`] of a group's key.
    pub fn hash(&self, group: usize) -> u64 {
        match self {
            KeyTable::Ints { .. } => hash_key(self.int_key(group).as_bytes()),
            KeyTable::Bytes { hashes, .. } => hashes[group],
        }
    }

    /// The key columns of a range of groups.
    pub fn columns(&self, codec: &KeyCodec, groups: std::ops::Range<usize>) -> Result<Vec<ArrayRef>> {
        match self {
            KeyTable::Ints { values, null, .. } => {
                let null = null.map(|n| n as usize).filter(|n| groups.contains(n));
                let nulls = null.map(|n| groups.clone().map(|g| g != n).collect::<NullBuffer>());
                Ok(vec![codec.decode_ints(&values[groups], nulls)?])
            }
            KeyTable::Bytes { data, ends, .. } => {
                let keys: Vec<&[u8]> = groups.map(|g| slice(data, ends, g)).collect();
                codec.decode(&keys)
            }
        }
    }

    fn int_key(&self, group: usize) -> IntKey {
        match self {
            KeyTable::Ints { width, values, null, .. } => {
                let value = (null.map(|n| n as usize) != Some(group)).then(|| values[group]);
                IntKey::new(value, *width)
            }
            KeyTable::Bytes { .. } => IntKey::new(None, 8),
        }
    }

    fn insert_bytes(&mut self, hash: u64, key: &[u8]) -> u32 {
        let KeyTable::Bytes { table, hashes, data, ends } = self else { return 0 };
        let same = |g: &u32| hashes[*g as usize] == hash && slice(data, ends, *g as usize) == key;
        if let Some(group) = table.find(hash, same) {
            return *group;
        }
        let group = id_of(ends.len());
        hashes.push(hash);
        data.extend_from_slice(key);
        ends.push(data.len());
        table.insert_unique(hash, group, |g| hashes[*g as usize]);
        group
    }
}

fn slice<'d>(data: &'d [u8], ends: &[usize], group: usize) -> &'d [u8] {
    let start = group.checked_sub(1).map_or(0, |before| ends[before]);
    &data[start..ends[group]]
}

fn int_group(table: &mut HashTable<(u64, u32)>, values: &mut Vec<u64>, key: u64) -> u32 {
    let hash = mix(key);
    if let Some((_, group)) = table.find(hash, |(k, _)| *k == key) {
        return *group;
    }
    let group = id_of(values.len());
    values.push(key);
    table.insert_unique(hash, (key, group), |(k, _)| mix(*k));
    group
}

fn null_group(null: &mut Option<u32>, values: &mut Vec<u64>) -> u32 {
    *null.get_or_insert_with(|| {
        values.push(0);
        id_of(values.len() - 1)
    })
}
