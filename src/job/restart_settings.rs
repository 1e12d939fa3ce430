//! A job's restart strategy: Flink's options for it, and the limits of its values.

use std::collections::BTreeMap;

use super::settings::{bad_option, duration};
use crate::error::{Error, Result};
use crate::metadata::RestartStrategy;

/// Largest growth of the backoff from one failure to the next.
const MAX_BACKOFF_MULTIPLIER: f64 = 100.0;
/// Longest time that a strategy may name, ms: a year.
const MAX_TIME_MS: u64 = 365 * 86_400_000;

/// Flink's `restart-strategy.*` options as the request's JSON, so that both share one set of names and defaults.
pub fn from_options(options: &BTreeMap<String, String>) -> Result<Option<RestartStrategy>> {
    let key = "restart-strategy.type";
    let Some(kind) = options.get(key) else { return Ok(None) };
    let (strategy, members): (&str, &[(&str, &str, bool)]) = match kind.to_ascii_lowercase().replace('_', "-").as_str()
    {
        "none" | "off" | "disable" => ("none", &[]),
        "fixed-delay" | "fixeddelay" => {
            ("fixed_delay", &[("attempts", "attempts", false), ("delay", "delay_ms", true)])
        }
        "failure-rate" | "failurerate" => (
            "failure_rate",
            &[
                ("max-failures-per-interval", "max_failures", false),
                ("failure-rate-interval", "interval_ms", true),
                ("delay", "delay_ms", true),
            ],
        ),
        "exponential-delay" | "exponentialdelay" => (
            "exponential_delay",
            &[
                ("initial-backoff", "initial_backoff_ms", true),
                ("max-backoff", "max_backoff_ms", true),
                ("backoff-multiplier", "backoff_multiplier", false),
                ("jitter-factor", "jitter_factor", false),
                ("reset-backoff-threshold", "reset_backoff_threshold_ms", true),
                ("attempts-before-reset-backoff", "attempts", false),
            ],
        ),
        _ => return Err(bad_option(key, kind, "none, fixed-delay, failure-rate or exponential-delay")),
    };
    let mut json = serde_json::Map::from_iter([("strategy".to_owned(), strategy.into())]);
    for (suffix, member, is_duration) in members {
        let key = format!("restart-strategy.{}.{suffix}", strategy.replace('_', "-"));
        if let Some(value) = options.get(&key) {
            let number = if *is_duration {
                duration(options, &key)?.map(Into::into)
            } else {
                serde_json::from_str(value.trim()).ok().filter(serde_json::Value::is_number)
            };
            json.insert((*member).to_owned(), number.ok_or_else(|| bad_option(&key, value, "a number"))?);
        }
    }
    let strategy = serde_json::from_value(json.into())
        .map_err(|e| Error::invalid("invalid_option", "the restart-strategy options do not fit").caused_by(&e))?;
    Ok(Some(strategy))
}

