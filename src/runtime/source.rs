//! The source side of a subtask: reads splits, computes the scan's columns, decides event time, answers triggers.
//!
//! Watermarks are per record: a row's lateness downstream is decided by the rows before it in its split, whatever the
//! batch size ([`super::watermark::cuts`]). A reader that has several started splits (after a rescale) reads the one
//! that is furthest behind, and promises only what the lowest of them allows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatchOptions};
use arrow::datatypes::{DataType as ArrowType, SchemaRef, TimeUnit, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use serde_json::Value;

use super::metrics::TaskMetrics;
use super::watermark::cuts;
use super::{Barrier, Element};
use crate::connector::{Poll, ReaderCounters, SourceReader, SplitState};
use crate::error::{Error, Result};
use crate::expr::{EvalContext, Evaluator, Expr};
use crate::graph::WatermarkSpec;
use crate::id::OperatorId;
use crate::operator::{MAX_WATERMARK, OperatorSnapshot, Watermark};
use crate::runtime::chain::Chain;
use crate::types::Schema;

/// Version of the stored operator state.
const STATE_VERSION: u64 = 1;

/// One split in a snapshot: where it is read to, and the event time it promised.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct StoredSplit {
    split: SplitState,
    watermark: Watermark,
}

/// A source subtask's part of a snapshot.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct StoredSource {
    v: u64,
    splits: Vec<StoredSplit>,
    /// The watermark sent downstream.
    emitted: Watermark,
}

/// What a source restores: the splits of all old subtasks, ordered by id so that every new subtask sees the same list.
#[derive(Debug, Default)]
pub struct RestoredSource {
    pub splits: Vec<SplitState>,
    watermarks: Vec<Watermark>,
    emitted: Watermark,
}

impl RestoredSource {
    /// From all old subtasks' states.
    pub fn read(states: &[Value]) -> Result<Self> {
        let mut all = Vec::new();
        let mut emitted = Watermark::MAX;
        for state in states {
            let stored: StoredSource = serde_json::from_value(state.clone())
                .ok()
                .filter(|s: &StoredSource| s.v == STATE_VERSION)
                .ok_or_else(|| {
                    Error::corrupt("source_state", format!("a source's stored state is not of version {STATE_VERSION}"))
                })?;
            emitted = emitted.min(stored.emitted);
            all.extend(stored.splits);
        }
        all.sort_by(|a, b| a.split.id.cmp(&b.split.id));
        let emitted = if states.is_empty() { Watermark::MIN } else { emitted };
        let watermarks = all.iter().map(|s| s.watermark).collect();
        Ok(RestoredSource { splits: all.into_iter().map(|s| s.split).collect(), watermarks, emitted })
    }
}

struct EventTime {
    rowtime: usize,
    expr: Evaluator,
    idle_timeout: Option<Duration>,
}

/// See the module text.
pub struct SourceDriver {
    id: OperatorId,
    reader: Box<dyn SourceReader>,
    projection: Option<Vec<Evaluator>>,
    output: SchemaRef,
    event_time: Option<EventTime>,
    /// Per split of the reader.
    watermarks: Vec<Watermark>,
    /// Splits that are started and not finished; more than one only after a rescale.
    active: Vec<usize>,
    /// The watermark sent downstream.
    emitted: Watermark,
    idle: bool,
    last_rows: Instant,
    counted: ReaderCounters,
}

/// What a turn of the driver achieved.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    Rows,
    /// Nothing to read for this long.
    Wait(Duration),
    End,
}

/// What a driver is made of.
pub struct SourceParts<'a> {
    pub id: OperatorId,
    pub reader: Box<dyn SourceReader>,
    pub projection: Option<&'a [Expr]>,
    pub output: &'a Schema,
    pub watermark: Option<&'a WatermarkSpec>,
    pub restored: RestoredSource,
    /// (subtask, parallelism), to find this reader's part of `restored`.
    pub place: (usize, usize),
}

