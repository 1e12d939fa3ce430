//! Sources and sinks: the edge between tables and the outside world.
//!
//! A connector is found by the value of the table's `'connector'` option. [`SourceConnector::validate`] runs at submit, with the whole
//! table at hand, so that an unknown option, a missing path or a format that cannot express the schema is refused there.
//!
//! Invariants: 1. a reader's position is wholly in its [`SplitState`]s: restoring them and reading on gives the records
//! that were not yet read, in the same order; 2. a sink makes nothing visible before [`SinkWriter::commit`]; 3. commit
//! is idempotent: it is repeated after a crash; 4. readers and writers block (they run on data-plane threads), but a
//! reader returns from `poll` within [`MAX_POLL_MS`].

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::graph::{ConnectorSpec, SinkSpec, SourceSpec};
use crate::id::{JobId, OperatorId};
use crate::types::Schema;
use crate::types::changelog::ChangelogMode;

pub use options::parse_bytes;

/// Most rows of one source batch.
pub const MAX_BATCH_ROWS: usize = 8192;
/// Longest time that a reader may spend in one `poll`, ms; a `Pending` is answered at once instead.
pub const MAX_POLL_MS: u64 = 100;

/// The part of a source that one subtask reads in order, with the position reached. The value is the connector's own
/// (versioned JSON); `id` is stable and unique within the source (e.g. the file's path).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SplitState {
    pub id: String,
    /// Whether the split was read to its end; kept so that a monitored folder does not read the file again.
    pub finished: bool,
    /// Whether any record of it was read.
    pub started: bool,
    pub position: serde_json::Value,
}

/// Who is reading or writing.
#[derive(Debug, Clone)]
pub struct TaskContext {
    pub job_id: JobId,
    pub operator_id: OperatorId,
    /// Increases with each (re)start of the job.
    pub attempt: u64,
    pub subtask: usize,
    pub parallelism: usize,
}

/// One answer of a reader.
pub enum Poll {
    /// Rows of the split `split` (an index into the reader's own splits, as in [`SourceReader::splits`]).
    Batch { split: usize, batch: RecordBatch },
    /// Nothing now; ask again after this many ms.
    Pending { retry_after_ms: u64 },
    /// All splits are read and no more will come.
    End,
}

/// Reads the splits of one subtask.
///
/// Order: started splits are read before fresh ones, and while several are started (after a rescale) the caller picks
/// which to read by [`SourceReader::poll`]'s `preferred` (the one whose watermark is lowest), so that event time stays
/// aligned.
pub trait SourceReader: Send {
    /// The next rows: at most [`MAX_BATCH_ROWS`], with the columns `physical ++ metadata` of the spec.
    fn poll(&mut self, preferred: Option<usize>) -> Result<Poll>;
    /// All splits this reader owns with their positions after the last polled batch; grows when files are discovered.
    fn splits(&self) -> Vec<SplitState>;
    /// Bytes read so far by this reader, and records skipped as undecodable (`json.ignore-parse-errors`).
    fn counters(&self) -> ReaderCounters;
}

/// Figures of a reader since it was opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReaderCounters {
    pub bytes: u64,
    pub skipped_records: u64,
}

/// A kind of source.
pub trait SourceConnector: Send + Sync {
    /// Checks options and schema. Errors name the option.
    fn validate(&self, spec: &SourceSpec) -> Result<()>;
    /// Whether `SourceSpec::physical` may leave out columns and members that the query does not use. Where records have
    /// no names (the csv format), it must be the whole table.
    fn prunes_columns(&self, spec: &ConnectorSpec) -> bool {
        let _ = spec;
        true
    }
    /// The kinds of rows that it gives; a batch with others than insertions carries them (see [`crate::types::row_kind`]).
    fn changelog(&self, spec: &ConnectorSpec) -> ChangelogMode {
        let _ = spec;
        ChangelogMode::INSERT_ONLY
    }
    /// The splits to read when the job starts without a snapshot; `parallelism` lets a generator cut its range.
    fn discover(&self, spec: &SourceSpec, parallelism: usize) -> Result<Vec<SplitState>>;
    /// A reader for one subtask. `all` are all known splits of the source (fresh or restored, of all subtasks);
    /// the reader owns those at the positions `i` with `i % parallelism == subtask`.
    fn reader(&self, spec: &SourceSpec, context: &TaskContext, all: Vec<SplitState>) -> Result<Box<dyn SourceReader>>;
}

/// Which changes a sink can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkChangelog {
    /// New rows only: a query that updates or deletes rows is refused when it is planned.
    InsertOnly,
    /// `+I`, `+U` and `-D` by the table's `PRIMARY KEY`. `-U` comes only where the query's key is not the table's.
    Upsert,
    /// All kinds, each row with its kind.
    All,
}

/// Writes the rows of one subtask.
pub trait SinkWriter: Send {
    /// Stages rows; nothing becomes visible. Rows of a changelog carry their kinds in a last column (see
    /// [`crate::types::row_kind`]), if [`SinkConnector::changelog`] takes them.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    /// Makes everything written so far durable but invisible, and answers what [`SinkWriter::commit`] needs to publish
    /// it (kept in the checkpoint). Rows written later belong to the next checkpoint.
    fn prepare_commit(&mut self, checkpoint_id: u64) -> Result<Vec<serde_json::Value>>;
    /// Publishes; idempotent. Called once the checkpoint is complete, and again after a restore.
    fn commit(&mut self, committables: &[serde_json::Value]) -> Result<()>;
    /// Called by subtask 0 after a restore and its commits, before any write: removes what earlier attempts of this
    /// job's operator staged and never committed.
    fn discard_stale(&mut self) -> Result<()>;
    /// End of the job: releases resources; staged rows that were not committed stay invisible.
    fn close(&mut self) -> Result<()>;
}

/// A kind of sink.
pub trait SinkConnector: Send + Sync {
    /// Checks options and schema. Errors name the option.
    fn validate(&self, spec: &SinkSpec, schema: &Schema) -> Result<()>;
    /// Which changes it can write.
    fn changelog(&self, spec: &SinkSpec) -> SinkChangelog {
        let _ = spec;
        SinkChangelog::InsertOnly
    }
    /// A writer for one subtask.
    fn writer(&self, spec: &SinkSpec, schema: &Schema, context: &TaskContext) -> Result<Box<dyn SinkWriter>>;
}

/// The source connector named by the table's `'connector'` option; errors list those that exist.
pub fn source(spec: &ConnectorSpec) -> Result<Arc<dyn SourceConnector>> {
    registry::source(spec)
}

/// The sink connector named by the table's `'connector'` option; errors list those that exist.
pub fn sink(spec: &ConnectorSpec) -> Result<Arc<dyn SinkConnector>> {
    registry::sink(spec)
}

mod blackhole;
mod datagen;
mod filesystem;
pub mod format;
mod nexmark;
mod options;
mod print;
mod registry;
mod throttle;
