//! The snapshot that a submit or a restart starts from: what a request says, which snapshot that is, whether it fits.
//!
//! Claim modes have Flink's meaning. `NO_CLAIM` (the default): the snapshot stays its owner's, the new job's first
//! checkpoint is full and references nothing of it. Until then the job would need the snapshot again after a crash, so it
//! holds it (`metadata::holds`): its owner's retention and its owner's owner cannot delete it. A snapshot that this
//! database does not know cannot be held; the job then takes its first checkpoint at once. `CLAIM`: the snapshot becomes
//! the new job's, which deletes it when it is subsumed. Source: Flink, "Savepoints", "Restore mode".

use std::collections::BTreeMap;

use chrono::DateTime;

use super::JobService;
use super::settings::SubmitRequest;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::restore;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::JobGraph;
use crate::id::SnapshotId;
use crate::metadata::{ClaimMode, Hold, Job, RestoreSource, Snapshot, SnapshotKind, SnapshotStatus};

/// The snapshot to start from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// `latest`, a time, a snapshot's id, or the URI of a snapshot.
    pub from: RestoreFrom,
    /// The job whose snapshots `latest` and a time mean, by id or name; default: the newest one with the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Whether state that no operator of the new plan claims may be dropped.
    #[serde(default)]
    pub allow_non_restored_state: bool,
    /// Who owns the snapshot afterwards; default: `NO_CLAIM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_mode: Option<ClaimMode>,
    /// Restores even a savepoint that a job was drained with: rows that are read later are then late.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

impl RestoreRequest {
    /// A restore as the defaults have it.
    pub fn new(from: impl Into<RestoreFrom>) -> Self {
        RestoreRequest { from: from.into(), job: None, allow_non_restored_state: false, claim_mode: None, force: false }
    }
}

/// Body of `POST /jobs/{id}/restart`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartRequest {
    /// A snapshot of this job to go on from instead of its newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RestoreFrom>,
    /// Whether state that no operator of the plan claims may be dropped.
    #[serde(default)]
    pub allow_non_restored_state: bool,
    /// Restarts even a job that was drained: rows that are read later are then late.
    #[serde(default)]
    pub force: bool,
}

/// How a snapshot is named.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum RestoreFrom {
    /// `latest`, an RFC 3339 time, a snapshot's id, or the URI of a snapshot.
    Text(String),
    /// The newest snapshot that was complete at this time.
    At(RestoreTime),
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreTime {
    /// RFC 3339 text, or milliseconds since the Unix epoch.
    pub time: Instant,
}

/// A point in time, written either way.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Instant {
    /// Milliseconds since the Unix epoch.
    Ms(i64),
    /// RFC 3339.
    Text(String),
}

impl From<String> for RestoreFrom {
    fn from(text: String) -> Self {
        RestoreFrom::Text(text)
    }
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Latest,
    At(i64),
    Uri(String),
    Id(SnapshotId),
}

impl RestoreFrom {
    fn meaning(&self) -> Result<Named> {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).map(|t| t.timestamp_millis()).ok();
        let wrong = |text: &str| {
            Error::invalid(
                "invalid_restore",
                format!(
                    "'{text}' is neither 'latest', nor a time such as 2026-01-31T10:00:00Z, nor a snapshot id, nor a URI"
                ),
            )
        };
        match self {
            RestoreFrom::At(RestoreTime { time: Instant::Ms(ms) }) => Ok(Named::At(*ms)),
            RestoreFrom::At(RestoreTime { time: Instant::Text(text) }) => {
                time(text).map(Named::At).ok_or_else(|| wrong(text))
            }
            RestoreFrom::Text(text) if text == "latest" => Ok(Named::Latest),
            RestoreFrom::Text(text) if text.contains("://") || text.starts_with('/') => Ok(Named::Uri(text.clone())),
            RestoreFrom::Text(text) => match (text.parse(), time(text)) {
                (Ok(id), _) => Ok(Named::Id(id)),
                (_, Some(ms)) => Ok(Named::At(ms)),
                _ => Err(wrong(text)),
            },
        }
    }
}

/// Flink's options for the snapshot to start from: the new names, then the older ones.
pub(super) fn restore_option(options: &BTreeMap<String, String>) -> Result<Option<RestoreRequest>> {
    let either = |suffix: &str| {
        options
            .get(&format!("execution.state-recovery.{suffix}"))
            .or_else(|| options.get(&format!("execution.savepoint.{suffix}")))
    };
    let Some(path) = either("path") else { return Ok(None) };
    let claim = either("claim-mode").or_else(|| options.get("execution.savepoint-restore-mode"));
    Ok(Some(RestoreRequest {
        allow_non_restored_state: either("ignore-unclaimed-state").is_some_and(|v| v.eq_ignore_ascii_case("true")),
        claim_mode: claim.map(|mode| mode.to_ascii_uppercase().parse()).transpose()?,
        ..RestoreRequest::new(path.clone())
    }))
}

