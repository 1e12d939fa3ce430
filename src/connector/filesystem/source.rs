//! Reads files of records: one split per file, its position the byte offset of the next record.
//!
//! Bounded: the files that exist at the start. With `source.monitor-interval`: these and all that appear later; who
//! reads a later file is decided by its name, so that the subtasks need not talk to each other.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use regex::Regex;
use xxhash_rust::xxh3::xxh3_64;

use super::listing::{failed, files, local_path, pattern};
use crate::clock::now_ms;
use crate::connector::format::{Decoder, Format};
use crate::connector::options::Options;
use crate::connector::{
    MAX_BATCH_ROWS, MAX_POLL_MS, Poll, ReaderCounters, SourceConnector, SourceReader, SplitState, TaskContext,
};
use crate::error::{Error, Result};
use crate::graph::{ConnectorSpec, SourceSpec};
use crate::types::{Schema, TimestampKind, TypeKind};

/// Read from a file at once.
const BLOCK_BYTES: usize = 1 << 20;
/// A longer record is refused: it would be held in memory whole.
const MAX_RECORD_BYTES: usize = 16 << 20;
/// Input of one batch: bounds memory and the time of a poll where records are large.
const MAX_BATCH_BYTES: usize = 4 << 20;

const OPTIONS: &[&str] = &["path", "format", "source.monitor-interval", "source.path.regex-pattern"];
/// Metadata columns with their types.
const METADATA: &[(&str, Metadata)] = &[
    ("file.path", Metadata::Path),
    ("file.name", Metadata::Name),
    ("file.size", Metadata::Size),
    ("file.modification-time", Metadata::ModificationTime),
];

#[derive(Debug, Clone, Copy)]
enum Metadata {
    Path,
    Name,
    Size,
    ModificationTime,
}

impl Metadata {
    fn of(key: &str) -> Option<Self> {
        METADATA.iter().find(|(k, _)| *k == key).map(|(_, m)| *m)
    }
    fn has_kind(self, kind: &TypeKind) -> bool {
        match self {
            Metadata::Path | Metadata::Name => kind.is_string(),
            Metadata::Size => *kind == TypeKind::BigInt,
            Metadata::ModificationTime => kind.regular() == TypeKind::TimestampLtz(3, TimestampKind::Regular),
        }
    }
}

/// The connector.
pub struct FilesystemSource;

impl SourceConnector for FilesystemSource {
    fn validate(&self, spec: &SourceSpec) -> Result<()> {
        let options = Options::new(&spec.connector);
        let format = Format::from_options(options)?;
        local_path(options)?;
        pattern(options)?;
        options.duration_ms("source.monitor-interval")?;
        options.refuse_unknown(&[OPTIONS, format.known_options()].concat())?;
        for (key, column) in &spec.metadata {
            match Metadata::of(key) {
                None => {
                    let known: Vec<_> = METADATA.iter().map(|(k, _)| *k).collect();
                    let offer = crate::connector::options::offer(key, &known);
                    return Err(Error::invalid(
                        "unknown_metadata",
                        format!("filesystem has no metadata '{key}'; {offer}"),
                    ));
                }
                Some(m) if !m.has_kind(&column.data_type.kind) => {
                    let (name, kind) = (&column.name, &column.data_type.kind);
                    return Err(Error::invalid(
                        "invalid_metadata_type",
                        format!(
                            "column '{name}' FROM '{key}' cannot be {kind}: use STRING for file.path and file.name, BIGINT for file.size, TIMESTAMP_LTZ(3) for file.modification-time"
                        ),
                    ));
                }
                Some(_) => {}
            }
        }
        format.validate(&spec.physical)
    }

    fn prunes_columns(&self, spec: &ConnectorSpec) -> bool {
        spec.options.get("format").is_none_or(|f| f != "csv")
    }

    fn discover(&self, spec: &SourceSpec, _parallelism: usize) -> Result<Vec<SplitState>> {
        let options = Options::new(&spec.connector);
        let found = files(&local_path(options)?, pattern(options)?.as_ref())?;
        Ok(found.into_iter().map(|path| Position::default().split(path, false, false)).collect())
    }

