//! One job's master: runs its attempts one after another until the job has ended, or is somebody else's.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::checkpoints::{Checkpoints, Outcome, UploadDone, durable_target};
use super::prepare::{Prepared, prepare};
use super::restart::{RestartDecision, RestartTracker};
use super::retry::retry;
use super::status::sources_of;
use super::{Command, Context};
use crate::checkpoint::pending::AbortReason;
use crate::clock::now_ms;
use crate::crash;
use crate::error::{Error, Result};
use crate::metadata::{
    CheckpointMode, DesiredStatus, Job, JobException, JobStatus, Lease, OnCancel, Snapshot, SnapshotKind,
    SnapshotTrigger,
};
use crate::runtime::metrics::ExecutionMetrics;
use crate::runtime::{Execution, ExecutionSpec, TaskEvent, TaskId};

/// Pause before the last checkpoint is tried again after it failed, ms.
const LAST_CHECKPOINT_RETRY_MS: i64 = 1_000;
/// Longest sleep of the loop, ms: nothing waits longer for an unnoticed change.
const MAX_SLEEP_MS: i64 = 1_000;

/// How an attempt ended.
enum Exit {
    /// All input was read and committed.
    Finished,
    /// Stop-with-savepoint succeeded.
    Stopped,
    Canceled,
    /// The service shuts down.
    Suspended,
    /// Another instance owns the job.
    Fenced,
    Failed {
        error: Error,
        task: Option<TaskId>,
    },
}

/// Why the sources will stand still behind a barrier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    None,
    EndOfInput,
    Stop,
    Shutdown,
}

/// See the module text.
pub struct Master {
    pub context: Arc<Context>,
    pub job: Job,
    pub lease: Lease,
    pub commands: mpsc::Receiver<Command>,
    pub metrics: Arc<Mutex<ExecutionMetrics>>,
}

impl Master {
    /// Runs until the job has ended or must be left.
    pub async fn run(mut self) {
        let mut restarts = RestartTracker::new(self.job.settings.restart.clone());
        loop {
            let exit = self.attempt().await;
            self.metrics.lock().expect("no panic while held").tasks.clear();
            let again = self.conclude(exit, &mut restarts).await;
            self.context.changed.notify_waiters();
            if !again {
                return;
            }
        }
    }

    async fn attempt(&mut self) -> Exit {
        if self.job.desired == DesiredStatus::Canceled {
            return Exit::Canceled;
        }
        let prepared = {
            let preparing = prepare(&self.context, &self.job);
            tokio::pin!(preparing);
            loop {
                tokio::select! {
                    biased;
                    command = self.commands.recv() => if let Some(exit) = refuse(command) { return exit },
                    prepared = &mut preparing => break prepared,
                }
            }
        };
        let exit = match prepared {
            Ok(prepared) => self.execute(prepared).await,
            Err(error) => Exit::Failed { error, task: None },
        };
        let dir = self.context.job_dir(self.job.id);
        // The next attempt removes it too.
        let _ = tokio::fs::remove_dir_all(dir).await;
        exit
    }

    async fn execute(&mut self, prepared: Prepared) -> Exit {
        let (event_sender, events) = mpsc::unbounded_channel();
        let settings = &self.job.settings;
        let graph = Arc::new(self.job.plan.clone());
        let spec = ExecutionSpec {
            job_id: self.job.id,
            attempt: self.job.attempt,
            graph,
            parallelism: settings.parallelism,
            max_parallelism: settings.max_parallelism,
            exactly_once: settings.checkpointing.mode == CheckpointMode::ExactlyOnce,
            work_dir: prepared.dir,
            memory_bytes: self.context.settings.job_memory_bytes,
            shared_memory: Arc::clone(&self.context.shared_memory),
            restored: prepared.restored,
            collect: None,
        };
        let started = tokio::task::spawn_blocking(move || Execution::start(spec, event_sender)).await;
        let execution = match started {
            Ok(Ok(execution)) => execution,
            Ok(Err(error)) => return Exit::Failed { error, task: None },
            Err(panic) => {
                return Exit::Failed {
                    error: Error::internal(format!("starting the subtasks panicked: {panic}")),
                    task: None,
                };
            }
        };
        *self.metrics.lock().expect("no panic while held") = execution.metrics().clone();
        let (done, uploads) = mpsc::unbounded_channel();
        let job = Arc::new(self.job.clone());
        let checkpoints = Checkpoints::new(
            Arc::clone(&self.context),
            self.lease.clone(),
            job,
            prepared.retention,
            prepared.known,
            done,
        );
        let mut attempt = Attempt {
            master: self,
            checkpoints,
            starting: execution.tasks().iter().copied().collect(),
            reading: execution.sources().iter().copied().collect(),
            execution,
            events,
            uploads,
            goal: Goal::None,
            draining: None,
            shutdown_by_ms: None,
            last_retry_ms: None,
            committing: None,
        };
        let exit = match attempt.run().await {
            Ok(exit) => exit,
            Err(error) if error.kind == crate::error::ErrorKind::Fenced => Exit::Fenced,
            Err(error) => Exit::Failed { error, task: None },
        };
        let Attempt { mut checkpoints, execution, .. } = attempt;
        // Subtasks first: a fenced attempt must not go on for the time that the database takes to answer.
        execution.cancel();
        checkpoints.end().await;
        if let Err(panic) = tokio::task::spawn_blocking(move || execution.join()).await {
            tracing::error!(job.id = %self.job.id, %panic, "ending the subtasks panicked");
        }
        exit
    }

