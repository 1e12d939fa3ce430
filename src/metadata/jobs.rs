//! Jobs: submit, read, list, delete. Starting and stopping them is in `lease`.

use sqlx::AssertSqlSafe;

use crate::error::{Error, Result};
use crate::id::{JobId, SnapshotId};

use super::holds::{HOLD, LOCK_COMPLETED};
use super::row::{JobRow, convert, job_columns, job_id, placeholders, storable, terminal, to_i64, to_json};
use super::{Job, JobStatus, Metadata};

/// What [`Metadata::insert_job`] did.
#[derive(Debug, Clone, PartialEq)]
pub enum Inserted {
    /// The job is stored.
    Created,
    /// The same request was stored before: this is its job now.
    Replayed(Box<Job>),
}

/// Which jobs to list; an empty member does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Any of these.
    pub status: Vec<JobStatus>,
    /// All of these.
    pub labels: Vec<(String, String)>,
    /// Exactly this.
    pub name: Option<String>,
}

/// Outcome of claiming an idempotency key.
enum Claim {
    New,
    /// The snapshot to restore was deleted meanwhile.
    SnapshotGone(SnapshotId),
    /// The hash and job of the request that has the key.
    Taken {
        request_hash: String,
        job: Box<JobRow>,
    },
}

/// A value bound to a query that is put together by its caller.
pub(super) enum Bind {
    Text(String),
    Int(i64),
}

macro_rules! bind_all {
    ($query:expr, $binds:expr) => {{
        let mut query = $query;
        for bind in $binds {
            query = match bind {
                Bind::Text(text) => query.bind(text),
                Bind::Int(int) => query.bind(int),
            };
        }
        query
    }};
}

pub(super) use bind_all;

impl Metadata {
    /// Stores a job and claims its idempotency key (key, hash of the request), both or neither.
    ///
    /// Conflicts: `job_name_taken` (the message names the job that has the name), `idempotency_key_reused` (the key
    /// belongs to another request). Repeating the call is safe with a key.
    pub async fn insert_job(&self, job: &Job, idempotency: Option<(&str, &str)>) -> Result<Inserted> {
        const CLAIM: &str = "INSERT INTO idempotency_keys (key, request_hash, job_id, created_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO NOTHING";
        const CLAIMED: &str = "SELECT request_hash, job_id FROM idempotency_keys WHERE key = $1";
        const READ: &str = concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = $1");
        const INSERT: &str = concat!(
            "INSERT INTO jobs (",
            job_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
        );
        const LABEL: &str = "INSERT INTO job_labels (job_id, key, value) VALUES ($1, $2, $3)";

        let id = job.id.to_string();
        let plan = to_json("plan", &job.plan)?;
        let settings = to_json("settings", &job.settings)?;
        let (attempt, restarts) = (to_i64("attempt", job.attempt)?, to_i64("restarts", job.restarts)?);
        let failed_checkpoints = to_i64("failed_checkpoints", job.failed_checkpoints)?;
        let version = to_i64("version", job.version)?;
        let restart_from = job.restart_from.as_ref().map(|r| to_json("restart_from", r)).transpose()?;
        let restored = job.restored.as_ref().map(|r| to_json("restored", r)).transpose()?;
        let hold = job.settings.restore.as_ref().and_then(|r| r.hold);
        let stored = self
            .run("storing a job", async {
                on!(self, p => {
                    let mut tx = p.begin_with(self.begin()).await?;
                    if let Some((key, request_hash)) = idempotency {
                        let claimed = sqlx::query(CLAIM)
                            .bind(key).bind(request_hash).bind(&id).bind(job.created_ms)
                            .execute(&mut *tx).await?.rows_affected();
                        if claimed == 0 {
                            let (request_hash, owner_id): (String, String) =
                                sqlx::query_as(CLAIMED).bind(key).fetch_one(&mut *tx).await?;
                            let row: JobRow = sqlx::query_as(READ).bind(owner_id).fetch_one(&mut *tx).await?;
                            tx.rollback().await?;
                            return Ok(Claim::Taken { request_hash, job: Box::new(row) });
                        }
                    }
                    sqlx::query(INSERT)
                        .bind(&id).bind(&job.name).bind(&job.sql).bind(&plan).bind(&settings)
                        .bind(job.status.as_str()).bind(job.desired.as_str()).bind(attempt).bind(restarts)
                        .bind(&job.owner).bind(job.lease_until_ms).bind(job.failure.as_deref().map(storable))
                        .bind(job.created_ms).bind(job.started_ms).bind(job.ended_ms).bind(job.updated_ms)
                        .bind(version).bind(&restart_from).bind(&restored)
                        .bind(failed_checkpoints)
                        .execute(&mut *tx).await?;
                    if let Some(hold) = hold {
                        // Locks the row, so that a retirement at this moment sees the hold, or this sees the retirement.
                        let there = sqlx::query(LOCK_COMPLETED).bind(hold.snapshot_id.to_string())
                            .execute(&mut *tx).await?.rows_affected();
                        if there == 0 {
                            tx.rollback().await?;
                            return Ok(Claim::SnapshotGone(hold.snapshot_id));
                        }
                        sqlx::query(HOLD).bind(&id).bind(hold.snapshot_id.to_string()).bind(hold.mode.as_str())
                            .execute(&mut *tx).await?;
                    }
                    for (key, value) in &job.settings.labels {
                        sqlx::query(LABEL).bind(&id).bind(key).bind(value).execute(&mut *tx).await?;
                    }
                    tx.commit().await?;
                    Ok(Claim::New)
                })
            })
            .await;
        match stored {
            Ok(Claim::New) => Ok(Inserted::Created),
            Ok(Claim::SnapshotGone(id)) => Err(Error::conflict(
                "snapshot_not_completed",
                format!("snapshot {id} was retired or deleted at this moment; choose another one"),
            )),
            Ok(Claim::Taken { request_hash, job }) => match idempotency {
                Some((_, own)) if own == request_hash => Ok(Inserted::Replayed(Box::new(Job::try_from(*job)?))),
                _ => Err(Error::conflict(
                    "idempotency_key_reused",
                    "this idempotency key belongs to another request: send a new key, or the same request again",
                )),
            },
            Err(error) => Err(self.name_taken_by(&job.name, error).await),
        }
    }

