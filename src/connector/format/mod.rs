//! Formats: bytes to columns and back.
//!
//! A [`Decoder`] takes whole records from a block of bytes straight into columns; an [`Encoder`] turns a batch into
//! bytes. Neither does I/O.

pub mod cells;
pub mod column;
pub mod csv;
pub mod json;
pub mod number;
pub mod scalar;
pub mod temporal;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;

use self::csv::{CsvDecoder, CsvEncoder, CsvOptions};
use self::json::{JsonDecoder, JsonEncoder, JsonOptions};
use super::options::{Options, offer};
use crate::error::{Error, Result};
use crate::types::Schema;

/// What one call of [`Decoder::decode`] took from its input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of whole records (and empty lines).
    pub bytes: usize,
    /// Line ends among them (a last line without one counts too).
    pub lines: u64,
    /// Records left out because they could not be decoded.
    pub skipped: u64,
}

/// A record that cannot be decoded, where such records are not to be skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Lines of the input before it.
    pub line: u64,
    /// What was expected and what was found.
    pub reason: String,
}

/// Appends records to columns.
pub trait Decoder: Send {
    /// Takes whole records from the start of `input` until `max_rows` rows are held, or no whole record is left.
    /// `at_end`: nothing follows `input`, so that a last record needs no line end. After an error the decoder holds
    /// the rows before the bad record.
    fn decode(&mut self, input: &[u8], at_end: bool, max_rows: usize) -> Result<Progress, BadRecord>;
    /// Rows held.
    fn rows(&self) -> usize;
    /// The rows held, as columns; the decoder is empty afterwards.
    fn finish(&mut self) -> Result<(Vec<ArrayRef>, usize)>;
}

/// Turns batches into bytes.
pub trait Encoder: Send {
    /// Appends all rows of `batch` to `out`.
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()>;
}

/// A format with its options.
#[derive(Debug, Clone)]
pub enum Format {
    Json(JsonOptions),
    Csv(CsvOptions),
}

impl Format {
    /// The format that the option `'format'` names.
    pub fn from_options(options: Options<'_>) -> Result<Self> {
        match options.required("format")? {
            "json" => Ok(Format::Json(JsonOptions::from_options(options)?)),
            "csv" => Ok(Format::Csv(CsvOptions::from_options(options)?)),
            other => Err(Error::invalid(
                "unknown_format",
                format!("there is no format '{other}' (option 'format'); {}", offer(other, &["json", "csv"])),
            )),
        }
    }

    /// The options that the format knows.
    pub fn known_options(&self) -> &'static [&'static str] {
        match self {
            Format::Json(_) => json::OPTIONS,
            Format::Csv(_) => csv::OPTIONS,
        }
    }

    /// The ending of file names.
    pub fn extension(&self) -> &'static str {
        match self {
            Format::Json(_) => "json",
            Format::Csv(_) => "csv",
        }
    }

    /// Refuses columns that the format cannot express.
    pub fn validate(&self, schema: &Schema) -> Result<()> {
        schema.fields.iter().try_for_each(|f| match self {
            Format::Json(_) => json::validate(&f.name, &f.data_type),
            Format::Csv(_) => csv::validate(&f.name, &f.data_type),
        })
    }

    /// A decoder into the columns of `schema`, with room for `capacity` rows.
    pub fn decoder(&self, schema: &Schema, capacity: usize) -> Box<dyn Decoder> {
        match self {
            Format::Json(options) => Box::new(JsonDecoder::new(schema, *options, capacity)),
            Format::Csv(options) => Box::new(CsvDecoder::new(schema, options.clone(), capacity)),
        }
    }

    /// An encoder of the columns of `schema`.
    pub fn encoder(&self, schema: &Schema) -> Box<dyn Encoder> {
        match self {
            Format::Json(options) => Box::new(JsonEncoder::new(schema, *options)),
            Format::Csv(options) => Box::new(CsvEncoder::new(schema, options.clone())),
        }
    }
}
