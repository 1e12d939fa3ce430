//! What happens before an attempt's subtasks start: sweep, choose a snapshot, bring it to the local disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::Context;
use super::retry::retry;
use crate::checkpoint::local::{LocalFiles, Transferred};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::restore::{self, Download, LocalOperator};
use crate::checkpoint::retention::{DATABASE_BEHIND_STORE, Retention};
use crate::checkpoint::upload::KnownFiles;
use crate::clock::now_ms;
use crate::error::{Error, ErrorKind, Result};
use crate::id::OperatorId;
use crate::metadata::{
    Job, JobException, Lease, OnCorrupt, RestoreSource, Restored, SkippedSnapshot, Snapshot, SnapshotKind,
};
use crate::runtime::RestoredOperator;
use crate::runtime::execution::vertex_parallelism;
use crate::storage::missing_is_corrupt;

/// Ready to start.
pub struct Prepared {
    /// The attempt's folder on the working disk.
    pub dir: PathBuf,
    pub restored: HashMap<OperatorId, RestoredOperator>,
    pub known: HashMap<(OperatorId, usize), Arc<KnownFiles>>,
    pub retention: Arc<Mutex<Retention>>,
    /// Whether a first checkpoint is due at once: what was restored is not held and may be deleted by its owner.
    pub checkpoint_now: bool,
}

/// Sweeps what older attempts left, then restores the newest completed snapshot of the job, or the one it was submitted
/// with, or nothing.
pub async fn prepare(context: &Context, job: &Job, lease: &Lease) -> Result<Prepared> {
    let mut retention = Retention::new(context.metadata.clone(), context.store.clone(), job.id);
    match retention.sweep(job.attempt, now_ms()).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(job.id = %job.id, count, "swept objects that no completed checkpoint references"),
        Err(error) if error.code == DATABASE_BEHIND_STORE => return Err(error),
        Err(error) => {
            tracing::warn!(job.id = %job.id, %error, "sweeping failed; nothing was deleted that a checkpoint needs")
        }
    }
    let job_dir = context.job_dir(job.id);
    clean(&job_dir).await;
    let dir = job_dir.join(format!("attempt-{}", job.attempt));
    tokio::fs::create_dir_all(&dir).await.map_err(|e| {
        Error::unavailable("work_dir_write", format!("creating {} failed", dir.display())).caused_by(&e)
    })?;
    let (local, checkpoint_now) = Restore { context, job, lease, dir: &dir }.run().await?;
    let mut restored = HashMap::new();
    let mut known = HashMap::new();
    for (id, operator) in local {
        for (subtask, files) in operator.known.into_iter().enumerate() {
            known.insert((id, subtask), Arc::new(files));
        }
        restored.insert(id, RestoredOperator { operator_state: operator.operator_state, keyed: operator.keyed });
    }
    Ok(Prepared { dir, restored, known, retention: Arc::new(Mutex::new(retention)), checkpoint_now })
}

/// Deletes what attempts left in a job's folder, but for the files of the newest checkpoint: those are compared with its
/// manifest before they are used.
pub async fn clean(job_dir: &Path) {
    let kept = LocalFiles::of_job(job_dir);
    let Ok(mut entries) = tokio::fs::read_dir(job_dir).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.path() != kept.root() {
            let _ = tokio::fs::remove_dir_all(entry.path()).await;
        }
    }
}

/// A snapshot to try.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    /// Its row, if it is the job's own.
    own: Option<Snapshot>,
    location: String,
    allow_non_restored: bool,
    /// Whether its files are certain to stay until the next checkpoint is completed.
    may_share: bool,
    /// Whether its owner may delete it at any time.
    is_foreign: bool,
}

