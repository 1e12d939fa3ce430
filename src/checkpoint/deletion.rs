//! Deleting a job with its snapshots, in phases that the next run can finish.
//!
//! 1. `delete-job-marked`: one transaction marks the job (`desired` = `DELETED`) and its snapshots (`DELETING`): from now
//!    on nothing starts it or restores them;
//! 2. savepoints, then checkpoints: state objects, manifests, rows (`retention`);
//! 3. `delete-job-objects`: the job's row.
//!
//! A crash or a store that does not answer leaves the marks; [`finish_deletions`] goes on with everything that is marked.

use super::retention::{Retention, delete_savepoint};
use crate::crash;
use crate::error::Result;
use crate::id::JobId;
use crate::metadata::{Metadata, SnapshotKind};
use crate::storage::Store;

/// Deletes an ended job with its checkpoints, and with its savepoints if wanted. `job_not_terminal` if it has not ended.
pub async fn delete_job(
    metadata: &Metadata,
    store: &Store,
    job: JobId,
    with_savepoints: bool,
    now_ms: i64,
) -> Result<()> {
    metadata.begin_job_deletion(job, with_savepoints, now_ms).await?;
    crash::point("delete-job-marked");
    finish_job(metadata, store, job).await
}

/// Phases 2 and 3, for a job that is marked.
async fn finish_job(metadata: &Metadata, store: &Store, job: JobId) -> Result<()> {
    for savepoint in metadata.deleting_of(job, SnapshotKind::Savepoint).await? {
        delete_savepoint(metadata, store, &savepoint).await?;
    }
    Retention::new(metadata.clone(), store.clone(), job).delete_all().await?;
    crash::point("delete-job-objects");
    metadata.finish_job_deletion(job).await
}

/// Goes on with every deletion that was interrupted: of jobs, of savepoints, and of ended jobs' checkpoints (a running
/// job's owner does its own). Answers how many it finished. One that fails does not hold up the others.
pub async fn finish_deletions(metadata: &Metadata, store: &Store) -> Result<usize> {
    let mut finished = 0;
    for job in metadata.jobs_being_deleted().await? {
        match finish_job(metadata, store, job).await {
            Ok(()) => finished += 1,
            Err(error) => {
                tracing::warn!(job.id = %job, %error, "finishing the job's deletion failed; it is tried again")
            }
        }
    }
    for snapshot in metadata.deleting().await? {
        let done = match snapshot.kind {
            SnapshotKind::Savepoint => delete_savepoint(metadata, store, &snapshot).await.map(|()| 1),
            SnapshotKind::Checkpoint => match metadata.job_state(snapshot.job_id).await {
                Ok(state) if state.status.is_terminal() => {
                    Retention::new(metadata.clone(), store.clone(), snapshot.job_id).finish().await
                }
                Ok(_) => Ok(0),
                Err(error) => Err(error),
            },
        };
        match done {
            Ok(count) => finished += count,
            Err(error) => {
                tracing::warn!(job.id = %snapshot.job_id, location = snapshot.location, %error, "finishing a snapshot's deletion failed; it is tried again")
            }
        }
    }
    Ok(finished)
}
