//! Writes files of records, exactly once.
//!
//! Rows go to a hidden staged file in the target folder. `prepare_commit` makes it durable; `commit` renames it to its
//! final name, which is the publication: before it no reader sees the file, after it the file never changes. The names
//! carry the attempt, so that what a dead attempt staged is never mistaken for ours.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;

use super::listing::{failed, local_path};
use crate::connector::format::{Encoder, Format};
use crate::connector::options::Options;
use crate::connector::{SinkConnector, SinkWriter, TaskContext};
use crate::error::{Error, Result};
use crate::graph::SinkSpec;
use crate::types::Schema;

const OPTIONS: &[&str] = &["path", "format", "sink.rolling-policy.file-size"];
/// Flink's default of `sink.rolling-policy.file-size`.
const DEFAULT_FILE_BYTES: u64 = 128 << 20;
/// Encoded rows are handed to the operating system in pieces of about this size.
const BUFFER_BYTES: usize = 256 << 10;
const STAGED_SUFFIX: &str = ".inprogress";

/// The connector.
pub struct FilesystemSink;

impl SinkConnector for FilesystemSink {
    fn validate(&self, spec: &SinkSpec, schema: &Schema) -> Result<()> {
        let options = Options::new(&spec.connector);
        let format = Format::from_options(options)?;
        local_path(options)?;
        options.bytes("sink.rolling-policy.file-size")?;
        options.refuse_unknown(&[OPTIONS, format.known_options()].concat())?;
        if !spec.partitioned_by.is_empty() {
            let table = &spec.connector.table;
            return Err(Error::invalid(
                "unsupported_partitions",
                format!("table '{table}': PARTITIONED BY is not supported by the filesystem sink yet; leave it out"),
            ));
        }
        format.validate(schema)
    }

    fn writer(&self, spec: &SinkSpec, schema: &Schema, context: &TaskContext) -> Result<Box<dyn SinkWriter>> {
        let options = Options::new(&spec.connector);
        let format = Format::from_options(options)?;
        let folder = local_path(options)?;
        std::fs::create_dir_all(&folder).map_err(|e| failed(&folder, &e))?;
        Ok(Box::new(Writer {
            folder,
            extension: format.extension(),
            encoder: format.encoder(schema),
            file_bytes: options.bytes("sink.rolling-policy.file-size")?.unwrap_or(DEFAULT_FILE_BYTES),
            context: context.clone(),
            buffer: Vec::new(),
            current: None,
            staged: Vec::new(),
            next: 0,
        }))
    }
}

/// A staged file, as kept in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Committable {
    /// Version of this encoding.
    v: u32,
    staged: PathBuf,
    #[serde(rename = "final")]
    published: PathBuf,
    bytes: u64,
}

struct Writer {
    folder: PathBuf,
    extension: &'static str,
    encoder: Box<dyn Encoder>,
    file_bytes: u64,
    context: TaskContext,
    /// Encoded rows of `current` that were not yet written to it.
    buffer: Vec<u8>,
    current: Option<(File, Committable)>,
    /// Whole, durable files of this checkpoint.
    staged: Vec<Committable>,
    /// Number of the next file of this attempt.
    next: u64,
}

impl Writer {
    /// What the names of files staged by this operator start with, in any attempt.
    fn staged_prefix(&self) -> String {
        format!(".holdfast-{}-{}-", self.context.job_id, self.context.operator_id)
    }

    fn open(&mut self) -> Result<(File, Committable)> {
        let TaskContext { job_id, operator_id, attempt, subtask, .. } = &self.context;
        let n = self.next;
        let staged = self.folder.join(format!("{}{attempt}-{subtask}-{n}{STAGED_SUFFIX}", self.staged_prefix()));
        // The tail of the job's id: its head is a time, and two jobs of one second may share it.
        let (job, operator) = (job_id.to_string(), operator_id.to_string());
        let job = job.get(24..).unwrap_or_default();
        let operator = operator.get(..8).unwrap_or_default();
        let published = self.folder.join(format!("part-{job}-{operator}-{attempt}-{subtask}-{n}.{}", self.extension));
        let file = File::create(&staged).map_err(|e| failed(&staged, &e))?;
        self.next += 1;
        Ok((file, Committable { v: 1, staged, published, bytes: 0 }))
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (mut file, mut entry) = match self.current.take() {
            Some(current) => current,
            None => self.open()?,
        };
        file.write_all(&self.buffer).map_err(|e| failed(&entry.staged, &e))?;
        entry.bytes += u64::try_from(self.buffer.len()).unwrap_or(0);
        self.buffer.clear();
        self.current = Some((file, entry));
        Ok(())
    }

    /// Ends the current file and makes its content durable.
    fn roll(&mut self) -> Result<()> {
        self.flush()?;
        if let Some((file, entry)) = self.current.take() {
            file.sync_all().map_err(|e| failed(&entry.staged, &e))?;
            self.staged.push(entry);
        }
        Ok(())
    }
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| failed(folder, &e))
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|e| failed(path, &e))
}

/// Publishes one staged file; done before is fine.
fn publish(entry: &Committable) -> Result<()> {
    if exists(&entry.staged)? {
        return std::fs::rename(&entry.staged, &entry.published).map_err(|e| failed(&entry.published, &e));
    }
    if !exists(&entry.published)? {
        // The user may have taken the published file away since.
        let (staged, published) = (entry.staged.display(), entry.published.display());
        tracing::warn!(file.path = %published, "neither {staged} nor {published} exists: taken as published and moved away");
    }
    Ok(())
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.encoder.encode(batch, &mut self.buffer)?;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        if self.current.as_ref().is_some_and(|(_, entry)| entry.bytes >= self.file_bytes) {
            self.roll()?;
        }
        Ok(())
    }

    fn prepare_commit(&mut self, _checkpoint_id: u64) -> Result<Vec<serde_json::Value>> {
        self.roll()?;
        if self.staged.is_empty() {
            return Ok(Vec::new());
        }
        sync_folder(&self.folder)?;
        let encoded = std::mem::take(&mut self.staged).into_iter().map(serde_json::to_value).collect::<Result<_, _>>();
        encoded.map_err(|e| Error::internal("a staged file's name cannot be kept").caused_by(&e))
    }

    fn commit(&mut self, committables: &[serde_json::Value]) -> Result<()> {
        let mut folders = std::collections::BTreeSet::new();
        for value in committables {
            let entry: Committable =
                serde_json::from_value(value.clone()).ok().filter(|c: &Committable| c.v == 1).ok_or_else(|| {
                    Error::corrupt("invalid_committable", "a staged file kept in the checkpoint is unreadable")
                })?;
            publish(&entry)?;
            folders.extend(entry.published.parent().map(Path::to_path_buf));
        }
        folders.iter().filter(|f| f.exists()).try_for_each(|f| sync_folder(f))
    }

    fn discard_stale(&mut self) -> Result<()> {
        let prefix = self.staged_prefix();
        let own = format!("{}-", self.context.attempt);
        for entry in std::fs::read_dir(&self.folder).map_err(|e| failed(&self.folder, &e))? {
            let entry = entry.map_err(|e| failed(&self.folder, &e))?;
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|n| n.strip_prefix(&prefix)) else { continue };
            if rest.ends_with(STAGED_SUFFIX) && !rest.starts_with(&own) {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(|e| failed(&path, &e))?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.buffer.clear();
        self.current = None;
        Ok(())
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
