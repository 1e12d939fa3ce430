//! Statistics of checkpoints and savepoints, kept for good: also of those that failed or are retired.
//!
//! A row is written when a snapshot ends, beside its row in `snapshots`, which goes when it is retired. They are figures
//! for people: nothing is decided from them, and a write that fails is only logged.

use sqlx::AssertSqlSafe;

use crate::error::{Error, Result};
use crate::id::JobId;

use super::model::{Snapshot, SnapshotDetails, SnapshotStatus, text_enum};
use super::row::{RowName, convert, storable, to_i64, to_json};
use super::{Metadata, SnapshotTrigger};

/// Ended checkpoints and savepoints of one job whose statistics are kept.
pub const MAX_STATISTICS_PER_JOB: u32 = 1_000;

text_enum! {
    /// Why a checkpoint failed. Names and meanings: Flink's `CheckpointFailureReason`.
    CheckpointFailureReason {
        /// Not complete within the time-out.
        Expired = "CHECKPOINT_EXPIRED",
        /// A subtask's files could not be stored.
        AsyncException = "CHECKPOINT_ASYNC_EXCEPTION",
        /// A subtask could not take its part.
        Declined = "CHECKPOINT_DECLINED",
        /// The manifest could not be stored.
        FinalizeFailure = "FINALIZE_CHECKPOINT_FAILURE",
        /// The checkpoint could not be begun.
        TriggerFailure = "TRIGGER_CHECKPOINT_FAILURE",
        /// A subtask failed meanwhile, and the job with it.
        TaskFailure = "TASK_FAILURE",
        /// The job ended, or its process did.
        CoordinatorShutdown = "CHECKPOINT_COORDINATOR_SHUTDOWN",
        /// The job was suspended.
        CoordinatorSuspend = "CHECKPOINT_COORDINATOR_SUSPEND",
    }
}

impl CheckpointFailureReason {
    /// Whether it counts as a failure of checkpointing; else the checkpoint only ended with its job. As in Flink's
    /// `CheckpointFailureManager`.
    pub fn counts(self) -> bool {
        use CheckpointFailureReason::*;
        matches!(self, Expired | AsyncException | Declined | FinalizeFailure | TriggerFailure)
    }
}

/// One subtask's part in a checkpoint; names as in Flink's REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubtaskStatistics {
    pub vertex: u64,
    pub subtask: u64,
    /// From the trigger to the subtask's first barrier.
    pub start_delay_ms: u64,
    /// From its first barrier to its last.
    pub alignment_ms: u64,
    /// The synchronous phase: the subtask stood still.
    pub sync_ms: u64,
    /// The asynchronous phase: its files were stored in the background.
    pub upload_ms: u64,
    /// Full and newly stored.
    pub state_bytes: u64,
    pub uploaded_bytes: u64,
}

/// An ended checkpoint or savepoint.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointStatistics {
    /// As it ended; its row may be gone.
    pub snapshot: Snapshot,
    /// Bytes of the objects that hold its state: beyond `state_bytes`, what died in packed ones.
    pub stored_bytes: u64,
    /// Why it failed, if it did.
    pub reason: Option<CheckpointFailureReason>,
    /// The longest of all subtasks.
    pub longest: SubtaskStatistics,
    /// Those that acknowledged. Empty in listings.
    pub subtasks: Vec<SubtaskStatistics>,
}

impl CheckpointStatistics {
    /// Of a snapshot that ended as its `status` says.
    pub fn new(
        snapshot: Snapshot,
        stored_bytes: u64,
        reason: Option<CheckpointFailureReason>,
        subtasks: Vec<SubtaskStatistics>,
    ) -> Self {
        let most = |of: fn(&SubtaskStatistics) -> u64| subtasks.iter().map(of).max().unwrap_or(0);
        let longest = SubtaskStatistics {
            vertex: 0,
            subtask: 0,
            start_delay_ms: most(|s| s.start_delay_ms),
            alignment_ms: most(|s| s.alignment_ms),
            sync_ms: most(|s| s.sync_ms),
            upload_ms: most(|s| s.upload_ms),
            state_bytes: most(|s| s.state_bytes),
            uploaded_bytes: most(|s| s.uploaded_bytes),
        };
        CheckpointStatistics { snapshot, stored_bytes, reason, longest, subtasks }
    }
}

/// Subtasks as stored: arrays of numbers, because a wide job has thousands.
type StoredSubtask = [u64; 8];

