//! Savepoints as resources: their rows outlive the jobs that they were taken of, and may come from elsewhere.
//!
//! The column `job_id` is the job of this database that a snapshot belongs to, and nothing of a job's own life (recovery,
//! retention, numbers, client keys) looks at any other column. It is null for an imported savepoint, and becomes null
//! when the job is deleted; `origin_job_id` and `origin_name` stay, and filters use them.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use crate::error::{Error, Result};
use crate::id::{JobId, SnapshotId};

use super::jobs::{Bind, bind_all};
use super::row::{SnapshotRow, convert, snapshot_columns, terminal, to_json};
use super::{Metadata, Snapshot, SnapshotStatus};

/// Stores a label.
pub(super) const INSERT_LABEL: &str = "INSERT INTO snapshot_labels (snapshot_id, key, value) VALUES ($1, $2, $3) ON CONFLICT (snapshot_id, key) DO NOTHING";

/// Which savepoints to list; an empty member does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavepointFilter {
    /// Taken of this job, whether or not it exists (any more).
    pub job: Option<JobId>,
    /// Taken of a job that had this name.
    pub job_name: Option<String>,
    /// Any of these.
    pub status: Vec<SnapshotStatus>,
    /// All of these.
    pub labels: Vec<(String, String)>,
}

/// What to change about a savepoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavepointChange {
    pub pinned: Option<bool>,
    /// Set to a value, or removed.
    pub labels: BTreeMap<String, Option<String>>,
}

