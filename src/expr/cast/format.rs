//! Casts to text and to bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, StringBuilder};
use arrow::datatypes::{
    DataType as ArrowType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalYearMonthType, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use chrono_tz::Tz;

use super::{ArrayKernel, Setting, temporal};
use crate::error::{Error, Result};
use crate::expr::text;
use crate::types::{DataType, MAX_LENGTH, TypeKind, timestamp_unit};

/// Appends the text of row `i`, which is not null.
type Writer<'a> = Box<dyn Fn(usize, &mut String) + 'a>;

/// How a text is fitted into `CHAR(n)` or `VARCHAR(n)`: cut to n characters, `CHAR` padded with blanks.
#[derive(Clone, Copy)]
struct Fit {
    length: usize,
    pad: bool,
}

impl Fit {
    fn of(to: &TypeKind) -> Option<Self> {
        match to {
            TypeKind::Char(n) => Some(Fit { length: usize::try_from(*n).ok()?, pad: true }),
            TypeKind::VarChar(n) if *n != MAX_LENGTH => Some(Fit { length: usize::try_from(*n).ok()?, pad: false }),
            _ => None,
        }
    }
    fn apply(self, text: &mut String) {
        match text.char_indices().nth(self.length) {
            Some((end, _)) => text.truncate(end),
            None if self.pad => {
                let missing = self.length - text.chars().count();
                text.extend(std::iter::repeat_n(' ', missing));
            }
            None => {}
        }
    }
}

/// Text to text; `None` if every value fits already.
pub(super) fn resize_string(from: &TypeKind, to: &TypeKind) -> Option<ArrayKernel> {
    let fit = Fit::of(to)?;
    match (from, to) {
        (TypeKind::Char(m) | TypeKind::VarChar(m), TypeKind::VarChar(n)) if m <= n => return None,
        (TypeKind::Char(m), TypeKind::Char(n)) if m == n => return None,
        _ => {}
    }
    Some(Box::new(move |array| {
        let array = array.as_string_opt::<i32>().ok_or_else(|| Error::internal("expected text"))?;
        let mut builder = StringBuilder::with_capacity(array.len(), array.value_data().len());
        let mut buffer = String::new();
        for text in array {
            builder.append_option(text.map(|t| {
                buffer.clear();
                buffer.push_str(t);
                fit.apply(&mut buffer);
                buffer.as_str()
            }));
        }
        Ok(Arc::new(builder.finish()))
    }))
}

/// Anything but text, to text.
pub(super) fn to_string(from: &TypeKind, to: &TypeKind, setting: Setting<'_>) -> Result<ArrayKernel> {
    let (from, fit, zone) = (from.clone(), Fit::of(to), setting.context.time_zone);
    Ok(Box::new(move |array| {
        let write = writer(array, &from, zone)?;
        let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 16);
        let mut buffer = String::new();
        for i in 0..array.len() {
            if array.is_null(i) {
                builder.append_null();
                continue;
            }
            buffer.clear();
            write(i, &mut buffer);
            if let Some(fit) = fit {
                fit.apply(&mut buffer);
            }
            builder.append_value(&buffer);
        }
        Ok(Arc::new(builder.finish()))
    }))
}

/// Writes members of a collection, `NULL` for null.
fn member<'a>(array: &'a ArrayRef, data_type: &DataType, zone: Tz) -> Result<Writer<'a>> {
    let write = writer(array, &data_type.kind, zone)?;
    Ok(Box::new(move |i, out| if array.is_null(i) { out.push_str("NULL") } else { write(i, out) }))
}

