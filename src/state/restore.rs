//! Bringing a snapshot's files back: in place, or by importing the entries of the owned key groups.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, Options, ReadOptions};

use super::backend::{Backend, check_meta, database_options, family, io_error, open_error, read_error, table_options};
use super::{RestoredState, SharedMemory, canonical};
use crate::error::Result;

/// Moves the files of `from` into `to`: by renaming, or by copying where they are on different disks.
pub(super) fn take_over(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).map_err(|e| io_error("create", to, &e))?;
    for entry in std::fs::read_dir(from).map_err(|e| io_error("list", from, &e))? {
        let path = entry.map_err(|e| io_error("list", from, &e))?.path();
        let Some(name) = path.file_name() else { continue };
        let target = to.join(name);
        if std::fs::rename(&path, &target).is_err() {
            std::fs::copy(&path, &target).map_err(|e| io_error("copy", &path, &e))?;
        }
    }
    remove(from);
    Ok(())
}

/// Copies the entries of the backend's key groups from an old subtask's database or files of entries, then deletes those.
pub(super) fn import(
    backend: &Backend,
    old: &RestoredState,
    tables: &[&str],
    layout: &str,
    shared: &SharedMemory,
) -> Result<()> {
    let owned = backend.key_groups();
    let (start, end) = (owned.start.max(old.key_groups.start), owned.end.min(old.key_groups.end));
    let entries = canonical::entry_files(&old.dir)?;
    if !entries.is_empty() {
        canonical::import(backend, &entries, start..end, tables, layout)?;
        remove(&old.dir);
        return Ok(());
    }
    let options = database_options(shared, false);
    let names = DB::list_cf(&Options::default(), &old.dir).map_err(|e| open_error(&old.dir, e))?;
    let families = names.iter().map(|n| ColumnFamilyDescriptor::new(n, table_options(shared)));
    let db =
        DB::open_cf_descriptors_read_only(&options, &old.dir, families, false).map_err(|e| open_error(&old.dir, e))?;
    check_meta(&db, &old.dir, layout)?;
    for table in tables.iter().filter(|t| start < end && names.iter().any(|n| n == *t)) {
        let mut range = ReadOptions::default();
        range.set_iterate_upper_bound(end.to_be_bytes().to_vec());
        range.fill_cache(false);
        let mut entries = db.raw_iterator_cf_opt(&family(&db, table)?, range);
        let mut writes = backend.writes(table)?;
        entries.seek(start.to_be_bytes());
        while let Some((key, value)) = entries.item() {
            writes.put(key, value)?;
            entries.next();
        }
        entries.status().map_err(|e| read_error(&old.dir, e))?;
        writes.commit()?;
    }
    drop(db);
    remove(&old.dir);
    Ok(())
}

/// Restored files are copies: what is left of them is only a waste of space.
fn remove(dir: &Path) {
    if let Err(error) = std::fs::remove_dir_all(dir) {
        tracing::warn!(dir = %dir.display(), %error, "could not delete restored files that are no longer needed");
    }
}
