//! `JSON_STRING`, `JSON_OBJECT`, `JSON_ARRAY`: SQL values as JSON text.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{
    DataType as ArrowType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Timelike, Utc};

use super::super::arguments::{function, literal_text, refuse, string};
use super::number::{big_decimal, java_double};
use super::value::{write, write_string};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

pub(super) const JSON_STRING: Function = function("JSON_STRING", |a| json_string_type(a), prepare_string);
pub(super) const JSON_OBJECT: Function = function("JSON_OBJECT", |a| json_object_type(a), prepare_object);
pub(super) const JSON_ARRAY: Function = function("JSON_ARRAY", |a| json_array_type(a), prepare_array);

/// How one type becomes JSON.
enum Encoder {
    Null,
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Float,
    Double,
    Decimal,
    Text,
    /// Text that is JSON already.
    Raw,
    Bytes,
    /// With `Z` at the end for an instant.
    Timestamp(&'static str),
    Array(Box<Encoder>),
    Map(Box<Encoder>),
    /// Quoted names in sorted order, with the member's index.
    Row(Vec<(String, usize, Encoder)>),
}

impl Encoder {
    fn new(kind: &TypeKind) -> Option<Encoder> {
        Some(match kind {
            TypeKind::Null => Encoder::Null,
            TypeKind::Boolean => Encoder::Bool,
            TypeKind::TinyInt => Encoder::Int8,
            TypeKind::SmallInt => Encoder::Int16,
            TypeKind::Int => Encoder::Int32,
            TypeKind::BigInt => Encoder::Int64,
            TypeKind::Float => Encoder::Float,
            TypeKind::Double => Encoder::Double,
            TypeKind::Decimal { .. } => Encoder::Decimal,
            TypeKind::Char(_) | TypeKind::VarChar(_) => Encoder::Text,
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => Encoder::Bytes,
            TypeKind::Timestamp(..) => Encoder::Timestamp(""),
            TypeKind::TimestampLtz(..) => Encoder::Timestamp("Z"),
            TypeKind::Array(item) => Encoder::Array(Box::new(Encoder::new(&item.kind)?)),
            TypeKind::Map(key, value) if key.kind.is_string() => Encoder::Map(Box::new(Encoder::new(&value.kind)?)),
            TypeKind::Multiset(item) if item.kind.is_string() => Encoder::Map(Box::new(Encoder::Int32)),
            TypeKind::Row(fields) => {
                let mut members = Vec::with_capacity(fields.len());
                for (i, field) in fields.iter().enumerate() {
                    members.push((field.name.clone(), i, Encoder::new(&field.data_type.kind)?));
                }
                members.sort_by(|a, b| a.0.cmp(&b.0));
                for member in &mut members {
                    member.0 = quoted(&member.0);
                }
                Encoder::Row(members)
            }
            _ => return None,
        })
    }
    fn of(expr: &Expr) -> Result<Encoder> {
        if matches!(expr, Expr::Call { function, .. } if matches!(function.as_str(), "JSON_OBJECT" | "JSON_ARRAY" | "JSON"))
        {
            return Ok(Encoder::Raw);
        }
        let data_type = expr.data_type();
        Encoder::new(&data_type.kind)
            .ok_or_else(|| Error::invalid("invalid_argument", format!("a value of type {data_type} has no JSON form")))
    }
    /// Writes element `i`; a null as `null`.
    fn write(&self, array: &dyn Array, i: usize, out: &mut impl Write) {
        if array.is_null(i) {
            return write(out, "null");
        }
        let print = |out: &mut _, args: std::fmt::Arguments<'_>| {
            Write::write_fmt(out, args).expect("memory accepts every write");
        };
        match self {
            Encoder::Null => write(out, "null"),
            Encoder::Bool => write(out, if array.as_boolean().value(i) { "true" } else { "false" }),
            Encoder::Int8 => print(out, format_args!("{}", array.as_primitive::<Int8Type>().value(i))),
            Encoder::Int16 => print(out, format_args!("{}", array.as_primitive::<Int16Type>().value(i))),
            Encoder::Int32 => print(out, format_args!("{}", array.as_primitive::<Int32Type>().value(i))),
            Encoder::Int64 => print(out, format_args!("{}", array.as_primitive::<Int64Type>().value(i))),
            // Flink widens a FLOAT: 0.1 has all the digits of the nearest double.
            Encoder::Float => write_double(array.as_primitive::<Float32Type>().value(i).into(), out),
            Encoder::Double => write_double(array.as_primitive::<Float64Type>().value(i), out),
            Encoder::Decimal => {
                write(out, &big_decimal(&array.as_primitive::<Decimal128Type>().value_as_string(i)));
            }
            Encoder::Text => write_string(array.as_string::<i32>().value(i), out),
            Encoder::Raw => write(out, array.as_string::<i32>().value(i)),
            Encoder::Bytes => {
                print(out, format_args!("\"{}\"", Base64Display::new(array.as_binary::<i32>().value(i), &STANDARD)));
            }
            Encoder::Timestamp(zone) => write_timestamp(array, i, zone, out),
            Encoder::Array(item) => {
                let items = array.as_list::<i32>().value(i);
                write(out, "[");
                for k in 0..items.len() {
                    write(out, if k == 0 { "" } else { "," });
                    item.write(items.as_ref(), k, out);
                }
                write(out, "]");
            }
            Encoder::Map(value) => {
                let entries = array.as_map().value(i);
                let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1));
                let mut order: Vec<usize> = (0..keys.len()).collect();
                order.sort_by_key(|k| keys.value(*k));
                write(out, "{");
                for (n, k) in order.into_iter().enumerate() {
                    write(out, if n == 0 { "" } else { "," });
                    write_string(keys.value(k), out);
                    write(out, ":");
                    value.write(values.as_ref(), k, out);
                }
                write(out, "}");
            }
            Encoder::Row(members) => {
                let row = array.as_struct();
                write(out, "{");
                for (n, (name, index, encoder)) in members.iter().enumerate() {
                    write(out, if n == 0 { "" } else { "," });
                    write(out, name);
                    write(out, ":");
                    encoder.write(row.column(*index).as_ref(), i, out);
                }
                write(out, "}");
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

fn write_double(value: f64, out: &mut impl Write) {
    let text = java_double(value);
    if value.is_finite() {
        write(out, &big_decimal(&text));
    } else {
        write_string(&text, out);
    }
}

/// ISO 8601 with as many decimals as needed.
fn write_timestamp(array: &dyn Array, i: usize, zone: &str, out: &mut impl Write) {
    let time: Option<DateTime<Utc>> = match array.data_type() {
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(i))
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(i))
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            Some(DateTime::from_timestamp_nanos(array.as_primitive::<TimestampNanosecondType>().value(i)))
        }
        _ => None,
    };
    let Some(time) = time else { return write(out, "null") };
    let fraction = match time.nanosecond() {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    let text = time.format("%Y-%m-%dT%H:%M:%S");
    Write::write_fmt(out, format_args!("\"{text}{fraction}{zone}\"")).expect("memory accepts every write");
}

