//! `DATE_FORMAT` and `CONVERT_TZ`: from points in time to text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};

use super::super::kernels::{arity, column, not_applicable, row_count, values, wrap};
use super::argument::{PatternArgument, TIMESTAMP_FORMAT};
use super::calendar::{Zone, offset_ms, ticks, ticks_per_ms};
use super::pattern::{Dialect, Moment, Pattern};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

pub(super) const DATE_FORMAT: Function =
    Function { name: "DATE_FORMAT", bind: |args| bind_format(args), prepare: prepare_format, deterministic: true };
pub(super) const CONVERT_TZ: Function = Function {
    name: "CONVERT_TZ",
    bind: |args| bind_convert_tz(args),
    prepare: prepare_convert_tz,
    deterministic: true,
};

/// An estimate of the bytes of a formatted timestamp.
const FORMATTED_BYTES: usize = 20;

fn bind_format(args: &mut [Expr]) -> Result<DataType> {
    let takes = "a timestamp or a string, and a pattern";
    arity("DATE_FORMAT", takes, args, 2..=2)?;
    match &*args {
        [time, pattern] if pattern.data_type().kind.is_string() => match time.data_type().kind {
            TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..) | TypeKind::Char(_) | TypeKind::VarChar(_) => {
                // Nullable always: a string may not be readable.
                Ok(DataType::string())
            }
            _ => Err(not_applicable("DATE_FORMAT", takes, args)),
        },
        _ => Err(not_applicable("DATE_FORMAT", takes, args)),
    }
}

fn prepare_format(call: &Call<'_>) -> Result<Kernel> {
    let Some(time) = call.args.first() else { return Err(Error::internal("DATE_FORMAT without arguments")) };
    if time.data_type().kind.is_string() {
        return prepare_format_string(call);
    }
    let pattern = PatternArgument::new(call, 1, "", Dialect::DateTimeFormatter);
    pattern.check()?;
    if let Some(literal) = pattern.literal() {
        literal.check_has_no_zone()?;
    }
    let is_instant = matches!(time.data_type().kind, TypeKind::TimestampLtz(..));
    let zone = if is_instant { call.context.time_zone } else { chrono_tz::UTC };
    Ok(Box::new(move |args, rows| {
        let array = values(args, 0)?;
        let (per_ms, times) = (ticks_per_ms(array.data_type()), ticks(array)?);
        let constant = matches!(args.first(), Some(Value::Scalar(_)));
        let mut patterns = pattern.of_batch(args)?;
        let rows = row_count(args, rows);
        let mut out = StringBuilder::with_capacity(rows, rows * FORMATTED_BYTES);
        let mut text = String::new();
        for row in 0..rows {
            let at = if constant { 0 } else { row };
            match patterns.get(row)? {
                Some(pattern) if times.is_valid(at) => {
                    if pattern_varies(args) {
                        pattern.check_has_no_zone()?;
                    }
                    let value = times.value(at);
                    let ms = value.div_euclid(per_ms);
                    let nanos = value.rem_euclid(per_ms) * (1_000_000 / per_ms);
                    text.clear();
                    pattern.write(&Moment::new(ms + offset_ms(zone, ms), nanos, 0), &mut text);
                    out.append_value(&text);
                }
                _ => out.append_null(),
            }
        }
        Ok(wrap(args, Arc::new(out.finish())))
    }))
}

fn pattern_varies(args: &[Value]) -> bool {
    matches!(args.get(1), Some(Value::Array(_)))
}

/// A string must read `yyyy-MM-dd HH:mm:ss`; it is not moved between zones.
fn prepare_format_string(call: &Call<'_>) -> Result<Kernel> {
    let pattern = PatternArgument::new(call, 1, "", Dialect::SimpleDateFormat);
    pattern.check()?;
    let source = Pattern::compile(TIMESTAMP_FORMAT, Dialect::SimpleDateFormat)?;
    Ok(Box::new(move |args, rows| {
        let texts = column::<StringArray>(args, 0)?;
        let mut patterns = pattern.of_batch(args)?;
        let utc = Zone::Named(chrono_tz::UTC);
        formatted(args, rows, |row, out| {
            let Some(pattern) = patterns.get(row)? else { return Ok(None) };
            let Some(ms) = texts.get(row).and_then(|t| source.read_simple(t, utc, 0)) else { return Ok(None) };
            pattern.write(&Moment::new(ms, 0, 0), out);
            Ok(Some(()))
        })
    }))
}

/// Builds a string column: the function appends a row's text, or answers `None` for null.
pub(super) fn formatted(
    args: &[Value],
    rows: usize,
    mut f: impl FnMut(usize, &mut String) -> Result<Option<()>>,
) -> Result<Value> {
    let rows = row_count(args, rows);
    let mut out = StringBuilder::with_capacity(rows, rows * FORMATTED_BYTES);
    let mut text = String::new();
    for row in 0..rows {
        text.clear();
        match f(row, &mut text)? {
            Some(()) => out.append_value(&text),
            None => out.append_null(),
        }
    }
    Ok(wrap(args, Arc::new(out.finish()) as ArrayRef))
}

