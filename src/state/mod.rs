//! Keyed state of one operator subtask: tables in memory, behind them RocksDB.
//!
//! Work happens in memory; RocksDB holds everything as of the last snapshot, and what did not fit in the memory budget.
//! The write-ahead log is off: durability comes from snapshots. This module knows no job and no checkpoint id.
//!
//! Layout: one RocksDB per operator subtask; a column family per state; every key starts with the key group (2 bytes,
//! big endian), so that a key-group range is a key range. Values carry a version byte.
//!
//! Stored encodings, all versioned by `format_version` in the column family `meta` (see [`backend::FORMAT_VERSION`]):
//! - `meta`: `format_version` = decimal text; `layout` = the operator's description of its keys and values, compared
//!   at restore, so that a changed query never reads bytes of another shape.
//! - `window`: key = key group u16 BE | window or slice end, i64 BE with the sign bit flipped (so that bytes sort as
//!   numbers) | its start, likewise | grouping key ([`key_codec`]); value = version byte 1 | one accumulator after
//!   another (`operator::aggregate`).
//! - `distinct` (one entry per value already counted): key = key group | end | start, as above | length of the grouping
//!   key u32 BE | grouping key | position of the aggregate u8 | value ([`key_codec`]); value = version byte 1.

pub mod backend;
pub mod canonical;
pub mod inspect;
pub mod integers;
pub mod key_codec;
pub mod key_table;
pub mod keyed_map;
mod memory;
mod nested_codec;
mod restore;
pub mod row_codec;
pub mod row_lists;
pub mod sort_codec;
pub mod time_buffer;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

pub use backend::Backend;
pub use memory::SharedMemory;

/// A snapshot's files of one old subtask, downloaded and verified, to open or to import from.
#[derive(Debug, Clone)]
pub struct RestoredState {
    /// A folder that holds exactly the snapshot's files: a database's, or those of [`canonical`]. The state may take it
    /// over (rename, delete).
    pub dir: PathBuf,
    /// The key groups that it holds.
    pub key_groups: Range<u16>,
}

/// What keyed state needs to open.
#[derive(Debug, Clone)]
pub struct StateContext {
    /// A fresh, empty or absent folder on the working disk, for this operator subtask and attempt alone.
    pub dir: PathBuf,
    /// The key groups that this subtask owns.
    pub key_groups: Range<u16>,
    pub max_parallelism: u32,
    /// Bytes of in-memory tables above which clean entries are evicted to RocksDB.
    pub memory_budget_bytes: usize,
    /// The process's block cache and write buffers.
    pub shared: Arc<SharedMemory>,
    /// Old subtasks' state whose key groups intersect `key_groups`. If it is exactly one with exactly these key groups,
    /// its files are opened in place (so that later snapshots share them); else entries in range are imported.
    pub restored: Vec<RestoredState>,
}

/// A local image of the state: hard links, immutable, valid until its folder is deleted.
#[derive(Debug, Clone)]
pub struct StateSnapshot {
    /// The folder; whoever uploads it deletes it.
    pub dir: PathBuf,
    /// Relative file names and sizes in bytes, sorted by name. `*.sst` files never change under one name within one
    /// open database (and databases restored in place from it); all others must be stored anew each time. Two attempts
    /// that were restored from the same snapshot may give one name to different files.
    pub files: Vec<(String, u64)>,
    pub key_groups: Range<u16>,
}

/// A folder for tests; in memory where the system has such a place, because RocksDB syncs every file.
#[cfg(test)]
pub(crate) fn test_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("tests need a writable folder")
}
