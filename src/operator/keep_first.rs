//! Deduplication by event time that keeps the first row: each key's earliest row, once the watermark has passed it.
//!
//! Rows wait for the watermark; then the first of a key is emitted, and all later ones are dropped. A row whose time the
//! watermark has left behind when it comes is late, dropped and counted. Results are only ever added. Source: Flink's
//! `RowTimeDeduplicateKeepFirstRowFunction`.
//!
//! State: tables `pending` ([`crate::state::time_buffer`]) and `emitted` (keys that have their row; value = version byte
//! 1), kept for ever. Operator state: [`crate::state::time_buffer::operator_state`].

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::event_time::to_ms;
use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::graph::key_group::key_group;
use crate::graph::ranking::KeepFirstSpec;
use crate::state::backend::malformed;
use crate::state::key_codec::KeyCodec;
use crate::state::keyed_map::{Entries, KeyedMap};
use crate::state::row_codec::RowCodec;
use crate::state::time_buffer::{TimeBuffer, in_time, operator_state, restored_operator_state};
use crate::state::{Backend, StateContext};
use crate::types::Schema;

const PENDING: &str = "pending";
const EMITTED: &str = "emitted";
const VALUE_VERSION: u8 = 1;

/// Whether a key has its row.
#[derive(Default)]
struct Emitted(Vec<bool>);

impl Entries for Emitted {
    fn resize(&mut self, slots: usize) {
        self.0.resize(slots, false);
    }
    fn is_empty(&self, slot: usize) -> bool {
        !self.0[slot]
    }
    fn write(&self, _slot: usize, out: &mut Vec<u8>) {
        out.push(VALUE_VERSION);
    }
    fn read(&mut self, slot: usize, value: &[u8]) -> Result<()> {
        if value != [VALUE_VERSION] {
            return Err(malformed("a deduplicated key has an unknown version"));
        }
        self.0[slot] = true;
        Ok(())
    }
    fn keep(&mut self, slots: &[u32]) -> Result<()> {
        self.0 = slots.iter().map(|s| self.0[*s as usize]).collect();
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.0.capacity()
    }
}

/// See the module text.
pub struct KeepFirstOperator {
    spec: KeepFirstSpec,
    output: SchemaRef,
    backend: Backend,
    map: KeyedMap<Emitted>,
    buffer: TimeBuffer,
    max_parallelism: u32,
    budget_bytes: usize,
    watermark: Watermark,
    late_records_dropped: u64,
}

impl KeepFirstOperator {
    /// Opens the state, fresh or restored. `restored` has the operator states of all old subtasks.
    pub fn open(
        spec: &KeepFirstSpec,
        input: &Schema,
        output: &Schema,
        context: StateContext,
        restored: &[serde_json::Value],
    ) -> Result<Self> {
        let types: Vec<_> = input.fields.iter().map(|f| f.data_type.to_arrow()).collect();
        let key_type = |k: &usize| types.get(*k).cloned().ok_or_else(|| Error::internal("a key column does not exist"));
        let keys = KeyCodec::new(spec.keys.iter().map(key_type).collect::<Result<_>>()?)?;
        let columns: Vec<_> = input.fields.iter().map(|f| f.data_type.kind.regular().to_string()).collect();
        let layout = format!("first of rows [{}] of {:?} by {}", columns.join(", "), spec.keys, spec.rowtime);
        let backend = Backend::open(&context, &[PENDING, EMITTED], &layout)?;
        let (watermark, next_number) = restored_operator_state(restored)?;
        let budget_bytes = context.memory_budget_bytes;
        let map = KeyedMap::open(
            &backend,
            EMITTED,
            None,
            keys,
            context.max_parallelism,
            Emitted::default(),
            budget_bytes / 2,
        )?;
        Ok(KeepFirstOperator {
            spec: spec.clone(),
            output: output.to_arrow(),
            buffer: TimeBuffer::open(&backend, PENDING, RowCodec::new(types), next_number)?,
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

    /// Emits the rows that are the first of their key; rows are in the order of time.
    fn emit(&mut self, columns: &[ArrayRef], rows: usize, out: &mut dyn Collector) -> Result<()> {
        let keys = self.map.codec().encode(&self.keys(columns)?, rows)?;
        let mut slots = Vec::new();
        self.map.resolve(&self.backend, &keys, None, &mut slots)?;
        let (mut first, mut changed) = (Vec::new(), Vec::new());
        for (row, slot) in (0u32..).zip(slots) {
            let emitted = &mut self.map.entries.0[slot as usize];
            if !std::mem::replace(emitted, true) {
                first.push(row);
                changed.push(slot);
            }
        }
        self.map.change(&changed);
        for part in first.chunks(MAX_BATCH_ROWS) {
            let rows = UInt32Array::from(part.to_vec());
            let mut columns: Vec<ArrayRef> = columns.iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>()?;
            if self.spec.number {
                columns.push(Arc::new(Int64Array::from(vec![1; part.len()])));
            }
            out.batch(RecordBatch::try_new(self.output.clone(), columns)?)?;
        }
        if self.map.bytes() > self.budget_bytes {
            self.map.evict(&self.backend, self.budget_bytes / 2)?;
        }
        Ok(())
    }
}

impl Operator for KeepFirstOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, _out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut batch = batch;
        let mut times = to_ms(batch.column(self.spec.rowtime))?;
        // A row of the watermark's own time is not late yet.
        if let Some(kept) = in_time(&times, self.watermark.saturating_sub(1)) {
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
        if self.buffer.bytes() + self.map.bytes() > self.budget_bytes && self.buffer.bytes() > self.budget_bytes / 2 {
            self.buffer.spill(&self.backend)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            if let Some(released) = self.buffer.release(&self.backend, watermark)? {
                self.emit(&released.columns, released.times.len(), out)?;
            }
            self.watermark = watermark;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::MAX_WATERMARK;
    use crate::operator::harness::Harness;
    use crate::types::{DataType, Field, TimestampKind, TypeKind};
    use arrow::array::TimestampMillisecondArray;
    use proptest::prelude::*;

    fn schema() -> Schema {
        let time = DataType::not_null(TypeKind::Timestamp(3, TimestampKind::Rowtime));
        Schema::new(vec![
            Field::new("k", TypeKind::BigInt.into()),
            Field::new("ts", time),
            Field::new("v", TypeKind::BigInt.into()),
        ])
    }

    fn batch(rows: &[(i64, i64, i64)]) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
            Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.1))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
        ];
        RecordBatch::try_new(schema().to_arrow(), columns).unwrap()
    }