fn store(s: &SubtaskStatistics) -> StoredSubtask {
    [s.vertex, s.subtask, s.start_delay_ms, s.alignment_ms, s.sync_ms, s.upload_ms, s.state_bytes, s.uploaded_bytes]
}

fn restore(s: &StoredSubtask) -> SubtaskStatistics {
    let [vertex, subtask, start_delay_ms, alignment_ms, sync_ms, upload_ms, state_bytes, uploaded_bytes] = *s;
    SubtaskStatistics { vertex, subtask, start_delay_ms, alignment_ms, sync_ms, upload_ms, state_bytes, uploaded_bytes }
}

macro_rules! columns {
    () => {
        "job_id, checkpoint_id, snapshot_id, kind, attempt, status, trigger_reason, location, state_bytes, uploaded_bytes, stored_bytes, started_ms, ended_ms, failure, failure_reason, longest"
    };
}

#[derive(sqlx::FromRow)]
struct StatisticsRow {
    job_id: String,
    checkpoint_id: i64,
    snapshot_id: String,
    kind: String,
    attempt: i64,
    status: String,
    trigger_reason: String,
    location: String,
    state_bytes: i64,
    uploaded_bytes: i64,
    stored_bytes: i64,
    started_ms: i64,
    ended_ms: Option<i64>,
    failure: Option<String>,
    failure_reason: Option<String>,
    longest: String,
    #[sqlx(default)]
    subtasks: Option<String>,
}

impl TryFrom<StatisticsRow> for CheckpointStatistics {
    type Error = Error;
    fn try_from(row: StatisticsRow) -> Result<Self> {
        let name = RowName("statistics of snapshot", &row.snapshot_id);
        let subtasks: Vec<StoredSubtask> =
            row.subtasks.as_deref().map(|text| name.json("subtasks", text)).transpose()?.unwrap_or_default();
        let longest: StoredSubtask = name.json("longest", &row.longest)?;
        let snapshot = Snapshot {
            id: name.text("snapshot_id", &row.snapshot_id)?,
            job_id: name.text("job_id", &row.job_id)?,
            kind: name.text("kind", &row.kind)?,
            checkpoint_id: name.count("checkpoint_id", row.checkpoint_id)?,
            attempt: name.count("attempt", row.attempt)?,
            status: name.text("status", &row.status)?,
            trigger: name.text::<SnapshotTrigger>("trigger_reason", &row.trigger_reason)?,
            state_bytes: name.count("state_bytes", row.state_bytes)?,
            uploaded_bytes: name.count("uploaded_bytes", row.uploaded_bytes)?,
            location: row.location,
            started_ms: row.started_ms,
            ended_ms: row.ended_ms,
            failure: row.failure,
            // No part of the figures: the snapshot's own row has them.
            details: SnapshotDetails::default(),
        };
        Ok(CheckpointStatistics {
            snapshot,
            stored_bytes: name.count("stored_bytes", row.stored_bytes)?,
            reason: row.failure_reason.as_deref().map(|t| name.text("failure_reason", t)).transpose()?,
            longest: restore(&longest),
            subtasks: subtasks.iter().map(restore).collect(),
        })
    }
}

impl Metadata {
    /// Stores the statistics of an ended snapshot, counts failed checkpoints in a row in the job's row, and drops the
    /// job's oldest statistics beyond [`MAX_STATISTICS_PER_JOB`]. Repeating the call changes nothing.
    pub async fn insert_statistics(&self, statistics: &CheckpointStatistics) -> Result<()> {
        self.insert_statistics_of(statistics, MAX_STATISTICS_PER_JOB).await
    }

