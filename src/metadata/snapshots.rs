//! Snapshots: their rows are written before their objects exist and outlive them (`IN_PROGRESS` → `COMPLETED` or
//! `FAILED` → `DELETING` → gone), so that after a crash every object in the store is either listed here or of a row
//! that says what to delete.

use sqlx::AssertSqlSafe;

use crate::error::{Error, Result};
use crate::id::{JobId, SnapshotId};

use super::holds::{RELEASE, RESTARTED};
use super::jobs::no_such_job;
use super::row::{SnapshotRow, convert, id_texts, placeholders, snapshot_columns, storable, to_i64, to_json};
use super::savepoints::INSERT_LABEL;
use super::upgrades::COMPLETE_UPGRADE;
use super::{Lease, Metadata, Snapshot, SnapshotKind, SnapshotStatus};

/// Rows that one cleaning call returns or changes at most; callers repeat until nothing is left.
pub const MAX_CLEANING_BATCH: usize = 500;

/// Locks the job's row until the transaction ends, if the lease is still good. Postgres lets a taker of the job wait
/// for it, so whatever the transaction publishes is seen by the next attempt or not published at all; without the
/// lock, a slow commit could land after the next attempt chose what to restore.
pub(super) const LOCK_IF_HELD: &str = "UPDATE jobs SET updated_ms = $4 WHERE id = $1 AND attempt = $2 AND owner = $3";

impl Metadata {
    /// Hands out the job's next checkpoint id, from 1; never the same one twice.
    pub async fn next_checkpoint_id(&self, job: JobId) -> Result<u64> {
        const SQL: &str = "UPDATE jobs SET next_checkpoint_id = next_checkpoint_id + 1 WHERE id = $1 RETURNING next_checkpoint_id - 1";
        let ids: Vec<i64> = self
            .run("taking a checkpoint id", async {
                on!(self, p => sqlx::query_scalar(SQL).bind(job.to_string()).fetch_all(p).await)
            })
            .await?;
        let id = ids.first().ok_or_else(|| no_such_job(job))?;
        u64::try_from(*id).map_err(|e| {
            Error::corrupt("row_corrupt", format!("job {job}: column next_checkpoint_id cannot be read")).caused_by(&e)
        })
    }

