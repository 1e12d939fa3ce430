//! What a submit asks for, resolved: request body over `SET` options over the service's defaults.

use std::collections::BTreeMap;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::graph::DEFAULT_MAX_PARALLELISM;
use crate::metadata::{CheckpointMode, CheckpointSettings, JobSettings, OnCancel, OnCorrupt, RestartStrategy};
use crate::sql::duration::parse_ms;

pub use super::restore_point::{RestoreFrom, RestoreRequest};

/// Shortest checkpoint interval, ms (Flink's lower limit is 10 ms).
pub const MIN_INTERVAL_MS: u64 = 10;
/// Most key groups, as in Flink.
pub const MAX_MAX_PARALLELISM: u32 = 32_768;
/// Most subtasks of one vertex: a thread each.
pub const MAX_PARALLELISM: u32 = 256;
/// Longest job name, characters.
const MAX_NAME_CHARS: usize = 255;
/// Most labels, and the longest key or value, characters.
const MAX_LABELS: usize = 64;
const MAX_LABEL_CHARS: usize = 255;
/// Most retained checkpoints.
const MAX_RETAINED: u32 = 1_000;

/// Body of `POST /jobs`.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// Unique among live jobs; default: the option `pipeline.name`, else the sinks' names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A Flink SQL script: `CREATE TABLE …; INSERT INTO …`.
    pub sql: String,
    /// Subtasks per vertex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// Key groups; fixed for the life of the job's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallelism: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpointing: Option<CheckpointingRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartStrategy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreRequest>,
    /// What to do when the newest snapshot cannot be read; default: `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_corrupt: Option<OnCorrupt>,
    /// For filtering lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// Checkpointing of one job; members left out take the service's defaults.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointingRequest {
    /// 0 switches periodic checkpoints off (warned about).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_pause_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Completed checkpoints kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_cancel: Option<OnCancel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CheckpointMode>,
}

/// Resolves everything but `restore`. Errors carry a JSON pointer if the body is wrong, else name the `SET` option.
pub fn resolve(request: &SubmitRequest, options: &BTreeMap<String, String>, service: &Settings) -> Result<JobSettings> {
    let body = request.checkpointing.clone().unwrap_or_default();
    let parallelism = pick(request.parallelism, integer(options, "parallelism.default")?, service.default_parallelism);
    let max_parallelism =
        pick(request.max_parallelism, integer(options, "pipeline.max-parallelism")?, DEFAULT_MAX_PARALLELISM);
    let checkpointing = CheckpointSettings {
        interval_ms: pick(
            body.interval_ms,
            duration(options, "execution.checkpointing.interval")?,
            service.checkpoint_interval_ms,
        ),
        min_pause_ms: pick(body.min_pause_ms, duration(options, "execution.checkpointing.min-pause")?, 0),
        timeout_ms: pick(
            body.timeout_ms,
            duration(options, "execution.checkpointing.timeout")?,
            service.checkpoint_timeout_ms,
        ),
        retained: pick(body.retained, retained_option(options)?, service.checkpoints_retained),
        on_cancel: pick(body.on_cancel, on_cancel_option(options)?, OnCancel::Retain),
        mode: pick(body.mode, mode_option(options)?, CheckpointMode::ExactlyOnce),
    };
    let restart = match &request.restart {
        Some(restart) => restart.clone(),
        None => restart_option(options)?.unwrap_or_default(),
    };
    let labels = request.labels.clone().unwrap_or_default();
    let on_corrupt = request.on_corrupt.unwrap_or(OnCorrupt::Fail);
    let settings =
        JobSettings { parallelism, max_parallelism, checkpointing, restart, restore: None, on_corrupt, labels };
    check(request, &settings)?;
    Ok(settings)
}

fn check(request: &SubmitRequest, s: &JobSettings) -> Result<()> {
    let wrong = |pointer: &str, message: String| Err(Error::invalid("invalid_value", message).at_pointer(pointer));
    if !(1..=MAX_MAX_PARALLELISM).contains(&s.max_parallelism) {
        return wrong("/max_parallelism", format!("max_parallelism must be between 1 and {MAX_MAX_PARALLELISM}"));
    }
    let most = MAX_PARALLELISM.min(s.max_parallelism);
    if !(1..=most).contains(&s.parallelism) {
        return wrong("/parallelism", format!("parallelism must be between 1 and {most}"));
    }
    let c = &s.checkpointing;
    if c.interval_ms != 0 && c.interval_ms < MIN_INTERVAL_MS {
        return wrong(
            "/checkpointing/interval_ms",
            format!("interval_ms must be 0 (off) or at least {MIN_INTERVAL_MS}"),
        );
    }
    if c.timeout_ms < MIN_INTERVAL_MS {
        return wrong("/checkpointing/timeout_ms", format!("timeout_ms must be at least {MIN_INTERVAL_MS}"));
    }
    if !(1..=MAX_RETAINED).contains(&c.retained) {
        return wrong("/checkpointing/retained", format!("retained must be between 1 and {MAX_RETAINED}"));
    }
    if let Some(name) = &request.name
        && (name.trim().is_empty()
            || name.chars().count() > MAX_NAME_CHARS
            || name.chars().any(char::is_control)
            || name.parse::<crate::id::JobId>().is_ok())
    {
        return wrong(
            "/name",
            format!(
                "a name has 1 to {MAX_NAME_CHARS} characters, no control characters, and is not 32 hexadecimal digits"
            ),
        );
    }
    let long = |t: &str| t.is_empty() || t.chars().count() > MAX_LABEL_CHARS;
    if s.labels.len() > MAX_LABELS || s.labels.iter().any(|(k, v)| long(k) || v.chars().count() > MAX_LABEL_CHARS) {
        return wrong(
            "/labels",
            format!("at most {MAX_LABELS} labels, each key and value of at most {MAX_LABEL_CHARS} characters"),
        );
    }
    if let RestartStrategy::ExponentialDelay { backoff_multiplier, jitter_factor, .. } = &s.restart
        && (!(1.0..=100.0).contains(backoff_multiplier) || !(0.0..=1.0).contains(jitter_factor))
    {
        return wrong("/restart", "backoff_multiplier must be between 1 and 100, jitter_factor between 0 and 1".into());
    }
    Ok(())
}

