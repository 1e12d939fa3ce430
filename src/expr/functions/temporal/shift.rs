//! `TIMESTAMPADD`, `TIMESTAMPDIFF` and `OVERLAPS`.
//!
//! Instants (`TIMESTAMP_LTZ`) are shifted and compared in UTC, as in Flink. Source: Calcite's
//! `SqlTimestampAddFunction.deduceType`, Flink's `TimestampDiffCallGen` and `DateTimeUtils.subtractMonths`.

use arrow::array::{Array, Int64Array};

use super::super::kernels::{any_nullable, arity, coerce, literal_text, not_applicable, row_count, values, wrap};
use super::calendar::{DAY_MS, Unit, add_months, from_ticks, ticks, ticks_per_ms};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TimestampKind, TypeKind};

pub(super) const TIMESTAMPADD: Function =
    Function { name: "TIMESTAMPADD", bind: |args| bind_add(args), prepare: prepare_add, deterministic: true };
pub(super) const TIMESTAMPDIFF: Function =
    Function { name: "TIMESTAMPDIFF", bind: |args| bind_diff(args), prepare: prepare_diff, deterministic: true };
pub(super) const OVERLAPS: Function =
    Function { name: "OVERLAPS", bind: |args| bind_overlaps(args), prepare: prepare_overlaps, deterministic: true };

const ADD_TAKES: &str = "a unit, an integer and a date, time or timestamp";
const DIFF_TAKES: &str = "a unit and two dates, times or timestamps";
const OVERLAPS_TAKES: &str = "two periods: (start, end) or (start, interval)";

fn unit_of(args: &[Expr]) -> Option<Unit> {
    Unit::parse(literal_text(args.first())?).filter(|u| {
        matches!(u, Unit::Microsecond | Unit::Nanosecond) || u.milliseconds().is_some() || u.months().is_some()
    })
}

fn is_point_in_time(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Date | TypeKind::Time(_) | TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..))
}

fn bind_add(args: &mut [Expr]) -> Result<DataType> {
    arity("TIMESTAMPADD", ADD_TAKES, args, 3..=3)?;
    let refused = || not_applicable("TIMESTAMPADD", ADD_TAKES, args);
    let unit = unit_of(args).ok_or_else(refused)?;
    let [_, count, time] = &*args else { return Err(refused()) };
    if !count.data_type().kind.is_integer() || matches!(unit, Unit::Microsecond | Unit::Nanosecond) {
        return Err(refused());
    }
    // From the day up the type stays; below, a date becomes a timestamp, and a time attribute is lost.
    let kind = match (&time.data_type().kind, unit) {
        (kind, _) if !is_point_in_time(kind) => return Err(refused()),
        (TypeKind::Date, Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond) => {
            TypeKind::Timestamp(6, TimestampKind::Regular)
        }
        (TypeKind::Timestamp(p, _), Unit::Millisecond) => TypeKind::Timestamp((*p).max(3), TimestampKind::Regular),
        (TypeKind::TimestampLtz(p, _), Unit::Millisecond) => {
            TypeKind::TimestampLtz((*p).max(3), TimestampKind::Regular)
        }
        (kind, Unit::Hour | Unit::Minute | Unit::Second) => kind.regular(),
        (kind, _) => kind.clone(),
    };
    let nullable = any_nullable(args);
    coerce(args, 1, &TypeKind::BigInt)?;
    Ok(DataType { kind, nullable })
}

