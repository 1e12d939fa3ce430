//! One attempt of a job: what happens while its subtasks run, from their start to the reason why they ended.
//!
//! The master starts one after another; an attempt knows nothing of the ones before it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Command;
use super::alarms::{Reported, StuckSubtask};
use super::checkpoints::{Acknowledgement, Checkpoints, Outcome, UploadDone, durable_target};
use super::command::SnapshotSpec;
use super::master::{Master, not_running};
use super::prepare::Prepared;
use super::watchdog::{TaskFacts, stuck};
use crate::checkpoint::pending::AbortReason;
use crate::clock::now_ms;
use crate::crash;
use crate::error::{Error, Result};
use crate::id::OperatorId;
use crate::metadata::{CheckpointMode, DesiredStatus, JobStatus, Snapshot, SnapshotKind, SnapshotTrigger};
use crate::runtime::{Execution, ExecutionSpec, TaskEvent, TaskId};

/// Pause before the last checkpoint is tried again after it failed, ms.
const LAST_CHECKPOINT_RETRY_MS: i64 = 1_000;
/// How often stuck subtasks are looked for at most, ms.
const WATCH_MS: i64 = 500;
/// Longest sleep of the loop, ms: nothing waits longer for an unnoticed change.
const MAX_SLEEP_MS: i64 = 1_000;

/// How an attempt ended.
pub(super) enum Exit {
    /// All input was read and committed.
    Finished,
    /// Stop-with-savepoint succeeded.
    Stopped,
    Canceled,
    /// The service shuts down.
    Suspended,
    /// The new version of an upgrade has had its time.
    UpgradeOver,
    /// Another instance owns the job.
    Fenced,
    Failed {
        error: Error,
        task: Option<TaskId>,
        /// The operator of the subtask's chain, where known.
        operator: Option<OperatorId>,
    },
}

/// Why the sources will stand still behind a barrier.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    None,
    EndOfInput,
    Stop,
    Shutdown,
}

/// Runs one attempt of the master's job to its end.
pub(super) async fn execute(master: &mut Master, prepared: Prepared) -> Exit {
    let (event_sender, events) = mpsc::unbounded_channel();
    let settings = &master.job.settings;
    let graph = Arc::new(master.job.plan.clone());
    let spec = ExecutionSpec {
        job_id: master.job.id,
        attempt: master.job.attempt,
        graph,
        parallelism: settings.parallelism,
        max_parallelism: settings.max_parallelism,
        exactly_once: settings.checkpointing.mode == CheckpointMode::ExactlyOnce,
        work_dir: prepared.dir,
        memory_bytes: master.context.settings.job_memory_bytes,
        shared_memory: Arc::clone(&master.context.shared_memory),
        restored: prepared.restored,
        collect: None,
    };
    let started = tokio::task::spawn_blocking(move || Execution::start(spec, event_sender)).await;
    let execution = match started {
        Ok(Ok(execution)) => execution,
        Ok(Err(error)) => return Exit::Failed { error, task: None, operator: None },
        Err(panic) => {
            return Exit::Failed {
                error: Error::internal(format!("starting the subtasks panicked: {panic}")),
                task: None,
                operator: None,
            };
        }
    };
    *master.metrics.lock().expect("no panic while held") = execution.metrics().clone();
    let edges = master.job.plan.edges.iter().map(|e| (e.from, e.to)).collect();
    let (done, uploads) = mpsc::unbounded_channel();
    let job = Arc::new(master.job.clone());
    let checkpoints = Checkpoints::new(
        Arc::clone(&master.context),
        master.lease.clone(),
        job,
        prepared.retention,
        prepared.known,
        done,
    );
    let mut checkpoints = checkpoints;
    if prepared.checkpoint_now {
        checkpoints.make_due();
    }
    let mut attempt = Attempt {
        master,
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
        stopped_with: None,
        edges,
        reported: Reported::default(),
        watched_ms: now_ms(),
    };
    let exit = match attempt.run().await {
        Ok(exit) => exit,
        Err(error) if error.kind == crate::error::ErrorKind::Fenced => Exit::Fenced,
        Err(error) => Exit::Failed { error, task: None, operator: None },
    };
    let Attempt { mut checkpoints, execution, stopped_with, .. } = attempt;
    let exit = match (exit, stopped_with) {
        // The stop is half done: the next attempt ends it, and whatever happens then, the savepoint stays.
        (Exit::Failed { mut error, task, operator }, Some(location)) => {
            error.message = format!("{}; the savepoint to stop with is complete and kept: {location}", error.message);
            Exit::Failed { error, task, operator }
        }
        (exit, _) => exit,
    };
    // Subtasks first: a fenced attempt must not go on for the time that the database takes to answer.
    execution.cancel();
    checkpoints.end(&why_ended(&exit)).await;
    if let Err(panic) = tokio::task::spawn_blocking(move || execution.join()).await {
        tracing::error!(job.id = %master.job.id, %panic, "ending the subtasks panicked");
    }
    exit
}