    /// The job with this id; `job_not_found` if there is none.
    pub async fn job(&self, id: JobId) -> Result<Job> {
        self.find_job(id).await?.ok_or_else(|| no_such_job(id))
    }

    /// The job with this id, if there is one.
    pub async fn find_job(&self, id: JobId) -> Result<Option<Job>> {
        const SQL: &str = concat!("SELECT ", job_columns!(), " FROM jobs WHERE id = $1");
        let row: Option<JobRow> = self
            .run("reading a job", async {
                on!(self, p => sqlx::query_as(SQL).bind(id.to_string()).fetch_optional(p).await)
            })
            .await?;
        row.map(Job::try_from).transpose()
    }

    /// The job with this name that has not ended, else the newest one with this name.
    pub async fn job_by_name(&self, name: &str) -> Result<Option<Job>> {
        const SQL: &str = concat!(
            "SELECT ",
            job_columns!(),
            " FROM jobs WHERE name = $1 ORDER BY CASE WHEN status IN ",
            terminal!(),
            " THEN 1 ELSE 0 END, created_ms DESC, id DESC LIMIT 1"
        );
        let row: Option<JobRow> = self
            .run("reading a job by name", async {
                on!(self, p => sqlx::query_as(SQL).bind(name).fetch_optional(p).await)
            })
            .await?;
        row.map(Job::try_from).transpose()
    }

    /// Up to `limit` jobs, newest first, starting after the one with this creation time and id.
    pub async fn list_jobs(&self, filter: &JobFilter, after: Option<(i64, JobId)>, limit: u32) -> Result<Vec<Job>> {
        let mut binds = Vec::new();
        let mut conditions = Vec::new();
        if !filter.status.is_empty() {
            conditions.push(format!("status IN ({})", placeholders(binds.len() + 1, filter.status.len())));
            binds.extend(filter.status.iter().map(|s| Bind::Text(s.as_str().to_owned())));
        }
        for (key, value) in &filter.labels {
            conditions.push(format!(
                "EXISTS (SELECT 1 FROM job_labels WHERE job_id = jobs.id AND key = ${} AND value = ${})",
                binds.len() + 1,
                binds.len() + 2
            ));
            binds.extend([Bind::Text(key.clone()), Bind::Text(value.clone())]);
        }
        if let Some(name) = &filter.name {
            conditions.push(format!("name = ${}", binds.len() + 1));
            binds.push(Bind::Text(name.clone()));
        }
        if let Some((created_ms, id)) = after {
            conditions.push(format!("(created_ms, id) < (${}, ${})", binds.len() + 1, binds.len() + 2));
            binds.extend([Bind::Int(created_ms), Bind::Text(id.to_string())]);
        }
        let restriction =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        // Only placeholders and constant text.
        let sql = AssertSqlSafe(format!(
            concat!("SELECT ", job_columns!(), " FROM jobs{} ORDER BY created_ms DESC, id DESC LIMIT ${}"),
            restriction,
            binds.len() + 1
        ));
        binds.push(Bind::Int(i64::from(limit)));
        let rows: Vec<JobRow> = self
            .run("listing jobs", async { on!(self, p => bind_all!(sqlx::query_as(sql), binds).fetch_all(p).await) })
            .await?;
        convert(rows)
    }

    /// Jobs that should run or be cancelled and that nobody else holds, oldest first, without those in `skip` (the
    /// ones this process runs already): to be taken with [`Metadata::acquire_job`]. Ids only, so that a row that
    /// cannot be read does not keep the others from running.
    pub async fn jobs_to_run(&self, owner: &str, skip: &[JobId], now_ms: i64, limit: u32) -> Result<Vec<JobId>> {
        let excluded =
            if skip.is_empty() { String::new() } else { format!(" AND id NOT IN ({})", placeholders(4, skip.len())) };
        let sql = AssertSqlSafe(format!(
            concat!(
                "SELECT id FROM jobs WHERE status NOT IN ",
                terminal!(),
                " AND (owner IS NULL OR owner = $1 OR lease_until_ms < $2){} ORDER BY created_ms, id LIMIT $3"
            ),
            excluded
        ));
        let skip = skip.iter().map(|id| Bind::Text(id.to_string())).collect::<Vec<_>>();
        let ids: Vec<String> = self
            .run("looking for jobs to run", async {
                on!(self, p => {
                    let query = sqlx::query_scalar(sql).bind(owner).bind(now_ms).bind(i64::from(limit));
                    bind_all!(query, skip).fetch_all(p).await
                })
            })
            .await?;
        ids.iter().map(|id| job_id(id)).collect()
    }

    /// Makes a `job_name_taken` conflict name the job that has the name.
    pub(super) async fn name_taken_by(&self, name: &str, error: Error) -> Error {
        if error.code != "job_name_taken" {
            return error;
        }
        match self.job_by_name(name).await {
            Ok(Some(job)) => Error {
                message: format!(
                    "the name '{name}' belongs to job {}, which is {}: cancel it or choose another name",
                    job.id, job.status
                ),
                ..error
            },
            _ => error,
        }
    }
}

/// The error for an id that has no row.
pub(super) fn no_such_job(id: JobId) -> Error {
    Error::not_found("job_not_found", format!("no job has the id {id}"))
}