/// Refuses values that cannot work; errors point to the member.
pub fn check(strategy: &RestartStrategy) -> Result<()> {
    let wrong = |member: &str, allowed: &str| {
        Err(Error::invalid("invalid_value", format!("{member} must be {allowed}"))
            .at_pointer(format!("/restart/{member}")))
    };
    let times: &[(&str, u64)] = match strategy {
        RestartStrategy::None => &[],
        RestartStrategy::FixedDelay { delay_ms, .. } => &[("delay_ms", *delay_ms)],
        RestartStrategy::FailureRate { max_failures, interval_ms, delay_ms } => {
            if *max_failures == 0 {
                return wrong("max_failures", "at least 1; the strategy for no restart is 'none'");
            }
            if *interval_ms == 0 {
                return wrong("interval_ms", "at least 1");
            }
            &[("interval_ms", *interval_ms), ("delay_ms", *delay_ms)]
        }
        RestartStrategy::ExponentialDelay {
            initial_backoff_ms,
            max_backoff_ms,
            backoff_multiplier,
            jitter_factor,
            reset_backoff_threshold_ms,
            attempts: _,
        } => {
            if *initial_backoff_ms == 0 || initial_backoff_ms > max_backoff_ms {
                return wrong("initial_backoff_ms", "at least 1 and at most max_backoff_ms");
            }
            if !(1.0..=MAX_BACKOFF_MULTIPLIER).contains(backoff_multiplier) {
                return wrong("backoff_multiplier", "between 1 and 100");
            }
            if !(0.0..=1.0).contains(jitter_factor) {
                return wrong("jitter_factor", "between 0 and 1");
            }
            &[("max_backoff_ms", *max_backoff_ms), ("reset_backoff_threshold_ms", *reset_backoff_threshold_ms)]
        }
    };
    match times.iter().find(|(_, ms)| *ms > MAX_TIME_MS) {
        Some((member, _)) => wrong(member, "at most a year"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<RestartStrategy>> {
        from_options(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn restart_options_use_flinks_names_and_defaults() {
        assert_eq!(read(&[]).unwrap(), None);
        let kind = |k| ("restart-strategy.type", k);
        let fixed = |attempts, delay_ms| RestartStrategy::FixedDelay { attempts, delay_ms };
        assert_eq!(read(&[kind("fixeddelay")]).unwrap(), Some(fixed(1, 1_000)));
        let set = [
            kind("fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "5"),
            ("restart-strategy.fixed-delay.delay", "250 ms"),
        ];
        assert_eq!(read(&set).unwrap(), Some(fixed(5, 250)));
        assert_eq!(read(&[kind("off")]).unwrap(), Some(RestartStrategy::None));
        let rate = RestartStrategy::FailureRate { max_failures: 4, interval_ms: 300_000, delay_ms: 10_000 };
        let set = [
            kind("failure-rate"),
            ("restart-strategy.failure-rate.max-failures-per-interval", "4"),
            ("restart-strategy.failure-rate.failure-rate-interval", "5 min"),
            ("restart-strategy.failure-rate.delay", "10 s"),
        ];
        assert_eq!(read(&set).unwrap(), Some(rate));
        assert_eq!(read(&[kind("exponential-delay")]).unwrap(), Some(RestartStrategy::default()));
        let exponential = RestartStrategy::ExponentialDelay {
            initial_backoff_ms: 10_000,
            max_backoff_ms: 120_000,
            backoff_multiplier: 1.4,
            jitter_factor: 0.25,
            reset_backoff_threshold_ms: 600_000,
            attempts: 10,
        };
        let set = [
            kind("exponential-delay"),
            ("restart-strategy.exponential-delay.initial-backoff", "10 s"),
            ("restart-strategy.exponential-delay.max-backoff", "2 min"),
            ("restart-strategy.exponential-delay.backoff-multiplier", "1.4"),
            ("restart-strategy.exponential-delay.jitter-factor", "0.25"),
            ("restart-strategy.exponential-delay.reset-backoff-threshold", "10 min"),
            ("restart-strategy.exponential-delay.attempts-before-reset-backoff", "10"),
        ];
        assert_eq!(read(&set).unwrap(), Some(exponential));
        let wrong = [kind("fixed-delay"), ("restart-strategy.fixed-delay.attempts", "many")];
        assert!(read(&wrong).unwrap_err().message.contains("a number"));
    }

    #[test]
    fn values_that_cannot_work_name_their_member() {
        for (json, member) in [
            (serde_json::json!({ "strategy": "failure_rate", "max_failures": 0 }), "max_failures"),
            (serde_json::json!({ "strategy": "failure_rate", "interval_ms": 0 }), "interval_ms"),
            (serde_json::json!({ "strategy": "fixed_delay", "delay_ms": u64::MAX }), "delay_ms"),
            (serde_json::json!({ "strategy": "exponential_delay", "initial_backoff_ms": 0 }), "initial_backoff_ms"),
            (serde_json::json!({ "strategy": "exponential_delay", "max_backoff_ms": 999 }), "initial_backoff_ms"),
            (serde_json::json!({ "strategy": "exponential_delay", "backoff_multiplier": 0.5 }), "backoff_multiplier"),
            (serde_json::json!({ "strategy": "exponential_delay", "jitter_factor": 1.5 }), "jitter_factor"),
        ] {
            let error = check(&serde_json::from_value(json).unwrap()).unwrap_err();
            let pointer = format!("/restart/{member}");
            assert_eq!(error.place, Some(crate::error::Place::Pointer { pointer }));
        }
        assert!(check(&RestartStrategy::default()).is_ok());
    }
}