fn pick<T>(body: Option<T>, option: Option<T>, default: T) -> T {
    body.or(option).unwrap_or(default)
}

fn bad_option(key: &str, value: &str, expected: &str) -> Error {
    Error::invalid("invalid_option", format!("SET '{key}' = '{value}': expected {expected}"))
}

fn integer(options: &BTreeMap<String, String>, key: &str) -> Result<Option<u32>> {
    options.get(key).map(|v| v.trim().parse().map_err(|_| bad_option(key, v, "a whole number"))).transpose()
}

fn duration(options: &BTreeMap<String, String>, key: &str) -> Result<Option<u64>> {
    options.get(key).map(|v| parse_ms(v).map_err(|_| bad_option(key, v, "a duration such as '10 s'"))).transpose()
}

fn retained_option(options: &BTreeMap<String, String>) -> Result<Option<u32>> {
    Ok(integer(options, "execution.checkpointing.num-retained")?
        .or(integer(options, "state.checkpoints.num-retained")?))
}

fn on_cancel_option(options: &BTreeMap<String, String>) -> Result<Option<OnCancel>> {
    let key = "execution.checkpointing.externalized-checkpoint-retention";
    let Some(value) = options.get(key) else { return Ok(None) };
    match value.to_ascii_uppercase().as_str() {
        "RETAIN_ON_CANCELLATION" => Ok(Some(OnCancel::Retain)),
        "DELETE_ON_CANCELLATION" => Ok(Some(OnCancel::Delete)),
        _ => Err(bad_option(key, value, "RETAIN_ON_CANCELLATION or DELETE_ON_CANCELLATION")),
    }
}

fn mode_option(options: &BTreeMap<String, String>) -> Result<Option<CheckpointMode>> {
    let key = "execution.checkpointing.mode";
    let Some(value) = options.get(key) else { return Ok(None) };
    match value.to_ascii_uppercase().as_str() {
        "EXACTLY_ONCE" => Ok(Some(CheckpointMode::ExactlyOnce)),
        "AT_LEAST_ONCE" => Ok(Some(CheckpointMode::AtLeastOnce)),
        _ => Err(bad_option(key, value, "EXACTLY_ONCE or AT_LEAST_ONCE")),
    }
}

/// Flink's `restart-strategy.*` options as the request's JSON, so that both share one set of names and defaults.
fn restart_option(options: &BTreeMap<String, String>) -> Result<Option<RestartStrategy>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn body_wins_over_set_options_and_they_over_defaults() {
        let service = Settings::for_tests();
        let set = options(&[("parallelism.default", "3"), ("execution.checkpointing.interval", "2 s")]);
        let from_set = resolve(&SubmitRequest::default(), &set, &service).unwrap();
        assert_eq!((from_set.parallelism, from_set.checkpointing.interval_ms), (3, 2000));
        let body = SubmitRequest { parallelism: Some(2), ..SubmitRequest::default() };
        assert_eq!(resolve(&body, &set, &service).unwrap().parallelism, 2);
        assert_eq!(
            resolve(&SubmitRequest::default(), &options(&[]), &service).unwrap().checkpointing.interval_ms,
            service.checkpoint_interval_ms
        );
    }

    #[test]
    fn restart_options_use_flinks_names() {
        let set = options(&[
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "5"),
            ("restart-strategy.fixed-delay.delay", "250 ms"),
        ]);
        let got = resolve(&SubmitRequest::default(), &set, &Settings::for_tests()).unwrap().restart;
        assert_eq!(got, RestartStrategy::FixedDelay { attempts: 5, delay_ms: 250 });
    }

    #[test]
    fn wrong_values_name_their_place() {
        let body = SubmitRequest { parallelism: Some(0), ..SubmitRequest::default() };
        let error = resolve(&body, &options(&[]), &Settings::for_tests()).unwrap_err();
        assert_eq!(error.place, Some(crate::error::Place::Pointer { pointer: "/parallelism".into() }));
        let error = resolve(
            &SubmitRequest::default(),
            &options(&[("execution.checkpointing.mode", "maybe")]),
            &Settings::for_tests(),
        )
        .unwrap_err();
        assert!(error.message.contains("EXACTLY_ONCE"), "{error}");
    }
}
