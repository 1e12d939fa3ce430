//! One checkpoint in progress, and when to start the next: pure decisions from observed facts.

use std::collections::HashSet;

use crate::metadata::CheckpointFailureReason;

/// What to do about a checkpoint in progress.
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Decision {
    /// Acknowledgements or uploads are missing.
    Wait,
    /// Everything is stored: write the manifest and publish.
    Publish,
    /// Give it up.
    Abort(AbortReason),
}

/// Why a checkpoint is given up.
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum AbortReason {
    /// Not complete within the timeout.
    Expired,
    /// An upload failed.
    Upload(String),
    /// The manifest could not be stored.
    Manifest(String),
    /// A subtask failed, and with it the attempt.
    TaskFailed,
    /// The service shuts down.
    Suspended,
    /// The job ended, or another instance took it.
    JobEnded,
}

impl AbortReason {
    /// Flink's name.
    pub fn reason(&self) -> CheckpointFailureReason {
        match self {
            AbortReason::Expired => CheckpointFailureReason::Expired,
            AbortReason::Upload(_) => CheckpointFailureReason::AsyncException,
            AbortReason::Manifest(_) => CheckpointFailureReason::FinalizeFailure,
            AbortReason::TaskFailed => CheckpointFailureReason::TaskFailure,
            AbortReason::Suspended => CheckpointFailureReason::CoordinatorSuspend,
            AbortReason::JobEnded => CheckpointFailureReason::CoordinatorShutdown,
        }
    }
}

impl std::fmt::Display for AbortReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AbortReason::Expired => f.write_str("checkpoint expired before completing"),
            AbortReason::Upload(why) => write!(f, "asynchronous task checkpoint failed: {why}"),
            AbortReason::Manifest(why) => write!(f, "failure to finalize checkpoint: {why}"),
            AbortReason::TaskFailed => f.write_str("a subtask failed before the checkpoint completed"),
            AbortReason::Suspended => f.write_str("the service shut down before the checkpoint completed"),
            AbortReason::JobEnded => f.write_str("the job ended before the checkpoint completed"),
        }
    }
}

/// Which subtasks still owe what.
#[derive(Debug)]
pub struct Pending<T> {
    unacknowledged: HashSet<T>,
    uploading: usize,
    deadline_ms: i64,
    failed: Option<String>,
}

impl<T: std::hash::Hash + Eq> Pending<T> {
    /// Waits for all `tasks` until `deadline_ms`.
    pub fn new(tasks: impl IntoIterator<Item = T>, deadline_ms: i64) -> Self {
        Pending { unacknowledged: tasks.into_iter().collect(), uploading: 0, deadline_ms, failed: None }
    }
    /// A subtask acknowledged; its upload starts. False if it was not expected (again).
    pub fn acknowledge(&mut self, task: &T) -> bool {
        // Not as `self.uploading += usize::from(removed)`: rustc 1.95 loses that addition when it optimises.
        if !self.unacknowledged.remove(task) {
            return false;
        }
        self.uploading += 1;
        true
    }
    /// A subtask's upload ended.
    pub fn uploaded(&mut self, result: Result<(), String>) {
        self.uploading = self.uploading.saturating_sub(1);
        if let Err(why) = result {
            self.failed.get_or_insert(why);
        }
    }
    /// Whether this one did not acknowledge yet.
    pub fn awaits(&self, task: &T) -> bool {
        self.unacknowledged.contains(task)
    }
    /// When it expires.
    pub fn deadline_ms(&self) -> i64 {
        self.deadline_ms
    }
    /// What to do now.
    pub fn decide(&self, now_ms: i64) -> Decision {
        if let Some(why) = &self.failed {
            Decision::Abort(AbortReason::Upload(why.clone()))
        } else if self.unacknowledged.is_empty() && self.uploading == 0 {
            Decision::Publish
        } else if now_ms >= self.deadline_ms {
            Decision::Abort(AbortReason::Expired)
        } else {
            Decision::Wait
        }
    }
}

/// When the next periodic checkpoint is due, ms: an interval after the last trigger, and at least the minimum pause
/// after the last end. `None` = never (switched off).
pub fn next_trigger_ms(
    interval_ms: u64,
    min_pause_ms: u64,
    last_trigger_ms: i64,
    last_end_ms: Option<i64>,
) -> Option<i64> {
    let plus = |t: i64, d: u64| t.saturating_add(i64::try_from(d).unwrap_or(i64::MAX));
    let due = plus(last_trigger_ms, interval_ms);
    (interval_ms > 0).then(|| last_end_ms.map_or(due, |end| due.max(plus(end, min_pause_ms))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_only_when_every_subtask_acknowledged_and_uploaded() {
        let mut p = Pending::new([1, 2], 100);
        assert_eq!(p.decide(0), Decision::Wait);
        assert!(p.acknowledge(&1));
        assert!(!p.acknowledge(&1), "a second acknowledgement does not count");
        assert!(p.acknowledge(&2));
        assert_eq!(p.decide(0), Decision::Wait);
        p.uploaded(Ok(()));
        assert_eq!(p.decide(99), Decision::Wait);
        p.uploaded(Ok(()));
        assert_eq!(p.decide(101), Decision::Publish);
    }

    #[test]
    fn aborts_when_late_or_when_an_upload_fails() {
        let mut p = Pending::new([1, 2], 100);
        assert_eq!(p.decide(100), Decision::Abort(AbortReason::Expired));
        p.acknowledge(&1);
        p.uploaded(Err("disk full".into()));
        assert_eq!(p.decide(0), Decision::Abort(AbortReason::Upload("disk full".into())));
    }

    #[test]
    fn the_next_trigger_respects_interval_and_pause() {
        assert_eq!(next_trigger_ms(0, 0, 5, None), None);
        assert_eq!(next_trigger_ms(1000, 0, 5, None), Some(1005));
        assert_eq!(next_trigger_ms(1000, 500, 0, Some(900)), Some(1400));
        assert_eq!(next_trigger_ms(1000, 500, 0, Some(100)), Some(1000));
    }
}