    /// As [`Metadata::insert_statistics`], but keeps so many.
    pub(super) async fn insert_statistics_of(&self, statistics: &CheckpointStatistics, most: u32) -> Result<()> {
        const INSERT: &str = concat!(
            "INSERT INTO checkpoint_statistics (",
            columns!(),
            ", subtasks) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) ",
            "ON CONFLICT (job_id, checkpoint_id) DO NOTHING"
        );
        let counting: Vec<&str> =
            CheckpointFailureReason::ALL.iter().filter(|r| r.counts()).map(|r| r.as_str()).collect();
        // Derived, so that neither repetition nor order matters.
        let count = AssertSqlSafe(format!(
            "UPDATE jobs SET failed_checkpoints = (SELECT COUNT(*) FROM checkpoint_statistics WHERE job_id = $1 AND kind = 'CHECKPOINT' AND failure_reason IN ('{}') AND checkpoint_id > COALESCE((SELECT MAX(checkpoint_id) FROM checkpoint_statistics WHERE job_id = $1 AND kind = 'CHECKPOINT' AND status = 'COMPLETED'), 0)) WHERE id = $1",
            counting.join("', '")
        ));
        const PRUNE: &str = "DELETE FROM checkpoint_statistics WHERE job_id = $1 AND checkpoint_id <= (SELECT checkpoint_id FROM checkpoint_statistics WHERE job_id = $1 ORDER BY checkpoint_id DESC LIMIT 1 OFFSET $2)";
        let s = &statistics.snapshot;
        let job = s.job_id.to_string();
        let checkpoint_id = to_i64("checkpoint_id", s.checkpoint_id)?;
        let attempt = to_i64("attempt", s.attempt)?;
        let bytes = [s.state_bytes, s.uploaded_bytes, statistics.stored_bytes].map(|b| to_i64("bytes", b));
        let [state_bytes, uploaded_bytes, stored_bytes] = bytes;
        let (state_bytes, uploaded_bytes, stored_bytes) = (state_bytes?, uploaded_bytes?, stored_bytes?);
        let longest = to_json("longest", &store(&statistics.longest))?;
        let subtasks = to_json("subtasks", &statistics.subtasks.iter().map(store).collect::<Vec<_>>())?;
        self.run("storing a checkpoint's statistics", async {
            on!(self, p => {
                let mut tx = p.begin_with(self.begin()).await?;
                sqlx::query(INSERT)
                    .bind(&job).bind(checkpoint_id).bind(s.id.to_string()).bind(s.kind.as_str()).bind(attempt)
                    .bind(s.status.as_str()).bind(s.trigger.as_str()).bind(&s.location).bind(state_bytes)
                    .bind(uploaded_bytes).bind(stored_bytes).bind(s.started_ms).bind(s.ended_ms)
                    .bind(s.failure.as_deref().map(storable)).bind(statistics.reason.map(|r| r.as_str()))
                    .bind(&longest).bind(&subtasks)
                    .execute(&mut *tx).await?;
                sqlx::query(count).bind(&job).execute(&mut *tx).await?;
                sqlx::query(PRUNE).bind(&job).bind(i64::from(most)).execute(&mut *tx).await?;
                tx.commit().await
            })
        })
        .await
    }

    /// The statistics of a job's ended checkpoint or savepoint, with its subtasks.
    pub async fn statistics(&self, job: JobId, checkpoint_id: u64) -> Result<Option<CheckpointStatistics>> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            ", subtasks FROM checkpoint_statistics WHERE job_id = $1 AND checkpoint_id = $2"
        );
        // An id beyond the column's range is of no row.
        let Ok(checkpoint_id) = i64::try_from(checkpoint_id) else { return Ok(None) };
        let row: Option<StatisticsRow> = self
            .run("reading a checkpoint's statistics", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(checkpoint_id).fetch_optional(p).await)
            })
            .await?;
        row.map(CheckpointStatistics::try_from).transpose()
    }

    /// The statistics of a job's ended checkpoints and savepoints, newest first, at most `limit`, without subtasks.
    pub async fn list_statistics(&self, job: JobId, limit: u32) -> Result<Vec<CheckpointStatistics>> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM checkpoint_statistics WHERE job_id = $1 ORDER BY checkpoint_id DESC LIMIT $2"
        );
        let rows: Vec<StatisticsRow> = self
            .run("reading checkpoints' statistics", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(i64::from(limit)).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }

    /// Snapshots of a job that are under way.
    pub async fn count_in_progress(&self, job: JobId) -> Result<u64> {
        const SQL: &str = "SELECT COUNT(*) FROM snapshots WHERE job_id = $1 AND status = 'IN_PROGRESS'";
        let count: i64 = self
            .run("counting snapshots", async {
                on!(self, p => sqlx::query_scalar(SQL).bind(job.to_string()).fetch_one(p).await)
            })
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

/// A snapshot that its process left behind.
pub fn abandoned(snapshot: Snapshot) -> CheckpointStatistics {
    let reason = Some(CheckpointFailureReason::CoordinatorShutdown);
    CheckpointStatistics::new(Snapshot { status: SnapshotStatus::Failed, ..snapshot }, 0, reason, Vec::new())
}
