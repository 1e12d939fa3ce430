//! Each row as often as one of its columns says: `INTERSECT ALL`, `EXCEPT ALL`.

use arrow::array::{AsArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::{Collector, Operator};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::graph::ReplicateSpec;

/// See the module text.
pub struct ReplicateOperator {
    count: usize,
}

impl ReplicateOperator {
    /// Copies rows by this column.
    pub fn new(spec: &ReplicateSpec) -> Self {
        ReplicateOperator { count: spec.count }
    }
}

impl Operator for ReplicateOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        let counts = batch.column(self.count).as_primitive_opt::<Int64Type>();
        let counts = counts.ok_or_else(|| Error::internal("the number of copies is not a BIGINT"))?.values().clone();
        let mut rows = Vec::with_capacity(MAX_BATCH_ROWS);
        for (row, count) in (0u32..).zip(counts.iter()) {
            for _ in 0..*count {
                rows.push(row);
                if rows.len() == MAX_BATCH_ROWS {
                    out.batch(take_record_batch(&batch, &UInt32Array::from(std::mem::take(&mut rows)))?)?;
                }
            }
        }
        out.batch(take_record_batch(&batch, &UInt32Array::from(rows))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::test_support::Collected;
    use crate::types::{DataType, Field, Schema, TypeKind};
    use arrow::array::Int64Array;
    use std::sync::Arc;

    #[test]
    fn rows_come_as_often_as_their_count_says() {
        let field = |name| Field::new(name, DataType::not_null(TypeKind::BigInt));
        let schema = Schema::new(vec![field("a"), field("n")]);
        let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as arrow::array::ArrayRef;
        let batch =
            RecordBatch::try_new(schema.to_arrow(), vec![column(vec![7, 8, 9]), column(vec![2, 0, 20_000])]).unwrap();
        let mut out = Collected::default();
        ReplicateOperator::new(&ReplicateSpec { count: 1 }).process(0, batch, &mut out).unwrap();
        assert!(out.batches.iter().all(|b| b.num_rows() <= MAX_BATCH_ROWS));
        let rows = out.integers();
        assert_eq!((rows.len(), rows[0][0], rows[1][0], rows[2][0]), (20_002, 7, 7, 9));
    }
}
