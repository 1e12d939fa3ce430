//! Figures of running subtasks: written by the subtask without locks (but a few times for each checkpoint), read by the API at any time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::TaskId;
use crate::clock::now_ms;

/// Barriers that a source remembers: more than there are checkpoints between two completed ones, unless very many fail.
const MAX_BARRIERS: usize = 256;

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
    /// Of a source: by checkpoint id, how many records came before its barrier. A short critical section, once a barrier.
    barriers: Mutex<VecDeque<(u64, u64)>>,
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
            barriers: Mutex::default(),
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
    /// Notes that a source emits a checkpoint's barrier now.
    pub fn note_barrier(&self, checkpoint_id: u64) {
        if let Ok(mut barriers) = self.barriers.lock() {
            if barriers.len() == MAX_BARRIERS {
                barriers.pop_front();
            }
            barriers.push_back((checkpoint_id, self.records_in.load(Ordering::Relaxed)));
        }
    }
    /// Records that a source has read since a checkpoint's barrier; since the attempt's start, if the checkpoint is not
    /// this attempt's.
    pub fn records_after(&self, checkpoint_id: Option<u64>) -> u64 {
        let at = checkpoint_id.and_then(|id| {
            let barriers = self.barriers.lock().ok()?;
            barriers.iter().rev().find(|(barrier, _)| *barrier == id).map(|(_, records)| *records)
        });
        self.records_in.load(Ordering::Relaxed).saturating_sub(at.unwrap_or(0))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_after_a_barrier_are_those_that_a_crash_would_read_again() {
        let metrics = TaskMetrics::new(TaskId { vertex: 0, subtask: 0 }, "source");
        let read = |n| TaskMetrics::add(&metrics.records_in, n);
        read(10);
        assert_eq!(metrics.records_after(Some(7)), 10, "the checkpoint is an earlier attempt's");
        metrics.note_barrier(8);
        read(5);
        metrics.note_barrier(9);
        read(2);
        assert_eq!([None, Some(7), Some(8), Some(9)].map(|id| metrics.records_after(id)), [17, 17, 7, 2]);
        (10..1_000).for_each(|id| metrics.note_barrier(id));
        assert_eq!(metrics.barriers.lock().unwrap().len(), MAX_BARRIERS);
        assert_eq!(metrics.records_after(Some(999)), 0);
    }
}
