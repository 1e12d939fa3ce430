//! Temporal joins in event time: each left row meets the version of the right row of its key that was valid at its time.
//!
//! As Flink's `TemporalRowTimeJoinOperator`: left rows wait until the watermark (of both inputs) has passed their time,
//! then meet the latest version of the right side that is not newer; a version that is a deletion (`-D`) is none. `-U`
//! of the right side says nothing that the following `+U` does not. A version is forgotten when a newer one of its key
//! is older than the watermark. A late left row meets what is still there.
//!
//! State: RocksDB table `left`: the waiting rows with their kind ([`crate::state::time_buffer`]); `right`: the versions
//! by join key ([`crate::state::row_lists`]), the identity is the version's time (8 bytes, big endian), so that a version
//! of the same time replaces the one before; the number of associations is 1 for a deletion.
//!
//! Operator state: watermark and the number of the next waiting row ([`crate::state::time_buffer::operator_state`]).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int8Array};
use arrow::datatypes::{DataType, Int8Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::interval::check_identity;
use super::pairs::{Changes, Emitter, Matches, Residual, columns_of, number};
use super::side::SideKeys;
use super::{LEFT, MAX_PAIRS, RIGHT};
use crate::error::Result;
use crate::expr::EvalContext;
use crate::graph::TemporalJoinSpec;
use crate::graph::key_group::key_group;
use crate::operator::event_time::to_ms;
use crate::operator::{Collector, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::state::row_codec::RowCodec;
use crate::state::row_lists::{Identity, NONE, RowLists};
use crate::state::time_buffer::{TimeBuffer, operator_state, restored_operator_state};
use crate::state::{Backend, StateContext};
use crate::types::Schema;
use crate::types::row_kind::{DELETE, INSERT, UPDATE_BEFORE, split};

/// See the module text.
pub struct TemporalJoinOperator {
    keeps_left: bool,
    residual: Option<Residual>,
    emitter: Emitter,
    left_schema: SchemaRef,
    keys: [SideKeys; 2],
    times: [usize; 2],
    left: TimeBuffer,
    versions: RowLists,
    right_rows: RowCodec,
    max_parallelism: u32,
    backend: Backend,
    budget_bytes: usize,
    watermark: Watermark,
}

impl TemporalJoinOperator {
    /// Opens the state, fresh or restored; `inputs` are the columns of the left and the right input.
    pub fn open(
        spec: &TemporalJoinSpec,
        inputs: [&Schema; 2],
        output: &Schema,
        context: &EvalContext,
        state: &StateContext,
        restored: &[serde_json::Value],
    ) -> Result<Self> {
        let condition = &spec.condition;
        let [left, right] = inputs;
        let columns = |schema: &Schema| {
            let columns = schema.fields.iter().map(|f| format!("{} {}", f.name, f.data_type.kind.regular()));
            columns.collect::<Vec<_>>().join(", ")
        };
        let keys: Vec<String> = condition.keys.iter().map(|k| format!("{} = {}", k.left, k.right)).collect();
        let layout = format!("temporal join on [{}] of [{}] and [{}]", keys.join(", "), columns(left), columns(right));
        let backend = Backend::open(state, &[LEFT, RIGHT], &layout)?;
        let (watermark, next_number) = restored_operator_state(restored)?;
        let types = |schema: &Schema| schema.fields.iter().map(|f| f.data_type.to_arrow()).collect::<Vec<_>>();
        let mut waiting = types(left);
        waiting.push(DataType::Int8);
        let keys = [SideKeys::new(condition, 0, left)?, SideKeys::new(condition, 1, right)?];
        Ok(TemporalJoinOperator {
            keeps_left: condition.kind.keeps_left(),
            residual: condition.residual.as_ref().map(|r| Residual::new(r, left, right, context)).transpose()?,
            emitter: Emitter::new(&condition.output, left.fields.len(), output),
            left_schema: left.to_arrow(),
            left: TimeBuffer::open(&backend, LEFT, RowCodec::new(waiting), next_number)?,
            versions: RowLists::open(&backend, RIGHT, keys[1].codec().clone(), state.max_parallelism),
            keys,
            times: [spec.left_time, spec.right_time],
            right_rows: RowCodec::new(types(right)),
            max_parallelism: state.max_parallelism,
            backend,
            budget_bytes: state.memory_budget_bytes,
            watermark,
        })
    }

    fn take_left(&mut self, batch: &RecordBatch, kinds: Option<&Int8Array>) -> Result<()> {
        let times = to_ms(batch.column(self.times[0]))?;
        let hashes = self.keys[0].of(batch)?.hashes();
        let groups: Vec<u16> = hashes.into_iter().map(|h| key_group(h, self.max_parallelism)).collect();
        let mut columns = columns_of(batch);
        let kinds = kinds.cloned().unwrap_or_else(|| Int8Array::from(vec![INSERT; batch.num_rows()]));
        columns.push(Arc::new(kinds));
        self.left.push(columns, &times, &groups)
    }

    fn take_right(&mut self, batch: &RecordBatch, kinds: Option<&Int8Array>) -> Result<()> {
        let times = to_ms(batch.column(self.times[1]))?;
        let matchable = self.keys[1].matchable(batch);
        let mut groups = Vec::new();
        self.versions.groups(&self.keys[1].of(batch)?, &mut groups)?;
        self.versions.read(&self.backend, &groups)?;
        let columns = columns_of(batch);
        let rows = self.right_rows.encoder(&columns)?;
        let mut bytes = Vec::new();
        for (row, group) in groups.iter().enumerate() {
            let kind = kinds.map_or(INSERT, |k| k.value(row));
            if kind == UPDATE_BEFORE || matchable.as_ref().is_some_and(|m| m.is_null(row)) {
                continue;
            }
            let identity = times[row].to_be_bytes();
            if let Some(same) = self.versions.find(*group, &identity) {
                self.versions.remove(same);
            }
            bytes.clear();
            rows.write(row, &mut bytes);
            self.versions.push(*group, &bytes, Identity::Key(&identity), u32::from(kind == DELETE))?;
            self.forget(*group)?;
        }
        Ok(())
    }

    /// The latest version of a group that is not newer than `time`.
    fn version(&self, group: u32, time: i64) -> Result<Option<(i64, u32)>> {
        let mut found: Option<(i64, u32)> = None;
        for entry in self.versions.entries(group) {
            let at = check_identity(self.versions.identity(entry))?;
            if at <= time && found.is_none_or(|(best, _)| at > best) {
                found = Some((at, entry));
            }
        }
        Ok(found)
    }

    /// Forgets the versions that were replaced before the watermark.
    fn forget(&mut self, group: u32) -> Result<()> {
        if self.versions.length(group) < 2 {
            return Ok(());
        }
        let Some((valid, _)) = self.version(group, self.watermark)? else { return Ok(()) };
        let mut old = Vec::new();
        for entry in self.versions.entries(group) {
            if check_identity(self.versions.identity(entry))? < valid {
                old.push(entry);
            }
        }
        old.into_iter().for_each(|entry| self.versions.remove(entry));
        Ok(())
    }

    /// Emits left rows, given in the order of their time.
    fn join(&mut self, columns: &[ArrayRef], times: &[i64], out: &mut dyn Collector) -> Result<()> {
        let Some((kinds, columns)) = columns.split_last() else { return Ok(()) };
        let kinds = kinds.as_primitive::<Int8Type>();
        let batch = RecordBatch::try_new(self.left_schema.clone(), columns.to_vec())?;
        let matchable = self.keys[0].matchable(&batch);
        let mut groups = Vec::new();
        self.versions.lookup(&self.backend, &self.keys[0].of(&batch)?, &mut groups)?;
        let mut matches = Matches { entries: vec![], columns: vec![], slots: vec![], bounds: vec![0] };
        for (row, group) in groups.iter().enumerate() {
            let meets = matchable.as_ref().is_none_or(|m| m.is_valid(row));
            if let Some((_, entry)) = self.version(*group, times[row])?.filter(|_| meets)
                && self.versions.associations(entry) == 0
            {
                matches.slots.push(number(matches.entries.len()));
                matches.entries.push(entry);
            }
            matches.bounds.push(matches.slots.len());
        }
        if self.residual.is_some() || self.emitter.reads(1) {
            matches.decode(&self.versions, &self.right_rows)?;
        }
        if let Some(residual) = self.residual.as_ref().filter(|_| !matches.slots.is_empty()) {
            matches.filter(residual, &batch, 0, true, columns.len())?;
        }
        let mut changes = Changes::default();
        for row in 0..batch.num_rows() {
            match matches.of(row) {
                [] if self.keeps_left => changes.push(number(row), NONE, kinds.value(row)),
                slots => slots.iter().for_each(|slot| changes.push(number(row), *slot, kinds.value(row))),
            }
        }
        self.emitter.emit(&changes, 0, columns, &matches.columns, out)
    }
}

impl Operator for TemporalJoinOperator {
    fn process(&mut self, input: usize, batch: RecordBatch, _out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (batch, kinds) = split(batch)?;
        match input {
            0 => self.take_left(&batch, kinds.as_ref())?,
            _ => self.take_right(&batch, kinds.as_ref())?,
        }
        let budget = self.budget_bytes / 3 * 2;
        if self.left.bytes() > budget / 2 {
            self.left.spill(&self.backend)?;
        }
        self.versions.keep_budget(&self.backend, budget / 2)
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            if let Some(due) = self.left.release(&self.backend, watermark)? {
                for start in (0..due.times.len()).step_by(MAX_PAIRS) {
                    let rows = MAX_PAIRS.min(due.times.len() - start);
                    let columns: Vec<ArrayRef> = due.columns.iter().map(|c| c.slice(start, rows)).collect();
                    self.join(&columns, &due.times[start..start + rows], out)?;
                }
            }
            self.watermark = watermark;
        }
        out.watermark(self.watermark)
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        self.left.flush(&self.backend)?;
        self.versions.flush(&self.backend)?;
        Ok(OperatorSnapshot {
            keyed: Some(self.backend.snapshot()?),
            operator_state: Some(operator_state(self.watermark, Some(&self.left))),
        })
    }

    fn metrics(&self) -> OperatorMetrics {
        let bytes = self.left.bytes() + self.versions.bytes();
        OperatorMetrics { late_records_dropped: 0, state_memory_bytes: u64::try_from(bytes).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
#[path = "temporal_tests.rs"]
mod tests;
