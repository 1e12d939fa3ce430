//! Outputs of a vertex: which channel a row goes to, and waiting when it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use crossbeam_channel::{SendTimeoutError, Sender, TrySendError};

use super::metrics::TaskMetrics;
use super::{CANCEL_CHECK_MS, Element};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::operator::Watermark;
use crate::operator::key_hasher::KeyHasher;

/// Set when the job's subtasks must end at once.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Asks every subtask to end.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }
    /// Whether the subtask must end.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The error with which a subtask unwinds after a cancel; never reported.
pub const CANCELLED: &str = "task_cancelled";

/// The error with which a subtask unwinds after a cancel.
pub fn cancelled() -> Error {
    Error::conflict(CANCELLED, "the job is being cancelled")
}

/// How the rows of one edge are spread over the receiving subtasks.
pub enum Partitioner {
    /// All to the one receiver.
    Single,
    /// Batch by batch in turn.
    RoundRobin { next: usize },
    /// By key group.
    Hash { hasher: KeyHasher, max_parallelism: u32 },
}

/// One edge's sending side.
pub struct Output {
    pub senders: Vec<Sender<Element>>,
    pub partitioner: Partitioner,
    /// Whether it carries late records.
    pub late: bool,
}

/// All edges that leave a subtask.
pub struct Outputs {
    pub edges: Vec<Output>,
    pub cancel: CancelFlag,
    pub metrics: Arc<TaskMetrics>,
}

impl Outputs {
    /// Sends rows along every edge of the output.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        TaskMetrics::add(&self.metrics.records_out, batch.num_rows() as u64);
        self.send(batch, false)
    }

    /// Whether there is an edge for late records.
    pub fn wants_late(&self) -> bool {
        self.edges.iter().any(|edge| edge.late)
    }

    /// Sends late records along the edges for them.
    pub fn late(&mut self, records: &RecordBatch) -> Result<()> {
        self.send(records, true)
    }

    fn send(&mut self, batch: &RecordBatch, late: bool) -> Result<()> {
        let Outputs { edges, cancel, metrics } = self;
        for edge in edges.iter_mut().filter(|edge| edge.late == late) {
            match &mut edge.partitioner {
                Partitioner::Single => send(&edge.senders[0], Element::Batch(batch.clone()), cancel, metrics)?,
                Partitioner::RoundRobin { next } => {
                    send(&edge.senders[*next], Element::Batch(batch.clone()), cancel, metrics)?;
                    *next = (*next + 1) % edge.senders.len();
                }
                Partitioner::Hash { hasher, max_parallelism } => {
                    let parts = hasher.partition(
                        batch,
                        u32::try_from(edge.senders.len()).unwrap_or(u32::MAX),
                        *max_parallelism,
                    )?;
                    for (sender, part) in edge.senders.iter().zip(parts) {
                        if let Some(part) = part {
                            send(sender, Element::Batch(part), cancel, metrics)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends a watermark to every receiver.
    pub fn watermark(&mut self, watermark: Watermark) -> Result<()> {
        self.metrics.current_watermark.store(watermark, Ordering::Relaxed);
        self.broadcast(&Element::Watermark(watermark))
    }

    /// Sends an element to every receiver of every edge.
    pub fn broadcast(&mut self, element: &Element) -> Result<()> {
        for edge in &self.edges {
            for sender in &edge.senders {
                send(sender, element.clone(), &self.cancel, &self.metrics)?;
            }
        }
        Ok(())
    }
}

/// Sends, waiting while the channel is full; a cancel ends the wait.
fn send(sender: &Sender<Element>, element: Element, cancel: &CancelFlag, metrics: &TaskMetrics) -> Result<()> {
    let element = match sender.try_send(element) {
        Ok(()) => return Ok(()),
        Err(TrySendError::Disconnected(_)) => return Err(cancelled()),
        Err(TrySendError::Full(element)) => element,
    };
    let waiting_since = Instant::now();
    metrics.blocked_since_ms.store(now_ms(), Ordering::Relaxed);
    let sent = wait_for_room(sender, element, cancel);
    metrics.blocked_since_ms.store(i64::MIN, Ordering::Relaxed);
    let waited = u64::try_from(waiting_since.elapsed().as_micros()).unwrap_or(u64::MAX);
    TaskMetrics::add(&metrics.back_pressured_us, waited);
    sent
}

fn wait_for_room(sender: &Sender<Element>, mut element: Element, cancel: &CancelFlag) -> Result<()> {
    loop {
        if cancel.is_cancelled() {
            return Err(cancelled());
        }
        match sender.send_timeout(element, Duration::from_millis(CANCEL_CHECK_MS)) {
            Ok(()) => return Ok(()),
            Err(SendTimeoutError::Timeout(back)) => element = back,
            Err(SendTimeoutError::Disconnected(_)) => return Err(cancelled()),
        }
    }
}