impl Metadata {
    /// Up to `limit` savepoints of all jobs, newest first, starting after the one with this start time and id; without
    /// those being deleted.
    pub async fn list_savepoints(
        &self,
        filter: &SavepointFilter,
        after: Option<(i64, SnapshotId)>,
        limit: u32,
    ) -> Result<Vec<Snapshot>> {
        let mut conditions = vec!["kind = 'SAVEPOINT' AND status <> 'DELETING'".to_owned()];
        let mut binds = Vec::new();
        let mut bind = |bind: Bind| {
            binds.push(bind);
            format!("${}", binds.len())
        };
        if let Some(job) = filter.job {
            conditions.push(format!("origin_job_id = {}", bind(Bind::Text(job.to_string()))));
        }
        if let Some(name) = &filter.job_name {
            conditions.push(format!("origin_name = {}", bind(Bind::Text(name.clone()))));
        }
        if !filter.status.is_empty() {
            let statuses: Vec<String> = filter.status.iter().map(|s| bind(Bind::Text(s.as_str().to_owned()))).collect();
            conditions.push(format!("status IN ({})", statuses.join(", ")));
        }
        for (key, value) in &filter.labels {
            let (key, value) = (bind(Bind::Text(key.clone())), bind(Bind::Text(value.clone())));
            conditions.push(format!(
                "EXISTS (SELECT 1 FROM snapshot_labels WHERE snapshot_id = snapshots.id AND key = {key} AND value = {value})"
            ));
        }
        if let Some((started_ms, id)) = after {
            let (started, id) = (bind(Bind::Int(started_ms)), bind(Bind::Text(id.to_string())));
            conditions.push(format!("(started_ms, id) < ({started}, {id})"));
        }
        // Only placeholders and constant text.
        let sql = AssertSqlSafe(format!(
            concat!(
                "SELECT ",
                snapshot_columns!(),
                " FROM snapshots WHERE {} ORDER BY started_ms DESC, id DESC LIMIT {}"
            ),
            conditions.join(" AND "),
            bind(Bind::Int(i64::from(limit)))
        ));
        let rows: Vec<SnapshotRow> = self
            .run("listing savepoints", async {
                on!(self, p => bind_all!(sqlx::query_as(sql), binds).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }

    /// Changes labels and pin of a savepoint; answers it as it is now. `savepoint_not_found` if there is none, or it is
    /// being deleted; `check` may refuse the labels as they would be. Repeating the call changes nothing.
    pub async fn change_savepoint(
        &self,
        id: SnapshotId,
        change: &SavepointChange,
        check: impl Fn(&BTreeMap<String, String>) -> Result<()>,
    ) -> Result<Snapshot> {
        const READ: &str = "UPDATE snapshots SET pinned = COALESCE($2, pinned) WHERE id = $1 AND kind = 'SAVEPOINT' AND status <> 'DELETING' RETURNING labels";
        const WRITE: &str = "UPDATE snapshots SET labels = $2 WHERE id = $1";
        const CLEAR: &str = "DELETE FROM snapshot_labels WHERE snapshot_id = $1";
        let id_text = id.to_string();
        let outcome = self
            .run("changing a savepoint", async {
                on!(self, p => {
                    let mut tx = p.begin_with(self.begin()).await?;
                    // The update locks the row, so that two changes at once do not lose one another's labels.
                    let rows: Vec<String> =
                        sqlx::query_scalar(READ).bind(&id_text).bind(change.pinned).fetch_all(&mut *tx).await?;
                    let Some(stored) = rows.first() else { return Ok(Err(no_such_savepoint(id))) };
                    let mut labels: BTreeMap<String, String> = match serde_json::from_str(stored) {
                        Ok(labels) => labels,
                        Err(e) => return Ok(Err(Error::corrupt("row_corrupt", format!("snapshot {id}: column labels cannot be read")).caused_by(&e))),
                    };
                    for (key, value) in &change.labels {
                        match value {
                            Some(value) => drop(labels.insert(key.clone(), value.clone())),
                            None => drop(labels.remove(key)),
                        }
                    }
                    let text = match check(&labels).and_then(|()| to_json("labels", &labels)) {
                        Ok(text) => text,
                        Err(error) => return Ok(Err(error)),
                    };
                    sqlx::query(WRITE).bind(&id_text).bind(&text).execute(&mut *tx).await?;
                    sqlx::query(CLEAR).bind(&id_text).execute(&mut *tx).await?;
                    for (key, value) in &labels {
                        sqlx::query(INSERT_LABEL).bind(&id_text).bind(key).bind(value).execute(&mut *tx).await?;
                    }
                    tx.commit().await?;
                    Ok(Ok(()))
                })
            })
            .await?;
        outcome?;
        self.snapshot(id).await
    }

    /// Marks a finished savepoint as being deleted: it can no longer be restored, and its objects may go once this
    /// returned. Refuses a pinned one (`savepoint_pinned`), one in progress (`savepoint_in_progress`), one that an
    /// operation reads and the one that a job is about to end with (`savepoint_in_use`): what that job's sinks have not
    /// published yet is only there.
    pub async fn mark_savepoint_deleting(&self, id: SnapshotId) -> Result<()> {
        const SQL: &str = concat!(
            "UPDATE snapshots SET status = 'DELETING' WHERE id = $1 AND kind = 'SAVEPOINT' AND status <> 'IN_PROGRESS' ",
            "AND (pinned = FALSE OR status = 'DELETING') AND NOT (status = 'COMPLETED' AND trigger_reason = 'STOP' AND EXISTS ",
            "(SELECT 1 FROM jobs WHERE jobs.id = snapshots.job_id AND desired = 'STOPPED' AND jobs.status NOT IN ",
            terminal!(),
            ")) AND NOT EXISTS (SELECT 1 FROM savepoint_operations o WHERE o.snapshot_id = snapshots.id AND o.status = 'IN_PROGRESS') AND id NOT IN (SELECT snapshot_id FROM snapshot_holds)"
        );
        const LOCK: &str = "UPDATE snapshots SET status = status WHERE id = $1";
        let changed = self
            .run("retiring a savepoint", async {
                on!(self, p => {
                    let mut tx = p.begin_with(self.begin()).await?;
                    // By a statement of its own, so that the second one sees the holds of everybody who came before.
                    sqlx::query(LOCK).bind(id.to_string()).execute(&mut *tx).await?;
                    let changed = sqlx::query(SQL).bind(id.to_string()).execute(&mut *tx).await?.rows_affected();
                    tx.commit().await?;
                    Ok(changed)
                })
            })
            .await?;
        if changed > 0 {
            return Ok(());
        }
        let savepoint = self.savepoint(id).await?;
        let holders = self.holders_of(id).await?;
        if !holders.is_empty() {
            let holders: Vec<String> = holders.iter().map(JobId::to_string).collect();
            return Err(Error::conflict(
                "snapshot_in_use",
                format!(
                    "savepoint {id} is needed by jobs that were restored from it: {}; wait until each has a checkpoint of its own, or delete them",
                    holders.join(", ")
                ),
            ));
        }
        Err(match (savepoint.status, savepoint.details.pinned) {
            (SnapshotStatus::InProgress, _) => {
                Error::conflict("savepoint_in_progress", format!("savepoint {id} is not finished yet"))
            }
            (_, true) => {
                Error::conflict("savepoint_pinned", format!("savepoint {id} is pinned: unpin it before you delete it"))
            }
            _ => Error::conflict(
                "savepoint_in_use",
                format!(
                    "savepoint {id} is being exported or verified, or its job is about to end with it: try again later"
                ),
            ),
        })
    }

    /// The savepoint with this id, in any status; `savepoint_not_found` if there is none.
    pub async fn savepoint(&self, id: SnapshotId) -> Result<Snapshot> {
        match self.snapshot(id).await {
            Ok(snapshot) if snapshot.kind == super::SnapshotKind::Savepoint => Ok(snapshot),
            Err(error) if error.code != "snapshot_not_found" => Err(error),
            _ => Err(no_such_savepoint(id)),
        }
    }

    /// Fails what is `IN_PROGRESS` of jobs that have ended: no attempt will ever finish it. Answers what it failed.
    pub async fn fail_in_progress_of_ended_jobs(&self, reason: &str, now_ms: i64) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "UPDATE snapshots SET status = 'FAILED', failure = $1, ended_ms = $2 WHERE status = 'IN_PROGRESS' AND job_id IN ",
            "(SELECT id FROM jobs WHERE status IN ",
            terminal!(),
            ") RETURNING ",
            snapshot_columns!()
        );
        let rows: Vec<SnapshotRow> = self
            .run("failing snapshots of ended jobs", async {
                on!(self, p => sqlx::query_as(SQL).bind(reason).bind(now_ms).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }

    /// Savepoints being deleted that belong to no job of this database; at most [`super::snapshots::MAX_CLEANING_BATCH`].
    pub async fn deleting_without_job(&self) -> Result<Vec<Snapshot>> {
        const SQL: &str = concat!(
            "SELECT ",
            snapshot_columns!(),
            " FROM snapshots WHERE status = 'DELETING' AND kind = 'SAVEPOINT' AND job_id IS NULL ORDER BY started_ms, id LIMIT 500"
        );
        let rows: Vec<SnapshotRow> = self
            .run("listing savepoints to delete", async { on!(self, p => sqlx::query_as(SQL).fetch_all(p).await) })
            .await?;
        convert(rows)
    }
}

/// The error for an id that no savepoint has.
pub(super) fn no_such_savepoint(id: SnapshotId) -> Error {
    Error::not_found("savepoint_not_found", format!("no savepoint has the id {id}"))
}
