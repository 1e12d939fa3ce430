//! `GROUP BY keys, window_start, window_end` over sessions: one row per key and session, when it is over.
//!
//! A session is over when the watermark reaches its last ms. A row is late, dropped and counted, when its own session
//! would be over and it touches no live one. Results do not depend on batching: rows find their sessions one by one.
//!
//! Operator state, version 1: `{"v": 1, "watermark": ms}`. Keyed state: see [`store`].

pub mod rows;
pub mod store;
pub mod tracker;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::aggregate::{AggregateInput, AggregateType};
use super::event_time::{TimeShift, from_ms, to_ms};
use super::late::LateRecords;
use super::window_aggregate::restored_watermark;
use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::{WindowAggregateSpec, WindowInput, WindowKind, WindowProperty};
use crate::state::StateContext;
use crate::state::key_codec::KeyCodec;
use crate::types::Schema;
use store::SessionStore;
use tracker::Tracker;

/// See the module text.
pub struct SessionAggregateOperator {
    spec: WindowAggregateSpec,
    rowtime: usize,
    shift: TimeShift,
    output: SchemaRef,
    store: SessionStore,
    watermark: Watermark,
    late: LateRecords,
    late_records_dropped: u64,
}

impl SessionAggregateOperator {
    /// Opens the state, fresh or restored. `restored_operator_state` has the values of all old subtasks.
    pub fn open(
        spec: &WindowAggregateSpec,
        input: &Schema,
        output: &Schema,
        context: StateContext,
        restored_operator_state: &[serde_json::Value],
        evaluation: &EvalContext,
    ) -> Result<Self> {
        let WindowInput::Assign { window: WindowKind::Session { gap_ms }, rowtime } = spec.input else {
            return Err(Error::internal("a session aggregate needs sessions"));
        };
        let field = |index: usize| {
            input.fields.get(index).ok_or_else(|| Error::internal("a column of a session aggregate does not exist"))
        };
        let keys = spec.keys.iter().map(|k| field(*k)).collect::<Result<Vec<_>>>()?;
        let codec = KeyCodec::new(keys.iter().map(|f| f.data_type.to_arrow()).collect())?;
        let types: Vec<AggregateType> =
            spec.aggregates.iter().map(|a| AggregateType::new(a, input)).collect::<Result<_>>()?;
        let key_types: Vec<_> = keys.iter().map(|f| f.data_type.kind.regular().to_string()).collect();
        let aggregates: Vec<_> = types.iter().map(AggregateType::layout).collect();
        let layout = format!(
            "sessions [{gap_ms} ms] by keys [{}] with aggregates [{}]",
            key_types.join(", "),
            aggregates.join(", ")
        );
        let shift = TimeShift::of(&field(rowtime)?.data_type.kind, evaluation);
        Ok(SessionAggregateOperator {
            store: SessionStore::open(&context, codec, types, Tracker::new(gap_ms, shift), &layout, &[])?,
            watermark: restored_watermark(restored_operator_state)?,
            spec: spec.clone(),
            rowtime,
            shift,
            output: output.to_arrow(),
            late: LateRecords::new("SessionWindowAggregate", input),
            late_records_dropped: 0,
        })
    }

    fn emit(&self, slots: &[u32], out: &mut dyn Collector) -> Result<()> {
        let mut columns = self.store.columns(slots)?;
        let bounds: Vec<(i64, i64)> = slots.iter().map(|slot| self.store.bounds(*slot)).collect();
        for property in &self.spec.properties {
            let values = bounds.iter().map(|(start, end)| match property {
                WindowProperty::Start => *start,
                WindowProperty::End => *end,
                WindowProperty::Time => self.shift.to_instant(end.wrapping_sub(1)),
            });
            let field = self.output.fields().get(columns.len());
            let field = field.ok_or_else(|| Error::internal("a session aggregate emits more columns than planned"))?;
            columns.push(from_ms(values.collect(), field.data_type())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
        out.batch(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?)
    }
}

impl Operator for SessionAggregateOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut times = to_ms(batch.column(self.rowtime))?;
        self.shift.to_local(&mut times);
        let keys: Vec<ArrayRef> = self.spec.keys.iter().map(|k| batch.column(*k).clone()).collect();
        let mut slots = self.store.assign(&keys, &times, self.watermark)?;
        let rows: Vec<u32> = (0u32..).zip(&slots).filter(|(_, slot)| **slot != u32::MAX).map(|(row, _)| row).collect();
        let late = slots.len() - rows.len();
        if late > 0 {
            self.late_records_dropped += u64::try_from(late).unwrap_or(u64::MAX);
            self.late.emit(&late_rows(&batch, &slots)?, self.watermark, out)?;
        }
        let rows = (late > 0).then(|| UInt32Array::from(rows));
        slots.retain(|slot| *slot != u32::MAX);
        let column = |index: usize| match &rows {
            None => Ok(batch.column(index).clone()),
            Some(rows) => take(batch.column(index), rows, None),
        };
        let inputs = self.spec.aggregates.iter().map(|call| {
            let argument = call.argument.map(column).transpose()?;
            Ok::<_, Error>(AggregateInput { argument, filter: call.filter.map(column).transpose()? })
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        self.store.update(&inputs, &slots)?;
        self.store.keep_budget()
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            let over = self.store.over(watermark)?;
            for slots in over.chunks(MAX_BATCH_ROWS) {
                self.emit(slots, out)?;
            }
            self.store.remove(&over)?;
            self.watermark = watermark;
        }
        out.watermark(self.watermark)
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        Ok(OperatorSnapshot {
            keyed: Some(self.store.snapshot()?),
            operator_state: Some(serde_json::json!({"v": 1, "watermark": self.watermark})),
        })
    }

    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics {
            late_records_dropped: self.late_records_dropped,
            state_memory_bytes: u64::try_from(self.store.bytes()).unwrap_or(u64::MAX),
        }
    }
}

/// The rows without a session.
fn late_rows(batch: &RecordBatch, slots: &[u32]) -> Result<RecordBatch> {
    let late = (0u32..).zip(slots).filter(|(_, slot)| **slot == u32::MAX).map(|(row, _)| row);
    Ok(take_record_batch(batch, &UInt32Array::from_iter_values(late))?)
}

#[cfg(test)]
mod tests;
