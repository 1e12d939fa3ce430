//! The model's steps: what `job` does with the protocol, without threads, channels and RocksDB.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::checkpoint::deletion::{delete_job, finish_deletions};
use crate::checkpoint::fsck::{FsckOptions, fsck};
use crate::checkpoint::manifest::OperatorState;
use crate::checkpoint::retention::delete_savepoint;
use crate::checkpoint::upload::{Destination, MAX_PACKED_FILE_BYTES, shareable, upload};
use crate::checkpoint::{manifest_key, state_prefix};
use crate::clock::now_ms;
use crate::crash;
use crate::error::Result;
use crate::graph::key_group;
use crate::metadata::{DesiredStatus, JobSettings, JobStatus, SnapshotKind, SnapshotTrigger};
use crate::state::StateSnapshot;
use crate::storage::PutOutcome;

/// The one process of the model.
const OWNER: &str = "process";
const LEASE_MS: u64 = 60_000;
/// Files up to this size go into manifests.
const INLINE_BYTES: u64 = 64;

/// A step; the numbers choose a job or a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Submit,
    /// A job that starts from any completed snapshot of any job.
    Fork(u64),
    Checkpoint(u64),
    /// Row and first part of a snapshot; the rest comes later.
    Begin(u64, SnapshotKind),
    /// The next part of a pending snapshot, or its publication.
    Continue(u64),
    Savepoint(u64),
    /// The attempt fails; the next one sweeps and restores.
    Failover(u64),
    Retire(u64),
    Cancel(u64),
    Restart(u64),
    DeleteSavepoint(u64),
    DeleteJob(u64, bool),
    Gc,
}

impl World {
    pub(super) async fn step(&mut self, step: Step) -> Result<()> {
        let running: Vec<JobId> = self.jobs.iter().filter(|j| j.runs).map(|j| j.row.id).collect();
        let ended: Vec<JobId> = self.jobs.iter().filter(|j| !j.runs).map(|j| j.row.id).collect();
        let pick = |all: &[JobId], n: u64| (!all.is_empty()).then(|| all[(n % all.len() as u64) as usize]);
        match step {
            Step::Submit => self.submit().await,
            Step::Fork(n) => {
                let completed: Vec<Snapshot> =
                    self.rows().await.into_iter().filter(|s| s.status == SnapshotStatus::Completed).collect();
                match completed.is_empty() {
                    true => Ok(()),
                    false => self.fork(&completed[(n % completed.len() as u64) as usize].clone()).await,
                }
            }
            Step::Checkpoint(n) => match pick(&running, n) {
                Some(id) => self.whole_snapshot(id, SnapshotKind::Checkpoint).await,
                None => Ok(()),
            },
            Step::Savepoint(n) => match pick(&running, n) {
                Some(id) => self.whole_snapshot(id, SnapshotKind::Savepoint).await,
                None => Ok(()),
            },
            Step::Begin(n, kind) => match pick(&running, n) {
                Some(id) if self.find(id).unwrap().pending.is_none() => self.begin(id, kind).await,
                _ => Ok(()),
            },
            Step::Continue(n) => match pick(&running, n) {
                Some(id) => self.go_on(id).await,
                None => Ok(()),
            },
            Step::Failover(n) => match pick(&running, n) {
                Some(id) => self.failover(id).await,
                None => Ok(()),
            },
            Step::Retire(n) => match pick(&running, n) {
                Some(id) => {
                    let job = self.find(id).unwrap();
                    job.retention.retire(job.retained, &job.in_use_from).await.map(drop)
                }
                None => Ok(()),
            },
            Step::Cancel(n) => match pick(&running, n) {
                Some(id) => self.cancel(id).await,
                None => Ok(()),
            },
            Step::Restart(n) => match pick(&ended, n) {
                Some(id) => self.restart(id).await,
                None => Ok(()),
            },
            Step::DeleteJob(n, with_savepoints) => match pick(&ended, n) {
                Some(id) => self.delete(id, with_savepoints).await,
                None => Ok(()),
            },
            Step::DeleteSavepoint(n) => {
                let rows = self.rows().await.into_iter();
                let all: Vec<Snapshot> = rows
                    .filter(|s| s.kind == SnapshotKind::Savepoint && s.status != SnapshotStatus::InProgress)
                    .collect();
                match all.is_empty() {
                    true => Ok(()),
                    false => {
                        let chosen = &all[(n % all.len() as u64) as usize];
                        delete_savepoint(&self.metadata, &self.store, chosen).await
                    }
                }
            }
            Step::Gc => self.gc().await,
        }
    }

