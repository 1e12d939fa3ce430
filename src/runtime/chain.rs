//! A chain: operators that pass batches to each other by a function call.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::channel::Outputs;
use super::metrics::TaskMetrics;
use crate::error::Result;
use crate::id::OperatorId;
use crate::operator::{Collector, Operator, OperatorSnapshot, Watermark};

/// One operator of a chain.
pub struct Link {
    pub id: OperatorId,
    pub operator: LinkOperator,
}

/// Operators of a chain: those that only transform, and sinks, which also commit.
pub enum LinkOperator {
    Transform(Box<dyn Operator>),
    Sink(super::sink::SinkOperator),
}

/// The operators of a subtask after its source (if it has one), and its outputs.
pub struct Chain {
    pub links: Vec<Link>,
    pub outputs: Outputs,
    pub metrics: Arc<TaskMetrics>,
    /// The operator whose error ended the subtask.
    pub failed: Option<OperatorId>,
}

/// The rest of a chain, seen from one operator.
struct Downstream<'a> {
    links: &'a mut [Link],
    outputs: &'a mut Outputs,
    failed: &'a mut Option<OperatorId>,
}

/// Notes the operator of an error: the innermost, whose error it is, comes first.
fn blame(failed: &mut Option<OperatorId>, operator: OperatorId) {
    failed.get_or_insert(operator);
}

impl Downstream<'_> {
    /// Rows for an input of the first operator.
    fn input(&mut self, input: usize, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        match self.links.split_first_mut() {
            None => self.outputs.batch(&batch),
            Some((first, links)) => {
                let mut rest = Downstream { links, outputs: self.outputs, failed: self.failed };
                let done = match &mut first.operator {
                    LinkOperator::Transform(operator) => operator.process(input, batch, &mut rest),
                    LinkOperator::Sink(sink) => sink.write(&batch),
                };
                done.inspect_err(|_| blame(self.failed, first.id))
            }
        }
    }
}

impl Collector for Downstream<'_> {
    fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        self.input(0, batch)
    }
    fn wants_late(&self) -> bool {
        self.outputs.wants_late()
    }
    fn late(&mut self, records: RecordBatch) -> Result<()> {
        self.outputs.late(&records)
    }
    fn watermark(&mut self, watermark: Watermark) -> Result<()> {
        match self.links.split_first_mut() {
            None => self.outputs.watermark(watermark),
            Some((first, links)) => {
                let mut rest = Downstream { links, outputs: self.outputs, failed: self.failed };
                let done = match &mut first.operator {
                    LinkOperator::Transform(operator) => operator.watermark(watermark, &mut rest),
                    LinkOperator::Sink(_) => rest.watermark(watermark),
                };
                done.inspect_err(|_| blame(self.failed, first.id))
            }
        }
    }
}

impl Chain {
    fn head(&mut self) -> Downstream<'_> {
        Downstream { links: &mut self.links, outputs: &mut self.outputs, failed: &mut self.failed }
    }
    /// Pushes rows into the chain; `input` is that of its first operator.
    pub fn batch(&mut self, input: usize, batch: RecordBatch) -> Result<()> {
        self.head().input(input, batch)
    }
    /// Pushes event time into the chain.
    pub fn watermark(&mut self, watermark: Watermark) -> Result<()> {
        self.metrics.current_watermark.store(watermark, std::sync::atomic::Ordering::Relaxed);
        self.head().watermark(watermark)
    }
    /// Takes every operator's snapshot.
    pub fn snapshot(&mut self, checkpoint_id: u64) -> Result<Vec<(OperatorId, OperatorSnapshot)>> {
        let mut snapshots = Vec::with_capacity(self.links.len());
        for link in &mut self.links {
            let snapshot = match &mut link.operator {
                LinkOperator::Transform(operator) => operator.snapshot(checkpoint_id),
                LinkOperator::Sink(sink) => sink.snapshot(checkpoint_id),
            };
            let snapshot = snapshot.inspect_err(|_| blame(&mut self.failed, link.id))?;
            snapshots.push((link.id, snapshot));
        }
        Ok(snapshots)
    }
    /// Lets sinks publish what the checkpoint covers; answers whether there is a sink.
    pub fn complete(&mut self, checkpoint_id: u64) -> Result<bool> {
        let mut has_sink = false;
        for link in &mut self.links {
            if let LinkOperator::Sink(sink) = &mut link.operator {
                sink.complete(checkpoint_id).inspect_err(|_| blame(&mut self.failed, link.id))?;
                has_sink = true;
            }
        }
        Ok(has_sink)
    }
    /// Releases the sinks' resources.
    pub fn close(&mut self) -> Result<()> {
        for link in &mut self.links {
            if let LinkOperator::Sink(sink) = &mut link.operator {
                sink.close()?;
            }
        }
        Ok(())
    }
    /// Copies the operators' figures to the subtask's.
    pub fn publish_metrics(&self) {
        let (mut late, mut memory) = (0, 0);
        for link in &self.links {
            if let LinkOperator::Transform(operator) = &link.operator {
                let m = operator.metrics();
                late += m.late_records_dropped;
                memory += m.state_memory_bytes;
            }
        }
        self.metrics.late_records_dropped.store(late, std::sync::atomic::Ordering::Relaxed);
        self.metrics.state_memory_bytes.store(memory, std::sync::atomic::Ordering::Relaxed);
    }
}
