//! The typed accumulators: one column per aggregate, one position per group.

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};

use super::fold::{ByteExtremes, Fold, FoldOp, Number, for_selected};
use super::listed::{Listed, Listing};
use super::multiset::Multiset;
use super::ordered::{Ordered, each_ordered};
use super::trace::Trace;
use super::{Changes, Stored};
use crate::error::{Error, Result};
use crate::graph::AggregateFunction;
use crate::state::integers;
use crate::state::key_codec::KeyCodec;

/// State of an aggregate function over all groups.
pub enum Accumulator {
    Count(Vec<i64>),
    Int(Fold<i64>),
    Float(Fold<f64>),
    Decimal(Fold<i128>),
    Bytes(ByteExtremes),
    /// Rows, and their sum (one of the numeric accumulators): `AVG`, and a `SUM` from which rows are taken away.
    Counted {
        counts: Vec<i64>,
        sum: Box<Accumulator>,
        average: bool,
    },
    /// `MIN` and `MAX` from which rows are taken away.
    Ordered(Ordered),
    Listed(Listed),
    Multiset(Multiset),
}

/// The argument's values of a batch, as an accumulator takes them.
enum Values {
    None,
    Int(ScalarBuffer<i64>),
    Float(ScalarBuffer<f64>),
    Decimal(ScalarBuffer<i128>),
    /// Value `i` is `data[ends[i - 1]..ends[i]]`.
    Bytes {
        data: Vec<u8>,
        ends: Vec<usize>,
    },
}

impl Values {
    fn bytes(&self, row: usize) -> &[u8] {
        let Values::Bytes { data, ends } = self else { return &[] };
        let start = row.checked_sub(1).map_or(0, |before| ends[before]);
        &data[start..ends[row]]
    }
}

impl Accumulator {
    /// An accumulator over arguments of the given Arrow type, which can also take rows away if it `retracts`; refuses
    /// what Flink has no such aggregate for (`unsupported_aggregate`).
    pub fn new(function: AggregateFunction, argument: Option<&DataType>, retracts: bool) -> Result<Self> {
        use AggregateFunction as F;
        let Some(argument) = argument else {
            return match function {
                F::CountStar | F::Count => Ok(Accumulator::Count(Vec::new())),
                _ => Err(Error::internal("an aggregate other than COUNT(*) needs an argument")),
            };
        };
        let codec = || KeyCodec::new(vec![argument.clone()]);
        let listed = |listing| Ok(Accumulator::Listed(Listed::new(listing, codec()?, argument.is_nested(), retracts)));
        let op = match function {
            F::CountStar | F::Count => return Ok(Accumulator::Count(Vec::new())),
            F::Sum if retracts => return Accumulator::counted(argument, false),
            F::Avg => return Accumulator::counted(argument, true),
            F::Min | F::Max if retracts => return Ok(Accumulator::Ordered(Ordered::new(function == F::Max))),
            F::FirstValue => return listed(Listing::First),
            F::LastValue => return listed(Listing::Last),
            F::ListAgg => return listed(Listing::Text),
            F::ArrayAgg => return listed(Listing::Array),
            F::JsonArrayAgg { .. } => return listed(Listing::JsonArray),
            F::JsonObjectAgg { absent_on_null } => return listed(Listing::JsonObject { absent: absent_on_null }),
            F::Collect => return Ok(Accumulator::Multiset(Multiset::new(codec()?))),
            F::Sum => FoldOp::Sum,
            F::Min => FoldOp::Min,
            F::Max => FoldOp::Max,
        };
        let comparable = op != FoldOp::Sum;
        match argument {
            DataType::Float32 if op == FoldOp::Sum => Ok(Accumulator::Float(Fold::new(FoldOp::SumSingle))),
            DataType::Float32 | DataType::Float64 => Ok(Accumulator::Float(Fold::new(op))),
            DataType::Decimal128(..) => Ok(Accumulator::Decimal(Fold::new(op))),
            DataType::Utf8 | DataType::Binary if comparable => Ok(Accumulator::Bytes(ByteExtremes::new(op))),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Ok(Accumulator::Int(Fold::new(op))),
            other if comparable && integers::width(other).is_some() => Ok(Accumulator::Int(Fold::new(op))),
            other => Err(Error::invalid("unsupported_aggregate", format!("{function:?} cannot take a {other}"))),
        }
    }

    fn counted(argument: &DataType, average: bool) -> Result<Self> {
        let sum = match argument {
            // AVG of FLOAT sums in double precision, unlike SUM.
            DataType::Float32 | DataType::Float64 if average => Accumulator::Float(Fold::new(FoldOp::Sum)),
            _ => Accumulator::new(AggregateFunction::Sum, Some(argument), false)?,
        };
        Ok(Accumulator::Counted { counts: Vec::new(), sum: Box::new(sum), average })
    }

