//! Holds: a job that was restored from another's snapshot needs it until it has a checkpoint of its own. A held snapshot is
//! neither retired nor deleted.
//!
//! Invariants: 1. a hold is made in the transaction that stores its job, under a lock of the snapshot's row; 2. one of
//! mode `NO_CLAIM` ends in the transaction that publishes the job's first checkpoint; 3. one of mode `CLAIM` ends when the
//! snapshot is subsumed: it is deleted once the job has as many checkpoints of its own as it retains. Source: Flink,
//! "Restore mode" (FLIP-193).

use crate::error::Result;
use crate::id::{JobId, SnapshotId};

use super::row::{SnapshotRow, convert, snapshot_columns};
use super::{Metadata, Snapshot};

/// Locks a snapshot's row if it is completed.
pub(super) const LOCK_COMPLETED: &str = "UPDATE snapshots SET status = status WHERE id = $1 AND status = 'COMPLETED'";
/// Stores a hold.
pub(super) const HOLD: &str = "INSERT INTO snapshot_holds (job_id, snapshot_id, mode) VALUES ($1, $2, $3)";
/// Ends a job's hold with the publication of a snapshot from which it goes on by itself.
pub(super) const RELEASE: &str = "DELETE FROM snapshot_holds WHERE job_id = $1 AND mode = 'NO_CLAIM' AND EXISTS (SELECT 1 FROM snapshots WHERE id = $2 AND (kind = 'CHECKPOINT' OR trigger_reason = 'STOP'))";
/// Likewise forgets the snapshot that a restart named.
pub(super) const RESTARTED: &str = "UPDATE jobs SET restart_from = NULL WHERE id = $1 AND restart_from IS NOT NULL AND EXISTS (SELECT 1 FROM snapshots WHERE id = $2 AND (kind = 'CHECKPOINT' OR trigger_reason = 'STOP'))";

impl Metadata {
    /// The jobs other than the snapshot's own that hold a snapshot of `job`.
    pub async fn holders_of_job(&self, job: JobId) -> Result<Vec<JobId>> {
        const SQL: &str = "SELECT h.job_id FROM snapshot_holds h JOIN snapshots s ON s.id = h.snapshot_id WHERE s.job_id = $1 AND h.job_id <> $1 ORDER BY h.job_id";
        let ids: Vec<String> = self
            .run("looking for holders", async {
                on!(self, p => sqlx::query_scalar(SQL).bind(job.to_string()).fetch_all(p).await)
            })
            .await?;
        ids.iter().map(|id| super::row::job_id(id)).collect()
    }

    /// The jobs that hold this snapshot.
    pub async fn holders_of(&self, snapshot: SnapshotId) -> Result<Vec<JobId>> {
        const SQL: &str = "SELECT job_id FROM snapshot_holds WHERE snapshot_id = $1 ORDER BY job_id";
        let ids: Vec<String> = self
            .run("looking for holders", async {
                on!(self, p => sqlx::query_scalar(SQL).bind(snapshot.to_string()).fetch_all(p).await)
            })
            .await?;
        ids.iter().map(|id| super::row::job_id(id)).collect()
    }

    /// The snapshot that a job has claimed and that is still there.
    pub async fn claimed_snapshot(&self, job: JobId) -> Result<Option<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE id IN (SELECT snapshot_id FROM snapshot_holds WHERE job_id = $1 AND mode = 'CLAIM')"
        );
        let rows: Vec<SnapshotRow> = self
            .run("looking for a claimed snapshot", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).fetch_all(p).await)
            })
            .await?;
        Ok(convert(rows)?.pop())
    }

    /// Retires the snapshot that a job has claimed: true once its row is `DELETING`. False if another job holds it too, if it is pinned, or
    /// if it is the checkpoint of a job that has been restarted meanwhile, whose own it then is again.
    pub async fn subsume_claimed(&self, job: JobId, snapshot: SnapshotId) -> Result<bool> {
        const LOCK: &str = "UPDATE snapshots SET status = status WHERE id = $1";
        const MARK: &str = concat!(
            "UPDATE snapshots SET status = 'DELETING' WHERE id = $1 AND status IN ('COMPLETED', 'DELETING') ",
            "AND id NOT IN (SELECT snapshot_id FROM snapshot_holds WHERE job_id <> $2) ",
            "AND pinned = FALSE AND (kind = 'SAVEPOINT' OR job_id IN (SELECT id FROM jobs WHERE status IN ",
            super::row::terminal!(),
            "))"
        );
        let (job, snapshot) = (job.to_string(), snapshot.to_string());
        self.run("retiring a claimed snapshot", async {
            on!(self, p => {
                let mut tx = p.begin_with(self.begin()).await?;
                sqlx::query(LOCK).bind(&snapshot).execute(&mut *tx).await?;
                let marked = sqlx::query(MARK).bind(&snapshot).bind(&job).execute(&mut *tx).await?.rows_affected();
                tx.commit().await?;
                Ok(marked > 0)
            })
        })
        .await
    }

    /// Ends a job's hold, whatever its mode.
    pub async fn release_hold(&self, job: JobId) -> Result<()> {
        const SQL: &str = "DELETE FROM snapshot_holds WHERE job_id = $1";
        self.run("ending a hold", async {
            on!(self, p => sqlx::query(SQL).bind(job.to_string()).execute(p).await.map(|_| ()))
        })
        .await
    }
}
