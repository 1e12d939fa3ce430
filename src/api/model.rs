//! The resources as clients see them.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use crate::error::Place;
use crate::job::Warning;
use crate::metadata::{
    CheckpointMode, CheckpointSettings, DesiredStatus, Job, JobException, JobStatus, OnCancel, OnCorrupt,
    RestartStrategy, Restored, Snapshot, SnapshotFormat, SnapshotKind, SnapshotStatus, SnapshotTrigger,
};

/// A job.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct JobView {
    /// 32 lower-case hexadecimal digits.
    pub id: String,
    pub name: String,
    pub status: JobStatus,
    /// What the user wants of it.
    pub desired: DesiredStatus,
    pub sql: String,
    pub parallelism: u32,
    pub max_parallelism: u32,
    pub checkpointing: CheckpointingView,
    pub restart: RestartStrategy,
    /// The snapshot that it was submitted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<String>,
    /// What its newest attempt was restored from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// What happens when its newest snapshot cannot be read.
    #[serde(default = "fail")]
    pub on_corrupt: OnCorrupt,
    /// Of SQL text, plan and settings; an upgrade raises it.
    #[serde(default)]
    pub version: u64,
    pub labels: BTreeMap<String, String>,
    /// Count of starts.
    pub attempt: u64,
    /// Count of restarts after failures.
    pub restarts: u64,
    /// Failed checkpoints since the last completed one; an alarm, unless it is 0.
    #[serde(default)]
    pub failed_checkpoints: u64,
    /// The newest failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub created_ms: i64,
    /// Start of the newest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
    /// How much of the state is back, while the job starts from a snapshot in the service that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restoring: Option<ProgressView>,
    /// What could cost this job data.
    pub warnings: Vec<Warning>,
}

/// Checkpointing of a job.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct CheckpointingView {
    /// 0 = off.
    pub interval_ms: u64,
    pub min_pause_ms: u64,
    pub timeout_ms: u64,
    pub max_concurrent_checkpoints: u32,
    /// Failed checkpoints in a row that the job outlives; absent = any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerable_failed_checkpoints: Option<u32>,
    pub retained: u32,
    pub on_cancel: OnCancel,
    pub mode: CheckpointMode,
    pub incremental: bool,
    pub data_inline_threshold_bytes: u64,
    pub transfer_threads: u32,
    /// 0 = never.
    pub stuck_after_ms: u64,
}

impl From<&CheckpointSettings> for CheckpointingView {
    fn from(c: &CheckpointSettings) -> Self {
        CheckpointingView {
            interval_ms: c.interval_ms,
            min_pause_ms: c.min_pause_ms,
            timeout_ms: c.timeout_ms,
            max_concurrent_checkpoints: c.max_concurrent,
            tolerable_failed_checkpoints: c.tolerable_failed,
            retained: c.retained,
            on_cancel: c.on_cancel,
            mode: c.mode,
            incremental: c.incremental,
            data_inline_threshold_bytes: c.data_inline_threshold_bytes,
            transfer_threads: c.transfer_threads,
            stuck_after_ms: c.stuck_after_ms,
        }
    }
}

fn fail() -> OnCorrupt {
    OnCorrupt::Fail
}

