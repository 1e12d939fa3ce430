//! One checkpoint or savepoint that is under way: what its subtasks acknowledged and stored so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::transfers::Tracking;
use crate::checkpoint::canonical::upload_entries;
use crate::checkpoint::local::LocalFiles;
use crate::checkpoint::manifest::{Manifest, OperatorState, SubtaskState};
use crate::checkpoint::pending::{Decision, Pending};
use crate::checkpoint::upload::{Destination, KnownFiles, upload};
use crate::checkpoint::{manifest_key, state_prefix};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::id::{OperatorId, SnapshotId};
use crate::metadata::{Job, Snapshot, SnapshotKind, SubtaskStatistics};
use crate::operator::OperatorSnapshot;
use crate::runtime::TaskId;
use crate::state::SharedMemory;
use crate::storage::Store;

/// Has a row, and waits for its turn.
pub(super) struct Requested {
    pub snapshot: Snapshot,
    /// The sources stand still behind its barrier.
    pub stops: bool,
    pub store: Store,
    pub transfer: Tracking<SnapshotId>,
    /// Reads the images, if it is stored in the canonical format.
    pub entries: Option<Arc<SharedMemory>>,
}

/// One operator's stored part of a subtask, and how many of its bytes are new.
struct UploadedPart {
    operator: OperatorId,
    state: SubtaskState,
    new_bytes: u64,
}

/// The end of a subtask's upload.
pub struct UploadDone {
    pub(super) checkpoint_id: u64,
    task: TaskId,
    upload_ms: u64,
    result: Result<Vec<UploadedPart>>,
}

/// A subtask's acknowledgement.
pub struct Acknowledgement {
    pub task: TaskId,
    pub checkpoint_id: u64,
    pub snapshots: Vec<(OperatorId, OperatorSnapshot)>,
    pub alignment_ms: u64,
    pub sync_ms: u64,
}

/// Files that the newest completed checkpoint stored, and which may be referenced.
pub(super) struct Shareable {
    /// The checkpoint; 0 = the restored one, whichever it is.
    pub checkpoint_id: u64,
    pub files: std::collections::HashMap<(OperatorId, usize), Arc<KnownFiles>>,
}

/// How files are stored.
#[derive(Clone, Copy)]
pub(super) struct TransferSettings {
    pub incremental: bool,
    pub threads: usize,
    pub inline_threshold_bytes: u64,
}

/// See the module text.
pub(super) struct InFlight {
    pub requested: Requested,
    pub pending: Pending<TaskId>,
    pub triggered_ms: i64,
    pub uploads: Vec<JoinHandle<()>>,
    /// The oldest checkpoint whose files it may reference: that one must not be retired before this one ends.
    pub in_use_from: Option<u64>,
    operators: BTreeMap<OperatorId, Vec<SubtaskState>>,
    subtasks: BTreeMap<TaskId, SubtaskStatistics>,
}

impl InFlight {
    /// Begins now; all `tasks` must acknowledge.
    pub fn new(requested: Requested, tasks: &[TaskId], timeout_ms: u64) -> Self {
        let now = now_ms();
        let deadline_ms = now.saturating_add(i64::try_from(timeout_ms).unwrap_or(i64::MAX));
        InFlight {
            requested,
            pending: Pending::new(tasks.iter().copied(), deadline_ms),
            triggered_ms: now,
            uploads: Vec::new(),
            in_use_from: None,
            operators: BTreeMap::new(),
            subtasks: BTreeMap::new(),
        }
    }

    /// The snapshot's number.
    pub fn checkpoint_id(&self) -> u64 {
        self.requested.snapshot.checkpoint_id
    }

    /// What to do about it now.
    pub fn decide(&self) -> Decision {
        self.pending.decide(now_ms())
    }

