//! Rows as the databases give them, and their conversion to the model. A value that this program never writes is
//! `Corrupt` (`row_corrupt`), and the error names the row and the column.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::id::{ActionId, JobId, SnapshotId};

use super::model::{Action, Job, JobException, SavepointOperation, Snapshot, SnapshotDetails};

/// The columns of [`JobRow`]; a macro, so that `concat!` can use it.
macro_rules! job_columns {
    () => {
        "id, name, sql, plan, settings, status, desired, attempt, restarts, owner, lease_until_ms, failure, created_ms, started_ms, ended_ms, updated_ms, version, restart_from, restored, failed_checkpoints"
    };
}
/// The columns of [`SnapshotRow`].
macro_rules! snapshot_columns {
    () => {
        "id, origin_job_id, kind, checkpoint_id, attempt, status, trigger_reason, location, state_bytes, uploaded_bytes, started_ms, ended_ms, failure, origin_name, format, pinned, labels, imported_from, is_foreign"
    };
}
/// The columns of [`OperationRow`].
macro_rules! operation_columns {
    () => {
        "id, snapshot_id, kind, status, owner, request, bytes_done, bytes_total, result, failure, started_ms, updated_ms, ended_ms"
    };
}
/// The columns of [`ActionRow`].
macro_rules! action_columns {
    () => {
        "id, kind, job_id, owner, status, started_ms, ended_ms, report, failure"
    };
}
/// The statuses for which [`super::JobStatus::is_terminal`] holds, literally as in the partial indexes.
macro_rules! terminal {
    () => {
        "('CANCELED', 'FAILED', 'FINISHED')"
    };
}
pub(super) use {action_columns, job_columns, operation_columns, snapshot_columns, terminal};

#[derive(sqlx::FromRow)]
pub(super) struct JobRow {
    id: String,
    name: String,
    sql: String,
    plan: String,
    settings: String,
    status: String,
    desired: String,
    attempt: i64,
    restarts: i64,
    owner: Option<String>,
    lease_until_ms: i64,
    failure: Option<String>,
    created_ms: i64,
    started_ms: Option<i64>,
    ended_ms: Option<i64>,
    updated_ms: i64,
    version: i64,
    restart_from: Option<String>,
    restored: Option<String>,
    failed_checkpoints: i64,
}

#[derive(sqlx::FromRow)]
pub(super) struct SnapshotRow {
    id: String,
    origin_job_id: String,
    kind: String,
    checkpoint_id: i64,
    attempt: i64,
    status: String,
    trigger_reason: String,
    location: String,
    state_bytes: i64,
    uploaded_bytes: i64,
    started_ms: i64,
    ended_ms: Option<i64>,
    failure: Option<String>,
    origin_name: String,
    format: String,
    pinned: bool,
    labels: String,
    imported_from: Option<String>,
    is_foreign: bool,
}

#[derive(sqlx::FromRow)]
pub(super) struct OperationRow {
    id: String,
    snapshot_id: String,
    kind: String,
    status: String,
    owner: String,
    request: String,
    bytes_done: i64,
    bytes_total: Option<i64>,
    result: Option<String>,
    failure: Option<String>,
    started_ms: i64,
    updated_ms: i64,
    ended_ms: Option<i64>,
}

#[derive(sqlx::FromRow)]
pub(super) struct ExceptionRow {
    job_id: String,
    attempt: i64,
    at_ms: i64,
    error: String,
    task: Option<String>,
}

#[derive(sqlx::FromRow)]
pub(super) struct ActionRow {
    id: String,
    kind: String,
    job_id: Option<String>,
    owner: String,
    status: String,
    started_ms: i64,
    ended_ms: Option<i64>,
    report: Option<String>,
    failure: Option<String>,
}

/// Names a row in an error.
pub(super) struct RowName<'a>(pub &'static str, pub &'a str);

impl RowName<'_> {
    pub(super) fn corrupt(&self, column: &str, cause: &(dyn std::error::Error + 'static)) -> Error {
        let message = format!("{} {}: column {column} cannot be read", self.0, self.1);
        Error::corrupt("row_corrupt", message).caused_by(cause)
    }
    pub(super) fn text<T: FromStr<Err = Error>>(&self, column: &str, text: &str) -> Result<T> {
        text.parse().map_err(|e: Error| self.corrupt(column, &e))
    }
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, column: &str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|e| self.corrupt(column, &e))
    }
    pub(super) fn count(&self, column: &str, value: i64) -> Result<u64> {
        u64::try_from(value).map_err(|e| self.corrupt(column, &e))
    }
}

impl TryFrom<JobRow> for Job {
    type Error = Error;
    fn try_from(row: JobRow) -> Result<Job> {
        let name = RowName("job", &row.id);
        Ok(Job {
            id: name.text("id", &row.id)?,
            plan: name.json("plan", &row.plan)?,
            settings: name.json("settings", &row.settings)?,
            status: name.text("status", &row.status)?,
            desired: name.text("desired", &row.desired)?,
            attempt: name.count("attempt", row.attempt)?,
            restarts: name.count("restarts", row.restarts)?,
            version: name.count("version", row.version)?,
            restart_from: row.restart_from.map(|t| name.json("restart_from", &t)).transpose()?,
            restored: row.restored.map(|t| name.json("restored", &t)).transpose()?,
            failed_checkpoints: name.count("failed_checkpoints", row.failed_checkpoints)?,
            name: row.name,
            sql: row.sql,
            owner: row.owner,
            lease_until_ms: row.lease_until_ms,
            failure: row.failure,
            created_ms: row.created_ms,
            started_ms: row.started_ms,
            ended_ms: row.ended_ms,
            updated_ms: row.updated_ms,
        })
    }
}

