//! Drives one attempt's checkpoints and savepoints, one at a time, in the order of `checkpoint`'s steps.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::Context;
use crate::checkpoint::manifest::{Manifest, OperatorState, SubtaskState};
use crate::checkpoint::pending::{AbortReason, Decision, Pending, next_trigger_ms};
use crate::checkpoint::retention::Retention;
use crate::checkpoint::upload::{DEFAULT_INLINE_THRESHOLD_BYTES, Destination, KnownFiles, shareable, upload};
use crate::checkpoint::{manifest_key, state_prefix};
use crate::clock::now_ms;
use crate::crash;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{OperatorId, SnapshotId};
use crate::metadata::{Job, Lease, Snapshot, SnapshotKind, SnapshotStatus, SnapshotTrigger};
use crate::operator::OperatorSnapshot;
use crate::runtime::{Barrier, Execution, TaskId};
use crate::storage::{PutOutcome, Store};

/// Snapshots that may wait for their turn in one job.
const MAX_QUEUED: usize = 16;
/// How often an unanswered publication is asked about again, and how long apart, ms: about the lease's length in all.
const PUBLISH_RETRIES: u32 = 20;
const PUBLISH_RETRY_MS: u64 = 500;

/// One subtask's uploaded part.
type UploadedPart = (OperatorId, SubtaskState, u64);

/// The end of a subtask's upload.
pub struct UploadDone {
    checkpoint_id: u64,
    result: Result<Vec<UploadedPart>>,
}

struct Requested {
    snapshot: Snapshot,
    stops: bool,
    store: Store,
}

struct Current {
    requested: Requested,
    pending: Pending<TaskId>,
    operators: BTreeMap<OperatorId, Vec<SubtaskState>>,
    new_bytes: u64,
    uploads: Vec<JoinHandle<()>>,
}

/// What became of the current snapshot.
pub enum Outcome {
    /// Nothing yet.
    Waiting,
    /// Published; `stops` = the sources stand still behind its barrier.
    Published { snapshot: Snapshot, stops: bool },
    /// Given up.
    Aborted { snapshot: Snapshot, reason: AbortReason, stops: bool },
    /// The job belongs to somebody else.
    Fenced,
}

/// See the module text.
pub struct Checkpoints {
    context: Arc<Context>,
    lease: Lease,
    job: Arc<Job>,
    retention: Arc<Mutex<Retention>>,
    queue: VecDeque<Requested>,
    current: Option<Current>,
    /// Event time was moved to its end: what is taken now can only be restored to read nothing more.
    drained: bool,
    /// Per operator and subtask: files that the newest checkpoint stored.
    known: HashMap<(OperatorId, usize), Arc<KnownFiles>>,
    last_trigger_ms: i64,
    last_end_ms: Option<i64>,
    done: mpsc::UnboundedSender<UploadDone>,
}

impl Checkpoints {
    /// For one attempt; `known` are the restored snapshot's shareable files; uploads report through `done`.
    pub fn new(
        context: Arc<Context>,
        lease: Lease,
        job: Arc<Job>,
        retention: Arc<Mutex<Retention>>,
        known: HashMap<(OperatorId, usize), Arc<KnownFiles>>,
        done: mpsc::UnboundedSender<UploadDone>,
    ) -> Self {
        Checkpoints {
            context,
            lease,
            job,
            retention,
            queue: VecDeque::new(),
            current: None,
            drained: false,
            known,
            last_trigger_ms: now_ms(),
            last_end_ms: None,
            done,
        }
    }

    /// Step 1: the row, before any object exists; the snapshot waits for its turn.
    pub async fn request(
        &mut self,
        kind: SnapshotKind,
        trigger: SnapshotTrigger,
        target: Option<&str>,
        stops: bool,
    ) -> Result<Snapshot> {
        if self.queue.len() >= MAX_QUEUED {
            return Err(Error::unavailable(
                "too_many_snapshots",
                format!("{MAX_QUEUED} snapshots of this job are waiting already; try again later"),
            ));
        }
        let store = match target {
            Some(uri) => durable_target(uri).await?,
            None => self.context.store.clone(),
        };
        let id = SnapshotId::generate();
        let checkpoint_id = self.context.metadata.next_checkpoint_id(self.job.id).await?;
        let key = manifest_key(kind, self.job.id, id, checkpoint_id, self.job.attempt);
        let now = now_ms();
        let snapshot = Snapshot {
            id,
            job_id: self.job.id,
            kind,
            checkpoint_id,
            attempt: self.job.attempt,
            status: SnapshotStatus::InProgress,
            trigger,
            location: store.uri_of(&key),
            state_bytes: 0,
            uploaded_bytes: 0,
            started_ms: now,
            ended_ms: None,
            failure: None,
        };
        if !self.context.metadata.begin_snapshot(&self.lease, &snapshot, None).await? {
            return Err(Error::fenced("the job is owned by another instance now"));
        }
        crash::point("checkpoint-1-row");
        self.queue.push_back(Requested { snapshot: snapshot.clone(), stops, store });
        Ok(snapshot)
    }

