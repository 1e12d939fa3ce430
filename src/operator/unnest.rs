//! `CROSS JOIN UNNEST(collection)`: one row per element of an array, entry of a map, or occurrence in a multiset, after
//! the columns of the row that has it. Elements that are rows become their members as columns.
//!
//! Without elements (or where the collection is null) there is no row, or one with nulls for `LEFT JOIN … ON TRUE`.
//! Keeps no state; rows of a changelog keep their kind.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, Int32Array, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType as ArrowType, Int32Type, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::{Collector, Operator};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::{EvalContext, Evaluator};
use crate::graph::UnnestSpec;
use crate::types::row_kind::{attach, split, with_row_kind};
use crate::types::{DataType, Field, Schema, TypeKind};

/// The name of the column of `WITH ORDINALITY`.
const ORDINALITY: &str = "ORDINALITY";

/// The columns that a collection of this type unnests to; `None` if it is no collection.
pub fn columns(collection: &TypeKind, ordinality: bool) -> Option<Vec<Field>> {
    let members = |element: &DataType| match &element.kind {
        TypeKind::Row(fields) => {
            let nullable = |f: &Field| f.data_type.with_nullable(f.data_type.nullable || element.nullable);
            fields.iter().map(|f| Field::new(f.name.clone(), nullable(f))).collect()
        }
        _ => vec![Field::new("EXPR$0", element.clone())],
    };
    let mut columns = match collection {
        TypeKind::Array(element) | TypeKind::Multiset(element) => members(element),
        TypeKind::Map(key, value) => {
            vec![Field::new("KEY", key.as_ref().clone()), Field::new("VALUE", value.as_ref().clone())]
        }
        _ => return None,
    };
    if ordinality {
        columns.push(Field::new(ORDINALITY, DataType::not_null(TypeKind::Int)));
    }
    Some(columns)
}

/// See the module text.
pub struct UnnestOperator {
    collection: Evaluator,
    is_multiset: bool,
    spec: UnnestSpec,
    output: SchemaRef,
    changelog: SchemaRef,
}

/// Rows to be emitted: an input row and an element each.
#[derive(Default)]
struct Pairs {
    rows: Vec<u32>,
    elements: Vec<Option<u32>>,
    ordinals: Vec<Option<i32>>,
}

impl UnnestOperator {
    /// Compiles the collection; `output` are the columns emitted.
    pub fn new(spec: &UnnestSpec, output: &Schema, context: &EvalContext) -> Result<Self> {
        let schema = output.to_arrow();
        Ok(UnnestOperator {
            collection: Evaluator::new(&spec.collection, context)?,
            is_multiset: matches!(spec.collection.data_type().kind, TypeKind::Multiset(_)),
            spec: spec.clone(),
            changelog: with_row_kind(&schema),
            output: schema,
        })
    }

    /// How often each element of a collection occurs: once, but in multisets.
    fn repeat(&self, element: usize, counts: Option<&Int32Array>) -> i32 {
        counts.map_or(1, |c| if c.is_valid(element) { c.value(element).max(0) } else { 0 })
    }

