//! The commands on jobs and snapshots, as the API offers them.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::alarms;
use super::preflight::{Warning, check_job};
use super::restore_point::{RestartRequest, restore_option};
use super::settings::{SubmitRequest, resolve};
use super::{Command, Context};
use crate::checkpoint::deletion::delete_job;
use crate::checkpoint::retention::in_use;
use crate::clock::now_ms;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{JobId, SnapshotId};
use crate::metadata::{
    DesiredStatus, Inserted, Job, JobException, JobFilter, JobSettings, JobStatus, Snapshot, SnapshotKind,
    SnapshotStatus,
};
use crate::runtime::metrics::TaskMetrics;
use crate::sql;

/// How often a waiting request looks again without being woken.
pub(super) const WAIT_STEP: Duration = Duration::from_millis(250);

/// See the module text. Cheap to clone.
#[derive(Clone)]
pub struct JobService {
    pub(super) context: Arc<Context>,
}

/// The answer to a submit.
pub struct Submitted {
    pub job: Job,
    /// False if an earlier request with the same idempotency key created it.
    pub created: bool,
}

/// What a submit would do.
pub struct DryRun {
    pub settings: JobSettings,
    pub name: String,
    pub plan: crate::graph::JobGraph,
    pub warnings: Vec<Warning>,
}

impl JobService {
    /// Over a shared context.
    pub fn new(context: Arc<Context>) -> Self {
        JobService { context }
    }
    /// The shared context.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Plans and checks a request; creates nothing.
    pub async fn dry_run(&self, request: &SubmitRequest) -> Result<DryRun> {
        let text = request.sql.clone();
        // Planning is work for a thread that may block.
        let planned = tokio::task::spawn_blocking(move || sql::plan_job(&text))
            .await
            .map_err(|e| Error::internal(format!("planning panicked: {e}")))??;
        let mut settings = resolve(request, &planned.options, &self.context.settings)?;
        let name = request
            .name
            .clone()
            .or_else(|| planned.options.get("pipeline.name").cloned())
            .unwrap_or_else(|| format!("insert-into_{}", planned.sinks.join("_")));
        let restore = match &request.restore {
            Some(restore) => Some(restore.clone()),
            None => restore_option(&planned.options)?,
        };
        if let Some(restore) = &restore {
            settings.restore = Some(
                self.resolve_restore(restore, &name, request, &mut settings.max_parallelism, &planned.graph).await?,
            );
        }
        let mut warnings: Vec<Warning> =
            planned.warnings.iter().map(|w| Warning { code: "sql".into(), message: w.clone() }).collect();
        warnings.extend(check_job(&settings));
        warnings.extend(self.context.warnings.iter().cloned());
        Ok(DryRun { settings, name, plan: planned.graph, warnings })
    }

    /// Stores a job; it starts at once. A repeated idempotency key answers the first job again.
    pub async fn submit(
        &self,
        request: &SubmitRequest,
        idempotency_key: Option<&str>,
    ) -> Result<(Submitted, Vec<Warning>)> {
        let planned = self.dry_run(request).await?;
        let now = now_ms();
        let job = Job {
            id: JobId::generate(),
            name: planned.name,
            sql: request.sql.clone(),
            plan: planned.plan,
            settings: planned.settings,
            status: JobStatus::Created,
            desired: DesiredStatus::Running,
            attempt: 0,
            restarts: 0,
            failed_checkpoints: 0,
            owner: None,
            lease_until_ms: 0,
            failure: None,
            created_ms: now,
            started_ms: None,
            ended_ms: None,
            updated_ms: now,
            version: 1,
            restart_from: None,
            restored: None,
        };
        let body =
            serde_json::to_vec(request).map_err(|e| Error::internal("encoding a request failed").caused_by(&e))?;
        let hash = hex::encode(Sha256::digest(&body));
        let inserted = self.context.metadata.insert_job(&job, idempotency_key.map(|k| (k, hash.as_str()))).await?;
        let submitted = match inserted {
            Inserted::Created => {
                tracing::info!(job.id = %job.id, job.name = job.name, "job submitted");
                for warning in &planned.warnings {
                    tracing::warn!(job.id = %job.id, code = warning.code, "{}", warning.message);
                }
                self.context.wake.notify_one();
                Submitted { job, created: true }
            }
            Inserted::Replayed(job) => Submitted { job: *job, created: false },
        };
        Ok((submitted, planned.warnings))
    }

    /// The job with this id, or the newest (the live one, if any) with this name.
    pub async fn job(&self, id_or_name: &str) -> Result<Job> {
        if let Ok(id) = id_or_name.parse::<JobId>() {
            return self.context.metadata.job(id).await;
        }
        let job = self.context.metadata.job_by_name(id_or_name).await?;
        job.ok_or_else(|| {
            Error::not_found("job_not_found", format!("there is no job with the id or name '{id_or_name}'"))
        })
    }

    /// A page of jobs, newest first, after the given (created_ms, id).
    pub async fn jobs(&self, filter: &JobFilter, after: Option<(i64, JobId)>, limit: u32) -> Result<Vec<Job>> {
        self.context.metadata.list_jobs(filter, after, limit).await
    }

    /// The newest failures of a job.
    pub async fn exceptions(&self, job: JobId, limit: u32) -> Result<Vec<JobException>> {
        self.context.metadata.list_exceptions(job, limit).await
    }

