//! Opens an image as an operator would and counts its keys: every block is read, so every block checksum is verified.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{ColumnFamilyDescriptor, DB, Options};

use super::backend::{META, database_options, open_error, stored_layout, table_options};
use super::{Backend, RestoredState, SharedMemory, StateContext};
use crate::error::Result;

/// RocksDB makes it always; nothing is stored there.
const DEFAULT: &str = "default";

/// One table of an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct TableKeys {
    pub table: String,
    pub keys: u64,
}

/// Opens the image in `image` (taken over) as state in `dir` (fresh), and counts the keys of each table.
pub fn inspect(
    image: &Path,
    dir: PathBuf,
    key_groups: Range<u16>,
    max_parallelism: u32,
    shared: &Arc<SharedMemory>,
) -> Result<Vec<TableKeys>> {
    let names = DB::list_cf(&Options::default(), image).map_err(|e| open_error(image, e))?;
    let families = names.iter().map(|n| ColumnFamilyDescriptor::new(n, table_options(shared)));
    let db = DB::open_cf_descriptors_read_only(&database_options(shared, false), image, families, false)
        .map_err(|e| open_error(image, e))?;
    let layout = stored_layout(&db, image)?;
    drop(db);
    let tables: Vec<&str> = names.iter().map(String::as_str).filter(|n| ![META, DEFAULT].contains(n)).collect();
    let context = StateContext {
        dir,
        key_groups: key_groups.clone(),
        max_parallelism,
        memory_budget_bytes: 0,
        shared: Arc::clone(shared),
        restored: vec![RestoredState { dir: image.to_owned(), key_groups }],
    };
    let backend = Backend::open(&context, &tables, &layout)?;
    let mut counted = Vec::with_capacity(tables.len());
    for table in tables {
        let mut keys = 0;
        backend.scan(table, &[], |_, _| {
            keys += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        counted.push(TableKeys { table: table.to_owned(), keys });
    }
    counted.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::test_dir;

    #[test]
    fn an_image_is_opened_and_counted_and_a_damaged_one_is_refused() {
        let dir = test_dir();
        let shared = Arc::new(SharedMemory::new(8 << 20));
        let context = StateContext {
            dir: dir.path().join("db"),
            key_groups: 0..4,
            max_parallelism: 4,
            memory_budget_bytes: 0,
            shared: Arc::clone(&shared),
            restored: Vec::new(),
        };
        let mut backend = Backend::open(&context, &["a", "b"], "some layout").unwrap();
        let mut writes = backend.writes("a").unwrap();
        (0..1_000_u32).for_each(|n| writes.put(&n.to_be_bytes(), &[7; 100]).unwrap());
        writes.commit().unwrap();
        let image = backend.snapshot().unwrap().dir;
        let counts = inspect(&image, dir.path().join("opened"), 0..4, 4, &shared).unwrap();
        let expected = [("a", 1_000), ("b", 0)].map(|(table, keys)| TableKeys { table: table.into(), keys });
        assert_eq!(counts, expected);
        let image = backend.snapshot().unwrap();
        let (sst, _) = image.files.iter().filter(|(name, _)| name.ends_with(".sst")).max_by_key(|(_, n)| *n).unwrap();
        // A copy, because the image is hard links.
        let path = image.dir.join(sst);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let shared = Arc::new(SharedMemory::new(8 << 20));
        let refused = inspect(&image.dir, dir.path().join("damaged"), 0..4, 4, &shared).unwrap_err();
        assert_eq!(refused.code, "state_corrupt", "{refused}");
    }
}
