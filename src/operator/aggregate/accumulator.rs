//! The typed accumulators: one column per aggregate, one position per group.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, Float32Array, Float64Array, StringArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};

use super::Stored;
use super::fold::{ByteExtremes, Fold, FoldOp, Number, for_selected};
use crate::error::{Error, Result};
use crate::graph::AggregateFunction;
use crate::state::integers;

/// State of an aggregate function over all groups.
pub enum Accumulator {
    Count(Vec<i64>),
    Int(Fold<i64>),
    Float(Fold<f64>),
    Decimal(Fold<i128>),
    Bytes(ByteExtremes),
    /// `AVG`: rows, and their sum (one of the numeric accumulators).
    Average {
        counts: Vec<i64>,
        sum: Box<Accumulator>,
    },
}

impl Accumulator {
    /// An accumulator over arguments of the given Arrow type; refuses what Flink has no such aggregate for
    /// (`unsupported_aggregate`).
    pub fn new(function: AggregateFunction, argument: Option<&DataType>) -> Result<Self> {
        use AggregateFunction as F;
        let Some(argument) = argument else {
            return match function {
                F::CountStar | F::Count => Ok(Accumulator::Count(Vec::new())),
                _ => Err(Error::internal("an aggregate other than COUNT(*) needs an argument")),
            };
        };
        let op = match function {
            F::CountStar | F::Count => return Ok(Accumulator::Count(Vec::new())),
            F::Avg => {
                let sum = match argument {
                    // AVG of FLOAT sums in double precision, unlike SUM.
                    DataType::Float32 | DataType::Float64 => Accumulator::Float(Fold::new(FoldOp::Sum)),
                    _ => Accumulator::new(F::Sum, Some(argument))?,
                };
                return Ok(Accumulator::Average { counts: Vec::new(), sum: Box::new(sum) });
            }
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

    /// Makes room for `groups` groups; new ones have seen no rows.
    pub fn resize(&mut self, groups: usize) {
        match self {
            Accumulator::Count(counts) => counts.resize(groups, 0),
            Accumulator::Int(fold) => fold.resize(groups),
            Accumulator::Float(fold) => fold.resize(groups),
            Accumulator::Decimal(fold) => fold.resize(groups),
            Accumulator::Bytes(extremes) => extremes.resize(groups),
            Accumulator::Average { counts, sum } => {
                counts.resize(groups, 0);
                sum.resize(groups);
            }
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
            Accumulator::Average { counts, sum } => 8 * counts.capacity() + sum.bytes(),
        }
    }

    /// Takes row `i` into group `groups[i]`, for the rows that `mask` selects; none of these is null.
    pub fn update(&mut self, argument: Option<&ArrayRef>, groups: &[u32], mask: Option<&BooleanBuffer>) -> Result<()> {
        if let Accumulator::Count(counts) = self {
            for_selected(groups.len(), mask, |row| counts[groups[row] as usize] += 1);
            return Ok(());
        }
        let values = argument.ok_or_else(|| Error::internal("the aggregate needs an argument"))?;
        match self {
            Accumulator::Count(_) => {}
            Accumulator::Int(fold) => fold.update(&integers::to_i64(values)?, groups, mask),
            Accumulator::Float(fold) => fold.update(&to_f64(values)?, groups, mask),
            Accumulator::Decimal(fold) => {
                let values = values.as_primitive_opt::<Decimal128Type>();
                let values = values.ok_or_else(|| Error::internal("the argument is not a decimal"))?;
                fold.update(values.values(), groups, mask);
            }
            Accumulator::Bytes(extremes) => extremes.update(values, groups, mask)?,
            Accumulator::Average { counts, sum } => {
                for_selected(groups.len(), mask, |row| counts[groups[row] as usize] += 1);
                sum.update(argument, groups, mask)?;
            }
        }
        Ok(())
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
            (Accumulator::Average { counts, sum }, Accumulator::Average { counts: from_counts, sum: from_sum }) => {
                add(counts, from_counts);
                sum.merge(to, from_sum, groups)?;
            }
            _ => return Err(Error::internal("accumulators of different aggregates cannot be merged")),
        }
        Ok(())
    }

    /// Appends a group's stored form.
    pub fn write(&self, group: usize, out: &mut Vec<u8>) {
        match self {
            Accumulator::Count(counts) => counts[group].write(out),
            Accumulator::Int(fold) => fold.write(group, out),
            Accumulator::Float(fold) => fold.write(group, out),
            Accumulator::Decimal(fold) => fold.write(group, out),
            Accumulator::Bytes(extremes) => extremes.write(group, out),
            Accumulator::Average { counts, sum } => {
                counts[group].write(out);
                sum.write(group, out);
            }
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
            Accumulator::Average { counts, sum } => {
                counts[group] = i64::read(input)?;
                sum.read(group, input)?;
            }
        }
        Ok(())
    }

    /// The results of a range of groups. `argument` is the type of the argument, for the scale of a decimal.
    pub fn finish(&self, groups: Range<usize>, argument: Option<&DataType>, result: &DataType) -> Result<ArrayRef> {
        match self {
            Accumulator::Count(counts) => integers::from_i64(counts[groups].to_vec(), None, result),
            Accumulator::Int(fold) => {
                let (values, valid) = fold.slice(groups);
                integers::from_i64(values.to_vec(), Some(valid.collect()), result)
            }
            Accumulator::Float(fold) => {
                let (values, valid) = fold.slice(groups);
                from_f64(values.to_vec(), valid.collect(), result)
            }
            Accumulator::Decimal(fold) => {
                let (values, valid) = fold.slice(groups);
                from_i128(values.iter().copied().zip(valid).map(|(v, valid)| valid.then_some(v)), result)
            }
            Accumulator::Bytes(extremes) => from_bytes(extremes.slice(groups), result),
            Accumulator::Average { counts, sum } => average(&counts[groups.clone()], sum, groups, argument, result),
        }
    }
}

fn average(
    counts: &[i64],
    sum: &Accumulator,
    groups: Range<usize>,
    argument: Option<&DataType>,
    result: &DataType,
) -> Result<ArrayRef> {
    match sum {
        Accumulator::Int(fold) => {
            let (sums, valid) = fold.slice(groups);
            let values = sums.iter().zip(counts).map(|(s, n)| s.checked_div(*n).unwrap_or(0)).collect();
            integers::from_i64(values, Some(valid.collect()), result)
        }
        Accumulator::Float(fold) => {
            let (sums, valid) = fold.slice(groups);
            #[expect(clippy::cast_precision_loss, reason = "Java's long to double conversion")]
            let values = sums.iter().zip(counts).map(|(s, n)| s / *n as f64).collect();
            from_f64(values, valid.collect(), result)
        }
        Accumulator::Decimal(fold) => {
            let (Some(DataType::Decimal128(_, from)), DataType::Decimal128(_, to)) = (argument, result) else {
                return Err(Error::internal("the average of decimals is a decimal"));
            };
            let shift = i32::from(*to) - i32::from(*from);
            let values = groups.zip(counts).map(|(g, n)| divide_half_up(fold.get(g)?, i128::from(*n), shift));
            from_i128(values, result)
        }
        _ => Err(Error::internal("an average needs a numeric sum")),
    }
}

/// `sum * 10^shift / count`, rounded half away from zero; `None` where it does not fit.
fn divide_half_up(sum: i128, count: i128, shift: i32) -> Option<i128> {
    let power = 10i128.checked_pow(shift.unsigned_abs())?;
    let round = |dividend: i128, divisor: i128| {
        let (quotient, remainder) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
        let up = remainder.unsigned_abs() >= divisor.unsigned_abs() - remainder.unsigned_abs();
        Some(if up { quotient + dividend.signum() } else { quotient })
    };
    if shift < 0 {
        return round(sum, count.checked_mul(power)?);
    }
    // The quotient first: `sum * power` may not fit although the result does.
    let whole = sum.checked_div(count)?.checked_mul(power)?;
    whole.checked_add(round(sum.checked_rem(count)?.checked_mul(power)?, count)?)
}

fn to_f64(array: &ArrayRef) -> Result<ScalarBuffer<f64>> {
    match array.data_type() {
        DataType::Float64 => Ok(array.as_primitive::<Float64Type>().values().clone()),
        DataType::Float32 => Ok(array.as_primitive::<Float32Type>().values().iter().map(|v| f64::from(*v)).collect()),
        other => Err(Error::internal(format!("a column of {other} is not floating point"))),
    }
}

fn from_f64(values: Vec<f64>, nulls: NullBuffer, result: &DataType) -> Result<ArrayRef> {
    match result {
        DataType::Float64 => Ok(Arc::new(Float64Array::new(values.into(), Some(nulls)))),
        #[expect(clippy::cast_possible_truncation, reason = "FLOAT results are rounded")]
        DataType::Float32 => {
            Ok(Arc::new(Float32Array::new(values.into_iter().map(|v| v as f32).collect(), Some(nulls))))
        }
        other => Err(Error::internal(format!("a floating point aggregate cannot result in {other}"))),
    }
}

/// Null where a value does not fit the precision.
fn from_i128(values: impl Iterator<Item = Option<i128>>, result: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = result else {
        return Err(Error::internal(format!("a decimal aggregate cannot result in {result}")));
    };
    let limit = 10u128.pow(u32::from(*precision).min(38));
    let array: Decimal128Array = values.map(|v| v.filter(|v| v.unsigned_abs() < limit)).collect();
    Ok(Arc::new(array.with_precision_and_scale(*precision, *scale)?))
}

fn from_bytes<'v>(values: impl Iterator<Item = Option<&'v [u8]>>, result: &DataType) -> Result<ArrayRef> {
    let mut builder = BinaryBuilder::new();
    values.for_each(|v| builder.append_option(v));
    let binary = builder.finish();
    match result {
        DataType::Binary => Ok(Arc::new(binary)),
        DataType::Utf8 => Ok(Arc::new(StringArray::try_from_binary(binary)?)),
        other => Err(Error::internal(format!("MIN or MAX of bytes cannot result in {other}"))),
    }
}

#[cfg(test)]
#[path = "accumulator_tests.rs"]
mod tests;