    /// Figures of the job's subtasks, if it runs here.
    pub fn metrics(&self, job: JobId) -> Vec<Arc<TaskMetrics>> {
        let running = self.context.running(job);
        running.map_or_else(Vec::new, |r| r.metrics.lock().expect("no panic while held").tasks.clone())
    }

    /// What could cost this job data.
    pub fn warnings(&self, job: &Job) -> Vec<Warning> {
        let mut warnings = check_job(&job.settings);
        warnings.extend(alarms::warnings(job, self.context.running(job.id).map(|r| r.alarms).as_ref()));
        warnings.extend(self.context.warnings.iter().cloned());
        warnings
    }

    /// Wants the job ended. Its checkpoints are kept or deleted as its settings say.
    pub async fn cancel(&self, job: &Job) -> Result<Job> {
        if !self.context.metadata.set_desired(job.id, DesiredStatus::Canceled, now_ms()).await? {
            return Err(Error::conflict(
                "job_ended",
                format!("job {} is {} already", job.id, self.context.metadata.job(job.id).await?.status),
            ));
        }
        match self.context.running(job.id) {
            // A full queue means a busy master; it looks at the stored wish at the next renewal of its lease.
            Some(running) => drop(running.commands.try_send(Command::Cancel)),
            None => {
                self.context.metadata.fail_upgrade(job.id, "the job was cancelled", now_ms()).await?;
                self.context.metadata.cancel_unowned(job.id, now_ms()).await?;
                self.context.wake.notify_one();
            }
        }
        self.context.metadata.job(job.id).await
    }

    /// The snapshot once it is no longer in progress, or as it is when `time` is over.
    pub async fn wait_for_snapshot(&self, id: SnapshotId, time: Duration) -> Result<Snapshot> {
        let end = tokio::time::Instant::now() + time;
        loop {
            let changed = self.context.changed.notified();
            let snapshot = self.context.metadata.snapshot(id).await?;
            if snapshot.status != SnapshotStatus::InProgress || tokio::time::Instant::now() >= end {
                return Ok(snapshot);
            }
            let _ = tokio::time::timeout_at(end.min(tokio::time::Instant::now() + WAIT_STEP), changed).await;
        }
    }

    /// The job once it has ended or has been restarted, or as it is when `time` is over.
    pub async fn wait_for_end(&self, id: JobId, time: Duration) -> Result<Job> {
        let end = tokio::time::Instant::now() + time;
        loop {
            let changed = self.context.changed.notified();
            let job = self.context.metadata.job(id).await?;
            if job.status != JobStatus::Running || tokio::time::Instant::now() >= end {
                return Ok(job);
            }
            let _ = tokio::time::timeout_at(end.min(tokio::time::Instant::now() + WAIT_STEP), changed).await;
        }
    }

    /// Starts a terminal job again, from its newest snapshot or the one that the request names.
    pub async fn restart(&self, job: &Job, request: &RestartRequest) -> Result<Job> {
        if !job.status.is_terminal() {
            return Err(Error::conflict(
                "job_not_terminal",
                format!("job {} is {}; cancel or stop it first, then restart it", job.id, job.status),
            ));
        }
        let from = self.restart_source(job, request).await?;
        if !self.context.metadata.reset_for_restart(job.id, from.as_ref(), now_ms()).await? {
            if self.context.metadata.job(job.id).await?.desired == DesiredStatus::Deleted {
                return Err(Error::conflict("job_being_deleted", format!("job {} is being deleted", job.id)));
            }
            return Err(Error::conflict("job_not_terminal", format!("job {} is running again already", job.id)));
        }
        self.context.wake.notify_one();
        self.context.metadata.job(job.id).await
    }

    /// Deletes a terminal job with its history and checkpoints. Its savepoints stay, unless they are to go with it.
    pub async fn delete(&self, job: &Job, with_savepoints: bool) -> Result<()> {
        if !job.status.is_terminal() {
            return Err(Error::conflict(
                "job_not_terminal",
                format!("job {} is {}; cancel or stop it first", job.id, job.status),
            ));
        }
        let holders = self.context.metadata.holders_of_job(job.id).await?;
        if !holders.is_empty() {
            return Err(in_use(&format!("a snapshot of job {}", job.id), &holders));
        }
        delete_job(&self.context.metadata, &self.context.store, job.id, with_savepoints, now_ms()).await.map_err(|e| {
            let begun = "; the deletion has begun and is finished by itself when the store answers";
            if e.kind == ErrorKind::Unavailable { Error { message: e.message.clone() + begun, ..e } } else { e }
        })
    }

    /// A page of a job's snapshots, newest first, before the given checkpoint id.
    pub async fn snapshots(
        &self,
        job: JobId,
        kind: SnapshotKind,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Snapshot>> {
        self.context.metadata.list_snapshots(job, Some(kind), before, limit).await
    }

    /// A job's checkpoint by its number.
    pub async fn checkpoint(&self, job: JobId, number: u64) -> Result<Snapshot> {
        let found = self.context.metadata.snapshot_by_checkpoint(job, number).await?;
        found.ok_or_else(|| Error::not_found("checkpoint_not_found", format!("job {job} has no checkpoint {number}")))
    }
}