/// What to try, in this order; only the first unless the job says `on_corrupt: previous`. A restart's choice wins over the
/// job's own snapshots, those over the snapshot that it was submitted with.
fn candidates_of(
    restart: Option<&RestoreSource>,
    submitted: Option<&RestoreSource>,
    own: Vec<Snapshot>,
) -> Vec<Candidate> {
    if let Some(named) = restart {
        let own = own.into_iter().find(|s| s.location == named.manifest);
        return vec![Candidate {
            own,
            location: named.manifest.clone(),
            allow_non_restored: named.allow_non_restored_state,
            may_share: false,
            is_foreign: false,
        }];
    }
    if own.is_empty() {
        let foreign = submitted.map(|r| Candidate {
            own: None,
            location: r.manifest.clone(),
            allow_non_restored: r.allow_non_restored_state,
            may_share: false,
            is_foreign: r.hold.is_none(),
        });
        return foreign.into_iter().collect();
    }
    let candidate = |(index, snapshot): (usize, Snapshot)| Candidate {
        location: snapshot.location.clone(),
        // After an upgrade, the savepoint that it stopped with is the job's own.
        allow_non_restored: submitted.is_some_and(|r| r.manifest == snapshot.location && r.allow_non_restored_state),
        may_share: index == 0,
        is_foreign: false,
        own: Some(snapshot),
    };
    own.into_iter().enumerate().map(candidate).collect()
}

/// Whether a snapshot is damaged, and not its store away.
fn is_unreadable(error: &Error) -> bool {
    error.kind == ErrorKind::Corrupt || error.code == "snapshot_not_found"
}

/// One attempt's restore.
struct Restore<'a> {
    context: &'a Context,
    job: &'a Job,
    lease: &'a Lease,
    dir: &'a Path,
}