    async fn submit(&mut self) -> Result<()> {
        let id = JobId::generate();
        let row = Job {
            id,
            name: id.to_string(),
            sql: String::new(),
            plan: graph(),
            settings: JobSettings::for_tests(),
            status: JobStatus::Created,
            desired: DesiredStatus::Running,
            attempt: 0,
            restarts: 0,
            owner: None,
            lease_until_ms: 0,
            failure: None,
            created_ms: now_ms(),
            started_ms: None,
            ended_ms: None,
            updated_ms: now_ms(),
            version: 1,
            restart_from: None,
            restored: None,
            failed_checkpoints: 0,
        };
        self.metadata.insert_job(&row, None).await?;
        let (row, lease) = self.acquire(id).await?;
        let retention = Retention::new(self.metadata.clone(), self.store.clone(), id);
        let retained = 1 + u32::try_from(self.rng.below(3)).unwrap();
        let all = operators().into_iter().flat_map(|o| (0..PARALLELISM).map(move |s| (o, s)));
        self.jobs.push(ModelJob {
            row,
            lease,
            content: all.map(|at| (at, BTreeMap::new())).collect(),
            next_file: 0,
            known: Known::new(),
            retention,
            retained,
            pending: None,
            in_use_from: AtomicU64::new(u64::MAX),
            runs: true,
        });
        self.work(id);
        Ok(())
    }

    async fn acquire(&self, id: JobId) -> Result<(Job, Lease)> {
        let acquired = self.metadata.acquire_job(id, OWNER, LEASE_MS, now_ms()).await?;
        Ok(acquired.expect("the model's process is alone"))
    }

    async fn fork(&mut self, from: &Snapshot) -> Result<()> {
        let dir = self.fresh_dir();
        let loaded = self.load(from, &dir, false).await;
        let _ = std::fs::remove_dir_all(dir);
        let (_, content) = loaded?;
        self.submit().await?;
        self.jobs.last_mut().unwrap().content = content;
        Ok(())
    }

    /// The operators write new files and drop some.
    fn work(&mut self, id: JobId) {
        let mut rng = Rng(self.rng.next());
        let Some(job) = self.find(id) else { return };
        for files in job.content.values_mut() {
            for _ in 0..rng.below(3) {
                job.next_file += 1;
                let large = rng.below(150) == 0;
                let bytes = if large { MAX_PACKED_FILE_BYTES + 1 } else { rng.below(200) };
                let byte = u8::try_from(rng.below(256)).unwrap();
                files.insert(format!("{:06}.sst", job.next_file), vec![byte; usize::try_from(bytes).unwrap()]);
            }
            files.retain(|_, _| rng.below(4) > 0);
            files.insert("CURRENT".into(), rng.next().to_be_bytes().repeat(10));
        }
    }

    async fn whole_snapshot(&mut self, id: JobId, kind: SnapshotKind) -> Result<()> {
        if self.find(id).unwrap().pending.is_none() {
            self.begin(id, kind).await?;
        }
        while self.find(id).is_some_and(|j| j.pending.is_some()) {
            self.go_on(id).await?;
        }
        Ok(())
    }

    /// Steps 1 to 3, and the first upload.
    async fn begin(&mut self, id: JobId, kind: SnapshotKind) -> Result<()> {
        self.work(id);
        let checkpoint_id = self.metadata.next_checkpoint_id(id).await?;
        let snapshot_id = SnapshotId::generate();
        let attempt = self.find(id).unwrap().lease.attempt;
        let key = manifest_key(kind, id, snapshot_id, checkpoint_id, attempt);
        let snapshot = Snapshot {
            id: snapshot_id,
            job_id: id,
            kind,
            checkpoint_id,
            attempt,
            status: SnapshotStatus::InProgress,
            trigger: SnapshotTrigger::Periodic,
            location: self.store.uri_of(&key),
            state_bytes: 0,
            uploaded_bytes: 0,
            started_ms: now_ms(),
            ended_ms: None,
            failure: None,
            details: Default::default(),
        };
        let lease = self.find(id).unwrap().lease.clone();
        assert!(self.metadata.begin_snapshot(&lease, &snapshot, None).await?);
        crash::point("checkpoint-1-row");
        let job = self.find(id).unwrap();
        let known = if kind == SnapshotKind::Checkpoint { job.known.clone() } else { Known::new() };
        let content = job.content.clone();
        let todo = content.keys().copied().collect();
        job.pending = Some(PendingSnapshot { snapshot, content, known, parts: Vec::new(), todo });
        self.go_on(id).await
    }

