//! Flink's `csv` format.
//!
//! Every record has all columns of the table, in order; a column list pruned to what a query reads cannot be decoded
//! (see `SourceConnector::prunes_columns`). A quoted field may span lines. Writing quotes a field where Jackson's CSV
//! generator does. Source: Flink's "CSV Format" page, `CsvToRowDataConverters`, `RowDataToCsvConverters`.

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::memchr_iter;

use super::cells::{Cells, Style, Values, columns, elements};
use super::column::{Column, Data};
use super::scalar::{Taken, TimestampFormat, append_text};
use super::temporal::Seconds;
use super::{BadRecord, Decoder, Encoder, Progress};
use crate::connector::options::{Options, invalid};
use crate::error::{Error, Result};
use crate::types::{DataType, Schema, TypeKind};

/// The options that the format knows.
pub const OPTIONS: &[&str] = &[
    "csv.field-delimiter",
    "csv.quote-character",
    "csv.disable-quote-character",
    "csv.escape-character",
    "csv.ignore-parse-errors",
    "csv.allow-comments",
    "csv.null-literal",
    "csv.array-element-delimiter",
    "csv.write-bigdecimal-in-scientific-notation",
];

/// Longer fields are always quoted, as Jackson does.
const MAX_UNQUOTED: usize = 24;

/// The options of the format.
#[derive(Debug, Clone)]
pub struct CsvOptions {
    pub delimiter: u8,
    /// None: quotes have no meaning.
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    pub ignore_parse_errors: bool,
    pub allow_comments: bool,
    pub null_literal: Option<String>,
    pub array_delimiter: String,
    pub scientific_decimals: bool,
}

impl CsvOptions {
    /// Reads and checks the options.
    pub fn from_options(options: Options<'_>) -> Result<Self> {
        let unquoted = options.boolean("csv.disable-quote-character", false)?;
        let quote = options.character("csv.quote-character")?;
        if let (true, Some(_)) = (unquoted, quote) {
            let given = options.get("csv.quote-character").unwrap_or_default();
            return Err(invalid("csv.quote-character", given, "left out where 'csv.disable-quote-character' is true"));
        }
        Ok(CsvOptions {
            delimiter: options.character("csv.field-delimiter")?.unwrap_or(b','),
            quote: if unquoted { None } else { Some(quote.unwrap_or(b'"')) },
            escape: options.character("csv.escape-character")?,
            ignore_parse_errors: options.boolean("csv.ignore-parse-errors", false)?,
            allow_comments: options.boolean("csv.allow-comments", false)?,
            null_literal: options.get("csv.null-literal").map(str::to_owned),
            array_delimiter: options.get("csv.array-element-delimiter").unwrap_or(";").to_owned(),
            scientific_decimals: options.boolean("csv.write-bigdecimal-in-scientific-notation", true)?,
        })
    }

    fn reader(&self) -> Reader {
        ReaderBuilder::new()
            .delimiter(self.delimiter)
            .quote(self.quote.unwrap_or(b'"'))
            .quoting(self.quote.is_some())
            .escape(self.escape)
            .comment(self.allow_comments.then_some(b'#'))
            .build()
    }
}

/// Refuses types that CSV cannot express: rows, maps, and arrays of other than scalars.
pub fn validate(column: &str, data_type: &DataType) -> Result<()> {
    let nested = |t: &DataType| {
        matches!(t.kind, TypeKind::Row(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Array(_))
    };
    let refused = match &data_type.kind {
        TypeKind::Array(item) => nested(item),
        _ => nested(data_type),
    };
    if refused {
        let kind = &data_type.kind;
        return Err(Error::invalid(
            "unsupported_type",
            format!("column '{column}': the csv format cannot express {kind}"),
        ));
    }
    Ok(())
}

/// Decodes CSV records.
pub struct CsvDecoder {
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
    options: CsvOptions,
    reader: Reader,
    /// The fields of the record at hand, without quotes, and where each ends.
    fields: Vec<u8>,
    ends: Vec<usize>,
}

impl CsvDecoder {
    /// A decoder of records that have the columns of `schema`.
    pub fn new(schema: &Schema, options: CsvOptions, capacity: usize) -> Self {
        CsvDecoder {
            names: schema.fields.iter().map(|f| f.name.clone()).collect(),
            columns: schema.fields.iter().map(|f| Column::new(&f.data_type, capacity)).collect(),
            rows: 0,
            reader: options.reader(),
            options,
            fields: vec![0; 4096],
            ends: vec![0; 64],
        }
    }

    /// Splits the next record; answers its bytes and its number of fields, `None` if there is no whole one.
    fn split(&mut self, input: &[u8], at_end: bool) -> Option<(usize, usize)> {
        self.reader.reset();
        let (mut read, mut written, mut count) = (0, 0, 0);
        loop {
            let rest = &input[read..];
            if rest.is_empty() && !at_end {
                return None;
            }
            let (result, r, w, e) = self.reader.read_record(rest, &mut self.fields[written..], &mut self.ends[count..]);
            (read, written, count) = (read + r, written + w, count + e);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => return Some((read, count)),
                ReadRecordResult::End => return None,
            }
        }
    }

    /// Appends the record that was split, or nothing.
    fn record(&mut self, count: usize) -> Result<(), String> {
        let expected = self.columns.len();
        if count != expected && !self.options.ignore_parse_errors {
            return Err(format!("the record has {count} fields, the table has {expected} columns"));
        }
        let options = &self.options;
        let mut start = 0;
        for (i, (column, name)) in self.columns.iter_mut().zip(&self.names).enumerate() {
            let Some(end) = self.ends[..count].get(i).copied() else {
                column.push_null();
                continue;
            };
            let field = self.fields.get(start..end).unwrap_or_default();
            start = end;
            if options.null_literal.as_deref().is_some_and(|n| n.as_bytes() == field) {
                column.push_null();
                continue;
            }
            if simdutf8::basic::from_utf8(field).is_err() {
                return Err(format!("column '{name}' is not valid UTF-8"));
            }
            if append_field(column, field, options) == Taken::No {
                column.truncate(self.rows);
                if !options.ignore_parse_errors {
                    let shown = String::from_utf8_lossy(field);
                    let hint =
                        if field.is_empty() { "; set 'csv.null-literal' to '' if it stands for null" } else { "" };
                    return Err(format!("column '{name}': expected {}, found '{shown}'{hint}", column.kind()));
                }
                column.push_null();
            }
        }
        Ok(())
    }
}