    /// When the next periodic checkpoint is due; never while one is under way.
    pub fn next_periodic_ms(&self) -> Option<i64> {
        let c = &self.job.settings.checkpointing;
        let free = self.current.is_none() && self.queue.is_empty();
        if free { next_trigger_ms(c.interval_ms, c.min_pause_ms, self.last_trigger_ms, self.last_end_ms) } else { None }
    }

    /// When the current snapshot expires.
    pub fn deadline_ms(&self) -> Option<i64> {
        self.current.as_ref().map(|c| c.pending.deadline_ms())
    }

    /// Notes that the sources were told to drain.
    pub fn set_drained(&mut self) {
        self.drained = true;
    }

    /// Notes that a periodic checkpoint could not even be requested, so that the next try comes an interval later.
    pub fn skip_periodic(&mut self) {
        self.last_trigger_ms = now_ms();
    }

    /// Step 2: if none is under way, the next snapshot's barrier starts at the sources.
    pub fn start_next(&mut self, execution: &Execution) {
        if self.current.is_some() {
            return;
        }
        let Some(requested) = self.queue.pop_front() else { return };
        let now = now_ms();
        let timeout = i64::try_from(self.job.settings.checkpointing.timeout_ms).unwrap_or(i64::MAX);
        let pending = Pending::new(execution.tasks().iter().copied(), now.saturating_add(timeout));
        self.last_trigger_ms = now;
        execution.trigger(Barrier { checkpoint_id: requested.snapshot.checkpoint_id, stops: requested.stops });
        self.current =
            Some(Current { requested, pending, operators: BTreeMap::new(), new_bytes: 0, uploads: Vec::new() });
        crash::point("checkpoint-2-barrier");
    }

