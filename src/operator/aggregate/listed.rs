//! Aggregates that keep their values: `LISTAGG`, `ARRAY_AGG`, `JSON_ARRAYAGG`, `JSON_OBJECTAGG`, and `FIRST_VALUE` and
//! `LAST_VALUE` (which keep only one where the input takes no rows away). Values are in order of arrival; taking one away
//! removes the first that is equal, as Flink's `…WithRetractAggFunction`s do.

use std::collections::BTreeMap;

use super::Stored;
use super::trace::{Encoded, Trace};
use crate::error::{Error, Result};
use crate::state::backend::malformed;
use crate::state::key_codec::KeyCodec;
use arrow::array::{Array, AsArray, BinaryBuilder};

/// What becomes of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    First,
    Last,
    /// `LISTAGG` of a text, or of `ROW(text, separator)`.
    Text,
    Array,
    /// Of JSON texts; nulls are in.
    JsonArray,
    /// Of `ROW(key, JSON text)`; nulls are in unless `absent`.
    JsonObject {
        absent: bool,
    },
}

/// See the module text.
pub struct Listed {
    listing: Listing,
    codec: KeyCodec,
    /// Whether values are rows.
    row: bool,
    /// Whether all values are needed, because they may be taken away again.
    all: bool,
    groups: Vec<Vec<Box<[u8]>>>,
    held: usize,
}

/// Bytes of one value besides its own.
const ENTRY_BYTES: usize = 32;
/// Where the members of an encoded row begin: after its null byte, its length, and the null byte within.
const MEMBERS: usize = 6;

impl Listed {
    /// No groups; values have this codec.
    pub fn new(listing: Listing, codec: KeyCodec, row: bool, retracts: bool) -> Self {
        let all = retracts || !matches!(listing, Listing::First | Listing::Last);
        Listed { listing, codec, row, all, groups: Vec::new(), held: 0 }
    }
    /// How values are encoded.
    pub fn codec(&self) -> &KeyCodec {
        &self.codec
    }
    /// Makes room for `groups` groups.
    pub fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Vec::new);
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Vec<Box<[u8]>>>() + self.held
    }
    /// Takes a value, with its null byte.
    pub fn add(&mut self, group: usize, value: &[u8]) -> Result<()> {
        let values = &mut self.groups[group];
        match self.listing {
            Listing::First if !self.all && !values.is_empty() => return Ok(()),
            Listing::Last if !self.all => self.held -= values.drain(..).map(|v| ENTRY_BYTES + v.len()).sum::<usize>(),
            Listing::JsonObject { .. } => {
                let key = key_of(value)?;
                if values.iter().any(|v| key_of(v).is_ok_and(|k| k == key)) {
                    return Err(Error::invalid(
                        "duplicate_json_key",
                        format!(
                            "JSON_OBJECTAGG got the key '{}' twice in one group: group by more columns, or aggregate the values first",
                            String::from_utf8_lossy(key)
                        ),
                    ));
                }
            }
            _ => {}
        }
        self.held += ENTRY_BYTES + value.len();
        values.push(value.into());
        Ok(())
    }
    /// Takes a value away.
    pub fn remove(&mut self, group: usize, value: &[u8]) {
        let values = &mut self.groups[group];
        if let Some(at) = values.iter().position(|v| &v[..] == value) {
            self.held -= ENTRY_BYTES + values.remove(at).len();
        }
    }
    /// Forgets a group's values.
    pub fn clear(&mut self, group: usize) {
        self.held -= self.groups[group].drain(..).map(|v| ENTRY_BYTES + v.len()).sum::<usize>();
    }
    /// Keeps only these groups, renumbered.
    pub fn keep(&mut self, groups: &[u32]) {
        self.groups = groups.iter().map(|g| std::mem::take(&mut self.groups[*g as usize])).collect();
        self.held = self.groups.iter().flatten().map(|v| ENTRY_BYTES + v.len()).sum();
    }
    /// Takes group `groups[i]` of another into group `to[i]`, after its own values.
    pub fn merge(&mut self, to: &[u32], from: &Self, groups: &[u32]) -> Result<()> {
        for (to, group) in to.iter().zip(groups) {
            from.groups[*group as usize].iter().try_for_each(|value| self.add(*to as usize, value))?;
        }
        Ok(())
    }
    /// Appends a group's stored form: the number of values u32, then each one's length u32 and bytes.
    pub fn write(&self, group: usize, out: &mut Vec<u8>) {
        let length = |n: usize| u32::try_from(n).expect("a group has fewer than 2^32 values").to_be_bytes();
        let values = &self.groups[group];
        out.extend_from_slice(&length(values.len()));
        for value in values {
            out.extend_from_slice(&length(value.len()));
            out.extend_from_slice(value);
        }
    }
    /// Replaces a group by its stored form.
    pub fn read(&mut self, group: usize, input: &mut Stored<'_>) -> Result<()> {
        self.clear(group);
        for _ in 0..input.length()? {
            let length = input.length()?;
            let value = input.bytes(length)?;
            self.held += ENTRY_BYTES + value.len();
            self.groups[group].push(value.into());
        }
        Ok(())
    }

    /// A trace for results.
    pub fn trace(&self) -> Trace {
        match self.listing {
            Listing::First | Listing::Last => Trace::Encoded(Encoded::new(&self.codec)),
            Listing::Text | Listing::JsonArray | Listing::JsonObject { .. } => Trace::Bytes(BinaryBuilder::new()),
            Listing::Array => Trace::Lists { lengths: Vec::new(), items: Encoded::new(&self.codec) },
        }
    }

    /// Adds a group's result.
    pub fn push(&self, group: usize, trace: &mut Trace) -> Result<()> {
        let values = &self.groups[group];
        match (self.listing, trace) {
            (Listing::First, Trace::Encoded(out)) => out.push(values.first().map(|v| &v[..])),
            (Listing::Last, Trace::Encoded(out)) => out.push(values.last().map(|v| &v[..])),
            (Listing::Array, Trace::Lists { lengths, items }) => {
                lengths.push((!values.is_empty()).then_some(values.len()));
                values.iter().for_each(|v| items.push(Some(v)));
            }
            (Listing::Text, Trace::Bytes(out)) => out.append_option(self.text(values)?),
            (Listing::JsonArray, Trace::Bytes(out)) => {
                let texts: Vec<&str> =
                    values.iter().map(|v| text_at(v, 0).map(|t| t.unwrap_or("null"))).collect::<Result<_>>()?;
                out.append_value(format!("[{}]", texts.join(",")));
            }
            (Listing::JsonObject { absent }, Trace::Bytes(out)) => out.append_value(object(values, absent)?),
            _ => return Err(Error::internal("a trace of another aggregate")),
        }
        Ok(())
    }

    fn text(&self, values: &[Box<[u8]>]) -> Result<Option<String>> {
        let Some(last) = values.last() else { return Ok(None) };
        let first = if self.row { MEMBERS } else { 0 };
        let mut separator = ",";
        if self.row {
            let text = text_at(last, first)?.map_or(1, |t| 5 + t.len());
            separator = text_at(last, first + text)?.unwrap_or(",");
        }
        let texts: Vec<&str> =
            values.iter().map(|v| text_at(v, first).map(Option::unwrap_or_default)).collect::<Result<_>>()?;
        Ok(Some(texts.join(separator)))
    }
}

