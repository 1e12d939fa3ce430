//! Waiting until a job or snapshot is where the user wants it.
//!
//! What an answer means is a pure decision ([`job_step`], [`snapshot_step`]); asking again is one loop. A service that
//! does not answer meanwhile (it may have been killed and come back) is asked again until the time is over.

use std::time::Duration;

use super::client::Client;
use super::failure::{Exit, Failure};
use super::progress::Progress;
use super::units::Millis;
use crate::api::model::{JobView, ProgressView, SnapshotView};
use crate::api::savepoints::operations::OperationView;
use crate::metadata::{JobStatus, OperationStatus, SnapshotKind, SnapshotStatus};

/// Shortest and longest time between two looks.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The flags of commands that can wait.
#[derive(Debug, Clone, clap::Args)]
pub struct WaitArgs {
    /// Wait until it is done
    #[arg(long)]
    pub wait: bool,
    /// Longest time to wait; then the command fails with exit code 5 while the service goes on
    #[arg(long, value_name = "DURATION", default_value = "10min")]
    pub wait_timeout: Millis,
}

/// Where a job is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Running, or finished already.
    Running,
    /// Ended by the user or by the end of its input.
    Ended,
}

/// What a look at something means.
#[derive(Debug)]
pub enum Step {
    /// Not there yet; the text says where it is, the figures how far.
    Wait(String, Option<ProgressView>),
    Done,
    Failed(Failure),
}

/// Decides whether a job is where it is awaited.
pub fn job_step(job: &JobView, goal: Goal) -> Step {
    let reason = || job.failure.clone().unwrap_or_else(|| "no reason was stored".to_owned());
    match (job.status, goal) {
        (JobStatus::Failed, _) => {
            Step::Failed(Failure::new(Exit::Failed, "job_failed", format!("job {} failed: {}", job.id, reason())))
        }
        (JobStatus::Running, Goal::Running) | (JobStatus::Finished, _) | (JobStatus::Canceled, Goal::Ended) => {
            Step::Done
        }
        (JobStatus::Canceled, Goal::Running) => {
            Step::Failed(Failure::new(Exit::Conflict, "job_canceled", format!("job {} was cancelled", job.id)))
        }
        (JobStatus::Restarting, _) => {
            Step::Wait(format!("job {} is RESTARTING ({} restarts): {}", job.name, job.restarts, reason()), None)
        }
        (JobStatus::Initializing, _) if job.restoring.is_some() => {
            Step::Wait(format!("job {} restores its state", job.name), job.restoring)
        }
        (status, _) => Step::Wait(format!("job {} is {status}", job.name), None),
    }
}

/// Decides whether a snapshot is finished.
pub fn snapshot_step(snapshot: &SnapshotView) -> Step {
    let kind = word(snapshot.kind);
    match snapshot.status {
        SnapshotStatus::InProgress => {
            let progress = snapshot.progress.filter(|p| p.bytes_total > 0);
            Step::Wait(format!("{kind} {} is in progress", snapshot.checkpoint_id), progress)
        }
        SnapshotStatus::Completed => Step::Done,
        SnapshotStatus::Failed | SnapshotStatus::Deleting => {
            let why = snapshot.failure.as_deref().unwrap_or("it is being deleted");
            let detail = format!("{kind} {} failed: {why}", snapshot.checkpoint_id);
            Step::Failed(Failure::new(Exit::Failed, &format!("{kind}_failed"), detail))
        }
    }
}

fn word(kind: SnapshotKind) -> &'static str {
    match kind {
        SnapshotKind::Checkpoint => "checkpoint",
        SnapshotKind::Savepoint => "savepoint",
    }
}

/// Decides whether an operation has ended.
pub fn operation_step(operation: &OperationView) -> Step {
    let kind = operation.kind.as_str().to_lowercase();
    match operation.status {
        OperationStatus::InProgress => {
            let total = operation.bytes_total.filter(|total| *total > 0);
            let progress = total.map(|bytes_total| ProgressView { bytes_done: operation.bytes_done, bytes_total });
            Step::Wait(format!("the {kind} of savepoint {} is in progress", operation.savepoint_id), progress)
        }
        OperationStatus::Completed => Step::Done,
        OperationStatus::Failed => {
            let why = operation.failure.as_deref().unwrap_or("no reason was stored");
            let detail = format!("the {kind} of savepoint {} failed: {why}", operation.savepoint_id);
            Step::Failed(Failure::new(Exit::Failed, &format!("{kind}_failed"), detail))
        }
    }
}

/// Looks at an operation until it has ended.
pub async fn for_operation(
    client: &Client,
    operation: &OperationView,
    limit: Millis,
) -> Result<OperationView, Failure> {
    let progress = Progress::start(&format!("savepoint {}", operation.savepoint_id));
    let path = ["savepoints", &operation.savepoint_id, "operations", &operation.id];
    until(limit, &progress, async || client.get(&path, &[]).await, operation_step).await
}

/// Looks at a job until it is where it is awaited.
pub async fn for_job(client: &Client, id: &str, goal: Goal, limit: Millis) -> Result<JobView, Failure> {
    let progress = Progress::start("waiting for the job");
    until(limit, &progress, async || client.get(&["jobs", id], &[]).await, |job| job_step(job, goal)).await
}