    /// Stores a snapshot as `IN_PROGRESS`; false if the lease was lost. `client_key` is unique in the job
    /// (`snapshot_key_reused`). Repeating the call with the same snapshot changes nothing.
    pub async fn begin_snapshot(&self, lease: &Lease, snapshot: &Snapshot, client_key: Option<&str>) -> Result<bool> {
        const SQL: &str = concat!(
            "INSERT INTO snapshots (",
            snapshot_columns!(),
            ", client_key, job_id) VALUES ($1, $2, $3, $4, $5, 'IN_PROGRESS', $6, $7, $8, $9, $10, NULL, NULL, $12, $13, $14, $15, $16, $17, $11, $2) ON CONFLICT (id) DO NOTHING"
        );
        if (snapshot.job_id, snapshot.attempt) != (lease.job_id, lease.attempt) {
            return Err(Error::internal(format!("snapshot {} is of another attempt than its lease", snapshot.id)));
        }
        let job = lease.job_id.to_string();
        let attempt = to_i64("attempt", lease.attempt)?;
        let checkpoint_id = to_i64("checkpoint_id", snapshot.checkpoint_id)?;
        let state_bytes = to_i64("state_bytes", snapshot.state_bytes)?;
        let uploaded_bytes = to_i64("uploaded_bytes", snapshot.uploaded_bytes)?;
        let details = &snapshot.details;
        let labels = to_json("labels", &details.labels)?;
        self.run("beginning a snapshot", async {
            on!(self, p => {
                let mut tx = p.begin_with(self.begin()).await?;
                let held = sqlx::query(LOCK_IF_HELD).bind(&job).bind(attempt).bind(&*lease.owner).bind(snapshot.started_ms)
                    .execute(&mut *tx).await?.rows_affected();
                if held == 0 {
                    tx.rollback().await?;
                    return Ok(false);
                }
                sqlx::query(SQL)
                    .bind(snapshot.id.to_string()).bind(&job).bind(snapshot.kind.as_str()).bind(checkpoint_id)
                    .bind(attempt).bind(snapshot.trigger.as_str()).bind(&snapshot.location).bind(state_bytes)
                    .bind(uploaded_bytes).bind(snapshot.started_ms).bind(client_key)
                    .bind(&details.job_name).bind(details.format.as_str()).bind(details.pinned).bind(&labels)
                    .bind(&details.imported_from).bind(details.is_foreign)
                    .execute(&mut *tx).await?;
                for (key, value) in &details.labels {
                    sqlx::query(INSERT_LABEL).bind(snapshot.id.to_string()).bind(key).bind(value)
                        .execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(true)
            })
        })
        .await
    }

    /// **The publication point**: makes an `IN_PROGRESS` snapshot `COMPLETED` if the lease is still good, in one
    /// transaction. False = fenced (or the snapshot was failed meanwhile): stop the job here. Repeating the call after
    /// an unavailable database gives true if the snapshot is already published under this lease.
    pub async fn complete_snapshot(
        &self,
        lease: &Lease,
        id: SnapshotId,
        state_bytes: u64,
        uploaded_bytes: u64,
        now_ms: i64,
    ) -> Result<bool> {
        const COMPLETE: &str = "UPDATE snapshots SET status = 'COMPLETED', state_bytes = $4, uploaded_bytes = $5, ended_ms = $6 WHERE id = $1 AND job_id = $2 AND attempt = $3 AND status = 'IN_PROGRESS'";
        // Stop-with-savepoint survives a crash between the savepoint and the job's end.
        const STOPPED: &str = "UPDATE jobs SET desired = 'STOPPED' WHERE id = $1 AND desired = 'RUNNING' AND EXISTS (SELECT 1 FROM snapshots WHERE id = $2 AND trigger_reason = 'STOP')";
        const COMPLETED: &str =
            "SELECT COUNT(*) FROM snapshots WHERE id = $1 AND job_id = $2 AND attempt = $3 AND status = 'COMPLETED'";
        let (id, job) = (id.to_string(), lease.job_id.to_string());
        let attempt = to_i64("attempt", lease.attempt)?;
        let state_bytes = to_i64("state_bytes", state_bytes)?;
        let uploaded_bytes = to_i64("uploaded_bytes", uploaded_bytes)?;
        self.run("completing a snapshot", async {
            on!(self, p => {
                let mut tx = p.begin_with(self.begin()).await?;
                let held = sqlx::query(LOCK_IF_HELD).bind(&job).bind(attempt).bind(&*lease.owner).bind(now_ms)
                    .execute(&mut *tx).await?.rows_affected();
                if held == 0 {
                    tx.rollback().await?;
                    return Ok(false);
                }
                let completed = sqlx::query(COMPLETE)
                    .bind(&id).bind(&job).bind(attempt).bind(state_bytes).bind(uploaded_bytes).bind(now_ms)
                    .execute(&mut *tx).await?.rows_affected();
                let published = completed > 0
                    || sqlx::query_scalar::<_, i64>(COMPLETED).bind(&id).bind(&job).bind(attempt)
                        .fetch_one(&mut *tx).await? > 0;
                if published {
                    sqlx::query(STOPPED).bind(&job).bind(&id).execute(&mut *tx).await?;
                    sqlx::query(RELEASE).bind(&job).bind(&id).execute(&mut *tx).await?;
                    sqlx::query(RESTARTED).bind(&job).bind(&id).execute(&mut *tx).await?;
                    sqlx::query(COMPLETE_UPGRADE).bind(&job).bind(&id).bind(now_ms).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(published)
            })
        })
        .await
    }

    /// Makes an `IN_PROGRESS` snapshot `FAILED`; false if it is in another status (or does not exist).
    pub async fn fail_snapshot(&self, id: SnapshotId, reason: &str, now_ms: i64) -> Result<bool> {
        const SQL: &str = "UPDATE snapshots SET status = 'FAILED', failure = $2, ended_ms = $3 WHERE id = $1 AND status = 'IN_PROGRESS'";
        let changed = self
            .run("failing a snapshot", async {
                on!(self, p => sqlx::query(SQL).bind(id.to_string()).bind(storable(reason)).bind(now_ms)
                    .execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// Fails all `IN_PROGRESS` snapshots of the job's attempts before `before_attempt`; returns those that it failed.
    pub async fn fail_in_progress(
        &self,
        job: JobId,
        before_attempt: u64,
        reason: &str,
        now_ms: i64,
    ) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "UPDATE snapshots SET status = 'FAILED', failure = $3, ended_ms = $4 ",
            "WHERE job_id = $1 AND attempt < $2 AND status = 'IN_PROGRESS' RETURNING ",
            snapshot_columns!()
        );
        let before_attempt = to_i64("attempt", before_attempt)?;
        let rows: Vec<SnapshotRow> = self
            .run("failing snapshots of earlier attempts", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(before_attempt).bind(storable(reason))
                    .bind(now_ms).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }

    /// The completed snapshot of one of these kinds with the highest checkpoint id.
    pub async fn latest_completed(&self, job: JobId, kinds: &[SnapshotKind]) -> Result<Option<Snapshot>> {
        if kinds.is_empty() {
            return Ok(None);
        }
        // Only placeholders and constant text.
        let sql = AssertSqlSafe(format!(
            concat!(
                "SELECT ",
                snapshot_columns!(),
                " FROM snapshots WHERE job_id = $1 AND status = 'COMPLETED' AND kind IN ({}) ORDER BY checkpoint_id DESC LIMIT 1"
            ),
            placeholders(2, kinds.len())
        ));
        let row: Option<SnapshotRow> = self
            .run("looking for the newest snapshot", async {
                on!(self, p => {
                    let mut query = sqlx::query_as(sql).bind(job.to_string());
                    for kind in kinds {
                        query = query.bind(kind.as_str());
                    }
                    query.fetch_optional(p).await
                })
            })
            .await?;
        row.map(Snapshot::try_from).transpose()
    }

    /// The snapshot from which a job goes on by itself: its newest completed checkpoint or the savepoint that it was
    /// stopped with. Other savepoints belong to the user, who may delete them at any time: they count only where there
    /// is nothing else (periodic checkpoints switched off).
    pub async fn latest_for_recovery(&self, job: JobId) -> Result<Option<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE job_id = $1 AND status = 'COMPLETED' AND (kind = 'CHECKPOINT' OR trigger_reason = 'STOP') ORDER BY checkpoint_id DESC LIMIT 1"
        );
        let row: Option<SnapshotRow> = self
            .run("looking for the snapshot to go on from", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).fetch_optional(p).await)
            })
            .await?;
        match row {
            Some(row) => Snapshot::try_from(row).map(Some),
            None => self.latest_completed(job, &[SnapshotKind::Savepoint]).await,
        }
    }