    /// Makes room for `groups` groups; new ones have seen no rows.
    pub fn resize(&mut self, groups: usize) {
        match self {
            Accumulator::Count(counts) => counts.resize(groups, 0),
            Accumulator::Int(fold) => fold.resize(groups),
            Accumulator::Float(fold) => fold.resize(groups),
            Accumulator::Decimal(fold) => fold.resize(groups),
            Accumulator::Bytes(extremes) => extremes.resize(groups),
            Accumulator::Counted { counts, sum, .. } => {
                counts.resize(groups, 0);
                sum.resize(groups);
            }
            Accumulator::Ordered(ordered) => ordered.resize(groups),
            Accumulator::Listed(listed) => listed.resize(groups),
            Accumulator::Multiset(multiset) => multiset.resize(groups),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Accumulator::Count(counts) => 8 * counts.capacity(),
            Accumulator::Int(fold) => fold.bytes(),
            Accumulator::Float(fold) => fold.bytes(),
            Accumulator::Decimal(fold) => fold.bytes(),
            Accumulator::Bytes(extremes) => extremes.bytes(),
            Accumulator::Counted { counts, sum, .. } => 8 * counts.capacity() + sum.bytes(),
            Accumulator::Ordered(ordered) => ordered.bytes(),
            Accumulator::Listed(listed) => listed.bytes(),
            Accumulator::Multiset(multiset) => multiset.bytes(),
        }
    }

    fn values(&self, argument: Option<&ArrayRef>) -> Result<Values> {
        if let Accumulator::Count(_) = self {
            return Ok(Values::None);
        }
        let values = argument.ok_or_else(|| Error::internal("the aggregate needs an argument"))?;
        let encoded = |codec: &KeyCodec| {
            let (data, ends) = codec.encode_bytes(std::slice::from_ref(values), values.len())?;
            Ok(Values::Bytes { data, ends })
        };
        match self {
            Accumulator::Count(_) | Accumulator::Bytes(_) => Ok(Values::None),
            Accumulator::Int(_) => integers::to_i64(values).map(Values::Int),
            Accumulator::Float(_) => to_f64(values).map(Values::Float),
            Accumulator::Decimal(_) => {
                let values = values.as_primitive_opt::<Decimal128Type>();
                let values = values.ok_or_else(|| Error::internal("the argument is not a decimal"))?;
                Ok(Values::Decimal(values.values().clone()))
            }
            Accumulator::Counted { sum, .. } => sum.values(argument),
            Accumulator::Ordered(_) => {
                let (mut data, mut ends) = (Vec::new(), Vec::with_capacity(values.len()));
                each_ordered(values, |_, value| {
                    data.extend_from_slice(value);
                    ends.push(data.len());
                })?;
                Ok(Values::Bytes { data, ends })
            }
            Accumulator::Listed(listed) => encoded(listed.codec()),
            Accumulator::Multiset(multiset) => encoded(multiset.codec()),
        }
    }

    /// Takes row `i` into group `groups[i]`, for the rows that `mask` selects; none of these is null, except where the
    /// aggregate takes nulls.
    pub fn update(&mut self, argument: Option<&ArrayRef>, groups: &[u32], mask: Option<&BooleanBuffer>) -> Result<()> {
        if let (Accumulator::Bytes(extremes), Some(values)) = (&mut *self, argument) {
            return extremes.update(values, groups, mask);
        }
        let values = self.values(argument)?;
        self.update_with(&values, groups, mask)
    }

    fn update_with(&mut self, values: &Values, groups: &[u32], mask: Option<&BooleanBuffer>) -> Result<()> {
        match (self, values) {
            (Accumulator::Count(counts), _) => {
                for_selected(groups.len(), mask, |row| counts[groups[row] as usize] += 1);
            }
            (Accumulator::Int(fold), Values::Int(values)) => fold.update(values, groups, mask),
            (Accumulator::Float(fold), Values::Float(values)) => fold.update(values, groups, mask),
            (Accumulator::Decimal(fold), Values::Decimal(values)) => fold.update(values, groups, mask),
            (Accumulator::Counted { counts, sum, .. }, values) => {
                for_selected(groups.len(), mask, |row| counts[groups[row] as usize] += 1);
                sum.update_with(values, groups, mask)?;
            }
            (Accumulator::Ordered(ordered), values) => {
                for_selected(groups.len(), mask, |row| ordered.add(groups[row] as usize, values.bytes(row), 1));
            }
            (Accumulator::Listed(listed), values) => {
                let mut result = Ok(());
                for_selected(groups.len(), mask, |row| {
                    if result.is_ok() {
                        result = listed.add(groups[row] as usize, values.bytes(row));
                    }
                });
                return result;
            }
            (Accumulator::Multiset(multiset), values) => {
                for_selected(groups.len(), mask, |row| multiset.add(groups[row] as usize, values.bytes(row), 1));
            }
            _ => return Err(Error::internal("values of another aggregate")),
        }
        Ok(())
    }