/// Whether null values are written or left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnNull {
    Null,
    Absent,
}

fn on_null(args: &[Expr], usage: &str) -> Result<OnNull> {
    match args.last().and_then(literal_text) {
        Some("NULL") => Ok(OnNull::Null),
        Some("ABSENT") => Ok(OnNull::Absent),
        _ => Err(refuse(usage, args)),
    }
}

fn json_string_type(args: &[Expr]) -> Result<DataType> {
    match args {
        [value] => Encoder::of(value).map(|_| string(value.data_type().nullable)),
        _ => Err(refuse("JSON_STRING(value)", args)),
    }
}

const OBJECT_USAGE: &str = "JSON_OBJECT([KEY] name VALUE value, … [NULL | ABSENT ON NULL])";
const ARRAY_USAGE: &str = "JSON_ARRAY(value, … [NULL | ABSENT ON NULL])";

fn json_object_type(args: &[Expr]) -> Result<DataType> {
    on_null(args, OBJECT_USAGE)?;
    let (pairs, rest) = args[..args.len() - 1].as_chunks::<2>();
    if !rest.is_empty() || pairs.iter().any(|[key, _]| !key.data_type().kind.is_string()) {
        return Err(refuse(OBJECT_USAGE, args));
    }
    for [key, value] in pairs {
        if key.data_type().nullable {
            return Err(Error::invalid("invalid_argument", "the names of JSON_OBJECT must not be nullable"));
        }
        Encoder::of(value)?;
    }
    Ok(string(false))
}

fn json_array_type(args: &[Expr]) -> Result<DataType> {
    on_null(args, ARRAY_USAGE)?;
    for value in &args[..args.len() - 1] {
        Encoder::of(value)?;
    }
    Ok(string(false))
}

/// The array of a value and the element that belongs to a row.
fn element(value: &Value, row: usize) -> (&ArrayRef, usize) {
    match value {
        Value::Array(array) => (array, row),
        Value::Scalar(array) => (array, 0),
    }
}

