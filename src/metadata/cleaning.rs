//! What cleaning needs of the database: deletions in two phases, and all rows at once for `fsck`.
//!
//! A job is deleted as its snapshots are: first it is marked (`desired` = `DELETED`, its snapshots `DELETING`, in one
//! transaction), then its objects are deleted, then its row. A crash in between leaves the mark, and whoever looks for
//! marks goes on.

use crate::error::{Error, Result};
use crate::id::{JobId, SnapshotId};

use super::jobs::no_such_job;
use super::row::{SnapshotRow, convert, job_id, snapshot_columns, storable, terminal};
use super::{DesiredStatus, JobStatus, Metadata, Snapshot, SnapshotKind};

/// Jobs whose deletion one look goes on with.
const MAX_DELETIONS: i64 = 100;

/// The part of a job's row that says what may be done to its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobState {
    pub id: JobId,
    pub status: JobStatus,
    pub desired: DesiredStatus,
    pub attempt: u64,
}

/// What marking a job did.
enum Marked {
    Yes,
    /// It has not ended, or is not there.
    No,
    Held,
    Pinned,
}

impl Metadata {
    /// Marks an ended job and its checkpoints (and its savepoints, if wanted) as being deleted, all or nothing.
    /// `job_not_terminal` if it has not ended, `snapshot_in_use` if another job holds one of its snapshots,
    /// `savepoint_pinned` if a savepoint that is to go is pinned. Repeating the call is safe.
    pub async fn begin_job_deletion(&self, id: JobId, with_savepoints: bool, now_ms: i64) -> Result<()> {
        const JOB: &str =
            concat!("UPDATE jobs SET desired = 'DELETED', updated_ms = $2 WHERE id = $1 AND status IN ", terminal!());
        // A statement of its own, so that the next one sees the holds of everybody who came before.
        const LOCK: &str = "UPDATE snapshots SET status = status WHERE job_id = $1";
        const HELD: &str = "SELECT COUNT(*) FROM snapshot_holds h JOIN snapshots s ON s.id = h.snapshot_id WHERE s.job_id = $1 AND h.job_id <> $1 AND s.status <> 'DELETING'";
        const PINNED: &str = "SELECT COUNT(*) FROM snapshots WHERE job_id = $1 AND kind IN ($2, $3) AND pinned = TRUE AND status <> 'DELETING'";
        const SNAPSHOTS: &str = "UPDATE snapshots SET status = 'DELETING' WHERE job_id = $1 AND kind IN ($2, $3)";
        let job = id.to_string();
        let second = if with_savepoints { SnapshotKind::Savepoint } else { SnapshotKind::Checkpoint };
        let marked = self
            .run("marking a job as being deleted", async {
                on!(self, p => {
                    let mut tx = p.begin_with(self.begin()).await?;
                    let marked = sqlx::query(JOB).bind(&job).bind(now_ms).execute(&mut *tx).await?.rows_affected();
                    if marked > 0 {
                        sqlx::query(LOCK).bind(&job).execute(&mut *tx).await?;
                        let held: i64 = sqlx::query_scalar(HELD).bind(&job).fetch_one(&mut *tx).await?;
                        if held > 0 {
                            tx.rollback().await?;
                            return Ok(Marked::Held);
                        }
                        let pinned: i64 = sqlx::query_scalar(PINNED).bind(&job).bind(SnapshotKind::Checkpoint.as_str())
                            .bind(second.as_str()).fetch_one(&mut *tx).await?;
                        if pinned > 0 {
                            tx.rollback().await?;
                            return Ok(Marked::Pinned);
                        }
                        sqlx::query(SNAPSHOTS).bind(&job).bind(SnapshotKind::Checkpoint.as_str()).bind(second.as_str())
                            .execute(&mut *tx).await?;
                    }
                    tx.commit().await?;
                    Ok(if marked > 0 { Marked::Yes } else { Marked::No })
                })
            })
            .await?;
        match marked {
            Marked::Yes => Ok(()),
            Marked::Held => Err(Error::conflict(
                "snapshot_in_use",
                format!(
                    "job {id} has a snapshot that another job was just restored from; try again when that has a checkpoint of its own"
                ),
            )),
            Marked::Pinned => Err(Error::conflict(
                "savepoint_pinned",
                format!("a savepoint of job {id} is pinned: unpin it before you delete it"),
            )),
            Marked::No => {
                let job = self.job(id).await?;
                Err(Error::conflict("job_not_terminal", format!("job {id} is {}: cancel it first", job.status)))
            }
        }
    }

