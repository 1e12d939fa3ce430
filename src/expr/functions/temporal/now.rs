//! The current time: per row of a stream, so per batch here. `PROCTIME()` is the processing-time attribute.

use arrow::array::Int64Array;

use super::super::kernels::{arity, not_applicable};
use super::calendar::{DAY_MS, from_ticks, offset_ms};
use crate::clock::now_ms;
use crate::error::Result;
use crate::expr::function::{Call, Function, Kernel, Value};
use crate::types::{DataType, TimestampKind, TypeKind};

macro_rules! now {
    ($name:literal, $kind:expr) => {
        Function {
            name: $name,
            bind: |args| {
                arity($name, "no arguments", args, 0..=0)?;
                Ok(DataType::not_null($kind))
            },
            prepare,
            deterministic: false,
        }
    };
}

const LTZ: TypeKind = TypeKind::TimestampLtz(3, TimestampKind::Regular);

pub(super) const NOW: Function = now!("NOW", LTZ);
pub(super) const CURRENT_TIMESTAMP: Function = now!("CURRENT_TIMESTAMP", LTZ);
pub(super) const CURRENT_ROW_TIMESTAMP: Function = now!("CURRENT_ROW_TIMESTAMP", LTZ);
pub(super) const PROCTIME: Function = now!("PROCTIME", TypeKind::TimestampLtz(3, TimestampKind::Proctime));
pub(super) const LOCALTIMESTAMP: Function = now!("LOCALTIMESTAMP", TypeKind::Timestamp(3, TimestampKind::Regular));
pub(super) const CURRENT_DATE: Function = now!("CURRENT_DATE", TypeKind::Date);
pub(super) const CURRENT_TIME: Function = now!("CURRENT_TIME", TypeKind::Time(0));
pub(super) const LOCALTIME: Function = now!("LOCALTIME", TypeKind::Time(0));

/// The event time of the operator that evaluates it, which puts it in place of the call; null where there is none.
pub(super) const CURRENT_WATERMARK: Function = Function {
    name: "CURRENT_WATERMARK",
    bind: |args| match args.as_slice() {
        [rowtime] => match rowtime.data_type().kind {
            TypeKind::Timestamp(_, TimestampKind::Rowtime) => {
                Ok(DataType::nullable(TypeKind::Timestamp(3, TimestampKind::Regular)))
            }
            TypeKind::TimestampLtz(_, TimestampKind::Rowtime) => Ok(DataType::nullable(LTZ)),
            _ => Err(not_applicable("CURRENT_WATERMARK", "an event time column", args)),
        },
        _ => Err(not_applicable("CURRENT_WATERMARK", "an event time column", args)),
    },
    prepare: |call| {
        let null = Value::null(&call.data_type.to_arrow());
        Ok(Box::new(move |_, _| Ok(null.clone())))
    },
    deterministic: false,
};

fn prepare(call: &Call<'_>) -> Result<Kernel> {
    let (kind, zone) = (call.data_type.kind.clone(), call.context.time_zone);
    let result_type = call.data_type.to_arrow();
    Ok(Box::new(move |_, rows| {
        let now = now_ms();
        let local = now + offset_ms(zone, now);
        let value = match kind {
            TypeKind::TimestampLtz(..) => now,
            TypeKind::Date => local.div_euclid(DAY_MS),
            TypeKind::Time(_) => local.rem_euclid(DAY_MS),
            _ => local,
        };
        Ok(Value::Array(from_ticks(Int64Array::from_value(value, rows), &result_type)?))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::FUNCTIONS;
    use super::super::calendar::{HOUR_MS, ticks};
    use super::*;
    use crate::expr::functions::kernels::testing::run_in;

    #[test]
    fn types_and_zones() {
        let zone = chrono_tz::Asia::Kolkata;
        let before = now_ms();
        let value = |name: &str, expected_type: &str| {
            let (kind, array) = run_in(zone, FUNCTIONS, name, vec![], &[], 2).unwrap();
            let (plain, attribute) =
                expected_type.split_once(" *").map_or((expected_type, String::new()), |(t, a)| (t, format!(" *{a}")));
            assert_eq!(kind.to_string(), format!("{plain} NOT NULL{attribute}"), "{name}");
            ticks(&array).unwrap().value(1)
        };
        let local = |ms: i64| ms + 5 * HOUR_MS + HOUR_MS / 2;
        assert!(value("NOW", "TIMESTAMP_LTZ(3)") >= before);
        assert!(value("CURRENT_TIMESTAMP", "TIMESTAMP_LTZ(3)") >= before);
        assert!(value("PROCTIME", "TIMESTAMP_LTZ(3) *PROCTIME*") >= before);
        assert!(value("LOCALTIMESTAMP", "TIMESTAMP(3)") >= local(before));
        assert!(value("CURRENT_DATE", "DATE") >= local(before) / DAY_MS);
        assert!((0..DAY_MS).contains(&value("CURRENT_TIME", "TIME(0)")));
        assert!(value("NOW", "TIMESTAMP_LTZ(3)") <= now_ms());
    }
}