    /// The snapshot with this id, in any status; `snapshot_not_found` if there is none.
    pub async fn snapshot(&self, id: SnapshotId) -> Result<Snapshot> {
        const SQL: &str = concat!("SELECT ", snapshot_columns!(), " FROM snapshots WHERE id = $1");
        let row: Option<SnapshotRow> = self
            .run("reading a snapshot", async {
                on!(self, p => sqlx::query_as(SQL).bind(id.to_string()).fetch_optional(p).await)
            })
            .await?;
        row.map(Snapshot::try_from)
            .transpose()?
            .ok_or_else(|| Error::not_found("snapshot_not_found", format!("no snapshot has the id {id}")))
    }

    /// The job's snapshot with this checkpoint id, in any status.
    pub async fn snapshot_by_checkpoint(&self, job: JobId, checkpoint_id: u64) -> Result<Option<Snapshot>> {
        const SQL: &str =
            concat!("SELECT ", snapshot_columns!(), " FROM snapshots WHERE job_id = $1 AND checkpoint_id = $2");
        // An id beyond the column's range is of no row.
        let Ok(checkpoint_id) = i64::try_from(checkpoint_id) else { return Ok(None) };
        let row: Option<SnapshotRow> = self
            .run("reading a snapshot", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(checkpoint_id).fetch_optional(p).await)
            })
            .await?;
        row.map(Snapshot::try_from).transpose()
    }

    /// The job's snapshot that was begun with this client key, in any status.
    pub async fn find_snapshot_by_key(&self, job: JobId, client_key: &str) -> Result<Option<Snapshot>> {
        const SQL: &str =
            concat!("SELECT ", snapshot_columns!(), " FROM snapshots WHERE job_id = $1 AND client_key = $2");
        let row: Option<SnapshotRow> = self
            .run("reading a snapshot", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(client_key).fetch_optional(p).await)
            })
            .await?;
        row.map(Snapshot::try_from).transpose()
    }

    /// Up to `limit` snapshots of a job, highest checkpoint id first, below `after`; without those being deleted.
    pub async fn list_snapshots(
        &self,
        job: JobId,
        kind: Option<SnapshotKind>,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE job_id = $1 AND status <> 'DELETING' AND checkpoint_id < $2 AND kind IN ($3, $4) ",
            "ORDER BY checkpoint_id DESC LIMIT $5"
        );
        let below = after.and_then(|id| i64::try_from(id).ok()).unwrap_or(i64::MAX);
        let (first, second) = match kind {
            Some(kind) => (kind, kind),
            None => (SnapshotKind::Checkpoint, SnapshotKind::Savepoint),
        };
        let rows: Vec<SnapshotRow> = self
            .run("listing snapshots", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(below).bind(first.as_str())
                    .bind(second.as_str()).bind(i64::from(limit)).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }

    /// Completed checkpoints (never savepoints) older than the newest `retained` ones, newest first; at most
    /// [`MAX_CLEANING_BATCH`].
    pub async fn completed_beyond(&self, job: JobId, retained: u32) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE job_id = $1 AND status = 'COMPLETED' AND kind = 'CHECKPOINT' ",
            "ORDER BY checkpoint_id DESC LIMIT $2 OFFSET $3"
        );
        self.beyond(SQL, job, retained).await
    }

    /// Failed snapshots of both kinds older than the newest `retained` ones, newest first; at most
    /// [`MAX_CLEANING_BATCH`].
    pub async fn failed_beyond(&self, job: JobId, retained: u32) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE job_id = $1 AND status = 'FAILED' ORDER BY checkpoint_id DESC LIMIT $2 OFFSET $3"
        );
        self.beyond(SQL, job, retained).await
    }

    async fn beyond(&self, sql: &'static str, job: JobId, retained: u32) -> Result<Vec<Snapshot>> {
        let rows: Vec<SnapshotRow> = self
            .run("looking for snapshots to retire", async {
                on!(self, p => sqlx::query_as(sql).bind(job.to_string()).bind(BATCH_LIMIT).bind(i64::from(retained))
                    .fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }

    /// Retires completed or failed snapshots: they can no longer be restored, and their objects may be deleted once
    /// this returned. Returns those that it retired, or had retired before; ones in progress, and ones that another job
    /// holds because it was restored from them, are left alone.
    pub async fn mark_deleting(&self, ids: &[SnapshotId]) -> Result<Vec<SnapshotId>> {
        let mut marked = Vec::with_capacity(ids.len());
        for batch in ids.chunks(MAX_CLEANING_BATCH) {
            let those = placeholders(1, batch.len());
            // Only placeholders and constant text. The rows are locked by a statement of its own, so that the second one
            // sees the holds of everybody who came before.
            let lock = format!("UPDATE snapshots SET status = status WHERE id IN ({those})");
            let mark = format!(
                "UPDATE snapshots SET status = 'DELETING' WHERE id IN ({those}) AND status IN ('COMPLETED', 'FAILED', 'DELETING') AND id NOT IN (SELECT snapshot_id FROM snapshot_holds) RETURNING id"
            );
            let texts = id_texts(batch);
            let rows: Vec<String> = self
                .run("retiring snapshots", async {
                    on!(self, p => {
                        let mut tx = p.begin_with(self.begin()).await?;
                        let mut query = sqlx::query(AssertSqlSafe(lock.clone()));
                        for id in &texts {
                            query = query.bind(id);
                        }
                        query.execute(&mut *tx).await?;
                        let mut query = sqlx::query_scalar(AssertSqlSafe(mark.clone()));
                        for id in &texts {
                            query = query.bind(id);
                        }
                        let rows = query.fetch_all(&mut *tx).await?;
                        tx.commit().await?;
                        Ok(rows)
                    })
                })
                .await?;
            marked.extend(batch.iter().zip(&texts).filter(|(_, text)| rows.contains(text)).map(|(id, _)| *id));
        }
        Ok(marked)
    }

    /// Deletes the rows of retired snapshots, whose objects are gone; others are left alone.
    pub async fn delete_snapshot_rows(&self, ids: &[SnapshotId]) -> Result<()> {
        for batch in ids.chunks(MAX_CLEANING_BATCH) {
            // Only placeholders and constant text.
            let sql = AssertSqlSafe(format!(
                "DELETE FROM snapshots WHERE id IN ({}) AND status = 'DELETING'",
                placeholders(1, batch.len())
            ));
            self.run("deleting snapshots' rows", async {
                on!(self, p => {
                    let mut query = sqlx::query(sql);
                    for id in id_texts(batch) {
                        query = query.bind(id);
                    }
                    query.execute(p).await.map(|_| ())
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Retired snapshots of all jobs whose objects may still exist, oldest first; at most [`MAX_CLEANING_BATCH`].
    pub async fn deleting(&self) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE status = 'DELETING' ORDER BY started_ms, id LIMIT $1"
        );
        self.of_all_jobs(SQL).await
    }

    /// Snapshots of all jobs that are [`SnapshotStatus::InProgress`], oldest first; at most [`MAX_CLEANING_BATCH`].
    pub async fn snapshots_in_flight(&self) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE status = 'IN_PROGRESS' ORDER BY started_ms, id LIMIT $1"
        );
        let snapshots = self.of_all_jobs(SQL).await?;
        debug_assert!(snapshots.iter().all(|s| s.status == SnapshotStatus::InProgress));
        Ok(snapshots)
    }

    async fn of_all_jobs(&self, sql: &'static str) -> Result<Vec<Snapshot>> {
        let rows: Vec<SnapshotRow> = self
            .run("listing snapshots", async {
                on!(self, p => sqlx::query_as(sql).bind(BATCH_LIMIT).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }
}

/// [`MAX_CLEANING_BATCH`] as the databases want it.
const BATCH_LIMIT: i64 = 500;
const _: () = assert!(BATCH_LIMIT as usize == MAX_CLEANING_BATCH);
