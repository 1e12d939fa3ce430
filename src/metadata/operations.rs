//! Exports, imports and verifications of savepoints: begun by a row, ended by its outcome, which stays with the savepoint.
//!
//! Invariants: 1. an operation's row exists before it does anything; 2. while it is in progress its owner renews
//! `updated_ms`, so that one whose process is gone can be told and failed by anybody; 3. an import's savepoint becomes
//! `COMPLETED` in the transaction that completes the operation.

use crate::error::{Error, Result};
use crate::id::{OperationId, SnapshotId};

use super::row::{OperationRow, convert, operation_columns, snapshot_columns, storable, to_i64, to_json};
use super::savepoints::{INSERT_LABEL, no_such_savepoint};
use super::{Metadata, OperationStatus, SavepointOperation, Snapshot};

/// Operations of one savepoint that are kept; older ones are forgotten when another begins.
const KEPT_OPERATIONS: i64 = 100;

/// What [`Metadata::begin_operation`] did.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// It is stored.
    Created,
    /// The same request was stored before under this client key.
    Replayed(Box<SavepointOperation>),
}

/// Outcome of storing an operation.
enum Claim {
    New,
    /// There is no completed savepoint of this id.
    NoSavepoint,
    /// The operation that has the client key.
    Taken(Box<OperationRow>),
}

impl Metadata {
    /// Stores an operation as `IN_PROGRESS`; of an import with its savepoint. A client key that belongs to another
    /// request is a conflict (`idempotency_key_reused`).
    pub async fn begin_operation(
        &self,
        operation: &SavepointOperation,
        imported: Option<&Snapshot>,
        client_key: Option<&str>,
    ) -> Result<Begun> {
        const FIND: &str = concat!("SELECT ", operation_columns!(), " FROM savepoint_operations WHERE client_key = $1");
        const INSERT: &str = concat!(
            "INSERT INTO savepoint_operations (",
            operation_columns!(),
            ", client_key) VALUES ($1, $2, $3, 'IN_PROGRESS', $4, $5, 0, NULL, NULL, NULL, $6, $6, NULL, $7) ON CONFLICT (client_key) DO NOTHING"
        );
        const SNAPSHOT: &str = concat!(
            "INSERT INTO snapshots (",
            snapshot_columns!(),
            ") VALUES ($1, $2, 'SAVEPOINT', $3, $4, 'IN_PROGRESS', $5, $6, 0, 0, $7, NULL, NULL, $8, $9, $10, $11, $12, $13)"
        );
        // A deletion at the same moment waits for the lock, and then finds the operation.
        const LOCK: &str =
            "UPDATE snapshots SET status = 'COMPLETED' WHERE id = $1 AND kind = 'SAVEPOINT' AND status = 'COMPLETED'";
        const FORGET: &str = "DELETE FROM savepoint_operations WHERE snapshot_id = $1 AND status <> 'IN_PROGRESS' AND id NOT IN (SELECT id FROM savepoint_operations WHERE snapshot_id = $1 ORDER BY started_ms DESC, id DESC LIMIT $2)";
        let request = to_json("request", &operation.request)?;
        let savepoint = operation.savepoint.to_string();
        let snapshot = imported
            .map(|s| {
                let labels = to_json("labels", &s.details.labels)?;
                Ok::<_, Error>((s, to_i64("checkpoint_id", s.checkpoint_id)?, to_i64("attempt", s.attempt)?, labels))
            })
            .transpose()?;
        let existing = self
            .run("beginning an operation", async {
                on!(self, p => {
                    let mut tx = p.begin_with(self.begin()).await?;
                    if let Some((s, checkpoint_id, attempt, labels)) = &snapshot {
                        let d = &s.details;
                        sqlx::query(SNAPSHOT)
                            .bind(&savepoint).bind(s.job_id.to_string()).bind(checkpoint_id).bind(attempt)
                            .bind(s.trigger.as_str()).bind(&s.location).bind(s.started_ms).bind(&d.job_name)
                            .bind(d.format.as_str()).bind(d.pinned).bind(labels).bind(&d.imported_from)
                            .bind(d.is_foreign).execute(&mut *tx).await?;
                        for (key, value) in &d.labels {
                            sqlx::query(INSERT_LABEL).bind(&savepoint).bind(key).bind(value).execute(&mut *tx).await?;
                        }
                    }
                    if snapshot.is_none()
                        && sqlx::query(LOCK).bind(&savepoint).execute(&mut *tx).await?.rows_affected() == 0
                    {
                        return Ok(Claim::NoSavepoint);
                    }
                    let inserted = sqlx::query(INSERT)
                        .bind(operation.id.to_string()).bind(&savepoint).bind(operation.kind.as_str())
                        .bind(&operation.owner).bind(&request).bind(operation.started_ms).bind(client_key)
                        .execute(&mut *tx).await?.rows_affected();
                    if inserted == 0 {
                        tx.rollback().await?;
                        let row: OperationRow = sqlx::query_as(FIND).bind(client_key).fetch_one(p).await?;
                        return Ok(Claim::Taken(Box::new(row)));
                    }
                    sqlx::query(FORGET).bind(&savepoint).bind(KEPT_OPERATIONS).execute(&mut *tx).await?;
                    tx.commit().await?;
                    Ok(Claim::New)
                })
            })
            .await?;
        let existing = match existing {
            Claim::New => return Ok(Begun::Created),
            Claim::NoSavepoint => return Err(no_such_savepoint(operation.savepoint)),
            Claim::Taken(row) => SavepointOperation::try_from(*row)?,
        };
        let same_savepoint = imported.is_some() || existing.savepoint == operation.savepoint;
        if existing.kind == operation.kind && existing.request == operation.request && same_savepoint {
            return Ok(Begun::Replayed(Box::new(existing)));
        }
        Err(Error::conflict(
            "idempotency_key_reused",
            "this idempotency key belongs to another request: send a new key, or the same request again",
        ))
    }

