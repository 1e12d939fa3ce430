//! Who runs a job: leases, fencing, and the statuses that only the holder may change.
//!
//! A job's owner and attempt together are its fencing token. Taking a job raises the attempt, so a holder that lost
//! its lease can no longer match the row, even if it never noticed. Everything is compare-and-set in one statement
//! (Postgres re-evaluates the condition after waiting for a row's lock; SQLite has one writer).

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use crate::error::Result;
use crate::id::JobId;

use super::row::{JobRow, job_columns, job_id, placeholders, storable, terminal, to_i64, to_json};
use super::{DesiredStatus, Job, JobStatus, Metadata, RestoreSource};

/// The right to run a job, as one attempt of one owner. Holding the value does not prove that the lease still lasts:
/// each write that names it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub job_id: JobId,
    pub owner: Arc<str>,
    pub attempt: u64,
}

impl Metadata {
    /// Takes a job that has not ended and that is free, `owner`'s own, or whose lease is over: raises its attempt and
    /// sets `INITIALIZING`. `None` if someone else holds it, or it has ended or vanished. A row that cannot be read is
    /// left as it is. Repeating the call takes the job once more (another attempt).
    pub async fn acquire_job(
        &self,
        id: JobId,
        owner: &str,
        lease_ms: u64,
        now_ms: i64,
    ) -> Result<Option<(Job, Lease)>> {
        const SQL: &str = concat!(
            "UPDATE jobs SET owner = $2, lease_until_ms = $3, attempt = attempt + 1, status = 'INITIALIZING', started_ms = $4, updated_ms = $4 ",
            "WHERE id = $1 AND status NOT IN ",
            terminal!(),
            " AND (owner IS NULL OR owner = $2 OR lease_until_ms < $4) RETURNING ",
            job_columns!()
        );
        if self.find_job(id).await?.is_none() {
            return Ok(None);
        }
        let until_ms = lease_end(now_ms, lease_ms)?;
        // All rows are fetched, here and below: SQLite commits when the statement has run to its end.
        let mut rows: Vec<JobRow> = self
            .run("taking a job", async {
                on!(self, p => sqlx::query_as(SQL).bind(id.to_string()).bind(owner).bind(until_ms).bind(now_ms).fetch_all(p).await)
            })
            .await?;
        let Some(row) = rows.pop() else { return Ok(None) };
        let job = Job::try_from(row)?;
        let lease = Lease { job_id: id, owner: owner.into(), attempt: job.attempt };
        Ok(Some((job, lease)))
    }

    /// Extends all leases of `owner`; returns the jobs that it still holds. One that is missing was lost: stop it.
    pub async fn renew_leases(&self, owner: &str, lease_ms: u64, now_ms: i64) -> Result<Vec<JobId>> {
        const SQL: &str = concat!(
            "UPDATE jobs SET lease_until_ms = $2 WHERE owner = $1 AND status NOT IN ",
            terminal!(),
            " RETURNING id"
        );
        let until_ms = lease_end(now_ms, lease_ms)?;
        let ids: Vec<String> = self
            .run("renewing leases", async {
                on!(self, p => sqlx::query_scalar(SQL).bind(owner).bind(until_ms).fetch_all(p).await)
            })
            .await?;
        ids.iter().map(|id| job_id(id)).collect()
    }

