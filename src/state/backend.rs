//! One RocksDB of one operator subtask: open, write, read by batch, scan, snapshot.
//!
//! Invariants: 1. only this module and `restore` touch RocksDB; 2. nothing is written to a write-ahead log: what was
//! written since the last [`Backend::snapshot`] is lost with the process, on purpose; 3. a database whose
//! `format_version` or `layout` differs from what the operator expects is refused before an entry of it is read.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBPinnableSlice, FlushOptions,
    IngestExternalFileOptions, LogLevel, Options, ReadOptions, SstFileWriter, WriteBatch, WriteOptions,
};

use super::{SharedMemory, StateContext, StateSnapshot, canonical, restore};
use crate::error::{Error, Result};

/// Version of everything stored; see [`crate::state`].
pub const FORMAT_VERSION: u32 = 1;
/// The column family of the format version and the layout.
pub(super) const META: &str = "meta";
const FORMAT_KEY: &[u8] = b"format_version";
const LAYOUT_KEY: &[u8] = b"layout";

/// Memtable of one column family, bytes: small, because there are many databases and each snapshot flushes them.
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// A memtable grows by this, bytes: the first entry of each of many small databases must not take a megabyte.
const ARENA_BLOCK_BYTES: usize = 64 << 10;
/// Target size of an SST file, bytes: small enough that a compaction does not re-upload much.
const SST_BYTES: u64 = 32 << 20;
/// Open files of one database: there is one database per operator subtask.
const MAX_OPEN_FILES: i32 = 128;
/// A write batch is handed to RocksDB when it reaches this size, bytes.
const WRITE_BATCH_BYTES: usize = 4 << 20;

/// Takes an entry: key and value.
pub type Put<'p> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'p;

/// An open database.
pub struct Backend {
    db: DB,
    dir: PathBuf,
    key_groups: Range<u16>,
    tables: Vec<String>,
    shared: Arc<SharedMemory>,
    snapshots: u64,
    restored: bool,
}

/// Writes on their way to RocksDB, handed over in pieces; nothing is atomic across pieces, and need not be: only
/// snapshots count.
pub struct Writes<'a> {
    backend: &'a Backend,
    table: Arc<BoundColumnFamily<'a>>,
    options: WriteOptions,
    batch: WriteBatch,
}

impl Backend {
    /// Opens `context.dir` with these column families, empty or from `context.restored`. `layout` describes the
    /// operator's keys and values: restored state of another layout is refused (`state_incompatible`).
    pub fn open(context: &StateContext, tables: &[&str], layout: &str) -> Result<Backend> {
        let in_place = match &context.restored[..] {
            [one] => one.key_groups == context.key_groups && canonical::entry_files(&one.dir)?.is_empty(),
            _ => false,
        };
        if in_place {
            restore::take_over(&context.restored[0].dir, &context.dir)?;
        } else {
            std::fs::create_dir_all(&context.dir).map_err(|e| io_error("create", &context.dir, &e))?;
        }
        let options = database_options(&context.shared, !in_place);
        let mut names: Vec<String> = vec!["default".into(), META.into()];
        names.extend(tables.iter().map(|t| (*t).to_owned()));
        if in_place {
            let stored = DB::list_cf(&options, &context.dir).map_err(|e| open_error(&context.dir, e))?;
            names.extend(stored.into_iter().filter(|n| !names.contains(n)).collect::<Vec<_>>());
        }
        let families = names.iter().map(|n| ColumnFamilyDescriptor::new(n, table_options(&context.shared)));
        let db = DB::open_cf_descriptors(&options, &context.dir, families).map_err(|e| match in_place {
            true => open_error(&context.dir, e),
            false => Error::unavailable("state_io", format!("opening {} failed", context.dir.display())).caused_by(&e),
        })?;
        let backend = Backend {
            db,
            dir: context.dir.clone(),
            key_groups: context.key_groups.clone(),
            tables: names,
            shared: context.shared.clone(),
            snapshots: 0,
            restored: !context.restored.is_empty(),
        };
        if in_place {
            check_meta(&backend.db, &context.dir, layout)?;
        } else {
            let mut meta = backend.writes(META)?;
            meta.put(FORMAT_KEY, FORMAT_VERSION.to_string().as_bytes())?;
            meta.put(LAYOUT_KEY, layout.as_bytes())?;
            meta.commit()?;
            for old in &context.restored {
                restore::import(&backend, old, tables, layout, &context.shared)?;
            }
        }
        Ok(backend)
    }

