//! Joins rows of the same window: `ON l.window_start = r.window_start AND l.window_end = r.window_end AND …`.
//!
//! Both inputs wait until their window is over; then its rows are joined by their keys (which have the window), once.
//! Late rows are dropped and counted. Operator state: `state::time_buffer`, of both inputs. Source: Flink
//! `WindowJoinOperator`.

use arrow::array::{Array, ArrayRef};
use arrow::record_batch::RecordBatch;

use super::event_time::TimeShift;
use super::join::pairs::{Changes, Emitter, Residual};
use super::late::LateRecords;
use super::window_buffer::WindowBuffer;
use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::{JoinCondition, JoinKey, WindowJoinSpec};
use crate::state::key_codec::KeyCodec;
use crate::state::key_table::KeyTable;
use crate::state::row_lists::NONE;
use crate::state::time_buffer::{operator_state, restored_operator_state};
use crate::state::{Backend, StateContext};
use crate::types::Schema;
use crate::types::row_kind::INSERT;

const TABLES: [&str; 2] = ["left", "right"];

/// See the module text.
pub struct WindowJoinOperator {
    condition: JoinCondition,
    codec: KeyCodec,
    residual: Option<Residual>,
    emitter: Emitter,
    arity: usize,
    buffers: [WindowBuffer; 2],
    backend: Backend,
    budget_bytes: usize,
    watermark: Watermark,
    /// Of each input.
    late: [LateRecords; 2],
    late_records_dropped: u64,
}

impl WindowJoinOperator {
    /// Opens the state, fresh or restored. `restored` has the values of all old subtasks.
    pub fn open(
        spec: &WindowJoinSpec,
        [left, right]: [&Schema; 2],
        output: &Schema,
        context: &StateContext,
        restored: &[serde_json::Value],
        evaluation: &EvalContext,
    ) -> Result<Self> {
        let types = |schema: &Schema| {
            let types: Vec<String> = schema.fields.iter().map(|f| f.data_type.kind.regular().to_string()).collect();
            types.join(", ")
        };
        let condition = &spec.condition;
        let keys = |of: fn(&JoinKey) -> usize| condition.keys.iter().map(of).collect::<Vec<usize>>();
        let keys = [keys(|k| k.left), keys(|k| k.right)];
        let layout =
            format!("window join of [{}] by {:?} and [{}] by {:?}", types(left), keys[0], types(right), keys[1]);
        let backend = Backend::open(context, &TABLES, &layout)?;
        let (watermark, number) = restored_operator_state(restored)?;
        let shift = TimeShift::of_windows(spec.zoned, evaluation);
        let buffer = |side: usize, input: &Schema, end: usize| {
            let place = (end, keys[side].as_slice());
            WindowBuffer::open(&backend, TABLES[side], input, place, shift, context.max_parallelism, number)
        };
        let buffers = [buffer(0, left, spec.left_end)?, buffer(1, right, spec.right_end)?];
        let key_types = keys[0].iter().map(|k| {
            let field = left.fields.get(*k).ok_or_else(|| Error::internal("a join's key column does not exist"))?;
            Ok(field.data_type.to_arrow())
        });
        let arity = left.fields.len();
        Ok(WindowJoinOperator {
            codec: KeyCodec::new(key_types.collect::<Result<_>>()?)?,
            residual: condition.residual.as_ref().map(|r| Residual::new(r, left, right, evaluation)).transpose()?,
            emitter: Emitter::new(&condition.output, arity, output),
            condition: condition.clone(),
            arity,
            buffers,
            backend,
            budget_bytes: context.memory_budget_bytes,
            watermark,
            late: [left, right].map(|input| LateRecords::new("WindowJoin", input)),
            late_records_dropped: 0,
        })
    }

    fn bytes(&self) -> usize {
        self.buffers.iter().map(|b| b.rows().bytes()).sum()
    }

    /// Joins the rows of windows that are over.
    fn join(&self, left: &[ArrayRef], right: &[ArrayRef], out: &mut dyn Collector) -> Result<()> {
        let mut keys = KeyTable::new(&self.codec);
        let left_keys = self.resolve(&mut keys, left, |k| k.left)?;
        let right_keys = self.resolve(&mut keys, right, |k| k.right)?;
        // The right rows of each key, in order of arrival, as lists.
        let mut first = vec![NONE; keys.len()];
        let mut next = vec![NONE; right_keys.len()];
        for (row, key) in (0u32..).zip(&right_keys).collect::<Vec<_>>().into_iter().rev() {
            if let Some(head) = first.get_mut(*key as usize) {
                next[row as usize] = std::mem::replace(head, row);
            }
        }
        let kind = self.condition.kind;
        let mut matched = [vec![false; left_keys.len()], vec![false; right_keys.len()]];
        let mut pairs = Changes::default();
        for (row, key) in (0u32..).zip(&left_keys) {
            let mut other = first.get(*key as usize).copied().unwrap_or(NONE);
            while other != NONE {
                pairs.push(row, other, INSERT);
                other = next[other as usize];
                if pairs.rows.len() == MAX_BATCH_ROWS {
                    self.take_pairs(&mut pairs, (left, right), &mut matched, out)?;
                }
            }
        }
        self.take_pairs(&mut pairs, (left, right), &mut matched, out)?;
        let mut rest = Changes::default();
        let semi = kind == crate::graph::JoinKind::Semi;
        if kind.is_semi_or_anti() || kind.keeps_left() {
            let rows = (0u32..).zip(&matched[0]).filter(|(_, matched)| **matched == semi);
            rows.for_each(|(row, _)| rest.push(row, NONE, INSERT));
        }
        if kind.keeps_right() {
            let rows = (0u32..).zip(&matched[1]).filter(|(_, matched)| !**matched);
            rows.for_each(|(row, _)| rest.push(NONE, row, INSERT));
        }
        self.emitter.emit(&rest, 0, left, right, out)
    }

