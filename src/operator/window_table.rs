//! A window table function that is not directly aggregated: appends `window_start`, `window_end` and `window_time`, one
//! row per window of each input row. A null event time is an error (`null_rowtime`).

use arrow::array::UInt32Array;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::event_time::{TimeShift, from_ms, to_ms};
use super::window::Windows;
use super::{Collector, Operator};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::WindowTableSpec;
use crate::types::Schema;

/// See the module text.
pub struct WindowTableOperator {
    windows: Windows,
    rowtime: usize,
    shift: TimeShift,
    output: SchemaRef,
}

impl WindowTableOperator {
    /// An operator with these output columns: the input's, then the three of the window.
    pub fn new(spec: &WindowTableSpec, output: &Schema, context: &EvalContext) -> Result<Self> {
        let rowtime = output.fields.get(spec.rowtime).filter(|_| output.fields.len() >= 3);
        let rowtime = rowtime.ok_or_else(|| Error::internal("a window table has no rowtime column"))?;
        Ok(WindowTableOperator {
            windows: Windows::new(spec.window)?,
            rowtime: spec.rowtime,
            shift: TimeShift::of(&rowtime.data_type.kind, context),
            output: output.to_arrow(),
        })
    }

    fn expand(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut times = to_ms(batch.column(self.rowtime))?;
        self.shift.to_local(&mut times);
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (row, time) in (0u32..).zip(times) {
            // Latest first, as Flink's hopping windows.
            for window in self.windows.of_time(time).rev() {
                rows.push(row);
                starts.push(window.start);
                ends.push(window.end);
            }
        }
        let identity = rows.len() == batch.num_rows() && rows.windows(2).all(|pair| pair[0] < pair[1]);
        let mut columns = batch.columns().to_vec();
        if !identity {
            let rows = UInt32Array::from(rows);
            columns = columns.iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>()?;
        }
        // The output's last column is an instant where the rowtime is one.
        let mut last_instant = (i64::MIN, 0);
        let times = ends.iter().map(|end| {
            if last_instant.0 != *end {
                last_instant = (*end, self.shift.to_instant(end.wrapping_sub(1)));
            }
            last_instant.1
        });
        let times = times.collect();
        for values in [starts, ends, times] {
            let data_type = self.output.field(columns.len()).data_type();
            columns.push(from_ms(values, data_type)?);
        }
        Ok(RecordBatch::try_new(self.output.clone(), columns)?)
    }
}

impl Operator for WindowTableOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_columns() + 3 != self.output.fields().len() {
            return Err(Error::internal("a window table's output is its input and three columns"));
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let expanded = self.expand(&batch)?;
        for start in (0..expanded.num_rows()).step_by(MAX_BATCH_ROWS) {
            out.batch(expanded.slice(start, MAX_BATCH_ROWS.min(expanded.num_rows() - start)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::WindowKind;
    use crate::operator::test_support::Collected;
    use crate::types::{DataType, Field, TimestampKind, TypeKind};
    use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
    use std::sync::Arc;

    fn check(window: WindowKind, times: Vec<Option<i64>>, expected: &[(i64, i64, i64, i64)]) -> Result<()> {
        let time = |kind| DataType::from(TypeKind::Timestamp(3, kind));
        let input = vec![Field::new("v", TypeKind::BigInt.into()), Field::new("ts", time(TimestampKind::Rowtime))];
        let mut output = input.clone();
        for (name, kind) in [
            ("window_start", TimestampKind::Regular),
            ("window_end", TimestampKind::Regular),
            ("window_time", TimestampKind::Rowtime),
        ] {
            output.push(Field::new(name, time(kind)));
        }
        let spec = WindowTableSpec { window, rowtime: 1, partition_by: vec![] };
        let context = EvalContext { time_zone: chrono_tz::Tz::UTC };
        let mut operator = WindowTableOperator::new(&spec, &Schema::new(output), &context)?;
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..).take(times.len())));
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times));
        let batch = RecordBatch::try_new(Schema::new(input).to_arrow(), vec![values, times]).unwrap();
        let mut out = Collected::default();
        operator.process(0, batch, &mut out)?;
        let rows: Vec<_> = out.integers().into_iter().map(|r| (r[0], r[2], r[3], r[4])).collect();
        assert_eq!(rows, expected);
        Ok(())
    }

    #[test]
    fn appends_the_windows_of_each_row() {
        let tumble = WindowKind::Tumble { size_ms: 10, offset_ms: 0 };
        check(tumble, vec![Some(3), Some(-1)], &[(0, 0, 10, 9), (1, -10, 0, -1)]).unwrap();
        let hop = WindowKind::Hop { size_ms: 10, slide_ms: 5, offset_ms: 0 };
        let rows = [(0, 0, 10, 9), (0, -5, 5, 4), (1, 10, 20, 19), (1, 5, 15, 14)];
        check(hop, vec![Some(3), Some(12)], &rows).unwrap();
        check(WindowKind::Hop { size_ms: 2, slide_ms: 5, offset_ms: 0 }, vec![Some(3), Some(5)], &[(1, 5, 7, 6)])
            .unwrap();
    }

    #[test]
    fn null_event_time_is_an_error() {
        let tumble = WindowKind::Tumble { size_ms: 10, offset_ms: 0 };
        assert_eq!(check(tumble, vec![Some(3), None], &[]).unwrap_err().code, "null_rowtime");
    }
}
