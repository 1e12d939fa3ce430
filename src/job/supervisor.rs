//! Finds jobs that should run and that nobody owns, and keeps the leases of those that run here.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::alarms::Alarms;
use super::command::COMMAND_CAPACITY;
use super::master::Master;
use super::{Command, Context, RunningJob, operations};
use crate::clock::now_ms;
use crate::error::Result;
use crate::id::JobId;
use crate::metadata::{DesiredStatus, Job, Lease};
use crate::runtime::metrics::ExecutionMetrics;

/// How often it looks for jobs without being woken, ms.
const SCAN_MS: u64 = 1_000;
/// Jobs taken in one look.
const SCAN_LIMIT: u32 = 64;

/// Runs until `stop`; then lets every job take a last checkpoint and waits for all masters.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut masters: JoinSet<JobId> = JoinSet::new();
    let sweeper = tokio::spawn(operations::keep_sweeping(Arc::clone(&context), stop.clone()));
    let lease = Duration::from_millis((context.settings.lease_ms / 3).max(1));
    let mut renew = tokio::time::interval(lease);
    let mut scan = tokio::time::interval(Duration::from_millis(SCAN_MS));
    renew.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    scan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = masters.join_next() => forget(&context, ended),
            _ = renew.tick() => renew_leases(&context).await,
            () = context.wake.notified() => take_jobs(&context, &mut masters).await,
            _ = scan.tick() => take_jobs(&context, &mut masters).await,
        }
    }
    if let Err(panic) = sweeper.await {
        tracing::error!(%panic, "looking after savepoints panicked");
    }
    shut_down(&context);
    // Leases must outlast the last checkpoints.
    loop {
        tokio::select! {
            ended = masters.join_next() => match ended {
                None => break,
                Some(ended) => forget(&context, ended),
            },
            // A master that was busy, or has begun another attempt, is told again.
            _ = scan.tick() => shut_down(&context),
            _ = renew.tick() => renew_leases(&context).await,
        }
    }
}

fn shut_down(context: &Context) {
    for job in all_running(context) {
        let _ = job.commands.try_send(Command::Shutdown);
    }
}

fn all_running(context: &Context) -> Vec<RunningJob> {
    context.running.lock().expect("no panic while held").values().cloned().collect()
}

fn forget(context: &Context, ended: Result<JobId, tokio::task::JoinError>) {
    match ended {
        Ok(id) => {
            context.running.lock().expect("no panic while held").remove(&id);
        }
        // The job's entry stays, so that this process does not take it again; its lease ends with the process.
        Err(panic) => tracing::error!(%panic, "a job's master panicked"),
    }
    context.changed.notify_waiters();
    context.wake.notify_one();
}

async fn take_jobs(context: &Arc<Context>, masters: &mut JoinSet<JobId>) {
    let running: Vec<JobId> = context.running.lock().expect("no panic while held").keys().copied().collect();
    let owner = context.owner();
    let found = context.metadata.jobs_to_run(&owner, &running, now_ms(), SCAN_LIMIT).await;
    let ids = match found {
        Ok(ids) => ids,
        Err(error) => return tracing::warn!(%error, "looking for jobs to run failed"),
    };
    for id in ids {
        match context.metadata.acquire_job(id, &owner, context.settings.lease_ms, now_ms()).await {
            Ok(Some((job, lease))) => start_master(context, masters, job, lease),
            Ok(None) => {}
            Err(error) => tracing::error!(job.id = %id, %error, "taking a job failed"),
        }
    }
}

fn start_master(context: &Arc<Context>, masters: &mut JoinSet<JobId>, job: Job, lease: Lease) {
    let (commands, receiver) = mpsc::channel(COMMAND_CAPACITY);
    let metrics = Arc::new(Mutex::new(ExecutionMetrics::default()));
    let alarms = Alarms::default();
    let id = job.id;
    context
        .running
        .lock()
        .expect("no panic while held")
        .insert(id, RunningJob { commands, metrics: Arc::clone(&metrics), alarms: alarms.clone() });
    let master = Master {
        context: Arc::clone(context),
        job,
        lease,
        commands: receiver,
        metrics,
        alarms,
        upgrade: None,
        since_ms: now_ms(),
    };
    masters.spawn(async move {
        // A defect in one job's master is that job's alone: it is taken again, as another attempt.
        if AssertUnwindSafe(master.run()).catch_unwind().await.is_err() {
            tracing::error!(job.id = %id, "the job's master panicked");
            tokio::time::sleep(Duration::from_millis(SCAN_MS)).await;
        }
        id
    });
}

/// Renews; a job that is not among the renewed is somebody else's now. Notices cancels that another instance stored.
async fn renew_leases(context: &Context) {
    let running: Vec<(JobId, RunningJob)> =
        context.running.lock().expect("no panic while held").iter().map(|(id, job)| (*id, job.clone())).collect();
    if running.is_empty() {
        return;
    }
    let held = match context.metadata.renew_leases(&context.owner(), context.settings.lease_ms, now_ms()).await {
        Ok(held) => held,
        Err(error) => return tracing::warn!(%error, "renewing leases failed"),
    };
    // One that another instance stored, or whose message was lost.
    let to_upgrade = context.metadata.jobs_to_upgrade(&context.owner()).await.unwrap_or_default();
    for (id, job) in running {
        if to_upgrade.contains(&id) {
            let _ = job.commands.try_send(Command::Upgrade);
        }
        if !held.contains(&id) {
            // A master that has just ended its job is gone from the list too; the message then goes nowhere.
            let _ = job.commands.try_send(Command::Fenced);
        } else if let Ok(row) = context.metadata.job(id).await
            && row.desired == DesiredStatus::Canceled
        {
            let _ = job.commands.try_send(Command::Cancel);
        }
    }
}