    /// Writes what the exit means; answers whether another attempt follows.
    async fn conclude(&mut self, exit: Exit, restarts: &mut RestartTracker) -> bool {
        let id = self.job.id;
        match exit {
            Exit::Finished | Exit::Stopped => self.end(JobStatus::Finished, None).await,
            Exit::Canceled => self.end(JobStatus::Canceled, None).await,
            Exit::Suspended => self.suspend().await,
            Exit::Fenced => {
                tracing::warn!(job.id = %id, attempt = self.job.attempt, "job is owned by another instance; stopped here")
            }
            Exit::Failed { error, task } => return self.failed(error, task, restarts).await,
        }
        false
    }

    async fn suspend(&self) {
        self.set_status(JobStatus::Suspended, None).await;
        if let Err(error) = retry!(self.context.metadata.release_job(&self.lease)) {
            tracing::warn!(job.id = %self.job.id, %error, "releasing the job's lease failed; it ends by itself");
        }
        tracing::info!(job.id = %self.job.id, "job suspended");
    }

    async fn end(&self, status: JobStatus, failure: Option<&str>) {
        let keeps = status != JobStatus::Canceled || self.job.settings.checkpointing.on_cancel == OnCancel::Retain;
        if !keeps {
            let mut retention = crate::checkpoint::retention::Retention::new(
                self.context.metadata.clone(),
                self.context.store.clone(),
                self.job.id,
            );
            if let Err(error) = retention.delete_all().await {
                tracing::warn!(job.id = %self.job.id, %error, "deleting the cancelled job's checkpoints failed");
            }
        }
        if self.set_status(status, failure).await {
            tracing::info!(job.id = %self.job.id, job.name = self.job.name, %status, "job ended");
        }
    }

    /// False if the job is not ours any more, or the database stays away (then the lease ends and the job is found again).
    async fn set_status(&self, to: JobStatus, failure: Option<&str>) -> bool {
        let set = retry!(self.context.metadata.set_status(&self.lease, sources_of(to), to, failure, now_ms()));
        match set {
            Ok(set) => set,
            Err(error) => {
                tracing::error!(job.id = %self.job.id, %error, status = %to, "storing the job's status failed");
                false
            }
        }
    }

