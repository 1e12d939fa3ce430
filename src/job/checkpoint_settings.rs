//! Checkpointing of one job: what the request, the script and the service say, resolved and checked.
//!
//! Names and meanings are Flink's (`CheckpointingOptions`); defaults differ where docs/checkpoints.md says so.

use std::collections::BTreeMap;

use super::settings::{bad_option, pick};
use crate::checkpoint::upload::DEFAULT_INLINE_THRESHOLD_BYTES;
use crate::config::Settings;
use crate::connector::parse_bytes;
use crate::error::{Error, Result};
use crate::metadata::{CheckpointMode, CheckpointSettings, OnCancel};
use crate::sql::checkpoint_options::get;
use crate::sql::duration::parse_ms;
use crate::sql::options::STUCK_AFTER;

/// Shortest checkpoint interval, ms (Flink's lower limit is 10 ms).
pub const MIN_INTERVAL_MS: u64 = 10;
/// Most retained checkpoints.
const MAX_RETAINED: u32 = 1_000;
/// Most checkpoints under way at once: each holds a local image of the state.
const MAX_CONCURRENT: u32 = 16;
/// Largest file inside a manifest, bytes; as in Flink.
const MAX_INLINE_THRESHOLD_BYTES: u64 = 1 << 20;
/// Most parallel transfers of one operator subtask.
const MAX_TRANSFER_THREADS: u32 = 256;
/// After which time a checkpoint that does not get on in a subtask is reported, ms: well before Flink's time-out of ten
/// minutes, and far beyond an ordinary synchronous phase or alignment.
pub const DEFAULT_STUCK_AFTER_MS: u64 = 60_000;

/// Checkpointing of one job; members left out take the service's defaults.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointingRequest {
    /// 0 switches periodic checkpoints off (warned about).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Above 0 it forces `max_concurrent_checkpoints` to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_pause_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Checkpoints and savepoints under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_checkpoints: Option<u32>,
    /// Failed checkpoints in a row that the job outlives; any number if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerable_failed_checkpoints: Option<u32>,
    /// Completed checkpoints kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_cancel: Option<OnCancel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CheckpointMode>,
    /// Whether a checkpoint references files that the one before stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental: Option<bool>,
    /// Files up to this size are stored inside the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_inline_threshold_bytes: Option<u64>,
    /// Parallel transfers of one operator subtask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_threads: Option<u32>,
    /// After which time a checkpoint that does not get on in a subtask is reported; 0 = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck_after_ms: Option<u64>,
}

/// The script's options.
struct Script<'o>(&'o BTreeMap<String, String>);

impl Script<'_> {
    fn value<T>(&self, name: &str, expected: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some((key, value)) = get(self.0, name) else { return Ok(None) };
        read(value.trim()).map(Some).ok_or_else(|| bad_option(key, value, expected))
    }
    fn duration(&self, name: &str) -> Result<Option<u64>> {
        self.value(name, "a duration such as '10 s'", |v| parse_ms(v).ok())
    }
    fn count(&self, name: &str) -> Result<Option<u32>> {
        self.value(name, "a whole number", |v| v.parse().ok())
    }
}

/// Resolves and checks. Errors carry a JSON pointer if a value is out of its limits, else name the `SET` option.
pub fn resolve(
    body: Option<&CheckpointingRequest>,
    options: &BTreeMap<String, String>,
    service: &Settings,
) -> Result<CheckpointSettings> {
    let (body, script) = (body.cloned().unwrap_or_default(), Script(options));
    let name = |suffix: &str| format!("execution.checkpointing.{suffix}");
    let threads = u32::try_from(service.transfer_threads).unwrap_or(MAX_TRANSFER_THREADS);
    let min_pause_ms = pick(body.min_pause_ms, script.duration(&name("min-pause"))?, 0);
    let wanted = pick(body.max_concurrent_checkpoints, script.count(&name("max-concurrent-checkpoints"))?, 1);
    let settings = CheckpointSettings {
        interval_ms: pick(body.interval_ms, script.duration(&name("interval"))?, service.checkpoint_interval_ms),
        min_pause_ms,
        timeout_ms: pick(body.timeout_ms, script.duration(&name("timeout"))?, service.checkpoint_timeout_ms),
        // Flink: `CheckpointCoordinator`'s constructor.
        max_concurrent: if min_pause_ms > 0 { wanted.min(1) } else { wanted },
        tolerable_failed: body.tolerable_failed_checkpoints.or(script.count(&name("tolerable-failed-checkpoints"))?),
        retained: pick(body.retained, script.count(&name("num-retained"))?, service.checkpoints_retained),
        on_cancel: pick(
            body.on_cancel,
            script.value(
                &name("externalized-checkpoint-retention"),
                "RETAIN_ON_CANCELLATION or DELETE_ON_CANCELLATION",
                |v| match v.to_ascii_uppercase().as_str() {
                    "RETAIN_ON_CANCELLATION" => Some(OnCancel::Retain),
                    "DELETE_ON_CANCELLATION" => Some(OnCancel::Delete),
                    _ => None,
                },
            )?,
            OnCancel::Retain,
        ),
        mode: pick(
            body.mode,
            script.value(&name("mode"), "EXACTLY_ONCE or AT_LEAST_ONCE", |v| {
                match v.to_ascii_uppercase().as_str() {
                    "EXACTLY_ONCE" => Some(CheckpointMode::ExactlyOnce),
                    "AT_LEAST_ONCE" => Some(CheckpointMode::AtLeastOnce),
                    _ => None,
                }
            })?,
            CheckpointMode::ExactlyOnce,
        ),
        incremental: pick(
            body.incremental,
            script.value(&name("incremental"), "true or false", |v| v.to_ascii_lowercase().parse().ok())?,
            true,
        ),
        data_inline_threshold_bytes: pick(
            body.data_inline_threshold_bytes,
            script.value(&name("data-inline-threshold"), "a size such as '64 kb'", parse_bytes)?,
            DEFAULT_INLINE_THRESHOLD_BYTES,
        ),
        transfer_threads: pick(
            body.transfer_threads,
            script.count("state.backend.rocksdb.checkpoint.transfer.thread.num")?,
            threads,
        ),
        stuck_after_ms: pick(body.stuck_after_ms, script.duration(STUCK_AFTER)?, DEFAULT_STUCK_AFTER_MS),
    };
    check(&settings)?;
    Ok(settings)
}

