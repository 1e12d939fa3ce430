//! Arrow arrays seen as columns of Flink's types: what all encoders read from.
//!
//! Arrays are downcast once per batch; a cell is then reached by a match, without dynamic dispatch.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes as arrow_types;
use arrow::record_batch::RecordBatch;
use base64::Engine;

use super::number;
use super::temporal::{self, Seconds};
use crate::error::{Error, Result};
use crate::types::{DataType, Schema, TypeKind};

/// One column.
pub struct Cells<'a> {
    nulls: Option<&'a NullBuffer>,
    pub values: Values<'a>,
}

/// The values of a column, by what they mean.
pub enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    TinyInt(&'a [i8]),
    SmallInt(&'a [i16]),
    /// `INT` and `INTERVAL YEAR TO MONTH`.
    Int(&'a [i32]),
    /// `BIGINT` and `INTERVAL DAY TO SECOND`.
    BigInt(&'a [i64]),
    Float(&'a [f32]),
    Double(&'a [f64]),
    Decimal {
        unscaled: &'a [i128],
        scale: u8,
    },
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Date(&'a [i32]),
    /// In ms of the day.
    Time(&'a [i32]),
    Timestamp {
        values: &'a [i64],
        per_second: i64,
        instant: bool,
    },
    Row {
        names: Vec<&'a str>,
        members: Vec<Cells<'a>>,
    },
    Array {
        ends: &'a [i32],
        items: Box<Cells<'a>>,
    },
    Map {
        ends: &'a [i32],
        keys: Box<Cells<'a>>,
        values: Box<Cells<'a>>,
    },
}

/// The columns of `batch`, which has the layout of `schema`.
pub fn columns<'a>(batch: &'a RecordBatch, schema: &'a Schema) -> Result<Vec<Cells<'a>>> {
    if batch.num_columns() != schema.fields.len() {
        return Err(Error::internal(format!(
            "a batch of {} columns for a table of {}",
            batch.num_columns(),
            schema.fields.len()
        )));
    }
    batch.columns().iter().zip(&schema.fields).map(|(a, f)| Cells::new(a, &f.data_type)).collect()
}

impl<'a> Cells<'a> {
    /// Looks at `array`, which has the layout of `data_type`.
    pub fn new(array: &'a ArrayRef, data_type: &'a DataType) -> Result<Self> {
        let kind = &data_type.kind;
        if array.data_type() != &kind.to_arrow() && !array.data_type().is_nested() {
            let found = array.data_type();
            return Err(Error::internal(format!("a column of type {kind} has the layout {found}")));
        }
        let ints = || array.as_primitive_opt::<arrow_types::Int32Type>().map(|a| &a.values()[..]);
        let values = match kind {
            TypeKind::Null => Some(Values::Null),
            TypeKind::Boolean => array.as_boolean_opt().map(Values::Boolean),
            TypeKind::TinyInt => array.as_primitive_opt::<arrow_types::Int8Type>().map(|a| Values::TinyInt(a.values())),
            TypeKind::SmallInt => {
                array.as_primitive_opt::<arrow_types::Int16Type>().map(|a| Values::SmallInt(a.values()))
            }
            TypeKind::Int => ints().map(Values::Int),
            TypeKind::BigInt => array.as_primitive_opt::<arrow_types::Int64Type>().map(|a| Values::BigInt(a.values())),
            TypeKind::Float => array.as_primitive_opt::<arrow_types::Float32Type>().map(|a| Values::Float(a.values())),
            TypeKind::Double => {
                array.as_primitive_opt::<arrow_types::Float64Type>().map(|a| Values::Double(a.values()))
            }
            TypeKind::Decimal { scale, .. } => array
                .as_primitive_opt::<arrow_types::Decimal128Type>()
                .map(|a| Values::Decimal { unscaled: a.values(), scale: *scale }),
            TypeKind::Char(_) | TypeKind::VarChar(_) => array.as_string_opt::<i32>().map(Values::Text),
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => array.as_binary_opt::<i32>().map(Values::Binary),
            TypeKind::Date => array.as_primitive_opt::<arrow_types::Date32Type>().map(|a| Values::Date(a.values())),
            TypeKind::Time(_) => {
                array.as_primitive_opt::<arrow_types::Time32MillisecondType>().map(|a| Values::Time(a.values()))
            }
            TypeKind::Timestamp(p, _) => timestamps(array, *p, false),
            TypeKind::TimestampLtz(p, _) => timestamps(array, *p, true),
            TypeKind::IntervalYearMonth => {
                array.as_primitive_opt::<arrow_types::IntervalYearMonthType>().map(|a| Values::Int(a.values()))
            }
            TypeKind::IntervalDayTime => {
                array.as_primitive_opt::<arrow_types::DurationMillisecondType>().map(|a| Values::BigInt(a.values()))
            }
            TypeKind::Array(item) => match array.as_list_opt::<i32>() {
                Some(a) => {
                    let items = Box::new(Cells::new(a.values(), item)?);
                    Some(Values::Array { ends: a.value_offsets(), items })
                }
                None => None,
            },
            TypeKind::Map(key, value) => map(array, key, value)?,
            TypeKind::Multiset(item) => map(array, item, &COUNT)?,
            TypeKind::Row(fields) => match array.as_struct_opt() {
                Some(a) if a.num_columns() == fields.len() => {
                    let members = a.columns().iter().zip(fields).map(|(m, f)| Cells::new(m, &f.data_type));
                    let members = members.collect::<Result<_>>()?;
                    Some(Values::Row { names: fields.iter().map(|f| f.name.as_str()).collect(), members })
                }
                _ => None,
            },
        };
        let values = values
            .ok_or_else(|| Error::internal(format!("a column of type {kind} has the layout {}", array.data_type())))?;
        Ok(Cells { nulls: array.nulls(), values })
    }

    /// Whether the cell is null.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null) || self.nulls.is_some_and(|n| n.is_null(row))
    }
}

/// The count in a multiset's map.
static COUNT: DataType = DataType { kind: TypeKind::Int, nullable: false };

fn timestamps(array: &ArrayRef, precision: u8, instant: bool) -> Option<Values<'_>> {
    let per_second = temporal::units_per_second(precision);
    let values: &[i64] = match per_second {
        1000 => array.as_primitive_opt::<arrow_types::TimestampMillisecondType>()?.values(),
        1_000_000 => array.as_primitive_opt::<arrow_types::TimestampMicrosecondType>()?.values(),
        _ => array.as_primitive_opt::<arrow_types::TimestampNanosecondType>()?.values(),
    };
    Some(Values::Timestamp { values, per_second, instant })
}

fn map<'a>(array: &'a ArrayRef, key: &'a DataType, value: &'a DataType) -> Result<Option<Values<'a>>> {
    let Some(a) = array.as_map_opt() else { return Ok(None) };
    let (keys, values) = (Box::new(Cells::new(a.keys(), key)?), Box::new(Cells::new(a.values(), value)?));
    Ok(Some(Values::Map { ends: a.value_offsets(), keys, values }))
}

/// The elements of list or map `row`.
#[inline]
pub fn elements(ends: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |i: usize| ends.get(i).map_or(0, |e| usize::try_from(*e).unwrap_or(0));
    at(row)..at(row + 1)
}

/// How scalar values are written.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Between date and time.
    pub separator: u8,
    pub seconds: Seconds,
    /// `TIME` without its milliseconds, as Flink's formats write it.
    pub whole_seconds: bool,
    /// Decimals never with an exponent.
    pub plain_decimals: bool,
}

/// Java's `toString`, with which `print` and the query API write values.
pub const JAVA: Style =
    Style { separator: b'T', seconds: Seconds::ToString, whole_seconds: false, plain_decimals: false };

impl Style {
    /// Writes a scalar that is not null, without quotes; nothing for rows, arrays and maps.
    #[inline]
    pub fn push(&self, out: &mut Vec<u8>, values: &Values<'_>, row: usize) {
        match values {
            Values::TinyInt(v) => number::push_i64(out, i64::from(v[row])),
            Values::SmallInt(v) => number::push_i64(out, i64::from(v[row])),
            Values::Int(v) => number::push_i64(out, i64::from(v[row])),
            Values::BigInt(v) => number::push_i64(out, v[row]),
            Values::Text(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Values::Timestamp { values, per_second, instant } => {
                // An instant always has seconds in Java, a local timestamp not.
                let seconds = if *instant && self.seconds == Seconds::ToString { None } else { Some(self.seconds) };
                push_timestamp(out, values[row], *per_second, self.separator, seconds);
                if *instant {
                    out.push(b'Z');
                }
            }
            Values::Boolean(a) => out.extend_from_slice(if a.value(row) { b"true" } else { b"false" }),
            Values::Float(v) => number::push_float(out, v[row]),
            Values::Double(v) => number::push_double(out, v[row]),
            Values::Decimal { unscaled, scale } if self.plain_decimals => {
                number::push_decimal_plain(out, unscaled[row], *scale);
            }
            Values::Decimal { unscaled, scale } => number::push_decimal(out, unscaled[row], *scale),
            Values::Binary(a) => push_base64(out, a.value(row)),
            Values::Date(v) => temporal::push_date(out, i64::from(v[row])),
            Values::Time(v) => {
                let ms = u64::from(v[row].unsigned_abs());
                let nanos = if self.whole_seconds { 0 } else { ms % 1000 * 1_000_000 };
                temporal::push_time(out, ms / 1000, nanos, self.seconds);
            }
            Values::Null | Values::Row { .. } | Values::Array { .. } | Values::Map { .. } => {}
        }
    }
}

/// `seconds: None` is Java's `Instant.toString`: seconds always, a fraction of 3, 6 or 9 digits.
fn push_timestamp(out: &mut Vec<u8>, value: i64, per_second: i64, separator: u8, seconds: Option<Seconds>) {
    let whole_minute = value.rem_euclid(60 * per_second) == 0;
    temporal::push_timestamp(out, value, per_second, separator, seconds.unwrap_or(Seconds::ToString));
    if seconds.is_none() && whole_minute {
        out.extend_from_slice(b":00");
    }
}

/// Writes bytes as base64.
pub fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes());
}