impl SourceDriver {
    /// Compiles the scan and takes over the restored event time.
    pub fn new(parts: SourceParts<'_>, context: &EvalContext) -> Result<Self> {
        let compile = |exprs: &[Expr]| exprs.iter().map(|e| Evaluator::new(e, context)).collect::<Result<Vec<_>>>();
        let event_time = match parts.watermark {
            None => None,
            Some(w) => Some(EventTime {
                rowtime: w.rowtime,
                expr: Evaluator::new(&w.expr, context)?,
                idle_timeout: (w.idle_timeout_ms > 0).then(|| Duration::from_millis(w.idle_timeout_ms)),
            }),
        };
        let (subtask, parallelism) = parts.place;
        let watermarks: Vec<_> = parts
            .restored
            .watermarks
            .iter()
            .enumerate()
            .filter(|(i, _)| i % parallelism == subtask)
            .map(|(_, w)| *w)
            .collect();
        let active = parts
            .reader
            .splits()
            .iter()
            .enumerate()
            .filter(|(_, s)| s.started && !s.finished)
            .map(|(i, _)| i)
            .collect();
        let emitted = if parts.restored.splits.is_empty() { Watermark::MIN } else { parts.restored.emitted };
        Ok(SourceDriver {
            id: parts.id,
            reader: parts.reader,
            projection: parts.projection.map(compile).transpose()?,
            output: parts.output.to_arrow(),
            event_time,
            watermarks,
            active,
            emitted,
            idle: false,
            last_rows: Instant::now(),
            counted: ReaderCounters::default(),
        })
    }

    /// Sends the restored event time on, before any row.
    pub fn start(&mut self, chain: &mut Chain) -> Result<()> {
        if self.emitted > Watermark::MIN {
            chain.watermark(self.emitted)?;
        }
        Ok(())
    }

    /// Reads one batch and pushes it into the chain.
    pub fn turn(&mut self, chain: &mut Chain) -> Result<Turn> {
        let preferred = if self.active.len() > 1 {
            self.active.iter().copied().min_by_key(|i| self.watermark_of(*i))
        } else {
            None
        };
        match self.reader.poll(preferred)? {
            Poll::Batch { split, batch } => {
                self.count(chain, batch.num_rows());
                self.activate(split);
                self.set_idle(false, chain)?;
                self.last_rows = Instant::now();
                let rows = self.scan(batch)?;
                self.emit(split, rows, chain)?;
                Ok(Turn::Rows)
            }
            Poll::Pending { retry_after_ms } => {
                let timed_out = self
                    .event_time
                    .as_ref()
                    .and_then(|e| e.idle_timeout)
                    .is_some_and(|t| self.last_rows.elapsed() >= t);
                // A subtask that owns no split at all must not hold up the others.
                if timed_out || self.reader.splits().is_empty() {
                    self.set_idle(true, chain)?;
                }
                Ok(Turn::Wait(Duration::from_millis(retry_after_ms)))
            }
            Poll::End => {
                self.finish(chain)?;
                Ok(Turn::End)
            }
        }
    }

    /// Ends the input: event time goes to its end, so that every window fires.
    pub fn finish(&mut self, chain: &mut Chain) -> Result<()> {
        self.set_idle(false, chain)?;
        self.emitted = MAX_WATERMARK;
        chain.watermark(MAX_WATERMARK)
    }

    /// The reader's part of a snapshot.
    pub fn snapshot(&self) -> Result<(OperatorId, OperatorSnapshot)> {
        let splits = self
            .reader
            .splits()
            .into_iter()
            .enumerate()
            .map(|(i, split)| StoredSplit { split, watermark: self.watermark_of(i) });
        let stored = StoredSource { v: STATE_VERSION, splits: splits.collect(), emitted: self.emitted };
        let value = serde_json::to_value(stored)
            .map_err(|e| Error::internal("encoding a source's state failed").caused_by(&e))?;
        Ok((self.id, OperatorSnapshot { keyed: None, operator_state: Some(value) }))
    }

    /// Takes the snapshots of the whole chain, whose barrier has been sent.
    pub fn snapshots(&mut self, barrier: Barrier, chain: &mut Chain) -> Result<Vec<(OperatorId, OperatorSnapshot)>> {
        chain.metrics.note_barrier(barrier.checkpoint_id);
        let mut snapshots = vec![self.snapshot()?];
        snapshots.extend(chain.snapshot(barrier.checkpoint_id)?);
        Ok(snapshots)
    }

    fn watermark_of(&self, split: usize) -> Watermark {
        self.watermarks.get(split).copied().unwrap_or(Watermark::MIN)
    }

    fn count(&mut self, chain: &Chain, rows: usize) {
        let now = self.reader.counters();
        TaskMetrics::add(&chain.metrics.records_in, rows as u64);
        TaskMetrics::add(&chain.metrics.bytes_in, now.bytes.saturating_sub(self.counted.bytes));
        TaskMetrics::add(
            &chain.metrics.skipped_records,
            now.skipped_records.saturating_sub(self.counted.skipped_records),
        );
        self.counted = now;
    }

    /// Notes that `split` is being read; forgets splits that are finished.
    fn activate(&mut self, split: usize) {
        if self.active.as_slice() == [split] {
            return;
        }
        let splits = self.reader.splits();
        self.active.retain(|i| *i == split || splits.get(*i).is_some_and(|s| !s.finished));
        if !self.active.contains(&split) {
            self.active.push(split);
        }
        if self.watermarks.len() <= split {
            self.watermarks.resize(split + 1, Watermark::MIN);
        }
    }