    /// The operation that was begun with this client key, if there is one.
    pub async fn operation_by_key(&self, client_key: &str) -> Result<Option<SavepointOperation>> {
        const SQL: &str = concat!("SELECT ", operation_columns!(), " FROM savepoint_operations WHERE client_key = $1");
        let row: Option<OperationRow> = self
            .run("reading an operation", async {
                on!(self, p => sqlx::query_as(SQL).bind(client_key).fetch_optional(p).await)
            })
            .await?;
        row.map(SavepointOperation::try_from).transpose()
    }

    /// Stores how far an operation is, and that its process lives; false if it is no longer in progress.
    pub async fn renew_operation(&self, id: OperationId, done: u64, total: Option<u64>, now_ms: i64) -> Result<bool> {
        const SQL: &str = "UPDATE savepoint_operations SET bytes_done = $2, bytes_total = $3, updated_ms = $4 WHERE id = $1 AND status = 'IN_PROGRESS'";
        let done = to_i64("bytes_done", done)?;
        let total = total.map(|t| to_i64("bytes_total", t)).transpose()?;
        let changed = self
            .run("renewing an operation", async {
                on!(self, p => sqlx::query(SQL).bind(id.to_string()).bind(done).bind(total).bind(now_ms)
                    .execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// Stores the outcome of an operation in progress; of an import with that of its savepoint, whose figures `imported`
    /// has. False if somebody failed the operation meanwhile: then nothing is stored. Repeating the call after an
    /// unavailable database gives false if the first took effect: read the operation.
    pub async fn finish_operation(
        &self,
        id: OperationId,
        outcome: &Result<serde_json::Value>,
        imported: Option<&Snapshot>,
        now_ms: i64,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE savepoint_operations SET status = $2, result = $3, failure = $4, ended_ms = $5, updated_ms = $5, bytes_done = CASE WHEN $2 = 'COMPLETED' THEN COALESCE(bytes_total, bytes_done) ELSE bytes_done END WHERE id = $1 AND status = 'IN_PROGRESS'";
        const SNAPSHOT: &str = "UPDATE snapshots SET status = $2, failure = $3, ended_ms = $4, state_bytes = $5, uploaded_bytes = $6, location = $7 WHERE id = $1 AND status = 'IN_PROGRESS'";
        let (status, result, failure) = match outcome {
            Ok(value) => (OperationStatus::Completed, Some(to_json("result", value)?), None),
            Err(error) => (OperationStatus::Failed, None, Some(storable(&error.to_string()))),
        };
        let figures = imported
            .map(|s| {
                Ok::<_, Error>((s, to_i64("state_bytes", s.state_bytes)?, to_i64("uploaded_bytes", s.uploaded_bytes)?))
            })
            .transpose()?;
        self.run("ending an operation", async {
            on!(self, p => {
                let mut tx = p.begin_with(self.begin()).await?;
                let ended = sqlx::query(SQL).bind(id.to_string()).bind(status.as_str()).bind(&result).bind(&failure)
                    .bind(now_ms).execute(&mut *tx).await?.rows_affected();
                if ended > 0 && let Some((s, state_bytes, uploaded_bytes)) = &figures {
                    sqlx::query(SNAPSHOT).bind(s.id.to_string()).bind(status.as_str()).bind(&failure).bind(now_ms)
                        .bind(state_bytes).bind(uploaded_bytes).bind(&s.location).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(ended > 0)
            })
        })
        .await
    }

    /// An operation of a savepoint; `operation_not_found` if there is none.
    pub async fn operation(&self, savepoint: SnapshotId, id: OperationId) -> Result<SavepointOperation> {
        const SQL: &str =
            concat!("SELECT ", operation_columns!(), " FROM savepoint_operations WHERE id = $1 AND snapshot_id = $2");
        let row: Option<OperationRow> = self
            .run("reading an operation", async {
                on!(self, p => sqlx::query_as(SQL).bind(id.to_string()).bind(savepoint.to_string()).fetch_optional(p).await)
            })
            .await?;
        row.map(SavepointOperation::try_from).transpose()?.ok_or_else(|| {
            Error::not_found("operation_not_found", format!("savepoint {savepoint} has no operation {id}"))
        })
    }

    /// All operations of a savepoint that are kept, newest first.
    pub async fn operations(&self, savepoint: SnapshotId) -> Result<Vec<SavepointOperation>> {
        const SQL: &str = concat!(
            "SELECT ",
            operation_columns!(),
            " FROM savepoint_operations WHERE snapshot_id = $1 ORDER BY started_ms DESC, id DESC LIMIT 1000"
        );
        let rows: Vec<OperationRow> = self
            .run("listing operations", async {
                on!(self, p => sqlx::query_as(SQL).bind(savepoint.to_string()).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }

    /// Operations in progress whose process may be gone: all of `owner`'s, and anybody's that gave no sign of life since
    /// `before_ms`.
    pub async fn abandoned_operations(&self, owner: &str, before_ms: i64) -> Result<Vec<SavepointOperation>> {
        const SQL: &str = concat!(
            "SELECT ",
            operation_columns!(),
            " FROM savepoint_operations WHERE status = 'IN_PROGRESS' AND (owner = $1 OR updated_ms < $2) ORDER BY updated_ms, id LIMIT 500"
        );
        let rows: Vec<OperationRow> = self
            .run("looking for abandoned operations", async {
                on!(self, p => sqlx::query_as(SQL).bind(owner).bind(before_ms).fetch_all(p).await)
            })
            .await?;
        convert(rows)
    }
}
