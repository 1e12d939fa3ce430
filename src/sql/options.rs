//! Session options (`SET`): which are honoured, and what their values must look like.
//!
//! A key that is not listed is a warning, not an error: scripts written for a Flink cluster carry many. The exception are
//! the keys on which a job's safety depends: an unknown one below [`STRICT`] is refused, lest a typing error pass for a
//! checkpoint interval.

use super::checkpoint_options::{self, Fate};
use super::duration;
use crate::connector::parse_bytes;
use crate::error::{Error, Result};

/// The shape of an option's value.
pub(super) enum Shape {
    Duration,
    /// A memory size.
    Bytes,
    /// A whole number.
    Number,
    /// A decimal number.
    Decimal,
    /// A whole number of at least 1.
    Count,
    TimeZone,
    OneOf(&'static [&'static str]),
    Text,
}

/// `table.exec.source.idle-timeout`.
pub const IDLE_TIMEOUT: &str = "table.exec.source.idle-timeout";
/// `late-records.table`: the table to which the late records of all operators are written.
pub const LATE_RECORDS_TABLE: &str = "late-records.table";
/// `table.exec.state.ttl`: how long state is kept after it was last written to.
pub const STATE_TTL: &str = "table.exec.state.ttl";
/// `table.exec.mini-batch.enabled`: whether aggregates emit one change per group and batch.
pub const MINI_BATCH: &str = "table.exec.mini-batch.enabled";
/// `table.local-time-zone`.
pub const TIME_ZONE: &str = "table.local-time-zone";

/// After which time a checkpoint that does not get on in a subtask is reported; no option of Flink's.
pub const STUCK_AFTER: &str = "holdfast.checkpointing.stuck-after";

/// Prefixes of keys that must be known.
const STRICT: &[&str] = &[
    "execution.checkpointing.",
    "execution.savepoint.",
    "execution.state-recovery.",
    "restart-strategy.",
    "holdfast.",
];

const KNOWN: &[(&str, Shape)] = &[
    ("pipeline.name", Shape::Text),
    ("pipeline.max-parallelism", Shape::Count),
    // Accepted without effect: watermarks are made for each record.
    ("pipeline.auto-watermark-interval", Shape::Duration),
    ("parallelism.default", Shape::Count),
    (
        "restart-strategy.type",
        Shape::OneOf(&[
            "none",
            "off",
            "disable",
            "fixed-delay",
            "fixeddelay",
            "failure-rate",
            "failurerate",
            "exponential-delay",
            "exponentialdelay",
        ]),
    ),
    ("restart-strategy.fixed-delay.attempts", Shape::Count),
    ("restart-strategy.fixed-delay.delay", Shape::Duration),
    ("restart-strategy.failure-rate.delay", Shape::Duration),
    ("restart-strategy.failure-rate.failure-rate-interval", Shape::Duration),
    ("restart-strategy.failure-rate.max-failures-per-interval", Shape::Count),
    ("restart-strategy.exponential-delay.attempts-before-reset-backoff", Shape::Count),
    ("restart-strategy.exponential-delay.backoff-multiplier", Shape::Decimal),
    ("restart-strategy.exponential-delay.initial-backoff", Shape::Duration),
    ("restart-strategy.exponential-delay.jitter-factor", Shape::Decimal),
    ("restart-strategy.exponential-delay.max-backoff", Shape::Duration),
    ("restart-strategy.exponential-delay.reset-backoff-threshold", Shape::Duration),
    // Ours: see docs/checkpoints.md.
    (STUCK_AFTER, Shape::Duration),
    (TIME_ZONE, Shape::TimeZone),
    (IDLE_TIMEOUT, Shape::Duration),
    (LATE_RECORDS_TABLE, Shape::Text),
    (STATE_TTL, Shape::Duration),
    (MINI_BATCH, Shape::OneOf(&["true", "false"])),
    // A bundle here is a batch, which waits for nothing.
    ("table.exec.mini-batch.allow-latency", Shape::Duration),
    ("table.exec.mini-batch.size", Shape::Count),
];

/// Checks one option. Answers a warning if the key is not one that is honoured; errors have code `invalid_option`.
pub fn check(key: &str, value: &str) -> Result<Option<String>> {
    if let Some((_, shape)) = KNOWN.iter().find(|(name, _)| *name == key) {
        return check_value(key, value, shape).map(|()| None);
    }
    match checkpoint_options::find(key) {
        Some(option) => check_flink(key, value, option),
        None => unknown(key).map(Some),
    }
}

