//! Window Top-N and window deduplication: `ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY …)` and a
//! filter on the number. A window's rows are ranked and emitted when it is over; of equal rows the first to come is
//! first. With one row per partition by descending event time, it is the last one to come, as in Flink's
//! deduplication.
//!
//! Of each batch only the rows that may be among the kept ones are held. Late rows are dropped and counted. Operator
//! state: `state::time_buffer`. Source: Flink `WindowRankOperatorBuilder`, `RowTimeWindowDeduplicateOperatorBuilder`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::event_time::TimeShift;
use super::late::LateRecords;
use super::window_buffer::WindowBuffer;
use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::{RankSpec, SortOrder, WindowRankSpec};
use crate::state::key_codec::KeyCodec;
use crate::state::key_table::KeyTable;
use crate::state::time_buffer::{operator_state, restored_operator_state};
use crate::state::{Backend, StateContext, sort_codec};
use crate::types::Schema;

const ROWS: &str = "rows";

/// See the module text.
pub struct WindowRankOperator {
    ranking: Ranking,
    buffer: WindowBuffer,
    backend: Backend,
    budget_bytes: usize,
    output: SchemaRef,
    watermark: Watermark,
    late: LateRecords,
    late_records_dropped: u64,
}

impl WindowRankOperator {
    /// Opens the state, fresh or restored. `restored` has the values of all old subtasks.
    pub fn open(
        spec: &WindowRankSpec,
        input: &Schema,
        output: &Schema,
        context: &StateContext,
        restored: &[serde_json::Value],
        evaluation: &EvalContext,
    ) -> Result<Self> {
        let types: Vec<String> = input.fields.iter().map(|f| f.data_type.kind.regular().to_string()).collect();
        let layout = format!("rows of windows [{}] by {:?}", types.join(", "), spec.rank.partition_by);
        let backend = Backend::open(context, &[ROWS], &layout)?;
        let (watermark, number) = restored_operator_state(restored)?;
        let shift = TimeShift::of_windows(spec.zoned, evaluation);
        let place = (spec.window_end, spec.rank.partition_by.as_slice());
        Ok(WindowRankOperator {
            ranking: Ranking::new(&spec.rank, input)?,
            buffer: WindowBuffer::open(&backend, ROWS, input, place, shift, context.max_parallelism, number)?,
            backend,
            budget_bytes: context.memory_budget_bytes,
            output: output.to_arrow(),
            watermark,
            late: LateRecords::new("WindowRank", input),
            late_records_dropped: 0,
        })
    }

    fn emit(&self, columns: &[ArrayRef], out: &mut dyn Collector) -> Result<()> {
        let rows = columns.first().map_or(0, |c| c.len());
        let mut ranked = self.ranking.rank(columns, rows)?;
        ranked.retain(|(_, number)| *number >= self.ranking.spec.first);
        for chunk in ranked.chunks(MAX_BATCH_ROWS) {
            let rows = UInt32Array::from_iter_values(chunk.iter().map(|(row, _)| *row));
            let mut columns: Vec<ArrayRef> = columns.iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>()?;
            if self.ranking.spec.number {
                let numbers = chunk.iter().map(|(_, number)| i64::try_from(*number).unwrap_or(i64::MAX));
                columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
            }
            out.batch(RecordBatch::try_new(self.output.clone(), columns)?)?;
        }
        Ok(())
    }
}

impl Operator for WindowRankOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        let (batch, times, late) = self.buffer.in_time(batch, self.watermark)?;
        if let Some(late) = late {
            self.late_records_dropped += late.num_rows() as u64;
            self.late.emit(&late, self.watermark, out)?;
        }
        let mut kept: Vec<u32> =
            self.ranking.rank(batch.columns(), batch.num_rows())?.into_iter().map(|(row, _)| row).collect();
        if kept.len() == batch.num_rows() {
            self.buffer.push(&batch, &times)?;
        } else {
            kept.sort_unstable();
            let times: Vec<i64> = kept.iter().map(|row| times[*row as usize]).collect();
            self.buffer.push(&arrow::compute::take_record_batch(&batch, &UInt32Array::from(kept))?, &times)?;
        }
        if self.buffer.rows().bytes() > self.budget_bytes {
            self.buffer.rows_mut().spill(&self.backend)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            if let Some(columns) = self.buffer.release(&self.backend, watermark)? {
                self.emit(&columns, out)?;
            }
            self.watermark = watermark;
        }
        out.watermark(self.watermark)
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        self.buffer.rows_mut().flush(&self.backend)?;
        Ok(OperatorSnapshot {
            keyed: Some(self.backend.snapshot()?),
            operator_state: Some(operator_state(self.watermark, Some(self.buffer.rows()))),
        })
    }

    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics {
            late_records_dropped: self.late_records_dropped,
            state_memory_bytes: u64::try_from(self.buffer.rows().bytes()).unwrap_or(u64::MAX),
        }
    }
}

/// Numbers rows within their partitions.
struct Ranking {
    spec: RankSpec,
    codec: KeyCodec,
    /// Of equal rows the last to come is first.
    newest_first: bool,
}

impl Ranking {
    fn new(spec: &RankSpec, input: &Schema) -> Result<Self> {
        let field = |column: usize| {
            input.fields.get(column).ok_or_else(|| Error::internal("a column of a rank does not exist"))
        };
        let types = spec.partition_by.iter().map(|c| Ok(field(*c)?.data_type.to_arrow())).collect::<Result<_>>()?;
        let newest_first = match spec.order_by.as_slice() {
            [key] => {
                (spec.first, spec.last, key.order) == (1, 1, SortOrder::Descending)
                    && field(key.column)?.data_type.kind.is_rowtime()
            }
            _ => false,
        };
        Ok(Ranking { spec: spec.clone(), codec: KeyCodec::new(types)?, newest_first })
    }

    /// The rows that have a number up to the last one kept, with it, partition by partition.
    fn rank(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<(u32, u64)>> {
        let keys: Vec<ArrayRef> = self.spec.partition_by.iter().filter_map(|c| columns.get(*c).cloned()).collect();
        let mut partitions = Vec::new();
        KeyTable::new(&self.codec).resolve(&self.codec.encode(&keys, rows)?, &mut partitions)?;
        let sort_keys = sort_codec::encode(columns, &self.spec.order_by, rows)?;
        let mut order: Vec<u32> = (0u32..).take(rows).collect();
        order.sort_unstable_by(|a, b| {
            let (x, y) = (*a as usize, *b as usize);
            let arrival = if self.newest_first { b.cmp(a) } else { a.cmp(b) };
            partitions[x].cmp(&partitions[y]).then_with(|| sort_keys[x].cmp(&sort_keys[y])).then(arrival)
        });
        let mut ranked = Vec::new();
        let (mut partition, mut number) = (u32::MAX, 0);
        for row in order {
            let of = partitions[row as usize];
            number = if of == partition { number + 1 } else { 1 };
            partition = of;
            if number <= self.spec.last {
                ranked.push((row, number));
            }
        }
        Ok(ranked)
    }
}

#[cfg(test)]
#[path = "window_rank_tests.rs"]
mod tests;
