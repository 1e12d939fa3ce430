//! Exports, imports and verifications: each a row first, then a task of this process, then the row's outcome.
//!
//! Invariants: 1. the task renews the row while it works, and gives up when somebody failed the row meanwhile; 2. what an
//! operation wrote before it failed is removed, by itself or, after a crash, by [`sweep`]; 3. an import is listed as
//! completed only in the transaction that ends its operation.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::checkpoints::durable_target;
use super::retry::retry;
use super::savepoints::{check_client_key, require_completed};
use super::service::WAIT_STEP;
use super::settings::check_labels;
use super::transfers::Tracking;
use super::{Context, JobService};
use crate::checkpoint::convert::convert;
use crate::checkpoint::copy::{CopyTarget, copy, remove_unfinished};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::progress::Transfer;
use crate::checkpoint::restore;
use crate::checkpoint::retention::{delete_savepoint, delete_savepoint_objects};
use crate::checkpoint::verify::verify;
use crate::checkpoint::{manifest_key, savepoint_prefix};
use crate::clock::now_ms;
use crate::crash;
use crate::error::{Error, Result};
use crate::id::{OperationId, SnapshotId};
use crate::metadata::{
    Begun, OperationKind, OperationStatus, SavepointOperation, Snapshot, SnapshotDetails, SnapshotFormat, SnapshotKind,
    SnapshotStatus,
};
use crate::storage::Store;

/// Operations that run at once in this process; others wait for their turn.
const MAX_RUNNING: usize = 4;
/// How often a running operation renews its row.
const RENEW: Duration = Duration::from_secs(2);
/// After this time without renewal its process is gone, ms: many renewals, and a restart of the database.
const SILENCE_MS: i64 = 60_000;
/// How often what others left is looked for.
const SWEEP: Duration = Duration::from_secs(30);
const ABANDONED: &str = "the service ended before the operation did: start it again";

static SLOTS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(MAX_RUNNING));

/// Body of `POST /savepoints/{id}/export`.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// URI of the folder to copy to; the savepoint lies in `savepoints/ID` below it.
    pub target: String,
    /// `canonical` converts a native savepoint; default: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SnapshotFormat>,
    /// The same key with the same request exports once, however often it is sent; as the header `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
}

/// Body of `POST /savepoints/import`.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// URI of a savepoint's (or checkpoint's) folder or manifest, of whatever installation.
    pub from: String,
    /// Whether it is copied to the service's store (the default). If not, it is verified and used where it is, and
    /// deleting it here only forgets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<bool>,
    /// Labels of the savepoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether it is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// The same key with the same request imports once, however often it is sent; as the header `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
}

impl JobService {
    /// Copies a savepoint to another place.
    pub async fn export(&self, savepoint: &Snapshot, request: &ExportRequest) -> Result<SavepointOperation> {
        let key = request.client_key.as_deref();
        let operation = self.new_operation(savepoint.id, OperationKind::Export, request)?;
        if let Some(known) = self.known_operation(&operation, key).await? {
            return Ok(known);
        }
        require_completed(savepoint)?;
        let at = |e: Error| e.at_pointer("/target");
        let target = durable_target(&request.target).await.map_err(at)?;
        let location = target.uri_of(&manifest_key(SnapshotKind::Savepoint, savepoint.job_id, savepoint.id, 0, 0));
        if (request.format, savepoint.details.format) == (Some(SnapshotFormat::Native), SnapshotFormat::Canonical) {
            let message = "a canonical savepoint cannot be converted to the native format: restore it and take another";
            return Err(Error::invalid("invalid_value", message).at_pointer("/format"));
        }
        if location == savepoint.location {
            let message = format!("savepoint {} lies there already", savepoint.id);
            return Err(at(Error::conflict("export_onto_itself", message)));
        }
        self.begin(operation, None, key).await
    }

