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

    /// Stores the snapshots of a job whose rows were lost, and where its numbers go on; rows that are there stay.
    pub async fn insert_recovered_snapshots(&self, job: JobId, snapshots: &[Snapshot], next: u64) -> Result<()> {
        const INSERT: &str = concat!(
            "INSERT INTO snapshots (",
            snapshot_columns!(),
            ", job_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, FALSE, '{}', NULL, FALSE, $2) ON CONFLICT DO NOTHING"
        );
        const NEXT: &str = "UPDATE jobs SET next_checkpoint_id = $2 WHERE id = $1 AND next_checkpoint_id < $2";
        let next = to_i64("next_checkpoint_id", next)?;
        let mut rows = Vec::with_capacity(snapshots.len());
        for s in snapshots {
            let checkpoint_id = to_i64("checkpoint_id", s.checkpoint_id)?;
            let attempt = to_i64("attempt", s.attempt)?;
            rows.push((s, checkpoint_id, attempt, to_i64("state_bytes", s.state_bytes)?));
        }
        self.run("storing recovered snapshots", async {
            on!(self, p => {
                let mut tx = p.begin_with(self.begin()).await?;
                for (s, checkpoint_id, attempt, state_bytes) in &rows {
                    sqlx::query(INSERT)
                        .bind(s.id.to_string()).bind(job.to_string()).bind(s.kind.as_str()).bind(checkpoint_id)
                        .bind(attempt).bind(s.status.as_str()).bind(s.trigger.as_str()).bind(&s.location)
                        .bind(state_bytes).bind(0_i64).bind(s.started_ms).bind(s.ended_ms)
                        .bind(s.failure.as_deref().map(storable))
                        .bind(&s.details.job_name).bind(s.details.format.as_str())
                        .execute(&mut *tx).await?;
                }
                sqlx::query(NEXT).bind(job.to_string()).bind(next).execute(&mut *tx).await?;
                tx.commit().await
            })
        })
        .await
    }

    /// Lets a recovered job run when a service does; `job_name_taken` if a live job has its name.
    pub async fn start_recovered(&self, job: JobId, now_ms: i64) -> Result<()> {
        const SQL: &str = "UPDATE jobs SET status = 'SUSPENDED', desired = 'RUNNING', failure = NULL, ended_ms = NULL, updated_ms = $2 WHERE id = $1 AND status = 'CANCELED'";
        self.run("starting a recovered job", async {
            on!(self, p => sqlx::query(SQL).bind(job.to_string()).bind(now_ms).execute(p).await.map(|_| ()))
        })
        .await
    }
}