fn append_field(column: &mut Column, field: &[u8], options: &CsvOptions) -> Taken {
    let Data::List { item, .. } = column.values().1 else { return append_text(column, field, TimestampFormat::Sql) };
    let text = std::str::from_utf8(field).unwrap_or_default();
    if !text.is_empty() {
        for part in text.split(options.array_delimiter.as_str()) {
            if append_text(item, part.as_bytes(), TimestampFormat::Sql) == Taken::No {
                return Taken::No;
            }
        }
    }
    column.end_collection();
    Taken::Yes
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, input: &[u8], at_end: bool, max_rows: usize) -> Result<Progress, BadRecord> {
        let mut done = Progress::default();
        while self.rows < max_rows && done.bytes < input.len() {
            let rest = &input[done.bytes..];
            let Some((mut bytes, count)) = self.split(rest, at_end) else { break };
            // The splitter stops at a carriage return; the line feed belongs to the record too.
            if rest.get(bytes - 1) == Some(&b'\r') {
                match rest.get(bytes) {
                    Some(b'\n') => bytes += 1,
                    None if !at_end => break,
                    _ => {}
                }
            }
            if let Err(reason) = self.record(count) {
                let rows = self.rows;
                self.columns.iter_mut().for_each(|c| c.truncate(rows));
                if !self.options.ignore_parse_errors {
                    let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
                    let blank = blank.filter(|b| **b == b'\n').count();
                    return Err(BadRecord { line: done.lines + u64::try_from(blank).unwrap_or(0), reason });
                }
                done.skipped += 1;
            } else {
                self.rows += 1;
            }
            let record = &rest[..bytes];
            let unended = u64::from(record.last() != Some(&b'\n'));
            done.lines += u64::try_from(memchr_iter(b'\n', record).count()).unwrap_or(0) + unended;
            done.bytes += bytes;
        }
        if at_end && self.rows < max_rows {
            // Only blank lines and comments are left.
            done.bytes = input.len();
        }
        Ok(done)
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn finish(&mut self) -> Result<(Vec<ArrayRef>, usize)> {
        let rows = std::mem::take(&mut self.rows);
        Ok((self.columns.iter_mut().map(Column::finish).collect::<Result<_>>()?, rows))
    }
}

/// Encodes rows as CSV records.
pub struct CsvEncoder {
    schema: Schema,
    options: CsvOptions,
    style: Style,
    /// Fields with a byte below this are quoted, as Jackson does.
    first_safe: u8,
    field: Vec<u8>,
}

impl CsvEncoder {
    /// An encoder of the columns of `schema`.
    pub fn new(schema: &Schema, options: CsvOptions) -> Self {
        let plain_decimals = !options.scientific_decimals;
        let style = Style { separator: b' ', seconds: Seconds::Formatter, whole_seconds: true, plain_decimals };
        let first_safe = options.delimiter.max(options.quote.unwrap_or(0)).max(b'\r').saturating_add(1);
        CsvEncoder { schema: schema.clone(), options, style, first_safe, field: Vec::new() }
    }