    /// Step 4 for one subtask, or steps 5 to 8.
    async fn go_on(&mut self, id: JobId) -> Result<()> {
        let dir = self.fresh_dir();
        let store = self.store.clone();
        let Some(pending) = self.find(id).and_then(|j| j.pending.as_mut()) else { return Ok(()) };
        let Some(at) = pending.todo.pop() else { return self.publish(id).await };
        std::fs::create_dir_all(&dir).unwrap();
        let files = &pending.content[&at];
        files.iter().for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes).unwrap());
        let image = StateSnapshot {
            dir,
            files: files.iter().map(|(n, b)| (n.clone(), b.len() as u64)).collect(),
            key_groups: key_group::range_of(at.1, u32::try_from(PARALLELISM).unwrap(), MAX_PARALLELISM),
        };
        let destination = Destination {
            store,
            prefix: format!("{}/{}-{}", state_prefix(&pending.snapshot), at.0, at.1),
            threads: 1,
            inline_threshold_bytes: INLINE_BYTES,
            keep: None,
            progress: Arc::default(),
        };
        let known = pending.known.get(&at).cloned().unwrap_or_default();
        let uploaded = upload(image, &destination, known).await?;
        let state = SubtaskState { subtask: at.1, operator_state: None, keyed: Some(uploaded.keyed) };
        pending.parts.push((at.0, state));
        crash::point("checkpoint-4-part");
        Ok(())
    }

    async fn publish(&mut self, id: JobId) -> Result<()> {
        let (store, metadata) = (self.store.clone(), self.metadata.clone());
        let job = self.find(id).unwrap();
        let (lease, row) = (job.lease.clone(), job.row.clone());
        let pending = job.pending.as_ref().unwrap();
        let snapshot = pending.snapshot.clone();
        let mut states: BTreeMap<OperatorId, Vec<SubtaskState>> = BTreeMap::new();
        for (operator, state) in &pending.parts {
            states.entry(*operator).or_default().push(state.clone());
        }
        let manifest = Manifest {
            snapshot_id: snapshot.id,
            job_id: id,
            job_name: row.name,
            checkpoint_id: snapshot.checkpoint_id,
            attempt: snapshot.attempt,
            kind: snapshot.kind,
            trigger: snapshot.trigger,
            format: Default::default(),
            drained: false,
            created_ms: snapshot.started_ms,
            key: store.key_of(&snapshot.location).unwrap(),
            sql: row.sql,
            plan: row.plan,
            settings: row.settings,
            operators: states
                .into_iter()
                .map(|(id, subtasks)| OperatorState { id, name: "op".into(), subtasks })
                .collect(),
        };
        let content = pending.content.clone();
        assert_eq!(store.put_if_absent(&manifest.key, manifest.encode()?).await?, PutOutcome::Created);
        crash::point("checkpoint-5-manifest");
        self.contents.insert(snapshot.id, content);
        assert!(metadata.complete_snapshot(&lease, snapshot.id, 1, 1, now_ms()).await?);
        crash::point("checkpoint-6-published");
        let job = self.find(id).unwrap();
        job.pending = None;
        if snapshot.kind == SnapshotKind::Checkpoint {
            job.known.clear();
            for operator in &manifest.operators {
                for subtask in &operator.subtasks {
                    let files = subtask.keyed.iter().flat_map(shareable).map(|f| (f.name.clone(), f.clone()));
                    job.known.insert((operator.id, subtask.subtask), Arc::new(files.collect()));
                }
            }
            job.retention.published(&manifest);
            // Its failure is only logged there: the next one tries again.
            let _ = job.retention.retire(job.retained, &job.in_use_from).await;
        }
        Ok(())
    }

    /// What the job does when a snapshot fails and the process lives: fail the row, then remove the objects.
    pub(super) async fn give_up(&mut self, id: JobId) {
        let store = self.store.clone();
        let metadata = self.metadata.clone();
        let Some(pending) = self.find(id).and_then(|j| j.pending.take()) else { return };
        let snapshot = pending.snapshot;
        if metadata.fail_snapshot(snapshot.id, "failed", now_ms()).await.unwrap() {
            // What cannot be removed now, the next sweep or repair finds.
            let listed = store.list(&format!("{}/", state_prefix(&snapshot))).await.unwrap_or_default();
            let mut keys: Vec<String> = listed.into_iter().map(|o| o.key).collect();
            keys.extend(store.key_of(&snapshot.location));
            let _ = store.delete(&keys).await;
        }
    }

    /// A new attempt: sweep, then go on from the newest snapshot.
    pub(super) async fn failover(&mut self, id: JobId) -> Result<()> {
        let (row, lease) = self.acquire(id).await?;
        let mut retention = Retention::new(self.metadata.clone(), self.store.clone(), id);
        if let Some(job) = self.find(id) {
            job.pending = None;
            (job.row, job.lease) = (row, lease.clone());
        }
        retention.sweep(lease.attempt, now_ms()).await?;
        let newest = self.metadata.latest_for_recovery(id).await?;
        let (known, content) = match &newest {
            Some(snapshot) => {
                let dir = self.fresh_dir();
                let loaded = self.load(snapshot, &dir, snapshot.kind == SnapshotKind::Checkpoint).await;
                let _ = std::fs::remove_dir_all(dir);
                let (known, content) = loaded?;
                assert!(Some(&content) == self.contents.get(&snapshot.id), "{snapshot:?} restores something else");
                (known, content)
            }
            None => (Known::new(), self.find(id).unwrap().content.clone()),
        };
        let job = self.find(id).unwrap();
        (job.known, job.content, job.retention) = (known, content, retention);
        Ok(())
    }

    async fn cancel(&mut self, id: JobId) -> Result<()> {
        self.give_up(id).await;
        let lease = self.find(id).unwrap().lease.clone();
        let from = [JobStatus::Initializing, JobStatus::Running];
        assert!(self.metadata.set_status(&lease, &from, JobStatus::Canceled, None, now_ms()).await?);
        self.find(id).unwrap().runs = false;
        Ok(())
    }

    async fn restart(&mut self, id: JobId) -> Result<()> {
        if self.metadata.reset_for_restart(id, None, now_ms()).await? {
            self.find(id).unwrap().runs = true;
            self.failover(id).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, id: JobId, with_savepoints: bool) -> Result<()> {
        let keeps =
            !with_savepoints
                && self.rows().await.iter().any(|s| {
                    s.job_id == id && s.kind == SnapshotKind::Savepoint && s.status == SnapshotStatus::Completed
                });
        if keeps {
            return Ok(());
        }
        delete_job(&self.metadata, &self.store, id, with_savepoints, now_ms()).await
    }

    /// Retires what running jobs no longer keep, and repairs the rest.
    pub(super) async fn gc(&mut self) -> Result<()> {
        for job in self.jobs.iter_mut().filter(|j| j.runs) {
            job.retention.retire(job.retained, &job.in_use_from).await?;
        }
        let options = FsckOptions { repair: true, deep: false, min_age_ms: 0, unknown_min_age_ms: 0, threads: 1 };
        let first = fsck(&self.metadata, &self.store, &options, now_ms()).await?;
        assert_eq!(first.lost_snapshots, 0, "{first:#?}\n{}", self.story());
        if first.left > 0 {
            // A fault held a repair up; the next run finishes it.
            let report = fsck(&self.metadata, &self.store, &options, now_ms()).await?;
            assert_eq!((report.lost_snapshots, report.left), (0, 0), "{report:#?}\n{}", self.story());
        }
        // The repair finishes deletions of jobs that a crash interrupted.
        self.forget_deleted().await;
        Ok(())
    }

    /// Jobs whose rows are gone are gone.
    pub(super) async fn forget_deleted(&mut self) {
        let there: Vec<JobId> =
            self.metadata.job_states(None, 1_000).await.unwrap().into_iter().map(|s| s.id).collect();
        self.jobs.retain(|j| there.contains(&j.row.id));
    }

    /// The process has ended, at whatever moment; another one starts.
    pub(super) async fn start_again(&mut self) {
        self.jobs.iter_mut().for_each(|j| j.pending = None);
        for state in self.metadata.job_states(None, 1_000).await.unwrap() {
            // A crash may come between a job's row and the model's note of it.
            if let Some(job) = self.find(state.id) {
                job.runs = !state.status.is_terminal();
            } else if !state.status.is_terminal() {
                let row = self.metadata.job(state.id).await.unwrap();
                let (_, lease) = self.acquire(state.id).await.unwrap();
                let from = [JobStatus::Initializing];
                self.metadata.set_status(&lease, &from, JobStatus::Canceled, None, now_ms()).await.unwrap();
                drop(row);
            }
        }
        self.forget_deleted().await;
        for id in self.jobs.iter().filter(|j| j.runs).map(|j| j.row.id).collect::<Vec<_>>() {
            let done = self.failover(id).await;
            assert!(done.is_ok(), "{done:?}\n{}", self.story());
        }
        finish_deletions(&self.metadata, &self.store).await.unwrap();
        self.forget_deleted().await;
    }
}