    /// Makes a snapshot that lies elsewhere a savepoint of this service.
    pub async fn import(&self, request: &ImportRequest) -> Result<SavepointOperation> {
        let key = request.client_key.as_deref();
        let id = SnapshotId::generate();
        let operation = self.new_operation(id, OperationKind::Import, request)?;
        if let Some(known) = self.known_operation(&operation, key).await? {
            return Ok(known);
        }
        let labels = request.labels.clone().unwrap_or_default();
        check_labels(&labels)?;
        let at = |e: Error| e.at_pointer("/from");
        let (store, manifest) = restore::load(&self.context.store, &request.from).await.map_err(at)?;
        let copies = request.copy.unwrap_or(true);
        if !copies && manifest.kind == SnapshotKind::Checkpoint {
            return Err(Error::invalid(
                "invalid_value",
                "a checkpoint is deleted by the job that took it: it can only be imported as a copy",
            )
            .at_pointer("/copy"));
        }
        let location = if copies {
            self.context.store.uri_of(&manifest_key(SnapshotKind::Savepoint, manifest.job_id, id, 0, 0))
        } else {
            store.uri_of(&manifest.key)
        };
        let imported = Snapshot {
            id,
            job_id: manifest.job_id,
            kind: SnapshotKind::Savepoint,
            checkpoint_id: manifest.checkpoint_id,
            attempt: manifest.attempt,
            status: SnapshotStatus::InProgress,
            trigger: manifest.trigger,
            location,
            state_bytes: 0,
            uploaded_bytes: 0,
            started_ms: operation.started_ms,
            ended_ms: None,
            failure: None,
            details: SnapshotDetails {
                job_name: manifest.job_name,
                format: manifest.format,
                pinned: request.pinned.unwrap_or_default(),
                labels,
                imported_from: Some(request.from.clone()),
                is_foreign: !copies,
            },
        };
        self.begin(operation, Some(imported), key).await
    }

    /// Reads a whole savepoint and compares it with what was written.
    pub async fn verify(&self, savepoint: &Snapshot, client_key: Option<&str>) -> Result<SavepointOperation> {
        let operation = self.new_operation(savepoint.id, OperationKind::Verify, &json!({}))?;
        if let Some(known) = self.known_operation(&operation, client_key).await? {
            return Ok(known);
        }
        require_completed(savepoint)?;
        self.begin(operation, None, client_key).await
    }

    /// The operations of a savepoint that are kept, newest first.
    pub async fn operations(&self, savepoint: SnapshotId) -> Result<Vec<SavepointOperation>> {
        let operations = self.context.metadata.operations(savepoint).await?;
        Ok(operations.into_iter().map(|o| self.with_progress(o)).collect())
    }

    /// An operation of a savepoint, once it has ended or when `time` is over.
    pub async fn operation(
        &self,
        savepoint: SnapshotId,
        id: OperationId,
        time: Duration,
    ) -> Result<SavepointOperation> {
        let end = tokio::time::Instant::now() + time;
        loop {
            let changed = self.context.changed.notified();
            let operation = self.context.metadata.operation(savepoint, id).await?;
            if operation.status != OperationStatus::InProgress || tokio::time::Instant::now() >= end {
                return Ok(self.with_progress(operation));
            }
            let _ = tokio::time::timeout_at(end.min(tokio::time::Instant::now() + WAIT_STEP), changed).await;
        }
    }

    /// The row is a moment behind the process that does the work.
    fn with_progress(&self, mut operation: SavepointOperation) -> SavepointOperation {
        if operation.status == OperationStatus::InProgress
            && let Some((done, total)) = self.context.transfers.operations.figures(operation.id)
        {
            (operation.bytes_done, operation.bytes_total) = (done, Some(total));
        }
        operation
    }

    fn new_operation(
        &self,
        savepoint: SnapshotId,
        kind: OperationKind,
        request: &impl serde::Serialize,
    ) -> Result<SavepointOperation> {
        let mut request =
            serde_json::to_value(request).map_err(|e| Error::internal("encoding a request failed").caused_by(&e))?;
        // The key may come in a header as well: it is no part of what is compared.
        if let Some(members) = request.as_object_mut() {
            members.remove("client_key");
        }
        let now = now_ms();
        Ok(SavepointOperation {
            id: OperationId::generate(),
            savepoint,
            kind,
            status: OperationStatus::InProgress,
            owner: self.context.owner(),
            request,
            bytes_done: 0,
            bytes_total: None,
            result: None,
            failure: None,
            started_ms: now,
            updated_ms: now,
            ended_ms: None,
        })
    }

    /// The operation that an earlier request with the same key began.
    async fn known_operation(
        &self,
        wanted: &SavepointOperation,
        key: Option<&str>,
    ) -> Result<Option<SavepointOperation>> {
        let Some(key) = key else { return Ok(None) };
        check_client_key(key)?;
        let Some(known) = self.context.metadata.operation_by_key(key).await? else { return Ok(None) };
        let same_savepoint = known.savepoint == wanted.savepoint || known.kind == OperationKind::Import;
        if same_savepoint && known.kind == wanted.kind && known.request == wanted.request {
            return Ok(Some(self.with_progress(known)));
        }
        Err(Error::conflict(
            "idempotency_key_reused",
            format!(
                "this idempotency key belongs to another request, operation {} of savepoint {}: send a new key, or the same request again",
                known.id, known.savepoint
            ),
        ))
    }