    fn pairs(&self, batch: &RecordBatch, collections: &ArrayRef, counts: Option<&Int32Array>) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        for row in 0..batch.num_rows() {
            let before = pairs.rows.len();
            let number = u32::try_from(row).map_err(|_| Error::internal("a batch has fewer than 2^32 rows"))?;
            let mut ordinal = 0;
            for element in range(collections, row)? {
                for _ in 0..self.repeat(element, counts) {
                    ordinal += 1;
                    pairs.rows.push(number);
                    pairs.elements.push(u32::try_from(element).ok());
                    pairs.ordinals.push(Some(ordinal));
                }
            }
            if pairs.rows.len() == before && self.spec.keeps_empty {
                pairs.rows.push(number);
                pairs.elements.push(None);
                pairs.ordinals.push(None);
            }
        }
        Ok(pairs)
    }

    /// The columns of some pairs.
    fn emit(
        &self,
        batch: &RecordBatch,
        kinds: Option<&Int8Array>,
        parts: &[ArrayRef],
        pairs: &Pairs,
        range: Range<usize>,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let rows = UInt32Array::from(pairs.rows[range.clone()].to_vec());
        let elements = UInt32Array::from(pairs.elements[range.clone()].to_vec());
        let width = batch.num_columns();
        let mut columns = Vec::with_capacity(self.spec.output.len());
        for (column, field) in self.spec.output.iter().zip(self.output.fields()) {
            columns.push(match column.checked_sub(width) {
                None => take(batch.column(*column), &rows, None)?,
                Some(part) if part < parts.len() && parts[part].is_empty() => {
                    new_null_array(field.data_type(), rows.len())
                }
                Some(part) if part < parts.len() => take(&parts[part], &elements, None)?,
                Some(_) => std::sync::Arc::new(Int32Array::from(pairs.ordinals[range.clone()].to_vec())),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let made = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?;
        match kinds {
            None => out.batch(made),
            Some(kinds) => {
                let kinds = rows.values().iter().map(|r| kinds.value(*r as usize)).collect::<Int8Array>();
                out.batch(attach(&made, kinds, &self.changelog)?)
            }
        }
    }
}

/// Where the elements of a row's collection are; empty if it is null.
fn range(collections: &ArrayRef, row: usize) -> Result<Range<usize>> {
    if collections.is_null(row) {
        return Ok(0..0);
    }
    let offsets = match collections.data_type() {
        ArrowType::List(_) => collections.as_list::<i32>().value_offsets(),
        _ => collections.as_map().value_offsets(),
    };
    let bound = |at: usize| usize::try_from(offsets[at]).map_err(|_| Error::internal("an array has a negative offset"));
    Ok(bound(row)?..bound(row + 1)?)
}

/// The columns of all elements: the members of rows, else the elements.
fn members(elements: &ArrayRef) -> Result<Vec<ArrayRef>> {
    let Some(rows) = elements.as_struct_opt() else { return Ok(vec![elements.clone()]) };
    let Some(nulls) = rows.nulls() else { return Ok(rows.columns().to_vec()) };
    // The members of a row that is null are null.
    let valid: UInt32Array = (0u32..).zip(nulls.iter()).map(|(i, valid)| valid.then_some(i)).collect();
    Ok(rows.columns().iter().map(|c| take(c, &valid, None)).collect::<Result<_, _>>()?)
}

impl Operator for UnnestOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        let (batch, kinds) = split(batch)?;
        let collections = self.collection.evaluate(&batch)?;
        let (parts, counts) = match collections.data_type() {
            ArrowType::List(_) => (members(collections.as_list::<i32>().values())?, None),
            ArrowType::Map(..) if self.is_multiset => {
                let map = collections.as_map();
                (members(map.keys())?, Some(map.values().as_primitive::<Int32Type>()))
            }
            ArrowType::Map(..) => {
                let map = collections.as_map();
                (vec![map.keys().clone(), map.values().clone()], None)
            }
            _ => return Err(Error::internal("UNNEST of what is no collection")),
        };
        let pairs = self.pairs(&batch, &collections, counts)?;
        for start in (0..pairs.rows.len()).step_by(MAX_BATCH_ROWS) {
            let end = pairs.rows.len().min(start + MAX_BATCH_ROWS);
            self.emit(&batch, kinds.as_ref(), &parts, &pairs, start..end, out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, Int64Builder, ListBuilder};

    use super::*;
    use crate::expr::Expr;
    use crate::operator::test_support::Collected;
    use crate::types::row_kind::{DELETE, INSERT, ROW_KIND};

    fn check(keeps_empty: bool, expected: &[&[i64]]) {
        let array = TypeKind::Array(Box::new(TypeKind::BigInt.into()));
        let input = Schema::new(vec![
            Field::new("a", TypeKind::BigInt.into()),
            Field::new("xs", DataType::nullable(array.clone())),
        ]);
        let collection = Expr::column(1, DataType::nullable(array.clone()));
        let spec = UnnestSpec { collection, keeps_empty, ordinality: true, output: vec![0, 2, 3] };
        let mut fields = vec![input.fields[0].clone()];
        fields.extend(columns(&array, true).unwrap());
        let context = EvalContext { time_zone: chrono_tz::Tz::UTC };
        let mut operator = UnnestOperator::new(&spec, &Schema::new(fields), &context).unwrap();
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.append_value([Some(5), None]);
        lists.append_null();
        lists.append_value([] as [Option<i64>; 0]);
        lists.append_value([Some(6)]);
        let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let schema = input.to_arrow();
        let rows = RecordBatch::try_new(schema.clone(), vec![a, Arc::new(lists.finish())]).unwrap();
        let kinds = Int8Array::from(vec![INSERT, DELETE, INSERT, DELETE]);
        let mut out = Collected::default();
        operator.process(0, attach(&rows, kinds, &with_row_kind(&schema)).unwrap(), &mut out).unwrap();
        assert_eq!(out.batches[0].schema().fields().last().unwrap().name(), ROW_KIND);
        assert_eq!(out.integers(), expected);
    }

    #[test]
    fn elements_become_rows() {
        const N: i64 = i64::MIN;
        check(false, &[&[1, 5, 1, 0], &[1, N, 2, 0], &[4, 6, 1, 3]]);
        check(true, &[&[1, 5, 1, 0], &[1, N, 2, 0], &[2, N, N, 3], &[3, N, N, 0], &[4, 6, 1, 3]]);
    }
}