fn prepare_add(call: &Call<'_>) -> Result<Kernel> {
    let (Some(unit), Some(time)) = (unit_of(call.args), call.args.get(2)) else {
        return Err(Error::internal("TIMESTAMPADD without a unit"));
    };
    let from = time.data_type().kind.clone();
    let to = call.data_type.to_arrow();
    let (from_per_ms, to_per_ms) = (ticks_per_ms(&time.data_type().to_arrow()), ticks_per_ms(&to));
    let add: Box<dyn Fn(i64, i64) -> Option<i64> + Send + Sync> = match (from, unit.months(), unit.milliseconds()) {
        // Whole days change no time of day.
        (TypeKind::Time(_), Some(_), _) => Box::new(|_, v| Some(v)),
        (TypeKind::Time(_), _, Some(step)) => {
            Box::new(move |n, v| Some(v.wrapping_add(n.wrapping_mul(step)).rem_euclid(DAY_MS)))
        }
        (TypeKind::Date, Some(months), _) => Box::new(move |n, v| Some(add_months(v, n.saturating_mul(months)))),
        (TypeKind::Date, _, Some(step)) if step % DAY_MS == 0 => {
            Box::new(move |n, v| v.checked_add(n.checked_mul(step / DAY_MS)?))
        }
        (TypeKind::Date, _, Some(step)) => {
            Box::new(move |n, v| v.checked_mul(DAY_MS)?.checked_add(n.checked_mul(step)?)?.checked_mul(to_per_ms))
        }
        (_, Some(months), _) => Box::new(move |n, v| {
            let day = DAY_MS * from_per_ms;
            let days = add_months(v.div_euclid(day), n.saturating_mul(months));
            days.checked_mul(day)?.checked_add(v.rem_euclid(day))
        }),
        (_, _, Some(step)) => {
            let step = step * from_per_ms;
            Box::new(move |n, v| v.checked_add(n.checked_mul(step)?))
        }
        _ => return Err(Error::internal("TIMESTAMPADD with a unit that it does not take")),
    };
    Ok(Box::new(move |args, rows| {
        let args = args.get(1..).unwrap_or_default();
        let (counts, times) = (Ticks::new(args, 0)?, Ticks::new(args, 1)?);
        let sums = (0..row_count(args, rows)).map(|row| {
            let Some((n, v)) = counts.get(row).zip(times.get(row)) else { return Ok(None) };
            add(n, v)
                .map(Some)
                .ok_or_else(|| Error::invalid("timestamp_out_of_range", "the result of TIMESTAMPADD is out of range"))
        });
        Ok(wrap(args, from_ticks(sums.collect::<Result<Int64Array>>()?, &to)?))
    }))
}

fn bind_diff(args: &mut [Expr]) -> Result<DataType> {
    arity("TIMESTAMPDIFF", DIFF_TAKES, args, 3..=3)?;
    let refused = || not_applicable("TIMESTAMPDIFF", DIFF_TAKES, args);
    unit_of(args).ok_or_else(refused)?;
    let [_, start, end] = &*args else { return Err(refused()) };
    if ![start, end].into_iter().all(|a| is_point_in_time(&a.data_type().kind)) {
        return Err(refused());
    }
    let is_instant = |a: &Expr| matches!(a.data_type().kind, TypeKind::TimestampLtz(..));
    if is_instant(start) != is_instant(end) {
        let message = "TIMESTAMPDIFF compares TIMESTAMP_LTZ with TIMESTAMP_LTZ only; cast one of the two";
        return Err(Error::invalid("invalid_argument", message));
    }
    Ok(DataType { kind: TypeKind::Int, nullable: any_nullable(args) })
}

fn prepare_diff(call: &Call<'_>) -> Result<Kernel> {
    let unit = unit_of(call.args).ok_or_else(|| Error::internal("TIMESTAMPDIFF without a unit"))?;
    let diff: Box<dyn Fn(i64, i64) -> i64 + Send + Sync> = match (unit, unit.months(), unit.milliseconds()) {
        // Flink multiplies whole seconds.
        (Unit::Millisecond, ..) => Box::new(|start, end| seconds_between(start, end).wrapping_mul(1000)),
        (_, Some(months), _) => Box::new(move |start, end| months_between(start, end) / months),
        (_, _, Some(step)) => Box::new(move |start, end| end.wrapping_sub(start) / step),
        _ => {
            let per_second = if unit == Unit::Microsecond { 1_000_000 } else { 1_000_000_000 };
            Box::new(move |start, end| seconds_between(start, end).wrapping_mul(per_second))
        }
    };
    Ok(Box::new(move |args, rows| {
        let args = args.get(1..).unwrap_or_default();
        let (starts, ends) = (Ticks::new(args, 0)?, Ticks::new(args, 1)?);
        let values: Int64Array = (0..row_count(args, rows))
            .map(|row| starts.ms(row).zip(ends.ms(row)).map(|(start, end)| diff(start, end)))
            .collect();
        // Flink's INT wraps too.
        Ok(wrap(args, from_ticks(values, &arrow::datatypes::DataType::Int32)?))
    }))
}

