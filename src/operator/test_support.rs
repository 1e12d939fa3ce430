//! A collector for the tests of operators.

use arrow::array::Array;
use arrow::record_batch::RecordBatch;

use super::{Collector, Watermark};
use crate::error::Result;
use crate::state::integers::to_i64;

/// What an operator emitted.
#[derive(Default)]
pub struct Collected {
    pub batches: Vec<RecordBatch>,
    pub watermarks: Vec<Watermark>,
}

impl Collected {
    /// All rows, of columns that are integers underneath; null is `i64::MIN`.
    pub fn integers(&self) -> Vec<Vec<i64>> {
        let mut rows = Vec::new();
        for batch in &self.batches {
            let columns: Vec<_> = batch.columns().iter().map(|c| (c.nulls().cloned(), to_i64(c).unwrap())).collect();
            for row in 0..batch.num_rows() {
                let value =
                    |(nulls, values): &(Option<arrow::buffer::NullBuffer>, arrow::buffer::ScalarBuffer<i64>)| {
                        if nulls.as_ref().is_some_and(|n| n.is_null(row)) { i64::MIN } else { values[row] }
                    };
                rows.push(columns.iter().map(value).collect());
            }
        }
        rows
    }
}

impl Collector for Collected {
    fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        self.batches.push(batch);
        Ok(())
    }
    fn watermark(&mut self, watermark: Watermark) -> Result<()> {
        self.watermarks.push(watermark);
        Ok(())
    }
}
