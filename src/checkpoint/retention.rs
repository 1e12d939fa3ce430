//! Retiring old checkpoints and sweeping what a crash left behind.
//!
//! Invariants: 1. what is deleted was marked first, in the database; 2. an object goes only if no completed checkpoint of
//! the job references it at that moment, and a checkpoint in progress references only objects of a completed one that is
//! not marked while it is under way (`in_use_from`); 3. a manifest goes after the state objects that it names, so that whoever goes on after a
//! crash still knows them; 4. a kept manifest that cannot be read stops everything.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use super::manifest::Manifest;
use super::{is_manifest, job_prefix, savepoint_prefix, state_prefix};
use crate::crash;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{JobId, SnapshotId};
use crate::metadata::{Metadata, Snapshot, SnapshotKind, SnapshotStatus, abandoned};
use crate::storage::Store;

/// The store has checkpoints that the database does not know.
pub const DATABASE_BEHIND_STORE: &str = "database_behind_store";
/// Most rows of one job: retained and failed ones are limited far below.
const MAX_ROWS: u32 = 100_000;
/// Rows of failed checkpoints that are kept for their reasons.
const FAILED_KEPT: u32 = 1_000;

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
    /// references, rows. Answers how many. Checkpoints from `in_use_from` on are kept: one that is under way may
    /// reference their files, although a newer one is complete.
    pub async fn retire(&mut self, retained: u32, in_use_from: &AtomicU64) -> Result<usize> {
        let mut doomed = self.metadata.completed_beyond(self.job, retained).await?;
        // Read after the rows: whoever shares with one of these noted it before a newer one was published.
        let in_use_from = in_use_from.load(Ordering::SeqCst);
        doomed.retain(|s| s.checkpoint_id < in_use_from);
        doomed.extend(
            self.metadata
                .failed_beyond(self.job, FAILED_KEPT)
                .await?
                .into_iter()
                .filter(|s| s.kind == SnapshotKind::Checkpoint),
        );
        let ids: Vec<SnapshotId> = doomed.iter().map(|s| s.id).collect();
        let ids = self.metadata.mark_deleting(&ids).await?;
        // The others are held by jobs that were restored from them.
        doomed.retain(|s| ids.contains(&s.id));
        // What an earlier retirement could not finish.
        doomed.extend(self.deleting(SnapshotKind::Checkpoint).await?.into_iter().filter(|s| !ids.contains(&s.id)));
        if doomed.is_empty() {
            return Ok(0);
        }
        crash::point("checkpoint-8-retire-marked");
        self.delete(&doomed).await?;
        Ok(doomed.len())
    }

    /// Goes on with retirements that were interrupted, of a job that nobody runs.
    pub async fn finish(&mut self) -> Result<usize> {
        let doomed = self.deleting(SnapshotKind::Checkpoint).await?;
        if !doomed.is_empty() {
            self.delete(&doomed).await?;
        }
        Ok(doomed.len())
    }

    /// Deletes the snapshot that the job has claimed, once it has as many checkpoints of its own as it retains.
    pub async fn subsume_claimed(&mut self, retained: u32) -> Result<()> {
        let Some(claimed) = self.metadata.claimed_snapshot(self.job).await? else { return Ok(()) };
        if self.metadata.completed_beyond(self.job, retained.saturating_sub(1)).await?.is_empty() {
            return Ok(());
        }
        if !self.metadata.subsume_claimed(self.job, claimed.id).await? {
            let foreign = claimed.kind == SnapshotKind::Checkpoint;
            if foreign && !self.metadata.job(claimed.job_id).await?.status.is_terminal() {
                tracing::info!(job.id = %self.job, location = claimed.location, "the claimed checkpoint's own job was restarted and retires it itself");
                self.metadata.release_hold(self.job).await?;
            }
            return Ok(());
        }
        crate::crash::point("claim-1-marked");
        match claimed.kind {
            SnapshotKind::Savepoint => {
                delete_savepoint_objects(&self.store, &claimed).await.or_else(gone)?;
                self.metadata.delete_snapshot_rows(&[claimed.id]).await?;
            }
            SnapshotKind::Checkpoint => {
                let mut owner = Retention::new(self.metadata.clone(), self.store.clone(), claimed.job_id);
                let doomed = owner.deleting(SnapshotKind::Checkpoint).await?;
                owner.delete(&doomed).await?;
            }
        }
        self.metadata.release_hold(self.job).await?;
        tracing::info!(job.id = %self.job, location = claimed.location, "deleted the claimed snapshot: it is subsumed");
        Ok(())
    }

    /// Deletes objects and rows of checkpoints that are marked `DELETING`.
    async fn delete(&mut self, doomed: &[Snapshot]) -> Result<()> {
        // Ordered, so that a test's crash in the middle comes at the same object each time.
        let mut keys = BTreeSet::new();
        for snapshot in doomed {
            keys.extend(self.keys_of_doomed(snapshot).await?);
        }
        for kept in self.kept().await? {
            for key in self.keys_of(&kept).await? {
                keys.remove(&key);
            }
        }
        delete_objects(&self.store, keys.into_iter().collect()).await?;
        crash::point("checkpoint-8-retire-deleted");
        let ids: Vec<SnapshotId> = doomed.iter().map(|s| s.id).collect();
        self.metadata.delete_snapshot_rows(&ids).await?;
        ids.iter().for_each(|id| {
            self.keys.remove(id);
        });
        Ok(())
    }

    /// Rows are written before their objects and removed after them: a manifest without a row means that the database
    /// forgot it (it was restored from a backup). Then nothing must be deleted, and nothing started from older state.
    async fn check_database(&self, keys: impl Iterator<Item = &str>, deleting: &[Snapshot]) -> Result<()> {
        let rows = self.metadata.list_snapshots(self.job, Some(SnapshotKind::Checkpoint), None, MAX_ROWS).await?;
        let known: HashSet<String> =
            rows.iter().chain(deleting).filter_map(|s| self.store.key_of(&s.location)).collect();
        match keys.filter(|k| k.ends_with("/_metadata")).find(|k| !known.contains(*k)) {
            None => Ok(()),
            Some(key) => Err(Error::conflict(
                DATABASE_BEHIND_STORE,
                format!(
                    "the store has {key}, of which the database knows nothing: was it restored from an older backup? Submit a new job that restores from {}, then cancel this one",
                    self.store.uri_of(key)
                ),
            )),
        }
    }

    /// Rows of this job whose deletion has begun.
    async fn deleting(&self, kind: SnapshotKind) -> Result<Vec<Snapshot>> {
        self.metadata.deleting_of(self.job, kind).await
    }

    /// All completed checkpoints.
    async fn kept(&self) -> Result<Vec<Snapshot>> {
        let mut all = Vec::new();
        loop {
            let page = self.metadata.completed_beyond(self.job, u32::try_from(all.len()).unwrap_or(u32::MAX)).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// The objects of a checkpoint.
    async fn keys_of(&mut self, snapshot: &Snapshot) -> Result<Vec<String>> {
        if let Some(keys) = self.keys.get(&snapshot.id) {
            return Ok(keys.clone());
        }
        let Some(key) = self.store.key_of(&snapshot.location) else { return Ok(Vec::new()) };
        let bytes = self.store.get(&key).await?;
        let keys: Vec<String> =
            Manifest::decode(&bytes, &snapshot.location)?.object_keys().map(str::to_owned).collect();
        self.keys.insert(snapshot.id, keys.clone());
        Ok(keys)
    }

    /// The objects of a checkpoint that is being deleted. Without a readable manifest (it is deleted last, so that then
    /// nothing is left; or it never was; or it is damaged) they are those under its own prefix.
    async fn keys_of_doomed(&mut self, snapshot: &Snapshot) -> Result<Vec<String>> {
        match self.keys_of(snapshot).await {
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Corrupt) => {
                let own = self.store.list(&format!("{}/", state_prefix(snapshot))).await?;
                let manifest = self.store.key_of(&snapshot.location);
                Ok(own.into_iter().map(|o| o.key).chain(manifest).collect())
            }
            keys => keys,
        }
    }

    /// Before a new attempt starts: fails what older attempts left `IN_PROGRESS`, finishes interrupted retirements, and
    /// deletes every object under the job's prefix that no completed checkpoint references. Leaves all objects alone if
    /// a kept manifest cannot be read.
    pub async fn sweep(&mut self, attempt: u64, now_ms: i64) -> Result<usize> {
        let failed = self
            .metadata
            .fail_in_progress(self.job, attempt, "the service ended before the checkpoint completed", now_ms)
            .await?;
        for snapshot in &failed {
            if let Err(error) = self.metadata.insert_statistics(&abandoned(snapshot.clone())).await {
                tracing::warn!(job.id = %self.job, %error, "storing the statistics of an abandoned checkpoint failed");
            }
        }
        for savepoint in failed.iter().filter(|s| s.kind == SnapshotKind::Savepoint) {
            // In another store, which may be away: that must not hold up the sweep of our own.
            if let Err(error) = delete_savepoint_objects(&self.store, savepoint).await {
                tracing::warn!(job.id = %self.job, location = savepoint.location, %error, "removing a failed savepoint's objects failed");
            }
        }
        for savepoint in &self.deleting(SnapshotKind::Savepoint).await? {
            if let Err(error) = delete_savepoint(&self.metadata, &self.store, savepoint).await {
                tracing::warn!(job.id = %self.job, location = savepoint.location, %error, "finishing a savepoint's deletion failed");
            }
        }
        let checkpoints = self.deleting(SnapshotKind::Checkpoint).await?;
        let ids: Vec<SnapshotId> = checkpoints.iter().map(|s| s.id).collect();
        let mut kept = HashSet::new();
        for snapshot in self.kept().await? {
            kept.extend(self.keys_of(&snapshot).await?);
        }
        let all = self.store.list(&format!("{}/", job_prefix(self.job))).await?;
        self.check_database(all.iter().map(|o| o.key.as_str()), &checkpoints).await?;
        let doomed: Vec<String> = all.into_iter().map(|o| o.key).filter(|key| !kept.contains(key)).collect();
        let count = doomed.len();
        delete_objects(&self.store, doomed).await?;
        crash::point("sweep-objects");
        self.metadata.delete_snapshot_rows(&ids).await?;
        Ok(count)
    }

    /// Deletes all checkpoints of the job, with their rows (`on_cancel: delete`, or the job itself is deleted); those that
    /// another job holds stay.
    pub async fn delete_all(&mut self) -> Result<()> {
        let all = self.kept().await?;
        let ids = self.metadata.mark_deleting(&all.iter().map(|s| s.id).collect::<Vec<_>>()).await?;
        crash::point("delete-checkpoints-marked");
        let mut held = HashSet::new();
        for snapshot in all.iter().filter(|s| !ids.contains(&s.id)) {
            held.extend(self.keys_of(snapshot).await?);
        }
        let marked = self.deleting(SnapshotKind::Checkpoint).await?;
        let there = self.store.list(&format!("{}/", job_prefix(self.job))).await?.into_iter().map(|o| o.key);
        delete_objects(&self.store, there.filter(|key| !held.contains(key)).collect()).await?;
        crash::point("delete-checkpoints-objects");
        self.metadata.delete_snapshot_rows(&marked.iter().map(|s| s.id).collect::<Vec<_>>()).await?;
        self.keys.clear();
        Ok(())
    }
}