    fn harness(parallelism: u32, budget: usize) -> Harness {
        let spec = KeepFirstSpec { keys: vec![0], rowtime: 1, number: true };
        let mut output = schema();
        output.fields.push(Field::new("n", TypeKind::BigInt.into()));
        Harness::new(&schema(), &[0], parallelism, budget, move |context, restored| {
            Ok(Box::new(KeepFirstOperator::open(&spec, &schema(), &output, context, restored)?))
        })
    }

    #[test]
    fn the_earliest_row_of_a_key_comes_out_once() {
        let mut harness = harness(1, 1 << 20);
        harness.process(&batch(&[(1, 30, 0), (2, 10, 1), (1, 20, 2), (1, 20, 3)])).unwrap();
        harness.watermark(15).unwrap();
        assert_eq!(harness.out.integers(), [[2, 10, 1, 1]]);
        harness.process(&batch(&[(1, 15, 4), (1, 14, 5), (2, 15, 6)])).unwrap();
        assert_eq!(harness.late(), 1);
        harness.watermark(MAX_WATERMARK).unwrap();
        assert_eq!(harness.out.integers(), [[2, 10, 1, 1], [1, 15, 4, 1]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn it_agrees_with_a_sort(
            rows in prop::collection::vec((0i64..6, 0i64..40), 1..60),
            cuts in prop::collection::vec((1usize..9, 0u32..5), 1..9),
            tight in any::<bool>(),
        ) {
            let rows: Vec<_> = (0..).zip(rows).map(|(n, (k, late))| (k, 100 + 10 * n - late, n)).collect();
            let mut harness = harness(2, if tight { 100 } else { 1 << 20 });
            let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
            while at < rows.len() {
                let (length, restore) = cuts.next().unwrap();
                let end = rows.len().min(at + length);
                harness.process(&batch(&rows[at..end])).unwrap();
                harness.watermark(100 + 10 * i64::try_from(end).unwrap() - 41).unwrap();
                if (1..4).contains(&restore) {
                    harness.restore(restore);
                }
                at = end;
            }
            harness.watermark(MAX_WATERMARK).unwrap();
            let mut sorted = rows.clone();
            sorted.sort_by_key(|r| r.1);
            let mut expected: Vec<Vec<i64>> = Vec::new();
            for (k, time, v) in sorted {
                if !expected.iter().any(|e| e[0] == k) {
                    expected.push(vec![k, time, v, 1]);
                }
            }
            expected.sort();
            prop_assert_eq!(harness.folded(), expected);
        }
    }
}
