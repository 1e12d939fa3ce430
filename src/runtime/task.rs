//! The loops of a subtask thread: one for vertices that read a source, one for vertices that read channels.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Select};
use tokio::sync::mpsc::UnboundedSender;

use super::chain::Chain;
use super::channel::{CancelFlag, cancelled};
use super::metrics::{CheckpointPhase, TaskMetrics};
use super::source::{SourceDriver, Turn};
use super::watermark::{Progress, WatermarkCombiner};
use super::{Barrier, CANCEL_CHECK_MS, Control, Element, TaskEvent, TaskId};
use crate::error::Result;

/// Barriers that one subtask aligns at once. Only without alignment are there several: a slow input may have the barriers
/// of many expired checkpoints before it.
const MAX_ALIGNING: usize = 64;

/// What both loops need.
pub struct TaskIo {
    pub task: TaskId,
    pub control: Receiver<Control>,
    pub events: UnboundedSender<TaskEvent>,
    pub cancel: CancelFlag,
    pub metrics: Arc<TaskMetrics>,
}

impl TaskIo {
    fn report(&self, event: TaskEvent) -> Result<()> {
        self.events.send(event).map_err(|_| cancelled())
    }

    fn complete(&self, checkpoint_id: u64, chain: &mut Chain) -> Result<()> {
        if chain.complete(checkpoint_id)? {
            self.report(TaskEvent::Committed { task: self.task, checkpoint_id })?;
        }
        Ok(())
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Runs a source vertex until it is cancelled or fails.
pub fn run_source(io: &TaskIo, driver: &mut SourceDriver, chain: &mut Chain) -> Result<()> {
    io.report(TaskEvent::Running { task: io.task })?;
    driver.start(chain)?;
    let (mut ended, mut stopped) = (false, false);
    loop {
        if io.cancel.is_cancelled() {
            return Err(cancelled());
        }
        let wait = if ended || stopped {
            Duration::from_millis(CANCEL_CHECK_MS)
        } else {
            match driver.turn(chain)? {
                Turn::Rows => Duration::ZERO,
                Turn::Wait(time) => time.min(Duration::from_millis(CANCEL_CHECK_MS)),
                Turn::End => {
                    ended = true;
                    io.report(TaskEvent::SourceFinished { task: io.task })?;
                    Duration::ZERO
                }
            }
        };
        loop {
            let message = if wait.is_zero() { io.control.try_recv().ok() } else { receive(&io.control, wait)? };
            match message {
                None => break,
                Some(Control::Trigger(barrier)) => {
                    stopped |= barrier.stops;
                    chain.outputs.broadcast(&Element::Barrier(barrier))?;
                    acknowledge(io, barrier, 0, || driver.snapshots(barrier, chain))?;
                    chain.publish_metrics();
                }
                Some(Control::Drain) => {
                    if !ended {
                        driver.finish(chain)?;
                        ended = true;
                        io.report(TaskEvent::SourceFinished { task: io.task })?;
                    }
                }
                Some(Control::Complete { checkpoint_id }) => io.complete(checkpoint_id, chain)?,
            }
        }
    }
}

fn receive(control: &Receiver<Control>, wait: Duration) -> Result<Option<Control>> {
    match control.recv_timeout(wait) {
        Ok(message) => Ok(Some(message)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(cancelled()),
    }
}

type Snapshots = Vec<(crate::id::OperatorId, crate::operator::OperatorSnapshot)>;

fn acknowledge(
    io: &TaskIo,
    barrier: Barrier,
    alignment_ms: u64,
    snapshot: impl FnOnce() -> Result<Snapshots>,
) -> Result<()> {
    let since = Instant::now();
    io.metrics.enter(CheckpointPhase::Synchronous);
    let snapshots = snapshot()?;
    io.metrics.enter(CheckpointPhase::Barrier);
    let (task, checkpoint_id, sync_ms) = (io.task, barrier.checkpoint_id, millis(since));
    io.report(TaskEvent::Acknowledge { task, checkpoint_id, snapshots, alignment_ms, sync_ms })
}

/// One input channel of a subtask.
struct Input {
    receiver: Receiver<Element>,
    /// The operator's input that the channel belongs to.
    side: usize,
    /// Whether this input's barrier came and the others' did not: in aligned mode it is not read until they do.
    blocked: bool,
}

/// The inputs of a subtask: alignment and combined event time.
pub struct InputGate {
    inputs: Vec<Input>,
    watermarks: WatermarkCombiner,
    exactly_once: bool,
    /// The barriers that some inputs delivered and others did not: how many did, and since when. At most one in aligned
    /// mode, because inputs that delivered it are not read.
    aligning: VecDeque<(Barrier, usize, Instant)>,
}

impl InputGate {
    /// Over the given channels, each with the operator's input that it belongs to.
    pub fn new(receivers: Vec<(usize, Receiver<Element>)>, exactly_once: bool) -> Self {
        let watermarks = WatermarkCombiner::new(receivers.len());
        let inputs = receivers.into_iter().map(|(side, receiver)| Input { receiver, side, blocked: false }).collect();
        InputGate { inputs, watermarks, exactly_once, aligning: VecDeque::new() }
    }

    /// Notes a barrier; answers it with the alignment time once every input delivered it.
    fn barrier(&mut self, input: usize, barrier: Barrier) -> Option<(Barrier, u64)> {
        let known = self.aligning.iter().position(|(b, ..)| *b == barrier);
        let (_, count, since) = match known.and_then(|at| self.aligning.remove(at)) {
            Some(aligning) => aligning,
            None => (barrier, 0, Instant::now()),
        };
        if count + 1 == self.inputs.len() {
            self.inputs.iter_mut().for_each(|i| i.blocked = false);
            return Some((barrier, millis(since)));
        }
        self.inputs[input].blocked = self.exactly_once;
        if self.aligning.len() == MAX_ALIGNING {
            // Its checkpoint expired long ago.
            self.aligning.pop_front();
        }
        self.aligning.push_back((barrier, count + 1, since));
        None
    }
}

enum Received {
    Control(Control),
    Element(usize, Element),
    Nothing,
}

/// Waits for the next control message or the next element of an input that is not blocked.
fn next(io: &TaskIo, gate: &InputGate) -> Result<Received> {
    let mut select = Select::new();
    let control = select.recv(&io.control);
    // Operation index -> input; a vertex has few inputs, so a scan is cheaper than a map.
    let mut indices = Vec::with_capacity(gate.inputs.len());
    for (i, input) in gate.inputs.iter().enumerate().filter(|(_, input)| !input.blocked) {
        indices.push((select.recv(&input.receiver), i));
    }
    let Ok(ready) = select.select_timeout(Duration::from_millis(CANCEL_CHECK_MS)) else { return Ok(Received::Nothing) };
    if ready.index() == control {
        return ready.recv(&io.control).map(Received::Control).map_err(|_| cancelled());
    }
    let operation = ready.index();
    let input = indices.iter().find(|(op, _)| *op == operation).map(|(_, i)| *i).expect("an operation that was added");
    ready.recv(&gate.inputs[input].receiver).map(|e| Received::Element(input, e)).map_err(|_| cancelled())
}

/// Runs a vertex that reads channels until it is cancelled or fails.
pub fn run_inputs(io: &TaskIo, gate: &mut InputGate, chain: &mut Chain) -> Result<()> {
    io.report(TaskEvent::Running { task: io.task })?;
    loop {
        if io.cancel.is_cancelled() {
            return Err(cancelled());
        }
        match next(io, gate)? {
            Received::Nothing => {}
            Received::Control(Control::Complete { checkpoint_id }) => io.complete(checkpoint_id, chain)?,
            Received::Control(Control::Trigger(_) | Control::Drain) => {}
            Received::Element(input, Element::Batch(batch)) => {
                TaskMetrics::add(&chain.metrics.records_in, batch.num_rows() as u64);
                chain.batch(gate.inputs[input].side, batch)?;
            }
            Received::Element(input, Element::Watermark(w)) => {
                let progress = gate.watermarks.advance(input, w);
                pass_on(progress, chain)?;
            }
            Received::Element(input, Element::Idle(idle)) => {
                let progress = gate.watermarks.set_idle(input, idle);
                pass_on(progress, chain)?;
            }
            Received::Element(input, Element::Barrier(barrier)) => {
                if let Some((barrier, alignment_ms)) = gate.barrier(input, barrier) {
                    chain.outputs.broadcast(&Element::Barrier(barrier))?;
                    acknowledge(io, barrier, alignment_ms, || chain.snapshot(barrier.checkpoint_id))?;
                    chain.publish_metrics();
                } else {
                    io.metrics.enter(CheckpointPhase::Alignment);
                }
            }
        }
    }
}

fn pass_on(progress: Progress, chain: &mut Chain) -> Result<()> {
    match progress {
        Progress::None => Ok(()),
        Progress::Watermark(w) => {
            chain.watermark(w)?;
            chain.publish_metrics();
            Ok(())
        }
        Progress::Idle(idle) => chain.outputs.broadcast(&Element::Idle(idle)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn barrier(checkpoint_id: u64) -> Barrier {
        Barrier { checkpoint_id, stops: false }
    }

    fn gate(inputs: usize, exactly_once: bool) -> InputGate {
        InputGate::new((0..inputs).map(|n| (n, crossbeam_channel::bounded(1).1)).collect(), exactly_once)
    }

    /// Which checkpoints pass, as (input, checkpoint) deliver their barriers.
    fn passed(gate: &mut InputGate, deliveries: &[(usize, u64)]) -> Vec<u64> {
        let passes = deliveries.iter().filter_map(|(input, id)| gate.barrier(*input, barrier(*id)));
        passes.map(|(b, _)| b.checkpoint_id).collect()
    }

    #[test]
    fn several_barriers_in_flight_pass_in_order_without_alignment() {
        let mut gate = gate(3, false);
        assert_eq!(
            passed(&mut gate, &[(0, 1), (0, 2), (1, 1), (0, 3), (2, 1), (1, 2), (2, 2), (2, 3), (1, 3)]),
            [1, 2, 3]
        );
        assert!(gate.aligning.is_empty() && gate.inputs.iter().all(|i| !i.blocked));
    }

    #[test]
    fn an_aligned_input_is_not_read_until_the_others_delivered_its_barrier() {
        let mut gate = gate(3, true);
        assert_eq!(passed(&mut gate, &[(1, 1), (0, 1)]), [0_u64; 0]);
        assert_eq!(gate.inputs.iter().map(|i| i.blocked).collect::<Vec<_>>(), [true, true, false]);
        // The second barrier waits in the channels of the blocked inputs.
        assert_eq!(passed(&mut gate, &[(2, 1), (2, 2), (0, 2), (1, 2)]), [1, 2]);
        assert!(gate.inputs.iter().all(|i| !i.blocked));
    }

    #[test]
    fn expired_barriers_do_not_pile_up() {
        let mut gate = gate(2, false);
        for id in 0..1_000 {
            assert_eq!(passed(&mut gate, &[(0, id)]), [0_u64; 0]);
        }
        assert_eq!(gate.aligning.len(), MAX_ALIGNING);
        assert_eq!(passed(&mut gate, &[(1, 999)]), [999]);
    }
}
