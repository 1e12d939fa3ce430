//! The groups of one slice (or of a window being merged) in memory: keys and accumulators, column by column.

use std::ops::Range;

use arrow::array::ArrayRef;

use crate::error::Result;
use crate::operator::aggregate::{Aggregate, AggregateInput, AggregateType, Stored, VALUE_VERSION};
use crate::state::backend::malformed;
use crate::state::key_codec::KeyCodec;
use crate::state::key_table::KeyTable;

/// What the tables of an operator hold.
pub struct TableType {
    pub keys: KeyCodec,
    pub aggregates: Vec<AggregateType>,
}

/// Keys with their accumulators; group ids index both.
pub struct SliceTable {
    pub keys: KeyTable,
    pub aggregates: Vec<Aggregate>,
}

impl SliceTable {
    /// No groups.
    pub fn new(of: &TableType) -> Result<Self> {
        let aggregates = of.aggregates.iter().map(AggregateType::create).collect::<Result<_>>()?;
        Ok(SliceTable { keys: KeyTable::new(&of.keys), aggregates })
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.aggregates.iter().map(Aggregate::bytes).sum::<usize>()
    }

    /// Takes the accumulators along after keys were added.
    pub fn grow(&mut self) {
        let groups = self.keys.len();
        self.aggregates.iter_mut().for_each(|a| a.resize(groups));
    }

    /// Takes row `i` into group `groups[i]`.
    pub fn update(&mut self, inputs: &[AggregateInput], groups: &[u32]) -> Result<()> {
        self.aggregates.iter_mut().zip(inputs).try_for_each(|(a, input)| a.update(input, groups))
    }

    /// Takes these groups of another table; answers what they are here.
    pub fn merge(&mut self, from: &SliceTable, groups: &[u32]) -> Result<Vec<u32>> {
        let mut to = Vec::new();
        self.keys.insert_all(&from.keys, groups, &mut to)?;
        self.grow();
        self.aggregates.iter_mut().zip(&from.aggregates).try_for_each(|(a, from)| a.merge(&to, from, groups))?;
        Ok(to)
    }

    /// Appends the stored value of a group.
    pub fn write(&self, group: usize, out: &mut Vec<u8>) {
        out.push(VALUE_VERSION);
        self.aggregates.iter().for_each(|a| a.write(group, out));
    }

    /// Replaces a group by its stored value.
    pub fn read(&mut self, group: usize, value: &[u8]) -> Result<()> {
        let Some((&VALUE_VERSION, rest)) = value.split_first() else {
            return Err(malformed("a window's value has an unknown version"));
        };
        let mut stored = Stored(rest);
        self.aggregates.iter_mut().try_for_each(|a| a.read(group, &mut stored))?;
        if stored.0.is_empty() { Ok(()) } else { Err(malformed("a window's value is longer than its aggregates")) }
    }

    /// The key columns and the aggregates' results of a range of groups.
    pub fn columns(&self, of: &TableType, groups: Range<usize>) -> Result<Vec<ArrayRef>> {
        let mut columns = self.keys.columns(&of.keys, groups.clone())?;
        for (aggregate, of) in self.aggregates.iter().zip(&of.aggregates) {
            columns.push(aggregate.finish(groups.clone(), of)?);
        }
        Ok(columns)
    }
}