    /// Starts storing a subtask's local images; false (and nothing done) if they were not expected.
    pub fn acknowledge(
        &mut self,
        acknowledgement: Acknowledgement,
        known: &Shareable,
        settings: TransferSettings,
        local: &LocalFiles,
        done: mpsc::UnboundedSender<UploadDone>,
    ) -> std::result::Result<(), Acknowledgement> {
        if !self.pending.acknowledge(&acknowledgement.task) {
            return Err(acknowledgement);
        }
        crate::crash::point("checkpoint-3-acknowledged");
        let Acknowledgement { task, checkpoint_id, snapshots, alignment_ms, sync_ms } = acknowledgement;
        let delay = u64::try_from(now_ms() - self.triggered_ms).unwrap_or(0);
        self.subtasks.insert(
            task,
            SubtaskStatistics {
                vertex: task.vertex as u64,
                subtask: task.subtask as u64,
                start_delay_ms: delay.saturating_sub(alignment_ms + sync_ms),
                alignment_ms,
                sync_ms,
                ..SubtaskStatistics::default()
            },
        );
        let shares = settings.incremental && self.requested.snapshot.kind == SnapshotKind::Checkpoint;
        if shares {
            self.in_use_from = Some(self.in_use_from.unwrap_or(u64::MAX).min(known.checkpoint_id));
        }
        // What the job may go on from by itself.
        let is_kept = self.requested.snapshot.kind == SnapshotKind::Checkpoint || self.requested.stops;
        let parts: Vec<_> = snapshots
            .into_iter()
            .map(|(id, snapshot)| {
                let files = known.files.get(&(id, task.subtask)).filter(|_| shares).cloned().unwrap_or_default();
                let destination = Destination {
                    store: self.requested.store.clone(),
                    prefix: format!("{}/{id}-{}", state_prefix(&self.requested.snapshot), task.subtask),
                    threads: settings.threads,
                    inline_threshold_bytes: settings.inline_threshold_bytes,
                    progress: self.requested.transfer.transfer(),
                    keep: is_kept.then(|| local.image(checkpoint_id, id, task.subtask)),
                };
                (id, snapshot, destination, files)
            })
            .collect();
        let entries = self.requested.entries.clone();
        self.uploads.push(tokio::spawn(async move {
            let since = Instant::now();
            let mut stored = Vec::with_capacity(parts.len());
            let mut failure = None;
            for (operator, snapshot, destination, known) in parts {
                match store_part(operator, task.subtask, snapshot, &destination, known, entries.clone()).await {
                    Ok(part) => stored.push(part),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            let upload_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let result = failure.map_or(Ok(stored), Err);
            // If the attempt is over nobody waits for this any more; the sweep removes the objects.
            let _ = done.send(UploadDone { checkpoint_id, task, upload_ms, result });
        }));
        Ok(())
    }

    /// A subtask's upload ended.
    pub fn uploaded(&mut self, done: UploadDone) {
        let statistics = self.subtasks.entry(done.task).or_default();
        statistics.upload_ms = done.upload_ms;
        match done.result {
            Ok(parts) => {
                for part in parts {
                    let files = part.state.keyed.iter().flat_map(|k| &k.files);
                    statistics.state_bytes += files.map(|f| f.bytes).sum::<u64>();
                    statistics.uploaded_bytes += part.new_bytes;
                    self.operators.entry(part.operator).or_default().push(part.state);
                }
                self.pending.uploaded(Ok(()));
            }
            Err(error) => self.pending.uploaded(Err(error.to_string())),
        }
    }

    /// Bytes stored for it so far.
    pub fn new_bytes(&self) -> u64 {
        self.subtasks.values().map(|s| s.uploaded_bytes).sum()
    }

    /// The figures of the subtasks that acknowledged.
    pub fn subtasks(&self) -> Vec<SubtaskStatistics> {
        self.subtasks.values().copied().collect()
    }

    /// What to publish, once every part is stored. `drained`: event time was moved to its end.
    pub fn manifest(&self, job: &Job, drained: bool) -> Result<Manifest> {
        let Requested { snapshot, store, .. } = &self.requested;
        let key = store
            .key_of(&snapshot.location)
            .ok_or_else(|| Error::internal(format!("{} is not in {}", snapshot.location, store.uri())))?;
        let mut operators = Vec::with_capacity(self.operators.len());
        for operator in job.plan.vertices.iter().flat_map(|v| &v.operators) {
            if let Some(subtasks) = self.operators.get(&operator.id) {
                let mut subtasks = subtasks.clone();
                subtasks.sort_by_key(|s| s.subtask);
                operators.push(OperatorState { id: operator.id, name: operator.name.clone(), subtasks });
            }
        }
        Ok(Manifest {
            snapshot_id: snapshot.id,
            job_id: job.id,
            job_name: job.name.clone(),
            checkpoint_id: snapshot.checkpoint_id,
            attempt: snapshot.attempt,
            kind: snapshot.kind,
            trigger: snapshot.trigger,
            format: snapshot.details.format,
            drained,
            created_ms: snapshot.started_ms,
            key,
            sql: job.sql.clone(),
            plan: job.plan.clone(),
            settings: job.settings.clone(),
            operators,
        })
    }
}

async fn store_part(
    operator: OperatorId,
    subtask: usize,
    snapshot: OperatorSnapshot,
    to: &Destination,
    known: Arc<KnownFiles>,
    entries: Option<Arc<SharedMemory>>,
) -> Result<UploadedPart> {
    let uploaded = match (snapshot.keyed, entries) {
        (Some(image), Some(shared)) => Some(upload_entries(image, to, shared).await?),
        (Some(image), None) => Some(upload(image, to, known).await?),
        (None, _) => None,
    };
    let new_bytes = uploaded.as_ref().map_or(0, |u| u.new_bytes);
    let state = SubtaskState { subtask, operator_state: snapshot.operator_state, keyed: uploaded.map(|u| u.keyed) };
    Ok(UploadedPart { operator, state, new_bytes })
}

/// Removes local images that nobody wants.
pub(super) fn discard_images(snapshots: Vec<(OperatorId, OperatorSnapshot)>) {
    let dirs: Vec<_> = snapshots.into_iter().filter_map(|(_, s)| s.keyed.map(|k| k.dir)).collect();
    tokio::spawn(async move {
        for dir in dirs {
            // Only hard links; the attempt's folder is removed when the job restarts.
            let _ = tokio::fs::remove_dir_all(dir).await;
        }
    });
}

/// Removes the objects of a snapshot that failed, once its uploads have ended. What a crash leaves, the sweep removes.
pub(super) fn clean_up(snapshot: Snapshot, store: Store, uploads: Vec<JoinHandle<()>>, local: LocalFiles) {
    tokio::spawn(async move {
        for upload in uploads {
            let _ = upload.await;
        }
        local.forget_one(snapshot.checkpoint_id).await;
        let prefix = state_prefix(&snapshot);
        let removed = async {
            let mut keys: Vec<String> = store.list(&format!("{prefix}/")).await?.into_iter().map(|o| o.key).collect();
            keys.push(manifest_key(
                snapshot.kind,
                snapshot.job_id,
                snapshot.id,
                snapshot.checkpoint_id,
                snapshot.attempt,
            ));
            store.delete(&keys).await
        };
        if let Err(error) = removed.await {
            tracing::warn!(job.id = %snapshot.job_id, checkpoint.id = snapshot.checkpoint_id, %error, "removing a failed checkpoint's objects failed; the next start sweeps them");
        }
    });
}
