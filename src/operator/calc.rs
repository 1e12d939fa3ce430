//! Filter, then project. Only columns that the projection reads are filtered; column references copy nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::{Collector, Operator};
use crate::error::{Error, Result};
use crate::expr::{EvalContext, Evaluator, Expr};
use crate::graph::CalcSpec;
use crate::types::Schema;
use crate::types::row_kind::{self, with_row_kind};

/// One output column, over the columns that the projection reads.
enum Projection {
    Column(usize),
    Computed(Box<Evaluator>),
}

/// See the module text.
pub struct CalcOperator {
    filter: Option<Evaluator>,
    /// The input columns that the projection reads, ascending, and the output columns over these; `None` = all as they are.
    projection: Option<(Vec<usize>, Vec<Projection>)>,
    output: SchemaRef,
    /// The same with a column of row kinds.
    changelog: SchemaRef,
}

impl CalcOperator {
    /// Compiles the expressions; `output` are the columns emitted.
    pub fn new(spec: &CalcSpec, output: &Schema, context: &EvalContext) -> Result<Self> {
        let filter = spec.filter.as_ref().map(|f| Evaluator::new(f, context)).transpose()?;
        let projection = spec.projection.as_ref().map(|exprs| compile(exprs, context)).transpose()?;
        let output = output.to_arrow();
        Ok(CalcOperator { filter, projection, changelog: with_row_kind(&output), output })
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let kinds = row_kind::kinds(batch);
        let mut columns: Vec<ArrayRef> = match &self.projection {
            None => batch.columns()[..batch.num_columns() - usize::from(kinds.is_some())].to_vec(),
            Some((_, projections)) => {
                let column = |p: &Projection| match p {
                    Projection::Column(index) => Ok(batch.column(*index).clone()),
                    Projection::Computed(evaluator) => evaluator.evaluate(batch),
                };
                projections.iter().map(column).collect::<Result<_>>()?
            }
        };
        let mut schema = &self.output;
        if let Some(kinds) = kinds {
            columns.push(Arc::new(kinds.clone()));
            schema = &self.changelog;
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &rows)?)
    }
}

impl Operator for CalcOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        let selected = self.filter.as_ref().map(|f| f.evaluate_predicate(&batch)).transpose()?;
        let count = selected.as_ref().map_or(batch.num_rows(), |s| s.true_count());
        if count == 0 {
            return Ok(());
        }
        let mut batch = match &self.projection {
            Some((read, _)) if row_kind::kinds(&batch).is_some() => {
                let kinds = batch.num_columns() - 1;
                batch.project(&read.iter().copied().chain([kinds]).collect::<Vec<_>>())?
            }
            Some((read, _)) => batch.project(read)?,
            None => batch,
        };
        if let Some(selected) = selected.filter(|s| count < s.len()) {
            batch = filter_record_batch(&batch, &selected)?;
        }
        out.batch(self.project(&batch)?)
    }
}

fn compile(exprs: &[Expr], context: &EvalContext) -> Result<(Vec<usize>, Vec<Projection>)> {
    let mut read = BTreeSet::new();
    exprs.iter().for_each(|e| collect_columns(e, &mut read));
    let read: Vec<usize> = read.into_iter().collect();
    let one = |expr: &Expr| {
        let mut expr = expr.clone();
        renumber(&mut expr, &read)?;
        match &expr {
            Expr::Column { index, .. } => Ok(Projection::Column(*index)),
            _ => Ok(Projection::Computed(Box::new(Evaluator::new(&expr, context)?))),
        }
    };
    let projections = exprs.iter().map(one).collect::<Result<_>>()?;
    Ok((read, projections))
}

fn collect_columns(expr: &Expr, columns: &mut BTreeSet<usize>) {
    if let Expr::Column { index, .. } = expr {
        columns.insert(*index);
    }
    expr.children().into_iter().for_each(|child| collect_columns(child, columns));
}

fn renumber(expr: &mut Expr, read: &[usize]) -> Result<()> {
    if let Expr::Column { index, .. } = expr {
        *index = read.binary_search(index).map_err(|_| Error::internal("a column that is read was not collected"))?;
    }
    expr.children_mut().into_iter().try_for_each(|child| renumber(child, read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::test_support::Collected;
    use crate::types::{DataType, Field, TypeKind};
    use arrow::array::{BooleanArray, Int64Array};
    use std::sync::Arc;

    fn bigint(name: &str) -> Field {
        Field::new(name, TypeKind::BigInt.into())
    }

    fn input() -> RecordBatch {
        let schema = Schema::new(vec![bigint("a"), Field::new("p", TypeKind::Boolean.into()), bigint("b")]);
        let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let p: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
        let b: ArrayRef = Arc::new(Int64Array::from(vec![10, 20, 30]));
        RecordBatch::try_new(schema.to_arrow(), vec![a, p, b]).unwrap()
    }

    fn run(spec: CalcSpec, output: Vec<Field>) -> Collected {
        let context = EvalContext { time_zone: chrono_tz::Tz::UTC };
        let mut operator = CalcOperator::new(&spec, &Schema::new(output), &context).unwrap();
        let mut out = Collected::default();
        operator.process(0, input(), &mut out).unwrap();
        operator.watermark(7, &mut out).unwrap();
        assert_eq!(out.watermarks, vec![7]);
        out
    }

    #[test]
    fn column_references_copy_nothing() {
        let column = |index| Expr::column(index, TypeKind::BigInt.into());
        let spec = CalcSpec { filter: None, projection: Some(vec![column(2), column(0), column(2)]) };
        let out = run(spec, vec![bigint("x"), bigint("y"), bigint("z")]);
        assert_eq!(out.integers(), vec![vec![10, 1, 10], vec![20, 2, 20], vec![30, 3, 30]]);
        assert_eq!(out.batches[0].schema().field(0).name(), "x");
        let buffer = |array: &ArrayRef| array.to_data().buffers()[0].as_ptr();
        let batch = input();
        let context = EvalContext { time_zone: chrono_tz::Tz::UTC };
        let spec = CalcSpec { filter: None, projection: Some(vec![column(2)]) };
        let mut operator = CalcOperator::new(&spec, &Schema::new(vec![bigint("x")]), &context).unwrap();
        let mut out = Collected::default();
        operator.process(0, batch.clone(), &mut out).unwrap();
        assert_eq!(buffer(out.batches[0].column(0)), buffer(batch.column(2)));
    }

    #[test]
    fn filters_by_a_nullable_predicate_then_projects() {
        let spec = CalcSpec {
            filter: Some(Expr::column(1, TypeKind::Boolean.into())),
            projection: Some(vec![
                Expr::column(2, TypeKind::BigInt.into()),
                Expr::literal(crate::expr::Scalar::Int(5), TypeKind::BigInt),
            ]),
        };
        let out = run(spec, vec![bigint("b"), Field::new("five", DataType::not_null(TypeKind::BigInt))]);
        assert_eq!(out.integers(), vec![vec![10, 5]]);
        let none = CalcSpec {
            filter: Some(Expr::literal(crate::expr::Scalar::Boolean(false), TypeKind::Boolean)),
            projection: None,
        };
        assert!(run(none, vec![bigint("a"), bigint("p"), bigint("b")]).batches.is_empty());
    }
}