    fn reader(&self, spec: &SourceSpec, context: &TaskContext, all: Vec<SplitState>) -> Result<Box<dyn SourceReader>> {
        let options = Options::new(&spec.connector);
        let format = Format::from_options(options)?;
        let mut fields = spec.physical.fields.clone();
        fields.extend(spec.metadata.iter().map(|(_, f)| f.clone()));
        let metadata = spec.metadata.iter().map(|(key, _)| {
            Metadata::of(key)
                .ok_or_else(|| Error::invalid("unknown_metadata", format!("filesystem has no metadata '{key}'")))
        });
        let known = all.iter().map(|s| s.id.clone()).collect();
        let own = all.into_iter().enumerate().filter(|(i, _)| i % context.parallelism == context.subtask);
        Ok(Box::new(Reader {
            splits: own.map(|(_, s)| Split::restore(s)).collect::<Result<_>>()?,
            known,
            root: local_path(options)?,
            pattern: pattern(options)?,
            monitor_ms: options.duration_ms("source.monitor-interval")?,
            listed_ms: None,
            subtask: context.subtask,
            parallelism: context.parallelism,
            schema: Schema::new(fields),
            metadata: metadata.collect::<Result<_>>()?,
            decoder: format.decoder(&spec.physical, MAX_BATCH_ROWS),
            counters: ReaderCounters::default(),
        }))
    }
}

/// How far a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Position {
    /// Version of this encoding.
    v: u32,
    /// Byte offset of the next record.
    offset: u64,
    /// Its line, from 1.
    line: u64,
}

impl Default for Position {
    fn default() -> Self {
        Position { v: 1, offset: 0, line: 1 }
    }
}

impl Position {
    fn split(self, id: String, started: bool, finished: bool) -> SplitState {
        let position = serde_json::json!({"v": self.v, "offset": self.offset, "line": self.line});
        SplitState { id, finished, started, position }
    }
}

struct Split {
    path: String,
    position: Position,
    started: bool,
    finished: bool,
    open: Option<Open>,
}

/// A file being read.
struct Open {
    file: File,
    size: u64,
    modified_ms: i64,
    /// Bytes read and not yet decoded: `buffer[start..]`.
    buffer: Vec<u8>,
    start: usize,
    at_end: bool,
}

impl Split {
    fn fresh(path: String) -> Self {
        Split { path, position: Position::default(), started: false, finished: false, open: None }
    }

    fn restore(state: SplitState) -> Result<Self> {
        let position: Position = serde_json::from_value(state.position)
            .ok()
            .filter(|p: &Position| p.v == 1)
            .ok_or_else(|| Error::corrupt("invalid_position", format!("the position of {} is unreadable", state.id)))?;
        Ok(Split { path: state.id, position, started: state.started, finished: state.finished, open: None })
    }

    fn open(&self) -> Result<Open> {
        let path = Path::new(&self.path);
        let mut file = File::open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(
                "input_vanished",
                format!(
                    "{} was listed but no longer exists; put it back, or start the job without its snapshot",
                    self.path
                ),
            ),
            _ => failed(path, &e),
        })?;
        let meta = file.metadata().map_err(|e| failed(path, &e))?;
        if meta.len() < self.position.offset {
            return Err(Error::conflict(
                "input_shrank",
                format!(
                    "{} has {} bytes but was already read up to {}; files must not change once they are there",
                    self.path,
                    meta.len(),
                    self.position.offset
                ),
            ));
        }
        file.seek(SeekFrom::Start(self.position.offset)).map_err(|e| failed(path, &e))?;
        let modified = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        Ok(Open {
            file,
            size: meta.len(),
            modified_ms: modified.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            buffer: Vec::with_capacity(BLOCK_BYTES + (BLOCK_BYTES >> 2)),
            start: 0,
            at_end: false,
        })
    }
}

impl Open {
    /// Drops what was decoded and reads another block behind the rest.
    fn fill(&mut self, path: &str) -> Result<u64> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let limit = u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX);
        let read =
            self.file.by_ref().take(limit).read_to_end(&mut self.buffer).map_err(|e| failed(Path::new(path), &e))?;
        self.at_end = read < BLOCK_BYTES;
        Ok(u64::try_from(read).unwrap_or(0))
    }
}

struct Reader {
    splits: Vec<Split>,
    /// Paths that some subtask has as a split.
    known: HashSet<String>,
    root: PathBuf,
    pattern: Option<Regex>,
    monitor_ms: Option<u64>,
    listed_ms: Option<i64>,
    subtask: usize,
    parallelism: usize,
    schema: Schema,
    metadata: Vec<Metadata>,
    decoder: Box<dyn Decoder>,
    counters: ReaderCounters,
}

impl Reader {
    /// The split to read now: the preferred one, else a started one, else the first fresh one.
    fn choose(&self, preferred: Option<usize>) -> Option<usize> {
        let unfinished = |i: &usize| self.splits.get(*i).is_some_and(|s| !s.finished);
        preferred
            .filter(unfinished)
            .or_else(|| self.splits.iter().position(|s| s.started && !s.finished))
            .or_else(|| self.splits.iter().position(|s| !s.finished))
    }