    fn cell(&mut self, out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
        if cells.is_null(row) {
            out.extend_from_slice(self.options.null_literal.as_deref().unwrap_or("").as_bytes());
            return;
        }
        self.field.clear();
        match &cells.values {
            Values::Array { ends, items } => {
                for (i, at) in elements(ends, row).enumerate() {
                    if i > 0 {
                        self.field.extend_from_slice(self.options.array_delimiter.as_bytes());
                    }
                    if !items.is_null(at) {
                        self.style.push(&mut self.field, &items.values, at);
                    }
                }
            }
            Values::Text(_) | Values::Binary(_) | Values::Date(_) | Values::Time(_) | Values::Timestamp { .. } => {
                self.style.push(&mut self.field, &cells.values, row);
            }
            plain => return self.style.push(out, plain, row),
        }
        self.push_field(out);
    }

    /// Writes `field`, quoted where it must be.
    fn push_field(&self, out: &mut Vec<u8>) {
        let options = &self.options;
        let unsafe_byte = |b: &u8| *b < self.first_safe || Some(*b) == options.escape;
        let Some(quote) =
            options.quote.filter(|_| self.field.len() > MAX_UNQUOTED || self.field.iter().any(unsafe_byte))
        else {
            out.extend_from_slice(&self.field);
            return;
        };
        out.push(quote);
        for b in &self.field {
            if *b == quote || Some(*b) == options.escape {
                out.push(options.escape.unwrap_or(quote));
            }
            out.push(*b);
        }
        out.push(quote);
    }
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let schema = std::mem::take(&mut self.schema);
        let cells = columns(batch, &schema)?;
        for row in 0..batch.num_rows() {
            for (i, column) in cells.iter().enumerate() {
                if i > 0 {
                    out.push(self.options.delimiter);
                }
                self.cell(out, column, row);
            }
            out.push(b'\n');
        }
        drop(cells);
        self.schema = schema;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::options::spec;
    use crate::types::Field;

    fn schema(kinds: &[(&str, TypeKind)]) -> Schema {
        Schema::new(kinds.iter().map(|(n, k)| Field::new(*n, k.clone().into())).collect())
    }

    fn options(given: &[(&str, &str)]) -> CsvOptions {
        CsvOptions::from_options(Options::new(&spec("filesystem", given))).unwrap()
    }

    fn table() -> Schema {
        schema(&[
            ("a", TypeKind::Int),
            ("b", TypeKind::VarChar(crate::types::MAX_LENGTH)),
            ("c", TypeKind::Array(Box::new(TypeKind::BigInt.into()))),
            ("d", TypeKind::Timestamp(3, crate::types::TimestampKind::Regular)),
        ])
    }

    fn round_trip(given: &[(&str, &str)], input: &str, expected: &str) {
        let table = table();
        let mut decoder = CsvDecoder::new(&table, options(given), 8);
        let done = decoder.decode(input.as_bytes(), true, 100).unwrap();
        assert_eq!(done.bytes, input.len());
        let batch = RecordBatch::try_new(table.to_arrow(), decoder.finish().unwrap().0).unwrap();
        let mut out = Vec::new();
        CsvEncoder::new(&table, options(given)).encode(&batch, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn records_are_read_and_written() {
        round_trip(
            &[],
            "1,\"x,\"\"y\",1;2,2026-01-01 00:00:00.5\r\n\n2,\"two\nlines\",,2026-01-01 00:00:00",
            "1,\"x,\"\"y\",1;2,\"2026-01-01 00:00:00.5\"\n2,\"two\nlines\",,\"2026-01-01 00:00:00\"\n",
        );
        round_trip(
            &[("csv.field-delimiter", "|"), ("csv.null-literal", "n/a"), ("csv.allow-comments", "true")],
            "#c\nn/a|plain|5|n/a\n",
            // All that sorts before the delimiter is quoted, as Jackson does.
            "n/a|\"plain\"|\"5\"|n/a\n",
        );
    }

    #[test]
    fn a_bad_record_names_its_line_and_column() {
        let table = table();
        let mut decoder = CsvDecoder::new(&table, options(&[]), 8);
        let input = b"1,a,,2026-01-01 00:00:00\n\nx,a,,2026-01-01 00:00:00\n";
        let bad = decoder.decode(input, true, 10).unwrap_err();
        assert_eq!((bad.line, bad.reason.as_str()), (2, "column 'a': expected INT, found 'x'"));
        assert_eq!(decoder.rows(), 1);
        let mut decoder = CsvDecoder::new(&table, options(&[("csv.ignore-parse-errors", "true")]), 8);
        let done = decoder.decode(input, true, 10).unwrap();
        assert_eq!((decoder.rows(), done.lines, done.skipped), (2, 3, 0));
        let mut decoder = CsvDecoder::new(&table, options(&[]), 8);
        assert!(decoder.decode(b"1,2\n", true, 10).unwrap_err().reason.contains("2 fields"));
    }

    #[test]
    fn a_record_without_its_end_is_left() {
        let table = table();
        let mut decoder = CsvDecoder::new(&table, options(&[]), 8);
        let done = decoder.decode(b"1,a,,2026-01-01 00:00:00\n2,\"b\n", false, 10).unwrap();
        assert_eq!((done.bytes, done.lines, decoder.rows()), (25, 1, 1));
    }
}
