//! The sink of an ad-hoc query: hands batches to whoever reads the result. Not durable, not transactional.

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::channel::{CancelFlag, cancelled};
use crate::connector::SinkWriter;
use crate::error::Result;

/// Batches that wait for a slow reader before the query's subtasks wait.
pub const COLLECT_CAPACITY: usize = 16;

/// Pause before a full queue is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// See the module text.
pub struct CollectWriter {
    rows: mpsc::Sender<RecordBatch>,
    cancel: CancelFlag,
}

impl CollectWriter {
    /// Writes into `rows`; a cancel ends the wait for a slow reader.
    pub fn new(rows: mpsc::Sender<RecordBatch>, cancel: CancelFlag) -> Self {
        CollectWriter { rows, cancel }
    }
}

impl SinkWriter for CollectWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut batch = batch.clone();
        loop {
            match self.rows.try_send(batch) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => return Err(cancelled()),
                Err(TrySendError::Full(_)) if self.cancel.is_cancelled() => return Err(cancelled()),
                Err(TrySendError::Full(back)) => {
                    batch = back;
                    std::thread::sleep(FULL_PAUSE);
                }
            }
        }
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
