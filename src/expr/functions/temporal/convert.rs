//! `TO_TIMESTAMP`, `TO_TIMESTAMP_LTZ` and `TO_DATE`: from text and numbers to points in time.
//!
//! Text that cannot be read is null, except where `TO_TIMESTAMP_LTZ` is given no format: there Flink fails the job.
//! `TO_TIMESTAMP_LTZ` reads text in UTC unless a zone is given, whatever the session's zone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray};
use arrow::datatypes::DataType as A;

use super::super::kernels::{
    arity, coerce, column, literal_int, literal_text, not_applicable, row_count, values, wrap,
};
use super::argument::PatternArgument;
use super::calendar::{DAY_MS, Date, Overlap, Zone, from_ticks, ticks_per_ms};
use super::parse::{Local, read_date, read_sql_timestamp, read_timestamp};
use super::pattern::{Dialect, Item, Pattern};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TimestampKind, TypeKind};

pub(super) const TO_TIMESTAMP: Function = Function {
    name: "TO_TIMESTAMP",
    bind: |args| bind_timestamp(args),
    prepare: prepare_timestamp,
    deterministic: true,
};
pub(super) const TO_TIMESTAMP_LTZ: Function =
    Function { name: "TO_TIMESTAMP_LTZ", bind: |args| bind_ltz(args), prepare: prepare_ltz, deterministic: true };
pub(super) const TO_DATE: Function =
    Function { name: "TO_DATE", bind: |args| bind_date(args), prepare: prepare_date, deterministic: true };

/// 0000-01-01 and 9999-12-31T23:59:59.999 in milliseconds: what Flink takes from numbers.
const VALID_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// `SimpleDateFormat` reads two digits as the year from 80 years ago to 20 years ahead.
pub(super) fn century_start() -> i64 {
    Date::of(now_ms().div_euclid(DAY_MS)).year - 80
}

fn bind_strings(name: &str, args: &[Expr]) -> Result<()> {
    let takes = "a string and, if wanted, its pattern";
    arity(name, takes, args, 1..=2)?;
    if args.iter().all(|a| a.data_type().kind.is_string()) { Ok(()) } else { Err(not_applicable(name, takes, args)) }
}

fn bind_timestamp(args: &mut [Expr]) -> Result<DataType> {
    bind_strings("TO_TIMESTAMP", args)?;
    Ok(DataType::nullable(TypeKind::Timestamp(3, TimestampKind::Regular)))
}

fn prepare_timestamp(call: &Call<'_>) -> Result<Kernel> {
    let result_type = call.data_type.to_arrow();
    let has_pattern = call.args.len() > 1;
    let pattern = PatternArgument::new(call, 1, "", Dialect::DateTimeFormatter);
    Ok(Box::new(move |args, rows| {
        let texts = column::<StringArray>(args, 0)?;
        let mut patterns = pattern.of_batch(args)?;
        let parsed: Int64Array = (0..row_count(args, rows))
            .map(|row| {
                let text = texts.get(row)?;
                if !has_pattern {
                    return read_timestamp(text).map(|local| local.ms);
                }
                // A wrong pattern is null here, as in Flink.
                let pattern = patterns.get(row).ok().flatten()?;
                read_formatted(pattern, text).map(|local| local.ms)
            })
            .collect();
        Ok(wrap(args, from_ticks(parsed, &result_type)?))
    }))
}

fn read_formatted(pattern: &Pattern, text: &str) -> Option<Local> {
    pattern.read(text).or_else(|| read_sql_timestamp(text))
}

fn bind_date(args: &mut [Expr]) -> Result<DataType> {
    bind_strings("TO_DATE", args)?;
    Ok(DataType::nullable(TypeKind::Date))
}

fn prepare_date(call: &Call<'_>) -> Result<Kernel> {
    let has_pattern = call.args.len() > 1;
    let pattern = PatternArgument::new(call, 1, "", Dialect::SimpleDateFormat);
    pattern.check()?;
    Ok(Box::new(move |args, rows| {
        let texts = column::<StringArray>(args, 0)?;
        let mut patterns = pattern.of_batch(args)?;
        let (utc, century) = (Zone::Named(chrono_tz::UTC), century_start());
        let days = (0..row_count(args, rows)).map(|row| {
            let Some(text) = texts.get(row) else { return Ok(None) };
            let days = if has_pattern {
                let Some(pattern) = patterns.get(row)? else { return Ok(None) };
                pattern.read_simple(text, utc, century).map(|ms| ms.div_euclid(DAY_MS))
            } else {
                read_date(text)
            };
            Ok(days.and_then(|d| i32::try_from(d).ok()))
        });
        Ok(wrap(args, Arc::new(days.collect::<Result<Date32Array>>()?)))
    }))
}

