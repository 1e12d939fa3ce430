//! `EXTRACT` and its short forms (`YEAR`, `HOUR`, …).
//!
//! Before 1970 the answers are Flink's, which divides toward zero: `HOUR` of 1969-12-31 23:00 is -1, and its `YEAR` is
//! 1970. Source: `ExtractCallGen` and `DateTimeUtils.convertExtract`.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Int64Type;

use super::super::kernels::{arity, literal_text, not_applicable, on_array};
use super::calendar::{DAY_MS, Date, HOUR_MS, MINUTE_MS, SECOND_MS, Unit, days_of, iso_week, offset_ms, ticks};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Function, Kernel};
use crate::types::{DataType, TypeKind};

/// A function that extracts one unit.
macro_rules! part {
    ($name:literal, $unit:ident) => {
        Function {
            name: $name,
            bind: |args| {
                arity($name, "a date, time, timestamp or interval", args, 1..=1)?;
                bind_part($name, Unit::$unit, args)
            },
            prepare: |call| prepare_part(call, Unit::$unit),
            deterministic: true,
        }
    };
}

pub(super) const EXTRACT: Function =
    Function { name: "EXTRACT", bind: |args| bind_extract(args), prepare: prepare_extract, deterministic: true };
pub(super) const YEAR: Function = part!("YEAR", Year);
pub(super) const QUARTER: Function = part!("QUARTER", Quarter);
pub(super) const MONTH: Function = part!("MONTH", Month);
pub(super) const WEEK: Function = part!("WEEK", Week);
pub(super) const DAYOFYEAR: Function = part!("DAYOFYEAR", DayOfYear);
pub(super) const DAYOFMONTH: Function = part!("DAYOFMONTH", Day);
pub(super) const DAYOFWEEK: Function = part!("DAYOFWEEK", DayOfWeek);
pub(super) const HOUR: Function = part!("HOUR", Hour);
pub(super) const MINUTE: Function = part!("MINUTE", Minute);
pub(super) const SECOND: Function = part!("SECOND", Second);

fn unit_of(args: &[Expr]) -> Option<Unit> {
    Unit::parse(literal_text(args.first())?)
}

fn bind_extract(args: &mut [Expr]) -> Result<DataType> {
    let takes = "a unit and a date, time, timestamp or interval";
    arity("EXTRACT", takes, args, 2..=2)?;
    let unit = unit_of(args).ok_or_else(|| not_applicable("EXTRACT", takes, args))?;
    bind_part("EXTRACT", unit, args)
}

fn bind_part(name: &str, unit: Unit, args: &[Expr]) -> Result<DataType> {
    use Unit::{Day, Hour, Microsecond, Millisecond, Minute, Month, Nanosecond, Quarter, Second, Year};
    let Some(arg) = args.last() else { return Err(not_applicable(name, "an argument", args)) };
    let known = match &arg.data_type().kind {
        TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..) => true,
        TypeKind::Date => !matches!(unit, Microsecond | Nanosecond),
        TypeKind::Time(_) => matches!(unit, Hour | Minute | Second | Millisecond),
        TypeKind::IntervalYearMonth => matches!(unit, Year | Quarter | Month),
        TypeKind::IntervalDayTime => matches!(unit, Day | Hour | Minute | Second | Millisecond),
        _ => return Err(not_applicable(name, "a date, time, timestamp or interval", args)),
    };
    if !known {
        let message = format!("{unit:?} cannot be extracted from {}", arg.data_type());
        return Err(Error::invalid("invalid_argument", message));
    }
    Ok(DataType { kind: TypeKind::BigInt, nullable: arg.data_type().nullable })
}

fn prepare_extract(call: &Call<'_>) -> Result<Kernel> {
    let unit = unit_of(call.args).ok_or_else(|| Error::internal("EXTRACT without a unit"))?;
    let kernel = prepare_part(call, unit)?;
    Ok(Box::new(move |args, rows| kernel(args.get(1..).unwrap_or_default(), rows)))
}

