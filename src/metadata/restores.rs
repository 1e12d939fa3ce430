//! What attempts are restored from: choosing by time, the list of candidates, and what an attempt says about its restore.

use crate::error::Result;
use crate::id::{JobId, SnapshotId};

use super::row::{SnapshotRow, convert, snapshot_columns, storable, to_i64, to_json};
use super::{Lease, Metadata, Restored, Snapshot};

/// Most snapshots that a restore tries one after another.
pub const MAX_CANDIDATES: u32 = 1_000;

impl Metadata {
    /// The newest snapshot of a job, of either kind, that was complete at this time.
    pub async fn newest_completed_at(&self, job: JobId, time_ms: i64) -> Result<Option<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE job_id = $1 AND status = 'COMPLETED' AND ended_ms <= $2 ORDER BY checkpoint_id DESC LIMIT 1"
        );
        let rows: Vec<SnapshotRow> = self
            .run("looking for a snapshot by time", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(time_ms).fetch_all(p).await)
            })
            .await?;
        Ok(convert(rows)?.pop())
    }

    /// The snapshots from which a job may go on by itself, newest first: see [`Metadata::latest_for_recovery`].
    pub async fn recovery_candidates(&self, job: JobId) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE job_id = $1 AND status = 'COMPLETED' AND (kind = 'CHECKPOINT' OR trigger_reason = 'STOP') ORDER BY checkpoint_id DESC LIMIT $2"
        );
        let rows: Vec<SnapshotRow> = self
            .run("listing the snapshots to go on from", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(i64::from(MAX_CANDIDATES)).fetch_all(p).await)
            })
            .await?;
        if rows.is_empty() {
            return Ok(self.latest_for_recovery(job).await?.into_iter().collect());
        }
        convert(rows)
    }

    /// Stores what the lease's attempt was restored from; false if the lease was lost.
    pub async fn set_restored(&self, lease: &Lease, restored: &Restored) -> Result<bool> {
        const SQL: &str = "UPDATE jobs SET restored = $4 WHERE id = $1 AND attempt = $2 AND owner = $3";
        let attempt = to_i64("attempt", lease.attempt)?;
        let restored = to_json("restored", restored)?;
        let changed = self
            .run("storing what a job was restored from", async {
                on!(self, p => sqlx::query(SQL).bind(lease.job_id.to_string()).bind(attempt).bind(&*lease.owner)
                    .bind(&restored).execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// Makes a completed snapshot `FAILED` because it cannot be read, so that it is no longer listed as one that can be
    /// restored; false if the lease was lost.
    pub async fn fail_unreadable(&self, lease: &Lease, id: SnapshotId, reason: &str) -> Result<bool> {
        const SQL: &str = "UPDATE snapshots SET status = 'FAILED', failure = $5 WHERE id = $4 AND job_id = $1 AND status = 'COMPLETED' AND EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND attempt = $2 AND owner = $3)";
        let attempt = to_i64("attempt", lease.attempt)?;
        let changed = self
            .run("failing a snapshot", async {
                on!(self, p => sqlx::query(SQL).bind(lease.job_id.to_string()).bind(attempt).bind(&*lease.owner)
                    .bind(id.to_string()).bind(storable(reason)).execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }
}