const LTZ_TAKES: &str = "a number and its precision, or a string, its pattern and its time zone";

fn bind_ltz(args: &mut [Expr]) -> Result<DataType> {
    let refused = || not_applicable("TO_TIMESTAMP_LTZ", LTZ_TAKES, args);
    arity("TO_TIMESTAMP_LTZ", LTZ_TAKES, args, 1..=3)?;
    let first = args.first().map(|a| a.data_type().kind.clone()).ok_or_else(refused)?;
    let precision = if first.is_string() {
        if !args.iter().all(|a| a.data_type().kind.is_string()) {
            return Err(refused());
        }
        if let Some(zone) = literal_text(args.get(2))
            && Zone::parse_id(zone).is_none()
        {
            return Err(Error::invalid("invalid_argument", format!("there is no time zone '{zone}'")));
        }
        literal_text(args.get(1)).map_or(3, fraction_digits)
    } else {
        let precision_fits = args.get(1).is_none_or(|p| p.data_type().kind.is_integer());
        if !first.is_numeric() || args.len() > 2 || !precision_fits {
            return Err(refused());
        }
        match (args.len(), literal_int(args.get(1)).map(u8::try_from)) {
            (1, _) => 3,
            (_, Some(Ok(precision @ 0..=9))) => precision,
            _ => {
                let message = "the precision of TO_TIMESTAMP_LTZ must be a literal between 0 and 9";
                return Err(Error::invalid("invalid_argument", message));
            }
        }
    };
    if first.is_integer() {
        coerce(args, 0, &TypeKind::BigInt)?;
    } else if first == TypeKind::Float {
        coerce(args, 0, &TypeKind::Double)?;
    }
    Ok(DataType::nullable(TypeKind::TimestampLtz(precision.max(3), TimestampKind::Regular)))
}

/// The precision that a pattern of `DateTimeFormatter` asks for: its longest run of `S`.
fn fraction_digits(pattern: &str) -> u8 {
    fn longest(items: &[Item]) -> usize {
        let of = |item: &Item| match item {
            Item::Field('S', count) => *count,
            Item::Optional(inner) => longest(inner),
            _ => 0,
        };
        items.iter().map(of).max().unwrap_or(0)
    }
    let digits = Pattern::compile(pattern, Dialect::DateTimeFormatter).map_or(0, |p| longest(&p.items));
    u8::try_from(digits).unwrap_or(9)
}

fn prepare_ltz(call: &Call<'_>) -> Result<Kernel> {
    let Some(first) = call.args.first() else { return Err(Error::internal("TO_TIMESTAMP_LTZ without arguments")) };
    if first.data_type().kind.is_string() { prepare_ltz_string(call) } else { prepare_ltz_number(call) }
}

fn prepare_ltz_string(call: &Call<'_>) -> Result<Kernel> {
    let result_type = call.data_type.to_arrow();
    let per_ms = ticks_per_ms(&result_type);
    let arguments = call.args.len();
    let pattern = PatternArgument::new(call, 1, "", Dialect::DateTimeFormatter);
    Ok(Box::new(move |args, rows| {
        let texts = column::<StringArray>(args, 0)?;
        let zones = if arguments > 2 { Some(column::<StringArray>(args, 2)?) } else { None };
        let mut patterns = pattern.of_batch(args)?;
        let instants = (0..row_count(args, rows)).map(|row| {
            let Some(text) = texts.get(row) else { return Ok(None) };
            let local = if arguments == 1 {
                Some(read_timestamp(text).ok_or_else(|| unreadable(text))?)
            } else {
                patterns.get(row).ok().flatten().and_then(|p| read_formatted(p, text))
            };
            let zone = match &zones {
                None => Some(Zone::Named(chrono_tz::UTC)),
                Some(zones) => zones.get(row).and_then(Zone::parse_id),
            };
            Ok(local.zip(zone).and_then(|(local, zone)| {
                let ms = zone.to_utc_ms(local.ms, Overlap::Earlier);
                ms.checked_mul(per_ms)?.checked_add(local.nanos / (1_000_000 / per_ms))
            }))
        });
        Ok(wrap(args, from_ticks(instants.collect::<Result<Int64Array>>()?, &result_type)?))
    }))
}

fn unreadable(text: &str) -> Error {
    let message = format!("TO_TIMESTAMP_LTZ cannot read '{text}' as yyyy-MM-dd HH:mm:ss; give a format to get null");
    Error::invalid("invalid_timestamp", message)
}

