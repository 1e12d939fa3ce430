//! `CURRENT_WATERMARK(rowtime)` in a calc: the operator's event time, as a column that each batch gets.
//!
//! Null before the first watermark. A source cuts its batches before any record that could be late, so whether a record
//! is late by this function does not depend on batching; the value itself is that of the batch's start.
//! Source: Flink, "System (Built-in) Functions", temporal functions.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType as ArrowType, Field, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;

use super::calc::CalcOperator;
use super::{Collector, Operator, Watermark};
use crate::error::Result;
use crate::expr::{EvalContext, Expr};
use crate::graph::CalcSpec;
use crate::types::{DataType, Schema, row_kind};

/// The function's registered name.
pub const CURRENT_WATERMARK: &str = "CURRENT_WATERMARK";

/// See the module text.
pub struct CurrentWatermarkOperator {
    calc: CalcOperator,
    /// The types in which the expressions want the watermark: one column each, after the input's.
    types: Vec<ArrowType>,
    watermark: Option<Watermark>,
}

/// Whether the calc calls the function.
pub fn is_used(spec: &CalcSpec) -> bool {
    spec.filter.iter().chain(spec.projection.iter().flatten()).any(calls)
}

fn calls(expr: &Expr) -> bool {
    matches!(expr, Expr::Call { function, .. } if function == CURRENT_WATERMARK)
        || expr.children().into_iter().any(calls)
}

impl CurrentWatermarkOperator {
    /// A calc over an input of `width` columns.
    pub fn new(spec: &CalcSpec, width: usize, output: &Schema, context: &EvalContext) -> Result<Self> {
        let mut spec = spec.clone();
        let mut wanted: Vec<DataType> = Vec::new();
        spec.filter
            .iter_mut()
            .chain(spec.projection.iter_mut().flatten())
            .for_each(|e| substitute(e, width, &mut wanted));
        let types = wanted.iter().map(DataType::to_arrow).collect();
        Ok(CurrentWatermarkOperator { calc: CalcOperator::new(&spec, output, context)?, types, watermark: None })
    }

    fn with_watermark(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let (batch, kinds) = row_kind::split(batch)?;
        let schema = batch.schema();
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        let mut columns = batch.columns().to_vec();
        let value: ArrayRef = Arc::new(Int64Array::from(vec![self.watermark; batch.num_rows()]));
        for data_type in &self.types {
            fields.push(Arc::new(Field::new("$watermark", data_type.clone(), true)));
            columns.push(arrow::compute::cast(&value, data_type)?);
        }
        let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)?;
        Ok(match kinds {
            Some(kinds) => row_kind::attach(&batch, kinds, &row_kind::with_row_kind(&batch.schema()))?,
            None => batch,
        })
    }
}

impl Operator for CurrentWatermarkOperator {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        let batch = self.with_watermark(batch)?;
        self.calc.process(input, batch, out)
    }
    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        self.watermark = Some(watermark);
        out.watermark(watermark)
    }
}

/// Replaces the calls by columns after the input's, one per type.
fn substitute(expr: &mut Expr, width: usize, wanted: &mut Vec<DataType>) {
    if let Expr::Call { function, data_type, .. } = expr
        && function == CURRENT_WATERMARK
    {
        let data_type = data_type.clone();
        let position = wanted.iter().position(|t| *t == data_type).unwrap_or_else(|| {
            wanted.push(data_type.clone());
            wanted.len() - 1
        });
        *expr = Expr::column(width + position, data_type);
        return;
    }
    expr.children_mut().into_iter().for_each(|child| substitute(child, width, wanted));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr;
    use crate::operator::test_support::Collected;
    use crate::types::{Field as Column, TimestampKind, TypeKind};
    use arrow::array::TimestampMillisecondArray;

    #[test]
    fn late_rows_can_be_filtered_out() {
        let rowtime = DataType::nullable(TypeKind::Timestamp(3, TimestampKind::Rowtime));
        let ts = || Expr::column(0, rowtime.clone());
        let now = || expr::call(CURRENT_WATERMARK, vec![ts()]).unwrap();
        assert_eq!(now().data_type().to_string(), "TIMESTAMP(3)");
        let unknown = expr::call("IS_NULL", vec![now()]).unwrap();
        let later = expr::call(">", vec![ts(), now()]).unwrap();
        let filter = Some(expr::call("OR", vec![unknown, later]).unwrap());
        let spec = CalcSpec { filter, projection: Some(vec![ts(), now()]) };
        assert!(is_used(&spec));
        let output =
            Schema::new(vec![Column::new("ts", rowtime.clone()), Column::new("now", now().data_type().clone())]);
        let context = EvalContext { time_zone: chrono_tz::Tz::UTC };
        let mut operator = CurrentWatermarkOperator::new(&spec, 1, &output, &context).unwrap();
        let batch = |values: Vec<i64>| {
            let input = Schema::new(vec![Column::new("ts", rowtime.clone())]).to_arrow();
            RecordBatch::try_new(input, vec![Arc::new(TimestampMillisecondArray::from(values))]).unwrap()
        };
        let mut out = Collected::default();
        operator.process(0, batch(vec![5, 10]), &mut out).unwrap();
        operator.watermark(7, &mut out).unwrap();
        operator.process(0, batch(vec![5, 7, 8]), &mut out).unwrap();
        assert_eq!(out.integers(), [[5, i64::MIN], [10, i64::MIN], [8, 7]]);
    }
}
