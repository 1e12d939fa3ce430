//! `OVER`: each row with what functions say of the rows of its key before it, in the order of time.
//!
//! By event time rows are held until the watermark passes them; one whose time the watermark has passed when it comes is
//! late, dropped and counted. By processing time rows are answered as they come. The frame moves: a row that comes is
//! added to the functions, one that falls out of the frame is taken back. Rows of the same time see each other in a RANGE
//! frame, and only those before them in a ROWS frame. Source: Flink's `RowTime…Over` and `ProcTime…` functions.
//!
//! State: tables `pending` ([`crate::state::time_buffer`]) and `partition` ([`partition`]): for each key its functions,
//! and the rows of a bounded frame or of the longest `LAG`. A RANGE frame's rows are freed when time has left them
//! behind; unbounded frames and ROWS frames keep each key for ever. Operator state:
//! [`crate::state::time_buffer::operator_state`].

mod partition;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, interleave, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

use self::partition::{Partitions, Row};
use super::aggregate::{AggregateInput, AggregateType, Changes};
use super::event_time::to_ms;
use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::graph::AggregateCall;
use crate::graph::key_group::key_group;
use crate::graph::over::{OverCall, OverFrame, OverSpec};
use crate::state::key_codec::KeyCodec;
use crate::state::keyed_map::KeyedMap;
use crate::state::row_codec::RowCodec;
use crate::state::time_buffer::{TimeBuffer, in_time, operator_state, restored_operator_state};
use crate::state::{Backend, StateContext};
use crate::types::Schema;

const PENDING: &str = "pending";
const PARTITION: &str = "partition";

/// See the module text.
pub struct OverOperator {
    spec: OverSpec,
    /// The aggregates among the calls, with their position among the `DISTINCT` ones.
    types: Vec<(AggregateCall, AggregateType, Option<usize>)>,
    /// The rows that the longest `LAG` looks back.
    lag: usize,
    codec: RowCodec,
    output: SchemaRef,
    backend: Backend,
    map: KeyedMap<Partitions>,
    buffer: TimeBuffer,
    max_parallelism: u32,
    budget_bytes: usize,
    watermark: Watermark,
    late_records_dropped: u64,
}

/// What a batch of rows does to the functions, in order, and what each row is answered.
#[derive(Default)]
struct Course {
    /// Of each change: the row (of the kept ones, then of the batch), its slot, and whether it comes.
    rows: Vec<u32>,
    slots: Vec<u32>,
    signs: Vec<i8>,
    /// Of each row of the batch: the change after which it is answered, and for each `LAG` the row that it asks for.
    answered: Vec<u32>,
    lags: Vec<Vec<Option<u32>>>,
    /// Of each row of the batch: the row at the end of its frame, whose default a `LAG` takes.
    ends: Vec<u32>,
    numbers: Vec<i64>,
}

impl Course {
    fn change(&mut self, row: u32, slot: u32, sign: i8) {
        self.rows.push(row);
        self.slots.push(slot);
        self.signs.push(sign);
    }
}