/// A kernel that writes every row; false for null.
fn rows_kernel<F>(f: F) -> Kernel
where
    F: Fn(&[Value], usize, &mut StringBuilder) -> bool + Send + Sync + 'static,
{
    Box::new(move |values, rows| {
        let scalar = values.iter().all(|v| matches!(v, Value::Scalar(_)));
        let rows = if scalar { 1 } else { rows };
        let mut out = StringBuilder::with_capacity(rows, rows * 32);
        for row in 0..rows {
            if f(values, row, &mut out) {
                out.append_value("");
            } else {
                out.append_null();
            }
        }
        let array: ArrayRef = Arc::new(out.finish());
        Ok(if scalar { Value::Scalar(array) } else { Value::Array(array) })
    })
}

fn prepare_string(call: &Call<'_>) -> Result<Kernel> {
    let [value] = call.args else { return Err(refuse("JSON_STRING(value)", call.args)) };
    let encoder = Encoder::new(&value.data_type().kind).ok_or_else(|| refuse("JSON_STRING(value)", call.args))?;
    Ok(rows_kernel(move |values, row, out| {
        let Some((array, i)) = values.first().map(|v| element(v, row)) else { return false };
        if array.is_null(i) || *array.data_type() == ArrowType::Null {
            return false;
        }
        encoder.write(array.as_ref(), i, out);
        true
    }))
}

fn prepare_array(call: &Call<'_>) -> Result<Kernel> {
    let on_null = on_null(call.args, ARRAY_USAGE)?;
    let encoders: Vec<_> = call.args[..call.args.len() - 1].iter().map(Encoder::of).collect::<Result<_>>()?;
    Ok(rows_kernel(move |values, row, out| {
        let mut separator = "[";
        for (encoder, value) in encoders.iter().zip(values) {
            let (array, i) = element(value, row);
            if on_null == OnNull::Absent && is_null(array, i) {
                continue;
            }
            write(out, separator);
            separator = ",";
            encoder.write(array.as_ref(), i, out);
        }
        write(out, if separator == "[" { "[]" } else { "]" });
        true
    }))
}

fn is_null(array: &ArrayRef, i: usize) -> bool {
    array.is_null(i) || *array.data_type() == ArrowType::Null
}