    /// Gives a job back, so that anyone can take it at once; false if the lease was lost.
    pub async fn release_job(&self, lease: &Lease) -> Result<bool> {
        const SQL: &str =
            "UPDATE jobs SET owner = NULL, lease_until_ms = 0 WHERE id = $1 AND attempt = $2 AND owner = $3";
        let attempt = to_i64("attempt", lease.attempt)?;
        let changed = self
            .run("releasing a job", async {
                on!(self, p => sqlx::query(SQL).bind(lease.job_id.to_string()).bind(attempt).bind(&*lease.owner)
                    .execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// Whether the lease's attempt and owner are still those of the job's row.
    pub async fn holds(&self, lease: &Lease) -> Result<bool> {
        const SQL: &str = "SELECT COUNT(*) FROM jobs WHERE id = $1 AND attempt = $2 AND owner = $3";
        let attempt = to_i64("attempt", lease.attempt)?;
        let count: i64 = self
            .run("checking a lease", async {
                on!(self, p => sqlx::query_scalar(SQL).bind(lease.job_id.to_string()).bind(attempt).bind(&*lease.owner)
                    .fetch_one(p).await)
            })
            .await?;
        Ok(count > 0)
    }

    /// Changes a job's status from one of `from` to `to`; a terminal `to` also ends the lease. `failure` replaces the
    /// newest failure's message. False if the lease was lost or the status was none of `from`; after an unavailable
    /// database, false may also mean that the first call took effect: read the job.
    pub async fn set_status(
        &self,
        lease: &Lease,
        from: &[JobStatus],
        to: JobStatus,
        failure: Option<&str>,
        now_ms: i64,
    ) -> Result<bool> {
        let end = if to.is_terminal() { ", ended_ms = $3, owner = NULL, lease_until_ms = 0" } else { "" };
        // Only placeholders and constant text.
        let sql = AssertSqlSafe(format!(
            "UPDATE jobs SET status = $1, failure = COALESCE($2, failure), updated_ms = $3{end} WHERE id = $4 AND attempt = $5 AND owner = $6 AND status IN ({})",
            placeholders(7, from.len())
        ));
        let attempt = to_i64("attempt", lease.attempt)?;
        let failure = failure.map(storable);
        let changed = self
            .run("changing a job's status", async {
                on!(self, p => {
                    let mut query = sqlx::query(sql).bind(to.as_str()).bind(failure).bind(now_ms)
                        .bind(lease.job_id.to_string()).bind(attempt).bind(&*lease.owner);
                    for status in from {
                        query = query.bind(status.as_str());
                    }
                    query.execute(p).await.map(|done| done.rows_affected())
                })
            })
            .await?;
        Ok(changed > 0)
    }

    /// Sets what the user wants of a job; false if it has ended (or does not exist).
    pub async fn set_desired(&self, id: JobId, desired: DesiredStatus, now_ms: i64) -> Result<bool> {
        const SQL: &str =
            concat!("UPDATE jobs SET desired = $2, updated_ms = $3 WHERE id = $1 AND status NOT IN ", terminal!());
        let changed = self
            .run("changing what is wanted of a job", async {
                on!(self, p => sqlx::query(SQL).bind(id.to_string()).bind(desired.as_str()).bind(now_ms)
                    .execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// Cancels a job that nobody runs (no owner, or the lease is over; a late owner is fenced thereby). False if
    /// someone runs it, or it has ended (or does not exist).
    pub async fn cancel_unowned(&self, id: JobId, now_ms: i64) -> Result<bool> {
        const SQL: &str = concat!(
            "UPDATE jobs SET status = 'CANCELED', desired = 'CANCELED', owner = NULL, lease_until_ms = 0, ended_ms = $2, updated_ms = $2 ",
            "WHERE id = $1 AND (owner IS NULL OR lease_until_ms < $2) AND status NOT IN ",
            terminal!()
        );
        let changed = self
            .run("cancelling a job", async {
                on!(self, p => sqlx::query(SQL).bind(id.to_string()).bind(now_ms).execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// Makes an ended job ready to run again; false if it has not ended, is being deleted, or does not exist.
    /// `job_name_taken` if another job took its name. `from` names the snapshot to go on from; without it, the one that an earlier restart
    /// named and that nothing was made from yet stays named.
    pub async fn reset_for_restart(&self, id: JobId, from: Option<&RestoreSource>, now_ms: i64) -> Result<bool> {
        const SQL: &str = concat!(
            "UPDATE jobs SET status = 'CREATED', desired = 'RUNNING', owner = NULL, lease_until_ms = 0, ended_ms = NULL, updated_ms = $2, ",
            "restart_from = COALESCE($3, restart_from) WHERE id = $1 AND desired <> 'DELETED' AND status IN ",
            terminal!()
        );
        let from = from.map(|f| to_json("restart_from", f)).transpose()?;
        let changed = self
            .run("making a job ready to run again", async {
                on!(self, p => sqlx::query(SQL).bind(id.to_string()).bind(now_ms).bind(&from).execute(p).await.map(|done| done.rows_affected()))
            })
            .await;
        match changed {
            Ok(changed) => Ok(changed > 0),
            Err(error) if error.code == "job_name_taken" => {
                let name = self.job(id).await?.name;
                Err(self.name_taken_by(&name, error).await)
            }
            Err(error) => Err(error),
        }
    }

    /// Counts a restart after a failure; false if the lease was lost.
    pub async fn increment_restarts(&self, lease: &Lease, now_ms: i64) -> Result<bool> {
        const SQL: &str =
            "UPDATE jobs SET restarts = restarts + 1, updated_ms = $4 WHERE id = $1 AND attempt = $2 AND owner = $3";
        let attempt = to_i64("attempt", lease.attempt)?;
        let changed = self
            .run("counting a restart", async {
                on!(self, p => sqlx::query(SQL).bind(lease.job_id.to_string()).bind(attempt).bind(&*lease.owner).bind(now_ms)
                    .execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }
}

fn lease_end(now_ms: i64, lease_ms: u64) -> Result<i64> {
    Ok(now_ms.saturating_add(to_i64("lease_ms", lease_ms)?))
}