/// Looks at a snapshot until it is finished.
pub async fn for_snapshot(client: &Client, snapshot: &SnapshotView, limit: Millis) -> Result<SnapshotView, Failure> {
    let progress = Progress::start(&format!("{} {} is in progress", word(snapshot.kind), snapshot.checkpoint_id));
    let number = snapshot.checkpoint_id.to_string();
    let path = match snapshot.kind {
        SnapshotKind::Checkpoint => vec!["jobs", &snapshot.job_id, "checkpoints", &number],
        SnapshotKind::Savepoint => vec!["savepoints", &snapshot.id],
    };
    until(limit, &progress, async || client.get(&path, &[]).await, snapshot_step).await
}

/// Looks at any resource until it is where it is awaited.
pub async fn for_resource<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &[&str],
    what: &str,
    limit: Millis,
    decide: impl Fn(&T) -> Step,
) -> Result<T, Failure> {
    let progress = Progress::start(what);
    until(limit, &progress, async || client.get(path, &[]).await, decide).await
}

async fn until<T>(
    limit: Millis,
    progress: &Progress,
    look: impl AsyncFn() -> Result<T, Failure>,
    decide: impl Fn(&T) -> Step,
) -> Result<T, Failure> {
    let end = tokio::time::Instant::now() + Duration::from_millis(limit.0);
    let mut pause = FIRST_PAUSE;
    loop {
        let late = match look().await {
            Ok(seen) => match decide(&seen) {
                Step::Done => return Ok(seen),
                Step::Failed(failure) => return Err(failure),
                Step::Wait(message, figures) => {
                    progress.say(&message);
                    progress.figures(figures.map(|f| (f.bytes_done, f.bytes_total)));
                    let detail = format!("{message} after {} ms; it goes on without this command", limit.0);
                    Failure::new(Exit::Unavailable, "wait_timeout", detail)
                }
            },
            Err(failure) if failure.is_transient() => {
                progress.say(&format!("the service does not answer ({}); trying again", failure.code));
                failure
            }
            Err(failure) => return Err(failure),
        };
        if tokio::time::Instant::now() + pause > end {
            return Err(late);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::cli::fixtures::{job, snapshot};

    fn outcome(step: &Step) -> &str {
        match step {
            Step::Wait(..) => "wait",
            Step::Done => "done",
            Step::Failed(failure) => &failure.code,
        }
    }

    #[test]
    fn a_job_is_awaited_until_it_runs_or_ends() {
        use JobStatus::{
            Canceled, Cancelling, Created, Failed, Finished, Initializing, Restarting, Running, Suspended,
        };
        let check = |status, running: &str, ended: &str| {
            let view = job(status);
            assert_eq!(outcome(&job_step(&view, Goal::Running)), running, "{status}");
            assert_eq!(outcome(&job_step(&view, Goal::Ended)), ended, "{status}");
        };
        check(Created, "wait", "wait");
        check(Initializing, "wait", "wait");
        check(Running, "done", "wait");
        check(Restarting, "wait", "wait");
        check(Cancelling, "wait", "wait");
        check(Suspended, "wait", "wait");
        check(Canceled, "job_canceled", "done");
        check(Failed, "job_failed", "job_failed");
        check(Finished, "done", "done");
    }

    #[test]
    fn a_snapshot_is_awaited_until_it_is_finished() {
        let check =
            |kind, status, expected: &str| assert_eq!(outcome(&snapshot_step(&snapshot(kind, status))), expected);
        check(SnapshotKind::Savepoint, SnapshotStatus::InProgress, "wait");
        check(SnapshotKind::Savepoint, SnapshotStatus::Completed, "done");
        check(SnapshotKind::Savepoint, SnapshotStatus::Failed, "savepoint_failed");
        check(SnapshotKind::Checkpoint, SnapshotStatus::Failed, "checkpoint_failed");
        check(SnapshotKind::Checkpoint, SnapshotStatus::Deleting, "checkpoint_failed");
    }

    #[tokio::test]
    async fn a_service_that_comes_back_is_waited_for() {
        let looks = Cell::new(0);
        let look = async || {
            looks.set(looks.get() + 1);
            if looks.get() < 2 { Err(Failure::new(Exit::Unavailable, "service_unreachable", "gone")) } else { Ok(()) }
        };
        until(Millis(60_000), &Progress::start(""), look, |()| Step::Done).await.unwrap();
        assert_eq!(looks.get(), 2);
        let gone = async || Err::<(), _>(Failure::new(Exit::NotFound, "job_not_found", "gone"));
        let failure = until(Millis(60_000), &Progress::start(""), gone, |()| Step::Done).await.unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
    }

    #[tokio::test]
    async fn the_wait_ends_with_its_time() {
        let look = async || Ok(());
        let wait = |(): &()| Step::Wait("it is RESTARTING".into(), None);
        let failure = until(Millis(0), &Progress::start(""), look, wait).await.unwrap_err();
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Unavailable, "wait_timeout"));
        assert!(failure.detail.starts_with("it is RESTARTING after 0 ms"), "{failure}");
    }
}
