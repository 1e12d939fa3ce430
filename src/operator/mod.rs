//! Operators: what a chain does to a batch. One file each.
//!
//! Operators are driven by one subtask thread: no locks, no async. They push into a [`Collector`], which is the next
//! operator of the chain or the vertex's outputs.
//!
//! Invariant: answers do not depend on batching. What a record does is decided as if records came one by one: the
//! source cuts a batch before any record that could be late, so within a batch no watermark matters.

pub mod aggregate;
pub mod calc;
pub mod current_watermark;
pub mod event_time;
pub mod expand;
pub mod group_aggregate;
#[cfg(test)]
mod harness;
pub mod join;
pub mod keep_first;
pub mod key_hasher;
pub mod late;
pub mod match_recognize;
pub mod replicate;
pub mod session;
pub mod temporal_sort;
#[cfg(test)]
mod test_subtasks;
#[cfg(test)]
mod test_support;
pub mod top_n;
pub mod unnest;
pub mod window;
pub mod window_aggregate;
pub mod window_buffer;
pub mod window_join;
pub mod window_rank;
pub mod window_table;

use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::graph::OperatorKind;
use crate::state::StateSnapshot;
use crate::types::Schema;

/// Event time in ms since the epoch, before which no more records are expected. `i64::MIN` = none yet, `MAX_WATERMARK` = end.
pub type Watermark = i64;
/// Sent at end of input: every window fires.
pub const MAX_WATERMARK: Watermark = i64::MAX;

/// Where an operator's output goes.
pub trait Collector {
    /// Passes rows on; empty batches are dropped by the receiver.
    fn batch(&mut self, batch: RecordBatch) -> Result<()>;
    /// Passes event time on; never decreasing.
    fn watermark(&mut self, watermark: Watermark) -> Result<()>;
    /// Whether anybody reads late records.
    fn wants_late(&self) -> bool {
        false
    }
    /// Takes late records ([`crate::graph::late_schema`]).
    fn late(&mut self, records: RecordBatch) -> Result<()> {
        let _ = records;
        Ok(())
    }
}

/// What an operator adds to a snapshot.
#[derive(Debug, Default)]
pub struct OperatorSnapshot {
    /// Keyed state: a local image, to be uploaded.
    pub keyed: Option<StateSnapshot>,
    /// Small non-keyed state (operator's own versioned JSON); on restore every subtask gets all subtasks' values.
    pub operator_state: Option<serde_json::Value>,
}

/// One operator of one subtask.
pub trait Operator: Send {
    /// Takes rows of an input: 0 for all but operators with two inputs (left 0, right 1). Rows of a changelog carry
    /// their kinds in a last column (see [`crate::types::row_kind`]); without it all are insertions.
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()>;
    /// Takes the combined event time of the inputs; must pass a watermark on.
    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        out.watermark(watermark)
    }
    /// The synchronous part of a checkpoint: writes dirty state back and takes a local image.
    fn snapshot(&mut self, checkpoint_id: u64) -> Result<OperatorSnapshot> {
        let _ = checkpoint_id;
        Ok(OperatorSnapshot::default())
    }
    /// Figures since the operator was opened.
    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics::default()
    }
}

/// What the stored form of an operator's keyed state depends on, where that can be told from the plan; state of another
/// layout is refused when it is opened.
pub fn stored_layout(kind: &OperatorKind, input: &Schema) -> Result<Option<String>> {
    match kind {
        OperatorKind::WindowAggregate(spec) => window_aggregate::layout(spec, input).map(Some),
        _ => Ok(None),
    }
}

/// Figures of an operator since it was opened; names as in Flink.
#[derive(Debug, Clone, Copy, Default)]
pub struct OperatorMetrics {
    /// `numLateRecordsDropped`.
    pub late_records_dropped: u64,
    /// Bytes of keyed state held in memory.
    pub state_memory_bytes: u64,
}