impl OverOperator {
    /// Opens the state, fresh or restored. `restored` has the operator states of all old subtasks.
    pub fn open(
        spec: &OverSpec,
        input: &Schema,
        output: &Schema,
        context: StateContext,
        restored: &[serde_json::Value],
    ) -> Result<Self> {
        let bounded =
            !matches!(spec.frame, OverFrame::Rows { preceding: None } | OverFrame::Range { preceding_ms: None });
        let (mut types, mut distinct, mut lag) = (Vec::new(), 0, 0);
        for call in &spec.calls {
            match call {
                OverCall::Aggregate(call) => {
                    let of =
                        if bounded { AggregateType::retracting(call, input) } else { AggregateType::new(call, input) }?;
                    let position = of.is_distinct().then_some(distinct);
                    distinct += usize::from(of.is_distinct());
                    types.push((call.clone(), of, position));
                }
                OverCall::Lag { offset, .. } => lag = lag.max(usize::try_from(*offset).unwrap_or(usize::MAX)),
                OverCall::RowNumber => {}
            }
        }
        let arrow: Vec<_> = input.fields.iter().map(|f| f.data_type.to_arrow()).collect();
        let key_type = |k: &usize| arrow.get(*k).cloned().ok_or_else(|| Error::internal("a key column does not exist"));
        let keys = KeyCodec::new(spec.keys.iter().map(key_type).collect::<Result<_>>()?)?;
        let columns: Vec<_> = input.fields.iter().map(|f| f.data_type.kind.regular().to_string()).collect();
        let calls: Vec<_> = types.iter().map(|(_, of, _)| of.layout()).collect();
        let layout = format!(
            "over {:?} of rows [{}] by {:?} with [{}] and lag {lag}",
            spec.frame,
            columns.join(", "),
            spec.keys,
            calls.join(", ")
        );
        let backend = Backend::open(&context, &[PENDING, PARTITION], &layout)?;
        let (watermark, next_number) = restored_operator_state(restored)?;
        let aggregates = types.iter().map(|(_, of, _)| of.create_plain()).collect::<Result<_>>()?;
        let budget_bytes = context.memory_budget_bytes;
        let map = KeyedMap::open(
            &backend,
            PARTITION,
            None,
            keys,
            context.max_parallelism,
            Partitions::new(aggregates, distinct),
            budget_bytes / 2,
        )?;
        let codec = RowCodec::new(arrow);
        Ok(OverOperator {
            buffer: TimeBuffer::open(&backend, PENDING, codec.clone(), next_number)?,
            spec: spec.clone(),
            types,
            lag,
            codec,
            output: output.to_arrow(),
            backend,
            map,
            max_parallelism: context.max_parallelism,
            budget_bytes,
            watermark,
            late_records_dropped: 0,
        })
    }

    fn keys(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let key = |k: &usize| columns.get(*k).cloned().ok_or_else(|| Error::internal("a key column does not exist"));
        self.spec.keys.iter().map(key).collect()
    }

    /// Answers rows that are in the order of time.
    fn answer(&mut self, columns: &[ArrayRef], times: &[i64], out: &mut dyn Collector) -> Result<()> {
        let keys = self.map.codec().encode(&self.keys(columns)?, times.len())?;
        let mut slots = Vec::new();
        self.map.resolve(&self.backend, &keys, None, &mut slots)?;
        let mut order: Vec<u32> = (0u32..).take(times.len()).collect();
        order.sort_by_key(|row| slots[*row as usize]);
        let groups: Vec<&[u32]> = order.chunk_by(|a, b| slots[*a as usize] == slots[*b as usize]).collect();
        let touched: Vec<u32> = groups.iter().map(|g| slots[g[0] as usize]).collect();
        for slot in &touched {
            // What has left every frame is as good as not there.
            if self.map.entries.is_over(*slot as usize) {
                self.map.entries.clear(*slot as usize);
            }
        }
        let (all, kept) = self.with_kept_rows(columns, &touched)?;
        let mut course = self.course(&groups, &slots, times, &kept);
        let results = self.follow(&all, &mut course)?;
        self.keep_rows(&groups, &slots, columns, times)?;
        self.map.change(&touched);
        let mut output = columns.to_vec();
        output.extend(results);
        let batch = RecordBatch::try_new(self.output.clone(), output)?;
        for start in (0..batch.num_rows()).step_by(MAX_BATCH_ROWS) {
            out.batch(batch.slice(start, MAX_BATCH_ROWS.min(batch.num_rows() - start)))?;
        }
        if self.map.bytes() + self.buffer.bytes() > self.budget_bytes {
            self.map.evict(&self.backend, self.budget_bytes / 2)?;
        }
        Ok(())
    }