fn check(c: &CheckpointSettings) -> Result<()> {
    let wrong = |member: &str, allowed: String| {
        Err(Error::invalid("invalid_value", format!("{member} must be {allowed}"))
            .at_pointer(format!("/checkpointing/{member}")))
    };
    if c.interval_ms != 0 && c.interval_ms < MIN_INTERVAL_MS {
        return wrong("interval_ms", format!("0 (off) or at least {MIN_INTERVAL_MS}"));
    }
    if c.timeout_ms < MIN_INTERVAL_MS {
        return wrong("timeout_ms", format!("at least {MIN_INTERVAL_MS}"));
    }
    if !(1..=MAX_CONCURRENT).contains(&c.max_concurrent) {
        return wrong("max_concurrent_checkpoints", format!("between 1 and {MAX_CONCURRENT}"));
    }
    if !(1..=MAX_RETAINED).contains(&c.retained) {
        return wrong("retained", format!("between 1 and {MAX_RETAINED}"));
    }
    if c.data_inline_threshold_bytes > MAX_INLINE_THRESHOLD_BYTES {
        return wrong("data_inline_threshold_bytes", format!("at most {MAX_INLINE_THRESHOLD_BYTES}"));
    }
    if !(1..=MAX_TRANSFER_THREADS).contains(&c.transfer_threads) {
        return wrong("transfer_threads", format!("between 1 and {MAX_TRANSFER_THREADS}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn flinks_options_set_every_member() {
        let set = script(&[
            ("execution.checkpointing.interval", "2 s"),
            ("execution.checkpointing.timeout", "1 min"),
            ("execution.checkpointing.max-concurrent-checkpoints", "3"),
            ("execution.checkpointing.tolerable-failed-checkpoints", "0"),
            ("state.checkpoints.num-retained", "5"),
            ("execution.checkpointing.externalized-checkpoint-retention", "delete_on_cancellation"),
            ("execution.checkpointing.mode", "at_least_once"),
            ("state.backend.incremental", "false"),
            ("execution.checkpointing.data-inline-threshold", "20 kb"),
            ("state.backend.rocksdb.checkpoint.transfer.thread.num", "9"),
            ("holdfast.checkpointing.stuck-after", "5 s"),
        ]);
        let expected = CheckpointSettings {
            interval_ms: 2_000,
            min_pause_ms: 0,
            timeout_ms: 60_000,
            max_concurrent: 3,
            tolerable_failed: Some(0),
            retained: 5,
            on_cancel: OnCancel::Delete,
            mode: CheckpointMode::AtLeastOnce,
            incremental: false,
            data_inline_threshold_bytes: 20 << 10,
            transfer_threads: 9,
            stuck_after_ms: 5_000,
        };
        assert_eq!(resolve(None, &set, &Settings::for_tests()).unwrap(), expected);
        let body = CheckpointingRequest { retained: Some(7), ..CheckpointingRequest::default() };
        assert_eq!(resolve(Some(&body), &set, &Settings::for_tests()).unwrap().retained, 7, "the body wins");
        let service = Settings::for_tests();
        let default = CheckpointSettings { transfer_threads: 2, ..CheckpointSettings::default() };
        assert_eq!(resolve(None, &script(&[]), &service).unwrap(), default);
    }

    #[test]
    fn a_minimum_pause_forces_one_at_a_time() {
        let set = script(&[
            ("execution.checkpointing.min-pause", "1 s"),
            ("execution.checkpointing.max-concurrent-checkpoints", "3"),
        ]);
        assert_eq!(resolve(None, &set, &Settings::for_tests()).unwrap().max_concurrent, 1);
    }

    #[test]
    fn values_beyond_their_limits_name_their_member() {
        let body = |json: serde_json::Value| serde_json::from_value::<CheckpointingRequest>(json).unwrap();
        for (json, member) in [
            (serde_json::json!({ "interval_ms": 9 }), "interval_ms"),
            (serde_json::json!({ "timeout_ms": 0 }), "timeout_ms"),
            (serde_json::json!({ "max_concurrent_checkpoints": 0 }), "max_concurrent_checkpoints"),
            (serde_json::json!({ "max_concurrent_checkpoints": 17 }), "max_concurrent_checkpoints"),
            (serde_json::json!({ "retained": 0 }), "retained"),
            (serde_json::json!({ "data_inline_threshold_bytes": (1 << 20) + 1 }), "data_inline_threshold_bytes"),
            (serde_json::json!({ "transfer_threads": 0 }), "transfer_threads"),
        ] {
            let error = resolve(Some(&body(json)), &script(&[]), &Settings::for_tests()).unwrap_err();
            let pointer = format!("/checkpointing/{member}");
            assert_eq!(error.place, Some(crate::error::Place::Pointer { pointer }));
        }
    }
}