    /// Applies changes one by one; answers first the results of the touched groups before all of them, then that of each
    /// row's group after it.
    pub fn follow(
        &mut self,
        argument: Option<&ArrayRef>,
        changes: &Changes<'_>,
        mask: Option<&BooleanBuffer>,
    ) -> Result<Trace> {
        let mut trace = self.trace();
        if let (Accumulator::Bytes(extremes), Some(values), Trace::Bytes(out)) = (&mut *self, argument, &mut trace) {
            let push = |e: &mut ByteExtremes, group: usize, out: &mut BinaryBuilder| {
                out.append_option(e.get(group));
                Ok(())
            };
            match values.data_type() {
                DataType::Utf8 => {
                    let values = values.as_string::<i32>();
                    let step = |e: &mut ByteExtremes, group: usize, row: usize, _| {
                        e.take(group, values.value(row).as_bytes());
                        Ok(())
                    };
                    changes.walk(mask, extremes, out, step, push, ByteExtremes::clear)?;
                }
                _ => {
                    let values = values.as_binary::<i32>();
                    let step = |e: &mut ByteExtremes, group: usize, row: usize, _| {
                        e.take(group, values.value(row));
                        Ok(())
                    };
                    changes.walk(mask, extremes, out, step, push, ByteExtremes::clear)?;
                }
            }
            return Ok(trace);
        }
        let values = self.values(argument)?;
        self.follow_with(&values, changes, mask, &mut trace)?;
        Ok(trace)
    }

    fn follow_with(
        &mut self,
        values: &Values,
        changes: &Changes<'_>,
        mask: Option<&BooleanBuffer>,
        trace: &mut Trace,
    ) -> Result<()> {
        fn fold<T: Number>(
            fold: &mut Fold<T>,
            values: &[T],
            changes: &Changes<'_>,
            mask: Option<&BooleanBuffer>,
            out: (&mut Vec<T>, &mut Vec<bool>),
        ) -> Result<()> {
            let step = |fold: &mut Fold<T>, group: usize, row: usize, add: bool| {
                fold.change(group, values[row], add);
                Ok(())
            };
            let push = |fold: &mut Fold<T>, group: usize, out: &mut (&mut Vec<T>, &mut Vec<bool>)| {
                fold.push(group, out.0, out.1);
                Ok(())
            };
            changes.walk(mask, fold, &mut { out }, step, push, Fold::clear)
        }
        match (self, values, trace) {
            (Accumulator::Count(counts), _, Trace::Count(out)) => count(counts, changes, mask, out),
            (Accumulator::Int(f), Values::Int(v), Trace::Int(out, valid)) => fold(f, v, changes, mask, (out, valid)),
            (Accumulator::Float(f), Values::Float(v), Trace::Float(out, valid)) => {
                fold(f, v, changes, mask, (out, valid))
            }
            (Accumulator::Decimal(f), Values::Decimal(v), Trace::Decimal(out, valid)) => {
                fold(f, v, changes, mask, (out, valid))
            }
            (Accumulator::Counted { counts, sum, .. }, values, Trace::Counted { counts: out, sum: sums, .. }) => {
                count(counts, changes, mask, out)?;
                sum.follow_with(values, changes, mask, sums)
            }
            (Accumulator::Ordered(ordered), values, Trace::Ordered(out)) => {
                let step = |o: &mut Ordered, group: usize, row: usize, add: bool| {
                    o.add(group, values.bytes(row), if add { 1 } else { -1 });
                    Ok(())
                };
                let push = |o: &mut Ordered, group: usize, out: &mut BinaryBuilder| {
                    out.append_option(o.best(group));
                    Ok(())
                };
                changes.walk(mask, ordered, out, step, push, Ordered::clear)
            }
            (Accumulator::Listed(listed), values, out) => {
                let step = |l: &mut Listed, group: usize, row: usize, add: bool| {
                    if add {
                        return l.add(group, values.bytes(row));
                    }
                    l.remove(group, values.bytes(row));
                    Ok(())
                };
                changes.walk(mask, listed, out, step, |l, group, out| l.push(group, out), Listed::clear)
            }
            (Accumulator::Multiset(multiset), values, out) => {
                let step = |m: &mut Multiset, group: usize, row: usize, add: bool| {
                    m.add(group, values.bytes(row), if add { 1 } else { -1 });
                    Ok(())
                };
                changes.walk(mask, multiset, out, step, |m, group, out| m.push(group, out), Multiset::clear)
            }
            _ => Err(Error::internal("values of another aggregate")),
        }
    }

