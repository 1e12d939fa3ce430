//! Drives one attempt's checkpoints and savepoints, in the order of `checkpoint`'s steps.
//!
//! Several may be under way at once (`max-concurrent-checkpoints`). Invariants: 1. they are published in the order in
//! which their barriers started, so that sinks commit in that order; 2. one shares files only with the newest completed
//! checkpoint at the time of each acknowledgement, and that one is not retired before this one ends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::Context;
use super::command::SnapshotSpec;
pub use super::in_flight::{Acknowledgement, UploadDone};
use super::in_flight::{InFlight, Requested, Shareable, TransferSettings, clean_up, discard_images};
use crate::checkpoint::local::LocalFiles;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::manifest_key;
use crate::checkpoint::pending::{AbortReason, Decision, next_trigger_ms};
use crate::checkpoint::retention::Retention;
use crate::checkpoint::upload::{KnownFiles, shareable};
use crate::clock::now_ms;
use crate::crash;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{OperatorId, SnapshotId};
use crate::metadata::{
    CheckpointStatistics, Job, Lease, Snapshot, SnapshotDetails, SnapshotFormat, SnapshotKind, SnapshotStatus,
    SubtaskStatistics,
};
use crate::runtime::{Barrier, Execution};
use crate::storage::{PutOutcome, Store};

/// Snapshots that may wait for their turn in one job.
const MAX_QUEUED: usize = 16;
/// How often an unanswered publication is asked about again, and how long apart, ms: about the lease's length in all.
const PUBLISH_RETRIES: u32 = 20;
const PUBLISH_RETRY_MS: u64 = 500;

