//! Results of an aggregate on their way to a column: of several groups, or of one group after each of its rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, Decimal128Array, Float32Array, Float64Array, Int32Array, ListArray, MapArray,
    StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

use super::ordered::from_ordered;
use crate::error::{Error, Result};
use crate::state::integers;
use crate::state::key_codec::KeyCodec;

/// One result per position.
pub enum Trace {
    Count(Vec<i64>),
    Int(Vec<i64>, Vec<bool>),
    Float(Vec<f64>, Vec<bool>),
    Decimal(Vec<i128>, Vec<bool>),
    /// Bytes or text.
    Bytes(BinaryBuilder),
    /// Bytes that sort as the values do.
    Ordered(BinaryBuilder),
    /// `AVG`, or a `SUM` that is null once its count is 0.
    Counted {
        counts: Vec<i64>,
        sum: Box<Trace>,
        average: bool,
    },
    /// Values as [`KeyCodec`] encodes them, with their null byte.
    Encoded(Encoded),
    /// Arrays: how many elements each has (`None` = null), and these.
    Lists {
        lengths: Vec<Option<usize>>,
        items: Encoded,
    },
    /// Multisets: how many entries each has, these, and how often each is in.
    Multisets {
        lengths: Vec<usize>,
        items: Encoded,
        counts: Vec<i32>,
    },
}

/// Encoded values of one type.
pub struct Encoded {
    pub codec: KeyCodec,
    pub data: Vec<u8>,
    pub ends: Vec<usize>,
}

impl Encoded {
    /// No values.
    pub fn new(codec: &KeyCodec) -> Self {
        Encoded { codec: codec.clone(), data: Vec::new(), ends: Vec::new() }
    }
    /// Adds a value; `None` = null.
    pub fn push(&mut self, value: Option<&[u8]>) {
        self.data.extend_from_slice(value.unwrap_or(&[0]));
        self.ends.push(self.data.len());
    }
    fn decode(&self) -> Result<ArrayRef> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let keys: Vec<&[u8]> = starts.zip(&self.ends).map(|(start, end)| &self.data[start..*end]).collect();
        self.codec.decode(&keys)?.pop().ok_or_else(|| Error::internal("the codec has one column"))
    }
}

impl Trace {
    /// The column. `argument` is the type of the argument, for the scale of a decimal.
    pub fn finish(self, argument: Option<&DataType>, result: &DataType) -> Result<ArrayRef> {
        match self {
            Trace::Count(counts) => integers::from_i64(counts, None, result),
            Trace::Int(values, valid) => integers::from_i64(values, Some(valid.into()), result),
            Trace::Float(values, valid) => from_f64(values, valid.into(), result),
            Trace::Decimal(values, valid) => {
                from_i128(values.into_iter().zip(valid).map(|(v, valid)| valid.then_some(v)), result)
            }
            Trace::Bytes(mut builder) => from_bytes(builder.finish(), result),
            Trace::Ordered(mut builder) => {
                let values = builder.finish();
                from_ordered(&values.iter().collect::<Vec<_>>(), result)
            }
            Trace::Counted { counts, sum, average: true } => average(&counts, *sum, argument, result),
            Trace::Counted { counts, sum, average: false } => counted(&counts, *sum).finish(argument, result),
            Trace::Encoded(values) => values.decode(),
            Trace::Lists { lengths, items } => {
                let DataType::List(item) = result else {
                    return Err(Error::internal(format!("an array cannot result in {result}")));
                };
                let nulls = lengths.contains(&None).then(|| lengths.iter().map(Option::is_some).collect());
                let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|l| l.unwrap_or(0)));
                Ok(Arc::new(ListArray::try_new(item.clone(), offsets, items.decode()?, nulls)?))
            }
            Trace::Multisets { lengths, items, counts } => {
                let DataType::Map(entries, sorted) = result else {
                    return Err(Error::internal(format!("a multiset cannot result in {result}")));
                };
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(Error::internal("a multiset's entries are rows"));
                };
                let columns: Vec<ArrayRef> = vec![items.decode()?, Arc::new(Int32Array::from(counts))];
                let rows = StructArray::try_new(fields.clone(), columns, None)?;
                let offsets = OffsetBuffer::from_lengths(lengths);
                Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, rows, None, *sorted)?))
            }
        }
    }
}

/// A sum that is null where nothing is counted.
fn counted(counts: &[i64], sum: Trace) -> Trace {
    let hide = |mut valid: Vec<bool>| {
        valid.iter_mut().zip(counts).for_each(|(valid, count)| *valid &= *count != 0);
        valid
    };
    match sum {
        Trace::Int(values, valid) => Trace::Int(values, hide(valid)),
        Trace::Float(values, valid) => Trace::Float(values, hide(valid)),
        Trace::Decimal(values, valid) => Trace::Decimal(values, hide(valid)),
        other => other,
    }
}

fn average(counts: &[i64], sum: Trace, argument: Option<&DataType>, result: &DataType) -> Result<ArrayRef> {
    match counted(counts, sum) {
        Trace::Int(sums, valid) => {
            let values = sums.iter().zip(counts).map(|(s, n)| s.checked_div(*n).unwrap_or(0)).collect();
            integers::from_i64(values, Some(valid.into()), result)
        }
        Trace::Float(sums, valid) => {
            #[expect(clippy::cast_precision_loss, reason = "Java's long to double conversion")]
            let values = sums.iter().zip(counts).map(|(s, n)| s / *n as f64).collect();
            from_f64(values, valid.into(), result)
        }
        Trace::Decimal(sums, valid) => {
            let (Some(DataType::Decimal128(_, from)), DataType::Decimal128(_, to)) = (argument, result) else {
                return Err(Error::internal("the average of decimals is a decimal"));
            };
            let shift = i32::from(*to) - i32::from(*from);
            let values = sums
                .iter()
                .zip(valid)
                .zip(counts)
                .map(|((sum, valid), n)| if valid { divide_half_up(*sum, i128::from(*n), shift) } else { None });
            from_i128(values, result)
        }
        _ => Err(Error::internal("an average needs a numeric sum")),
    }
}

/// `sum * 10^shift / count`, rounded half away from zero; `None` where it does not fit.
pub(super) fn divide_half_up(sum: i128, count: i128, shift: i32) -> Option<i128> {
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

pub(super) fn from_f64(values: Vec<f64>, nulls: NullBuffer, result: &DataType) -> Result<ArrayRef> {
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
pub(super) fn from_i128(values: impl Iterator<Item = Option<i128>>, result: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = result else {
        return Err(Error::internal(format!("a decimal aggregate cannot result in {result}")));
    };
    let limit = 10u128.pow(u32::from(*precision).min(38));
    let array: Decimal128Array = values.map(|v| v.filter(|v| v.unsigned_abs() < limit)).collect();
    Ok(Arc::new(array.with_precision_and_scale(*precision, *scale)?))
}

fn from_bytes(values: BinaryArray, result: &DataType) -> Result<ArrayRef> {
    match result {
        DataType::Binary => Ok(Arc::new(values)),
        DataType::Utf8 => Ok(Arc::new(StringArray::try_from_binary(values)?)),
        other => Err(Error::internal(format!("an aggregate of bytes cannot result in {other}"))),
    }
}