/// Deletes state objects, then manifests.
async fn delete_objects(store: &Store, keys: Vec<String>) -> Result<()> {
    let (manifests, state): (Vec<String>, Vec<String>) = keys.into_iter().partition(|key| is_manifest(key));
    store.delete(&state).await?;
    if !state.is_empty() && !manifests.is_empty() {
        crash::point("delete-state-objects");
    }
    store.delete(&manifests).await
}

/// Deletes a savepoint: row `DELETING`, its objects (all under its own prefix, shared with nothing), row. Of one whose
/// objects are somebody else's only the row.
pub async fn delete_savepoint(metadata: &Metadata, own: &Store, savepoint: &Snapshot) -> Result<()> {
    // Once it is marked, it is decided: whoever claimed it finds it gone.
    if savepoint.status != SnapshotStatus::Deleting {
        metadata.mark_savepoint_deleting(savepoint.id).await?;
    }
    crash::point("delete-savepoint-marked");
    delete_savepoint_objects(own, savepoint).await.or_else(gone)?;
    crash::point("delete-savepoint-objects");
    metadata.delete_snapshot_rows(&[savepoint.id]).await
}

/// The error for what other jobs still need.
pub fn in_use(what: &str, holders: &[JobId]) -> Error {
    let holders: Vec<String> = holders.iter().map(JobId::to_string).collect();
    Error::conflict(
        "snapshot_in_use",
        format!(
            "{what} is needed by jobs that were restored from it: {}; wait until each has a checkpoint of its own, or delete them",
            holders.join(", ")
        ),
    )
}

/// The folder that a savepoint was written to is gone: nothing is left to delete.
fn gone(error: Error) -> Result<()> {
    if error.kind == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Deletes a savepoint's objects, wherever they are, unless they are somebody else's; `NotFound` if its store is gone.
pub async fn delete_savepoint_objects(own: &Store, savepoint: &Snapshot) -> Result<()> {
    if savepoint.details.is_foreign {
        return Ok(());
    }
    let prefix = savepoint_prefix(savepoint.id);
    let store = match own.key_of(&savepoint.location) {
        Some(_) => own.clone(),
        None => {
            let root = savepoint.location.split(&prefix).next().unwrap_or_default();
            super::restore::open_existing(root.trim_end_matches('/')).await?
        }
    };
    let keys = store.list(&format!("{prefix}/")).await?.into_iter().map(|o| o.key).collect();
    delete_objects(&store, keys).await
}
