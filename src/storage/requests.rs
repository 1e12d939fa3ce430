//! How many requests a store was sent: what a checkpoint costs where requests are billed.

use std::sync::atomic::{AtomicU64, Ordering};

use super::meter::Meter;

/// Objects of one bulk deletion; S3's limit.
const DELETE_BATCH: u64 = 1_000;

/// Requests since the store was opened, repeated ones counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Objects or parts written.
    pub puts: u64,
    /// Objects or ranges read, and questions after one.
    pub gets: u64,
    pub lists: u64,
    /// Deletions, up to 1 000 objects each.
    pub deletes: u64,
}

/// Counts requests; shared by the clones of a store.
#[derive(Debug, Default)]
pub(super) struct Requests {
    puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    pub(super) uploads: Meter,
    pub(super) downloads: Meter,
}

impl Requests {
    pub(super) fn put(&self) {
        self.puts.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn get(&self) {
        self.gets.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn list(&self) {
        self.lists.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn delete(&self, objects: usize) {
        self.deletes.fetch_add((objects as u64).div_ceil(DELETE_BATCH), Ordering::Relaxed);
    }
    pub(super) fn counts(&self) -> RequestCounts {
        RequestCounts {
            puts: self.puts.load(Ordering::Relaxed),
            gets: self.gets.load(Ordering::Relaxed),
            lists: self.lists.load(Ordering::Relaxed),
            deletes: self.deletes.load(Ordering::Relaxed),
        }
    }
}