/// What the exit means for checkpoints that are under way.
fn why_ended(exit: &Exit) -> AbortReason {
    match exit {
        Exit::Failed { .. } => AbortReason::TaskFailed,
        Exit::Suspended => AbortReason::Suspended,
        Exit::Finished | Exit::Stopped | Exit::Canceled | Exit::Fenced | Exit::UpgradeOver => AbortReason::JobEnded,
    }
}

/// One attempt while its subtasks run.
pub(super) struct Attempt<'a> {
    pub(super) master: &'a mut Master,
    pub(super) checkpoints: Checkpoints,
    execution: Execution,
    events: mpsc::UnboundedReceiver<TaskEvent>,
    uploads: mpsc::UnboundedReceiver<UploadDone>,
    /// Subtasks that have not opened yet.
    starting: HashSet<TaskId>,
    /// Source subtasks that still have input.
    reading: HashSet<TaskId>,
    pub(super) goal: Goal,
    /// Stop-with-drain: asked for, to be taken when all sources are drained.
    draining: Option<(SnapshotSpec, oneshot::Sender<Result<Snapshot>>)>,
    /// The service shuts down: by when this attempt ends, whatever its goal.
    shutdown_by_ms: Option<i64>,
    /// When to try the last checkpoint again.
    last_retry_ms: Option<i64>,
    /// Pairs of vertices that are connected.
    edges: Vec<(usize, usize)>,
    reported: Reported,
    /// When stuck subtasks were last looked for.
    watched_ms: i64,
    /// The published checkpoint whose commits the goal waits for.
    committing: Option<(u64, HashSet<TaskId>)>,
    /// The published savepoint that the job ends with.
    stopped_with: Option<String>,
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
            if self.master.upgrade_is_over() {
                return Ok(Exit::UpgradeOver);
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
            Some(Command::Upgrade) => {
                if self.starting.is_empty()
                    && let Err(error) = self.stop_for_upgrade().await
                {
                    if error.kind == crate::error::ErrorKind::Fenced {
                        return Some(Exit::Fenced);
                    }
                    // The renewal of leases tells it again.
                    tracing::warn!(job.id = %self.master.job.id, %error, "the savepoint of an upgrade could not be started");
                }
                None
            }
            Some(Command::Shutdown) | None => self.shut_down().await,
            Some(Command::Snapshot { spec, drain, reply }) => {
                self.snapshot(spec, drain, reply).await;
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
                self.checkpoints.request(&SnapshotSpec::checkpoint(SnapshotTrigger::Shutdown), true).await
            {
                tracing::warn!(job.id = %self.master.job.id, %error, "no last checkpoint before the shutdown");
                return Some(Exit::Suspended);
            }
        }
        None
    }

    async fn snapshot(&mut self, spec: SnapshotSpec, drain: bool, reply: oneshot::Sender<Result<Snapshot>>) {
        let stop = spec.trigger == SnapshotTrigger::Stop;
        let result = if !self.starting.is_empty() {
            Err(not_running())
        } else if self.goal != Goal::None {
            Err(Error::conflict("job_ending", "the job is about to stop; no further snapshot can be taken"))
        } else if stop && drain {
            if let Err(error) = self.can_drain(spec.target.as_deref()).await {
                let _ = reply.send(Err(error));
                return;
            }
            self.goal = Goal::Stop;
            self.draining = Some((spec, reply));
            self.checkpoints.set_drained();
            self.execution.drain();
            return;
        } else {
            self.checkpoints.request(&spec, stop).await
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
                self.checkpoints.acknowledge(Acknowledgement { task, checkpoint_id, snapshots, alignment_ms, sync_ms });
            }
            TaskEvent::Committed { task, checkpoint_id } => {
                crash::point("checkpoint-7-committed");
                if let Some((awaited, sinks)) = &mut self.committing
                    && *awaited == checkpoint_id
                {
                    sinks.remove(&task);
                }
            }
            TaskEvent::Failed { task, operator, error } => {
                return Ok(Some(Exit::Failed { error, task: Some(task), operator }));
            }
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
        self.go_on_with_upgrade().await?;
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
        loop {
            match self.checkpoints.advance().await? {
                Outcome::Waiting => break,
                Outcome::Fenced => return Ok(Some(Exit::Fenced)),
                Outcome::Published { snapshot, stops } => self.published(&snapshot, stops),
                Outcome::Aborted { reason, stops, .. } => {
                    if let Some(exit) = self.aborted(reason, stops).or_else(|| self.intolerable()) {
                        return Ok(Some(exit));
                    }
                }
            }
        }
        self.watch();
        if let Some(exit) = self.reached_goal() {
            return Ok(Some(exit));
        }
        self.request_next().await?;
        if let Some(exit) = self.intolerable() {
            return Ok(Some(exit));
        }
        self.checkpoints.start_next(&self.execution);
        Ok(None)
    }

    /// Looks for subtasks that hold up a checkpoint, and tells.
    fn watch(&mut self) {
        let stuck_after_ms = self.master.job.settings.checkpointing.stuck_after_ms;
        let now = now_ms();
        if now.saturating_sub(self.watched_ms) < WATCH_MS {
            return;
        }
        self.watched_ms = now;
        let mut found = Vec::new();
        for in_flight in self.checkpoints.in_flight().filter(|_| stuck_after_ms > 0) {
            let facts: Vec<TaskFacts> = self
                .execution
                .metrics()
                .tasks
                .iter()
                .map(|m| {
                    let (phase, since_ms) = m.checkpoint_phase();
                    let is_acknowledged = !in_flight.pending.awaits(&m.task);
                    TaskFacts { task: m.task, is_acknowledged, phase, since_ms, is_blocked: m.is_blocked() }
                })
                .collect();
            for stuck in stuck(now, stuck_after_ms, in_flight.triggered_ms, &self.edges, &facts) {
                let vertex = self.master.job.plan.vertices.get(stuck.task.vertex);
                found.push(StuckSubtask {
                    checkpoint_id: in_flight.checkpoint_id(),
                    stuck,
                    operator: vertex.map_or_else(String::new, |v| v.name.clone()),
                });
            }
        }
        self.reported.report(&self.master.job, &found);
        self.master.alarms.set(found);
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
        if snapshot.trigger == SnapshotTrigger::Stop {
            self.stopped_with = Some(snapshot.location.clone());
        }
        if stops {
            self.committing = Some((snapshot.checkpoint_id, self.execution.sinks().iter().copied().collect()));
        }
        // A savepoint in between publishes nothing: users may delete it, and then what it published would be repeated.
        // Its committables stay pending for the next checkpoint. (Flink since 1.15, FLIP-203.)
        if snapshot.kind == SnapshotKind::Checkpoint || stops {
            self.execution.complete(snapshot.checkpoint_id);
        }
        if snapshot.kind == SnapshotKind::Checkpoint {
            self.note_checkpoint_for_upgrade();
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
                operator: None,
            }),
        }
    }

    /// The end of the attempt if more checkpoints in a row failed than the job outlives.
    fn intolerable(&self) -> Option<Exit> {
        let failures = self.checkpoints.intolerable_failures()?;
        let message = format!(
            "{failures} checkpoints in a row have failed, more than the job's tolerable-failed-checkpoints: look at the job's checkpoint statistics for the reasons"
        );
        Some(Exit::Failed { error: Error::unavailable("checkpoints_failed", message), task: None, operator: None })
    }

    fn reached_goal(&self) -> Option<Exit> {
        let committed = self.committing.as_ref().is_some_and(|(_, sinks)| sinks.is_empty());
        match self.goal {
            Goal::Shutdown if committed => Some(Exit::Suspended),
            Goal::EndOfInput if committed => Some(Exit::Finished),
            Goal::Stop if committed => {
                crash::point("stop-8-committed");
                Some(Exit::Stopped)
            }
            _ => self.shutdown_by_ms.filter(|at| now_ms() >= *at).map(|_| Exit::Suspended),
        }
    }

    async fn request_next(&mut self) -> Result<()> {
        let now = now_ms();
        if self.reading.is_empty() {
            if let Some((spec, reply)) = self.draining.take() {
                let requested = self.checkpoints.request(&spec, true).await;
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
                    self.checkpoints.request(&SnapshotSpec::checkpoint(SnapshotTrigger::EndOfInput), true).await
                {
                    self.give_up_if_fenced(error)?;
                    self.last_retry_ms = Some(now + LAST_CHECKPOINT_RETRY_MS);
                }
            }
        } else if self.goal == Goal::None
            && self.checkpoints.next_periodic_ms().is_some_and(|due| now >= due)
            && let Err(error) =
                self.checkpoints.request(&SnapshotSpec::checkpoint(SnapshotTrigger::Periodic), false).await
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