fn writer<'a>(array: &'a ArrayRef, from: &TypeKind, zone: Tz) -> Result<Writer<'a>> {
    use TypeKind as K;
    let wrong = || Error::internal(format!("expected {from}, got {}", array.data_type()));
    macro_rules! values {
        ($t:ty) => {
            array.as_primitive_opt::<$t>().ok_or_else(wrong)?.values()
        };
    }
    macro_rules! integer {
        ($t:ty) => {{
            let values = values!($t);
            Box::new(move |i: usize, out: &mut String| {
                // Writing to a String cannot fail.
                let _ = std::fmt::Write::write_fmt(out, format_args!("{}", values[i]));
            })
        }};
    }
    Ok(match from {
        K::TinyInt => integer!(Int8Type),
        K::SmallInt => integer!(Int16Type),
        K::Int => integer!(Int32Type),
        K::BigInt => integer!(Int64Type),
        K::Float => {
            let values = values!(Float32Type);
            Box::new(move |i, out| text::write_float(values[i], out))
        }
        K::Double => {
            let values = values!(Float64Type);
            Box::new(move |i, out| text::write_double(values[i], out))
        }
        K::Decimal { scale, .. } => {
            let (values, scale) = (values!(Decimal128Type), *scale);
            Box::new(move |i, out| text::write_decimal(values[i], scale, out))
        }
        K::Boolean => {
            let values = array.as_boolean_opt().ok_or_else(wrong)?;
            Box::new(move |i, out| out.push_str(if values.value(i) { "TRUE" } else { "FALSE" }))
        }
        K::Char(_) | K::VarChar(_) => {
            let values = array.as_string_opt::<i32>().ok_or_else(wrong)?;
            Box::new(move |i, out| out.push_str(values.value(i)))
        }
        K::Binary(_) | K::VarBinary(_) => {
            let values: &BinaryArray = array.as_binary_opt::<i32>().ok_or_else(wrong)?;
            Box::new(move |i, out| out.push_str(&String::from_utf8_lossy(values.value(i))))
        }
        K::Date => {
            let values = values!(Date32Type);
            Box::new(move |i, out| text::write_date(i64::from(values[i]), out))
        }
        K::Time(p) => {
            let (values, p) = (values!(Time32MillisecondType), *p);
            Box::new(move |i, out| text::write_time(i64::from(values[i]), p, out))
        }
        K::Timestamp(p, _) | K::TimestampLtz(p, _) => {
            let (unit, p) = (timestamp_unit(*p), *p);
            let values = match unit {
                TimeUnit::Second | TimeUnit::Millisecond => values!(TimestampMillisecondType),
                TimeUnit::Microsecond => values!(TimestampMicrosecondType),
                TimeUnit::Nanosecond => values!(TimestampNanosecondType),
            };
            let per = text::units_per_second(unit);
            let local = matches!(from, K::TimestampLtz(..)) && zone != Tz::UTC;
            Box::new(move |i, out| {
                let mut value = values[i];
                if local {
                    let seconds = value.div_euclid(per);
                    value += (temporal::to_local(zone, seconds) - seconds) * per;
                }
                text::write_timestamp(value, unit, p, out);
            })
        }
        K::IntervalYearMonth => {
            let values = values!(IntervalYearMonthType);
            Box::new(move |i, out| text::write_interval_year_month(i64::from(values[i]), out))
        }
        K::IntervalDayTime => {
            let values = values!(DurationMillisecondType);
            Box::new(move |i, out| text::write_interval_day_time(values[i], out))
        }
        K::Array(item) => {
            let list = array.as_list_opt::<i32>().ok_or_else(wrong)?;
            let item = member(list.values(), item, zone)?;
            Box::new(move |i, out| {
                out.push('[');
                for (n, j) in range(list.value_offsets(), i).enumerate() {
                    out.push_str(if n == 0 { "" } else { ", " });
                    item(j, out);
                }
                out.push(']');
            })
        }
        K::Map(key, value) => entries(array, key, value, zone)?,
        K::Multiset(item) => entries(array, item, &DataType::not_null(K::Int), zone)?,
        K::Row(fields) => {
            let row = array.as_struct_opt().ok_or_else(wrong)?;
            let writers = row
                .columns()
                .iter()
                .zip(fields)
                .map(|(column, field)| member(column, &field.data_type, zone))
                .collect::<Result<Vec<_>>>()?;
            Box::new(move |i, out| {
                out.push('(');
                for (n, write) in writers.iter().enumerate() {
                    out.push_str(if n == 0 { "" } else { ", " });
                    write(i, out);
                }
                out.push(')');
            })
        }
        K::Null => Box::new(|_, out| out.push_str("NULL")),
    })
}

fn entries<'a>(array: &'a ArrayRef, key: &DataType, value: &DataType, zone: Tz) -> Result<Writer<'a>> {
    let map = array.as_map_opt().ok_or_else(|| Error::internal("expected a map"))?;
    let (key, value) = (member(map.keys(), key, zone)?, member(map.values(), value, zone)?);
    Ok(Box::new(move |i, out| {
        out.push('{');
        for (n, j) in range(map.value_offsets(), i).enumerate() {
            out.push_str(if n == 0 { "" } else { ", " });
            key(j, out);
            out.push('=');
            value(j, out);
        }
        out.push('}');
    }))
}

/// The positions of the members of row `i`.
fn range(offsets: &[i32], i: usize) -> std::ops::Range<usize> {
    let at = |i: usize| offsets.get(i).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
    at(i)..at(i + 1)
}

/// Text (as UTF-8) and bytes to bytes: cut to n, `BINARY` padded with zeros.
pub(super) fn to_binary(from: &TypeKind, to: &TypeKind) -> ArrayKernel {
    let (length, pad) = match to {
        TypeKind::Binary(n) => (usize::try_from(*n).ok(), true),
        TypeKind::VarBinary(n) if *n != MAX_LENGTH => (usize::try_from(*n).ok(), false),
        _ => (None, false),
    };
    let text = from.is_string();
    Box::new(move |array| {
        let bytes = if text { arrow::compute::cast(array, &ArrowType::Binary)? } else { array.clone() };
        let Some(length) = length else { return Ok(bytes) };
        let bytes = bytes.as_binary_opt::<i32>().ok_or_else(|| Error::internal("expected bytes"))?;
        let mut builder = BinaryBuilder::with_capacity(bytes.len(), bytes.value_data().len());
        let mut buffer = Vec::new();
        for value in bytes {
            builder.append_option(value.map(|v| {
                buffer.clear();
                buffer.extend_from_slice(&v[..v.len().min(length)]);
                if pad {
                    buffer.resize(length, 0);
                }
                buffer.as_slice()
            }));
        }
        Ok(Arc::new(builder.finish()))
    })
}