/// What became of a snapshot.
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
    /// In the order of their barriers.
    in_flight: VecDeque<InFlight>,
    known: Shareable,
    /// See [`Retention::retire`]; read there when it runs.
    in_use_from: Arc<AtomicU64>,
    /// Failed checkpoints in a row, of this attempt.
    failures: u32,
    /// Event time was moved to its end: what is taken now can only be restored to read nothing more.
    drained: bool,
    last_trigger_ms: i64,
    last_end_ms: Option<i64>,
    done: mpsc::UnboundedSender<UploadDone>,
    /// Statistics on their way to the database.
    recording: JoinSet<()>,
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
            in_flight: VecDeque::new(),
            known: Shareable { checkpoint_id: 0, files: known },
            in_use_from: Arc::new(AtomicU64::new(u64::MAX)),
            failures: 0,
            drained: false,
            last_trigger_ms: now_ms(),
            last_end_ms: None,
            done,
            recording: JoinSet::new(),
        }
    }

    /// Step 1: the row, before any object exists; the snapshot waits for its turn.
    pub async fn request(&mut self, spec: &SnapshotSpec, stops: bool) -> Result<Snapshot> {
        if self.queue.len() >= MAX_QUEUED {
            return Err(Error::unavailable(
                "too_many_snapshots",
                format!("{MAX_QUEUED} snapshots of this job are waiting already; try again later"),
            ));
        }
        let store = match &spec.target {
            Some(uri) => durable_target(uri).await?,
            None => self.context.store.clone(),
        };
        let id = SnapshotId::generate();
        let checkpoint_id = self.context.metadata.next_checkpoint_id(self.job.id).await?;
        let key = manifest_key(spec.kind, self.job.id, id, checkpoint_id, self.job.attempt);
        let now = now_ms();
        let snapshot = Snapshot {
            id,
            job_id: self.job.id,
            kind: spec.kind,
            checkpoint_id,
            attempt: self.job.attempt,
            status: SnapshotStatus::InProgress,
            trigger: spec.trigger,
            location: store.uri_of(&key),
            state_bytes: 0,
            uploaded_bytes: 0,
            started_ms: now,
            ended_ms: None,
            failure: None,
            details: SnapshotDetails {
                job_name: self.job.name.clone(),
                format: spec.format,
                labels: spec.labels.clone(),
                ..SnapshotDetails::default()
            },
        };
        if !self.context.metadata.begin_snapshot(&self.lease, &snapshot, spec.client_key.as_deref()).await? {
            return Err(Error::fenced("the job is owned by another instance now"));
        }
        crash::point("checkpoint-1-row");
        let transfer = self.context.transfers.snapshots.begin(snapshot.id);
        let entries = (spec.format == SnapshotFormat::Canonical).then(|| Arc::clone(&self.context.shared_memory));
        self.queue.push_back(Requested { snapshot: snapshot.clone(), stops, store, transfer, entries });
        Ok(snapshot)
    }

    /// When the next periodic checkpoint is due; never while as many as may be are under way.
    pub fn next_periodic_ms(&self) -> Option<i64> {
        let c = &self.job.settings.checkpointing;
        let free = self.has_room() && self.queue.is_empty();
        if free { next_trigger_ms(c.interval_ms, c.min_pause_ms, self.last_trigger_ms, self.last_end_ms) } else { None }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < usize::try_from(self.job.settings.checkpointing.max_concurrent).unwrap_or(1).max(1)
    }

    /// When the next snapshot expires.
    pub fn deadline_ms(&self) -> Option<i64> {
        self.in_flight.iter().map(|f| f.pending.deadline_ms()).min()
    }

    /// Makes the next periodic checkpoint due now.
    pub fn make_due(&mut self) {
        self.last_trigger_ms = 0;
    }

    /// Where the images of this job's checkpoints are kept after their upload.
    fn local_files(&self) -> LocalFiles {
        LocalFiles::of_job(&self.context.job_dir(self.job.id))
    }

    /// Notes that the sources were told to drain.
    pub fn set_drained(&mut self) {
        self.drained = true;
    }

    /// Notes that a periodic checkpoint could not even be requested, so that the next try comes an interval later.
    pub fn skip_periodic(&mut self) {
        self.last_trigger_ms = now_ms();
        self.failures = self.failures.saturating_add(1);
    }

    /// Failed checkpoints in a row, if they are more than the job outlives.
    pub fn intolerable_failures(&self) -> Option<u32> {
        self.job.settings.checkpointing.tolerable_failed.filter(|most| self.failures > *most).map(|_| self.failures)
    }

    /// Step 2: as long as there is room, the next snapshot's barrier starts at the sources.
    pub fn start_next(&mut self, execution: &Execution) {
        while self.has_room()
            && let Some(requested) = self.queue.pop_front()
        {
            let barrier = Barrier { checkpoint_id: requested.snapshot.checkpoint_id, stops: requested.stops };
            let in_flight = InFlight::new(requested, execution.tasks(), self.job.settings.checkpointing.timeout_ms);
            self.last_trigger_ms = in_flight.triggered_ms;
            execution.trigger(barrier);
            self.in_flight.push_back(in_flight);
            crash::point("checkpoint-2-barrier");
        }
    }

    /// Those that are under way, oldest first.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter()
    }

    fn find(&mut self, checkpoint_id: u64) -> Option<&mut InFlight> {
        self.in_flight.iter_mut().find(|f| f.checkpoint_id() == checkpoint_id)
    }

    /// Steps 3 and 4: a subtask's local images go up in the background.
    pub fn acknowledge(&mut self, acknowledgement: Acknowledgement) {
        let c = &self.job.settings.checkpointing;
        let settings = TransferSettings {
            incremental: c.incremental,
            threads: usize::try_from(c.transfer_threads).unwrap_or(1),
            inline_threshold_bytes: c.data_inline_threshold_bytes,
        };
        let local = self.local_files();
        let found = self.in_flight.iter_mut().find(|f| f.checkpoint_id() == acknowledgement.checkpoint_id);
        let unexpected = match found {
            Some(in_flight) => {
                in_flight.acknowledge(acknowledgement, &self.known, settings, &local, self.done.clone()).err()
            }
            None => Some(acknowledgement),
        };
        if let Some(acknowledgement) = unexpected {
            discard_images(acknowledgement.snapshots);
        }
        self.note_in_use();
    }

    /// A subtask's upload ended.
    pub fn uploaded(&mut self, done: UploadDone) {
        if let Some(in_flight) = self.find(done.checkpoint_id) {
            in_flight.uploaded(done);
        }
    }

    /// Steps 5 and 6 of the oldest, once everything is stored; or the abort of any, once it is hopeless. Call it until
    /// it waits.
    pub async fn advance(&mut self) -> Result<Outcome> {
        let decisions: Vec<Decision> = self.in_flight.iter().map(InFlight::decide).collect();
        for (index, decision) in decisions.into_iter().enumerate() {
            match decision {
                Decision::Abort(reason) => return self.abort(index, reason).await,
                Decision::Publish if index == 0 => {
                    crash::point("checkpoint-4-uploaded");
                    return match self.publish().await {
                        Ok(Some(outcome)) => Ok(outcome),
                        Ok(None) => Ok(Outcome::Fenced),
                        Err(error) if error.code == "manifest_not_stored" => {
                            self.abort(0, AbortReason::Manifest(error.to_string())).await
                        }
                        Err(error) => Err(error),
                    };
                }
                Decision::Publish | Decision::Wait => {}
            }
        }
        Ok(Outcome::Waiting)
    }

    async fn publish(&mut self) -> Result<Option<Outcome>> {
        let Some(oldest) = self.in_flight.front() else { return Ok(None) };
        let manifest = oldest.manifest(&self.job, self.drained)?;
        let not_stored =
            |e: &Error| Error::unavailable("manifest_not_stored", format!("storing {} failed: {e}", manifest.key));
        let (store, encoded) = (&oldest.requested.store, manifest.encode()?);
        match store.put_if_absent(&manifest.key, encoded.clone()).await {
            Ok(PutOutcome::Created) => {}
            // Keys name the attempt, so an existing one is our own first try whose answer was lost, or nobody's.
            Ok(PutOutcome::Exists) => {
                if store.get(&manifest.key).await.map_err(|e| not_stored(&e))? != encoded {
                    return Err(Error::fenced(format!("another process wrote {}", manifest.key)));
                }
            }
            Err(error) => return Err(not_stored(&error)),
        }
        crash::point("checkpoint-5-manifest");
        let mut snapshot = oldest.requested.snapshot.clone();
        (snapshot.state_bytes, snapshot.uploaded_bytes) = (manifest.state_bytes(), oldest.new_bytes());
        let subtasks = oldest.subtasks();
        if !self.commit_row(&snapshot).await? {
            return Ok(None);
        }
        crash::point("checkpoint-6-published");
        let stops = self.in_flight.pop_front().is_some_and(|f| f.requested.stops);
        self.note_in_use();
        self.last_end_ms = Some(now_ms());
        (snapshot.status, snapshot.ended_ms) = (SnapshotStatus::Completed, self.last_end_ms);
        if snapshot.kind == SnapshotKind::Checkpoint {
            self.failures = 0;
            self.remember(&manifest);
        }
        self.record(CheckpointStatistics::new(snapshot.clone(), manifest.stored_bytes(), None, subtasks));
        self.context.changed.notify_waiters();
        Ok(Some(Outcome::Published { snapshot, stops }))
    }

    /// Stores statistics in the background: nothing waits for them.
    fn record(&mut self, statistics: CheckpointStatistics) {
        let metadata = self.context.metadata.clone();
        while self.recording.try_join_next().is_some() {}
        self.recording.spawn(async move {
            if let Err(error) = metadata.insert_statistics(&statistics).await {
                let snapshot = &statistics.snapshot;
                tracing::warn!(job.id = %snapshot.job_id, checkpoint.id = snapshot.checkpoint_id, %error, "storing a checkpoint's statistics failed");
            }
        });
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
        self.known = Shareable { checkpoint_id: manifest.checkpoint_id, files: HashMap::new() };
        for operator in &manifest.operators {
            for subtask in &operator.subtasks {
                if let Some(keyed) = &subtask.keyed {
                    let files = shareable(keyed).map(|f| (f.name.clone(), f.clone())).collect();
                    self.known.files.insert((operator.id, subtask.subtask), Arc::new(files));
                }
            }
        }
        let (local, number) = (self.local_files(), manifest.checkpoint_id);
        tokio::spawn(async move { local.forget_before(number).await });
        // Only a cache: a retirement that is under way must not hold up the sinks' commits.
        if let Ok(mut retention) = self.retention.try_lock() {
            retention.published(manifest);
        }
    }

    /// Notes from which checkpoint on files are shared by those under way. What begins later shares with the newest
    /// completed one, which is retained.
    fn note_in_use(&self) {
        let from = self.in_flight.iter().filter_map(|f| f.in_use_from).min().unwrap_or(u64::MAX);
        self.in_use_from.store(from, Ordering::SeqCst);
    }

    /// Step 8, in the background: retires checkpoints beyond the retained number.
    pub fn retire(&self) {
        let (retention, retained, job) =
            (Arc::clone(&self.retention), self.job.settings.checkpointing.retained, self.job.id);
        let in_use_from = Arc::clone(&self.in_use_from);
        tokio::spawn(async move {
            let mut retention = retention.lock().await;
            if let Err(error) = retention.retire(retained, &in_use_from).await {
                tracing::warn!(job.id = %job, %error, "retiring old checkpoints failed; the next checkpoint tries again");
            }
            if let Err(error) = retention.subsume_claimed(retained).await {
                tracing::warn!(job.id = %job, %error, "deleting the claimed snapshot failed; the next checkpoint tries again");
            }
        });
    }

    async fn abort(&mut self, index: usize, reason: AbortReason) -> Result<Outcome> {
        let Some(aborted) = self.in_flight.remove(index) else { return Ok(Outcome::Waiting) };
        self.note_in_use();
        let snapshot = aborted.requested.snapshot.clone();
        self.last_end_ms = Some(now_ms());
        if snapshot.kind == SnapshotKind::Checkpoint && reason.reason().counts() {
            self.failures = self.failures.saturating_add(1);
        }
        tracing::warn!(job.id = %self.job.id, checkpoint.id = snapshot.checkpoint_id, %reason, in_a_row = self.failures, "checkpoint failed");
        let (stops, subtasks) = (aborted.requested.stops, aborted.subtasks());
        self.give_up(aborted.requested, aborted.uploads, subtasks, &reason).await;
        self.context.changed.notify_waiters();
        Ok(Outcome::Aborted { snapshot, reason, stops })
    }

    /// Fails a snapshot's row and only then removes its objects: if the row does not say `FAILED` by our hand, it may be
    /// published (its answer was lost), and the next start's sweep decides.
    async fn give_up(
        &mut self,
        requested: Requested,
        uploads: Vec<JoinHandle<()>>,
        subtasks: Vec<SubtaskStatistics>,
        reason: &AbortReason,
    ) {
        let mut snapshot = requested.snapshot;
        let (now, why) = (now_ms(), reason.to_string());
        match self.context.metadata.fail_snapshot(snapshot.id, &why, now).await {
            Ok(true) => {
                clean_up(snapshot.clone(), requested.store, uploads, self.local_files());
                (snapshot.status, snapshot.ended_ms, snapshot.failure) = (SnapshotStatus::Failed, Some(now), Some(why));
                snapshot.uploaded_bytes = subtasks.iter().map(|s| s.uploaded_bytes).sum();
                self.record(CheckpointStatistics::new(snapshot, 0, Some(reason.reason()), subtasks));
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(job.id = %self.job.id, checkpoint.id = snapshot.checkpoint_id, %error, "a failed checkpoint's row could not be updated; the next start does it");
            }
        }
    }

    /// Whether no snapshot is under way or waiting.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.queue.is_empty()
    }

    /// The attempt ends: whatever is under way or waiting has failed.
    pub async fn end(&mut self, reason: &AbortReason) {
        for aborted in std::mem::take(&mut self.in_flight) {
            let subtasks = aborted.subtasks();
            self.give_up(aborted.requested, aborted.uploads, subtasks, reason).await;
        }
        for requested in std::mem::take(&mut self.queue) {
            self.give_up(requested, Vec::new(), Vec::new(), reason).await;
        }
        while self.recording.join_next().await.is_some() {}
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
