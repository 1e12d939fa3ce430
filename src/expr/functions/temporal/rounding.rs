//! `FLOOR(x TO unit)` and `CEIL(x TO unit)`, which the planner calls as `FLOOR(x, 'UNIT')`.
//!
//! The answers are Flink's, including these: weeks start on sunday; from the week up `CEIL` looks at the date only, so
//! that the 1st of a month at noon is its own month's ceiling; `CEIL` to a quarter, decade or century moves even a value that is
//! already on its boundary. Source: `DateTimeUtils.timestampFloor` and `julianDateFloor`.

use arrow::datatypes::Int64Type;

use super::super::kernels::{arity, literal_text, not_applicable, on_array};
use super::calendar::{DAY_MS, Date, Unit, days_of, from_ticks, offset_ms, ticks, ticks_per_ms};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::expr::function::{Call, Kernel};
use crate::types::{DataType, TypeKind};

/// Binds `FLOOR` or `CEIL` of a date, time or timestamp: the type stays, a time attribute too.
pub(in super::super) fn bind_round(name: &str, args: &[Expr]) -> Result<DataType> {
    let takes = "a number, or a date, time or timestamp and a unit";
    arity(name, takes, args, 2..=2)?;
    let unit = literal_text(args.get(1)).and_then(Unit::parse);
    match (args, unit) {
        ([arg, _], Some(unit)) if is_point_in_time(&arg.data_type().kind) && is_rounding_unit(unit) => {
            Ok(arg.data_type().clone())
        }
        _ => Err(not_applicable(name, takes, args)),
    }
}

fn is_point_in_time(kind: &TypeKind) -> bool {
    matches!(kind, TypeKind::Date | TypeKind::Time(_) | TypeKind::Timestamp(..) | TypeKind::TimestampLtz(..))
}

fn is_rounding_unit(unit: Unit) -> bool {
    unit.milliseconds().is_some() || unit.months().is_some()
}

/// Prepares `CEIL` (if `up`) or `FLOOR`.
pub(in super::super) fn prepare_round(call: &Call<'_>, up: bool) -> Result<Kernel> {
    let unit = literal_text(call.args.get(1)).and_then(Unit::parse);
    let unit = unit.ok_or_else(|| Error::internal("FLOOR without a unit"))?;
    let result_type = call.data_type.to_arrow();
    let per_ms = ticks_per_ms(&result_type);
    let zone = match call.data_type.kind {
        TypeKind::TimestampLtz(..) => call.context.time_zone,
        _ => chrono_tz::UTC,
    };
    let round: Box<dyn Fn(i64) -> i64 + Send + Sync> = match (&call.data_type.kind, unit) {
        // A date has no parts below the day, a time of day none from the day up.
        (TypeKind::Date, Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour) => Box::new(|v| v),
        (TypeKind::Date, _) => Box::new(move |days| round_date(unit, days, up)),
        (TypeKind::Time(_), Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour) => {
            let step = unit.milliseconds().unwrap_or(1);
            Box::new(move |ms| round_to(ms, step, up))
        }
        (TypeKind::Time(_), _) => Box::new(|v| v),
        (_, Unit::Millisecond | Unit::Second | Unit::Minute) => {
            let step = unit.milliseconds().unwrap_or(1);
            Box::new(move |v| round_to(v.div_euclid(per_ms), step, up).saturating_mul(per_ms))
        }
        _ => Box::new(move |v| {
            let ms = v.div_euclid(per_ms);
            let offset = offset_ms(zone, ms);
            let local = ms + offset;
            let rounded = match unit {
                Unit::Hour | Unit::Day => round_to(local, unit.milliseconds().unwrap_or(1), up),
                _ => round_date(unit, local / DAY_MS, up) * DAY_MS,
            };
            (rounded - offset).saturating_mul(per_ms)
        }),
    };
    Ok(on_array(move |array| from_ticks(ticks(array)?.unary::<_, Int64Type>(&round), &result_type)))
}