    /// Whether it was opened from a snapshot.
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// The key groups that it holds.
    pub fn key_groups(&self) -> Range<u16> {
        self.key_groups.clone()
    }

    /// Starts writing to a table; call [`Writes::commit`] at the end.
    pub fn writes(&self, table: &str) -> Result<Writes<'_>> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        Ok(Writes { backend: self, table: family(&self.db, table)?, options, batch: WriteBatch::default() })
    }

    /// Writes many entries as one sorted file, past the memtable: several times faster than [`Backend::writes`] from some
    /// ten thousand entries on. `fill` puts keys in ascending order, at least one.
    pub fn ingest(&self, table: &str, fill: impl FnOnce(&mut Put<'_>) -> Result<()>) -> Result<()> {
        let error = |e| write_error(&self.dir, e);
        let path = self.dir.join("ingest.tmp");
        let options = table_options(&self.shared);
        let mut writer = SstFileWriter::create(&options);
        writer.open(&path).map_err(error)?;
        fill(&mut |key, value| writer.put(key, value).map_err(error))?;
        writer.finish().map_err(error)?;
        let mut ingest = IngestExternalFileOptions::default();
        ingest.set_move_files(true);
        self.db.ingest_external_file_cf_opts(&family(&self.db, table)?, &ingest, vec![path]).map_err(error)
    }

    /// The values of these keys, in their order.
    pub fn multi_get<'k>(
        &self,
        table: &str,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> Result<Vec<Option<DBPinnableSlice<'_>>>> {
        let answers = self.db.batched_multi_get_cf(&family(&self.db, table)?, keys, false);
        answers.into_iter().map(|a| a.map_err(|e| read_error(&self.dir, e))).collect()
    }

    /// Visits the entries whose key starts with `prefix`, in key order, until `visit` breaks.
    pub fn scan(
        &self,
        table: &str,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut options = ReadOptions::default();
        if let Some(end) = successor(prefix) {
            options.set_iterate_upper_bound(end);
        }
        // Fired windows are read once: they should not push hot blocks out.
        options.fill_cache(false);
        let mut entries = self.db.raw_iterator_cf_opt(&family(&self.db, table)?, options);
        entries.seek(prefix);
        while let Some((key, value)) = entries.item() {
            if visit(key, value)?.is_break() {
                return Ok(());
            }
            entries.next();
        }
        entries.status().map_err(|e| read_error(&self.dir, e))
    }

    /// The distinct first `length` bytes of the table's keys, in order; skips from one to the next.
    pub fn prefixes(&self, table: &str, length: usize) -> Result<Vec<Vec<u8>>> {
        let mut entries = self.db.raw_iterator_cf(&family(&self.db, table)?);
        let mut found = Vec::new();
        entries.seek_to_first();
        while let Some(key) = entries.key() {
            let prefix = key.get(..length).ok_or_else(|| malformed("a stored key is too short"))?.to_vec();
            let next = successor(&prefix);
            found.push(prefix);
            match next {
                Some(next) => entries.seek(next),
                None => break,
            }
        }
        entries.status().map_err(|e| read_error(&self.dir, e))?;
        Ok(found)
    }

    /// Flushes everything and takes a local image of hard links in `<dir>-snapshots/<n>`.
    pub fn snapshot(&mut self) -> Result<StateSnapshot> {
        let families: Vec<_> = self.tables.iter().map(|n| family(&self.db, n)).collect::<Result<_>>()?;
        let mut wait = FlushOptions::default();
        wait.set_wait(true);
        let all: Vec<&Arc<BoundColumnFamily<'_>>> = families.iter().collect();
        self.db.flush_cfs_opt(&all, &wait).map_err(|e| write_error(&self.dir, e))?;
        let mut parent = self.dir.clone().into_os_string();
        parent.push("-snapshots");
        let parent = PathBuf::from(parent);
        std::fs::create_dir_all(&parent).map_err(|e| io_error("create", &parent, &e))?;
        self.snapshots += 1;
        let dir = parent.join(self.snapshots.to_string());
        let checkpoint = Checkpoint::new(&self.db).map_err(|e| write_error(&self.dir, e))?;
        checkpoint.create_checkpoint(&dir).map_err(|e| write_error(&dir, e))?;
        Ok(StateSnapshot { files: list_files(&dir)?, dir, key_groups: self.key_groups.clone() })
    }
}

