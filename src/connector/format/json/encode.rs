//! Columns to JSON lines, as Flink's `json` format writes them.

use arrow::record_batch::RecordBatch;

use super::JsonOptions;
use crate::connector::format::Encoder;
use crate::connector::format::cells::{Cells, Style, Values, columns, elements};
use crate::connector::format::temporal::Seconds;
use crate::error::Result;
use crate::types::{DataType, Schema, TypeKind};

/// Encodes rows as JSON lines, members in the order of the columns.
pub struct JsonEncoder {
    schema: Schema,
    options: JsonOptions,
    style: Style,
    names: Vec<Named>,
}

/// What is written before a value, prepared once: of a column, of a member of a row, or (without a name) of the items
/// of an array or the values of a map.
struct Named {
    /// `"name":`.
    name: Vec<u8>,
    inner: Vec<Named>,
}

impl Named {
    fn new(name: &str, data_type: &DataType) -> Self {
        let mut quoted = Vec::with_capacity(name.len() + 3);
        push_string(&mut quoted, name.as_bytes());
        quoted.push(b':');
        let inner = match &data_type.kind {
            TypeKind::Row(fields) => fields.iter().map(|f| Named::new(&f.name, &f.data_type)).collect(),
            TypeKind::Array(value) | TypeKind::Map(_, value) => vec![Named::new("", value)],
            TypeKind::Multiset(_) => vec![Named { name: Vec::new(), inner: Vec::new() }],
            _ => Vec::new(),
        };
        Named { name: quoted, inner }
    }
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
        let names = schema.fields.iter().map(|f| Named::new(&f.name, &f.data_type)).collect();
        JsonEncoder { schema: schema.clone(), options, style, names }
    }

    fn cell(&self, out: &mut Vec<u8>, named: &Named, cells: &Cells<'_>, row: usize) {
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
            Values::Row { members, .. } => self.object(out, &named.inner, members, row),
            Values::Array { ends, items } => {
                let Some(named) = named.inner.first() else { return };
                out.push(b'[');
                for (i, at) in elements(ends, row).enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    self.cell(out, named, items, at);
                }
                out.push(b']');
            }
            Values::Map { ends, keys, values } => {
                let (Some(named), Values::Text(keys)) = (named.inner.first(), &keys.values) else { return };
                out.push(b'{');
                for (i, at) in elements(ends, row).enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    push_string(out, keys.value(at).as_bytes());
                    out.push(b':');
                    self.cell(out, named, values, at);
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

    fn object(&self, out: &mut Vec<u8>, names: &[Named], members: &[Cells<'_>], row: usize) {
        out.push(b'{');
        let start = out.len();
        for (named, cells) in names.iter().zip(members) {
            if self.options.ignore_null_fields && cells.is_null(row) {
                continue;
            }
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(&named.name);
            self.cell(out, named, cells, row);
        }
        out.push(b'}');
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let cells = columns(batch, &self.schema)?;
        for row in 0..batch.num_rows() {
            self.object(out, &self.names, &cells, row);
            out.push(b'\n');
        }
        Ok(())
    }
}

/// Appends a JSON string; `text` is valid UTF-8.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    // Without a branch per byte, so that it is vectorised.
    if !text.iter().fold(false, |any, b| any | (*b < 0x20) | (*b == b'"') | (*b == b'\\')) {
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
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