fn seconds_between(start: i64, end: i64) -> i64 {
    end.wrapping_sub(start) / 1000
}

/// Whole months from `start` to `end`, both in milliseconds.
fn months_between(start: i64, end: i64) -> i64 {
    let (end_day, end_time) = (end.div_euclid(DAY_MS), end.rem_euclid(DAY_MS));
    let (start_day, start_time) = (start.div_euclid(DAY_MS), start.rem_euclid(DAY_MS));
    let months = months_between_days(end_day, start_day);
    let reached = add_months(start_day, months) == end_day;
    // As Flink does, one is taken off going backwards too: from 2020-03-31 12:00 to 2020-01-31 11:00 it is -3 months.
    if reached && end_time < start_time { months - 1 } else { months }
}

fn months_between_days(end: i64, start: i64) -> i64 {
    if end < start {
        return -months_between_days(start, end);
    }
    let (a, b) = (super::calendar::Date::of(start), super::calendar::Date::of(end));
    let mut months = (b.year - a.year) * 12 + b.month - a.month;
    while add_months(start, months) > end {
        months -= 1;
    }
    months
}

fn bind_overlaps(args: &mut [Expr]) -> Result<DataType> {
    arity("OVERLAPS", OVERLAPS_TAKES, args, 4..=4)?;
    let fits = |pair: &[Expr]| {
        pair.first().is_some_and(|a| is_point_in_time(&a.data_type().kind))
            && pair.get(1).is_some_and(|b| {
                let kind = &b.data_type().kind;
                is_point_in_time(kind) || matches!(kind, TypeKind::IntervalDayTime | TypeKind::IntervalYearMonth)
            })
    };
    if !args.chunks(2).all(fits) {
        return Err(not_applicable("OVERLAPS", OVERLAPS_TAKES, args));
    }
    Ok(DataType { kind: TypeKind::Boolean, nullable: any_nullable(args) })
}

fn prepare_overlaps(call: &Call<'_>) -> Result<Kernel> {
    let kinds: Vec<_> = call.args.iter().map(|a| a.data_type().kind.clone()).collect();
    Ok(Box::new(move |args, rows| {
        let columns = (0..4).map(|i| Ticks::new(args, i)).collect::<Result<Vec<_>>>()?;
        let period = |row: usize, at: usize| {
            let start = columns.get(at)?.ms(row)?;
            let second = columns.get(at + 1)?;
            let end = match kinds.get(at + 1)? {
                TypeKind::IntervalDayTime => start.saturating_add(second.get(row)?),
                TypeKind::IntervalYearMonth => {
                    let days = add_months(start.div_euclid(DAY_MS), second.get(row)?);
                    days * DAY_MS + start.rem_euclid(DAY_MS)
                }
                _ => second.ms(row)?,
            };
            Some((start.min(end), start.max(end)))
        };
        let overlaps: arrow::array::BooleanArray = (0..row_count(args, rows))
            .map(|row| {
                let ((a, b), (c, d)) = period(row, 0).zip(period(row, 2))?;
                Some(a <= d && c <= b)
            })
            .collect();
        Ok(wrap(args, std::sync::Arc::new(overlaps)))
    }))
}

/// A temporal or integer argument.
struct Ticks {
    values: Int64Array,
    constant: bool,
    per_ms: i64,
    is_date: bool,
}

