//! The commands on savepoints: take, find, change, delete. Those that take their time are in `operations`.

use std::time::Duration;

use tokio::sync::oneshot;

use super::command::SnapshotSpec;
use super::settings::check_labels;
use super::{Command, JobService, SavepointRequest, StopRequest};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::restore;
use crate::checkpoint::retention::delete_savepoint;
use crate::error::{Error, Result};
use crate::id::{JobId, SnapshotId};
use crate::metadata::{Job, SavepointChange, SavepointFilter, Snapshot, SnapshotKind, SnapshotStatus, SnapshotTrigger};

/// How long a command waits for the job's master to answer.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest client key, bytes.
pub const MAX_CLIENT_KEY_BYTES: usize = 255;

impl JobService {
    /// Takes a savepoint and then ends the job.
    pub async fn stop(&self, job: &Job, request: &StopRequest) -> Result<Snapshot> {
        let spec = SnapshotSpec {
            kind: SnapshotKind::Savepoint,
            trigger: SnapshotTrigger::Stop,
            target: request.target.clone(),
            format: request.format.unwrap_or_default(),
            labels: request.labels.clone().unwrap_or_default(),
            client_key: request.client_key.clone(),
        };
        self.snapshot_command(job, spec, request.drain).await
    }

    /// Takes a savepoint.
    pub async fn create_savepoint(&self, job: &Job, request: &SavepointRequest) -> Result<Snapshot> {
        let spec = SnapshotSpec {
            kind: SnapshotKind::Savepoint,
            trigger: SnapshotTrigger::Savepoint,
            target: request.target.clone(),
            format: request.format.unwrap_or_default(),
            labels: request.labels.clone().unwrap_or_default(),
            client_key: request.client_key.clone(),
        };
        self.snapshot_command(job, spec, false).await
    }

    /// Takes a checkpoint now.
    pub async fn trigger_checkpoint(&self, job: &Job) -> Result<Snapshot> {
        self.snapshot_command(job, SnapshotSpec::checkpoint(SnapshotTrigger::Manual), false).await
    }

    /// A client key that is known answers its snapshot, whatever became of it and of the job since.
    async fn snapshot_command(&self, job: &Job, spec: SnapshotSpec, drain: bool) -> Result<Snapshot> {
        check_labels(&spec.labels)?;
        let Some(key) = spec.client_key.clone() else { return self.send_snapshot(job, spec, drain).await };
        check_client_key(&key)?;
        if let Some(known) = self.context.metadata.find_snapshot_by_key(job.id, &key).await? {
            return self.replay(known, &spec);
        }
        match self.send_snapshot(job, spec.clone(), drain).await {
            // Another request with the key was faster.
            Err(error) if error.code == "snapshot_key_reused" => {
                match self.context.metadata.find_snapshot_by_key(job.id, &key).await? {
                    Some(known) => self.replay(known, &spec),
                    None => Err(error),
                }
            }
            result => result,
        }
    }

    fn replay(&self, known: Snapshot, spec: &SnapshotSpec) -> Result<Snapshot> {
        let same_place = match &spec.target {
            Some(uri) => known.location.starts_with(uri.trim_end_matches('/')),
            None => self.context.store.key_of(&known.location).is_some(),
        };
        if same_place && (known.kind, known.trigger, known.details.format) == (spec.kind, spec.trigger, spec.format) {
            return Ok(known);
        }
        Err(Error::conflict(
            "idempotency_key_reused",
            format!(
                "this idempotency key belongs to another request, which made snapshot {}: send a new key, or the same request again",
                known.id
            ),
        ))
    }

    async fn send_snapshot(&self, job: &Job, spec: SnapshotSpec, drain: bool) -> Result<Snapshot> {
        let running = self.context.running(job.id).ok_or_else(|| {
            let why = if job.status.is_terminal() {
                format!("it is {}", job.status)
            } else {
                "it does not run in this service".to_owned()
            };
            Error::conflict("job_not_running", format!("job {} cannot take a snapshot: {why}", job.id))
        })?;
        let (reply, answer) = oneshot::channel();
        let busy = |_| Error::unavailable("job_busy", "the job has too many commands waiting; try again");
        running.commands.try_send(Command::Snapshot { spec, drain, reply }).map_err(busy)?;
        match tokio::time::timeout(COMMAND_TIMEOUT, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::conflict("job_not_running", "the job ended before it took the snapshot")),
            Err(_) => Err(Error::unavailable(
                "job_busy",
                "the job did not start the snapshot in time; look at its list of snapshots before trying again",
            )),
        }
    }

    /// A page of savepoints of all jobs, newest first, after the given (started_ms, id).
    pub async fn savepoints(
        &self,
        filter: &SavepointFilter,
        after: Option<(i64, SnapshotId)>,
        limit: u32,
    ) -> Result<Vec<Snapshot>> {
        self.context.metadata.list_savepoints(filter, after, limit).await
    }

    /// A savepoint by its id.
    pub async fn savepoint(&self, id: &str) -> Result<Snapshot> {
        self.context.metadata.savepoint(id.parse()?).await
    }

    /// A job's savepoint by its id.
    pub async fn savepoint_of(&self, job: JobId, id: &str) -> Result<Snapshot> {
        let savepoint = self.savepoint(id).await?;
        if savepoint.job_id == job {
            return Ok(savepoint);
        }
        Err(Error::not_found("savepoint_not_found", format!("job {job} has no savepoint {id}")))
    }

    /// What a completed savepoint consists of.
    pub async fn savepoint_manifest(&self, savepoint: &Snapshot) -> Result<Manifest> {
        require_completed(savepoint)?;
        Ok(restore::load(&self.context.store, &savepoint.location).await?.1)
    }

    /// Changes labels and pin.
    pub async fn change_savepoint(&self, savepoint: &Snapshot, change: &SavepointChange) -> Result<Snapshot> {
        self.context.metadata.change_savepoint(savepoint.id, change, check_labels).await
    }

    /// Deletes a savepoint with its objects; they are shared with nothing.
    pub async fn delete_savepoint(&self, savepoint: &Snapshot) -> Result<()> {
        delete_savepoint(&self.context.metadata, &self.context.store, savepoint).await
    }
}

/// Only completed savepoints can be read.
pub(super) fn require_completed(savepoint: &Snapshot) -> Result<()> {
    if savepoint.status == SnapshotStatus::Completed {
        return Ok(());
    }
    Err(Error::conflict("snapshot_not_completed", format!("savepoint {} is {}", savepoint.id, savepoint.status)))
}

/// Refuses keys that a header could not carry.
pub(super) fn check_client_key(key: &str) -> Result<()> {
    if (1..=MAX_CLIENT_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Ok(());
    }
    Err(Error::invalid(
        "invalid_idempotency_key",
        format!("a client key has 1 to {MAX_CLIENT_KEY_BYTES} visible ASCII characters"),
    )
    .at_pointer("/client_key"))
}