    /// Tests pairs, notes the rows that match, and emits them unless only one side is wanted.
    fn take_pairs(
        &self,
        pairs: &mut Changes,
        (left, right): (&[ArrayRef], &[ArrayRef]),
        matched: &mut [Vec<bool>; 2],
        out: &mut dyn Collector,
    ) -> Result<()> {
        let mut pairs = std::mem::take(pairs);
        if pairs.rows.is_empty() {
            return Ok(());
        }
        if let Some(residual) = &self.residual {
            let at = [&pairs.rows, &pairs.slots].map(|rows| arrow::array::UInt32Array::from(rows.clone()));
            let truth = residual.evaluate(pairs.rows.len(), |column| {
                let (from, at) =
                    if column < self.arity { (&left[column], &at[0]) } else { (&right[column - self.arity], &at[1]) };
                Ok(arrow::compute::take(from, at, None)?)
            })?;
            let mut kept = Changes::default();
            for (pair, (row, slot)) in pairs.rows.iter().zip(&pairs.slots).enumerate() {
                if truth.is_valid(pair) && truth.value(pair) {
                    kept.push(*row, *slot, INSERT);
                }
            }
            pairs = kept;
        }
        pairs.rows.iter().for_each(|row| matched[0][*row as usize] = true);
        pairs.slots.iter().for_each(|row| matched[1][*row as usize] = true);
        if self.condition.kind.is_semi_or_anti() {
            return Ok(());
        }
        self.emitter.emit(&pairs, 0, left, right, out)
    }

    /// The key of each row, `NONE` where it is equal to no other.
    fn resolve(&self, keys: &mut KeyTable, columns: &[ArrayRef], of: fn(&JoinKey) -> usize) -> Result<Vec<u32>> {
        let rows = columns.first().map_or(0, |c| c.len());
        let mut resolved = Vec::new();
        if rows == 0 {
            return Ok(resolved);
        }
        let mine: Vec<ArrayRef> = self.condition.keys.iter().filter_map(|k| columns.get(of(k)).cloned()).collect();
        keys.resolve(&self.codec.encode(&mine, rows)?, &mut resolved)?;
        for (key, column) in self.condition.keys.iter().zip(&mine) {
            if key.null_safe || column.null_count() == 0 {
                continue;
            }
            resolved.iter_mut().enumerate().filter(|(row, _)| column.is_null(*row)).for_each(|(_, key)| *key = NONE);
        }
        Ok(resolved)
    }
}

impl Operator for WindowJoinOperator {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        let buffer = self.buffers.get_mut(input).ok_or_else(|| Error::internal("a join has two inputs"))?;
        let (batch, times, late) = buffer.in_time(batch, self.watermark)?;
        if let (Some(rows), Some(late)) = (late, self.late.get(input)) {
            self.late_records_dropped += rows.num_rows() as u64;
            late.emit(&rows, self.watermark, out)?;
        }
        buffer.push(&batch, &times)?;
        if self.bytes() > self.budget_bytes {
            self.buffers.iter_mut().try_for_each(|buffer| buffer.rows_mut().spill(&self.backend))?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            let [left, right] = &mut self.buffers;
            let left = left.release(&self.backend, watermark)?.unwrap_or_default();
            let right = right.release(&self.backend, watermark)?.unwrap_or_default();
            if !left.is_empty() || !right.is_empty() {
                self.join(&left, &right, out)?;
            }
            self.watermark = watermark;
        }
        out.watermark(self.watermark)
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        self.buffers.iter_mut().try_for_each(|buffer| buffer.rows_mut().flush(&self.backend))?;
        let number = self.buffers.iter().map(WindowBuffer::rows).max_by_key(|rows| rows.next_number());
        Ok(OperatorSnapshot {
            keyed: Some(self.backend.snapshot()?),
            operator_state: Some(operator_state(self.watermark, number)),
        })
    }

    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics {
            late_records_dropped: self.late_records_dropped,
            state_memory_bytes: u64::try_from(self.bytes()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
#[path = "window_join_tests.rs"]
mod tests;