    async fn failed(&mut self, error: Error, task: Option<TaskId>, restarts: &mut RestartTracker) -> bool {
        let now = now_ms();
        let task = task.map(|t| self.describe(t));
        tracing::error!(job.id = %self.job.id, job.name = self.job.name, attempt = self.job.attempt, task = task.as_deref(), %error, "job failed");
        let text = error.to_string();
        let exception = JobException { job_id: self.job.id, attempt: self.job.attempt, at_ms: now, error, task };
        if let Err(error) = self.context.metadata.insert_exception(&exception).await {
            tracing::warn!(job.id = %self.job.id, %error, "storing the failure failed");
        }
        let RestartDecision::After(delay_ms) = restarts.failed(now, crate::id::random_jitter()) else {
            self.end(JobStatus::Failed, Some(&text)).await;
            return false;
        };
        if !self.set_status(JobStatus::Restarting, Some(&text)).await {
            return false;
        }
        if let Err(error) = self.context.metadata.increment_restarts(&self.lease, now).await {
            tracing::warn!(job.id = %self.job.id, %error, "counting the restart failed");
        }
        self.context.changed.notify_waiters();
        tracing::info!(job.id = %self.job.id, delay_ms, "job restarts");
        let pause = tokio::time::sleep(Duration::from_millis(delay_ms));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match refuse(command) {
                    Some(Exit::Canceled) => { self.end(JobStatus::Canceled, None).await; return false }
                    Some(Exit::Suspended) => { self.suspend().await; return false }
                    Some(_) => return false,
                    None => {}
                },
                () = &mut pause => break,
            }
        }
        self.acquire_again().await
    }

    async fn acquire_again(&mut self) -> bool {
        let owner = self.context.owner();
        let lease_ms = self.context.settings.lease_ms;
        match retry!(self.context.metadata.acquire_job(self.job.id, &owner, lease_ms, now_ms())) {
            Ok(Some((job, lease))) => {
                (self.job, self.lease) = (job, lease);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!(job.id = %self.job.id, %error, "the database stays away; the job is found again when it is back");
                false
            }
        }
    }

    fn describe(&self, task: TaskId) -> String {
        let name = self.job.plan.vertices.get(task.vertex).map_or("?", |v| v.name.as_str());
        format!(
            "{name} ({}/{})",
            task.subtask + 1,
            crate::runtime::execution::vertex_parallelism(
                self.job.plan.vertices.get(task.vertex).and_then(|v| v.parallelism),
                self.job.settings.parallelism
            )
        )
    }
}

/// A command to a job whose subtasks do not run (yet): the exit that it means, if any.
fn refuse(command: Option<Command>) -> Option<Exit> {
    match command {
        Some(Command::Cancel) => Some(Exit::Canceled),
        Some(Command::Shutdown) | None => Some(Exit::Suspended),
        Some(Command::Fenced) => Some(Exit::Fenced),
        Some(Command::Snapshot { reply, .. }) => {
            // The asker may have gone; then nobody needs the answer.
            let _ = reply.send(Err(not_running()));
            None
        }
    }
}

fn not_running() -> Error {
    Error::conflict("job_not_running", "the job is starting or restarting; try again when it is RUNNING")
}

