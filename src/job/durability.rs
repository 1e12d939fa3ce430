//! What a crash of a job would cost now: what it would go on from, what it would read again, how long that takes, where
//! its state is, and what is risky about that.

use super::preflight::{Warning, check_job};
use super::{Context, JobService};
use crate::clock::now_ms;
use crate::error::Result;
use crate::graph::OperatorKind;
use crate::metadata::{Action, ActionKind, Job, JobStatus, Snapshot, SnapshotKind, SnapshotStatus};
use crate::storage::{Device, device_of};

/// Rows looked at for failed checkpoints.
const MAX_LOOKED_AT: u32 = 100;
/// A checkpoint is overdue when it is older than this many intervals, and [`OVERDUE_MS`].
const OVERDUE_INTERVALS: i64 = 5;
/// See [`OVERDUE_INTERVALS`]; ms.
const OVERDUE_MS: i64 = 60_000;

/// What a job starts from after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoversFrom {
    /// Its own newest snapshot.
    Snapshot,
    /// The snapshot that it was submitted or restarted with.
    SubmittedSnapshot,
    /// The beginning of its input.
    Beginning,
}

/// The snapshot that a job would go on from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct RecoveryPoint {
    pub snapshot_id: String,
    pub checkpoint_id: u64,
    pub kind: SnapshotKind,
    pub location: String,
    /// Time since it began: what came later is not in it.
    pub age_ms: i64,
    pub state_bytes: u64,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Place {
    pub location: String,
    /// Of a local folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// Whether it outlives the machine's next restart. The working directory need not.
    pub is_durable: bool,
}

/// The newest drill of a job.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct LastDrill {
    pub action_id: String,
    pub started_ms: i64,
    pub status: crate::metadata::ActionStatus,
    /// How long the whole restore took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u64>,
}

/// See the module text. What is not known is absent.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Durability {
    pub job_id: String,
    pub status: JobStatus,
    pub recovers_from: RecoversFrom,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_point: Option<RecoveryPoint>,
    /// Records of the sources that would be read again. Absent if the job does not run in this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_records: Option<u64>,
    /// The time over which those were read, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_input_ms: Option<i64>,
    /// State size over the measured speed of downloads (or, before any, of uploads), ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_estimate_ms: Option<u64>,
    /// Measured lately in this service, all jobs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_bytes_per_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_bytes_per_s: Option<u64>,
    pub work_dir: Place,
    pub store: Place,
    /// Whether both are on one device.
    pub same_device: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drill: Option<LastDrill>,
    /// What could cost data or time, in words.
    pub risks: Vec<Warning>,
}

/// What the decisions about replay and risks need.
struct Facts<'a> {
    job: &'a Job,
    now_ms: i64,
    newest: Option<&'a Snapshot>,
    /// Checkpoints newer than the newest completed snapshot that failed: how many, since when, and why the newest did.
    failed: Option<(usize, i64, String)>,
    runs_here: bool,
}

impl JobService {
    /// What a crash of the job would cost now.
    pub async fn durability(&self, job: &Job) -> Result<Durability> {
        let context = self.context();
        let newest = context.metadata.latest_for_recovery(job.id).await?;
        let recent =
            context.metadata.list_snapshots(job.id, Some(SnapshotKind::Checkpoint), None, MAX_LOOKED_AT).await?;
        let drills = context.metadata.actions(ActionKind::Drill, Some(job.id), 1).await?;
        let now = now_ms();
        let running = context.running(job.id);
        let facts = Facts {
            job,
            now_ms: now,
            newest: newest.as_ref(),
            failed: failed_since(&recent, newest.as_ref()),
            runs_here: running.is_some(),
        };
        let (upload_bytes_per_s, download_bytes_per_s) = context.store.rates();
        let speed = download_bytes_per_s.or(upload_bytes_per_s);
        let mut risks = risks(&facts);
        risks.extend(context.warnings.iter().cloned());
        let (work_dir, store) = places(context);
        let same_device = matches!((&work_dir.device, &store.device), (Some(a), Some(b)) if a.number == b.number);
        let state_bytes = newest.as_ref().map(|s| s.state_bytes);
        Ok(Durability {
            job_id: job.id.to_string(),
            status: job.status,
            recovers_from: recovers_from(&facts),
            replay_records: running.is_some().then(|| self.replay_records(job, newest.as_ref())),
            replay_input_ms: facts.runs_here.then(|| replay_input_ms(&facts)),
            restore_estimate_ms: state_bytes.and_then(|bytes| estimate_ms(bytes, speed)),
            recovery_point: newest.map(|s| RecoveryPoint {
                snapshot_id: s.id.to_string(),
                checkpoint_id: s.checkpoint_id,
                kind: s.kind,
                location: s.location,
                age_ms: now - s.started_ms,
                state_bytes: s.state_bytes,
            }),
            download_bytes_per_s,
            upload_bytes_per_s,
            work_dir,
            store,
            same_device,
            last_drill: drills.first().map(last_drill),
            risks,
        })
    }

