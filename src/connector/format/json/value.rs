//! Rows as JSON values, for the query API: numbers, booleans, null, text, arrays and objects.
//!
//! What JSON has no form for is text as Java's `toString` gives it: decimals, dates, times, timestamps, NaN and the
//! infinities; bytes are base64. A `ROW` is an object. A map with text keys is an object, any other an array of pairs.

use arrow::record_batch::RecordBatch;
use serde_json::{Map, Number, Value};

use crate::connector::format::cells::{Cells, JAVA, Values, columns, elements};
use crate::error::Result;
use crate::types::Schema;

/// The rows of `batch`, which has the layout of `schema`, cell by cell.
pub fn encode_rows(batch: &RecordBatch, schema: &Schema) -> Result<Vec<Vec<Value>>> {
    let cells = columns(batch, schema)?;
    Ok((0..batch.num_rows()).map(|row| cells.iter().map(|c| encode_value(c, row)).collect()).collect())
}

/// One cell.
pub fn encode_value(cells: &Cells<'_>, row: usize) -> Value {
    if cells.is_null(row) {
        return Value::Null;
    }
    match &cells.values {
        Values::Boolean(a) => Value::Bool(a.value(row)),
        Values::TinyInt(v) => v[row].into(),
        Values::SmallInt(v) => v[row].into(),
        Values::Int(v) => v[row].into(),
        Values::BigInt(v) => v[row].into(),
        // Through its own digits: 0.1 is 0.1, not 0.10000000149011612.
        Values::Float(v) => {
            v[row].to_string().parse().ok().and_then(Number::from_f64).map_or_else(|| text(cells, row), Value::Number)
        }
        Values::Double(v) => Number::from_f64(v[row]).map_or_else(|| text(cells, row), Value::Number),
        Values::Row { names, members } => {
            let object = names.iter().zip(members).map(|(n, m)| ((*n).to_owned(), encode_value(m, row)));
            Value::Object(object.collect::<Map<_, _>>())
        }
        Values::Array { ends, items } => elements(ends, row).map(|at| encode_value(items, at)).collect(),
        Values::Map { ends, keys, values } => match &keys.values {
            Values::Text(keys) => {
                let object = elements(ends, row).map(|at| (keys.value(at).to_owned(), encode_value(values, at)));
                Value::Object(object.collect::<Map<_, _>>())
            }
            _ => elements(ends, row)
                .map(|at| Value::from(vec![encode_value(keys, at), encode_value(values, at)]))
                .collect(),
        },
        _ => text(cells, row),
    }
}

fn text(cells: &Cells<'_>, row: usize) -> Value {
    let mut out = Vec::new();
    JAVA.push(&mut out, &cells.values, row);
    String::from_utf8_lossy(&out).into_owned().into()
}