impl TryFrom<SnapshotRow> for Snapshot {
    type Error = Error;
    fn try_from(row: SnapshotRow) -> Result<Snapshot> {
        let name = RowName("snapshot", &row.id);
        Ok(Snapshot {
            id: name.text("id", &row.id)?,
            job_id: name.text("origin_job_id", &row.origin_job_id)?,
            kind: name.text("kind", &row.kind)?,
            checkpoint_id: name.count("checkpoint_id", row.checkpoint_id)?,
            attempt: name.count("attempt", row.attempt)?,
            status: name.text("status", &row.status)?,
            trigger: name.text("trigger_reason", &row.trigger_reason)?,
            state_bytes: name.count("state_bytes", row.state_bytes)?,
            uploaded_bytes: name.count("uploaded_bytes", row.uploaded_bytes)?,
            location: row.location,
            started_ms: row.started_ms,
            ended_ms: row.ended_ms,
            failure: row.failure,
            details: SnapshotDetails {
                format: name.text("format", &row.format)?,
                labels: name.json("labels", &row.labels)?,
                job_name: row.origin_name,
                pinned: row.pinned,
                imported_from: row.imported_from,
                is_foreign: row.is_foreign,
            },
        })
    }
}

impl TryFrom<OperationRow> for SavepointOperation {
    type Error = Error;
    fn try_from(row: OperationRow) -> Result<SavepointOperation> {
        let name = RowName("savepoint operation", &row.id);
        Ok(SavepointOperation {
            id: name.text("id", &row.id)?,
            savepoint: name.text("snapshot_id", &row.snapshot_id)?,
            kind: name.text("kind", &row.kind)?,
            status: name.text("status", &row.status)?,
            request: name.json("request", &row.request)?,
            bytes_done: name.count("bytes_done", row.bytes_done)?,
            bytes_total: row.bytes_total.map(|bytes| name.count("bytes_total", bytes)).transpose()?,
            result: row.result.as_deref().map(|text| name.json("result", text)).transpose()?,
            owner: row.owner,
            failure: row.failure,
            started_ms: row.started_ms,
            updated_ms: row.updated_ms,
            ended_ms: row.ended_ms,
        })
    }
}

impl TryFrom<ExceptionRow> for JobException {
    type Error = Error;
    fn try_from(row: ExceptionRow) -> Result<JobException> {
        let name = RowName("exception of job", &row.job_id);
        Ok(JobException {
            job_id: name.text("job_id", &row.job_id)?,
            attempt: name.count("attempt", row.attempt)?,
            at_ms: row.at_ms,
            error: name.json("error", &row.error)?,
            task: row.task.map(|text| name.json("task", &text)).transpose()?,
        })
    }
}

impl TryFrom<ActionRow> for Action {
    type Error = Error;
    fn try_from(row: ActionRow) -> Result<Action> {
        let name = RowName("action", &row.id);
        Ok(Action {
            id: name.text::<ActionId>("id", &row.id)?,
            kind: name.text("kind", &row.kind)?,
            job_id: row.job_id.as_deref().map(|id| name.text("job_id", id)).transpose()?,
            status: name.text("status", &row.status)?,
            started_ms: row.started_ms,
            ended_ms: row.ended_ms,
            report: row.report.as_deref().map(|text| name.json("report", text)).transpose()?,
            failure: row.failure.as_deref().map(|text| name.json("failure", text)).transpose()?,
            owner: row.owner,
        })
    }
}

/// Converts rows, all or none.
pub(super) fn convert<R, T: TryFrom<R, Error = Error>>(rows: Vec<R>) -> Result<Vec<T>> {
    rows.into_iter().map(T::try_from).collect()
}

/// A job's id from its column.
pub(super) fn job_id(text: &str) -> Result<JobId> {
    RowName("job", text).text("id", text)
}

/// The databases' integers are signed.
pub(super) fn to_i64(column: &str, value: u64) -> Result<i64> {
    i64::try_from(value)
        .map_err(|_| Error::internal(format!("{column} {value} exceeds the largest integer of the database")))
}

/// A value as the JSON text of a column.
pub(super) fn to_json<T: serde::Serialize>(column: &str, value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::internal(format!("{column} cannot be written as JSON")).caused_by(&e))
}

/// Text that comes from foreign systems (failure messages), without the NUL that Postgres cannot store.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// `$first, $first+1, …`: placeholders for a list of `count` values.
pub(super) fn placeholders(first: usize, count: usize) -> String {
    (first..first + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// The ids as text, to be bound.
pub(super) fn id_texts(ids: &[SnapshotId]) -> Vec<String> {
    ids.iter().map(SnapshotId::to_string).collect()
}