    /// Deletes the row of a job that is marked as being deleted, whose objects are gone, with its checkpoints' rows,
    /// failures, labels and idempotency keys. Completed savepoints stay, without a job. Repeating the call is safe.
    pub async fn finish_job_deletion(&self, id: JobId) -> Result<()> {
        const JOB: &str = "DELETE FROM jobs WHERE id = $1 AND desired = 'DELETED'";
        // By their origin: the job's deletion has just taken away their reference. Imported ones never had one.
        const SNAPSHOTS: &str = "DELETE FROM snapshots WHERE origin_job_id = $1 AND job_id IS NULL AND imported_from IS NULL AND (kind = 'CHECKPOINT' OR status IN ('IN_PROGRESS', 'FAILED'))";
        let id = id.to_string();
        self.run("deleting a job", async {
            on!(self, p => {
                let mut tx = p.begin_with(self.begin()).await?;
                if sqlx::query(JOB).bind(&id).execute(&mut *tx).await?.rows_affected() > 0 {
                    sqlx::query(SNAPSHOTS).bind(&id).execute(&mut *tx).await?;
                }
                tx.commit().await
            })
        })
        .await
    }

    /// Jobs that are marked as being deleted, oldest first; some of them if there are very many.
    pub async fn jobs_being_deleted(&self) -> Result<Vec<JobId>> {
        const SQL: &str = "SELECT id FROM jobs WHERE desired = 'DELETED' ORDER BY created_ms, id LIMIT $1";
        let ids: Vec<String> = self
            .run("looking for jobs being deleted", async {
                on!(self, p => sqlx::query_scalar(SQL).bind(MAX_DELETIONS).fetch_all(p).await)
            })
            .await?;
        ids.iter().map(|id| job_id(id)).collect()
    }

    /// All of a job's snapshots of one kind whose deletion has begun.
    pub async fn deleting_of(&self, job: JobId, kind: SnapshotKind) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE job_id = $1 AND status = 'DELETING' AND kind = $2 ORDER BY checkpoint_id"
        );
        let rows: Vec<SnapshotRow> = self
            .run("listing snapshots being deleted", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(kind.as_str()).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }

    /// Makes a completed snapshot `FAILED`: it turned out to be unreadable, and nothing must start from it. False if it
    /// was not completed.
    pub async fn fail_completed(&self, id: SnapshotId, reason: &str) -> Result<bool> {
        const SQL: &str = "UPDATE snapshots SET status = 'FAILED', failure = $2 WHERE id = $1 AND status = 'COMPLETED'";
        let changed = self
            .run("failing an unreadable snapshot", async {
                on!(self, p => sqlx::query(SQL).bind(id.to_string()).bind(storable(reason))
                    .execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// Up to `limit` snapshots of all jobs and statuses, by id, after `after`.
    pub async fn all_snapshots(&self, after: Option<SnapshotId>, limit: u32) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!("SELECT ", snapshot_columns!(), " FROM snapshots WHERE id > $1 ORDER BY id LIMIT $2");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows: Vec<SnapshotRow> = self
            .run("listing all snapshots", async {
                on!(self, p => sqlx::query_as(SQL).bind(&after).bind(i64::from(limit)).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }

    /// Up to `limit` jobs' states, by id, after `after`; without their plans, so that one that cannot be read does not
    /// hide the others.
    pub async fn job_states(&self, after: Option<JobId>, limit: u32) -> Result<Vec<JobState>> {
        const SQL: &str = "SELECT id, status, desired, attempt FROM jobs WHERE id > $1 ORDER BY id LIMIT $2";
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows: Vec<(String, String, String, i64)> = self
            .run("listing jobs' states", async {
                on!(self, p => sqlx::query_as(SQL).bind(&after).bind(i64::from(limit)).fetch_all(p).await)
            })
            .await?;
        rows.into_iter().map(job_state).collect()
    }

    /// One job's state.
    pub async fn job_state(&self, id: JobId) -> Result<JobState> {
        const SQL: &str = "SELECT id, status, desired, attempt FROM jobs WHERE id = $1";
        let row: Option<(String, String, String, i64)> = self
            .run("reading a job's state", async {
                on!(self, p => sqlx::query_as(SQL).bind(id.to_string()).fetch_optional(p).await)
            })
            .await?;
        row.map(job_state).transpose()?.ok_or_else(|| no_such_job(id))
    }
}

fn job_state((id, status, desired, attempt): (String, String, String, i64)) -> Result<JobState> {
    let corrupt = |column: &str| Error::corrupt("row_corrupt", format!("job {id}: column {column} cannot be read"));
    Ok(JobState {
        id: job_id(&id)?,
        status: status.parse().map_err(|_| corrupt("status"))?,
        desired: desired.parse().map_err(|_| corrupt("desired"))?,
        attempt: u64::try_from(attempt).map_err(|_| corrupt("attempt"))?,
    })
}
