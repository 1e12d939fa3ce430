//! Aggregate functions over many groups at once, with their stored form (version 1, see [`crate::state`]).
//!
//! Stored form of one group, all integers big endian: `COUNT` i64; `SUM`, `MIN`, `MAX` a state byte (0 no value,
//! 1 value, 2 decimal overflow), then with state 1 the value: i64, f64 bits, i128, or length u32 and bytes; `AVG` i64
//! count, then its sum. `DISTINCT` stores the same, and its values on their own.
//!
//! Results are Flink's (`org.apache.flink.table.planner.functions.aggfunctions`), with one difference: once a decimal
//! sum has overflowed it stays null, where Flink starts again at the next row (which depends on the order of rows).

mod accumulator;
mod distinct;
mod fold;

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::graph::{AggregateCall, AggregateFunction};
use crate::state::backend::malformed;
use crate::state::key_codec::KeyCodec;
use crate::types::{Schema, TypeKind};
use accumulator::Accumulator;
use distinct::DistinctPairs;

/// The version byte of a stored value.
pub const VALUE_VERSION: u8 = 1;

/// Stored bytes, read from the front.
pub struct Stored<'a>(pub &'a [u8]);

impl<'a> Stored<'a> {
    fn short() -> Error {
        malformed("an accumulator is shorter than its type")
    }
    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(Self::short)?;
        self.0 = rest;
        Ok(*head)
    }
    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length).ok_or_else(Self::short)?;
        self.0 = rest;
        Ok(head)
    }
    /// A state byte, at most `max`.
    pub fn state(&mut self, max: u8) -> Result<u8> {
        let [state] = self.array::<1>()?;
        if state > max { Err(malformed("an accumulator has an unknown state")) } else { Ok(state) }
    }
}

/// An aggregate call, checked against its input; makes [`Aggregate`]s.
#[derive(Debug, Clone)]
pub struct AggregateType {
    function: AggregateFunction,
    argument: Option<DataType>,
    /// The argument's SQL type, for the layout: Arrow's names are not ours to keep stable.
    sql_type: Option<TypeKind>,
    distinct: Option<KeyCodec>,
    result: DataType,
}

impl AggregateType {
    /// Checks a call over this input.
    pub fn new(call: &AggregateCall, input: &Schema) -> Result<Self> {
        let column = |index: usize| {
            let field =
                input.fields.get(index).ok_or_else(|| Error::internal("an aggregate's column does not exist"))?;
            Ok::<_, Error>(field.data_type.kind.regular())
        };
        let sql_type = call.argument.map(column).transpose()?;
        let argument = sql_type.as_ref().map(TypeKind::to_arrow);
        // MIN and MAX of distinct values are those of all values.
        let counted = call.distinct && !matches!(call.function, AggregateFunction::Min | AggregateFunction::Max);
        let distinct = match &argument {
            Some(argument) if counted => Some(KeyCodec::new(vec![argument.clone()])?),
            _ => None,
        };
        Accumulator::new(call.function, argument.as_ref())?;
        Ok(AggregateType { function: call.function, argument, sql_type, distinct, result: call.data_type.to_arrow() })
    }
    /// Whether the values that were seen are stored.
    pub fn is_distinct(&self) -> bool {
        self.distinct.is_some()
    }
    /// What its stored form depends on.
    pub fn layout(&self) -> String {
        let distinct = if self.is_distinct() { "DISTINCT " } else { "" };
        let argument =
            self.sql_type.as_ref().filter(|_| self.function != AggregateFunction::Count || self.is_distinct());
        format!("{:?}({distinct}{})", self.function, argument.map_or("*".to_owned(), ToString::to_string))
    }
    /// Its state, without groups.
    pub fn create(&self) -> Result<Aggregate> {
        Ok(Aggregate {
            accumulator: Accumulator::new(self.function, self.argument.as_ref())?,
            distinct: self.distinct.clone().map(DistinctPairs::new),
        })
    }
}

/// An aggregate's columns of a batch.
#[derive(Debug, Clone, Default)]
pub struct AggregateInput {
    pub argument: Option<ArrayRef>,
    /// Boolean.
    pub filter: Option<ArrayRef>,
}

impl AggregateInput {
    /// The rows to take; `None` = all.
    fn mask(&self) -> Option<BooleanBuffer> {
        let valid = self.argument.as_ref().and_then(|a| a.logical_nulls()).filter(|n| n.null_count() > 0);
        let filter = self.filter.as_ref().and_then(|f| f.as_boolean_opt()).map(|filter| match filter.nulls() {
            Some(nulls) => filter.values() & nulls.inner(),
            None => filter.values().clone(),
        });
        match (valid, filter) {
            (Some(valid), Some(filter)) => Some(valid.inner() & &filter),
            (Some(valid), None) => Some(valid.into_inner()),
            (None, filter) => filter,
        }
    }
}

/// State of one aggregate call over all groups of a table.
pub struct Aggregate {
    accumulator: Accumulator,
    distinct: Option<DistinctPairs>,
}

impl Aggregate {
    /// Makes room for `groups` groups.
    pub fn resize(&mut self, groups: usize) {
        self.accumulator.resize(groups);
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.accumulator.bytes() + self.distinct.as_ref().map_or(0, DistinctPairs::bytes)
    }
    /// Takes row `i` into group `groups[i]`.
    pub fn update(&mut self, input: &AggregateInput, groups: &[u32]) -> Result<()> {
        let mut mask = input.mask();
        if let (Some(distinct), Some(argument)) = (&mut self.distinct, &input.argument) {
            mask = Some(distinct.insert(argument, groups, mask.as_ref())?);
        }
        self.accumulator.update(input.argument.as_ref(), groups, mask.as_ref())
    }
    /// Takes group `groups[i]` of another table into group `to[i]`.
    pub fn merge(&mut self, to: &[u32], from: &Aggregate, groups: &[u32]) -> Result<()> {
        let (Some(distinct), Some(other)) = (&mut self.distinct, &from.distinct) else {
            return self.accumulator.merge(to, &from.accumulator, groups);
        };
        let mut to_of = vec![u32::MAX; groups.iter().max().map_or(0, |g| *g as usize + 1)];
        groups.iter().zip(to).for_each(|(group, to)| to_of[*group as usize] = *to);
        let (groups, values) = distinct.merge(other, &to_of)?;
        self.accumulator.update(Some(&values), &groups, None)
    }
    /// Appends a group's stored form, its distinct values excepted.
    pub fn write(&self, group: usize, out: &mut Vec<u8>) {
        self.accumulator.write(group, out);
    }
    /// Replaces a group by its stored form.
    pub fn read(&mut self, group: usize, input: &mut Stored<'_>) -> Result<()> {
        self.accumulator.read(group, input)
    }
    /// The values seen, where they are stored.
    pub fn distinct(&mut self) -> Option<&mut DistinctPairs> {
        self.distinct.as_mut()
    }
    /// The results of a range of groups.
    pub fn finish(&self, groups: Range<usize>, of: &AggregateType) -> Result<ArrayRef> {
        self.accumulator.finish(groups, of.argument.as_ref(), &of.result)
    }
}