impl Writes<'_> {
    /// Sets the value of a key.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.put_cf(&self.table, key, value);
        self.hand_over(WRITE_BATCH_BYTES)
    }
    /// Appends to the value of a key.
    pub fn merge(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.merge_cf(&self.table, key, value);
        self.hand_over(WRITE_BATCH_BYTES)
    }
    /// Deletes a key.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.batch.delete_cf(&self.table, key);
        self.hand_over(WRITE_BATCH_BYTES)
    }
    /// Deletes the keys that start with `prefix`.
    pub fn delete_prefix(&mut self, prefix: &[u8]) -> Result<()> {
        let end = successor(prefix).ok_or_else(|| Error::internal("a prefix of 0xff bytes cannot be deleted"))?;
        self.batch.delete_range_cf(&self.table, prefix, &end[..]);
        self.hand_over(WRITE_BATCH_BYTES)
    }
    /// Deletes the keys from `start` on, before `end`.
    pub fn delete_range(&mut self, start: &[u8], end: &[u8]) -> Result<()> {
        self.batch.delete_range_cf(&self.table, start, end);
        self.hand_over(WRITE_BATCH_BYTES)
    }
    /// Writes what is left.
    pub fn commit(mut self) -> Result<()> {
        self.hand_over(1)
    }
    fn hand_over(&mut self, threshold: usize) -> Result<()> {
        // An empty batch is 12 bytes of header.
        if self.batch.is_empty() || self.batch.size_in_bytes() < threshold {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.backend.db.write_opt(batch, &self.options).map_err(|e| write_error(&self.backend.dir, e))
    }
}

/// Options of a database that shares the process's memory.
pub(super) fn database_options(shared: &SharedMemory, create: bool) -> Options {
    let mut options = Options::default();
    // What is not in a snapshot is not wanted: closing must not flush it. There is no setter for this.
    match options.get_options_from_string("avoid_flush_during_shutdown=true") {
        Ok(parsed) => options = parsed,
        Err(error) => tracing::warn!(%error, "RocksDB will flush when it closes"),
    }
    options.create_if_missing(create);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(&shared.write_buffers);
    options.set_max_open_files(MAX_OPEN_FILES);
    options.set_max_background_jobs(2);
    options.set_max_file_opening_threads(2);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_keep_log_file_num(1);
    options.set_log_level(LogLevel::Warn);
    options.set_skip_stats_update_on_db_open(true);
    options
}

/// Options of a column family.
pub(super) fn table_options(shared: &SharedMemory) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&shared.cache);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_optimize_filters_for_memory(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_merge_operator_associative("holdfast.append", |_, value, more| {
        Some(value.into_iter().chain(more).flatten().copied().collect())
    });
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_arena_block_size(ARENA_BLOCK_BYTES);
    options.set_max_write_buffer_number(3);
    options.set_target_file_size_base(SST_BYTES);
    options
}

