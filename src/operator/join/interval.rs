//! Interval joins: rows meet whose event times are at most so far apart; a row is kept until the watermark says that
//! nothing can meet it any more.
//!
//! As Flink's `RowTimeIntervalJoin`: pairs are emitted at once; a late row still meets what is kept, but is not kept; a
//! row of an outer side that met nothing is emitted with nulls when it is forgotten, and the watermark that is passed on
//! is held back by as much as a row may be emitted after its time.
//!
//! Kept rows lie in buckets of time: the key of the state is the bucket, then the join key, so that a whole bucket is
//! forgotten at once (RocksDB tables `left`, `right`; see [`crate::state::row_lists`]). A row's identity is its event
//! time (8 bytes, big endian), its number of associations 1 if it met a row.
//!
//! Operator state: the watermark ([`crate::state::time_buffer::operator_state`]).

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;

use super::pairs::{Changes, Emitter, Matches, Residual, columns_of, number};
use super::side::SideKeys;
use super::{LEFT, MAX_PAIRS, RIGHT, keep_budget};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::IntervalJoinSpec;
use crate::operator::event_time::to_ms;
use crate::operator::{Collector, MAX_WATERMARK, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::state::backend::malformed;
use crate::state::row_codec::RowCodec;
use crate::state::row_lists::{Identity, NONE, RowLists};
use crate::state::time_buffer::{operator_state, restored_operator_state};
use crate::state::{Backend, StateContext};
use crate::types::Schema;
use crate::types::row_kind::{INSERT, split};

/// Shortest bucket, ms: shorter ones would be many.
const MIN_BUCKET_MS: i64 = 1000;
/// The bucket in a key: its byte for "not null", and 8 bytes.
const BUCKET_BYTES: usize = 9;

/// One input.
struct Side {
    keys: SideKeys,
    time: usize,
    rows: RowCodec,
    lists: RowLists,
    outer: bool,
    /// A row at time t is kept until the watermark is above `t + keep_ms`.
    keep_ms: i64,
    /// A row at time t meets rows of the other input at `t + from_ms ..= t + to_ms`.
    from_ms: i64,
    to_ms: i64,
}

/// See the module text.
pub struct IntervalJoinOperator {
    residual: Option<Residual>,
    emitter: Emitter,
    arity: usize,
    sides: [Side; 2],
    bucket_ms: i64,
    delay_ms: i64,
    backend: Backend,
    budget_bytes: usize,
    watermark: Watermark,
}

impl IntervalJoinOperator {
    /// Opens the state, fresh or restored; `inputs` are the columns of the left and the right input.
    pub fn open(
        spec: &IntervalJoinSpec,
        inputs: [&Schema; 2],
        output: &Schema,
        context: &EvalContext,
        state: &StateContext,
        restored: &[serde_json::Value],
    ) -> Result<Self> {
        let condition = &spec.condition;
        let kind = condition.kind;
        let (lower, upper) = (spec.lower_ms, spec.upper_ms);
        let bucket_ms = (upper.saturating_sub(lower) / 2).max(MIN_BUCKET_MS);
        let columns = |schema: &Schema| {
            let columns = schema.fields.iter().map(|f| format!("{} {}", f.name, f.data_type.kind.regular()));
            columns.collect::<Vec<_>>().join(", ")
        };
        let keys: Vec<String> = condition.keys.iter().map(|k| format!("{} = {}", k.left, k.right)).collect();
        let layout = format!(
            "{} on [{}] of [{}] and [{}] in buckets of {bucket_ms} ms",
            kind.name(),
            keys.join(", "),
            columns(inputs[0]),
            columns(inputs[1])
        );
        let backend = Backend::open(state, &[LEFT, RIGHT], &layout)?;
        let side = |input: usize| {
            let schema = inputs[input];
            let keys = SideKeys::in_buckets(condition, input, schema)?;
            let table = if input == 0 { LEFT } else { RIGHT };
            let lists = RowLists::open(&backend, table, keys.codec().clone(), state.max_parallelism);
            Ok::<_, Error>(Side {
                lists: lists.with_prefix(BUCKET_BYTES),
                keys,
                time: if input == 0 { spec.left_time } else { spec.right_time },
                rows: RowCodec::new(schema.fields.iter().map(|f| f.data_type.to_arrow()).collect()),
                outer: if input == 0 { kind.keeps_left() } else { kind.keeps_right() },
                keep_ms: if input == 0 { lower.saturating_neg() } else { upper },
                from_ms: if input == 0 { upper.saturating_neg() } else { lower },
                to_ms: if input == 0 { lower.saturating_neg() } else { upper },
            })
        };
        let sides = [side(0)?, side(1)?];
        // An inner pair is emitted when its second row comes; a padded row when its bucket is forgotten.
        let furthest = upper.max(lower.saturating_neg()).max(0);
        let padded = sides.iter().any(|s| s.outer);
        let delay_ms = furthest.saturating_add(1).saturating_add(if padded { bucket_ms } else { 0 });
        Ok(IntervalJoinOperator {
            residual: condition
                .residual
                .as_ref()
                .map(|r| Residual::new(r, inputs[0], inputs[1], context))
                .transpose()?,
            emitter: Emitter::new(&condition.output, inputs[0].fields.len(), output),
            arity: inputs[0].fields.len(),
            sides,
            bucket_ms,
            delay_ms,
            backend,
            budget_bytes: state.memory_budget_bytes,
            watermark: restored_operator_state(restored)?.0,
        })
    }

    /// The groups of the other input that each row may meet, the same number for each row; and that number.
    fn candidates(&mut self, input: usize, batch: &RecordBatch, times: &[i64]) -> Result<(Vec<u32>, usize)> {
        let [left, right] = &mut self.sides;
        let (mine, theirs) = if input == 0 { (left, right) } else { (right, left) };
        let bucket = |time: i64, by: i64| time.saturating_add(by).div_euclid(self.bucket_ms);
        let first: Vec<i64> = times.iter().map(|t| bucket(*t, mine.from_ms)).collect();
        let last: Vec<i64> = times.iter().map(|t| bucket(*t, mine.to_ms)).collect();
        let most = first.iter().zip(&last).map(|(a, b)| b.saturating_sub(*a).saturating_add(1)).max().unwrap_or(0);
        let per_row = usize::try_from(most.max(0)).map_err(|_| Error::internal("an interval has too many buckets"))?;
        let matchable = mine.keys.matchable(batch);
        let mut all = vec![NONE; per_row * times.len()];
        let mut groups = Vec::new();
        for step in 0..per_row {
            let offset = i64::try_from(step).unwrap_or(i64::MAX);
            let buckets: Vec<i64> = first.iter().map(|b| b.saturating_add(offset)).collect();
            let keys = mine.keys.of_buckets(batch, buckets)?;
            theirs.lists.lookup(&self.backend, &keys, &mut groups)?;
            for (row, group) in groups.iter().enumerate() {
                let within = first[row].saturating_add(offset) <= last[row];
                if within && matchable.as_ref().is_none_or(|m| m.is_valid(row)) {
                    all[row * per_row + step] = *group;
                }
            }
        }
        Ok((all, per_row))
    }

    /// Forgets the rows that nothing can meet any more, and emits those that met nothing and must be.
    fn forget(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        for input in 0..2 {
            let side = &mut self.sides[input];
            let bucket = match watermark {
                MAX_WATERMARK => i64::MAX,
                _ => watermark.saturating_sub(side.keep_ms).div_euclid(self.bucket_ms).saturating_sub(1),
            };
            let mut pads = Pads { bytes: vec![], ends: vec![], input, rows: &side.rows, emitter: &self.emitter, out };
            let outer = side.outer;
            side.lists.drain(&self.backend, &bound(bucket), |row, associations| match (outer, associations) {
                (true, 0) => pads.push(row),
                _ => Ok(()),
            })?;
            pads.emit()?;
        }
        Ok(())
    }
}

/// The first bytes of the last key to be forgotten.
fn bound(bucket: i64) -> [u8; BUCKET_BYTES] {
    let mut bytes = [1; BUCKET_BYTES];
    bytes[1..].copy_from_slice(&(bucket ^ i64::MIN).to_be_bytes());
    bytes
}

/// Rows to be emitted with nulls for the other input's columns.
struct Pads<'a, 'o> {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    input: usize,
    rows: &'a RowCodec,
    emitter: &'a Emitter,
    out: &'o mut dyn Collector,
}

impl Pads<'_, '_> {
    fn push(&mut self, row: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
        if self.ends.len() < MAX_BATCH_ROWS { Ok(()) } else { self.emit() }
    }
    fn emit(&mut self) -> Result<()> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let rows: Vec<&[u8]> = starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end]).collect();
        let columns = self.rows.decode(&rows)?;
        let mut changes = Changes::default();
        (0..rows.len()).for_each(|row| changes.push(NONE, number(row), INSERT));
        self.emitter.emit(&changes, 1 - self.input, &[], &columns, self.out)?;
        self.bytes.clear();
        self.ends.clear();
        Ok(())
    }
}

