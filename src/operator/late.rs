//! Late records that are kept: what an operator drops, as rows of [`crate::graph::late_schema`].
//!
//! They leave the chain beside its output ([`Collector::late`]), along edges of their own, and only where a job asks for
//! them (`late-records.table`): otherwise they are only counted.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;

use super::{Collector, Watermark};
use crate::connector::format::json::encode_rows;
use crate::error::Result;
use crate::graph::late_schema;
use crate::types::Schema;

/// Writes late records of one operator.
pub struct LateRecords {
    operator: &'static str,
    input: Schema,
}

impl LateRecords {
    /// For an operator of this name with these input columns.
    pub fn new(operator: &'static str, input: &Schema) -> Self {
        LateRecords { operator, input: input.clone() }
    }

    /// Passes rows on that were late at a watermark.
    pub fn emit(&self, rows: &RecordBatch, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if rows.num_rows() == 0 || !out.wants_late() {
            return Ok(());
        }
        let records = encode_rows(rows, &self.input)?.into_iter().map(|cells| {
            let names = self.input.fields.iter().map(|f| f.name.clone());
            serde_json::Value::Object(names.zip(cells).collect()).to_string()
        });
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![self.operator; rows.num_rows()])),
            Arc::new(TimestampMillisecondArray::from(vec![watermark; rows.num_rows()]).with_timezone("UTC")),
            Arc::new(StringArray::from_iter_values(records)),
        ];
        out.late(RecordBatch::try_new(late_schema().to_arrow(), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Field, TypeKind};
    use arrow::array::{AsArray, Int64Array};

    /// Takes late records, or does not want any.
    struct Kept(bool, Vec<RecordBatch>);

    impl Collector for Kept {
        fn batch(&mut self, _batch: RecordBatch) -> Result<()> {
            Ok(())
        }
        fn watermark(&mut self, _watermark: Watermark) -> Result<()> {
            Ok(())
        }
        fn wants_late(&self) -> bool {
            self.0
        }
        fn late(&mut self, records: RecordBatch) -> Result<()> {
            self.1.push(records);
            Ok(())
        }
    }

    #[test]
    fn late_records_are_written_as_json_where_they_are_wanted() {
        let input = Schema::new(vec![Field::new("v", TypeKind::BigInt.into())]);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
        let rows = RecordBatch::try_new(input.to_arrow(), vec![values]).unwrap();
        let late = LateRecords::new("WindowAggregate", &input);
        let mut unwanted = Kept(false, vec![]);
        late.emit(&rows, 5, &mut unwanted).unwrap();
        assert_eq!(unwanted.1.len(), 0);
        let mut kept = Kept(true, vec![]);
        late.emit(&rows, 5, &mut kept).unwrap();
        let records = kept.1[0].column(2).as_string::<i32>();
        assert_eq!((records.value(0), records.value(1)), (r#"{"v":7}"#, r#"{"v":null}"#));
        assert_eq!(kept.1[0].schema(), late_schema().to_arrow());
    }
}
