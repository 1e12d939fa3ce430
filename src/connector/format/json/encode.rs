//! Columns to JSON lines, as Flink's `json` format writes them.

use arrow::record_batch::RecordBatch;

use super::JsonOptions;
use crate::connector::format::Encoder;
use crate::connector::format::cells::{Cells, Style, Values, columns, elements};
use crate::connector::format::temporal::Seconds;
use crate::error::Result;
use crate::types::Schema;

/// Encodes rows as JSON lines, members in the order of the columns.
pub struct JsonEncoder {
    schema: Schema,
    options: JsonOptions,
    style: Style,
    /// `"name":` of each column.
    names: Vec<Vec<u8>>,
}

impl JsonEncoder {
    /// An encoder of the columns of `schema`.
    pub fn new(schema: &Schema, options: JsonOptions) -> Self {
        let style = Style {
            separator: options.timestamp_format.separator(),
            seconds: Seconds::Formatter,
            whole_seconds: true,
            plain_decimals: options.decimal_as_plain_number,
        };
        let names = schema.fields.iter().map(|f| quoted_name(&f.name)).collect();
        JsonEncoder { schema: schema.clone(), options, style, names }
    }

    fn cell(&self, out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
        if cells.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &cells.values {
            Values::Text(a) => push_string(out, a.value(row).as_bytes()),
            Values::Float(v) if !v[row].is_finite() => self.quoted(out, cells, row),
            Values::Double(v) if !v[row].is_finite() => self.quoted(out, cells, row),
            Values::Binary(_) | Values::Date(_) | Values::Time(_) | Values::Timestamp { .. } => {
                self.quoted(out, cells, row);
            }
            Values::Row { names, members } => {
                let names = names.iter().map(|n| quoted_name(n));
                self.object(out, names, members, row);
            }
            Values::Array { ends, items } => {
                out.push(b'[');
                for (i, at) in elements(ends, row).enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    self.cell(out, items, at);
                }
                out.push(b']');
            }
            Values::Map { ends, keys, values } => {
                out.push(b'{');
                for (i, at) in elements(ends, row).enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    let mut key = Vec::new();
                    self.style.push(&mut key, &keys.values, at);
                    push_string(out, &key);
                    out.push(b':');
                    self.cell(out, values, at);
                }
                out.push(b'}');
            }
            scalar => self.style.push(out, scalar, row),
        }
    }

    fn quoted(&self, out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
        out.push(b'"');
        self.style.push(out, &cells.values, row);
        out.push(b'"');
    }

    fn object<N: AsRef<[u8]>>(
        &self,
        out: &mut Vec<u8>,
        names: impl Iterator<Item = N>,
        members: &[Cells<'_>],
        row: usize,
    ) {
        out.push(b'{');
        let start = out.len();
        for (name, cells) in names.zip(members) {
            if self.options.ignore_null_fields && cells.is_null(row) {
                continue;
            }
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(name.as_ref());
            self.cell(out, cells, row);
        }
        out.push(b'}');
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let cells = columns(batch, &self.schema)?;
        for row in 0..batch.num_rows() {
            self.object(out, self.names.iter(), &cells, row);
            out.push(b'\n');
        }
        Ok(())
    }
}

fn quoted_name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 3);
    push_string(&mut out, name.as_bytes());
    out.push(b':');
    out
}

/// Appends a JSON string; `text` is valid UTF-8.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut start = 0;
    for (i, b) in text.iter().enumerate() {
        let escape: &[u8] = match b {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            8 => b"\\b",
            12 => b"\\f",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text[start..i]);
        if escape.is_empty() {
            // Upper-case digits, as Jackson writes them.
            out.extend_from_slice(format!("\\u{b:04X}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        start = i + 1;
    }
    out.extend_from_slice(&text[start..]);
    out.push(b'"');
}