/// The event time of a kept row.
fn time_of(lists: &RowLists, entry: u32) -> i64 {
    lists.identity(entry).try_into().map_or(i64::MIN, i64::from_be_bytes)
}

impl Operator for IntervalJoinOperator {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (batch, kinds) = split(batch)?;
        if kinds.is_some_and(|k| k.values().iter().any(|k| *k != INSERT)) {
            return Err(Error::internal("an interval join takes insertions only"));
        }
        let times = to_ms(batch.column(self.sides[input].time))?;
        let (groups, per_row) = self.candidates(input, &batch, &times)?;
        let [left, right] = &mut self.sides;
        let (mine, theirs) = if input == 0 { (left, right) } else { (right, left) };
        let own = mine.keys.of_buckets(&batch, times.iter().map(|t| t.div_euclid(self.bucket_ms)).collect())?;
        let mut my_groups = Vec::new();
        mine.lists.groups(&own, &mut my_groups)?;
        let matchable = mine.keys.matchable(&batch);
        let columns: Vec<ArrayRef> = columns_of(&batch);
        let rows = mine.rows.encoder(&columns)?;
        let expired = match self.watermark {
            i64::MIN => i64::MIN,
            watermark => watermark.saturating_sub(theirs.keep_ms).saturating_sub(1),
        };
        let mut bytes = Vec::new();
        let mut start = 0;
        while start < times.len() {
            let mut pairs = 0;
            let mut end = start;
            while end < times.len() && (end == start || pairs <= MAX_PAIRS) {
                pairs +=
                    groups[end * per_row..(end + 1) * per_row].iter().map(|g| theirs.lists.length(*g)).sum::<usize>();
                end += 1;
            }
            let mut matches =
                Matches::find(&theirs.lists, &groups[start * per_row..end * per_row], per_row, end - start);
            matches.retain(|row, entry| {
                let (time, other) = (times[start + row], time_of(&theirs.lists, entry));
                let from = time.saturating_add(mine.from_ms);
                (from..=time.saturating_add(mine.to_ms)).contains(&other) && (other > expired || expired == i64::MIN)
            });
            if self.residual.is_some() || self.emitter.reads(1 - input) {
                matches.decode(&theirs.lists, &theirs.rows)?;
            }
            if let Some(residual) = self.residual.as_ref().filter(|_| !matches.slots.is_empty()) {
                matches.filter(residual, &batch, start, input == 0, self.arity)?;
            }
            let mut changes = Changes::default();
            for row in start..end {
                let slots = matches.of(row - start);
                for slot in slots {
                    changes.push(number(row), *slot, INSERT);
                    let entry = matches.entries[*slot as usize];
                    if theirs.outer && theirs.lists.associations(entry) == 0 {
                        theirs.lists.associate(entry, 1);
                    }
                }
                let waits = self.watermark < times[row].saturating_add(mine.keep_ms);
                if waits && matchable.as_ref().is_none_or(|m| m.is_valid(row)) {
                    bytes.clear();
                    rows.write(row, &mut bytes);
                    let identity = times[row].to_be_bytes();
                    let met = u32::from(!slots.is_empty());
                    mine.lists.push(my_groups[row], &bytes, Identity::Key(&identity), met)?;
                } else if slots.is_empty() && mine.outer {
                    changes.push(number(row), NONE, INSERT);
                }
            }
            self.emitter.emit(&changes, input, &columns, &matches.columns, out)?;
            start = end;
        }
        let [left, right] = &mut self.sides;
        keep_budget(&self.backend, self.budget_bytes, [&mut left.lists, &mut right.lists])
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            self.forget(watermark, out)?;
            self.watermark = watermark;
        }
        match self.watermark {
            MAX_WATERMARK | i64::MIN => out.watermark(self.watermark),
            watermark => out.watermark(watermark.saturating_sub(self.delay_ms)),
        }
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        self.sides.iter_mut().try_for_each(|side| side.lists.flush(&self.backend))?;
        Ok(OperatorSnapshot {
            keyed: Some(self.backend.snapshot()?),
            operator_state: Some(operator_state(self.watermark, None)),
        })
    }

    fn metrics(&self) -> OperatorMetrics {
        let bytes: usize = self.sides.iter().map(|s| s.lists.bytes()).sum();
        OperatorMetrics { late_records_dropped: 0, state_memory_bytes: u64::try_from(bytes).unwrap_or(u64::MAX) }
    }
}

/// Stored rows of an interval join have their time before them.
pub(super) fn check_identity(identity: &[u8]) -> Result<i64> {
    identity.try_into().map(i64::from_be_bytes).map_err(|_| malformed("a kept row has no event time"))
}

#[cfg(test)]
#[path = "interval_tests.rs"]
mod tests;