fn prepare_object(call: &Call<'_>) -> Result<Kernel> {
    let on_null = on_null(call.args, OBJECT_USAGE)?;
    let (pairs, _) = call.args[..call.args.len() - 1].as_chunks::<2>();
    let encoders: Vec<_> = pairs.iter().map(|[_, value]| Encoder::of(value)).collect::<Result<_>>()?;
    let mut keys: Vec<Option<String>> = pairs.iter().map(|[key, _]| literal_text(key).map(str::to_owned)).collect();
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|a, b| keys[*a].cmp(&keys[*b]));
    let distinct = order.is_sorted_by(|a, b| keys[*a] < keys[*b]);
    let fixed = distinct && keys.iter().all(Option::is_some);
    if fixed {
        keys.iter_mut().flatten().for_each(|key| *key = quoted(key));
        return Ok(rows_kernel(move |values, row, out| {
            let mut separator = "{";
            for pair in &order {
                let (array, i) = element(&values[pair * 2 + 1], row);
                if on_null == OnNull::Absent && is_null(array, i) {
                    continue;
                }
                write(out, separator);
                separator = ",";
                write(out, keys[*pair].as_deref().unwrap_or_default());
                write(out, ":");
                encoders[*pair].write(array.as_ref(), i, out);
            }
            write(out, if separator == "{" { "{}" } else { "}" });
            true
        }));
    }
    Ok(rows_kernel(move |values, row, out| {
        // Of equal names the last one that is written counts.
        let mut members: Vec<(&str, usize)> = Vec::with_capacity(encoders.len());
        for pair in 0..encoders.len() {
            let (names, k) = element(&values[pair * 2], row);
            let (array, i) = element(&values[pair * 2 + 1], row);
            if on_null == OnNull::Absent && is_null(array, i) {
                continue;
            }
            let name = names.as_string::<i32>().value(k);
            members.retain(|(known, _)| *known != name);
            members.push((name, pair));
        }
        members.sort_unstable();
        write(out, "{");
        for (n, (name, pair)) in members.into_iter().enumerate() {
            write(out, if n == 0 { "" } else { "," });
            write_string(name, out);
            write(out, ":");
            let (array, i) = element(&values[pair * 2 + 1], row);
            encoders[pair].write(array.as_ref(), i, out);
        }
        write(out, "}");
        true
    }))
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::testing::{bytes, check, code, lit, null, num};
    use super::super::FUNCTIONS;
    use super::*;
    use crate::expr::Scalar;
    use crate::types::{Field, TimestampKind};
    use arrow::array::{Int32Array, ListArray, StructArray, TimestampMillisecondArray};

    const S: &str = "STRING NOT NULL";

    #[test]
    fn builds_objects_with_sorted_names() {
        let check = |args, expected| check(FUNCTIONS, "JSON_OBJECT", args, expected, S);
        check(vec![lit("NULL")], "{}");
        check(vec![lit("b"), num(1), lit("a\""), lit("x\n"), lit("NULL")], r#"{"a\"":"x\n","b":1}"#);
        check(vec![lit("a"), null(), lit("NULL")], r#"{"a":null}"#);
        check(vec![lit("a"), null(), lit("b"), num(1), lit("ABSENT")], r#"{"b":1}"#);
        check(vec![lit("a"), num(1), lit("a"), num(2), lit("NULL")], r#"{"a":2}"#);
        check(vec![lit("a"), num(1), lit("a"), null(), lit("ABSENT")], r#"{"a":1}"#);
        for args in [vec![lit("a"), num(1)], vec![lit("a"), lit("NULL")], vec![num(1), num(1), lit("NULL")], vec![]] {
            assert_eq!(code(FUNCTIONS, "JSON_OBJECT", args), "invalid_argument");
        }
        assert_eq!(code(FUNCTIONS, "JSON_OBJECT", vec![null(), num(1), lit("NULL")]), "invalid_argument");
    }

    #[test]
    fn builds_arrays() {
        let check = |args, expected| check(FUNCTIONS, "JSON_ARRAY", args, expected, S);
        check(vec![lit("ABSENT")], "[]");
        check(vec![num(7), null(), lit("x"), lit("ABSENT")], r#"[7,"x"]"#);
        check(vec![num(7), null(), lit("x"), lit("NULL")], r#"[7,null,"x"]"#);
        check(vec![bytes(b"ab"), lit("NULL")], r#"["YWI="]"#);
        let double = |d| Expr::literal(Scalar::Double(d), TypeKind::Double);
        check(vec![double(1e10), double(0.0), double(f64::NAN), lit("NULL")], r#"[1.0E+10,0.0,"NaN"]"#);
        let boolean = Expr::literal(Scalar::Boolean(true), TypeKind::Boolean);
        check(vec![boolean, lit("NULL")], "[true]");
    }

    #[test]
    fn embeds_nested_json_raw() {
        let inner = Expr::Call { function: "JSON_OBJECT".to_owned(), args: vec![], data_type: string(false) };
        let args = vec![inner, Expr::column(0, string(true)), lit("ABSENT")];
        let context = crate::expr::EvalContext { time_zone: chrono_tz::UTC };
        let kernel = prepare_array(&Call { args: &args, data_type: &string(false), context: &context }).unwrap();
        let text = |s: &str| Value::Scalar(Arc::new(arrow::array::StringArray::from(vec![s])));
        let Value::Scalar(answer) = kernel(&[text("{}"), text("{}"), text("ABSENT")], 1).unwrap() else { panic!() };
        assert_eq!(answer.as_string::<i32>().value(0), r#"[{},"{}"]"#);
    }

    fn encode(array: &dyn Array, kind: TypeKind) -> String {
        let mut out = String::new();
        Encoder::new(&kind).unwrap().write(array, 0, &mut out);
        out
    }

    #[test]
    fn encodes_nested_and_temporal_types() {
        let millis = |ms| TimestampMillisecondArray::from(vec![ms]);
        let local = TypeKind::Timestamp(3, TimestampKind::Regular);
        assert_eq!(encode(&millis(1_772_409_599_670), local.clone()), "\"2026-03-01T23:59:59.67\"");
        assert_eq!(encode(&millis(0), local), "\"1970-01-01T00:00:00\"");
        let instant = TypeKind::TimestampLtz(3, TimestampKind::Regular);
        assert_eq!(encode(&millis(779), instant), "\"1970-01-01T00:00:00.779Z\"");
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        assert_eq!(encode(&list, TypeKind::Array(Box::new(TypeKind::Int.into()))), "[1,null]");
        let row = TypeKind::Row(vec![Field::new("b", TypeKind::Int.into()), Field::new("a", TypeKind::Int.into())]);
        let column = |i| Arc::new(Int32Array::from(vec![i])) as ArrayRef;
        let fields = match row.to_arrow() {
            ArrowType::Struct(fields) => fields,
            other => panic!("{other}"),
        };
        assert_eq!(encode(&StructArray::new(fields, vec![column(1), column(2)], None), row), r#"{"a":2,"b":1}"#);
        assert!(Encoder::new(&TypeKind::Date).is_none());
    }

    #[test]
    fn json_string_is_null_for_null() {
        check(FUNCTIONS, "JSON_STRING", vec![num(3)], "3", S);
        check(FUNCTIONS, "JSON_STRING", vec![lit("a\"")], "\"a\\\"\"", S);
        check(FUNCTIONS, "JSON_STRING", vec![null()], "NULL", "STRING");
    }
}
