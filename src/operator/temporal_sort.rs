//! `ORDER BY` an event-time attribute, and further columns: rows come out in order as the watermark passes them.
//!
//! One subtask sorts all rows. A row whose time the watermark has passed when it comes is late, dropped and counted. Rows
//! that are equal in the order stay in the order of arrival. Source: Flink's `RowTimeSortOperator`.
//!
//! State: table `pending` ([`crate::state::time_buffer`]), all in key group 0. Operator state:
//! [`crate::state::time_buffer::operator_state`].

use arrow::array::UInt32Array;
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::event_time::to_ms;
use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::graph::key_group::{hash_key, key_group};
use crate::graph::ranking::TemporalSortSpec;
use crate::state::row_codec::RowCodec;
use crate::state::time_buffer::{TimeBuffer, in_time, operator_state, restored_operator_state};
use crate::state::{Backend, StateContext, sort_codec};
use crate::types::Schema;

const PENDING: &str = "pending";

/// See the module text.
pub struct TemporalSortOperator {
    spec: TemporalSortSpec,
    rowtime: usize,
    output: SchemaRef,
    backend: Backend,
    buffer: TimeBuffer,
    /// That of the empty key, as of every global operator.
    key_group: u16,
    budget_bytes: usize,
    watermark: Watermark,
    late_records_dropped: u64,
}

impl TemporalSortOperator {
    /// Opens the state, fresh or restored. `restored` has the operator states of all old subtasks.
    pub fn open(
        spec: &TemporalSortSpec,
        input: &Schema,
        context: StateContext,
        restored: &[serde_json::Value],
    ) -> Result<Self> {
        let rowtime = spec.order_by.first().map(|k| k.column);
        let types = input.fields.iter().map(|f| f.data_type.to_arrow()).collect();
        let columns: Vec<_> = input.fields.iter().map(|f| f.data_type.kind.regular().to_string()).collect();
        let layout = format!("rows [{}] in the order of {:?}", columns.join(", "), spec.order_by);
        let backend = Backend::open(&context, &[PENDING], &layout)?;
        let (watermark, next_number) = restored_operator_state(restored)?;
        Ok(TemporalSortOperator {
            spec: spec.clone(),
            rowtime: rowtime.ok_or_else(|| Error::internal("a temporal sort has no order"))?,
            output: input.to_arrow(),
            buffer: TimeBuffer::open(&backend, PENDING, RowCodec::new(types), next_number)?,
            backend,
            key_group: key_group(hash_key(&[]), context.max_parallelism),
            budget_bytes: context.memory_budget_bytes,
            watermark,
            late_records_dropped: 0,
        })
    }
}

impl Operator for TemporalSortOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, _out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut batch = batch;
        let mut times = to_ms(batch.column(self.rowtime))?;
        if let Some(kept) = in_time(&times, self.watermark) {
            self.late_records_dropped += u64::try_from(times.len() - kept.len()).unwrap_or(u64::MAX);
            times = kept.iter().map(|r| times[*r as usize]).collect();
            batch = take_record_batch(&batch, &UInt32Array::from(kept))?;
        }
        if times.is_empty() {
            return Ok(());
        }
        self.buffer.push(batch.columns().to_vec(), &times, &vec![self.key_group; times.len()])?;
        if self.buffer.bytes() > self.budget_bytes {
            self.buffer.spill(&self.backend)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            if let Some(released) = self.buffer.release(&self.backend, watermark)? {
                let rows = released.times.len();
                let mut order: Vec<u32> = (0u32..).take(rows).collect();
                if let Some(rest) = self.spec.order_by.get(1..).filter(|rest| !rest.is_empty()) {
                    let keys = sort_codec::encode(&released.columns, rest, rows)?;
                    order.sort_by(|a, b| {
                        let key = |row: u32| (released.times[row as usize], &keys[row as usize]);
                        key(*a).cmp(&key(*b))
                    });
                }
                for part in order.chunks(MAX_BATCH_ROWS) {
                    let rows = UInt32Array::from(part.to_vec());
                    let columns = released.columns.iter().map(|c| take(c, &rows, None));
                    out.batch(RecordBatch::try_new(self.output.clone(), columns.collect::<Result<_, _>>()?)?)?;
                }
            }
            self.watermark = watermark;
        }
        out.watermark(self.watermark)
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        self.buffer.flush(&self.backend)?;
        Ok(OperatorSnapshot {
            keyed: Some(self.backend.snapshot()?),
            operator_state: Some(operator_state(self.watermark, Some(&self.buffer))),
        })
    }

    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics {
            late_records_dropped: self.late_records_dropped,
            state_memory_bytes: u64::try_from(self.buffer.bytes()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{NullOrder, SortKey, SortOrder};
    use crate::operator::MAX_WATERMARK;
    use crate::operator::harness::Harness;
    use crate::types::{DataType, Field, TimestampKind, TypeKind};
    use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
    use std::sync::Arc;

    fn schema() -> Schema {
        let time = DataType::not_null(TypeKind::Timestamp(3, TimestampKind::Rowtime));
        Schema::new(vec![Field::new("ts", time), Field::new("v", TypeKind::BigInt.into())])
    }

    fn batch(rows: &[(i64, i64)]) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.0))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
        ];
        RecordBatch::try_new(schema().to_arrow(), columns).unwrap()
    }

    #[test]
    fn rows_come_out_in_order_over_a_restore() {
        for budget in [1, 1 << 20] {
            let key = |column, order| SortKey { column, order, nulls: NullOrder::First };
            let order_by = vec![key(0, SortOrder::Ascending), key(1, SortOrder::Descending)];
            let spec = TemporalSortSpec { order_by };
            let mut harness = Harness::new(&schema(), &[], 1, budget, move |context, restored| {
                Ok(Box::new(TemporalSortOperator::open(&spec, &schema(), context, restored)?))
            });
            harness.process(&batch(&[(5, 1), (3, 1), (5, 2), (9, 0)])).unwrap();
            harness.restore(1);
            harness.process(&batch(&[(5, 3), (4, 0)])).unwrap();
            harness.watermark(5).unwrap();
            assert_eq!(harness.out.integers(), [[3, 1], [4, 0], [5, 3], [5, 2], [5, 1]]);
            harness.process(&batch(&[(5, 9), (6, 0)])).unwrap();
            assert_eq!(harness.late(), 1);
            harness.restore(1);
            harness.watermark(MAX_WATERMARK).unwrap();
            assert_eq!(harness.out.integers()[5..], [vec![6, 0], vec![9, 0]]);
        }
    }
}