fn bind_convert_tz(args: &mut [Expr]) -> Result<DataType> {
    let takes = "a string 'yyyy-MM-dd HH:mm:ss' and two time zones";
    arity("CONVERT_TZ", takes, args, 3..=3)?;
    if args.iter().all(|a| a.data_type().kind.is_string()) {
        Ok(DataType::string())
    } else {
        Err(not_applicable("CONVERT_TZ", takes, args))
    }
}

/// An unknown zone is UTC, as in Java.
fn prepare_convert_tz(_: &Call<'_>) -> Result<Kernel> {
    let pattern = Pattern::compile(TIMESTAMP_FORMAT, Dialect::SimpleDateFormat)?;
    Ok(Box::new(move |args, rows| {
        let (texts, froms, tos) =
            (column::<StringArray>(args, 0)?, column::<StringArray>(args, 1)?, column::<StringArray>(args, 2)?);
        formatted(args, rows, |row, out| {
            let (Some(text), Some(from), Some(to)) = (texts.get(row), froms.get(row), tos.get(row)) else {
                return Ok(None);
            };
            let Some(ms) = pattern.read_simple(text, Zone::parse_or_utc(from), 0) else { return Ok(None) };
            let offset = Zone::parse_or_utc(to).offset_ms(ms);
            pattern.write(&Moment::new(ms + offset, 0, offset), out);
            Ok(Some(()))
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::super::testing::{LTZ, TS, ltz, ts};
    use super::*;
    use crate::expr::functions::kernels::testing::{col, run, run_in, show, text};

    const STRING: TypeKind = TypeKind::VarChar(crate::types::MAX_LENGTH);

    fn strings(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn timestamps_and_instants_are_formatted() {
        let pattern = || Value::Scalar(strings(&[Some("yyyy-MM-dd HH")]));
        let args = |kind| vec![col(kind), text("yyyy-MM-dd HH")];
        let times = Value::Array(ts(&["2026-03-01T23:59:59.670"]));
        let (kind, got) = run(FUNCTIONS, "DATE_FORMAT", args(TS), &[times, pattern()], 1).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("STRING", "2026-03-01 23"));
        let instants = Value::Array(ltz(&["2026-03-02T04:59:59.670"]));
        let zone = chrono_tz::America::New_York;
        let (_, got) = run_in(zone, FUNCTIONS, "DATE_FORMAT", args(LTZ), &[instants, pattern()], 1).unwrap();
        assert_eq!(show(&got), "2026-03-01 23");
    }

    #[test]
    fn a_pattern_may_differ_by_row() {
        let times = Value::Scalar(ts(&["2026-03-01T23:59:59.670"]));
        let patterns = |p: &[Option<&str>]| Value::Array(strings(p));
        let args = || vec![col(TS), col(STRING)];
        let inputs = [times.clone(), patterns(&[Some("yyyy"), None, Some("MM")])];
        let (_, got) = run(FUNCTIONS, "DATE_FORMAT", args(), &inputs, 3).unwrap();
        assert_eq!(show(&got), "2026 | null | 03");
        let error = run(FUNCTIONS, "DATE_FORMAT", args(), &[times, patterns(&[Some("bogus")])], 1).unwrap_err();
        assert_eq!(error.code, "invalid_argument");
    }

    #[test]
    fn strings_are_read_leniently() {
        let args = vec![col(STRING), text("yyyy-MM-dd HH:mm")];
        let texts = strings(&[Some("2020-1-2 3:4:5"), Some("garbage"), None, Some("2020-13-01 00:00:00")]);
        let inputs = [Value::Array(texts), Value::Scalar(strings(&[Some("yyyy-MM-dd HH:mm")]))];
        let (_, got) = run(FUNCTIONS, "DATE_FORMAT", args, &inputs, 4).unwrap();
        assert_eq!(show(&got), "2020-01-02 03:04 | null | null | 2021-01-01 00:00");
    }

    #[test]
    fn texts_move_between_zones() {
        let args = || vec![col(STRING), col(STRING), col(STRING)];
        let check = |text: &str, from: &str, to: &str, expected: &str| {
            let inputs = [text, from, to].map(|t| Value::Array(strings(&[Some(t)])));
            let (_, got) = run(FUNCTIONS, "CONVERT_TZ", args(), &inputs, 1).unwrap();
            assert_eq!(show(&got), expected, "{text} {from} {to}");
        };
        check("2026-03-01 00:00:00", "UTC", "America/Los_Angeles", "2026-02-28 16:00:00");
        check("2020-01-01", "UTC", "Asia/Shanghai", "null");
        check("2020-01-01 00:00:00", "UTC", "Bogus", "2020-01-01 00:00:00");
        check("2020-01-01 00:00:00", "UTC", "+08:00", "2020-01-01 00:00:00");
        check("2020-01-01 00:00:00", "GMT+2", "UTC", "2019-12-31 22:00:00");
    }

    #[test]
    fn other_arguments_are_refused() {
        for args in [vec![col(TypeKind::Date), text("yyyy")], vec![col(TS)], vec![col(TS), text("z")]] {
            assert_eq!(run(FUNCTIONS, "DATE_FORMAT", args, &[], 0).unwrap_err().code, "invalid_argument");
        }
    }
}
