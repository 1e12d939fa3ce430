//! Disaster recovery: rebuilds the rows of jobs and snapshots from the store's manifests alone.
//!
//! A manifest is written last and names everything that it needs, so a snapshot is taken over if its manifest can be read
//! and every object that it names is there with the right length. Jobs come back ended (`FINISHED` if their newest snapshot
//! is their last one, else `CANCELED`), so that nothing starts by itself, or, if asked to start, `SUSPENDED`. Checkpoint
//! numbers and attempts go on above everything that the store has of the job, so that no key is used twice.
//! What cannot be used is reported with its reason; nothing in the store is changed.

use std::collections::{BTreeMap, HashMap};

use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::restore;
use crate::error::{Error, Result};
use crate::id::{JobId, SnapshotId};
use crate::metadata::{
    DesiredStatus, Inserted, Job, JobStatus, Metadata, Snapshot, SnapshotDetails, SnapshotKind, SnapshotStatus,
    SnapshotTrigger,
};
use crate::storage::Store;

/// What a scan did.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Recovered {
    pub jobs: Vec<RecoveredJob>,
    pub skipped: Vec<Skipped>,
}

/// A job that was taken over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RecoveredJob {
    pub id: String,
    pub name: String,
    pub status: JobStatus,
    pub checkpoints: usize,
    pub savepoints: usize,
    /// URI of the snapshot that it goes on from.
    pub newest: String,
}

/// Something in the store that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// A manifest's URI, or a job's id.
    pub what: String,
    pub reason: String,
}

/// What the keys of a store say of one job.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Highest {
    checkpoint_id: u64,
    attempt: u64,
}

