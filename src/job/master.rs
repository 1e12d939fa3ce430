//! One job's master: runs its attempts one after another until the job has ended, or is somebody else's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use super::alarms::Alarms;
use super::attempt::{Exit, execute};
use super::prepare::{clean, prepare};
use super::restart::{RestartDecision, RestartTracker};
use super::retry::retry;
use super::status::sources_of;
use super::{Command, Context};
use crate::clock::now_ms;
use crate::error::Error;
use crate::id::OperatorId;
use crate::metadata::{
    DesiredStatus, FailedTask, Job, JobException, JobStatus, Lease, OnCancel, Upgrade, UpgradeStatus,
};
use crate::runtime::TaskId;
use crate::runtime::execution::vertex_parallelism;
use crate::runtime::metrics::ExecutionMetrics;

/// See the module text.
pub struct Master {
    pub context: Arc<Context>,
    pub job: Job,
    pub lease: Lease,
    pub commands: mpsc::Receiver<Command>,
    pub metrics: Arc<Mutex<ExecutionMetrics>>,
    /// The job's active upgrade, as of the newest look.
    pub upgrade: Option<Upgrade>,
    /// When this process took the job.
    pub since_ms: i64,
    pub alarms: Alarms,
}

impl Master {
    /// Runs until the job has ended or must be left.
    pub async fn run(mut self) {
        let mut restarts = RestartTracker::new(self.job.settings.restart.clone());
        loop {
            let exit = self.attempt().await;
            self.metrics.lock().expect("no panic while held").tasks.clear();
            self.alarms.set(Vec::new());
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
        if let Err(error) = self.load_upgrade().await {
            return Exit::Failed { error, task: None, operator: None };
        }
        if self.upgrade_is_over() {
            return Exit::UpgradeOver;
        }
        let left_ms = self.upgrade_deadline_ms().map(|at| at.saturating_sub(now_ms()));
        let limit = left_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        let prepared = {
            let preparing = prepare(&self.context, &self.job, &self.lease);
            tokio::pin!(preparing);
            let over = tokio::time::sleep(limit.unwrap_or_default());
            tokio::pin!(over);
            loop {
                tokio::select! {
                    biased;
                    command = self.commands.recv() => if let Some(exit) = refuse(command) { return exit },
                    prepared = &mut preparing => break prepared,
                    () = &mut over, if limit.is_some() => return Exit::UpgradeOver,
                }
            }
        };
        let exit = match prepared {
            Ok(prepared) => execute(self, prepared).await,
            Err(error) => Exit::Failed { error, task: None, operator: None },
        };
        // The next attempt does it too.
        clean(&self.context.job_dir(self.job.id)).await;
        exit
    }

    /// Writes what the exit means; answers whether another attempt follows.
    async fn conclude(&mut self, exit: Exit, restarts: &mut RestartTracker) -> bool {
        let id = self.job.id;
        match exit {
            Exit::Stopped if self.upgrade_status() == Some(UpgradeStatus::Savepoint) => {
                return self.switch(restarts).await;
            }
            Exit::UpgradeOver => {
                let reason = "it did not complete a checkpoint within the limit";
                return self.roll_back(reason, restarts).await;
            }
            Exit::Finished => self.end(JobStatus::Finished, None).await,
            Exit::Stopped => {
                self.end(JobStatus::Finished, None).await;
                crate::crash::point("stop-9-ended");
            }
            Exit::Canceled => self.end(JobStatus::Canceled, None).await,
            Exit::Suspended => self.suspend().await,
            Exit::Fenced => {
                self.forget_local_files().await;
                tracing::warn!(job.id = %id, attempt = self.job.attempt, "job is owned by another instance; stopped here")
            }
            Exit::Failed { error, task, operator } => {
                let task = task.map(|t| self.failed_task(t, operator));
                return self.failed(error, task, restarts).await;
            }
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

    /// The job does not go on here: what is on the working disk is of no use.
    async fn forget_local_files(&self) {
        let _ = tokio::fs::remove_dir_all(self.context.job_dir(self.job.id)).await;
    }

    pub(super) async fn end(&mut self, status: JobStatus, failure: Option<&str>) {
        self.fail_upgrade(&format!("the job is {status}")).await;
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
        self.forget_local_files().await;
        if self.set_status(status, failure).await {
            tracing::info!(job.id = %self.job.id, job.name = self.job.name, %status, "job ended");
        }
    }

    /// False if the job is not ours any more, or the database stays away (then the lease ends and the job is found again).
    pub(super) async fn set_status(&self, to: JobStatus, failure: Option<&str>) -> bool {
        let set = retry!(self.context.metadata.set_status(&self.lease, sources_of(to), to, failure, now_ms()));
        match set {
            Ok(set) => set,
            Err(error) => {
                tracing::error!(job.id = %self.job.id, %error, status = %to, "storing the job's status failed");
                false
            }
        }
    }

    async fn failed(&mut self, error: Error, task: Option<FailedTask>, restarts: &mut RestartTracker) -> bool {
        let now = now_ms();
        tracing::error!(job.id = %self.job.id, job.name = self.job.name, attempt = self.job.attempt, task = task.as_ref().map(tracing::field::display), operator = task.as_ref().and_then(|t| t.operator.as_deref()), %error, "job failed");
        let text = error.to_string();
        let (kind, stop_failed) = (error.kind, error.code == "stop_failed");
        let exception = JobException { job_id: self.job.id, attempt: self.job.attempt, at_ms: now, error, task };
        if let Err(error) = self.context.metadata.insert_exception(&exception).await {
            tracing::warn!(job.id = %self.job.id, %error, "storing the failure failed");
        }
        if stop_failed {
            self.fail_upgrade(&text).await;
        }
        let decision = restarts.failed(now, crate::id::random_jitter());
        let next_try_ms = match decision {
            RestartDecision::After(delay_ms) => now.saturating_add(i64::try_from(delay_ms).unwrap_or(i64::MAX)),
            RestartDecision::GiveUp => i64::MAX,
        };
        // A checkpoint may have been published meanwhile.
        if self.load_upgrade().await.is_ok() && self.fails_upgrade(kind, next_try_ms) {
            return self.roll_back(&text, restarts).await;
        }
        let RestartDecision::After(delay_ms) = decision else {
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

    pub(super) async fn acquire_again(&mut self) -> bool {
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

    fn failed_task(&self, task: TaskId, operator: Option<OperatorId>) -> FailedTask {
        let vertex = self.job.plan.vertices.get(task.vertex);
        let operators = vertex.iter().flat_map(|v| &v.operators);
        FailedTask {
            vertex: vertex.map_or_else(String::new, |v| v.name.clone()),
            operator: operators.into_iter().find(|o| Some(o.id) == operator).map(|o| o.name.clone()),
            subtask: task.subtask as u64,
            parallelism: vertex_parallelism(vertex.and_then(|v| v.parallelism), self.job.settings.parallelism) as u64,
        }
    }
}

/// A command to a job whose subtasks do not run (yet): the exit that it means, if any.
fn refuse(command: Option<Command>) -> Option<Exit> {
    match command {
        Some(Command::Cancel) => Some(Exit::Canceled),
        Some(Command::Shutdown) | None => Some(Exit::Suspended),
        Some(Command::Fenced) => Some(Exit::Fenced),
        // It is looked for when the job runs.
        Some(Command::Upgrade) => None,
        Some(Command::Snapshot { reply, .. }) => {
            // The asker may have gone; then nobody needs the answer.
            let _ = reply.send(Err(not_running()));
            None
        }
    }
}

pub(super) fn not_running() -> Error {
    Error::conflict("job_not_running", "the job is starting or restarting; try again when it is RUNNING")
}