    async fn begin(
        &self,
        operation: SavepointOperation,
        imported: Option<Snapshot>,
        client_key: Option<&str>,
    ) -> Result<SavepointOperation> {
        // Before the row exists: the sweep takes rows that nobody here works on for abandoned.
        let tracking = self.context.transfers.operations.begin(operation.id);
        match self.context.metadata.begin_operation(&operation, imported.as_ref(), client_key).await? {
            Begun::Replayed(known) => Ok(*known),
            Begun::Created => {
                crash::point("operation-1-row");
                tokio::spawn(run(Arc::clone(&self.context), operation.clone(), imported, tracking));
                Ok(operation)
            }
        }
    }
}

/// Does an operation whose row exists, and stores its outcome.
async fn run(
    context: Arc<Context>,
    operation: SavepointOperation,
    imported: Option<Snapshot>,
    tracking: Tracking<OperationId>,
) {
    let transfer = tracking.transfer();
    let scratch = scratch_root(&context).join(operation.id.to_string());
    let mut imported = imported;
    let outcome = {
        let work = work(&context, &operation, imported.as_mut(), &scratch, &transfer);
        tokio::pin!(work);
        let mut renew = tokio::time::interval(RENEW);
        renew.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                outcome = &mut work => break Some(outcome),
                _ = renew.tick() => {
                    let (done, total) = transfer.figures();
                    match context.metadata.renew_operation(operation.id, done, Some(total), now_ms()).await {
                        Ok(true) => {}
                        Ok(false) => break None,
                        Err(error) => tracing::warn!(operation.id = %operation.id, %error, "renewing an operation failed"),
                    }
                }
            }
        }
    };
    let _ = tokio::fs::remove_dir_all(&scratch).await;
    crash::point("operation-2-done");
    let stored = match &outcome {
        Some(outcome) => {
            let (done, total) = transfer.figures();
            let _ = context.metadata.renew_operation(operation.id, done, Some(total), now_ms()).await;
            retry!(context.metadata.finish_operation(operation.id, outcome, imported.as_ref(), now_ms()))
        }
        None => Ok(false),
    };
    match (&outcome, stored) {
        (Some(Ok(_)), Ok(true)) => {
            tracing::info!(operation.id = %operation.id, savepoint.id = %operation.savepoint, kind = %operation.kind, "operation on a savepoint completed");
        }
        (Some(Err(error)), Ok(true)) => {
            tracing::warn!(operation.id = %operation.id, savepoint.id = %operation.savepoint, kind = %operation.kind, %error, "operation on a savepoint failed");
            clean_up(&context, &operation).await;
        }
        (None, _) | (_, Ok(false)) => {
            tracing::warn!(operation.id = %operation.id, savepoint.id = %operation.savepoint, kind = %operation.kind, "operation on a savepoint was given up: another instance took this one for dead");
        }
        (_, Err(error)) => {
            tracing::error!(operation.id = %operation.id, %error, "storing an operation's outcome failed; it counts as failed");
        }
    }
    drop(tracking);
    context.changed.notify_waiters();
}

async fn work(
    context: &Context,
    operation: &SavepointOperation,
    imported: Option<&mut Snapshot>,
    scratch: &std::path::Path,
    transfer: &Arc<Transfer>,
) -> Result<Value> {
    let _slot = SLOTS.acquire().await.map_err(|_| Error::internal("the operations' slots are closed"))?;
    let threads = context.settings.transfer_threads;
    let text = |member: &str| operation.request.get(member).and_then(Value::as_str).unwrap_or_default();
    match (operation.kind, imported) {
        (OperationKind::Verify, _) => {
            let savepoint = context.metadata.savepoint(operation.savepoint).await?;
            let found = verify(&context.store, &savepoint.location, threads, transfer).await?;
            to_value(&found)
        }
        (OperationKind::Export, _) => {
            let savepoint = context.metadata.savepoint(operation.savepoint).await?;
            let (from, manifest) = restore::load(&context.store, &savepoint.location).await?;
            let to = durable_target(text("target")).await?;
            let target = CopyTarget { store: &to, id: savepoint.id, scratch, threads };
            let wanted = text("format").parse().unwrap_or(manifest.format);
            require_free(&to, savepoint.id, wanted).await?;
            let copied = if wanted == manifest.format {
                copy(&from, &manifest, &target, transfer).await?
            } else {
                convert(&from, &manifest, &target, &context.shared_memory, transfer).await?
            };
            Ok(copied_value(&to, &copied))
        }
        (OperationKind::Import, None) => Err(Error::internal("an import has a savepoint")),
        (OperationKind::Import, Some(savepoint)) => {
            let (from, manifest) = restore::load(&context.store, text("from")).await?;
            savepoint.state_bytes = manifest.state_bytes();
            if savepoint.details.is_foreign {
                let found = verify(&context.store, &savepoint.location, threads, transfer).await?;
                return match found.damaged.first() {
                    None => Ok(copied_value(&from, &manifest)),
                    Some(damage) => {
                        let (count, object, detail) = (found.damaged.len(), &damage.object, &damage.detail);
                        let message = format!("{count} objects are damaged, the first one is {object}: {detail}");
                        Err(Error::corrupt("snapshot_corrupt", message))
                    }
                };
            }
            let target = CopyTarget { store: &context.store, id: savepoint.id, scratch, threads };
            let copied = copy(&from, &manifest, &target, transfer).await?;
            savepoint.uploaded_bytes = copied.stored_bytes();
            Ok(copied_value(&context.store, &copied))
        }
    }
}

