//! `MATCH_RECOGNIZE`: rows of each key are held until the watermark passes them, then matched in the order of time.
//!
//! A row that comes when the watermark has passed its time is late, dropped and counted. Partial matches are kept until
//! they complete, fail, are excluded by the skip strategy, or are older than `WITHIN`. Keys are matched in rounds, one row
//! of each key a round, so that conditions are evaluated for many keys at once; answers do not depend on it.
//!
//! Source: Flink's `CepOperator` (see [`nfa`], [`partition`] for the parts). `PREV` and `NEXT`, which Flink refuses, look
//! at the key's rows around: rows before are kept as far as the pattern looks back, and a row is matched when as many as
//! it looks ahead have come, or at the end of input.
//!
//! State: table `pending` ([`crate::state::time_buffer`]), table `partition` (by key, [`partition`]). Operator state: see
//! [`crate::state::time_buffer::operator_state`].

mod expression;
mod heap;
pub mod nfa;
mod partition;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use self::expression::{PatternEvaluator, Rows, Subject};
use self::nfa::Nfa;
use self::partition::{Match, Partition, Partitions, Row, RowData, Run};
use super::event_time::to_ms;
use super::{Collector, MAX_WATERMARK, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::key_group::key_group;
use crate::graph::pattern::{MatchRecognizeSpec, PatternExpr, PatternInput, RowsPerMatch};
use crate::state::key_codec::KeyCodec;
use crate::state::keyed_map::KeyedMap;
use crate::state::row_codec::RowCodec;
use crate::state::time_buffer::{TimeBuffer, in_time, operator_state, restored_operator_state};
use crate::state::{Backend, StateContext, sort_codec};
use crate::types::Schema;

const PENDING: &str = "pending";
const PARTITION: &str = "partition";

/// See the module text.
pub struct MatchRecognizeOperator {
    spec: MatchRecognizeSpec,
    nfa: Nfa,
    define: Vec<Option<Define>>,
    measures: Vec<PatternEvaluator>,
    /// How far conditions and measures look back and ahead of a match, in rows.
    behind: u64,
    ahead: u64,
    codec: RowCodec,
    output: SchemaRef,
    backend: Backend,
    map: KeyedMap<Partitions>,
    buffer: TimeBuffer,
    /// Keys by the time at which their oldest partial match is too old.
    timers: BTreeMap<i64, Vec<Box<[u8]>>>,
    max_parallelism: u32,
    budget_bytes: usize,
    watermark: Watermark,
    late_records_dropped: u64,
}

struct Define {
    condition: PatternEvaluator,
    of_current_row: bool,
}

/// A match to be emitted: of a slot, complete at a time.
struct Found {
    slot: usize,
    found: Match,
    time: i64,
}

impl MatchRecognizeOperator {
    /// Opens the state, fresh or restored. `restored_operator_state` has the values of all old subtasks.
    pub fn open(
        spec: &MatchRecognizeSpec,
        input: &Schema,
        output: &Schema,
        context: StateContext,
        eval: &EvalContext,
        restored: &[serde_json::Value],
    ) -> Result<Self> {
        let nfa = Nfa::new(&spec.pattern)?;
        let compile = |e: &PatternExpr| PatternEvaluator::new(e, input, eval);
        let mut define = Vec::with_capacity(spec.define.len());
        for (variable, expr) in spec.define.iter().enumerate() {
            define.push(match expr {
                None => None,
                Some(expr) => {
                    let condition = compile(expr)?;
                    Some(Define { of_current_row: condition.is_of_current_row(variable), condition })
                }
            });
        }
        let shifts = || {
            let all = spec.define.iter().flatten().chain(&spec.measures).flat_map(|e| &e.inputs);
            all.filter_map(|i| if let PatternInput::Row { shift, .. } = i { Some(*shift) } else { None })
        };
        let types: Vec<_> = input.fields.iter().map(|f| f.data_type.to_arrow()).collect();
        let key_type = |k: &usize| types.get(*k).cloned().ok_or_else(|| Error::internal("a key column does not exist"));
        let keys = KeyCodec::new(spec.keys.iter().map(key_type).collect::<Result<_>>()?)?;
        let columns: Vec<_> = input.fields.iter().map(|f| f.data_type.kind.regular().to_string()).collect();
        let layout = format!(
            "match {:?} of [{}] over rows [{}] by {:?}",
            spec.pattern,
            spec.variables.join(", "),
            columns.join(", "),
            spec.keys
        );
        let backend = Backend::open(&context, &[PENDING, PARTITION], &layout)?;
        let (watermark, next_number) = restored_operator_state(restored)?;
        let codec = RowCodec::new(types);
        let budget = context.memory_budget_bytes;
        let map = KeyedMap::open(
            &backend,
            PARTITION,
            None,
            keys,
            context.max_parallelism,
            Partitions::default(),
            budget / 2,
        )?;
        let mut operator = MatchRecognizeOperator {
            nfa,
            define,
            measures: spec.measures.iter().map(compile).collect::<Result<_>>()?,
            behind: shifts().filter(|s| *s < 0).map(i64::unsigned_abs).max().unwrap_or(0),
            ahead: shifts().filter(|s| *s > 0).map(i64::unsigned_abs).max().unwrap_or(0),
            buffer: TimeBuffer::open(&backend, PENDING, codec.clone(), next_number)?,
            spec: spec.clone(),
            codec,
            output: output.to_arrow(),
            backend,
            map,
            timers: BTreeMap::new(),
            max_parallelism: context.max_parallelism,
            budget_bytes: budget,
            watermark,
            late_records_dropped: 0,
        };
        operator.restore_timers()?;
        Ok(operator)
    }

    fn restore_timers(&mut self) -> Result<()> {
        if !self.backend.is_restored() || (self.spec.within_ms.is_none() && self.ahead == 0) {
            return Ok(());
        }
        let mut found = Vec::new();
        self.map.scan(&self.backend, |key, value| {
            let partition = partition::read(value)?;
            if let Some(time) = timer_of(&partition, self.spec.within_ms) {
                found.push((time, key.into()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for (time, key) in found {
            self.timers.entry(time).or_default().push(key);
        }
        Ok(())
    }

    fn hold(&mut self, batch: RecordBatch, times: &[i64]) -> Result<()> {
        let keys: Vec<ArrayRef> = self.spec.keys.iter().map(|k| batch.column(*k).clone()).collect();
        let hashes = self.map.codec().encode(&keys, batch.num_rows())?.hashes();
        let groups: Vec<u16> = hashes.iter().map(|h| key_group(*h, self.max_parallelism)).collect();
        self.buffer.push(batch.columns().to_vec(), times, &groups)?;
        if self.map.bytes() + self.buffer.bytes() > self.budget_bytes {
            self.map.evict(&self.backend, self.budget_bytes / 4)?;
            if self.buffer.bytes() > self.budget_bytes / 2 {
                self.buffer.spill(&self.backend)?;
            }
        }
        Ok(())
    }

    /// Matches rows that are in the order of time; `now` is the time up to which no more rows come.
    fn match_rows(
        &mut self,
        columns: &[ArrayRef],
        times: &[i64],
        now: i64,
        outputs: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        let keys: Vec<ArrayRef> = self.spec.keys.iter().map(|k| columns[*k].clone()).collect();
        let keys = self.map.codec().encode(&keys, times.len())?;
        let mut slots = Vec::new();
        self.map.resolve(&self.backend, &keys, None, &mut slots)?;
        let order = self.order(columns, times, &slots)?;
        // The rows of each key: a range of `order`.
        let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, row) in order.iter().enumerate() {
            match groups.last_mut() {
                Some(last) if slots[order[last.start] as usize] == slots[*row as usize] => last.end = at + 1,
                _ => groups.push(at..at + 1),
            }
        }
        let touched: Vec<u32> = groups.iter().map(|g| slots[order[g.start] as usize]).collect();
        let simple = self.simple_truth(columns, times.len());
        let codec = self.codec.clone();
        let encoder = codec.encoder(columns)?;
        let rows = Rows { codec: &codec, released: &encoder };
        let mut round = 0;
        while !groups.is_empty() {
            let mut found = Vec::new();
            let mut active = Vec::with_capacity(groups.len());
            for group in &groups {
                let row = order[group.start + round];
                let slot = slots[row as usize] as usize;
                let partition = &mut self.map.entries.items[slot];
                partition.start(&self.nfa);
                partition.arrive(Row { time: times[row as usize], data: RowData::Released(row) });
                if partition.ahead() > self.ahead {
                    active.push(slot);
                }
            }
            self.step(&active, &simple, &rows, &mut found)?;
            self.emit(&found, &rows, outputs)?;
            for slot in active {
                self.map.entries.items[slot].forget(self.behind);
            }
            round += 1;
            groups.retain(|g| g.len() > round);
        }
        self.settle(&touched, now, &rows, outputs)
    }

    /// Positions in the batch by key, then in the order in which they are matched.
    fn order(&self, columns: &[ArrayRef], times: &[i64], slots: &[u32]) -> Result<Vec<u32>> {
        let mut order: Vec<u32> = (0u32..).take(times.len()).collect();
        match self.spec.order.get(1..).filter(|rest| !rest.is_empty()) {
            None => order.sort_by_key(|row| slots[*row as usize]),
            Some(rest) => {
                let keys = sort_codec::encode(columns, rest, times.len())?;
                let key = |row: u32| (slots[row as usize], times[row as usize], &keys[row as usize]);
                order.sort_by(|a, b| key(*a).cmp(&key(*b)));
            }
        }
        Ok(order)
    }

    /// For conditions that ask only for the current row: which hold, for each row, and the word of these variables.
    fn simple_truth(&self, columns: &[ArrayRef], rows: usize) -> (u64, Vec<u64>) {
        let (mut known, mut truth) = (0, vec![0u64; rows]);
        for (variable, define) in self.define.iter().enumerate() {
            match define {
                None => {
                    known |= 1 << variable;
                    truth.iter_mut().for_each(|t| *t |= 1 << variable);
                }
                // One that fails is evaluated again for the rows that are really asked about.
                Some(define) if define.of_current_row => {
                    if let Ok(holds) = define.condition.of_rows(columns, rows) {
                        known |= 1 << variable;
                        for row in holds.values().set_indices() {
                            truth[row] |= 1 << variable;
                        }
                    }
                }
                Some(_) => {}
            }
        }
        (known, truth)
    }

    /// Offers the next row of each slot to its partial matches.
    fn step(
        &mut self,
        active: &[usize],
        (known, simple): &(u64, Vec<u64>),
        rows: &Rows<'_>,
        found: &mut Vec<Found>,
    ) -> Result<()> {
        let mut jobs: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.define.len()];
        let mut truths: Vec<Vec<u64>> = Vec::with_capacity(active.len());
        for (index, slot) in active.iter().enumerate() {
            let partition = &mut self.map.entries.items[*slot];
            let Some(row) = partition.row(partition.next) else {
                return Err(Error::internal("a row to be matched is not kept"));
            };
            let (time, data) = (row.time, row.data.clone());
            for found_now in partition.advance(time, self.spec.within_ms, &self.spec.after_match)? {
                found.push(Found { slot: *slot, found: found_now, time });
            }
            let (known, simple) = match data {
                RowData::Released(row) => (*known, simple.get(row as usize).copied().unwrap_or(0)),
                RowData::Stored(_) => (0, 0),
            };
            let mut truth = Vec::with_capacity(partition.partial.len());
            for (position, partial) in partition.partial.items().iter().enumerate() {
                let needed = self.nfa.needed(partial.state);
                truth.push(needed & known & simple);
                let mut open = needed & !known;
                while open != 0 {
                    let variable = usize::try_from(open.trailing_zeros()).unwrap_or(0);
                    open &= open - 1;
                    match self.define.get(variable) {
                        Some(Some(_)) => jobs[variable].push((index, position)),
                        _ => truth[position] |= 1 << variable,
                    }
                }
            }
            truths.push(truth);
        }
        for (variable, jobs) in jobs.iter().enumerate().filter(|(_, jobs)| !jobs.is_empty()) {
            let Some(Some(define)) = self.define.get(variable) else { continue };
            let candidates: Vec<(&Partition, u64, Vec<Run>)> = jobs
                .iter()
                .map(|(index, position)| {
                    let partition = &self.map.entries.items[active[*index]];
                    let partial = &partition.partial.items()[*position];
                    (partition, partial.first.map_or(partition.next, |(_, n)| n), partial.with(variable))
                })
                .collect();
            let subjects: Vec<Subject<'_>> = candidates
                .iter()
                .map(|(partition, first, runs)| Subject { partition, first: *first, runs, visible: u64::MAX, time: 0 })
                .collect();
            let holds = define.condition.condition(&subjects, rows, &self.spec.variables)?;
            for (at, (index, position)) in jobs.iter().enumerate() {
                truths[*index][*position] |= u64::from(holds.value(at)) << variable;
            }
        }
        let mut steps = Vec::new();
        for (slot, truth) in active.iter().zip(&truths) {
            let partition = &mut self.map.entries.items[*slot];
            let time = partition.row(partition.next).map_or(0, |r| r.time);
            for complete in partition.step(&self.nfa, truth, &self.spec.after_match, &mut steps)? {
                found.push(Found { slot: *slot, found: complete, time });
            }
        }
        Ok(())
    }

    /// After rows were matched: lets partial matches age, makes kept rows independent of the batch, plans timers.
    fn settle(&mut self, slots: &[u32], now: i64, rows: &Rows<'_>, outputs: &mut Vec<RecordBatch>) -> Result<()> {
        let mut found = Vec::new();
        if now == MAX_WATERMARK && self.ahead > 0 {
            // No more rows come: what waited for them is matched.
            let mut active: Vec<usize> = slots.iter().map(|s| *s as usize).collect();
            loop {
                active.retain(|s| self.map.entries.items[*s].ahead() > 0);
                if active.is_empty() {
                    break;
                }
                self.step(&active, &(0, Vec::new()), rows, &mut found)?;
                self.emit(&std::mem::take(&mut found), rows, outputs)?;
            }
        }
        for slot in slots {
            let slot = *slot as usize;
            let partition = &mut self.map.entries.items[slot];
            if partition.ahead() == 0 || self.ahead == 0 {
                for complete in partition.advance(now, self.spec.within_ms, &self.spec.after_match)? {
                    found.push(Found { slot, found: complete, time: now });
                }
            }
        }
        self.emit(&found, rows, outputs)?;
        for slot in slots {
            let partition = &mut self.map.entries.items[*slot as usize];
            partition.forget(self.behind);
            for row in partition.rows_mut() {
                if let RowData::Released(at) = row.data {
                    row.data = RowData::Stored(rows.released.row(at as usize).into());
                }
            }
            let timer = timer_of(partition, self.spec.within_ms);
            if let Some(time) = timer
                && partition.timer.is_none_or(|planned| planned > time)
            {
                partition.timer = Some(time);
                let mut key = Vec::new();
                self.map.keys().write_key(*slot as usize, &mut key);
                self.timers.entry(time).or_default().push(key.into());
            }
            self.map.entries.recount(*slot as usize);
        }
        self.map.change(slots);
        Ok(())
    }

    /// Lets partial matches that are too old at a watermark go.
    fn fire_timers(&mut self, watermark: i64, outputs: &mut Vec<RecordBatch>) -> Result<()> {
        let later = match watermark.checked_add(1) {
            Some(after) => self.timers.split_off(&after),
            None => BTreeMap::new(),
        };
        let due: Vec<Box<[u8]>> = std::mem::replace(&mut self.timers, later).into_values().flatten().collect();
        if due.is_empty() {
            return Ok(());
        }
        let due: Vec<&[u8]> = due.iter().map(|k| &k[..]).collect();
        let keys = self.map.codec().decode(&due)?;
        let keys = self.map.codec().encode(&keys, due.len())?;
        let mut slots = Vec::new();
        self.map.resolve(&self.backend, &keys, None, &mut slots)?;
        slots.sort_unstable();
        slots.dedup();
        for slot in &slots {
            let partition = &mut self.map.entries.items[*slot as usize];
            partition.timer = None;
            partition.start(&self.nfa);
        }
        let codec = self.codec.clone();
        let nothing = codec.decode(&[])?;
        let encoder = codec.encoder(&nothing)?;
        self.settle(&slots, watermark, &Rows { codec: &codec, released: &encoder }, outputs)
    }

    fn emit(&self, found: &[Found], rows: &Rows<'_>, outputs: &mut Vec<RecordBatch>) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        // Of each subject: the row whose columns are emitted.
        let (mut subjects, mut numbers) = (Vec::new(), Vec::new());
        for one in found {
            let partition = &self.map.entries.items[one.slot];
            let first = one.found.first.map_or(0, |(_, number)| number);
            let length: u64 = one.found.runs.iter().map(|r| u64::from(r.rows)).sum();
            let visible = match self.spec.rows {
                RowsPerMatch::One => length..=length,
                RowsPerMatch::All => 1..=length,
            };
            for visible in visible {
                subjects.push(Subject { partition, first, runs: &one.found.runs, visible, time: one.time });
                let row = if self.spec.rows == RowsPerMatch::One { first } else { first + visible - 1 };
                numbers.push((partition, Some(row)));
            }
        }
        let own = rows.decode(numbers.into_iter())?;
        let pick = |c: &usize| own.get(*c).cloned().ok_or_else(|| Error::internal("a pattern's column does not exist"));
        let mut columns = self.spec.before.iter().map(pick).collect::<Result<Vec<_>>>()?;
        for measure in &self.measures {
            columns.push(measure.values(&subjects, rows, &self.spec.variables)?);
        }
        columns.extend(self.spec.after.iter().map(pick).collect::<Result<Vec<_>>>()?);
        outputs.push(RecordBatch::try_new(self.output.clone(), columns)?);
        Ok(())
    }

    fn send(&self, outputs: &[RecordBatch], out: &mut dyn Collector) -> Result<()> {
        if outputs.is_empty() {
            return Ok(());
        }
        let all = concat_batches(&self.output, outputs)?;
        for start in (0..all.num_rows()).step_by(MAX_BATCH_ROWS) {
            out.batch(all.slice(start, MAX_BATCH_ROWS.min(all.num_rows() - start)))?;
        }
        Ok(())
    }

    fn time_column(&self) -> Result<usize> {
        self.spec.order.first().map(|k| k.column).ok_or_else(|| Error::internal("a pattern has no time attribute"))
    }
}

/// When a partition must be looked at again.
fn timer_of(partition: &Partition, within_ms: Option<i64>) -> Option<i64> {
    let too_old = within_ms.and_then(|within| Some(partition.oldest()?.saturating_add(within)));
    let waits = (partition.ahead() > 0).then_some(MAX_WATERMARK);
    too_old.or(waits)
}

impl Operator for MatchRecognizeOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.spec.processing_time {
            let now = crate::clock::now_ms();
            let mut outputs = Vec::new();
            self.match_rows(batch.columns(), &vec![now; batch.num_rows()], now, &mut outputs)?;
            self.send(&outputs, out)?;
            if self.map.bytes() > self.budget_bytes {
                self.map.evict(&self.backend, self.budget_bytes / 2)?;
            }
            return Ok(());
        }
        let times = to_ms(batch.column(self.time_column()?))?;
        match in_time(&times, self.watermark) {
            None => self.hold(batch, &times),
            Some(kept) => {
                let late = times.len() - kept.len();
                self.late_records_dropped += u64::try_from(late).unwrap_or(u64::MAX);
                let times: Vec<i64> = kept.iter().map(|r| times[*r as usize]).collect();
                let batch = take_record_batch(&batch, &UInt32Array::from(kept))?;
                if batch.num_rows() == 0 { Ok(()) } else { self.hold(batch, &times) }
            }
        }
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            let mut outputs = Vec::new();
            if !self.spec.processing_time {
                if let Some(released) = self.buffer.release(&self.backend, watermark)? {
                    self.match_rows(&released.columns, &released.times, watermark, &mut outputs)?;
                }
                self.fire_timers(watermark, &mut outputs)?;
            } else if watermark == MAX_WATERMARK && self.ahead > 0 {
                self.fire_timers(watermark, &mut outputs)?;
            }
            self.watermark = watermark;
            self.send(&outputs, out)?;
        }
        out.watermark(self.watermark)
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
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
