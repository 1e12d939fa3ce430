//! What is wrong with a running job's checkpoints right now; shown among the job's warnings and in Prometheus.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::preflight::Warning;
use super::watchdog::Stuck;
use crate::clock::now_ms;
use crate::metadata::Job;
use crate::runtime::metrics::CheckpointPhase;

/// A subtask that holds up a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckSubtask {
    pub checkpoint_id: u64,
    pub stuck: Stuck,
    /// The vertex's name.
    pub operator: String,
}

impl std::fmt::Display for StuckSubtask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stuck { task, phase, since_ms } = self.stuck;
        let what = match phase {
            CheckpointPhase::Synchronous => "has been in its synchronous phase",
            CheckpointPhase::Alignment => "has waited for the barriers of its other inputs",
            CheckpointPhase::Barrier => "has not reached the barrier, being busy with the records before it,",
        };
        let seconds = now_ms().saturating_sub(since_ms) / 1000;
        write!(
            f,
            "checkpoint {}: subtask {} of '{}' {what} for {seconds} s",
            self.checkpoint_id, task.subtask, self.operator
        )
    }
}

/// Shared between a job's attempt and who asks about the job. A short critical section, never held across an await.
#[derive(Debug, Clone, Default)]
pub struct Alarms(Arc<Mutex<Vec<StuckSubtask>>>);

impl Alarms {
    /// Replaces what is wrong.
    pub fn set(&self, stuck: Vec<StuckSubtask>) {
        *self.0.lock().expect("no panic while held") = stuck;
    }
    /// What is wrong now.
    pub fn stuck(&self) -> Vec<StuckSubtask> {
        self.0.lock().expect("no panic while held").clone()
    }
}

/// Logs each stuck subtask once for each checkpoint and phase.
#[derive(Debug, Default)]
pub struct Reported(HashSet<(u64, Stuck)>);

impl Reported {
    /// Logs what is new; forgets what is over.
    pub fn report(&mut self, job: &Job, stuck: &[StuckSubtask]) {
        let now: HashSet<(u64, Stuck)> = stuck.iter().map(|s| (s.checkpoint_id, s.stuck)).collect();
        for new in stuck.iter().filter(|s| !self.0.contains(&(s.checkpoint_id, s.stuck))) {
            tracing::warn!(
                job.id = %job.id,
                checkpoint.id = new.checkpoint_id,
                operator = new.operator,
                subtask = new.stuck.task.subtask,
                phase = new.stuck.phase.as_str(),
                "a checkpoint is stuck: {new}"
            );
        }
        self.0 = now;
    }
}

/// Warnings about a job's checkpoints.
pub fn warnings(job: &Job, alarms: Option<&Alarms>) -> Vec<Warning> {
    let stuck = alarms.map(Alarms::stuck).unwrap_or_default();
    let mut warnings: Vec<Warning> =
        stuck.iter().map(|s| Warning { code: "checkpoint_stuck".into(), message: s.to_string() }).collect();
    if job.failed_checkpoints > 0 && !job.status.is_terminal() {
        let message = format!(
            "{} checkpoints have failed since the last completed one: a crash now costs more and more; the job's checkpoint statistics have the reasons",
            job.failed_checkpoints
        );
        warnings.push(Warning { code: "checkpoints_failing".into(), message });
    }
    warnings
}
