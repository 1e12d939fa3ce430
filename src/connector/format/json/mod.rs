//! Flink's `json` format: one JSON object per line.
//!
//! Source: Flink's "JSON Format" page and `JsonToRowDataConverters`.

mod decode;
mod encode;
mod scan;
#[cfg(test)]
mod tests;
mod value;

pub use decode::JsonDecoder;
pub use encode::JsonEncoder;
pub use value::encode_rows;

use super::scalar::TimestampFormat;
use crate::connector::options::{Options, invalid};
use crate::error::{Error, Result};
use crate::types::{DataType, TypeKind};

/// The options that the format knows.
pub const OPTIONS: &[&str] = &[
    "json.fail-on-missing-field",
    "json.ignore-parse-errors",
    "json.timestamp-format.standard",
    "json.map-null-key.mode",
    "json.map-null-key.literal",
    "json.encode.decimal-as-plain-number",
    "json.encode.ignore-null-fields",
];

/// The options of the format.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonOptions {
    pub fail_on_missing_field: bool,
    pub ignore_parse_errors: bool,
    pub timestamp_format: TimestampFormat,
    pub decimal_as_plain_number: bool,
    pub ignore_null_fields: bool,
}

impl JsonOptions {
    /// Reads and checks the options.
    pub fn from_options(options: Options<'_>) -> Result<Self> {
        let parsed = JsonOptions {
            fail_on_missing_field: options.boolean("json.fail-on-missing-field", false)?,
            ignore_parse_errors: options.boolean("json.ignore-parse-errors", false)?,
            timestamp_format: match options.one_of("json.timestamp-format.standard", &["SQL", "ISO-8601"])? {
                Some("ISO-8601") => TimestampFormat::Iso8601,
                _ => TimestampFormat::Sql,
            },
            decimal_as_plain_number: options.boolean("json.encode.decimal-as-plain-number", false)?,
            ignore_null_fields: options.boolean("json.encode.ignore-null-fields", false)?,
        };
        // Checked for their form only: a map never holds a null key here.
        options.one_of("json.map-null-key.mode", &["FAIL", "DROP", "LITERAL"])?;
        if parsed.fail_on_missing_field && parsed.ignore_parse_errors {
            return Err(invalid(
                "json.fail-on-missing-field",
                "true",
                "false where 'json.ignore-parse-errors' is true",
            ));
        }
        Ok(parsed)
    }
}

/// Refuses types that JSON cannot express: maps whose keys are no strings.
pub fn validate(column: &str, data_type: &DataType) -> Result<()> {
    match &data_type.kind {
        TypeKind::Map(key, _) | TypeKind::Multiset(key) if !key.kind.is_string() => Err(Error::invalid(
            "unsupported_type",
            format!("column '{column}': the json format needs keys of type STRING, not {}", key.kind),
        )),
        TypeKind::Map(_, value) => validate(column, value),
        TypeKind::Array(item) => validate(column, item),
        TypeKind::Row(fields) => fields.iter().try_for_each(|f| validate(column, &f.data_type)),
        _ => Ok(()),
    }
}

/// Why a record cannot be decoded.
#[derive(Debug)]
pub enum Fault {
    /// The text is not JSON, from this byte on.
    Syntax { at: usize, expected: &'static str },
    /// A member has a value that its column cannot hold.
    Value { path: String, reason: String },
}

impl Fault {
    /// The fault seen from outside of `member`.
    #[cold]
    fn inside(mut self: Box<Self>, member: &str) -> Box<Self> {
        if let Fault::Value { path, .. } = &mut *self {
            let dot = if path.is_empty() { "" } else { "." };
            *path = format!("{member}{dot}{path}");
        }
        self
    }

    /// The sentence for the person who must repair the record.
    fn reason(&self, line: &[u8]) -> String {
        match self {
            Fault::Syntax { at, expected } => {
                let text = String::from_utf8_lossy(line.get(*at..).unwrap_or_default());
                let shown: String = text.chars().take(20).collect();
                let found = if shown.is_empty() { "the end of the line".into() } else { format!("'{shown}'") };
                format!("the line is not valid JSON: expected {expected} at column {}, found {found}", at + 1)
            }
            Fault::Value { path, reason } => format!("member '{path}': {reason}"),
        }
    }
}