fn round_to(value: i64, step: i64, up: bool) -> i64 {
    let floor = value.div_euclid(step) * step;
    if up && floor != value { floor + step } else { floor }
}

fn round_date(unit: Unit, days: i64, up: bool) -> i64 {
    let Date { year, month, day } = Date::of(days);
    let up_if = |condition: bool| i64::from(up && condition);
    // The number of the group of years, which count from year 1 (decades from year 0).
    let first_year = |years: i64| years * ((year + years - 1) / years) + if up { 1 } else { 1 - years };
    match unit {
        Unit::Week => {
            let since_sunday = (Date::weekday(days) + 1) % 7;
            days - since_sunday + 7 * up_if(since_sunday > 0)
        }
        Unit::Month => days_of(year, month + up_if(day > 1), 1),
        Unit::Quarter => days_of(year, ((month + 2) / 3 + up_if(month > 1 || day > 1)) * 3 - 2, 1),
        Unit::Year => days_of(year + up_if(month > 1 || day > 1), 1, 1),
        Unit::Decade => days_of(10 * (year / 10 + i64::from(up)), 1, 1),
        Unit::Century => days_of(first_year(100), 1, 1),
        Unit::Millennium => days_of(first_year(1000), 1, 1),
        _ => days + i64::from(up),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::math::FUNCTIONS;
    use super::super::testing::{DATE, LTZ, TS6, date, ltz, ts, ts6};
    use super::*;
    use crate::expr::function::Value;
    use crate::expr::functions::kernels::testing::{col, run, run_in, show, text};
    use crate::types::TimestampKind;
    use arrow::array::{ArrayRef, StringArray, Time32MillisecondArray};
    use std::sync::Arc;

    fn check(name: &str, unit: &str, kind: TypeKind, values: ArrayRef, expected: &str) {
        let rows = values.len();
        let inputs = [Value::Array(values), Value::Scalar(Arc::new(StringArray::from(vec![unit])))];
        let (got_type, got) = run(FUNCTIONS, name, vec![col(kind.clone()), text(unit)], &inputs, rows).unwrap();
        assert_eq!(got_type, DataType::nullable(kind), "{name} TO {unit}");
        assert_eq!(show(&got), expected, "{name} TO {unit}");
    }

    // The expected values are what Flink 2.3.0 answered.
    #[test]
    fn timestamps_round_as_in_flink() {
        let rowtime = || TypeKind::Timestamp(3, TimestampKind::Rowtime);
        let stamps = || ts(&["2026-03-01T23:59:59.670", "2026-03-10T23:59:50.444"]);
        for (name, unit, expected) in [
            ("FLOOR", "SECOND", "2026-03-01T23:59:59 | 2026-03-10T23:59:50"),
            ("CEIL", "SECOND", "2026-03-02T00:00:00 | 2026-03-10T23:59:51"),
            ("CEIL", "MINUTE", "2026-03-02T00:00:00 | 2026-03-11T00:00:00"),
            ("FLOOR", "HOUR", "2026-03-01T23:00:00 | 2026-03-10T23:00:00"),
            ("FLOOR", "DAY", "2026-03-01T00:00:00 | 2026-03-10T00:00:00"),
            ("CEIL", "DAY", "2026-03-02T00:00:00 | 2026-03-11T00:00:00"),
            ("FLOOR", "WEEK", "2026-03-01T00:00:00 | 2026-03-08T00:00:00"),
            ("CEIL", "WEEK", "2026-03-01T00:00:00 | 2026-03-15T00:00:00"),
            ("FLOOR", "MONTH", "2026-03-01T00:00:00 | 2026-03-01T00:00:00"),
            ("CEIL", "MONTH", "2026-03-01T00:00:00 | 2026-04-01T00:00:00"),
            ("FLOOR", "QUARTER", "2026-01-01T00:00:00 | 2026-01-01T00:00:00"),
            ("CEIL", "QUARTER", "2026-04-01T00:00:00 | 2026-04-01T00:00:00"),
            ("CEIL", "YEAR", "2027-01-01T00:00:00 | 2027-01-01T00:00:00"),
            ("FLOOR", "DECADE", "2020-01-01T00:00:00 | 2020-01-01T00:00:00"),
            ("CEIL", "DECADE", "2030-01-01T00:00:00 | 2030-01-01T00:00:00"),
            ("FLOOR", "CENTURY", "2001-01-01T00:00:00 | 2001-01-01T00:00:00"),
            ("CEIL", "CENTURY", "2101-01-01T00:00:00 | 2101-01-01T00:00:00"),
            ("FLOOR", "MILLENNIUM", "2001-01-01T00:00:00 | 2001-01-01T00:00:00"),
            ("CEIL", "MILLENNIUM", "3001-01-01T00:00:00 | 3001-01-01T00:00:00"),
        ] {
            check(name, unit, rowtime(), stamps(), expected);
        }
        check("CEIL", "QUARTER", rowtime(), ts(&["2026-04-01T00:00:00"]), "2026-07-01T00:00:00");
        check("CEIL", "MONTH", rowtime(), ts(&["2026-01-01T10:00:00"]), "2026-01-01T00:00:00");
        check("FLOOR", "HOUR", rowtime(), ts(&["1969-12-31T23:30:00"]), "1969-12-31T23:00:00");
        check("FLOOR", "MONTH", rowtime(), ts(&["1969-12-31T23:30:00"]), "1970-01-01T00:00:00");
        check("FLOOR", "MILLISECOND", TS6, ts6(&["2026-03-01T00:00:00.123456"]), "2026-03-01T00:00:00.123");
        check("CEIL", "SECOND", TS6, ts6(&["2026-03-01T00:00:00.000001"]), "2026-03-01T00:00:00");
    }

    #[test]
    fn dates_and_times_round_as_in_flink() {
        check("FLOOR", "MONTH", DATE, date(&["2021-05-06"]), "2021-05-01");
        check("CEIL", "YEAR", DATE, date(&["2021-05-06", "2026-01-01"]), "2022-01-01 | 2026-01-01");
        check("FLOOR", "WEEK", DATE, date(&["2021-05-06", "1960-01-01"]), "2021-05-02 | 1959-12-27");
        check("CEIL", "DAY", DATE, date(&["2026-03-01"]), "2026-03-02");
        check("FLOOR", "HOUR", DATE, date(&["2021-05-06"]), "2021-05-06");
        let time = || Arc::new(Time32MillisecondArray::from(vec![45_296_789])) as ArrayRef;
        check("FLOOR", "MINUTE", TypeKind::Time(0), time(), "12:34:00");
        check("CEIL", "HOUR", TypeKind::Time(0), time(), "13:00:00");
        check("FLOOR", "DAY", TypeKind::Time(3), time(), "12:34:56.789");
    }

    #[test]
    fn instants_round_in_the_zone_of_the_session() {
        let zone = chrono_tz::America::New_York;
        for (unit, expected) in [("DAY", "2026-03-10T04:00:00Z"), ("MONTH", "2026-03-01T04:00:00Z")] {
            let inputs = [
                Value::Array(ltz(&["2026-03-11T03:59:50.444"])),
                Value::Scalar(Arc::new(StringArray::from(vec![unit]))),
            ];
            let (_, got) = run_in(zone, FUNCTIONS, "FLOOR", vec![col(LTZ), text(unit)], &inputs, 1).unwrap();
            assert_eq!(show(&got), expected);
        }
    }

    #[test]
    fn other_units_and_types_are_refused() {
        for args in
            [vec![col(DATE), text("DOW")], vec![col(TypeKind::Int), text("DAY")], vec![col(DATE), col(TypeKind::Int)]]
        {
            assert_eq!(run(FUNCTIONS, "FLOOR", args, &[], 0).unwrap_err().code, "invalid_argument");
        }
    }
}