    /// The kept rows of these slots, then the batch's; and the number of the first kept row of each slot.
    fn with_kept_rows(&self, columns: &[ArrayRef], touched: &[u32]) -> Result<(Vec<ArrayRef>, Kept)> {
        let (mut rows, mut starts) = (Vec::new(), Vec::with_capacity(touched.len()));
        for slot in touched {
            starts.push(u32::try_from(rows.len()).map_err(|_| Error::internal("too many rows"))?);
            rows.extend(self.map.entries.items[*slot as usize].rows.iter().map(|r| &r.bytes[..]));
        }
        let total = u32::try_from(rows.len()).map_err(|_| Error::internal("too many rows"))?;
        if rows.is_empty() {
            return Ok((columns.to_vec(), Kept { starts, total }));
        }
        let kept = self.codec.decode(&rows)?;
        let all = kept.iter().zip(columns).map(|(kept, new)| concat(&[kept.as_ref(), new.as_ref()]));
        Ok((all.collect::<Result<_, _>>()?, Kept { starts, total }))
    }

    /// Decides what comes and goes, and when each row is answered.
    fn course(&mut self, groups: &[&[u32]], slots: &[u32], times: &[i64], kept: &Kept) -> Course {
        let offsets: Vec<usize> = self
            .spec
            .calls
            .iter()
            .filter_map(|c| if let OverCall::Lag { offset, .. } = c { usize::try_from(*offset).ok() } else { None })
            .collect();
        let mut course = Course {
            answered: vec![0; times.len()],
            lags: vec![vec![None; times.len()]; offsets.len()],
            ends: vec![0; times.len()],
            numbers: vec![0; times.len()],
            ..Course::default()
        };
        for (group, start) in groups.iter().zip(&kept.starts) {
            let slot = slots[group[0] as usize];
            let partition = &mut self.map.entries.items[slot as usize];
            // The key's rows in order: where they are, and their times.
            let old = (*start..).zip(&partition.rows).map(|(at, row)| (at, row.time));
            let new = group.iter().map(|row| (kept.total + row, times[*row as usize]));
            let sequence: Vec<(u32, i64)> = old.chain(new).collect();
            let first_new = partition.rows.len();
            let mut frame = first_new - partition.framed;
            let mut at = first_new;
            while at < sequence.len() {
                let time = sequence[at].1;
                let end = match self.spec.frame {
                    OverFrame::Rows { .. } => at + 1,
                    // Rows of the same time are answered together.
                    OverFrame::Range { .. } => at + sequence[at..].iter().take_while(|(_, t)| *t == time).count(),
                };
                for (row, _) in &sequence[at..end] {
                    course.change(*row, slot, 1);
                }
                let left = match self.spec.frame {
                    OverFrame::Rows { preceding: Some(n) } => {
                        end.saturating_sub(usize::try_from(n).unwrap_or(usize::MAX).saturating_add(1))
                    }
                    OverFrame::Range { preceding_ms: Some(ms) } => {
                        let oldest = time.saturating_sub(ms);
                        frame + sequence[frame..end].iter().take_while(|(_, t)| *t < oldest).count()
                    }
                    _ => frame,
                };
                while frame < left {
                    course.change(sequence[frame].0, slot, -1);
                    frame += 1;
                }
                let change = u32::try_from(course.rows.len() - 1).unwrap_or(u32::MAX);
                for (row, _) in &sequence[at..end] {
                    let row = (row - kept.total) as usize;
                    partition.count += 1;
                    course.answered[row] = change;
                    course.ends[row] = sequence[end - 1].0;
                    course.numbers[row] = i64::try_from(partition.count).unwrap_or(i64::MAX);
                    for (lag, offset) in course.lags.iter_mut().zip(&offsets) {
                        lag[row] = (end - 1).checked_sub(*offset).and_then(|p| sequence.get(p)).map(|(r, _)| *r);
                    }
                }
                at = end;
            }
            partition.framed = sequence.len() - frame;
        }
        course
    }

