//! How far uploads, restores and operations in this process are: figures for those who wait. Nothing decides by them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use crate::checkpoint::progress::Transfer;
use crate::id::{JobId, OperationId, SnapshotId};

/// All transfers of the process.
#[derive(Debug, Default)]
pub struct Transfers {
    /// Uploads of snapshots.
    pub snapshots: Tracked<SnapshotId>,
    /// Downloads of jobs that start from a snapshot.
    pub restores: Tracked<JobId>,
    pub operations: Tracked<OperationId>,
}

/// Transfers by what they are for.
#[derive(Debug)]
pub struct Tracked<K> {
    /// Short critical sections, never held across an await.
    transfers: Arc<Mutex<HashMap<K, Arc<Transfer>>>>,
}

impl<K> Default for Tracked<K> {
    fn default() -> Self {
        Tracked { transfers: Arc::default() }
    }
}

impl<K: Copy + Eq + Hash> Tracked<K> {
    /// A transfer begins; it is seen until the answer is dropped.
    pub fn begin(&self, key: K) -> Tracking<K> {
        let transfer = Arc::new(Transfer::default());
        lock(&self.transfers).insert(key, Arc::clone(&transfer));
        Tracking { transfers: Arc::clone(&self.transfers), key, transfer }
    }
    /// Bytes done and bytes due, if it is under way here.
    pub fn figures(&self, key: K) -> Option<(u64, u64)> {
        lock(&self.transfers).get(&key).map(|t| t.figures())
    }
    /// What is under way.
    pub fn keys(&self) -> Vec<K> {
        lock(&self.transfers).keys().copied().collect()
    }
}

/// A transfer that is seen until this is dropped.
#[derive(Debug)]
pub struct Tracking<K: Copy + Eq + Hash> {
    transfers: Arc<Mutex<HashMap<K, Arc<Transfer>>>>,
    key: K,
    transfer: Arc<Transfer>,
}

impl<K: Copy + Eq + Hash> Tracking<K> {
    /// The transfer, for who does it.
    pub fn transfer(&self) -> Arc<Transfer> {
        Arc::clone(&self.transfer)
    }
}

impl<K: Copy + Eq + Hash> Drop for Tracking<K> {
    fn drop(&mut self) {
        lock(&self.transfers).remove(&self.key);
    }
}

/// The map is whole even if somebody panicked while holding it.
fn lock<K>(transfers: &Mutex<HashMap<K, Arc<Transfer>>>) -> std::sync::MutexGuard<'_, HashMap<K, Arc<Transfer>>> {
    transfers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_seen_while_it_is_under_way() {
        let tracked = Tracked::default();
        let tracking = tracked.begin(7);
        tracking.transfer().expect(10);
        tracking.transfer().advance(4);
        assert_eq!((tracked.figures(7), tracked.figures(8), tracked.keys()), (Some((4, 10)), None, vec![7]));
        drop(tracking);
        assert_eq!(tracked.figures(7), None);
    }
}