    fn replay_records(&self, job: &Job, newest: Option<&Snapshot>) -> u64 {
        let is_source = |vertex: usize| {
            let first = job.plan.vertices.get(vertex).and_then(|v| v.operators.first());
            first.is_some_and(|o| matches!(o.kind, OperatorKind::Source(_) | OperatorKind::Values { .. }))
        };
        let newest = newest.map(|s| s.checkpoint_id);
        let sources = self.metrics(job.id).into_iter().filter(|m| is_source(m.task.vertex));
        sources.map(|m| m.records_after(newest)).sum()
    }
}

fn last_drill(action: &Action) -> LastDrill {
    LastDrill {
        action_id: action.id.to_string(),
        started_ms: action.started_ms,
        status: action.status,
        total_ms: action.report.as_ref().and_then(|r| r.get("total_ms")).and_then(serde_json::Value::as_u64),
    }
}

fn places(context: &Context) -> (Place, Place) {
    let dir = &context.settings.work_dir;
    let work_dir = Place { location: dir.display().to_string(), device: device_of(dir), is_durable: false };
    let store = Place {
        location: context.store.uri().to_owned(),
        device: context.store.local_path().and_then(|path| device_of(&path)),
        is_durable: context.store.is_durable(),
    };
    (work_dir, store)
}

fn recovers_from(facts: &Facts<'_>) -> RecoversFrom {
    match facts.newest {
        Some(_) => RecoversFrom::Snapshot,
        None if facts.job.settings.restore.is_some() => RecoversFrom::SubmittedSnapshot,
        None => RecoversFrom::Beginning,
    }
}

/// Since the snapshot began, but not before the attempt did: earlier input was not read by it.
fn replay_input_ms(facts: &Facts<'_>) -> i64 {
    let started = facts.job.started_ms.unwrap_or(facts.now_ms);
    let from = facts.newest.map_or(started, |s| s.started_ms.max(started));
    (facts.now_ms - from).max(0)
}

fn estimate_ms(bytes: u64, bytes_per_s: Option<u64>) -> Option<u64> {
    let speed = bytes_per_s.filter(|s| *s > 0)?;
    u64::try_from(u128::from(bytes) * 1_000 / u128::from(speed)).ok()
}

/// `recent` is newest first.
fn failed_since(recent: &[Snapshot], newest: Option<&Snapshot>) -> Option<(usize, i64, String)> {
    let after = newest.map_or(0, |s| s.checkpoint_id);
    let failed: Vec<&Snapshot> =
        recent.iter().filter(|s| s.checkpoint_id > after && s.status == SnapshotStatus::Failed).collect();
    let (last, first) = (failed.first()?, failed.last()?);
    Some((failed.len(), first.started_ms, last.failure.clone().unwrap_or_else(|| "no reason was stored".to_owned())))
}

fn risks(facts: &Facts<'_>) -> Vec<Warning> {
    let risk = |code: &str, message: String| Warning { code: code.to_owned(), message };
    let mut risks = check_job(&facts.job.settings);
    let interval_ms = i64::try_from(facts.job.settings.checkpointing.interval_ms).unwrap_or(i64::MAX);
    if facts.job.status.is_terminal() {
        return risks;
    }
    if facts.newest.is_none() {
        let from = match recovers_from(facts) {
            RecoversFrom::SubmittedSnapshot => "the snapshot that it was submitted with",
            _ => "the beginning of its input",
        };
        risks
            .push(risk("no_checkpoint", format!("no checkpoint is completed yet: a crash starts the job from {from}")));
    }
    if let Some((count, since_ms, why)) = &facts.failed {
        let ago = (facts.now_ms - since_ms) / 1_000;
        risks.push(risk(
            "checkpoints_failing",
            format!("the last {count} checkpoints failed, the first of them {ago} s ago; the newest: {why}"),
        ));
    }
    if let Some(newest) = facts.newest.filter(|_| interval_ms > 0) {
        let age_ms = facts.now_ms - newest.started_ms;
        if age_ms > OVERDUE_MS.max(interval_ms.saturating_mul(OVERDUE_INTERVALS)) {
            risks.push(risk(
                "checkpoint_overdue",
                format!(
                    "the newest completed snapshot is {} s old, although a checkpoint is due every {} s",
                    age_ms / 1_000,
                    interval_ms / 1_000
                ),
            ));
        }
    }
    if !facts.runs_here {
        risks.push(risk(
            "not_running_here",
            format!(
                "the job is {} and does not run in this service: what it would read again is not known here",
                facts.job.status
            ),
        ));
    }
    risks
}

#[cfg(test)]
#[path = "durability_tests.rs"]
mod tests;
