//! The memory of RocksDB that all databases of the process share.

use std::fmt;

use rocksdb::{Cache, WriteBufferManager};

/// One block cache for all databases; memtables are charged to it, so that one number bounds both.
pub struct SharedMemory {
    pub(super) cache: Cache,
    pub(super) write_buffers: WriteBufferManager,
    bytes: usize,
}

impl SharedMemory {
    /// Shares `bytes` among all databases opened with it; half of it may be memtables.
    pub fn new(bytes: usize) -> Self {
        let cache = Cache::new_lru_cache(bytes);
        // Never stalls: one job's writes must not stop another's.
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(bytes / 2, false, cache.clone());
        SharedMemory { cache, write_buffers, bytes }
    }

    /// Bytes now in use, memtables included.
    pub fn used_bytes(&self) -> usize {
        self.cache.get_usage()
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
