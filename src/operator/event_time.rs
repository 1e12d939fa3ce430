//! Event time of rows as ms, and the shift between instants and the local time in which windows are aligned.
//!
//! Windows over a `TIMESTAMP_LTZ` rowtime are aligned in `table.local-time-zone`: an instant is first shifted to local
//! time, a window then fires when the watermark reaches the instant of its last ms. Source: Flink `TimeWindowUtil`.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, LocalResult, Offset, TimeZone};
use chrono_tz::Tz;

use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::operator::{MAX_WATERMARK, Watermark};
use crate::state::integers;
use crate::types::TypeKind;

/// Offsets change on quarters of an hour (since 1972), ms; within one the offset is looked up once.
const OFFSET_STEP_MS: i64 = 900_000;

/// The event times of a timestamp column, ms; null is an error (`null_rowtime`).
pub fn to_ms(column: &ArrayRef) -> Result<Vec<i64>> {
    if column.null_count() > 0 {
        return Err(Error::invalid(
            "null_rowtime",
            "a row has a null event time: filter such rows out or give the column a value in the query",
        ));
    }
    let values = integers::to_i64(column)?;
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => values.iter().map(|v| v.div_euclid(1_000)).collect(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => values.iter().map(|v| v.div_euclid(1_000_000)).collect(),
        _ => values.to_vec(),
    })
}

/// A timestamp column of `data_type` from ms.
pub fn from_ms(mut values: Vec<i64>, data_type: &DataType) -> Result<ArrayRef> {
    let factor = match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000,
        _ => 1,
    };
    if factor != 1 {
        values.iter_mut().for_each(|v| *v = v.saturating_mul(factor));
    }
    integers::from_i64(values, None, data_type)
}

/// Between instants and local time; the identity where time is local already, or in UTC.
#[derive(Debug, Clone, Copy)]
pub struct TimeShift {
    zone: Option<Tz>,
    /// The step of the offset that was last looked up, and that offset.
    last: (i64, i64),
}

impl TimeShift {
    /// No shift.
    pub fn none() -> Self {
        TimeShift { zone: None, last: (i64::MIN, 0) }
    }
    /// The shift of windows over this rowtime type.
    pub fn of(rowtime: &TypeKind, context: &EvalContext) -> Self {
        let shifted = matches!(rowtime, TypeKind::TimestampLtz(..)) && context.time_zone != Tz::UTC;
        TimeShift { zone: shifted.then_some(context.time_zone), ..Self::none() }
    }
    /// The shift of windows that rows already have; `zoned` if they are aligned in the session's time zone.
    pub fn of_windows(zoned: bool, context: &EvalContext) -> Self {
        let zone = (zoned && context.time_zone != Tz::UTC).then_some(context.time_zone);
        TimeShift { zone, ..Self::none() }
    }

    /// Shifts instants to local time.
    pub fn to_local(&mut self, times: &mut [i64]) {
        let Some(zone) = self.zone else { return };
        for time in times {
            let step = time.div_euclid(OFFSET_STEP_MS);
            if step != self.last.0 {
                let offset = DateTime::from_timestamp_millis(*time)
                    .map_or(0, |t| zone.offset_from_utc_datetime(&t.naive_utc()).fix().local_minus_utc());
                self.last = (step, i64::from(offset) * 1_000);
            }
            *time = time.wrapping_add(self.last.1);
        }
    }

    /// The instant of a local time: the later one of two, and as if the clock had not jumped where there is none.
    pub fn to_instant(&self, local: i64) -> i64 {
        let Some(zone) = self.zone else { return local };
        let Some(naive) = DateTime::from_timestamp_millis(local).map(|t| t.naive_utc()) else { return local };
        let offset = match zone.offset_from_local_datetime(&naive) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) => offset,
            LocalResult::None => zone.offset_from_utc_datetime(&(naive - chrono::TimeDelta::hours(24))),
        };
        local - i64::from(offset.fix().local_minus_utc()) * 1_000
    }

    /// Whether a window with this (local) end has fired at a watermark. Source: `TimeWindowUtil.isWindowFired`.
    pub fn has_fired(&self, end: i64, watermark: Watermark) -> bool {
        watermark == MAX_WATERMARK || watermark >= self.to_instant(end.wrapping_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_over_changes_of_the_offset() {
        let context = EvalContext { time_zone: Tz::Europe__Berlin };
        let mut shift = TimeShift::of(&TypeKind::TimestampLtz(3, crate::types::TimestampKind::Rowtime), &context);
        const HOUR: i64 = 3_600_000;
        // 2024-03-31T01:00Z the clock goes from 02:00 to 03:00; 2024-10-27T01:00Z from 03:00 to 02:00.
        let (spring, autumn) = (1_711_846_800_000, 1_729_990_800_000);
        for (instant, offset) in [(spring - 1, 1), (spring, 2), (autumn - 1, 2), (autumn, 1), (0, 1)] {
            let mut times = [instant];
            shift.to_local(&mut times);
            assert_eq!(times[0], instant + offset * HOUR, "{instant}");
        }
        for (local, instant) in [
            (spring + HOUR - 1, spring - 1),
            (spring + HOUR + 1, spring + 1),
            (spring + 2 * HOUR, spring),
            (autumn + HOUR, autumn),
            (autumn + 2 * HOUR, autumn + HOUR),
        ] {
            assert_eq!(shift.to_instant(local), instant, "{local}");
        }
        assert!(!shift.has_fired(HOUR, -1 - HOUR + HOUR - 1));
        assert!(shift.has_fired(HOUR, -1));
        let plain = TimeShift::of(&TypeKind::Timestamp(3, crate::types::TimestampKind::Rowtime), &context);
        assert_eq!(plain.to_instant(5), 5);
    }
}
