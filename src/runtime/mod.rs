//! The data plane: subtask threads, the channels between them, and the barriers that flow through.
//!
//! One operating-system thread per subtask: RocksDB and file reads block, and a blocked subtask must not hold up
//! another. Threads talk through bounded channels (full = backpressure) and report to their job through one event
//! queue. This module knows no metadata, no store and no checkpoint protocol: it turns "trigger checkpoint 7" into
//! barriers, and barriers into acknowledgements that carry local images.
//!
//! Invariants: 1. elements of one channel are never reordered; 2. a snapshot contains the effect of exactly the elements
//! before its barrier on every input (aligned mode); 3. subtasks stay alive after the end of input, so that the last
//! checkpoint passes through all of them; 4. a panic or an error of one subtask is one `Failed` event, never more.
//!
//! Source: Carbone et al., "Lightweight Asynchronous Snapshots for Distributed Dataflows" (2015), aligned variant.

pub mod chain;
pub mod channel;
pub mod collect;
pub mod execution;
pub mod metrics;
pub mod sink;
pub mod source;
pub mod task;
pub mod watermark;

use crate::error::Error;
use crate::id::OperatorId;
use crate::operator::{OperatorSnapshot, Watermark};

pub use execution::{Execution, ExecutionSpec, RestoredOperator};

/// Batches that a channel holds before its sender waits. Small, so that barriers pass quickly under backpressure.
pub const CHANNEL_CAPACITY: usize = 4;
/// How often a blocked sender looks whether its job was cancelled, ms.
pub const CANCEL_CHECK_MS: u64 = 50;

/// What travels between subtasks.
#[derive(Debug, Clone)]
pub enum Element {
    Batch(arrow::record_batch::RecordBatch),
    Watermark(Watermark),
    /// The sender has no input for now: leave it out of the combined watermark (`true`) or count it again (`false`).
    Idle(bool),
    Barrier(Barrier),
}

/// The mark that separates the records of one checkpoint from those of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    pub checkpoint_id: u64,
    /// Sources read nothing after it: the job is about to stop.
    pub stops: bool,
}

/// What a job tells its subtasks.
#[derive(Debug, Clone, Copy)]
pub enum Control {
    /// Sources: emit a barrier now.
    Trigger(Barrier),
    /// Sources: behave as if the input had ended (stop with drain).
    Drain,
    /// The checkpoint is published: sinks commit what it covers.
    Complete { checkpoint_id: u64 },
}

/// A subtask's place in its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    pub vertex: usize,
    pub subtask: usize,
}

/// What subtasks tell their job.
#[derive(Debug)]
pub enum TaskEvent {
    /// Operators are open and state is restored.
    Running { task: TaskId },
    /// A barrier passed; the local images are taken.
    Acknowledge {
        task: TaskId,
        checkpoint_id: u64,
        snapshots: Vec<(OperatorId, OperatorSnapshot)>,
        alignment_ms: u64,
        sync_ms: u64,
    },
    /// A sink subtask published everything up to this checkpoint.
    Committed { task: TaskId, checkpoint_id: u64 },
    /// A source subtask has read all its input (or was drained).
    SourceFinished { task: TaskId },
    /// The subtask failed and is gone.
    Failed {
        task: TaskId,
        /// The operator of its chain, where known.
        operator: Option<OperatorId>,
        error: Error,
    },
}
