//! Session options (`SET`): which are honoured, and what their values must look like.
//!
//! A key that is not listed is a warning, not an error: scripts written for a Flink cluster carry many. The exception are
//! the keys on which a job's safety depends: an unknown one below [`STRICT`] is refused, lest a typing error pass for a
//! checkpoint interval.

use super::duration;
use crate::error::{Error, Result};

/// The shape of an option's value.
enum Shape {
    Duration,
    /// A whole number of at least 1.
    Count,
    TimeZone,
    OneOf(&'static [&'static str]),
    Text,
}

/// `table.exec.source.idle-timeout`.
pub const IDLE_TIMEOUT: &str = "table.exec.source.idle-timeout";
/// `table.local-time-zone`.
pub const TIME_ZONE: &str = "table.local-time-zone";

/// Prefixes of keys that must be known.
const STRICT: &[&str] =
    &["execution.checkpointing.", "execution.savepoint.", "execution.state-recovery.", "restart-strategy."];

const KNOWN: &[(&str, Shape)] = &[
    ("pipeline.name", Shape::Text),
    ("pipeline.max-parallelism", Shape::Count),
    // Accepted without effect: watermarks are made for each record.
    ("pipeline.auto-watermark-interval", Shape::Duration),
    ("parallelism.default", Shape::Count),
    ("execution.checkpointing.interval", Shape::Duration),
    ("execution.checkpointing.min-pause", Shape::Duration),
    ("execution.checkpointing.timeout", Shape::Duration),
    ("execution.checkpointing.num-retained", Shape::Count),
    ("state.checkpoints.num-retained", Shape::Count),
    ("execution.checkpointing.mode", Shape::OneOf(&["EXACTLY_ONCE", "AT_LEAST_ONCE"])),
    (
        "execution.checkpointing.externalized-checkpoint-retention",
        Shape::OneOf(&["RETAIN_ON_CANCELLATION", "DELETE_ON_CANCELLATION"]),
    ),
    (
        "restart-strategy.type",
        Shape::OneOf(&["none", "off", "disable", "fixed-delay", "failure-rate", "exponential-delay"]),
    ),
    ("restart-strategy.fixed-delay.attempts", Shape::Count),
    ("restart-strategy.fixed-delay.delay", Shape::Duration),
    ("restart-strategy.failure-rate.delay", Shape::Duration),
    ("restart-strategy.failure-rate.failure-rate-interval", Shape::Duration),
    ("restart-strategy.failure-rate.max-failures-per-interval", Shape::Count),
    ("restart-strategy.exponential-delay.attempts-before-reset-backoff", Shape::Text),
    ("restart-strategy.exponential-delay.backoff-multiplier", Shape::Text),
    ("restart-strategy.exponential-delay.initial-backoff", Shape::Duration),
    ("restart-strategy.exponential-delay.jitter-factor", Shape::Text),
    ("restart-strategy.exponential-delay.max-backoff", Shape::Duration),
    ("restart-strategy.exponential-delay.reset-backoff-threshold", Shape::Duration),
    ("execution.state-recovery.path", Shape::Text),
    ("execution.state-recovery.ignore-unclaimed-state", Shape::OneOf(&["true", "false"])),
    ("execution.state-recovery.claim-mode", Shape::OneOf(&["CLAIM", "NO_CLAIM"])),
    ("execution.savepoint.path", Shape::Text),
    ("execution.savepoint-restore-mode", Shape::OneOf(&["CLAIM", "NO_CLAIM"])),
    ("execution.savepoint.ignore-unclaimed-state", Shape::OneOf(&["true", "false"])),
    (TIME_ZONE, Shape::TimeZone),
    (IDLE_TIMEOUT, Shape::Duration),
];

/// Checks one option. Answers a warning if the key is not one that is honoured; errors have code `invalid_option`.
pub fn check(key: &str, value: &str) -> Result<Option<String>> {
    let Some((_, shape)) = KNOWN.iter().find(|(name, _)| *name == key) else {
        if STRICT.iter().any(|prefix| key.starts_with(prefix)) {
            let known: Vec<&str> = KNOWN
                .iter()
                .map(|(name, _)| *name)
                .filter(|n| STRICT.iter().any(|p| key.starts_with(p) && n.starts_with(p)))
                .collect();
            return Err(Error::invalid(
                "invalid_option",
                format!("option '{key}' is not supported; here are: {}", known.join(", ")),
            ));
        }
        return Ok(Some(format!("option '{key}' is not known and has no effect")));
    };
    let invalid =
        |why: String| Err(Error::invalid("invalid_option", format!("option '{key}' cannot be '{value}': {why}")));
    match shape {
        Shape::Text => Ok(None),
        Shape::Duration => match duration::parse_ms(value) {
            Ok(_) => Ok(None),
            Err(e) => invalid(e.message),
        },
        Shape::Count => match value.trim().parse::<u32>() {
            Ok(n) if n >= 1 => Ok(None),
            _ => invalid("it must be a whole number of at least 1".to_owned()),
        },
        Shape::TimeZone => match value.parse::<chrono_tz::Tz>() {
            Ok(_) => Ok(None),
            // Flink's default value: the machine's zone, which is UTC here.
            Err(_) if value == "default" => Ok(None),
            Err(_) => invalid("it must be a time zone's name such as 'UTC' or 'Europe/Berlin'".to_owned()),
        },
        Shape::OneOf(values) if values.iter().any(|v| v.eq_ignore_ascii_case(value)) => Ok(None),
        Shape::OneOf(values) => invalid(format!("it must be one of {}", values.join(", "))),
    }
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
            ("table.exec.mini-batch.enabled", "true", Ok(true)),
        ] {
            let answer = check(key, value).map(|w| w.is_some()).map_err(|e| assert_eq!(e.code, "invalid_option"));
            assert_eq!(answer, expected, "{key} = {value}");
        }
    }
}