/// A target may have this savepoint already, but not in another format: nothing is replaced.
async fn require_free(to: &Store, id: SnapshotId, format: SnapshotFormat) -> Result<()> {
    let key = format!("{}/_metadata", savepoint_prefix(id));
    if !to.exists(&key).await? || Manifest::decode(&to.get(&key).await?, &key)?.format == format {
        return Ok(());
    }
    let message = format!("{} is this savepoint in another format: choose another target", to.uri_of(&key));
    Err(Error::conflict("object_exists", message))
}

fn copied_value(store: &Store, manifest: &Manifest) -> Value {
    json!({ "location": store.uri_of(&manifest.key), "bytes": manifest.state_bytes() })
}

fn to_value(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::internal("encoding a result failed").caused_by(&e))
}

/// Files on their way lie below this.
fn scratch_root(context: &Context) -> PathBuf {
    context.settings.work_dir.join("operations")
}

/// Removes what a failed operation wrote.
async fn clean_up(context: &Context, operation: &SavepointOperation) {
    let removed = async {
        match operation.kind {
            OperationKind::Verify => Ok(()),
            // Its row is a failed savepoint, whose objects are nobody's.
            OperationKind::Import => {
                let savepoint = context.metadata.savepoint(operation.savepoint).await?;
                if savepoint.details.is_foreign || savepoint.status != SnapshotStatus::Failed {
                    return Ok(());
                }
                delete_savepoint_objects(&context.store, &savepoint).await
            }
            OperationKind::Export => {
                let target = operation.request.get("target").and_then(Value::as_str).unwrap_or_default();
                remove_unfinished(&restore::open_existing(target).await?, operation.savepoint).await
            }
        }
    };
    if let Err(error) = removed.await {
        tracing::warn!(operation.id = %operation.id, %error, "removing what a failed operation wrote failed");
    }
}

/// Repairs what ended processes left of savepoints, now and then, until `stop`.
pub async fn keep_sweeping(context: Arc<Context>, stop: CancellationToken) {
    // Nothing of this process is there yet, and the working directory is its own.
    let _ = tokio::fs::remove_dir_all(scratch_root(&context)).await;
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = sweep(&context).await {
            tracing::warn!(%error, "looking after savepoints failed; it is tried again");
        }
    }
}

/// Fails operations whose process is gone and savepoints that no attempt will finish, and finishes deletions.
async fn sweep(context: &Context) -> Result<()> {
    let now = now_ms();
    let silent_since = now.saturating_sub(SILENCE_MS);
    let mut abandoned = context.metadata.abandoned_operations(&context.owner(), silent_since).await?;
    // In this order: what is worked on here is noted before its row exists, and until its row has an outcome.
    let running = context.transfers.operations.keys();
    abandoned.retain(|o| o.owner != context.owner() || !running.contains(&o.id));
    for operation in abandoned {
        let imported = match operation.kind {
            OperationKind::Import => Some(context.metadata.savepoint(operation.savepoint).await?),
            OperationKind::Export | OperationKind::Verify => None,
        };
        let outcome = Err(Error::unavailable("operation_abandoned", ABANDONED));
        if context.metadata.finish_operation(operation.id, &outcome, imported.as_ref(), now).await? {
            tracing::warn!(operation.id = %operation.id, savepoint.id = %operation.savepoint, kind = %operation.kind, "{ABANDONED}");
            clean_up(context, &operation).await;
        }
    }
    let reason = "the job ended before the snapshot was complete";
    for snapshot in context.metadata.fail_in_progress_of_ended_jobs(reason, now).await? {
        // A checkpoint's objects lie under the job's prefix, which is swept with it.
        if snapshot.kind == SnapshotKind::Savepoint
            && let Err(error) = delete_savepoint_objects(&context.store, &snapshot).await
        {
            tracing::warn!(location = snapshot.location, %error, "removing a failed savepoint's objects failed");
        }
    }
    for savepoint in context.metadata.deleting_without_job().await? {
        if let Err(error) = delete_savepoint(&context.metadata, &context.store, &savepoint).await {
            tracing::warn!(location = savepoint.location, %error, "finishing a savepoint's deletion failed");
        }
    }
    Ok(())
}
