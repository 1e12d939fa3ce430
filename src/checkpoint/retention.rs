//! Retiring old checkpoints and sweeping what a crash left behind.

use std::collections::{HashMap, HashSet};

use super::manifest::Manifest;
use super::{job_prefix, savepoint_prefix};
use crate::error::{ErrorKind, Result};
use crate::id::{JobId, SnapshotId};
use crate::metadata::{Metadata, Snapshot, SnapshotKind, SnapshotStatus};
use crate::storage::Store;

/// Most checkpoints of one job that a sweep looks at: far above any sensible retention.
const MAX_KEPT: u32 = 100_000;

/// Deletes what is no longer needed of one job. Only the job's owner may have one.
pub struct Retention {
    metadata: Metadata,
    store: Store,
    job: JobId,
    /// Object keys of completed checkpoints, read once.
    keys: HashMap<SnapshotId, Vec<String>>,
}

impl Retention {
    /// For one job.
    pub fn new(metadata: Metadata, store: Store, job: JobId) -> Self {
        Retention { metadata, store, job, keys: HashMap::new() }
    }

    /// Notes a checkpoint that was just published.
    pub fn published(&mut self, manifest: &Manifest) {
        self.keys.insert(manifest.snapshot_id, manifest.object_keys().map(str::to_owned).collect());
    }

    /// Retires completed checkpoints beyond the newest `retained`: rows `DELETING`, objects that no kept checkpoint
    /// references, rows. Answers how many.
    pub async fn retire(&mut self, retained: u32) -> Result<usize> {
        let doomed = self.metadata.completed_beyond(self.job, retained).await?;
        if doomed.is_empty() {
            return Ok(0);
        }
        let ids: Vec<SnapshotId> = doomed.iter().map(|s| s.id).collect();
        self.metadata.mark_deleting(&ids).await?;
        crate::crash::point("checkpoint-8-retire-marked");
        self.delete(&doomed).await?;
        Ok(ids.len())
    }

    /// Deletes objects and rows of checkpoints that are marked `DELETING`.
    async fn delete(&mut self, doomed: &[Snapshot]) -> Result<()> {
        let mut keys = HashSet::new();
        for snapshot in doomed {
            keys.extend(self.keys_of(snapshot).await?);
        }
        for kept in self.kept().await? {
            for key in self.keys_of(&kept).await? {
                keys.remove(&key);
            }
        }
        let keys: Vec<String> = keys.into_iter().collect();
        self.store.delete(&keys).await?;
        crate::crash::point("checkpoint-8-retire-deleted");
        let ids: Vec<SnapshotId> = doomed.iter().map(|s| s.id).collect();
        self.metadata.delete_snapshot_rows(&ids).await?;
        ids.iter().for_each(|id| {
            self.keys.remove(id);
        });
        Ok(())
    }

    async fn kept(&self) -> Result<Vec<Snapshot>> {
        let all = self.metadata.list_snapshots(self.job, Some(SnapshotKind::Checkpoint), None, MAX_KEPT).await?;
        Ok(all.into_iter().filter(|s| s.status == SnapshotStatus::Completed).collect())
    }

    /// The objects of a checkpoint; none if its manifest is gone already (a retirement that a crash interrupted).
    async fn keys_of(&mut self, snapshot: &Snapshot) -> Result<Vec<String>> {
        if let Some(keys) = self.keys.get(&snapshot.id) {
            return Ok(keys.clone());
        }
        let Some(key) = self.store.key_of(&snapshot.location) else { return Ok(Vec::new()) };
        let keys: Vec<String> = match self.store.get(&key).await {
            Ok(bytes) => Manifest::decode(&bytes, &snapshot.location)?.object_keys().map(str::to_owned).collect(),
            Err(e) if e.kind == ErrorKind::NotFound && snapshot.status != SnapshotStatus::Completed => Vec::new(),
            Err(e) => return Err(e),
        };
        self.keys.insert(snapshot.id, keys.clone());
        Ok(keys)
    }

    /// Before a new attempt starts: fails what older attempts left `IN_PROGRESS`, finishes interrupted retirements, and
    /// deletes every object under the job's prefix that no completed checkpoint references. Leaves all objects alone if
    /// a kept manifest cannot be read.
    pub async fn sweep(&mut self, attempt: u64, now_ms: i64) -> Result<usize> {
        let failed = self
            .metadata
            .fail_in_progress(self.job, attempt, "the service ended before the checkpoint completed", now_ms)
            .await?;
        let mut doomed = Vec::new();
        for snapshot in failed.iter().filter(|s| s.kind == SnapshotKind::Savepoint) {
            doomed.extend(self.store.list(&savepoint_prefix(snapshot.id)).await?.into_iter().map(|o| o.key));
        }
        let deleting: Vec<Snapshot> =
            self.metadata.deleting().await?.into_iter().filter(|s| s.job_id == self.job).collect();
        let (savepoints, checkpoints): (Vec<_>, Vec<_>) =
            deleting.into_iter().partition(|s| s.kind == SnapshotKind::Savepoint);
        for savepoint in &savepoints {
            delete_savepoint(&self.metadata, &self.store, savepoint).await?;
        }
        let ids: Vec<SnapshotId> = checkpoints.iter().map(|s| s.id).collect();
        let mut kept = HashSet::new();
        for snapshot in self.kept().await? {
            kept.extend(self.keys_of(&snapshot).await?);
        }
        let all = self.store.list(&format!("{}/", job_prefix(self.job))).await?;
        doomed.extend(all.into_iter().map(|o| o.key).filter(|key| !kept.contains(key)));
        self.store.delete(&doomed).await?;
        self.metadata.delete_snapshot_rows(&ids).await?;
        Ok(doomed.len())
    }

    /// Deletes all checkpoints of the job, with their rows (`on_cancel: delete`, or the job itself is deleted).
    pub async fn delete_all(&mut self) -> Result<()> {
        let ids: Vec<SnapshotId> = self.kept().await?.iter().map(|s| s.id).collect();
        self.metadata.mark_deleting(&ids).await?;
        let keys: Vec<String> =
            self.store.list(&format!("{}/", job_prefix(self.job))).await?.into_iter().map(|o| o.key).collect();
        self.store.delete(&keys).await?;
        self.metadata.delete_snapshot_rows(&ids).await?;
        self.keys.clear();
        Ok(())
    }
}

/// Deletes a savepoint: row `DELETING`, its objects (all under its own prefix, shared with nothing), row.
pub async fn delete_savepoint(metadata: &Metadata, own: &Store, savepoint: &Snapshot) -> Result<()> {
    metadata.mark_deleting(&[savepoint.id]).await?;
    let prefix = savepoint_prefix(savepoint.id);
    let store = match own.key_of(&savepoint.location) {
        Some(_) => own.clone(),
        None => {
            let root = savepoint.location.split(&prefix).next().unwrap_or_default();
            super::restore::open_existing(root.trim_end_matches('/')).await?
        }
    };
    let keys: Vec<String> = store.list(&format!("{prefix}/")).await?.into_iter().map(|o| o.key).collect();
    store.delete(&keys).await?;
    metadata.delete_snapshot_rows(&[savepoint.id]).await
}
