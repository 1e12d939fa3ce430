//! Figures of running subtasks: written by the subtask without locks, read by the API at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::TaskId;

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
        })
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
