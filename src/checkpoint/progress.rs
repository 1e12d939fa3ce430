//! How far a transfer is: bytes done of bytes known to be due.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by the transfer and by who watches it. Figures for people: nothing decides by them.
#[derive(Debug, Default)]
pub struct Transfer {
    done: AtomicU64,
    total: AtomicU64,
}

impl Transfer {
    /// More bytes are due.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }
    /// More bytes are done.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
    /// Bytes done, and all that are due as far as is known.
    pub fn figures(&self) -> (u64, u64) {
        let done = self.done.load(Ordering::Relaxed);
        (done, self.total.load(Ordering::Relaxed).max(done))
    }
}