fn check_flink(key: &str, value: &str, option: &checkpoint_options::FlinkOption) -> Result<Option<String>> {
    match &option.fate {
        Fate::Honoured(shape) => check_value(key, value, shape).map(|()| None),
        Fate::Alias(of) => match checkpoint_options::find(of) {
            Some(option) => check_flink(key, value, option),
            None => Err(Error::internal(format!("option {key} stands for {of}, which is not known"))),
        },
        Fate::Always(only) if only.eq_ignore_ascii_case(value.trim()) => Ok(None),
        Fate::Always(only) => Err(invalid(key, value, &format!("it is always '{only}' here: {}", option.note))),
        Fate::NoEffect if option.default.eq_ignore_ascii_case(value.trim()) => Ok(None),
        Fate::NoEffect => Ok(Some(format!("option '{key}' has no effect here: {}", option.note))),
    }
}

/// A warning, or an error where a typing error would be dangerous.
fn unknown(key: &str) -> Result<String> {
    let Some(strict) = STRICT.iter().find(|prefix| key.starts_with(**prefix)) else {
        return Ok(format!("option '{key}' is not known and has no effect"));
    };
    let names = KNOWN.iter().map(|(name, _)| *name).chain(checkpoint_options::OPTIONS.iter().map(|o| o.name));
    let known: Vec<&str> = names.filter(|n| n.starts_with(strict)).collect();
    Err(Error::invalid("invalid_option", format!("option '{key}' is not supported; here are: {}", known.join(", "))))
}

fn invalid(key: &str, value: &str, why: &str) -> Error {
    Error::invalid("invalid_option", format!("option '{key}' cannot be '{value}': {why}"))
}

fn check_value(key: &str, value: &str, shape: &Shape) -> Result<()> {
    let number = value.trim().parse::<u32>().ok();
    let problem = match shape {
        Shape::Text => None,
        Shape::Duration => duration::parse_ms(value).err().map(|e| e.message),
        Shape::Bytes if parse_bytes(value).is_some() => None,
        Shape::Bytes => Some("it must be a size such as '64 kb'".to_owned()),
        Shape::Count if number.is_some_and(|n| n >= 1) => None,
        Shape::Count => Some("it must be a whole number of at least 1".to_owned()),
        Shape::Number if number.is_some() => None,
        Shape::Number => Some("it must be a whole number".to_owned()),
        Shape::Decimal if value.trim().parse::<f64>().is_ok_and(f64::is_finite) => None,
        Shape::Decimal => Some("it must be a number".to_owned()),
        // Flink's default value: the machine's zone, which is UTC here.
        Shape::TimeZone if value == "default" || value.parse::<chrono_tz::Tz>().is_ok() => None,
        Shape::TimeZone => Some("it must be a time zone's name such as 'UTC' or 'Europe/Berlin'".to_owned()),
        Shape::OneOf(values) if values.iter().any(|v| v.eq_ignore_ascii_case(value)) => None,
        Shape::OneOf(values) => Some(format!("it must be one of {}", values.join(", "))),
    };
    problem.map_or(Ok(()), |why| Err(invalid(key, value, &why)))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn values_are_checked_and_unknown_keys_only_warned_about() {
        for (key, value, expected) in [
            ("parallelism.default", "4", Ok(false)),
            ("parallelism.default", "0", Err(())),
            ("table.local-time-zone", "Europe/Berlin", Ok(false)),
            ("table.local-time-zone", "Mars/Base", Err(())),
            ("execution.checkpointing.interval", "10 s", Ok(false)),
            ("execution.checkpointing.interval", "soon", Err(())),
            ("execution.checkpointing.mode", "exactly_once", Ok(false)),
            ("execution.checkpointing.mode", "AT_LEAST_ONCE", Ok(false)),
            ("execution.checkpointing.mode", "AT_MOST_ONCE", Err(())),
            ("execution.checkpointing.intervall", "10 s", Err(())),
            ("execution.savepoint.path", "file:///s/1", Ok(false)),
            ("table.exec.mini-batch.enabled", "true", Ok(false)),
            ("table.exec.mini-batch.enabled", "maybe", Err(())),
            ("table.exec.state.ttl", "1 d", Ok(false)),
            ("table.optimizer.join-reorder-enabled", "true", Ok(true)),
        ] {
            let answer = check(key, value).map(|w| w.is_some()).map_err(|e| assert_eq!(e.code, "invalid_option"));
            assert_eq!(answer, expected, "{key} = {value}");
        }
    }
}