impl JobView {
    /// A job with its warnings.
    pub fn new(job: &Job, warnings: Vec<Warning>) -> Self {
        let s = &job.settings;
        JobView {
            id: job.id.to_string(),
            name: job.name.clone(),
            status: job.status,
            desired: job.desired,
            sql: job.sql.clone(),
            parallelism: s.parallelism,
            max_parallelism: s.max_parallelism,
            checkpointing: (&s.checkpointing).into(),
            restart: s.restart.clone(),
            restored_from: s.restore.as_ref().map(|r| r.manifest.clone()),
            restored: job.restored.clone(),
            on_corrupt: s.on_corrupt,
            version: job.version,
            labels: s.labels.clone(),
            attempt: job.attempt,
            restarts: job.restarts,
            failed_checkpoints: job.failed_checkpoints,
            failure: job.failure.clone(),
            created_ms: job.created_ms,
            started_ms: job.started_ms,
            ended_ms: job.ended_ms,
            restoring: None,
            warnings,
        }
    }
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct JobPage {
    pub items: Vec<JobView>,
    /// Pass it as `page_token` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// A checkpoint or savepoint.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct SnapshotView {
    pub id: String,
    pub job_id: String,
    pub kind: SnapshotKind,
    /// Counts from 1 in each job, savepoints included.
    pub checkpoint_id: u64,
    pub attempt: u64,
    pub status: SnapshotStatus,
    pub trigger: SnapshotTrigger,
    /// URI of the manifest; a restore takes it.
    pub location: String,
    /// Bytes of state that it references.
    pub state_bytes: u64,
    /// Bytes newly stored for it.
    pub uploaded_bytes: u64,
    pub started_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
    /// From request to publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Name of the job that took it, then.
    pub job_name: String,
    pub format: SnapshotFormat,
    /// Whether it cannot be deleted until it is unpinned.
    pub pinned: bool,
    pub labels: BTreeMap<String, String>,
    /// The URI that it was imported from; its job may be none of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_from: Option<String>,
    /// Whether its objects are somebody else's: deleting it only forgets it.
    pub is_foreign: bool,
    /// How far it is, while it is under way in the service that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct ProgressView {
    pub bytes_done: u64,
    /// As far as is known yet.
    pub bytes_total: u64,
}

impl From<(u64, u64)> for ProgressView {
    fn from((bytes_done, bytes_total): (u64, u64)) -> Self {
        ProgressView { bytes_done, bytes_total }
    }
}

impl From<&Snapshot> for SnapshotView {
    fn from(s: &Snapshot) -> Self {
        SnapshotView {
            id: s.id.to_string(),
            job_id: s.job_id.to_string(),
            kind: s.kind,
            checkpoint_id: s.checkpoint_id,
            attempt: s.attempt,
            status: s.status,
            trigger: s.trigger,
            location: s.location.clone(),
            state_bytes: s.state_bytes,
            uploaded_bytes: s.uploaded_bytes,
            started_ms: s.started_ms,
            ended_ms: s.ended_ms,
            duration_ms: s.ended_ms.map(|e| e - s.started_ms),
            failure: s.failure.clone(),
            job_name: s.details.job_name.clone(),
            format: s.details.format,
            pinned: s.details.pinned,
            labels: s.details.labels.clone(),
            imported_from: s.details.imported_from.clone(),
            is_foreign: s.details.is_foreign,
            progress: None,
        }
    }
}

/// A page of snapshots, newest first.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct SnapshotPage {
    pub items: Vec<SnapshotView>,
    /// Pass it as `page_token` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// One failure of a job.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct ExceptionView {
    pub attempt: u64,
    pub at_ms: i64,
    pub code: String,
    pub message: String,
    /// Vertex and subtask: `name (1/2)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The operator that failed: of the vertex's chain where known, else the vertex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// From 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtask: Option<u64>,
    /// What it all began with: the innermost cause.
    pub root_cause: String,
    /// The input file or line that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    pub causes: Vec<String>,
}

impl From<&JobException> for ExceptionView {
    fn from(e: &JobException) -> Self {
        ExceptionView {
            attempt: e.attempt,
            at_ms: e.at_ms,
            code: e.error.code.clone(),
            message: e.error.message.clone(),
            task: e.task.as_ref().map(ToString::to_string),
            operator: e.task.as_ref().map(|t| t.operator.as_ref().unwrap_or(&t.vertex).clone()),
            subtask: e.task.as_ref().map(|t| t.subtask),
            root_cause: e.error.causes.last().unwrap_or(&e.error.message).clone(),
            place: e.error.place.as_ref().map(Place::to_string),
            causes: e.error.causes.clone(),
        }
    }
}

/// The newest failures of a job, newest first.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct ExceptionList {
    pub items: Vec<ExceptionView>,
}
