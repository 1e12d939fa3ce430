//! A job's failures, newest kept.

use crate::error::Result;
use crate::id::JobId;

use super::row::{ExceptionRow, convert, to_i64, to_json};
use super::{JobException, Metadata};

/// Failures kept of one job; a job that fails each second for a week must not fill the database.
pub const MAX_EXCEPTIONS_PER_JOB: i64 = 100;

impl Metadata {
    /// Stores a failure and drops the job's oldest ones beyond [`MAX_EXCEPTIONS_PER_JOB`].
    pub async fn insert_exception(&self, exception: &JobException) -> Result<()> {
        const INSERT: &str =
            "INSERT INTO job_exceptions (job_id, attempt, at_ms, error, task) VALUES ($1, $2, $3, $4, $5)";
        const PRUNE: &str = "DELETE FROM job_exceptions WHERE job_id = $1 AND seq NOT IN (SELECT seq FROM job_exceptions WHERE job_id = $1 ORDER BY seq DESC LIMIT $2)";
        let id = exception.job_id.to_string();
        let attempt = to_i64("attempt", exception.attempt)?;
        let error = to_json("error", &exception.error)?;
        let task = exception.task.as_ref().map(|task| to_json("task", task)).transpose()?;
        self.run("storing a failure", async {
            on!(self, p => {
                let mut tx = p.begin_with(self.begin()).await?;
                sqlx::query(INSERT).bind(&id).bind(attempt).bind(exception.at_ms).bind(&error)
                    .bind(&task).execute(&mut *tx).await?;
                sqlx::query(PRUNE).bind(&id).bind(MAX_EXCEPTIONS_PER_JOB).execute(&mut *tx).await?;
                tx.commit().await
            })
        })
        .await
    }

    /// Up to `limit` failures of a job, newest first.
    pub async fn list_exceptions(&self, job: JobId, limit: u32) -> Result<Vec<JobException>> {
        const SQL: &str = "SELECT job_id, attempt, at_ms, error, task FROM job_exceptions WHERE job_id = $1 ORDER BY seq DESC LIMIT $2";
        let rows: Vec<ExceptionRow> = self
            .run("listing failures", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(i64::from(limit)).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }
}
