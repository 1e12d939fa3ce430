//! Scalars as text, the way Flink and Java write and read them: numbers (`1.23E7`, `12.30`), dates and times
//! (`2026-03-01 00:00:00.000`, `2026-03-01T00:00`). Used by casts, formats, connectors and the HTTP layer.
//!
//! Writers append to a `String` and never fail; parsers answer `None` for what Flink refuses.
//! Source: Flink's `BinaryStringDataUtil` and `DateTimeUtils`, Java's `Double.toString` and `java.time`; measured on 2.3.0.

mod number;
mod temporal;

pub use number::{
    fits_precision, parse_boolean, parse_decimal, parse_double, parse_float, parse_integer, pow10, write_decimal,
    write_double, write_float,
};
pub use temporal::{
    MILLIS_PER_DAY, add_months, civil_from_days, days_from_civil, days_in_month, parse_date, parse_iso_timestamp,
    parse_time, parse_timestamp, timestamp_from_parts, timestamp_parts, units_per_second, write_date,
    write_interval_day_time, write_interval_year_month, write_iso_instant, write_iso_time, write_iso_timestamp,
    write_time, write_timestamp,
};