    /// Takes group `groups[i]` of another accumulator of the same aggregate into group `to[i]`.
    pub fn merge(&mut self, to: &[u32], from: &Accumulator, groups: &[u32]) -> Result<()> {
        let add = |into: &mut [i64], from: &[i64]| {
            to.iter().zip(groups).for_each(|(to, group)| into[*to as usize] += from[*group as usize]);
        };
        match (self, from) {
            (Accumulator::Count(counts), Accumulator::Count(from)) => add(counts, from),
            (Accumulator::Int(fold), Accumulator::Int(from)) => fold.merge(to, from, groups),
            (Accumulator::Float(fold), Accumulator::Float(from)) => fold.merge(to, from, groups),
            (Accumulator::Decimal(fold), Accumulator::Decimal(from)) => fold.merge(to, from, groups),
            (Accumulator::Bytes(extremes), Accumulator::Bytes(from)) => extremes.merge(to, from, groups),
            (
                Accumulator::Counted { counts, sum, .. },
                Accumulator::Counted { counts: from_counts, sum: from_sum, .. },
            ) => {
                add(counts, from_counts);
                sum.merge(to, from_sum, groups)?;
            }
            (Accumulator::Ordered(ordered), Accumulator::Ordered(from)) => ordered.merge(to, from, groups),
            (Accumulator::Listed(listed), Accumulator::Listed(from)) => listed.merge(to, from, groups)?,
            (Accumulator::Multiset(multiset), Accumulator::Multiset(from)) => multiset.merge(to, from, groups),
            _ => return Err(Error::internal("accumulators of different aggregates cannot be merged")),
        }
        Ok(())
    }

    /// Keeps only these groups (ascending), renumbered from 0.
    pub fn keep(&mut self, groups: &[u32]) {
        let keep = |counts: &mut Vec<i64>| *counts = groups.iter().map(|g| counts[*g as usize]).collect();
        match self {
            Accumulator::Count(counts) => keep(counts),
            Accumulator::Int(fold) => fold.keep(groups),
            Accumulator::Float(fold) => fold.keep(groups),
            Accumulator::Decimal(fold) => fold.keep(groups),
            Accumulator::Bytes(extremes) => extremes.keep(groups),
            Accumulator::Counted { counts, sum, .. } => {
                keep(counts);
                sum.keep(groups);
            }
            Accumulator::Ordered(ordered) => ordered.keep(groups),
            Accumulator::Listed(listed) => listed.keep(groups),
            Accumulator::Multiset(multiset) => multiset.keep(groups),
        }
    }

    /// Forgets what a group has seen.
    pub fn clear(&mut self, group: usize) {
        match self {
            Accumulator::Count(counts) => counts[group] = 0,
            Accumulator::Int(fold) => fold.clear(group),
            Accumulator::Float(fold) => fold.clear(group),
            Accumulator::Decimal(fold) => fold.clear(group),
            Accumulator::Bytes(extremes) => extremes.clear(group),
            Accumulator::Counted { counts, sum, .. } => {
                counts[group] = 0;
                sum.clear(group);
            }
            Accumulator::Ordered(ordered) => ordered.clear(group),
            Accumulator::Listed(listed) => listed.clear(group),
            Accumulator::Multiset(multiset) => multiset.clear(group),
        }
    }

    /// Appends a group's stored form.
    pub fn write(&self, group: usize, out: &mut Vec<u8>) {
        match self {
            Accumulator::Count(counts) => counts[group].write(out),
            Accumulator::Int(fold) => fold.write(group, out),
            Accumulator::Float(fold) => fold.write(group, out),
            Accumulator::Decimal(fold) => fold.write(group, out),
            Accumulator::Bytes(extremes) => extremes.write(group, out),
            Accumulator::Counted { counts, sum, .. } => {
                counts[group].write(out);
                sum.write(group, out);
            }
            Accumulator::Ordered(ordered) => ordered.write(group, out),
            Accumulator::Listed(listed) => listed.write(group, out),
            Accumulator::Multiset(multiset) => multiset.write(group, out),
        }
    }