/// The text whose null byte is at this position.
fn text_at(value: &[u8], at: usize) -> Result<Option<&str>> {
    let mut rest = Stored(value.get(at..).unwrap_or_default());
    if rest.state(1)? == 0 {
        return Ok(None);
    }
    let length = rest.length()?;
    let bytes = rest.bytes(length)?;
    std::str::from_utf8(bytes).map(Some).map_err(|e| malformed("a text is not UTF-8").caused_by(&e))
}

/// The key of an encoded `ROW(key, value)`.
fn key_of(value: &[u8]) -> Result<&[u8]> {
    match text_at(value, MEMBERS)? {
        Some(key) => Ok(key.as_bytes()),
        None => Err(Error::invalid("null_json_key", "JSON_OBJECTAGG got a null key: filter such records out")),
    }
}

/// A JSON object with its keys in order, as Flink's serializer sorts them.
fn object(values: &[Box<[u8]>], absent: bool) -> Result<String> {
    let mut members = BTreeMap::new();
    for value in values {
        let key = text_at(value, MEMBERS)?.unwrap_or_default();
        match text_at(value, MEMBERS + 5 + key.len())? {
            None if absent => {}
            member => {
                members.insert(key, member.unwrap_or("null"));
            }
        }
    }
    let members: Vec<String> =
        members.into_iter().map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key))).collect();
    Ok(format!("{{{}}}", members.join(",")))
}

/// The rows that an aggregate of `ROW(text, separator)` takes: those whose text is not null.
pub fn valid_texts(argument: &dyn Array) -> Option<arrow::buffer::NullBuffer> {
    argument.as_struct_opt().and_then(|s| s.columns().first().and_then(|c| c.logical_nulls()))
}
