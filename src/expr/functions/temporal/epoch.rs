//! `UNIX_TIMESTAMP` and `FROM_UNIXTIME`: seconds since the epoch, in the time zone of the session.

use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};

use super::super::kernels::{any_nullable, arity, coerce, column, not_applicable, row_count, wrap};
use super::argument::{PatternArgument, TIMESTAMP_FORMAT};
use super::calendar::{Zone, offset_ms};
use super::convert::century_start;
use super::format::formatted;
use super::pattern::{Dialect, Moment};
use crate::clock::now_ms;
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TypeKind};

/// Folded only where it has arguments would be right; the registry knows one answer, so it is never folded.
pub(super) const UNIX_TIMESTAMP: Function =
    Function { name: "UNIX_TIMESTAMP", bind: |args| bind_unix(args), prepare: prepare_unix, deterministic: false };
pub(super) const FROM_UNIXTIME: Function =
    Function { name: "FROM_UNIXTIME", bind: |args| bind_from(args), prepare: prepare_from, deterministic: true };

fn bind_unix(args: &mut [Expr]) -> Result<DataType> {
    let takes = "nothing, or a string and, if wanted, its pattern";
    arity("UNIX_TIMESTAMP", takes, args, 0..=2)?;
    if !args.iter().all(|a| a.data_type().kind.is_string()) {
        return Err(not_applicable("UNIX_TIMESTAMP", takes, args));
    }
    Ok(DataType { kind: TypeKind::BigInt, nullable: any_nullable(args) })
}

/// A text that the pattern cannot read is the smallest BIGINT, as in Flink.
fn prepare_unix(call: &Call<'_>) -> Result<Kernel> {
    if call.args.is_empty() {
        return Ok(Box::new(|_, rows| {
            Ok(Value::Array(Arc::new(Int64Array::from_value(now_ms().div_euclid(1000), rows))))
        }));
    }
    let pattern = PatternArgument::new(call, 1, TIMESTAMP_FORMAT, Dialect::SimpleDateFormat);
    pattern.check()?;
    let zone = Zone::Named(call.context.time_zone);
    Ok(Box::new(move |args, rows| {
        let texts = column::<StringArray>(args, 0)?;
        let mut patterns = pattern.of_batch(args)?;
        let century = century_start();
        let seconds = (0..row_count(args, rows)).map(|row| {
            let Some((text, pattern)) = texts.get(row).zip(patterns.get(row)?) else { return Ok(None) };
            Ok(Some(pattern.read_simple(text, zone, century).map_or(i64::MIN, |ms| ms / 1000)))
        });
        Ok(wrap(args, Arc::new(seconds.collect::<Result<Int64Array>>()?)))
    }))
}

fn bind_from(args: &mut [Expr]) -> Result<DataType> {
    let takes = "an integer and, if wanted, a pattern";
    arity("FROM_UNIXTIME", takes, args, 1..=2)?;
    let fits = |(i, a): (usize, &Expr)| {
        let kind = &a.data_type().kind;
        if i == 0 { kind.is_integer() } else { kind.is_string() }
    };
    if !args.iter().enumerate().all(fits) {
        return Err(not_applicable("FROM_UNIXTIME", takes, args));
    }
    coerce(args, 0, &TypeKind::BigInt)?;
    Ok(DataType::string())
}

fn prepare_from(call: &Call<'_>) -> Result<Kernel> {
    let pattern = PatternArgument::new(call, 1, TIMESTAMP_FORMAT, Dialect::SimpleDateFormat);
    pattern.check()?;
    let zone = call.context.time_zone;
    Ok(Box::new(move |args, rows| {
        let seconds = column::<Int64Array>(args, 0)?;
        let mut patterns = pattern.of_batch(args)?;
        formatted(args, rows, |row, out| {
            let Some((seconds, pattern)) = seconds.get(row).zip(patterns.get(row)?) else { return Ok(None) };
            let ms = seconds.wrapping_mul(1000);
            let offset = offset_ms(zone, ms);
            pattern.write(&Moment::new(ms.wrapping_add(offset), 0, offset), out);
            Ok(Some(()))
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::*;
    use crate::expr::functions::kernels::testing::{col, col_not_null, run, run_in, show, text};
    use arrow::array::ArrayRef;

    const STRING: TypeKind = TypeKind::VarChar(crate::types::MAX_LENGTH);

    fn strings(values: &[Option<&str>]) -> Value {
        Value::Array(Arc::new(StringArray::from(values.to_vec())) as ArrayRef)
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn texts_become_seconds() {
        let texts = || strings(&[Some("1970-01-02 00:00:00"), Some("garbage"), None, Some("2020-1-2 3:4:5")]);
        let (kind, got) = run(FUNCTIONS, "UNIX_TIMESTAMP", vec![col(STRING)], &[texts()], 4).unwrap();
        assert_eq!(kind.to_string(), "BIGINT");
        assert_eq!(show(&got), "86400 | -9223372036854775808 | null | 1577934245");
        let zone = chrono_tz::America::New_York;
        let texts = strings(&[Some("1970-01-02 00:00:00"), Some("2026-03-08 02:30:00")]);
        let (kind, got) = run_in(zone, FUNCTIONS, "UNIX_TIMESTAMP", vec![col_not_null(STRING)], &[texts], 2).unwrap();
        assert_eq!((kind.to_string().as_str(), show(&got).as_str()), ("BIGINT NOT NULL", "104400 | 1772955000"));
        let inputs = [strings(&[Some("2020/01/02")]), Value::Scalar(Arc::new(StringArray::from(vec!["yyyy/MM/dd"])))];
        let args = vec![col(STRING), text("yyyy/MM/dd")];
        assert_eq!(show(&run(FUNCTIONS, "UNIX_TIMESTAMP", args, &inputs, 1).unwrap().1), "1577923200");
        let (kind, now) = run(FUNCTIONS, "UNIX_TIMESTAMP", vec![], &[], 2).unwrap();
        assert_eq!((kind.to_string().as_str(), now.len()), ("BIGINT NOT NULL", 2));
    }

    #[test]
    fn seconds_become_texts() {
        let seconds = Value::Array(Arc::new(Int64Array::from(vec![Some(86_400), None, Some(9_007_199_254_740_993)])));
        let args = vec![col(TypeKind::BigInt)];
        let (kind, got) = run(FUNCTIONS, "FROM_UNIXTIME", args, &[seconds], 3).unwrap();
        assert_eq!(kind.to_string(), "STRING");
        assert_eq!(show(&got), "1970-01-02 00:00:00 | null | 285428751-11-12 07:36:33");
        let zone = chrono_tz::America::New_York;
        let seconds = Value::Array(Arc::new(Int64Array::from(vec![86_400])));
        let (_, got) = run_in(zone, FUNCTIONS, "FROM_UNIXTIME", vec![col(TypeKind::BigInt)], &[seconds], 1).unwrap();
        assert_eq!(show(&got), "1970-01-01 19:00:00");
    }

    #[test]
    fn wrong_patterns_and_types_are_refused() {
        for (name, args) in [
            ("UNIX_TIMESTAMP", vec![col(TypeKind::Date)]),
            ("UNIX_TIMESTAMP", vec![col(STRING), text("bogus")]),
            ("FROM_UNIXTIME", vec![col(TypeKind::Double)]),
            ("FROM_UNIXTIME", vec![col(TypeKind::BigInt), text("bogus")]),
        ] {
            assert_eq!(run(FUNCTIONS, name, args, &[], 0).unwrap_err().code, "invalid_argument", "{name}");
        }
    }
}