impl JobService {
    /// Finds the snapshot that a request or the script names, and checks that its state fits the plan.
    pub(super) async fn resolve_restore(
        &self,
        restore: &RestoreRequest,
        name: &str,
        request: &SubmitRequest,
        max_parallelism: &mut u32,
        plan: &JobGraph,
    ) -> Result<RestoreSource> {
        let at = |e: Error| if e.place.is_none() { e.at_pointer("/restore/from") } else { e };
        let owner = restore.job.as_deref().unwrap_or(name);
        let named = restore.from.meaning().map_err(at)?;
        let location = self.locate(&named, owner, restore.job.is_some()).await.map_err(at)?;
        let (_, manifest) = restore::load(&self.context.store, &location).await.map_err(at)?;
        if request.max_parallelism.is_none() {
            *max_parallelism = manifest.settings.max_parallelism;
        }
        let allow = restore.allow_non_restored_state;
        restore::plan(&manifest, plan, |_| 1, *max_parallelism, allow).map_err(at)?;
        refuse_drained(&manifest, restore.force)?;
        let mode = restore.claim_mode.unwrap_or(ClaimMode::NoClaim);
        let hold = self.hold(&manifest, &location, mode).await.map_err(at)?;
        Ok(RestoreSource { manifest: location, allow_non_restored_state: allow, hold })
    }

    /// The location of the snapshot that is meant; `latest` and a time mean a job's.
    async fn locate(&self, named: &Named, owner: &str, is_explicit: bool) -> Result<String> {
        match named {
            Named::Uri(uri) => return Ok(uri.clone()),
            Named::Id(id) => {
                let snapshot = self.context.metadata.snapshot(*id).await?;
                return completed(&snapshot).map(|()| snapshot.location);
            }
            Named::Latest | Named::At(_) => {}
        }
        let job = match self.job(owner).await {
            Err(e) if e.kind == ErrorKind::NotFound && !is_explicit => {
                return Err(Error::not_found(
                    "no_job_to_restore",
                    format!(
                        "there is no earlier job named '{owner}' whose snapshots could be restored; name one by 'job'"
                    ),
                ));
            }
            job => job?,
        };
        self.of_job(named, &job).await.map(|s| s.location)
    }

    async fn of_job(&self, named: &Named, job: &Job) -> Result<Snapshot> {
        let metadata = &self.context.metadata;
        let (found, when) = match named {
            Named::At(ms) => {
                let time = DateTime::from_timestamp_millis(*ms).map_or_else(|| ms.to_string(), |t| t.to_rfc3339());
                (metadata.newest_completed_at(job.id, *ms).await?, format!(" that was complete at {time}"))
            }
            _ => {
                let kinds = [SnapshotKind::Checkpoint, SnapshotKind::Savepoint];
                (metadata.latest_completed(job.id, &kinds).await?, String::new())
            }
        };
        found.ok_or_else(|| {
            Error::not_found("no_snapshot", format!("job '{}' ({}) has no snapshot{when}", job.name, job.id))
        })
    }