impl Ticks {
    fn new(args: &[Value], index: usize) -> Result<Self> {
        let array = values(args, index)?;
        let ticks = match array.data_type() {
            arrow::datatypes::DataType::Int64 => {
                super::super::kernels::primitive::<arrow::datatypes::Int64Type>(array)?.clone()
            }
            _ => ticks(array)?,
        };
        Ok(Ticks {
            values: ticks,
            constant: matches!(args.get(index), Some(Value::Scalar(_))),
            per_ms: ticks_per_ms(array.data_type()),
            is_date: *array.data_type() == arrow::datatypes::DataType::Date32,
        })
    }
    fn get(&self, row: usize) -> Option<i64> {
        let at = if self.constant { 0 } else { row };
        self.values.is_valid(at).then(|| self.values.value(at))
    }
    /// The point in time in milliseconds, the rest cut off.
    fn ms(&self, row: usize) -> Option<i64> {
        let value = self.get(row)?;
        Some(if self.is_date { value * DAY_MS } else { value.div_euclid(self.per_ms) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::super::testing::{DATE, LTZ, TS, TS6, date, ltz, ts, ts6};
    use super::*;
    use crate::expr::functions::kernels::testing::{col, run, show, text};
    use arrow::array::{ArrayRef, DurationMillisecondArray, StringArray, Time32MillisecondArray};
    use std::sync::Arc;

    fn scalar(unit: &str) -> Value {
        Value::Scalar(Arc::new(StringArray::from(vec![unit])))
    }
    fn check_add(unit: &str, n: i64, kind: TypeKind, time: ArrayRef, expected_type: &str, expected: &str) {
        let rows = time.len();
        let inputs = [scalar(unit), Value::Scalar(Arc::new(Int64Array::from(vec![n]))), Value::Array(time)];
        let args = vec![text(unit), col(TypeKind::BigInt), col(kind)];
        let (got_type, got) = run(FUNCTIONS, "TIMESTAMPADD", args, &inputs, rows).unwrap();
        assert_eq!((got_type.to_string().as_str(), show(&got).as_str()), (expected_type, expected), "{unit} {n}");
    }
    fn check_diff(unit: &str, kind: TypeKind, start: ArrayRef, end: ArrayRef, expected: &str) {
        let inputs = [scalar(unit), Value::Array(start), Value::Array(end)];
        let args = vec![text(unit), col(kind.clone()), col(kind)];
        let (got_type, got) = run(FUNCTIONS, "TIMESTAMPDIFF", args, &inputs, inputs_rows(&inputs)).unwrap();
        assert_eq!((got_type.to_string().as_str(), show(&got).as_str()), ("INT", expected), "{unit}");
    }
    fn inputs_rows(inputs: &[Value]) -> usize {
        values(inputs, 1).unwrap().len()
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn adding_keeps_or_widens_the_type() {
        let rowtime = || TypeKind::Timestamp(3, TimestampKind::Rowtime);
        let at = || ts(&["2026-03-01T23:59:59.670"]);
        check_add("HOUR", 5, rowtime(), at(), "TIMESTAMP(3)", "2026-03-02T04:59:59.670");
        check_add("SQL_TSI_DAY", 1, rowtime(), at(), "TIMESTAMP(3) *ROWTIME*", "2026-03-02T23:59:59.670");
        check_add("WEEK", 1, rowtime(), at(), "TIMESTAMP(3) *ROWTIME*", "2026-03-08T23:59:59.670");
        check_add("DECADE", 1, rowtime(), at(), "TIMESTAMP(3) *ROWTIME*", "2036-03-01T23:59:59.670");
        check_add(
            "MILLISECOND",
            1,
            TypeKind::Timestamp(0, TimestampKind::Regular),
            at(),
            "TIMESTAMP(3)",
            "2026-03-01T23:59:59.671",
        );
        check_add("MONTH", 1, TS6, ts6(&["2020-01-31T10:00:00.123456"]), "TIMESTAMP(6)", "2020-02-29T10:00:00.123456");
        check_add("MONTH", 1, TS, ts(&["1969-12-31T23:30:00"]), "TIMESTAMP(3)", "1970-01-31T23:30:00");
        check_add("MINUTE", 5, LTZ, ltz(&["2026-03-01T23:59:59.670"]), "TIMESTAMP_LTZ(3)", "2026-03-02T00:04:59.670Z");
        check_add("DAY", 3, DATE, date(&["2020-01-31"]), "DATE", "2020-02-03");
        check_add("QUARTER", 1, DATE, date(&["2020-01-31"]), "DATE", "2020-04-30");
        check_add("HOUR", 1, DATE, date(&["2020-01-31"]), "TIMESTAMP(6)", "2020-01-31T01:00:00");
        let time = || Arc::new(Time32MillisecondArray::from(vec![84_600_000])) as ArrayRef;
        check_add("HOUR", 10, TypeKind::Time(0), time(), "TIME(0)", "09:30:00");
        check_add("MONTH", 10, TypeKind::Time(0), time(), "TIME(0)", "23:30:00");
    }

    #[test]
    fn differences_are_whole_units() {
        for (unit, start, end, expected) in [
            ("MONTH", "2020-01-31T00:00:00", "2020-02-29T00:00:00", "1"),
            ("MONTH", "2020-01-31T12:00:00", "2020-03-31T11:00:00", "1"),
            ("MONTH", "2020-03-31T11:00:00", "2020-01-31T12:00:00", "-2"),
            ("MONTH", "2020-02-29T12:00:00", "2020-01-31T11:00:00", "-1"),
            ("MONTH", "2020-01-31T11:00:00", "2020-02-29T10:00:00", "0"),
            ("QUARTER", "2020-01-31T11:00:00", "2020-12-29T10:00:00", "3"),
            ("YEAR", "2026-03-01T23:59:59.670", "2020-01-31T00:00:00", "-6"),
            ("WEEK", "2026-03-01T23:59:59.670", "2020-01-31T00:00:00", "-317"),
            ("DAY", "2026-03-01T23:59:59.670", "2020-01-31T00:00:00", "-2221"),
            ("SECOND", "2026-03-01T23:59:59.670", "2020-01-31T00:00:00", "-191980799"),
            ("MILLISECOND", "2026-03-01T23:59:59.670", "2020-01-31T00:00:00", "1292729320"),
            ("SECOND", "0001-01-01T00:00:00", "2020-01-31T00:00:00", "-708483840"),
            ("MINUTE", "2020-01-01T00:00:59", "2020-01-01T00:01:00", "0"),
        ] {
            check_diff(unit, TS, ts(&[start]), ts(&[end]), expected);
        }
        check_diff("MONTH", DATE, date(&["2020-03-31", "2020-01-31"]), date(&["2020-02-29", "2020-02-29"]), "-1 | 1");
        check_diff("HOUR", DATE, date(&["2020-01-31"]), date(&["2020-03-01"]), "720");
        check_diff("WEEK", DATE, date(&["2020-01-31"]), date(&["2020-12-29"]), "47");
    }

    #[test]
    fn mixed_instants_and_wrong_types_are_refused() {
        for (name, args) in [
            ("TIMESTAMPDIFF", vec![text("DAY"), col(TS), col(LTZ)]),
            ("TIMESTAMPDIFF", vec![text("DAY"), col(TS), col(TypeKind::VarChar(9))]),
            ("TIMESTAMPADD", vec![text("DAY"), col(TypeKind::Int), col(TypeKind::VarChar(9))]),
            ("TIMESTAMPADD", vec![text("DAY"), col(TypeKind::Double), col(TS)]),
            ("TIMESTAMPADD", vec![text("MICROSECOND"), col(TypeKind::BigInt), col(TS)]),
        ] {
            assert_eq!(run(FUNCTIONS, name, args, &[], 0).unwrap_err().code, "invalid_argument", "{name}");
        }
    }

    #[test]
    fn periods_overlap_when_they_touch() {
        let at = Value::Array(ts(&["2026-03-01T23:59:59.670", "2026-03-10T23:59:50.444"]));
        let day: ArrayRef = Arc::new(DurationMillisecondArray::from(vec![DAY_MS]));
        let start = Value::Scalar(ts(&["2026-03-01T00:00:00"]));
        let args = vec![col(TS), col(TypeKind::IntervalDayTime), col(TS), col(TypeKind::IntervalDayTime)];
        let inputs = [at, Value::Scalar(day.clone()), start, Value::Scalar(day)];
        let (_, got) = run(FUNCTIONS, "OVERLAPS", args, &inputs, 2).unwrap();
        assert_eq!(show(&got), "true | false");
    }
}