fn prepare_part(call: &Call<'_>, unit: Unit) -> Result<Kernel> {
    let Some(arg) = call.args.last() else { return Err(Error::internal("EXTRACT without a value")) };
    let zone = call.context.time_zone;
    let per_ms = super::calendar::ticks_per_ms(&arg.data_type().to_arrow());
    Ok(match arg.data_type().kind {
        TypeKind::Timestamp(..) if per_ms == 1 => lift(move |v| of_timestamp(unit, v, 0)),
        TypeKind::Timestamp(..) => lift(move |v| of_timestamp(unit, v.div_euclid(per_ms), nanos(v, per_ms))),
        TypeKind::TimestampLtz(..) => lift(move |v| {
            let ms = v.div_euclid(per_ms);
            of_timestamp(unit, ms + offset_ms(zone, ms), nanos(v, per_ms))
        }),
        TypeKind::Date => lift(move |v| of_date(unit, v)),
        TypeKind::IntervalYearMonth => lift(move |v| match unit {
            Unit::Year => v / 12,
            Unit::Quarter => v % 12 / 3 + 1,
            _ => v % 12,
        }),
        TypeKind::IntervalDayTime => lift(move |v| if unit == Unit::Day { v / DAY_MS } else { of_time(unit, v) }),
        _ => lift(move |v| of_time(unit, v)),
    })
}

fn lift(f: impl Fn(i64) -> i64 + Send + Sync + 'static) -> Kernel {
    on_array(move |array| Ok(Arc::new(ticks(array)?.unary::<_, Int64Type>(&f)) as ArrayRef))
}

/// Nanoseconds within the millisecond.
fn nanos(ticks: i64, per_ms: i64) -> i64 {
    ticks.rem_euclid(per_ms) * (1_000_000 / per_ms)
}

fn of_timestamp(unit: Unit, ms: i64, nanos: i64) -> i64 {
    match unit {
        Unit::Epoch => ms / SECOND_MS,
        Unit::Microsecond => ms % SECOND_MS * 1000 + nanos / 1000,
        Unit::Nanosecond => ms % SECOND_MS * 1_000_000 + nanos,
        Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond => of_time(unit, ms),
        _ => of_date(unit, ms / DAY_MS),
    }
}

fn of_time(unit: Unit, ms: i64) -> i64 {
    match unit {
        Unit::Hour => ms % DAY_MS / HOUR_MS,
        Unit::Minute => ms % HOUR_MS / MINUTE_MS,
        Unit::Second => ms % MINUTE_MS / SECOND_MS,
        _ => ms % SECOND_MS,
    }
}