/// Scans the store and fills the database; `start` lets the jobs run as soon as a service does.
pub async fn recover(metadata: &Metadata, store: &Store, start: bool, now_ms: i64) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    let objects: BTreeMap<String, u64> = store.list("").await?.into_iter().map(|o| (o.key, o.bytes)).collect();
    let mut manifests: HashMap<JobId, Vec<Manifest>> = HashMap::new();
    let mut unreadable: Vec<(String, String)> = Vec::new();
    for key in objects.keys().filter(|k| k.ends_with("/_metadata")) {
        match read(store, key, &objects).await {
            Ok(manifest) => manifests.entry(manifest.job_id).or_default().push(manifest),
            Err(error) if error.kind == crate::error::ErrorKind::Unavailable => return Err(error),
            Err(error) => {
                let reason = error.to_string();
                recovered.skipped.push(Skipped { what: store.uri_of(key), reason: reason.clone() });
                unreadable.push((key.clone(), reason));
            }
        }
    }
    let mut highest: HashMap<JobId, Highest> = HashMap::new();
    for key in objects.keys() {
        if let Some((job, found)) = numbers(key) {
            let most = highest.entry(job).or_default();
            most.checkpoint_id = most.checkpoint_id.max(found.checkpoint_id);
            most.attempt = most.attempt.max(found.attempt);
        }
    }
    let mut lost: Vec<JobId> = highest.keys().filter(|job| !manifests.contains_key(job)).copied().collect();
    lost.sort_unstable();
    for job in lost {
        let reason = "the store has objects of this job, but no snapshot that can be read".to_owned();
        recovered.skipped.push(Skipped { what: format!("job {job}"), reason });
    }
    // Newest first: among jobs of one name, it is the one that may start.
    let mut jobs: Vec<(JobId, Vec<Manifest>)> = manifests.into_iter().collect();
    jobs.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    for (id, found) in jobs {
        let most = highest.get(&id).copied().unwrap_or_default();
        let scan = JobScan { store, most, unreadable: &unreadable, start, now_ms };
        match scan.take_over(metadata, id, found).await {
            Ok(job) => recovered.jobs.push(job),
            Err(error) if error.code == "job_exists" => {
                let reason = "it is in the database already; nothing of it was changed".to_owned();
                recovered.skipped.push(Skipped { what: format!("job {id}"), reason });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(recovered)
}

/// Reads a manifest and checks that everything that it names is there.
async fn read(store: &Store, key: &str, objects: &BTreeMap<String, u64>) -> Result<Manifest> {
    let uri = store.uri_of(key);
    let (_, manifest) = restore::load(store, &uri).await?;
    if manifest.key != key {
        return Err(Error::corrupt("snapshot_moved", format!("{uri} was written as '{}'", manifest.key)));
    }
    for file in manifest.files() {
        let Some(object) = file.content.object() else { continue };
        let expected = file.object_bytes();
        match objects.get(object) {
            None => {
                let message = format!("the store has no object {}", store.uri_of(object));
                return Err(Error::corrupt("object_missing", message));
            }
            Some(bytes) if *bytes != expected => {
                let message = format!("{} has {bytes} bytes, but {expected} were stored", store.uri_of(object));
                return Err(Error::corrupt("object_corrupt", message));
            }
            Some(_) => {}
        }
    }
    Ok(manifest)
}

/// The job, checkpoint number and attempt that a key of a checkpoint's object names: `jobs/JOB/chk-N-A/…` or
/// `jobs/JOB/shared/A-N/…`.
fn numbers(key: &str) -> Option<(JobId, Highest)> {
    let mut parts = key.split('/');
    if parts.next() != Some("jobs") {
        return None;
    }
    let job = parts.next()?.parse().ok()?;
    let folder = parts.next()?;
    let (checkpoint_id, attempt) = match folder.strip_prefix("chk-") {
        Some(rest) => rest.split_once('-')?,
        None if folder == "shared" => {
            let (attempt, checkpoint) = parts.next()?.split_once('-')?;
            (checkpoint, attempt)
        }
        None => return None,
    };
    Some((job, Highest { checkpoint_id: checkpoint_id.parse().ok()?, attempt: attempt.parse().ok()? }))
}

/// One job's part of a scan.
struct JobScan<'a> {
    store: &'a Store,
    most: Highest,
    /// Keys and reasons.
    unreadable: &'a [(String, String)],
    start: bool,
    now_ms: i64,
}

impl JobScan<'_> {
    async fn take_over(&self, metadata: &Metadata, id: JobId, mut found: Vec<Manifest>) -> Result<RecoveredJob> {
        found.sort_by_key(|m| (m.checkpoint_id, m.attempt));
        // A number is handed out once; if the store says otherwise, the later attempt is right.
        found.dedup_by(|later, earlier| {
            let same = later.checkpoint_id == earlier.checkpoint_id;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let goes_on = |m: &&Manifest| m.kind == SnapshotKind::Checkpoint || m.trigger == SnapshotTrigger::Stop;
        let newest = found.iter().rev().find(goes_on).or(found.last());
        let newest = newest.ok_or_else(|| Error::internal("a job without manifests"))?.clone();
        let snapshots: Vec<Snapshot> = found.iter().map(|m| self.snapshot(m)).chain(self.failed(id, &found)).collect();
        let next = snapshots.iter().map(|s| s.checkpoint_id).max().unwrap_or(0).max(self.most.checkpoint_id) + 1;
        let attempt = snapshots.iter().map(|s| s.attempt).max().unwrap_or(0).max(self.most.attempt);
        let has_ended = matches!(newest.trigger, SnapshotTrigger::EndOfInput | SnapshotTrigger::Stop);
        let mut job = self.job(&newest, attempt, has_ended);
        if metadata.insert_job(&job, None).await? != Inserted::Created {
            return Err(Error::internal("a job that was replayed"));
        }
        metadata.insert_recovered_snapshots(id, &snapshots, next).await?;
        if self.start && !has_ended {
            match metadata.start_recovered(id, self.now_ms).await {
                Ok(()) => job.status = JobStatus::Suspended,
                Err(error) if error.code == "job_name_taken" => {}
                Err(error) => return Err(error),
            }
        }
        let count = |kind| found.iter().filter(|m| m.kind == kind).count();
        Ok(RecoveredJob {
            id: id.to_string(),
            name: newest.job_name.clone(),
            status: job.status,
            checkpoints: count(SnapshotKind::Checkpoint),
            savepoints: count(SnapshotKind::Savepoint),
            newest: self.store.uri_of(&newest.key),
        })
    }

    fn job(&self, newest: &Manifest, attempt: u64, has_ended: bool) -> Job {
        let mut settings = newest.settings.clone();
        if let Some(restore) = &mut settings.restore {
            restore.hold = None;
        }
        let status = if has_ended { JobStatus::Finished } else { JobStatus::Canceled };
        let failure = (!has_ended).then(|| "recovered from the store; restart it to go on".to_owned());
        Job {
            id: newest.job_id,
            name: newest.job_name.clone(),
            sql: newest.sql.clone(),
            plan: newest.plan.clone(),
            settings,
            status,
            desired: if has_ended { DesiredStatus::Running } else { DesiredStatus::Canceled },
            attempt,
            restarts: 0,
            failed_checkpoints: 0,
            owner: None,
            lease_until_ms: 0,
            failure,
            created_ms: newest.created_ms,
            started_ms: None,
            ended_ms: Some(self.now_ms),
            updated_ms: self.now_ms,
            version: 1,
            restart_from: None,
            restored: None,
        }
    }

    fn snapshot(&self, m: &Manifest) -> Snapshot {
        Snapshot {
            id: m.snapshot_id,
            job_id: m.job_id,
            kind: m.kind,
            checkpoint_id: m.checkpoint_id,
            attempt: m.attempt,
            status: SnapshotStatus::Completed,
            trigger: m.trigger,
            location: self.store.uri_of(&m.key),
            state_bytes: m.state_bytes(),
            uploaded_bytes: 0,
            started_ms: m.created_ms,
            ended_ms: Some(m.created_ms),
            failure: None,
            details: SnapshotDetails { job_name: m.job_name.clone(), format: m.format, ..SnapshotDetails::default() },
        }
    }

    /// Rows for manifests of the job that cannot be read: without them, the store would seem ahead of the database.
    fn failed<'s>(&'s self, id: JobId, found: &'s [Manifest]) -> impl Iterator<Item = Snapshot> + 's {
        self.unreadable.iter().filter_map(move |(key, reason)| {
            let (job, numbers) = numbers(key)?;
            let is_free = found.iter().all(|m| m.checkpoint_id != numbers.checkpoint_id);
            (job == id && is_free && numbers.checkpoint_id > 0).then(|| Snapshot {
                id: SnapshotId::generate(),
                job_id: id,
                kind: SnapshotKind::Checkpoint,
                checkpoint_id: numbers.checkpoint_id,
                attempt: numbers.attempt,
                status: SnapshotStatus::Failed,
                trigger: SnapshotTrigger::Periodic,
                location: self.store.uri_of(key),
                state_bytes: 0,
                uploaded_bytes: 0,
                started_ms: self.now_ms,
                ended_ms: Some(self.now_ms),
                failure: Some(reason.clone()),
                details: SnapshotDetails::default(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_numbers_and_attempts() {
        let id = "0123456789abcdef0123456789abcdef";
        let check = |key: String, expected: Option<(u64, u64)>| {
            let got = numbers(&key).map(|(job, h)| {
                assert_eq!(job.to_string(), id);
                (h.checkpoint_id, h.attempt)
            });
            assert_eq!(got, expected, "{key}");
        };
        check(format!("jobs/{id}/chk-7-2/_metadata"), Some((7, 2)));
        check(format!("jobs/{id}/shared/2-7/o-0-000008.sst"), Some((7, 2)));
        check(format!("jobs/{id}/shared/x"), None);
        check(format!("savepoints/{id}/_metadata"), None);
        check("jobs/x/chk-1-1/_metadata".into(), None);
    }
}
