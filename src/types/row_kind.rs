//! Kinds of rows in a changelog, and how batches carry them.
//!
//! A batch of a changelog has its rows' kinds in a last column named [`ROW_KIND`] (`Int8`, no nulls); it is no column of
//! the stream's schema. A batch without it holds insertions only, and both forms may follow each other in one stream.
//! Bytes as in Flink's `RowKind`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int8Array};
use arrow::datatypes::{DataType, Field, Int8Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// The name of the column of kinds.
pub const ROW_KIND: &str = "$row_kind";

/// `+I`: a new row.
pub const INSERT: i8 = 0;
/// `-U`: the row as it was before an update.
pub const UPDATE_BEFORE: i8 = 1;
/// `+U`: the row as it is after an update.
pub const UPDATE_AFTER: i8 = 2;
/// `-D`: a row that is gone.
pub const DELETE: i8 = 3;

/// Flink's short text of a kind.
pub fn short(kind: i8) -> &'static str {
    match kind {
        UPDATE_BEFORE => "-U",
        UPDATE_AFTER => "+U",
        DELETE => "-D",
        _ => "+I",
    }
}

/// Whether a row of this kind adds (`+I`, `+U`), rather than takes away.
pub fn adds(kind: i8) -> bool {
    kind == INSERT || kind == UPDATE_AFTER
}

/// The kinds of a batch's rows; none if all are insertions.
pub fn kinds(batch: &RecordBatch) -> Option<&Int8Array> {
    let last = batch.schema_ref().fields().last()?;
    if last.name() != ROW_KIND {
        return None;
    }
    batch.columns().last()?.as_primitive_opt::<Int8Type>()
}

/// The batch without its column of kinds, and that column. Copies nothing.
pub fn split(batch: RecordBatch) -> Result<(RecordBatch, Option<Int8Array>), ArrowError> {
    match kinds(&batch).cloned() {
        None => Ok((batch, None)),
        Some(kinds) => {
            let columns: Vec<usize> = (0..batch.num_columns() - 1).collect();
            Ok((batch.project(&columns)?, Some(kinds)))
        }
    }
}

/// The schema with a column of kinds after its own.
pub fn with_row_kind(schema: &SchemaRef) -> SchemaRef {
    let kind = Arc::new(Field::new(ROW_KIND, DataType::Int8, false));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([kind]).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The batch with the kinds of its rows; `schema` is [`with_row_kind`] of the batch's.
pub fn attach(batch: &RecordBatch, kinds: Int8Array, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(kinds) as ArrayRef);
    RecordBatch::try_new(Arc::clone(schema), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_off_as_they_went_on() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int8, true)]));
        let plain = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int8Array::from(vec![7, 8]))]).unwrap();
        assert_eq!(kinds(&plain), None);
        assert_eq!(split(plain.clone()).unwrap(), (plain.clone(), None));
        let given = Int8Array::from(vec![UPDATE_BEFORE, UPDATE_AFTER]);
        let change = attach(&plain, given.clone(), &with_row_kind(&schema)).unwrap();
        assert_eq!(kinds(&change), Some(&given));
        let (rows, taken) = split(change).unwrap();
        assert_eq!((rows.columns(), taken), (plain.columns(), Some(given)));
    }
}
