//! Long actions of the service (fsck, drills): a row before the action begins, its report for good.
//!
//! Every action has one writer, the instance that does it; a `RUNNING` one whose instance has ended is failed when that
//! instance starts again.

use crate::error::{Error, Result};
use crate::id::{ActionId, JobId};

use super::row::{ActionRow, action_columns, convert, to_json};
use super::{Action, ActionKind, Metadata};

/// Finished actions of one kind (and one job) that are kept.
pub const ACTIONS_KEPT: u32 = 100;

impl Metadata {
    /// Stores an action that is about to begin, and forgets the oldest of its kind beyond [`ACTIONS_KEPT`].
    pub async fn begin_action(&self, action: &Action) -> Result<()> {
        const SQL: &str = concat!(
            "INSERT INTO actions (",
            action_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, NULL, NULL, NULL) ON CONFLICT (id) DO NOTHING"
        );
        const PRUNE: &str = "DELETE FROM actions WHERE id IN (SELECT id FROM actions WHERE kind = $1 AND COALESCE(job_id, '') = $2 AND status <> 'RUNNING' ORDER BY started_ms DESC, id DESC LIMIT 1000 OFFSET $3)";
        let job = action.job_id.map(|id| id.to_string());
        self.run("storing an action", async {
            on!(self, p => {
                sqlx::query(PRUNE).bind(action.kind.as_str()).bind(job.clone().unwrap_or_default())
                    .bind(i64::from(ACTIONS_KEPT)).execute(p).await?;
                sqlx::query(SQL).bind(action.id.to_string()).bind(action.kind.as_str()).bind(&job).bind(&action.owner)
                    .bind(action.status.as_str()).bind(action.started_ms).execute(p).await.map(|_| ())
            })
        })
        .await
    }

    /// Ends a running action with its report or its failure; false if it was ended before.
    pub async fn end_action(&self, id: ActionId, outcome: &Result<serde_json::Value>, now_ms: i64) -> Result<bool> {
        const SQL: &str = "UPDATE actions SET status = $2, ended_ms = $3, report = $4, failure = $5 WHERE id = $1 AND status = 'RUNNING'";
        let (status, report, failure) = match outcome {
            Ok(report) => ("COMPLETED", Some(to_json("report", report)?), None),
            Err(error) => ("FAILED", None, Some(to_json("failure", error)?)),
        };
        // JSON escapes control characters, so that no NUL is left for Postgres to refuse.
        let changed = self
            .run("ending an action", async {
                on!(self, p => sqlx::query(SQL).bind(id.to_string()).bind(status).bind(now_ms).bind(&report).bind(&failure)
                    .execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// Fails the running actions of an instance that has just started: nobody does them any more.
    pub async fn fail_actions_of(&self, owner: &str, error: &Error, now_ms: i64) -> Result<u64> {
        const SQL: &str =
            "UPDATE actions SET status = 'FAILED', ended_ms = $2, failure = $3 WHERE owner = $1 AND status = 'RUNNING'";
        let failure = to_json("failure", error)?;
        self.run("failing interrupted actions", async {
            on!(self, p => sqlx::query(SQL).bind(owner).bind(now_ms).bind(&failure)
                .execute(p).await.map(|done| done.rows_affected()))
        })
        .await
    }

    /// The action with this id; `action_not_found` if there is none (any more).
    pub async fn action(&self, id: ActionId) -> Result<Action> {
        const SQL: &str = concat!("SELECT ", action_columns!(), " FROM actions WHERE id = $1");
        let row: Option<ActionRow> = self
            .run("reading an action", async {
                on!(self, p => sqlx::query_as(SQL).bind(id.to_string()).fetch_optional(p).await)
            })
            .await?;
        row.map(Action::try_from)
            .transpose()?
            .ok_or_else(|| Error::not_found("action_not_found", format!("no action has the id {id}")))
    }

    /// The newest `limit` actions of a kind, of one job or of none, newest first.
    pub async fn actions(&self, kind: ActionKind, job: Option<JobId>, limit: u32) -> Result<Vec<Action>> {
        const SQL: &str = concat!(
            "SELECT ",
            action_columns!(),
            " FROM actions WHERE kind = $1 AND COALESCE(job_id, '') = $2 ORDER BY started_ms DESC, id DESC LIMIT $3"
        );
        let job = job.map(|id| id.to_string()).unwrap_or_default();
        let rows: Vec<ActionRow> = self
            .run("listing actions", async {
                on!(self, p => sqlx::query_as(SQL).bind(kind.as_str()).bind(&job).bind(i64::from(limit)).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }
}