    /// Applies the changes to the functions; answers a column for each call, in the order of the batch.
    fn follow(&mut self, all: &[ArrayRef], course: &mut Course) -> Result<Vec<ArrayRef>> {
        let rows = UInt32Array::from(std::mem::take(&mut course.rows));
        let answered = UInt32Array::from(std::mem::take(&mut course.answered));
        let column = |index: usize| all.get(index).ok_or_else(|| Error::internal("an OVER column does not exist"));
        let mut aggregates = 0;
        let mut lags = course.lags.iter();
        let mut results = Vec::with_capacity(self.spec.calls.len());
        for call in &self.spec.calls {
            results.push(match call {
                OverCall::RowNumber => Arc::new(Int64Array::from(course.numbers.clone())) as ArrayRef,
                OverCall::Lag { column: of, default, .. } => {
                    let found = lags.next().ok_or_else(|| Error::internal("a LAG without rows"))?;
                    let values = column(*of)?;
                    match default {
                        None => take(values, &found.iter().copied().collect::<UInt32Array>(), None)?,
                        Some(default) => {
                            let pick = |(row, end): (&Option<u32>, &u32)| match row {
                                Some(row) => (0, *row as usize),
                                None => (1, *end as usize),
                            };
                            let picks: Vec<_> = found.iter().zip(&course.ends).map(pick).collect();
                            interleave(&[values.as_ref(), column(*default)?.as_ref()], &picks)?
                        }
                    }
                }
                OverCall::Aggregate(_) => {
                    let (call, of, distinct) = &self.types[aggregates];
                    let of_changes = |index: usize| Ok::<_, Error>(take(column(index)?, &rows, None)?);
                    let input = AggregateInput {
                        argument: call.argument.map(of_changes).transpose()?,
                        filter: call.filter.map(of_changes).transpose()?,
                    };
                    let mut mask = input.mask(call.function);
                    if let (Some(position), Some(argument)) = (distinct, &input.argument) {
                        mask = Some(self.map.entries.distinct_mask(*position, argument, course, mask.as_ref())?);
                    }
                    let changes = Changes { groups: &course.slots, signs: &course.signs, ends: &[], touched: &[] };
                    let aggregate = self.map.entries.aggregates.get_mut(aggregates);
                    let aggregate = aggregate.ok_or_else(|| Error::internal("an OVER aggregate without state"))?;
                    aggregates += 1;
                    take(&aggregate.follow(&input, &changes, mask.as_ref(), of)?, &answered, None)?
                }
            });
        }
        Ok(results)
    }

    /// Keeps the rows that later ones may ask for.
    fn keep_rows(&mut self, groups: &[&[u32]], slots: &[u32], columns: &[ArrayRef], times: &[i64]) -> Result<()> {
        let encoder = self.codec.encoder(columns)?;
        let bounded =
            !matches!(self.spec.frame, OverFrame::Rows { preceding: None } | OverFrame::Range { preceding_ms: None });
        for group in groups {
            let slot = slots[group[0] as usize] as usize;
            let partition = &mut self.map.entries.items[slot];
            if !bounded {
                partition.framed = 0;
            }
            let wanted = partition.framed.max(self.lag);
            let old = wanted.saturating_sub(group.len()).min(partition.rows.len());
            let mut rows: VecDeque<Row> = std::mem::take(&mut partition.rows);
            rows.drain(..rows.len() - old);
            for row in group.iter().skip(group.len() - wanted.min(group.len())) {
                rows.push_back(Row { time: times[*row as usize], bytes: encoder.row(*row as usize).into() });
            }
            partition.rows = rows;
            self.map.entries.recount(slot);
        }
        Ok(())
    }