fn of_date(unit: Unit, days: i64) -> i64 {
    let date = Date::of(days);
    // Centuries and millennia are counted from year 1.
    let ordinal =
        |years: i64| if date.year > 0 { (date.year + years - 1) / years } else { (date.year - years + 1) / years };
    match unit {
        Unit::Epoch => days * (DAY_MS / SECOND_MS),
        Unit::Year => date.year,
        Unit::Quarter => (date.month + 2) / 3,
        Unit::Month => date.month,
        Unit::Week => iso_week(days).1,
        Unit::IsoYear => iso_week(days).0,
        Unit::Day => date.day,
        Unit::DayOfYear => days - days_of(date.year, 1, 1) + 1,
        // Sunday is 1.
        Unit::DayOfWeek => (Date::weekday(days) + 1) % 7 + 1,
        Unit::IsoDayOfWeek => Date::weekday(days) + 1,
        Unit::Decade => date.year / 10,
        Unit::Century => ordinal(100),
        Unit::Millennium => ordinal(1000),
        // A date has no time of day.
        Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond | Unit::Microsecond | Unit::Nanosecond => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::super::testing::{DATE, LTZ, TS, TS6, date, ltz, ts, ts6};
    use super::*;
    use crate::expr::function::Value;
    use crate::expr::functions::kernels::testing::{col, run, run_in, show, text};
    use arrow::array::{DurationMillisecondArray, IntervalYearMonthArray, Time32MillisecondArray};

    fn check(unit: &str, kind: TypeKind, values: ArrayRef, expected: &str) {
        let rows = values.len();
        let unit_value = Value::Scalar(Arc::new(arrow::array::StringArray::from(vec![unit])));
        let args = vec![text(unit), col(kind)];
        let (got_type, got) = run(FUNCTIONS, "EXTRACT", args, &[unit_value, Value::Array(values)], rows).unwrap();
        assert_eq!((got_type.to_string().as_str(), show(&got).as_str()), ("BIGINT", expected), "{unit}");
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn parts_of_timestamps_and_dates() {
        let stamps = || ts(&["2026-03-01T23:59:59.670", "2026-03-23T23:59:37.851"]);
        for (unit, expected) in [
            ("YEAR", "2026 | 2026"),
            ("QUARTER", "1 | 1"),
            ("MONTH", "3 | 3"),
            ("WEEK", "9 | 13"),
            ("DAY", "1 | 23"),
            ("DOY", "60 | 82"),
            ("DOW", "1 | 2"),
            ("ISODOW", "7 | 1"),
            ("ISOYEAR", "2026 | 2026"),
            ("HOUR", "23 | 23"),
            ("MINUTE", "59 | 59"),
            ("SECOND", "59 | 37"),
            ("MILLISECOND", "670 | 851"),
            ("EPOCH", "1772409599 | 1774310377"),
            ("DECADE", "202 | 202"),
            ("CENTURY", "21 | 21"),
            ("MILLENNIUM", "3 | 3"),
        ] {
            check(unit, TS, stamps(), expected);
        }
        check("MICROSECOND", TS6, ts6(&["2020-01-01T00:00:01.123456"]), "123456");
        check("NANOSECOND", TS6, ts6(&["2020-01-01T00:00:01.123456"]), "123456000");
        check("WEEK", DATE, date(&["2021-01-01", "1960-01-01"]), "53 | 53");
        check("CENTURY", DATE, date(&["2000-01-01", "2001-01-01"]), "20 | 21");
        check("EPOCH", DATE, date(&["1999-05-06"]), "925948800");
    }

    #[test]
    fn before_1970_flink_divides_toward_zero() {
        let last_hour = || ts(&["1969-12-31T23:00:00"]);
        check("HOUR", TS, last_hour(), "-1");
        check("DAY", TS, last_hour(), "1");
        check("YEAR", TS, last_hour(), "1970");
    }

    #[test]
    fn parts_of_times_and_intervals() {
        let time: ArrayRef = Arc::new(Time32MillisecondArray::from(vec![45_296_000]));
        check("MINUTE", TypeKind::Time(0), time, "34");
        let months = || Arc::new(IntervalYearMonthArray::from(vec![25])) as ArrayRef;
        check("YEAR", TypeKind::IntervalYearMonth, months(), "2");
        check("MONTH", TypeKind::IntervalYearMonth, months(), "1");
        let hours = || Arc::new(DurationMillisecondArray::from(vec![50 * HOUR_MS + 10 * MINUTE_MS])) as ArrayRef;
        check("DAY", TypeKind::IntervalDayTime, hours(), "2");
        check("HOUR", TypeKind::IntervalDayTime, hours(), "2");
        check("MINUTE", TypeKind::IntervalDayTime, hours(), "10");
    }

    #[test]
    fn instants_are_seen_in_the_zone_of_the_session() {
        let zone = chrono_tz::America::New_York;
        let values = Value::Array(ltz(&["2026-03-02T04:59:59.670"]));
        let (_, got) = run_in(zone, FUNCTIONS, "HOUR", vec![col(LTZ)], &[values], 1).unwrap();
        assert_eq!(show(&got), "23");
    }

    #[test]
    fn impossible_parts_are_refused() {
        for (name, args) in [
            ("YEAR", vec![col(TypeKind::VarChar(10))]),
            ("YEAR", vec![col(TypeKind::Time(0))]),
            ("EXTRACT", vec![text("MICROSECOND"), col(DATE)]),
            ("EXTRACT", vec![text("BOGUS"), col(DATE)]),
            ("EXTRACT", vec![text("YEAR"), col(TypeKind::IntervalDayTime)]),
        ] {
            assert_eq!(run(FUNCTIONS, name, args, &[], 0).unwrap_err().code, "invalid_argument", "{name}");
        }
    }
}