    fn set_idle(&mut self, idle: bool, chain: &mut Chain) -> Result<()> {
        if self.idle == idle || self.event_time.is_none() {
            return Ok(());
        }
        self.idle = idle;
        chain.outputs.broadcast(&Element::Idle(idle))
    }

    fn scan(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let columns = match &self.projection {
            None => batch.columns().to_vec(),
            Some(exprs) => exprs.iter().map(|e| e.evaluate(&batch)).collect::<Result<Vec<_>>>()?,
        };
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?)
    }

    /// Pushes rows, cut where a watermark must come between.
    fn emit(&mut self, split: usize, rows: RecordBatch, chain: &mut Chain) -> Result<()> {
        let Some(event_time) = &self.event_time else { return chain.batch(0, rows) };
        let rowtimes = rows.column(event_time.rowtime);
        if rowtimes.null_count() > 0 {
            return Err(Error::invalid(
                "null_rowtime",
                format!(
                    "the rowtime column '{}' is null in a record; filter such records out or give it a default in the watermark's table",
                    rows.schema().field(event_time.rowtime).name()
                ),
            ));
        }
        let promised = event_time.expr.evaluate(&rows)?;
        let (rowtimes, promised) = (milliseconds(rowtimes)?, milliseconds(&promised)?);
        let ceiling =
            self.active.iter().filter(|i| **i != split).map(|i| self.watermark_of(*i)).min().unwrap_or(Watermark::MAX);
        let watermark_at = |i: usize| (!promised.is_null(i)).then(|| promised.value(i));
        // Before the first row of a split nothing older than what was already sent is promised by it.
        let current = self.watermark_of(split).max(if self.active.len() == 1 { self.emitted } else { Watermark::MIN });
        let (cuts, now) = cuts(rowtimes.values(), watermark_at, self.emitted, current, ceiling);
        let mut from = 0;
        for (row, watermark) in cuts {
            chain.batch(0, rows.slice(from, row - from))?;
            chain.watermark(watermark)?;
            self.emitted = watermark;
            from = row;
        }
        let total = rows.num_rows();
        chain.batch(0, if from == 0 { rows } else { rows.slice(from, total - from) })?;
        self.watermarks[split] = now;
        if now.min(ceiling) > self.emitted {
            self.emitted = now.min(ceiling);
            chain.watermark(self.emitted)?;
        }
        Ok(())
    }
}

fn milliseconds(array: &arrow::array::ArrayRef) -> Result<&arrow::array::TimestampMillisecondArray> {
    match array.data_type() {
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => Ok(array.as_primitive::<TimestampMillisecondType>()),
        other => Err(Error::internal(format!("event time must be held in ms, not as {other}"))),
    }
}

/// Reads the rows of a `VALUES` clause: one split, owned by subtask 0.
pub struct ValuesReader {
    batch: RecordBatch,
    split: Vec<SplitState>,
}

impl ValuesReader {
    /// The one split of a `VALUES` source that was not read yet.
    pub fn fresh() -> Vec<SplitState> {
        vec![SplitState { id: "values".into(), finished: false, started: false, position: Value::Null }]
    }
    /// Evaluates `rows` now; `own` is this subtask's part of the splits.
    pub fn new(rows: &[Vec<Expr>], output: &Schema, context: &EvalContext, own: Vec<SplitState>) -> Result<Self> {
        let schema = output.to_arrow();
        let empty = Arc::new(arrow::datatypes::Schema::empty());
        let one = RecordBatch::try_new_with_options(empty, vec![], &RecordBatchOptions::new().with_row_count(Some(1)))?;
        let mut batches = Vec::with_capacity(rows.len());
        for row in rows {
            let columns = row.iter().map(|e| Evaluator::new(e, context)?.evaluate(&one)).collect::<Result<Vec<_>>>()?;
            batches.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
        }
        Ok(ValuesReader { batch: arrow::compute::concat_batches(&schema, &batches)?, split: own })
    }
}

impl SourceReader for ValuesReader {
    fn poll(&mut self, _preferred: Option<usize>) -> Result<Poll> {
        match self.split.first_mut() {
            Some(split) if !split.finished => {
                split.started = true;
                split.finished = true;
                Ok(Poll::Batch { split: 0, batch: self.batch.clone() })
            }
            _ => Ok(Poll::End),
        }
    }
    fn splits(&self) -> Vec<SplitState> {
        self.split.clone()
    }
    fn counters(&self) -> ReaderCounters {
        ReaderCounters::default()
    }
}