pub(super) fn family<'d>(db: &'d DB, name: &str) -> Result<Arc<BoundColumnFamily<'d>>> {
    db.cf_handle(name).ok_or_else(|| Error::internal(format!("there is no column family {name}")))
}

/// Refuses a database of another format or layout.
pub(super) fn check_meta(db: &DB, dir: &Path, layout: &str) -> Result<()> {
    let (version, stored) = meta(db, dir)?;
    check_layout(&version, &stored, layout)
}

/// The layout of a database of this format.
pub(super) fn stored_layout(db: &DB, dir: &Path) -> Result<String> {
    let (version, stored) = meta(db, dir)?;
    check_layout(&version, &stored, &stored)?;
    Ok(stored)
}

/// Format version and layout of a database.
fn meta(db: &DB, dir: &Path) -> Result<(String, String)> {
    let meta = db.cf_handle(META).ok_or_else(|| malformed("the column family meta is missing"))?;
    let text = |key: &[u8]| -> Result<String> {
        let value = db.get_cf(&meta, key).map_err(|e| read_error(dir, e))?;
        let value = value.ok_or_else(|| malformed("the format version or the layout is missing"))?;
        String::from_utf8(value).map_err(|_| malformed("the format version or the layout is not text"))
    };
    Ok((text(FORMAT_KEY)?, text(LAYOUT_KEY)?))
}

/// Refuses state of another format or layout.
pub(super) fn check_layout(version: &str, stored: &str, layout: &str) -> Result<()> {
    if version != FORMAT_VERSION.to_string() {
        return Err(Error::conflict(
            "state_format_unsupported",
            format!(
                "the state has format {version}, this version of holdfast reads format {FORMAT_VERSION}: use the version that wrote it"
            ),
        ));
    }
    if stored != layout {
        return Err(Error::conflict(
            "state_incompatible",
            format!(
                "the stored state is {stored}, the query needs {layout}: restore with the old query or start without this state"
            ),
        ));
    }
    Ok(())
}

/// The smallest byte string above all that start with `prefix`; none if there is no such.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Stored bytes that no version ever wrote.
pub fn malformed(what: &str) -> Error {
    Error::corrupt("state_corrupt", format!("stored state is corrupt: {what}; restore from another snapshot"))
}

fn list_files(dir: &Path) -> Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| io_error("list", dir, &e))? {
        let entry = entry.map_err(|e| io_error("list", dir, &e))?;
        let size = entry.metadata().map_err(|e| io_error("read", &entry.path(), &e))?.len();
        let name = entry.file_name().into_string().map_err(|_| Error::internal("RocksDB's file names are ASCII"))?;
        files.push((name, size));
    }
    files.sort_unstable();
    Ok(files)
}

pub(super) fn io_error(what: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::unavailable("state_io", format!("cannot {what} {}", path.display())).caused_by(e)
}

/// Opening stored files failed. RocksDB's message names the file; whatever its kind, the files are not what was written.
pub(super) fn open_error(dir: &Path, e: rocksdb::Error) -> Error {
    Error::corrupt("state_corrupt", format!("the stored state in {} cannot be opened ({e})", dir.display()))
}

pub(super) fn read_error(dir: &Path, e: rocksdb::Error) -> Error {
    match e.kind() {
        rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::NotFound => {
            Error::corrupt("state_corrupt", format!("stored state in {} is corrupt ({e})", dir.display()))
        }
        // A file that is gone is an I/O error to RocksDB.
        _ if e.as_ref().contains("No such file") => open_error(dir, e),
        _ => Error::unavailable("state_io", format!("reading {} failed", dir.display())).caused_by(&e),
    }
}

fn write_error(dir: &Path, e: rocksdb::Error) -> Error {
    match e.kind() {
        rocksdb::ErrorKind::Corruption => read_error(dir, e),
        _ => Error::unavailable("state_io", format!("writing {} failed", dir.display())).caused_by(&e),
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
