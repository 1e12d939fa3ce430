//! What a submit asks for, resolved: request body over `SET` options over the service's defaults.

use std::collections::BTreeMap;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::graph::DEFAULT_MAX_PARALLELISM;
use crate::metadata::{JobSettings, OnCorrupt, RestartStrategy};
use crate::sql::duration::parse_ms;

use super::{checkpoint_settings, restart_settings};

pub use super::restore_point::{RestoreFrom, RestoreRequest};
pub use checkpoint_settings::CheckpointingRequest;

/// Most key groups, as in Flink.
pub const MAX_MAX_PARALLELISM: u32 = 32_768;
/// Most subtasks of one vertex: a thread each.
pub const MAX_PARALLELISM: u32 = 256;
/// Longest job name, characters.
const MAX_NAME_CHARS: usize = 255;
/// Most labels, and the longest key or value, characters.
const MAX_LABELS: usize = 64;
const MAX_LABEL_CHARS: usize = 255;

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

/// Resolves everything but `restore`. Errors carry a JSON pointer if the body is wrong, else name the `SET` option.
pub fn resolve(request: &SubmitRequest, options: &BTreeMap<String, String>, service: &Settings) -> Result<JobSettings> {
    let parallelism = pick(request.parallelism, integer(options, "parallelism.default")?, service.default_parallelism);
    let max_parallelism =
        pick(request.max_parallelism, integer(options, "pipeline.max-parallelism")?, DEFAULT_MAX_PARALLELISM);
    let checkpointing = checkpoint_settings::resolve(request.checkpointing.as_ref(), options, service)?;
    let restart = match &request.restart {
        Some(restart) => restart.clone(),
        None => restart_settings::from_options(options)?.unwrap_or_default(),
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
    check_labels(&s.labels)?;
    restart_settings::check(&s.restart)
}

/// Refuses too many or too long labels (`invalid_value` at `/labels`).
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    let long = |t: &str| t.chars().count() > MAX_LABEL_CHARS;
    if labels.len() <= MAX_LABELS && !labels.iter().any(|(k, v)| k.is_empty() || long(k) || long(v)) {
        return Ok(());
    }
    let message = format!("at most {MAX_LABELS} labels, each key and value of at most {MAX_LABEL_CHARS} characters");
    Err(Error::invalid("invalid_value", message).at_pointer("/labels"))
}

pub(super) fn pick<T>(body: Option<T>, option: Option<T>, default: T) -> T {
    body.or(option).unwrap_or(default)
}

pub(super) fn bad_option(key: &str, value: &str, expected: &str) -> Error {
    Error::invalid("invalid_option", format!("SET '{key}' = '{value}': expected {expected}"))
}

pub(super) fn integer(options: &BTreeMap<String, String>, key: &str) -> Result<Option<u32>> {
    options.get(key).map(|v| v.trim().parse().map_err(|_| bad_option(key, v, "a whole number"))).transpose()
}

pub(super) fn duration(options: &BTreeMap<String, String>, key: &str) -> Result<Option<u64>> {
    options.get(key).map(|v| parse_ms(v).map_err(|_| bad_option(key, v, "a duration such as '10 s'"))).transpose()
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
