//! What happens before an attempt's subtasks start: sweep, choose a snapshot, bring it to the local disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::Context;
use super::retry::retry;
use crate::checkpoint::restore::{self, LocalOperator};
use crate::checkpoint::retention::{DATABASE_BEHIND_STORE, Retention};
use crate::checkpoint::upload::KnownFiles;
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::id::OperatorId;
use crate::metadata::{Job, SnapshotKind};
use crate::runtime::RestoredOperator;
use crate::runtime::execution::vertex_parallelism;

/// Ready to start.
pub struct Prepared {
    /// The attempt's folder on the working disk.
    pub dir: PathBuf,
    pub restored: HashMap<OperatorId, RestoredOperator>,
    pub known: HashMap<(OperatorId, usize), Arc<KnownFiles>>,
    pub retention: Arc<Mutex<Retention>>,
}

/// Sweeps what older attempts left, then restores the newest completed snapshot of the job, or the one it was submitted
/// with, or nothing.
pub async fn prepare(context: &Context, job: &Job) -> Result<Prepared> {
    let mut retention = Retention::new(context.metadata.clone(), context.store.clone(), job.id);
    match retention.sweep(job.attempt, now_ms()).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(job.id = %job.id, count, "swept objects that no completed checkpoint references"),
        Err(error) if error.code == DATABASE_BEHIND_STORE => return Err(error),
        Err(error) => {
            tracing::warn!(job.id = %job.id, %error, "sweeping failed; nothing was deleted that a checkpoint needs")
        }
    }
    // Older attempts' files: after a crash they are not trusted.
    let job_dir = context.job_dir(job.id);
    let _ = tokio::fs::remove_dir_all(&job_dir).await;
    let dir = job_dir.join(format!("attempt-{}", job.attempt));
    tokio::fs::create_dir_all(&dir).await.map_err(|e| {
        Error::unavailable("work_dir_write", format!("creating {} failed", dir.display())).caused_by(&e)
    })?;
    let local = restore_state(context, job, &dir).await?;
    let mut restored = HashMap::new();
    let mut known = HashMap::new();
    for (id, operator) in local {
        for (subtask, files) in operator.known.into_iter().enumerate() {
            known.insert((id, subtask), Arc::new(files));
        }
        restored.insert(id, RestoredOperator { operator_state: operator.operator_state, keyed: operator.keyed });
    }
    Ok(Prepared { dir, restored, known, retention: Arc::new(Mutex::new(retention)) })
}

async fn restore_state(
    context: &Context,
    job: &Job,
    dir: &std::path::Path,
) -> Result<HashMap<OperatorId, LocalOperator>> {
    let own = retry!(context.metadata.latest_for_recovery(job.id))?;
    let (location, allow_non_restored) = match (&job.restart_from, &own, &job.settings.restore) {
        (Some(named), ..) => (named.manifest.clone(), named.allow_non_restored_state),
        (None, Some(snapshot), _) => (snapshot.location.clone(), false),
        (None, None, Some(restore)) => (restore.manifest.clone(), restore.allow_non_restored_state),
        (None, None, None) => return Ok(HashMap::new()),
    };
    let since = std::time::Instant::now();
    let (store, manifest) = restore::load(&context.store, &location).await?;
    let parallelism_of = |id: OperatorId| {
        let vertex = job.plan.vertices.iter().find(|v| v.operators.iter().any(|o| o.id == id));
        vertex_parallelism(vertex.and_then(|v| v.parallelism), job.settings.parallelism)
    };
    let plan = restore::plan(&manifest, &job.plan, parallelism_of, job.settings.max_parallelism, allow_non_restored)?;
    // Only the newest completed checkpoint's files are certain to stay until the next one is completed.
    let share = own.as_ref().is_some_and(|s| s.id == manifest.snapshot_id) && manifest.kind == SnapshotKind::Checkpoint;
    let tracking = context.transfers.restores.begin(job.id);
    let threads = context.settings.transfer_threads;
    let local = restore::download(plan, &store, &dir.join("restore"), threads, share, &tracking.transfer()).await?;
    tracing::info!(
        job.id = %job.id,
        from = location,
        checkpoint.id = manifest.checkpoint_id,
        state_bytes = manifest.state_bytes(),
        duration_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        "state restored"
    );
    Ok(local)
}
