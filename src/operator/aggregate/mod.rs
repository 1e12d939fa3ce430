//! Aggregate functions over many groups at once, with their stored form (version 1, see [`crate::state`]).
//!
//! Stored form of one group, all integers big endian: `COUNT` i64; `SUM`, `MIN`, `MAX` a state byte (0 no value,
//! 1 value, 2 decimal overflow), then with state 1 the value: i64, f64 bits, i128, or length u32 and bytes; `AVG` i64
//! count, then its sum (so does a `SUM` from which rows are taken away); the others see `ordered`, `listed` and `multiset`.
//! `DISTINCT` stores the same, and its values on their own.
//!
//! Results are Flink's (`org.apache.flink.table.planner.functions.aggfunctions`), with one difference: once a decimal
//! sum has overflowed it stays null, where Flink starts again at the next row (which depends on the order of rows).

mod accumulator;
mod distinct;
mod fold;
mod listed;
mod multiset;
mod ordered;
mod trace;

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
use listed::valid_texts;

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
    /// A length.
    pub fn length(&mut self) -> Result<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| malformed("a length"))
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
    /// Whether rows can be taken away again.
    retracts: bool,
    result: DataType,
}

impl AggregateType {
    /// Checks a call over this input, whose rows are only added.
    pub fn new(call: &AggregateCall, input: &Schema) -> Result<Self> {
        Self::over(call, input, false)
    }
    /// Checks a call over this input, from which rows may be taken away again: see [`Aggregate::follow`].
    pub fn retracting(call: &AggregateCall, input: &Schema) -> Result<Self> {
        Self::over(call, input, true)
    }
    fn over(call: &AggregateCall, input: &Schema, retracts: bool) -> Result<Self> {
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
        Accumulator::new(call.function, argument.as_ref(), retracts)?;
        let result = call.data_type.to_arrow();
        Ok(AggregateType { function: call.function, argument, sql_type, distinct, retracts, result })
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
        let retracts = if self.retracts { " retracting" } else { "" };
        format!("{:?}({distinct}{}){retracts}", self.function, argument.map_or("*".to_owned(), ToString::to_string))
    }
    /// Its state, without groups.
    pub fn create(&self) -> Result<Aggregate> {
        Ok(Aggregate {
            function: self.function,
            accumulator: Accumulator::new(self.function, self.argument.as_ref(), self.retracts)?,
            distinct: self.distinct.clone().map(DistinctPairs::new),
        })
    }
    /// Its state, without groups and without the values of a `DISTINCT`, which the caller keeps.
    pub fn create_plain(&self) -> Result<Aggregate> {
        Ok(Aggregate { distinct: None, ..self.create()? })
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
    /// The rows that an aggregate takes; `None` = all.
    pub fn mask(&self, function: AggregateFunction) -> Option<BooleanBuffer> {
        let valid = match (function, &self.argument) {
            (AggregateFunction::ArrayAgg | AggregateFunction::JsonObjectAgg { .. }, _) => None,
            (AggregateFunction::JsonArrayAgg { absent_on_null: false }, _) => None,
            (AggregateFunction::ListAgg, Some(argument)) if argument.data_type().is_nested() => valid_texts(argument),
            (_, argument) => argument.as_ref().and_then(|a| a.logical_nulls()),
        };
        let valid = valid.filter(|n| n.null_count() > 0);
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

/// What the rows of a batch do to their groups, in order.
pub struct Changes<'a> {
    pub groups: &'a [u32],
    /// 1 = the row comes, -1 = it goes, 0 = it is nothing to its group.
    pub signs: &'a [i8],
    /// Rows after which their group has nothing left, so that it is as new; empty = none.
    pub ends: &'a [bool],
    /// Each group of the batch once.
    pub touched: &'a [u32],
}

impl Changes<'_> {
    /// Applies the changes that `mask` selects by `step` (group, row, whether the row comes), and pushes results: of the
    /// touched groups, then of each row's group after it.
    fn walk<S, T>(
        &self,
        mask: Option<&BooleanBuffer>,
        state: &mut S,
        out: &mut T,
        step: impl Fn(&mut S, usize, usize, bool) -> Result<()>,
        push: impl Fn(&mut S, usize, &mut T) -> Result<()>,
        clear: impl Fn(&mut S, usize),
    ) -> Result<()> {
        self.touched.iter().try_for_each(|group| push(state, *group as usize, out))?;
        for (row, (group, sign)) in self.groups.iter().zip(self.signs).enumerate() {
            let group = *group as usize;
            if *sign != 0 && mask.is_none_or(|m| m.value(row)) {
                step(state, group, row, *sign > 0)?;
            }
            push(state, group, out)?;
            if self.ends.get(row).is_some_and(|end| *end) {
                clear(state, group);
            }
        }
        Ok(())
    }
}

/// State of one aggregate call over all groups of a table.
pub struct Aggregate {
    function: AggregateFunction,
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
        let mut mask = input.mask(self.function);
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
    /// Applies the changes that `mask` selects one by one; answers a column of results: first those of the touched groups
    /// before all of them, then that of each row's group after it.
    pub fn follow(
        &mut self,
        input: &AggregateInput,
        changes: &Changes<'_>,
        mask: Option<&BooleanBuffer>,
        of: &AggregateType,
    ) -> Result<ArrayRef> {
        let trace = self.accumulator.follow(input.argument.as_ref(), changes, mask)?;
        trace.finish(of.argument.as_ref(), &of.result)
    }
    /// Keeps only these groups (ascending), renumbered from 0. Not for `DISTINCT` that keeps its own values.
    pub fn keep(&mut self, groups: &[u32]) {
        self.accumulator.keep(groups);
    }
    /// Forgets what a group has seen.
    pub fn clear(&mut self, group: usize) {
        self.accumulator.clear(group);
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
        self.accumulator.results(groups)?.finish(of.argument.as_ref(), &of.result)
    }
}