    /// Steps 3 and 4: a subtask's local images go up in the background.
    pub fn acknowledge(&mut self, task: TaskId, checkpoint_id: u64, snapshots: Vec<(OperatorId, OperatorSnapshot)>) {
        let current = self.current.as_mut().filter(|c| c.requested.snapshot.checkpoint_id == checkpoint_id);
        let expected = current.and_then(|c| c.pending.acknowledge(&task).then_some(c));
        let Some(current) = expected else {
            discard_images(snapshots);
            return;
        };
        crash::point("checkpoint-3-acknowledged");
        let snapshot = &current.requested.snapshot;
        let incremental = snapshot.kind == SnapshotKind::Checkpoint;
        let parts: Vec<_> = snapshots
            .into_iter()
            .map(|(id, s)| {
                let known = if incremental {
                    self.known.get(&(id, task.subtask)).cloned().unwrap_or_default()
                } else {
                    Arc::default()
                };
                let prefix = object_prefix(snapshot, id, task.subtask);
                (
                    id,
                    s,
                    Destination {
                        store: current.requested.store.clone(),
                        prefix,
                        threads: self.context.settings.transfer_threads,
                        inline_threshold_bytes: DEFAULT_INLINE_THRESHOLD_BYTES,
                    },
                    known,
                )
            })
            .collect();
        let done = self.done.clone();
        current.uploads.push(tokio::spawn(async move {
            let mut stored = Vec::with_capacity(parts.len());
            let mut failure = None;
            for (id, snapshot, destination, known) in parts {
                match store_part(task.subtask, snapshot, &destination, known).await {
                    Ok((state, new_bytes)) => stored.push((id, state, new_bytes)),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            let result = failure.map_or(Ok(stored), Err);
            // If the attempt is over nobody waits for this any more; the sweep removes the objects.
            let _ = done.send(UploadDone { checkpoint_id, result });
        }));
    }

    /// A subtask's upload ended.
    pub fn uploaded(&mut self, done: UploadDone) {
        let Some(current) = self.current.as_mut().filter(|c| c.requested.snapshot.checkpoint_id == done.checkpoint_id)
        else {
            return;
        };
        match done.result {
            Ok(parts) => {
                for (id, state, new_bytes) in parts {
                    current.new_bytes += new_bytes;
                    current.operators.entry(id).or_default().push(state);
                }
                current.pending.uploaded(Ok(()));
            }
            Err(error) => current.pending.uploaded(Err(error.to_string())),
        }
    }

    /// Steps 5 and 6, once everything is stored; or the abort, once it is hopeless.
    pub async fn advance(&mut self) -> Result<Outcome> {
        let Some(current) = &self.current else { return Ok(Outcome::Waiting) };
        match current.pending.decide(now_ms()) {
            Decision::Wait => Ok(Outcome::Waiting),
            Decision::Abort(reason) => self.abort(reason).await,
            Decision::Publish => {
                crash::point("checkpoint-4-uploaded");
                match self.publish().await {
                    Ok(Some(outcome)) => Ok(outcome),
                    Ok(None) => Ok(Outcome::Fenced),
                    Err(error) if error.code == "manifest_not_stored" => {
                        self.abort(AbortReason::Upload(error.to_string())).await
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn publish(&mut self) -> Result<Option<Outcome>> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let manifest = manifest_of(&self.job, current, &self.context.store, self.drained)?;
        let not_stored =
            |e: &Error| Error::unavailable("manifest_not_stored", format!("storing {} failed: {e}", manifest.key));
        match current.requested.store.put_if_absent(&manifest.key, manifest.encode()?).await {
            Ok(PutOutcome::Created) => {}
            // Keys name the attempt, so an existing one is our own first try whose answer was lost, or nobody's.
            Ok(PutOutcome::Exists) => {
                let stored = current.requested.store.get(&manifest.key).await.map_err(|e| not_stored(&e))?;
                if stored != manifest.encode()? {
                    return Err(Error::fenced(format!("another process wrote {}", manifest.key)));
                }
            }
            Err(error) => return Err(not_stored(&error)),
        }
        crash::point("checkpoint-5-manifest");
        let mut snapshot = current.requested.snapshot.clone();
        (snapshot.state_bytes, snapshot.uploaded_bytes) = (manifest.state_bytes(), current.new_bytes);
        if !self.commit_row(&snapshot).await? {
            return Ok(None);
        }
        crash::point("checkpoint-6-published");
        let stops = self.current.take().is_some_and(|c| c.requested.stops);
        self.last_end_ms = Some(now_ms());
        (snapshot.status, snapshot.ended_ms) = (SnapshotStatus::Completed, self.last_end_ms);
        if snapshot.kind == SnapshotKind::Checkpoint {
            self.remember(&manifest);
        }
        self.context.changed.notify_waiters();
        Ok(Some(Outcome::Published { snapshot, stops }))
    }

    /// Step 6, the publication point. If the database does not answer, the outcome is unknown: it is asked until known,
    /// because neither the sinks nor the next checkpoint may go on before. False = fenced.
    async fn commit_row(&self, snapshot: &Snapshot) -> Result<bool> {
        let mut tries = 0;
        loop {
            let metadata = &self.context.metadata;
            match metadata
                .complete_snapshot(&self.lease, snapshot.id, snapshot.state_bytes, snapshot.uploaded_bytes, now_ms())
                .await
            {
                Ok(true) => return Ok(true),
                Ok(false) if tries > 0 => {
                    // An earlier try may have been carried out although its answer was lost.
                    let row = metadata.snapshot(snapshot.id).await?;
                    return Ok(row.status == SnapshotStatus::Completed && metadata.holds(&self.lease).await?);
                }
                Ok(false) => return Ok(false),
                Err(error) if error.kind == ErrorKind::Unavailable && tries < PUBLISH_RETRIES => {
                    tries += 1;
                    tracing::warn!(job.id = %self.job.id, checkpoint.id = snapshot.checkpoint_id, %error, "the database did not answer a publication; asking again");
                    tokio::time::sleep(std::time::Duration::from_millis(PUBLISH_RETRY_MS)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Notes what the next checkpoint may share, and retires old ones in the background.
    fn remember(&mut self, manifest: &Manifest) {
        self.known.clear();
        for operator in &manifest.operators {
            for subtask in &operator.subtasks {
                if let Some(keyed) = &subtask.keyed {
                    let files = shareable(keyed).map(|f| (f.name.clone(), f.clone())).collect();
                    self.known.insert((operator.id, subtask.subtask), Arc::new(files));
                }
            }
        }
        // Only a cache: a retirement that is under way must not hold up the sinks' commits.
        if let Ok(mut retention) = self.retention.try_lock() {
            retention.published(manifest);
        }
    }

    /// Step 8, in the background: retires checkpoints beyond the retained number.
    pub fn retire(&self) {
        let (retention, retained, job) =
            (Arc::clone(&self.retention), self.job.settings.checkpointing.retained, self.job.id);
        tokio::spawn(async move {
            let mut retention = retention.lock().await;
            if let Err(error) = retention.retire(retained).await {
                tracing::warn!(job.id = %job, %error, "retiring old checkpoints failed; the next checkpoint tries again");
            }
            if let Err(error) = retention.subsume_claimed(retained).await {
                tracing::warn!(job.id = %job, %error, "deleting the claimed snapshot failed; the next checkpoint tries again");
            }
        });
    }

    async fn abort(&mut self, reason: AbortReason) -> Result<Outcome> {
        let Some(current) = self.current.take() else { return Ok(Outcome::Waiting) };
        let snapshot = current.requested.snapshot.clone();
        self.last_end_ms = Some(now_ms());
        tracing::warn!(job.id = %self.job.id, checkpoint.id = snapshot.checkpoint_id, %reason, "checkpoint failed");
        let stops = current.requested.stops;
        self.give_up(current.requested, current.uploads, &reason).await;
        self.context.changed.notify_waiters();
        Ok(Outcome::Aborted { snapshot, reason, stops })
    }

    /// Fails a snapshot's row and only then removes its objects: if the row does not say `FAILED` by our hand, it may be
    /// published (its answer was lost), and the next start's sweep decides.
    async fn give_up(&self, requested: Requested, uploads: Vec<JoinHandle<()>>, reason: &AbortReason) {
        let snapshot = requested.snapshot;
        match self.context.metadata.fail_snapshot(snapshot.id, &reason.to_string(), now_ms()).await {
            Ok(true) => clean_up(snapshot, requested.store, uploads),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(job.id = %self.job.id, checkpoint.id = snapshot.checkpoint_id, %error, "a failed checkpoint's row could not be updated; the next start does it");
            }
        }
    }

    /// Whether no snapshot is under way or waiting.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.queue.is_empty()
    }

    /// The attempt ends: whatever is under way or waiting has failed.
    pub async fn end(&mut self) {
        let waiting = self.queue.drain(..).map(|r| (r, Vec::new()));
        let all: Vec<_> = self.current.take().map(|c| (c.requested, c.uploads)).into_iter().chain(waiting).collect();
        for (requested, uploads) in all {
            self.give_up(requested, uploads, &AbortReason::JobEnded).await;
        }
        self.context.changed.notify_waiters();
    }
}

/// The store that a savepoint's `target` names.
pub async fn durable_target(uri: &str) -> Result<Store> {
    let store = Store::open(uri).await?;
    if !store.is_durable() {
        return Err(Error::invalid(
            "store_not_durable",
            format!("{uri} does not outlive the process: a savepoint there would be none"),
        ));
    }
    Ok(store)
}

async fn store_part(
    subtask: usize,
    snapshot: OperatorSnapshot,
    to: &Destination,
    known: Arc<KnownFiles>,
) -> Result<(SubtaskState, u64)> {
    let uploaded = match snapshot.keyed {
        Some(image) => Some(upload(image, to, known).await?),
        None => None,
    };
    let new_bytes = uploaded.as_ref().map_or(0, |u| u.new_bytes);
    Ok((SubtaskState { subtask, operator_state: snapshot.operator_state, keyed: uploaded.map(|u| u.keyed) }, new_bytes))
}

fn object_prefix(snapshot: &Snapshot, operator: OperatorId, subtask: usize) -> String {
    format!("{}/{operator}-{subtask}", state_prefix(snapshot))
}

fn discard_images(snapshots: Vec<(OperatorId, OperatorSnapshot)>) {
    let dirs: Vec<_> = snapshots.into_iter().filter_map(|(_, s)| s.keyed.map(|k| k.dir)).collect();
    tokio::spawn(async move {
        for dir in dirs {
            // Only hard links; the attempt's folder is removed when the job restarts.
            let _ = tokio::fs::remove_dir_all(dir).await;
        }
    });
}

/// Removes the objects of a snapshot that failed, once its uploads have ended. What a crash leaves, the sweep removes.
fn clean_up(snapshot: Snapshot, store: Store, uploads: Vec<JoinHandle<()>>) {
    tokio::spawn(async move {
        for upload in uploads {
            let _ = upload.await;
        }
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

fn manifest_of(job: &Job, current: &mut Current, own: &Store, drained: bool) -> Result<Manifest> {
    let snapshot = &current.requested.snapshot;
    let key = current
        .requested
        .store
        .key_of(&snapshot.location)
        .ok_or_else(|| Error::internal(format!("{} is not in {}", snapshot.location, own.uri_of(""))))?;
    let mut operators = Vec::with_capacity(current.operators.len());
    for operator in job.plan.vertices.iter().flat_map(|v| &v.operators) {
        if let Some(subtasks) = current.operators.get(&operator.id) {
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
        drained,
        created_ms: snapshot.started_ms,
        key,
        sql: job.sql.clone(),
        plan: job.plan.clone(),
        settings: job.settings.clone(),
        operators,
    })
}