    /// The hold on a snapshot, if this database knows it.
    async fn hold(&self, manifest: &Manifest, location: &str, mode: ClaimMode) -> Result<Option<Hold>> {
        let known = match self.context.metadata.snapshot(manifest.snapshot_id).await {
            Ok(snapshot) => (trimmed(&snapshot.location) == trimmed(location)).then_some(snapshot),
            Err(e) if e.kind == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let Some(snapshot) = known else {
            return match mode {
                ClaimMode::NoClaim => Ok(None),
                ClaimMode::Claim => Err(Error::conflict(
                    "claim_refused",
                    format!("{location} is not a snapshot of this service, which must not delete it: use NO_CLAIM"),
                )),
            };
        };
        completed(&snapshot)?;
        if mode == ClaimMode::Claim && snapshot.kind == SnapshotKind::Checkpoint {
            let owner = self.context.metadata.job(snapshot.job_id).await?;
            if !owner.status.is_terminal() {
                return Err(Error::conflict(
                    "claim_refused",
                    format!(
                        "{location} is a checkpoint of job {}, which is {}: claim a savepoint, or use NO_CLAIM",
                        owner.id, owner.status
                    ),
                ));
            }
        }
        Ok(Some(Hold { snapshot_id: snapshot.id, mode }))
    }

    /// The snapshot that a restart of an ended job starts from, if it is not simply its newest. Refuses a drained job.
    pub(super) async fn restart_source(&self, job: &Job, request: &RestartRequest) -> Result<Option<RestoreSource>> {
        let at = |e: Error| if e.place.is_none() { e.at_pointer("/from") } else { e };
        let Some(from) = &request.from else {
            if let Some(newest) = self.context.metadata.latest_for_recovery(job.id).await?
                && newest.kind == SnapshotKind::Savepoint
                && let Ok((_, manifest)) = restore::load(&self.context.store, &newest.location).await
            {
                // What cannot be read is reported when the job starts.
                refuse_drained(&manifest, request.force)?;
            }
            return Ok(None);
        };
        let location = match from.meaning().map_err(at)? {
            named @ (Named::Latest | Named::At(_)) => self.of_job(&named, job).await.map_err(at)?.location,
            named => self.locate(&named, &job.name, false).await.map_err(at)?,
        };
        let (_, manifest) = restore::load(&self.context.store, &location).await.map_err(at)?;
        if manifest.job_id != job.id {
            return Err(at(Error::conflict(
                "snapshot_of_other_job",
                format!(
                    "{location} is of job {}, not of {}: submit a new job that restores from it",
                    manifest.job_id, job.id
                ),
            )));
        }
        let allow = request.allow_non_restored_state;
        restore::plan(&manifest, &job.plan, |_| 1, job.settings.max_parallelism, allow).map_err(at)?;
        refuse_drained(&manifest, request.force)?;
        Ok(Some(RestoreSource::unheld(location, allow)))
    }
}

fn completed(snapshot: &Snapshot) -> Result<()> {
    if snapshot.status == SnapshotStatus::Completed {
        return Ok(());
    }
    Err(Error::conflict("snapshot_not_completed", format!("snapshot {} is {}", snapshot.id, snapshot.status)))
}

/// A drained job's event time is at its end: every row that it reads later would be dropped as late.
fn refuse_drained(manifest: &Manifest, force: bool) -> Result<()> {
    if !manifest.drained || force {
        return Ok(());
    }
    Err(Error::conflict(
        "savepoint_drained",
        format!(
            "job {} was drained before {} was taken: its event time is at its end, and every row that is read later would be dropped as late; restore an earlier snapshot, or pass force if that is wanted",
            manifest.job_id, manifest.key
        ),
    ))
}

/// A manifest's URI and its folder's are the same snapshot.
fn trimmed(location: &str) -> &str {
    let location = location.trim_end_matches('/');
    location.strip_suffix("/_metadata").unwrap_or(location)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_named_in_five_ways() {
        let check = |json: serde_json::Value, expected: Option<Named>| {
            let from: RestoreFrom = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(from.meaning().ok(), expected, "{json}");
        };
        let id = "0123456789abcdef0123456789abcdef";
        check("latest".into(), Some(Named::Latest));
        check(id.into(), Some(Named::Id(id.parse().unwrap())));
        check("s3://b/p".into(), Some(Named::Uri("s3://b/p".into())));
        check("/folder".into(), Some(Named::Uri("/folder".into())));
        check("1970-01-01T00:00:01.5Z".into(), Some(Named::At(1_500)));
        check("1970-01-01T01:00:00+01:00".into(), Some(Named::At(0)));
        check(serde_json::json!({"time": "1970-01-01T00:00:01Z"}), Some(Named::At(1_000)));
        check(serde_json::json!({"time": 7}), Some(Named::At(7)));
        check("yesterday".into(), None);
        check(serde_json::json!({"time": "noon"}), None);
        assert!(serde_json::from_value::<RestoreFrom>(serde_json::json!({"tyme": 7})).is_err());
    }

    #[test]
    fn flinks_options_name_a_restore() {
        let check = |pairs: &[(&str, &str)], expected: Option<RestoreRequest>| {
            let options = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(restore_option(&options).unwrap(), expected);
        };
        let plain = RestoreRequest::new("file:///s".to_owned());
        check(&[], None);
        check(&[("execution.savepoint.path", "file:///s")], Some(plain.clone()));
        check(
            &[
                ("execution.state-recovery.path", "file:///s"),
                ("execution.state-recovery.claim-mode", "claim"),
                ("execution.state-recovery.ignore-unclaimed-state", "true"),
            ],
            Some(RestoreRequest { claim_mode: Some(ClaimMode::Claim), allow_non_restored_state: true, ..plain }),
        );
    }

    #[test]
    fn a_manifest_and_its_folder_are_one_snapshot() {
        assert_eq!(trimmed("s3://b/x/_metadata"), trimmed("s3://b/x/"));
    }
}