    /// Replaces a group by its stored form.
    pub fn read(&mut self, group: usize, input: &mut Stored<'_>) -> Result<()> {
        match self {
            Accumulator::Count(counts) => counts[group] = i64::read(input)?,
            Accumulator::Int(fold) => fold.read(group, input)?,
            Accumulator::Float(fold) => fold.read(group, input)?,
            Accumulator::Decimal(fold) => fold.read(group, input)?,
            Accumulator::Bytes(extremes) => extremes.read(group, input)?,
            Accumulator::Counted { counts, sum, .. } => {
                counts[group] = i64::read(input)?;
                sum.read(group, input)?;
            }
            Accumulator::Ordered(ordered) => ordered.read(group, input)?,
            Accumulator::Listed(listed) => listed.read(group, input)?,
            Accumulator::Multiset(multiset) => multiset.read(group, input)?,
        }
        Ok(())
    }

    fn trace(&self) -> Trace {
        match self {
            Accumulator::Count(_) => Trace::Count(Vec::new()),
            Accumulator::Int(_) => Trace::Int(Vec::new(), Vec::new()),
            Accumulator::Float(_) => Trace::Float(Vec::new(), Vec::new()),
            Accumulator::Decimal(_) => Trace::Decimal(Vec::new(), Vec::new()),
            Accumulator::Bytes(_) => Trace::Bytes(BinaryBuilder::new()),
            Accumulator::Counted { sum, average, .. } => {
                Trace::Counted { counts: Vec::new(), sum: Box::new(sum.trace()), average: *average }
            }
            Accumulator::Ordered(_) => Trace::Ordered(BinaryBuilder::new()),
            Accumulator::Listed(listed) => listed.trace(),
            Accumulator::Multiset(multiset) => multiset.trace(),
        }
    }

    /// The results of these groups.
    pub fn results(&self, groups: impl Iterator<Item = usize> + Clone) -> Result<Trace> {
        let mut trace = self.trace();
        self.push_all(groups, &mut trace)?;
        Ok(trace)
    }

    fn push_all(&self, groups: impl Iterator<Item = usize> + Clone, trace: &mut Trace) -> Result<()> {
        match (self, trace) {
            (Accumulator::Count(counts), Trace::Count(out)) => out.extend(groups.map(|g| counts[g])),
            (Accumulator::Int(fold), Trace::Int(out, valid)) => groups.for_each(|g| fold.push(g, out, valid)),
            (Accumulator::Float(fold), Trace::Float(out, valid)) => groups.for_each(|g| fold.push(g, out, valid)),
            (Accumulator::Decimal(fold), Trace::Decimal(out, valid)) => groups.for_each(|g| fold.push(g, out, valid)),
            (Accumulator::Bytes(extremes), Trace::Bytes(out)) => {
                groups.for_each(|g| out.append_option(extremes.get(g)));
            }
            (Accumulator::Counted { counts, sum, .. }, Trace::Counted { counts: out, sum: sums, .. }) => {
                out.extend(groups.clone().map(|g| counts[g]));
                sum.push_all(groups, sums)?;
            }
            (Accumulator::Ordered(ordered), Trace::Ordered(out)) => {
                groups.for_each(|g| out.append_option(ordered.best(g)));
            }
            (Accumulator::Listed(listed), out) => groups.into_iter().try_for_each(|g| listed.push(g, out))?,
            (Accumulator::Multiset(multiset), out) => groups.into_iter().try_for_each(|g| multiset.push(g, out))?,
            _ => return Err(Error::internal("a trace of another aggregate")),
        }
        Ok(())
    }
}

fn count(counts: &mut Vec<i64>, changes: &Changes<'_>, mask: Option<&BooleanBuffer>, out: &mut Vec<i64>) -> Result<()> {
    let step = |counts: &mut Vec<i64>, group: usize, _, add: bool| {
        counts[group] += if add { 1 } else { -1 };
        Ok(())
    };
    let push = |counts: &mut Vec<i64>, group: usize, out: &mut Vec<i64>| {
        out.push(counts[group]);
        Ok(())
    };
    changes.walk(mask, counts, out, step, push, |counts, group| counts[group] = 0)
}

pub(super) fn to_f64(array: &ArrayRef) -> Result<ScalarBuffer<f64>> {
    match array.data_type() {
        DataType::Float64 => Ok(array.as_primitive::<Float64Type>().values().clone()),
        DataType::Float32 => Ok(array.as_primitive::<Float32Type>().values().iter().map(|v| f64::from(*v)).collect()),
        other => Err(Error::internal(format!("a column of {other} is not floating point"))),
    }
}

#[cfg(test)]
#[path = "accumulator_tests.rs"]
mod tests;
