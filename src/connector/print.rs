//! The `print` sink: rows on standard output (or standard error), as Flink prints them, with their kind: `+I[1, a]`.
//!
//! At least once: rows are printed as they come, not at the commit.

use std::io::Write;

use arrow::record_batch::RecordBatch;

use super::format::cells::{Cells, JAVA, Values, columns, elements};
use super::options::Options;
use super::{SinkChangelog, SinkConnector, SinkWriter, TaskContext};
use crate::error::{Error, Result};
use crate::graph::SinkSpec;
use crate::types::Schema;
use crate::types::row_kind;

/// The connector.
pub struct Print;

struct Writer {
    schema: Schema,
    prefix: String,
    standard_error: bool,
    buffer: Vec<u8>,
}

impl SinkConnector for Print {
    fn validate(&self, spec: &SinkSpec, _: &Schema) -> Result<()> {
        let options = Options::new(&spec.connector);
        options.boolean("standard-error", false)?;
        options.refuse_unknown(&["print-identifier", "standard-error"])
    }

    fn changelog(&self, _: &SinkSpec) -> SinkChangelog {
        SinkChangelog::All
    }

    fn writer(&self, spec: &SinkSpec, schema: &Schema, context: &TaskContext) -> Result<Box<dyn SinkWriter>> {
        let options = Options::new(&spec.connector);
        Ok(Box::new(Writer {
            schema: schema.clone(),
            prefix: prefix(options.get("print-identifier").unwrap_or_default(), context),
            standard_error: options.boolean("standard-error", false)?,
            buffer: Vec::new(),
        }))
    }
}

/// `id:2> `, `id> `, `2> ` or nothing: the subtask counts from 1 and is left out if it is the only one.
fn prefix(identifier: &str, context: &TaskContext) -> String {
    let subtask = if context.parallelism > 1 { (context.subtask + 1).to_string() } else { String::new() };
    match (identifier, subtask.as_str()) {
        ("", "") => String::new(),
        ("", one) | (one, "") => format!("{one}> "),
        (identifier, subtask) => format!("{identifier}:{subtask}> "),
    }
}

/// Appends a cell as Flink's `Row.toString` does.
fn push_cell(out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
    let list = |out: &mut Vec<u8>, range: std::ops::Range<usize>, each: &dyn Fn(&mut Vec<u8>, usize)| {
        for (i, at) in range.enumerate() {
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            each(out, at);
        }
    };
    if cells.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match &cells.values {
        // A nested row is an insertion to Flink's `Row.toString`, whatever the record's kind.
        Values::Row { members, .. } => push_row(out, row_kind::INSERT, members, row),
        Values::Array { ends, items } => {
            out.push(b'[');
            list(out, elements(ends, row), &|out, at| push_cell(out, items, at));
            out.push(b']');
        }
        Values::Map { ends, keys, values } => {
            out.push(b'{');
            list(out, elements(ends, row), &|out, at| {
                push_cell(out, keys, at);
                out.push(b'=');
                push_cell(out, values, at);
            });
            out.push(b'}');
        }
        Values::Binary(a) => {
            let bytes: Vec<String> = a.value(row).iter().map(|b| b.cast_signed().to_string()).collect();
            out.extend_from_slice(format!("[{}]", bytes.join(", ")).as_bytes());
        }
        scalar => JAVA.push(out, scalar, row),
    }
}

fn push_row(out: &mut Vec<u8>, kind: i8, columns: &[Cells<'_>], row: usize) {
    out.extend_from_slice(row_kind::short(kind).as_bytes());
    out.push(b'[');
    for (i, cells) in columns.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        push_cell(out, cells, row);
    }
    out.push(b']');
}

impl Writer {
    fn render(&mut self, batch: &RecordBatch) -> Result<()> {
        let (batch, kinds) = row_kind::split(batch.clone())?;
        let cells = columns(&batch, &self.schema)?;
        self.buffer.clear();
        for row in 0..batch.num_rows() {
            self.buffer.extend_from_slice(self.prefix.as_bytes());
            let kind = kinds.as_ref().map_or(row_kind::INSERT, |k| k.value(row));
            push_row(&mut self.buffer, kind, &cells, row);
            self.buffer.push(b'\n');
        }
        Ok(())
    }
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.render(batch)?;
        let all = |out: &mut dyn Write| out.write_all(&self.buffer).and_then(|()| out.flush());
        let written =
            if self.standard_error { all(&mut std::io::stderr().lock()) } else { all(&mut std::io::stdout().lock()) };
        written.map_err(|e| Error::unavailable("print_failed", "printing rows failed").caused_by(&e))
    }
    fn prepare_commit(&mut self, _: u64) -> Result<Vec<serde_json::Value>> {
        Ok(Vec::new())
    }
    fn commit(&mut self, _: &[serde_json::Value]) -> Result<()> {
        Ok(())
    }
    fn discard_stale(&mut self) -> Result<()> {
        Ok(())
    }
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::format::Decoder;
    use crate::connector::format::json::{JsonDecoder, JsonOptions};
    use crate::types::{DataType, Field, TimestampKind, TypeKind};

    fn context(subtask: usize, parallelism: usize) -> TaskContext {
        let (job_id, operator_id) = (crate::id::JobId::from_text("j"), crate::id::OperatorId::from_text("o"));
        TaskContext { job_id, operator_id, attempt: 1, subtask, parallelism }
    }

    #[test]
    fn rows_look_as_in_flink() {
        let schema = Schema::new(vec![
            Field::new("a", TypeKind::Int.into()),
            Field::new("b", DataType::string()),
            Field::new("t", TypeKind::Timestamp(3, TimestampKind::Regular).into()),
            Field::new("l", TypeKind::Array(Box::new(TypeKind::Int.into())).into()),
            Field::new("m", TypeKind::Map(Box::new(DataType::string()), Box::new(TypeKind::Double.into())).into()),
            Field::new("r", TypeKind::Row(vec![Field::new("x", TypeKind::VarBinary(9).into())]).into()),
        ]);
        let mut decoder = JsonDecoder::new(&schema, JsonOptions::default(), 4);
        let input = br#"{"a":1,"b":"x y","t":"2026-01-01 00:00:00","l":[1,null],"m":{"k":1e7},"r":{"x":"AP8="}}
            {}"#;
        decoder.decode(input, true, 10).unwrap();
        let batch = RecordBatch::try_new(schema.to_arrow(), decoder.finish().unwrap().0).unwrap();
        let mut writer =
            Writer { schema, prefix: prefix("id", &context(0, 2)), standard_error: false, buffer: Vec::new() };
        writer.render(&batch).unwrap();
        assert_eq!(
            String::from_utf8(writer.buffer).unwrap(),
            "id:1> +I[1, x y, 2026-01-01T00:00, [1, null], {k=1.0E7}, +I[[0, -1]]]\n\
             id:1> +I[null, null, null, null, null, null]\n"
        );
        assert_eq!(prefix("", &context(1, 2)), "2> ");
        assert_eq!(prefix("id", &context(0, 1)), "id> ");
        assert_eq!(prefix("", &context(0, 1)), "");
    }
}