/// One attempt while its subtasks run.
struct Attempt<'a> {
    master: &'a mut Master,
    checkpoints: Checkpoints,
    execution: Execution,
    events: mpsc::UnboundedReceiver<TaskEvent>,
    uploads: mpsc::UnboundedReceiver<UploadDone>,
    /// Subtasks that have not opened yet.
    starting: HashSet<TaskId>,
    /// Source subtasks that still have input.
    reading: HashSet<TaskId>,
    goal: Goal,
    /// Stop-with-drain: asked for, to be taken when all sources are drained.
    draining: Option<(Option<String>, oneshot::Sender<Result<Snapshot>>)>,
    /// The service shuts down: by when this attempt ends, whatever its goal.
    shutdown_by_ms: Option<i64>,
    /// When to try the last checkpoint again.
    last_retry_ms: Option<i64>,
    /// The published checkpoint whose commits the goal waits for.
    committing: Option<(u64, HashSet<TaskId>)>,
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<Exit> {
        loop {
            let sleep = Duration::from_millis(u64::try_from(self.sleep_ms()).unwrap_or(0));
            let exit = tokio::select! {
                biased;
                command = self.master.commands.recv() => self.command(command).await,
                Some(event) = self.events.recv() => self.event(event).await?,
                Some(done) = self.uploads.recv() => { self.checkpoints.uploaded(done); None }
                () = tokio::time::sleep(sleep) => None,
            };
            if let Some(exit) = exit {
                return Ok(exit);
            }
            if let Some(exit) = self.advance().await? {
                return Ok(exit);
            }
        }
    }

    fn sleep_ms(&self) -> i64 {
        let periodic = if self.starting.is_empty() && self.goal == Goal::None {
            self.checkpoints.next_periodic_ms()
        } else {
            None
        };
        let next = [periodic, self.checkpoints.deadline_ms(), self.last_retry_ms, self.shutdown_by_ms]
            .into_iter()
            .flatten()
            .min();
        next.map_or(MAX_SLEEP_MS, |at| (at - now_ms()).clamp(0, MAX_SLEEP_MS))
    }

    async fn command(&mut self, command: Option<Command>) -> Option<Exit> {
        match command {
            Some(Command::Cancel) => Some(Exit::Canceled),
            Some(Command::Fenced) => Some(Exit::Fenced),
            Some(Command::Shutdown) | None => self.shut_down().await,
            Some(Command::Snapshot { kind, trigger, target, drain, reply }) => {
                self.snapshot(kind, trigger, target, drain, reply).await;
                None
            }
        }
    }

    async fn shut_down(&mut self) -> Option<Exit> {
        if !self.starting.is_empty() {
            return Some(Exit::Suspended);
        }
        if self.shutdown_by_ms.is_some() {
            return None;
        }
        let timeout = i64::try_from(self.master.context.settings.shutdown_timeout_ms).unwrap_or(i64::MAX);
        self.shutdown_by_ms = Some(now_ms().saturating_add(timeout));
        if self.goal == Goal::None {
            self.goal = Goal::Shutdown;
            if let Err(error) =
                self.checkpoints.request(SnapshotKind::Checkpoint, SnapshotTrigger::Shutdown, None, true).await
            {
                tracing::warn!(job.id = %self.master.job.id, %error, "no last checkpoint before the shutdown");
                return Some(Exit::Suspended);
            }
        }
        None
    }

    async fn snapshot(
        &mut self,
        kind: SnapshotKind,
        trigger: SnapshotTrigger,
        target: Option<String>,
        drain: bool,
        reply: oneshot::Sender<Result<Snapshot>>,
    ) {
        let stop = trigger == SnapshotTrigger::Stop;
        let result = if !self.starting.is_empty() {
            Err(not_running())
        } else if self.goal != Goal::None {
            Err(Error::conflict("job_ending", "the job is about to stop; no further snapshot can be taken"))
        } else if stop && drain {
            if let Err(error) = self.can_drain(target.as_deref()).await {
                let _ = reply.send(Err(error));
                return;
            }
            self.goal = Goal::Stop;
            self.draining = Some((target, reply));
            self.execution.drain();
            return;
        } else {
            self.checkpoints.request(kind, trigger, target.as_deref(), stop).await
        };
        if stop && result.is_ok() {
            self.goal = Goal::Stop;
        }
        // The asker may have gone; the snapshot is taken all the same.
        let _ = reply.send(result);
    }

    async fn event(&mut self, event: TaskEvent) -> Result<Option<Exit>> {
        match event {
            TaskEvent::Running { task } => {
                self.starting.remove(&task);
                if self.starting.is_empty() {
                    return self.running().await;
                }
            }
            TaskEvent::SourceFinished { task } => {
                self.reading.remove(&task);
            }
            TaskEvent::Acknowledge { task, checkpoint_id, snapshots, alignment_ms, sync_ms } => {
                tracing::debug!(job.id = %self.master.job.id, checkpoint.id = checkpoint_id, ?task, alignment_ms, sync_ms, "acknowledged");
                self.checkpoints.acknowledge(task, checkpoint_id, snapshots);
            }
            TaskEvent::Committed { task, checkpoint_id } => {
                crash::point("checkpoint-7-committed");
                if let Some((awaited, sinks)) = &mut self.committing
                    && *awaited == checkpoint_id
                {
                    sinks.remove(&task);
                }
            }
            TaskEvent::Failed { task, error } => return Ok(Some(Exit::Failed { error, task: Some(task) })),
        }
        Ok(None)
    }

    async fn running(&mut self) -> Result<Option<Exit>> {
        if !self.master.set_status(JobStatus::Running, None).await {
            return Ok(Some(Exit::Fenced));
        }
        let job = &self.master.job;
        tracing::info!(job.id = %job.id, job.name = job.name, attempt = job.attempt, parallelism = job.settings.parallelism, "job runs");
        self.master.context.changed.notify_waiters();
        if job.desired == DesiredStatus::Stopped {
            // It had stopped but for the end: the sinks have published the savepoint's output while they opened.
            return Ok(Some(Exit::Stopped));
        }
        Ok(None)
    }

    /// Whether a stop-with-drain can begin: afterwards there is no way back.
    async fn can_drain(&self, target: Option<&str>) -> Result<()> {
        if let Some(uri) = target {
            durable_target(uri).await?;
        }
        if self.checkpoints.is_idle() {
            return Ok(());
        }
        Err(Error::conflict(
            "snapshots_waiting",
            "another snapshot of this job is under way; try again when it is finished",
        ))
    }

    /// Everything that follows from what is known now.
    async fn advance(&mut self) -> Result<Option<Exit>> {
        if !self.starting.is_empty() {
            return Ok(None);
        }
        match self.checkpoints.advance().await? {
            Outcome::Waiting => {}
            Outcome::Fenced => return Ok(Some(Exit::Fenced)),
            Outcome::Published { snapshot, stops } => self.published(&snapshot, stops),
            Outcome::Aborted { reason, stops, .. } => {
                if let Some(exit) = self.aborted(reason, stops) {
                    return Ok(Some(exit));
                }
            }
        }
        if let Some(exit) = self.reached_goal() {
            return Ok(Some(exit));
        }
        self.request_next().await?;
        self.checkpoints.start_next(&self.execution);
        Ok(None)
    }

    fn published(&mut self, snapshot: &Snapshot, stops: bool) {
        tracing::info!(
            job.id = %snapshot.job_id,
            checkpoint.id = snapshot.checkpoint_id,
            kind = %snapshot.kind,
            state_bytes = snapshot.state_bytes,
            uploaded_bytes = snapshot.uploaded_bytes,
            duration_ms = snapshot.ended_ms.unwrap_or(snapshot.started_ms) - snapshot.started_ms,
            "checkpoint completed"
        );
        if stops {
            self.committing = Some((snapshot.checkpoint_id, self.execution.sinks().iter().copied().collect()));
        }
        // A savepoint in between publishes nothing: users may delete it, and then what it published would be repeated.
        // Its committables stay pending for the next checkpoint. (Flink since 1.15, FLIP-203.)
        if snapshot.kind == SnapshotKind::Checkpoint || stops {
            self.execution.complete(snapshot.checkpoint_id);
        }
        if snapshot.kind == SnapshotKind::Checkpoint {
            self.checkpoints.retire();
        }
    }

    fn aborted(&mut self, reason: AbortReason, stops: bool) -> Option<Exit> {
        match self.goal {
            _ if !stops => None,
            Goal::None | Goal::EndOfInput => {
                self.last_retry_ms = Some(now_ms() + LAST_CHECKPOINT_RETRY_MS);
                None
            }
            Goal::Shutdown => Some(Exit::Suspended),
            // The sources stand still; a restart lets the job go on.
            Goal::Stop => Some(Exit::Failed {
                error: Error::unavailable(
                    "stop_failed",
                    format!("the savepoint to stop with failed, the job goes on: {reason}"),
                ),
                task: None,
            }),
        }
    }

    fn reached_goal(&self) -> Option<Exit> {
        let committed = self.committing.as_ref().is_some_and(|(_, sinks)| sinks.is_empty());
        match self.goal {
            Goal::Shutdown if committed => Some(Exit::Suspended),
            Goal::EndOfInput if committed => Some(Exit::Finished),
            Goal::Stop if committed => Some(Exit::Stopped),
            _ => self.shutdown_by_ms.filter(|at| now_ms() >= *at).map(|_| Exit::Suspended),
        }
    }

    async fn request_next(&mut self) -> Result<()> {
        let now = now_ms();
        if self.reading.is_empty() {
            if let Some((target, reply)) = self.draining.take() {
                let requested = self
                    .checkpoints
                    .request(SnapshotKind::Savepoint, SnapshotTrigger::Stop, target.as_deref(), true)
                    .await;
                let failure = requested.as_ref().err().cloned();
                // The asker may have gone; the job stops all the same.
                let _ = reply.send(requested);
                // The sources are drained; only a restart from before lets the job go on.
                return failure.map_or(Ok(()), Err);
            }
            let is_first = self.goal == Goal::None;
            let is_retry = self.goal == Goal::EndOfInput && self.last_retry_ms.is_some_and(|at| now >= at);
            if is_first || is_retry {
                self.goal = Goal::EndOfInput;
                self.last_retry_ms = None;
                if let Err(error) =
                    self.checkpoints.request(SnapshotKind::Checkpoint, SnapshotTrigger::EndOfInput, None, true).await
                {
                    self.give_up_if_fenced(error)?;
                    self.last_retry_ms = Some(now + LAST_CHECKPOINT_RETRY_MS);
                }
            }
        } else if self.goal == Goal::None
            && self.checkpoints.next_periodic_ms().is_some_and(|due| now >= due)
            && let Err(error) =
                self.checkpoints.request(SnapshotKind::Checkpoint, SnapshotTrigger::Periodic, None, false).await
        {
            self.checkpoints.skip_periodic();
            self.give_up_if_fenced(error)?;
        }
        Ok(())
    }

    fn give_up_if_fenced(&self, error: Error) -> Result<()> {
        if error.kind == crate::error::ErrorKind::Fenced {
            return Err(error);
        }
        tracing::warn!(job.id = %self.master.job.id, %error, "a checkpoint could not be started; the job goes on");
        Ok(())
    }
}