/// The number counts `10^-precision` seconds; years before 0 and after 9999 are null.
fn prepare_ltz_number(call: &Call<'_>) -> Result<Kernel> {
    let result_type = call.data_type.to_arrow();
    let precision = if call.args.len() == 1 { 3 } else { literal_int(call.args.get(1)).unwrap_or(3) };
    let precision = u32::try_from(precision).unwrap_or(3).min(9);
    // From the number's unit to nanoseconds, and on to the result's ticks.
    let nanos_per_unit = 10_i128.pow(9 - precision);
    let nanos_per_tick = i128::from(1_000_000 / ticks_per_ms(&result_type));
    let to_ticks = move |nanos: i128| {
        let ms = i64::try_from(nanos.div_euclid(1_000_000)).ok()?;
        if VALID_MS.contains(&ms) { i64::try_from(nanos.div_euclid(nanos_per_tick)).ok() } else { None }
    };
    Ok(Box::new(move |args, rows| {
        let array = values(args, 0)?;
        let ticks: Int64Array = match array.data_type() {
            A::Int64 => {
                let numbers = column::<Int64Array>(args, 0)?;
                numbers.array.unary_opt(|v| to_ticks(i128::from(v).checked_mul(nanos_per_unit)?))
            }
            A::Float64 => {
                let numbers = column::<Float64Array>(args, 0)?;
                // NaN is 0 and too large a number is null, as in Java; the rest is cut off below a nanosecond.
                let per_unit = nanos_per_unit as f64;
                numbers.array.unary_opt(|v| to_ticks((v * per_unit) as i128))
            }
            A::Decimal128(_, scale) => {
                let numbers = column::<Decimal128Array>(args, 0)?;
                let whole = 10_i128.checked_pow(u32::try_from(*scale).unwrap_or(0)).unwrap_or(i128::MAX);
                numbers.array.unary_opt(|v| to_ticks((v / whole).checked_mul(nanos_per_unit)?))
            }
            other => return Err(Error::internal(format!("{other} is not a number"))),
        };
        let constant = matches!(args.first(), Some(Value::Scalar(_)));
        let array: ArrayRef = from_ticks(ticks, &result_type)?;
        if constant == super::super::kernels::all_scalar(args) {
            Ok(wrap(args, array))
        } else {
            Ok(Value::Array(super::super::kernels::expand(&Value::Scalar(array), rows)?))
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::*;
    use crate::expr::functions::kernels::testing::{col, int, run, run_in, show, text};

    const STRING: TypeKind = TypeKind::VarChar(crate::types::MAX_LENGTH);

    fn scalar(value: &str) -> Value {
        Value::Scalar(Arc::new(StringArray::from(vec![value])))
    }
    fn check(name: &str, value: Option<&str>, more: &[&str], expected_type: &str, expected: &str) {
        let mut args = vec![col(STRING)];
        args.extend(more.iter().map(|t| text(t)));
        let mut inputs = vec![Value::Array(Arc::new(StringArray::from(vec![value])) as ArrayRef)];
        inputs.extend(more.iter().map(|t| scalar(t)));
        let zone = chrono_tz::America::New_York;
        let (kind, got) = run_in(zone, FUNCTIONS, name, args, &inputs, 1).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), (expected_type, expected), "{value:?} {more:?}");
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn texts_become_timestamps_and_dates() {
        let ts = "TIMESTAMP(3)";
        check("TO_TIMESTAMP", Some("2026-03-01 01:02:03"), &[], ts, "2026-03-01T01:02:03");
        check("TO_TIMESTAMP", Some("2020-01-02 03:04:05.123456789"), &[], ts, "2020-01-02T03:04:05.123");
        check("TO_TIMESTAMP", Some("garbage"), &[], ts, "null");
        check("TO_TIMESTAMP", None, &[], ts, "null");
        check("TO_TIMESTAMP", Some("01/03/2026 05"), &["dd/MM/yyyy HH"], ts, "2026-03-01T05:00:00");
        check("TO_TIMESTAMP", Some("2020-1-2 3:4:5.75"), &["yyyy"], ts, "2020-01-02T03:04:05.750");
        check("TO_TIMESTAMP", Some("2020-01-02"), &["bogus"], ts, "null");
        check("TO_DATE", Some("2026-12-31"), &[], "DATE", "2026-12-31");
        check("TO_DATE", Some("2020/01/02"), &["yyyy/MM/dd"], "DATE", "2020-01-02");
        check("TO_DATE", Some("x"), &["yyyy/MM/dd"], "DATE", "null");
    }

    #[test]
    fn texts_become_instants_in_utc_or_the_given_zone() {
        let check = |value, more: &[&str], precision: u8, expected: &str| {
            check("TO_TIMESTAMP_LTZ", value, more, &format!("TIMESTAMP_LTZ({precision})"), expected);
        };
        check(Some("2020-01-02 03:04:05"), &[], 3, "2020-01-02T03:04:05Z");
        check(Some("2020-01-02"), &["yyyy-MM-dd"], 3, "2020-01-02T00:00:00Z");
        let format = "yyyy-MM-dd HH:mm:ss.SSSSSS";
        let zone = "Asia/Shanghai";
        check(Some("2020-01-02 00:00:00.123456"), &[format, zone], 6, "2020-01-01T16:00:00.123456Z");
        check(Some("x"), &["yyyy-MM-dd"], 3, "null");
        let inputs = [scalar("x")];
        let error = run(FUNCTIONS, "TO_TIMESTAMP_LTZ", vec![col(STRING)], &inputs, 1).unwrap_err();
        assert_eq!(error.code, "invalid_timestamp");
    }

    #[test]
    fn numbers_become_instants() {
        let check = |kind: TypeKind, array: ArrayRef, precision: i64, expected_type: &str, expected: &str| {
            let rows = array.len();
            let inputs = [Value::Array(array), Value::Scalar(Arc::new(arrow::array::Int32Array::from(vec![0])))];
            let args = vec![col(kind), int(precision)];
            let (got_type, got) = run(FUNCTIONS, "TO_TIMESTAMP_LTZ", args, &inputs, rows).unwrap();
            assert_eq!((got_type.to_string().as_str(), show(&got).as_str()), (expected_type, expected));
        };
        let long = |v: i64| Arc::new(Int64Array::from(vec![Some(v), None])) as ArrayRef;
        let big = 9_007_199_254_740_993;
        check(TypeKind::BigInt, long(1_772_323_200_123), 3, "TIMESTAMP_LTZ(3)", "2026-03-01T00:00:00.123Z | null");
        check(TypeKind::BigInt, long(1_772_323_200), 0, "TIMESTAMP_LTZ(3)", "2026-03-01T00:00:00Z | null");
        check(TypeKind::BigInt, long(1_000_000_000_000), 1, "TIMESTAMP_LTZ(3)", "5138-11-16T09:46:40Z | null");
        check(TypeKind::BigInt, long(1_000_000_000_000), 0, "TIMESTAMP_LTZ(3)", "null | null");
        check(TypeKind::BigInt, long(253_402_300_800_000), 3, "TIMESTAMP_LTZ(3)", "null | null");
        check(TypeKind::BigInt, long(big), 6, "TIMESTAMP_LTZ(6)", "2255-06-05T23:47:34.740993Z | null");
        check(TypeKind::BigInt, long(big), 9, "TIMESTAMP_LTZ(9)", "1970-04-15T05:59:59.254740993Z | null");
        let double = |v: f64| Arc::new(Float64Array::from(vec![v])) as ArrayRef;
        check(TypeKind::Double, double(-2.5), 0, "TIMESTAMP_LTZ(3)", "1969-12-31T23:59:57.500Z");
        check(TypeKind::Double, double(-2.5), 3, "TIMESTAMP_LTZ(3)", "1969-12-31T23:59:59.997Z");
        check(TypeKind::Double, double(123.456), 3, "TIMESTAMP_LTZ(3)", "1970-01-01T00:00:00.123Z");
        let dec = Decimal128Array::from(vec![-9_999_999_999]).with_precision_and_scale(12, 2).unwrap();
        let kind = TypeKind::Decimal { precision: 12, scale: 2 };
        check(kind, Arc::new(dec), 0, "TIMESTAMP_LTZ(3)", "1966-10-31T14:13:21Z");
    }

    #[test]
    fn other_arguments_are_refused() {
        for (name, args) in [
            ("TO_TIMESTAMP", vec![col(TypeKind::Date)]),
            ("TO_DATE", vec![col(STRING), text("bogus")]),
            ("TO_TIMESTAMP_LTZ", vec![col(TypeKind::BigInt), int(10)]),
            ("TO_TIMESTAMP_LTZ", vec![col(TypeKind::BigInt), int(3), text("UTC")]),
            ("TO_TIMESTAMP_LTZ", vec![col(STRING), text("yyyy"), text("Bogus/Zone")]),
        ] {
            assert_eq!(run(FUNCTIONS, name, args, &[], 0).unwrap_err().code, "invalid_argument", "{name}");
        }
    }
}
