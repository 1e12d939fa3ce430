//! Figures of running subtasks: written by the subtask without locks (but a few times for each checkpoint), read by the API at any time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::TaskId;
use crate::clock::now_ms;

/// One subtask's figures; names as in Flink's metric reference.
#[derive(Debug)]
pub struct TaskMetrics {
    pub task: TaskId,
    pub vertex_name: String,
    pub records_in: AtomicU64,
    pub records_out: AtomicU64,
    pub bytes_in: AtomicU64,
    pub late_records_dropped: AtomicU64,
    pub skipped_records: AtomicU64,
    /// ms since the epoch; `i64::MIN` = none yet.
    pub current_watermark: AtomicI64,
    /// Time spent waiting for a full output channel, µs.
    pub back_pressured_us: AtomicU64,
    pub state_memory_bytes: AtomicU64,
    /// Since when it waits for a full output channel, ms since the epoch; `i64::MIN` = it does not.
    pub blocked_since_ms: AtomicI64,
    checkpoint: Mutex<(CheckpointPhase, i64)>,
}

/// What a subtask does for the checkpoint that it has not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckpointPhase {
    /// Nothing: its first barrier has not come.
    Barrier,
    /// Waits for the barriers of its other inputs.
    Alignment,
    /// Stands still while it takes its snapshot.
    Synchronous,
}

impl CheckpointPhase {
    /// For logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckpointPhase::Barrier => "barrier",
            CheckpointPhase::Alignment => "alignment",
            CheckpointPhase::Synchronous => "synchronous",
        }
    }
}

impl TaskMetrics {
    /// All zero.
    pub fn new(task: TaskId, vertex_name: &str) -> Arc<Self> {
        Arc::new(TaskMetrics {
            task,
            vertex_name: vertex_name.to_owned(),
            records_in: AtomicU64::new(0),
            records_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            late_records_dropped: AtomicU64::new(0),
            skipped_records: AtomicU64::new(0),
            current_watermark: AtomicI64::new(i64::MIN),
            back_pressured_us: AtomicU64::new(0),
            state_memory_bytes: AtomicU64::new(0),
            blocked_since_ms: AtomicI64::new(i64::MIN),
            checkpoint: Mutex::new((CheckpointPhase::Barrier, i64::MIN)),
        })
    }
    /// Notes what it does for a checkpoint from now on.
    pub fn enter(&self, phase: CheckpointPhase) {
        *self.checkpoint.lock().expect("no panic while held") = (phase, now_ms());
    }
    /// What it does for a checkpoint, and since when, ms.
    pub fn checkpoint_phase(&self) -> (CheckpointPhase, i64) {
        *self.checkpoint.lock().expect("no panic while held")
    }
    /// Whether it waits for room in an output channel.
    pub fn is_blocked(&self) -> bool {
        self.blocked_since_ms.load(Ordering::Relaxed) != i64::MIN
    }
    /// Adds to a counter that only this subtask writes.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// The figures of all subtasks of an execution.
#[derive(Debug, Clone, Default)]
pub struct ExecutionMetrics {
    pub tasks: Vec<Arc<TaskMetrics>>,
}
