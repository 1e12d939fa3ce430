//! `SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), gap)` without an aggregation by the same key: a session's rows, with
//! its start, end and time, when it is over.
//!
//! Rows are late as in the session aggregate, which see. Keyed state: the sessions ([`super::store`], without
//! aggregates) and the table `rows` ([`crate::state::row_lists`]): per key its rows in order of arrival, each 8 bytes of
//! local event time, big endian, then the row ([`crate::state::row_codec`]). Source: Flink
//! `UnalignedWindowTableFunctionOperator`.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::late_rows;
use super::store::SessionStore;
use super::tracker::Tracker;
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::{WindowKind, WindowTableSpec};
use crate::operator::event_time::{TimeShift, from_ms, to_ms};
use crate::operator::late::LateRecords;
use crate::operator::window_aggregate::restored_watermark;
use crate::operator::{Collector, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::state::StateContext;
use crate::state::backend::malformed;
use crate::state::key_codec::KeyCodec;
use crate::state::row_codec::RowCodec;
use crate::state::row_lists::{Identity, RowLists};
use crate::types::Schema;

const ROWS: &str = "rows";

/// See the module text.
pub struct SessionTableOperator {
    spec: WindowTableSpec,
    shift: TimeShift,
    codec: RowCodec,
    output: SchemaRef,
    store: SessionStore,
    lists: RowLists,
    budget_bytes: usize,
    watermark: Watermark,
    late: LateRecords,
    late_records_dropped: u64,
}

/// Rows of sessions that are over, to be emitted.
#[derive(Default)]
struct Due {
    rows: Vec<Vec<u8>>,
    bounds: Vec<(i64, i64)>,
}

impl SessionTableOperator {
    /// Opens the state, fresh or restored. `restored` has the values of all old subtasks.
    pub fn open(
        spec: &WindowTableSpec,
        input: &Schema,
        output: &Schema,
        context: &StateContext,
        restored: &[serde_json::Value],
        evaluation: &EvalContext,
    ) -> Result<Self> {
        let WindowKind::Session { gap_ms } = spec.window else {
            return Err(Error::internal("a session table needs sessions"));
        };
        let field = |index: usize| {
            input.fields.get(index).ok_or_else(|| Error::internal("a column of a session table does not exist"))
        };
        let keys = spec.partition_by.iter().map(|k| Ok(field(*k)?.data_type.to_arrow())).collect::<Result<Vec<_>>>()?;
        let keys = KeyCodec::new(keys)?;
        let types: Vec<String> = input.fields.iter().map(|f| f.data_type.kind.regular().to_string()).collect();
        let layout = format!("rows of sessions [{gap_ms} ms] by {:?} of [{}]", spec.partition_by, types.join(", "));
        let shift = TimeShift::of(&field(spec.rowtime)?.data_type.kind, evaluation);
        // Half of the memory for the sessions, half for their rows.
        let half = StateContext { memory_budget_bytes: context.memory_budget_bytes / 2, ..context.clone() };
        let tracker = Tracker::new(gap_ms, shift);
        let store = SessionStore::open(&half, keys.clone(), vec![], tracker, &layout, &[ROWS])?;
        Ok(SessionTableOperator {
            lists: RowLists::open(store.backend(), ROWS, keys, context.max_parallelism),
            store,
            codec: RowCodec::new(input.fields.iter().map(|f| f.data_type.to_arrow()).collect()),
            shift,
            output: output.to_arrow(),
            budget_bytes: half.memory_budget_bytes,
            watermark: restored_watermark(restored)?,
            spec: spec.clone(),
            late: LateRecords::new("WindowTableFunction", input),
            late_records_dropped: 0,
        })
    }

    fn keys_of(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.spec.partition_by.iter().map(|k| batch.column(*k).clone()).collect()
    }

    /// Takes the rows of these sessions out.
    fn take(&mut self, slots: &[u32], due: &mut Due, out: &mut dyn Collector) -> Result<()> {
        let keys = self.lists.codec().encode(&self.store.columns(slots)?, slots.len())?;
        let mut groups = Vec::new();
        self.lists.lookup(self.store.backend(), &keys, &mut groups)?;
        for (slot, group) in slots.iter().zip(groups) {
            let (start, end) = self.store.bounds(*slot);
            let mut of_session = Vec::new();
            for entry in self.lists.entries(group) {
                let stored = self.lists.row(entry).split_first_chunk::<8>();
                let Some((time, row)) = stored else { return Err(malformed("a session's row is too short")) };
                if (start..end).contains(&i64::from_be_bytes(*time)) {
                    due.rows.push(row.to_vec());
                    due.bounds.push((start, end));
                    of_session.push(entry);
                }
            }
            of_session.into_iter().for_each(|entry| self.lists.remove(entry));
            if due.rows.len() >= MAX_BATCH_ROWS {
                self.emit(std::mem::take(due), out)?;
            }
        }
        Ok(())
    }

    fn emit(&self, due: Due, out: &mut dyn Collector) -> Result<()> {
        for (rows, bounds) in due.rows.chunks(MAX_BATCH_ROWS).zip(due.bounds.chunks(MAX_BATCH_ROWS)) {
            let rows: Vec<&[u8]> = rows.iter().map(|row| &row[..]).collect();
            let mut columns = self.codec.decode(&rows)?;
            let times: [Vec<i64>; 3] = [
                bounds.iter().map(|(start, _)| *start).collect(),
                bounds.iter().map(|(_, end)| *end).collect(),
                bounds.iter().map(|(_, end)| self.shift.to_instant(end.wrapping_sub(1))).collect(),
            ];
            for values in times {
                let field = self.output.fields().get(columns.len());
                let field = field.ok_or_else(|| Error::internal("a session table emits more columns than planned"))?;
                columns.push(from_ms(values, field.data_type())?);
            }
            out.batch(RecordBatch::try_new(self.output.clone(), columns)?)?;
        }
        Ok(())
    }
}

impl Operator for SessionTableOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut times = to_ms(batch.column(self.spec.rowtime))?;
        self.shift.to_local(&mut times);
        let slots = self.store.assign(&self.keys_of(&batch), &times, self.watermark)?;
        let rows: Vec<u32> = (0u32..).zip(&slots).filter(|(_, slot)| **slot != u32::MAX).map(|(row, _)| row).collect();
        if rows.len() < slots.len() {
            self.late_records_dropped += u64::try_from(slots.len() - rows.len()).unwrap_or(u64::MAX);
            self.late.emit(&late_rows(&batch, &slots)?, self.watermark, out)?;
        }
        let times: Vec<i64> = rows.iter().map(|row| times[*row as usize]).collect();
        let batch = take_record_batch(&batch, &UInt32Array::from(rows))?;
        let keys = self.lists.codec().encode(&self.keys_of(&batch), batch.num_rows())?;
        let mut groups = Vec::new();
        self.lists.groups(&keys, &mut groups)?;
        let encoder = self.codec.encoder(batch.columns())?;
        let mut stored = Vec::new();
        for (row, (group, time)) in groups.iter().zip(&times).enumerate() {
            stored.clear();
            stored.extend_from_slice(&time.to_be_bytes());
            encoder.write(row, &mut stored);
            self.lists.push(*group, &stored, Identity::Row, 0)?;
        }
        self.store.keep_budget()?;
        self.lists.keep_budget(self.store.backend(), self.budget_bytes)
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            let over = self.store.over(watermark)?;
            let mut due = Due::default();
            for slots in over.chunks(MAX_BATCH_ROWS) {
                self.take(slots, &mut due, out)?;
            }
            self.emit(due, out)?;
            self.store.remove(&over)?;
            self.watermark = watermark;
        }
        out.watermark(self.watermark)
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        self.lists.flush(self.store.backend())?;
        Ok(OperatorSnapshot {
            keyed: Some(self.store.snapshot()?),
            operator_state: Some(serde_json::json!({"v": 1, "watermark": self.watermark})),
        })
    }

    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics {
            late_records_dropped: self.late_records_dropped,
            state_memory_bytes: u64::try_from(self.store.bytes() + self.lists.bytes()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