    /// Lets go of keys whose rows no frame reaches any more.
    fn free(&mut self) {
        let OverFrame::Range { preceding_ms: Some(ms) } = self.spec.frame else { return };
        if self.lag > 0 || self.spec.processing_time || self.spec.calls.contains(&OverCall::RowNumber) {
            return;
        }
        self.map.entries.horizon = self.watermark.saturating_sub(ms);
        let over: Vec<u32> = (0u32..).take(self.map.len()).filter(|s| self.map.entries.is_over(*s as usize)).collect();
        self.map.change(&over);
    }
}

/// Where kept rows are.
struct Kept {
    starts: Vec<u32>,
    total: u32,
}

impl Partitions {
    /// Of changes of a `DISTINCT` call: those that bring a value first, or take its last.
    fn distinct_mask(
        &mut self,
        position: usize,
        argument: &ArrayRef,
        course: &Course,
        mask: Option<&BooleanBuffer>,
    ) -> Result<BooleanBuffer> {
        let codec = RowCodec::new(vec![argument.data_type().clone()]);
        let columns = [argument.clone()];
        let encoder = codec.encoder(&columns)?;
        let mut value = Vec::new();
        let mut counts = Vec::with_capacity(course.slots.len());
        for (at, (slot, sign)) in course.slots.iter().zip(&course.signs).enumerate() {
            if mask.is_some_and(|m| !m.value(at)) {
                counts.push(false);
                continue;
            }
            value.clear();
            encoder.write(at, &mut value);
            let values = self.items[*slot as usize].distinct.get_mut(position);
            let values = values.ok_or_else(|| Error::internal("a DISTINCT without values"))?;
            counts.push(if *sign > 0 {
                match values.get_mut(&value[..]) {
                    Some(times) => {
                        *times += 1;
                        false
                    }
                    None => {
                        values.insert(value[..].into(), 1);
                        true
                    }
                }
            } else {
                let times = values.get_mut(&value[..]).map(|times| {
                    *times -= 1;
                    *times
                });
                if times == Some(0) {
                    values.remove(&value[..]);
                }
                times == Some(0)
            });
        }
        Ok(counts.into_iter().collect())
    }
}

impl Operator for OverOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.spec.processing_time {
            // No frame looks at this time: a RANGE frame by processing time is unbounded, and answers row by row.
            return self.answer(batch.columns(), &vec![0; batch.num_rows()], out);
        }
        let mut batch = batch;
        let mut times = to_ms(batch.column(self.spec.time))?;
        if let Some(kept) = in_time(&times, self.watermark) {
            self.late_records_dropped += u64::try_from(times.len() - kept.len()).unwrap_or(u64::MAX);
            times = kept.iter().map(|r| times[*r as usize]).collect();
            batch = take_record_batch(&batch, &UInt32Array::from(kept))?;
        }
        if times.is_empty() {
            return Ok(());
        }
        let hashes = self.map.codec().encode(&self.keys(batch.columns())?, times.len())?.hashes();
        let groups: Vec<u16> = hashes.iter().map(|h| key_group(*h, self.max_parallelism)).collect();
        self.buffer.push(batch.columns().to_vec(), &times, &groups)?;
        if self.map.bytes() + self.buffer.bytes() > self.budget_bytes && self.buffer.bytes() > self.budget_bytes / 2 {
            self.buffer.spill(&self.backend)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            if let Some(released) = self.buffer.release(&self.backend, watermark)? {
                self.answer(&released.columns, &released.times, out)?;
            }
            self.watermark = watermark;
        }
        out.watermark(self.watermark)
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        self.free();
        self.map.flush(&self.backend)?;
        self.buffer.flush(&self.backend)?;
        Ok(OperatorSnapshot {
            keyed: Some(self.backend.snapshot()?),
            operator_state: Some(operator_state(self.watermark, Some(&self.buffer))),
        })
    }

    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics {
            late_records_dropped: self.late_records_dropped,
            state_memory_bytes: u64::try_from(self.map.bytes() + self.buffer.bytes()).unwrap_or(u64::MAX),
        }
    }
}