impl Restore<'_> {
    async fn run(&self) -> Result<(HashMap<OperatorId, LocalOperator>, bool)> {
        let own = retry!(self.context.metadata.recovery_candidates(self.job.id))?;
        let (restart, submitted) = (self.job.restart_from.as_ref(), self.job.settings.restore.as_ref());
        let candidates = candidates_of(restart, submitted, own);
        let mut skipped: Vec<SkippedSnapshot> = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            let error = match self.attempt(candidate, &skipped).await {
                Ok(local) => return Ok((local, candidate.is_foreign)),
                Err(error) => missing_is_corrupt(error),
            };
            let is_last = index + 1 == candidates.len();
            if !is_unreadable(&error) || self.job.settings.on_corrupt == OnCorrupt::Fail || is_last {
                return Err(error);
            }
            self.pass_over(candidate, &error).await?;
            skipped.push(SkippedSnapshot { location: candidate.location.clone(), reason: error.to_string() });
        }
        Ok((HashMap::new(), false))
    }

    async fn attempt(
        &self,
        candidate: &Candidate,
        skipped: &[SkippedSnapshot],
    ) -> Result<HashMap<OperatorId, LocalOperator>> {
        let (context, job) = (self.context, self.job);
        let since = std::time::Instant::now();
        let (store, manifest) = restore::load(&context.store, &candidate.location).await?;
        let parallelism_of = |id: OperatorId| {
            let vertex = job.plan.vertices.iter().find(|v| v.operators.iter().any(|o| o.id == id));
            vertex_parallelism(vertex.and_then(|v| v.parallelism), job.settings.parallelism)
        };
        let allow = candidate.allow_non_restored;
        let plan = restore::plan(&manifest, &job.plan, parallelism_of, job.settings.max_parallelism, allow)?;
        let share = candidate.may_share && manifest.job_id == job.id && manifest.kind == SnapshotKind::Checkpoint;
        let transferred = Transferred::default();
        // What an unreadable one has left there.
        let _ = tokio::fs::remove_dir_all(self.dir.join("restore")).await;
        let kept = LocalFiles::of_job(&context.job_dir(job.id));
        let is_own = candidate.own.is_some();
        let tracking = context.transfers.restores.begin(job.id);
        let download = Download {
            store: &store,
            dir: &self.dir.join("restore"),
            threads: context.settings.transfer_threads,
            share,
            local: is_own.then_some((&kept, manifest.checkpoint_id)),
            transferred: &transferred,
            progress: &tracking.transfer(),
        };
        let local = download.run(plan).await?;
        let duration_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.report(candidate, &manifest, &transferred, duration_ms, skipped).await?;
        Ok(local)
    }

    async fn report(
        &self,
        candidate: &Candidate,
        manifest: &Manifest,
        transferred: &Transferred,
        duration_ms: u64,
        skipped: &[SkippedSnapshot],
    ) -> Result<()> {
        let restored = Restored {
            location: candidate.location.clone(),
            checkpoint_id: manifest.checkpoint_id,
            attempt: self.job.attempt,
            restored_local_bytes: transferred.local_bytes(),
            restored_remote_bytes: transferred.remote_bytes(),
            duration_ms,
            skipped: skipped.to_vec(),
        };
        tracing::info!(
            job.id = %self.job.id,
            from = restored.location,
            checkpoint.id = restored.checkpoint_id,
            local_bytes = restored.restored_local_bytes,
            remote_bytes = restored.restored_remote_bytes,
            duration_ms,
            "state restored"
        );
        if !retry!(self.context.metadata.set_restored(self.lease, &restored))? {
            return Err(Error::fenced("the job is owned by another instance now"));
        }
        Ok(())
    }

    /// Records that a snapshot cannot be read and that the one before is restored instead.
    async fn pass_over(&self, candidate: &Candidate, error: &Error) -> Result<()> {
        let (context, job) = (self.context, self.job);
        tracing::error!(job.id = %job.id, location = candidate.location, %error, "a snapshot cannot be read; the one before is restored (on_corrupt: previous)");
        let message = format!("{} cannot be read and was passed over: {error}", candidate.location);
        let exception = JobException {
            job_id: job.id,
            attempt: job.attempt,
            at_ms: now_ms(),
            error: Error::corrupt("snapshot_passed_over", message),
            task: None,
        };
        retry!(context.metadata.insert_exception(&exception))?;
        if let Some(own) = &candidate.own {
            retry!(context.metadata.fail_unreadable(self.lease, own.id, &error.to_string()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_damage_is_passed_over() {
        let check = |error: Error, expected: bool| assert_eq!(is_unreadable(&missing_is_corrupt(error)), expected);
        check(Error::corrupt("object_corrupt", "x"), true);
        check(Error::not_found("object_missing", "x"), true);
        check(Error::not_found("snapshot_not_found", "x"), true);
        check(Error::unavailable("store_unavailable", "x"), false);
        check(Error::conflict("state_not_restored", "x"), false);
    }

    #[test]
    fn a_restarts_choice_comes_first_then_the_jobs_own_then_what_it_was_submitted_with() {
        let own = |number: u64, location: &str| Snapshot {
            id: crate::id::SnapshotId::from_text(location),
            job_id: crate::id::JobId::from_text("j"),
            kind: SnapshotKind::Checkpoint,
            checkpoint_id: number,
            attempt: 1,
            status: crate::metadata::SnapshotStatus::Completed,
            trigger: crate::metadata::SnapshotTrigger::Periodic,
            location: location.into(),
            state_bytes: 0,
            uploaded_bytes: 0,
            started_ms: 0,
            ended_ms: None,
            failure: None,
            details: crate::metadata::SnapshotDetails::default(),
        };
        let (submitted, named) = (RestoreSource::unheld("a", true), RestoreSource::unheld("1", false));
        let check = |restart: Option<&RestoreSource>, own: Vec<Snapshot>, expected: &[(&str, bool, bool, bool)]| {
            let found = candidates_of(restart, Some(&submitted), own);
            let got: Vec<_> =
                found.iter().map(|c| (c.location.as_str(), c.allow_non_restored, c.may_share, c.is_foreign)).collect();
            assert_eq!(got, expected);
        };
        check(None, vec![], &[("a", true, false, true)]);
        check(None, vec![own(2, "2"), own(1, "1")], &[("2", false, true, false), ("1", false, false, false)]);
        // The savepoint that an upgrade stopped with.
        check(None, vec![own(2, "a")], &[("a", true, true, false)]);
        check(Some(&named), vec![own(2, "2"), own(1, "1")], &[("1", false, false, false)]);
    }
}
