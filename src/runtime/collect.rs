//! The sink of an ad-hoc query: hands batches to whoever reads the result. Not durable, not transactional.

use arrow::record_batch::RecordBatch;
use serde_json::Value;
use tokio::sync::mpsc;

use super::channel::cancelled;
use crate::connector::SinkWriter;
use crate::error::Result;

/// Batches that wait for a slow reader before the query's subtasks wait.
pub const COLLECT_CAPACITY: usize = 16;

/// See the module text.
pub struct CollectWriter {
    rows: mpsc::Sender<RecordBatch>,
}

impl CollectWriter {
    /// Writes into `rows`.
    pub fn new(rows: mpsc::Sender<RecordBatch>) -> Self {
        CollectWriter { rows }
    }
}

impl SinkWriter for CollectWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.blocking_send(batch.clone()).map_err(|_| cancelled())
    }
    fn prepare_commit(&mut self, _checkpoint_id: u64) -> Result<Vec<Value>> {
        Ok(Vec::new())
    }
    fn commit(&mut self, _committables: &[Value]) -> Result<()> {
        Ok(())
    }
    fn discard_stale(&mut self) -> Result<()> {
        Ok(())
    }
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}