    /// Adds the files that appeared and are ours; answers how long to wait for the next look, ms.
    fn look_for_files(&mut self, interval_ms: u64) -> Result<u64> {
        let now = now_ms();
        let interval = i64::try_from(interval_ms).unwrap_or(i64::MAX);
        let due = self.listed_ms.map_or(now, |at| at.saturating_add(interval));
        if now < due {
            return Ok(u64::try_from(due - now).unwrap_or(0));
        }
        self.listed_ms = Some(now);
        for path in files(&self.root, self.pattern.as_ref())? {
            let owner = xxh3_64(path.as_bytes()) % u64::try_from(self.parallelism.max(1)).unwrap_or(1);
            if !self.known.contains(&path) && owner == u64::try_from(self.subtask).unwrap_or(0) {
                self.known.insert(path.clone());
                self.splits.push(Split::fresh(path));
            }
        }
        Ok(interval_ms)
    }

    /// Decodes the next rows of a split; none if only blank lines were left of it.
    fn read(&mut self, index: usize) -> Result<Option<RecordBatch>> {
        let Some(split) = self.splits.get_mut(index) else { return Ok(None) };
        let mut open = match split.open.take() {
            Some(open) => open,
            None => split.open()?,
        };
        split.started = true;
        let mut taken = 0;
        let ended = loop {
            let input = open.buffer.get(open.start..).unwrap_or_default();
            let done = self.decoder.decode(input, open.at_end, MAX_BATCH_ROWS).map_err(|bad| {
                Error::invalid("bad_record", bad.reason).at_input(&split.path, split.position.line + bad.line)
            })?;
            open.start += done.bytes;
            taken += done.bytes;
            split.position.offset += u64::try_from(done.bytes).unwrap_or(0);
            split.position.line += done.lines;
            self.counters.skipped_records += done.skipped;
            let left = open.buffer.len() - open.start;
            if self.decoder.rows() >= MAX_BATCH_ROWS || taken >= MAX_BATCH_BYTES {
                break open.at_end && left == 0;
            }
            if open.at_end {
                if left == 0 {
                    break true;
                }
                return Err(Error::invalid("bad_record", "the last record has no end (an open quote?)")
                    .at_input(&split.path, split.position.line));
            }
            if left > MAX_RECORD_BYTES {
                let limit = MAX_RECORD_BYTES >> 20;
                return Err(Error::invalid("bad_record", format!("the record is longer than {limit} MiB"))
                    .at_input(&split.path, split.position.line));
            }
            self.counters.bytes += open.fill(&split.path)?;
        };
        let batch = match self.decoder.rows() {
            0 => None,
            _ => {
                let (mut columns, rows) = self.decoder.finish()?;
                columns.extend(self.metadata.iter().map(|m| constant(*m, &split.path, &open, rows)));
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                Some(RecordBatch::try_new_with_options(self.schema.to_arrow(), columns, &options)?)
            }
        };
        split.finished = ended;
        if !ended {
            split.open = Some(open);
        }
        Ok(batch)
    }
}

/// A metadata column of `rows` rows.
fn constant(metadata: Metadata, path: &str, open: &Open, rows: usize) -> ArrayRef {
    let text = |t: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(t, rows)));
    match metadata {
        Metadata::Path => text(path),
        Metadata::Name => text(path.rsplit('/').next().unwrap_or(path)),
        Metadata::Size => Arc::new(Int64Array::from(vec![i64::try_from(open.size).unwrap_or(i64::MAX); rows])),
        Metadata::ModificationTime => {
            Arc::new(TimestampMillisecondArray::from(vec![open.modified_ms; rows]).with_timezone("UTC"))
        }
    }
}

impl SourceReader for Reader {
    fn poll(&mut self, preferred: Option<usize>) -> Result<Poll> {
        let begin_ms = now_ms();
        loop {
            let wait_ms = match self.monitor_ms {
                Some(interval) => self.look_for_files(interval)?,
                None => 0,
            };
            match (self.choose(preferred), self.monitor_ms) {
                (Some(split), _) => {
                    if let Some(batch) = self.read(split)? {
                        return Ok(Poll::Batch { split, batch });
                    }
                }
                (None, Some(_)) => return Ok(Poll::Pending { retry_after_ms: wait_ms.clamp(1, MAX_POLL_MS) }),
                (None, None) => return Ok(Poll::End),
            }
            if now_ms() - begin_ms >= i64::try_from(MAX_POLL_MS).unwrap_or(i64::MAX) {
                return Ok(Poll::Pending { retry_after_ms: 0 });
            }
        }
    }

    fn splits(&self) -> Vec<SplitState> {
        self.splits.iter().map(|s| s.position.split(s.path.clone(), s.started, s.finished)).collect()
    }

    fn counters(&self) -> ReaderCounters {
        self.counters
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
