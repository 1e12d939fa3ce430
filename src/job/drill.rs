//! A restore drill: brings a snapshot into a scratch folder beside the running job, verifies every hash, opens every
//! state, and says how long it took. The running job is not touched; the scratch folder is removed, after a crash by the
//! next start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::{Context, JobService, action};
use crate::checkpoint::manifest::{Manifest, OperatorState};
use crate::checkpoint::progress::Transfer;
use crate::checkpoint::restore;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ActionId, JobId, SnapshotId};
use crate::metadata::{Action, ActionKind, Job, Snapshot, SnapshotFormat, SnapshotKind, SnapshotStatus};
use crate::state::RestoredState;
use crate::state::inspect::{TableKeys, inspect};
use crate::storage::Store;

/// How often a drill begins anew because its checkpoint was retired meanwhile.
const MAX_TRIES: u32 = 3;

/// Body of `POST /jobs/{id}/drill`.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillRequest {
    /// A snapshot's id; default: the one that the job would go on from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// What a drill found. Every length and hash was right and every state could be opened; else the drill fails.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct DrillReport {
    pub snapshot_id: String,
    pub checkpoint_id: u64,
    pub kind: SnapshotKind,
    pub location: String,
    pub state_bytes: u64,
    pub files: u64,
    /// Reading the manifest.
    pub manifest_ms: u64,
    /// Downloading and verifying all files.
    pub download_ms: u64,
    /// Opening the states and reading every key.
    pub open_ms: u64,
    /// All of it.
    pub total_ms: u64,
    pub keys: u64,
    pub operators: Vec<OperatorDrill>,
}

/// One operator's part.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct OperatorDrill {
    pub id: String,
    pub name: String,
    pub subtasks: u64,
    pub state_bytes: u64,
    /// Keys of each table of its keyed state, over all subtasks.
    pub tables: Vec<TableKeys>,
}

impl JobService {
    /// Begins a drill.
    pub async fn drill(&self, job: &Job, request: &DrillRequest) -> Result<Action> {
        let wanted = request.snapshot.as_deref().map(str::parse::<SnapshotId>).transpose();
        let wanted = wanted.map_err(|e| e.at_pointer("/snapshot"))?;
        // Refused at once, not in the background.
        choose(self.context(), job.id, wanted).await?;
        let (context, id) = (Arc::clone(self.context()), job.id);
        action::begin(self.context(), ActionKind::Drill, Some(job.id), move |action| {
            Box::pin(async move {
                let report = drill(&context, id, wanted, action).await?;
                serde_json::to_value(report).map_err(|e| Error::internal("encoding a report failed").caused_by(&e))
            })
        })
        .await
    }
}

/// The scratch folders of this instance's drills.
fn scratch_root(context: &Context) -> PathBuf {
    context.settings.work_dir.join("drills").join(context.owner())
}

/// At the start: removes what drills left when this instance ended.
pub async fn sweep(context: &Context) {
    let root = scratch_root(context);
    match tokio::fs::remove_dir_all(&root).await {
        Ok(()) => tracing::info!(dir = %root.display(), "removed what interrupted drills left"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(dir = %root.display(), %error, "removing what interrupted drills left failed"),
    }
}

async fn choose(context: &Context, job: JobId, wanted: Option<SnapshotId>) -> Result<Snapshot> {
    let snapshot = find(context, job, wanted).await?;
    if snapshot.details.format != SnapshotFormat::Native {
        return Err(Error::conflict(
            "snapshot_not_native",
            format!("snapshot {} is not in RocksDB's own files, which a drill opens; verify it instead", snapshot.id),
        ));
    }
    Ok(snapshot)
}

async fn find(context: &Context, job: JobId, wanted: Option<SnapshotId>) -> Result<Snapshot> {
    let Some(id) = wanted else {
        let newest = context.metadata.latest_for_recovery(job).await?;
        return newest.ok_or_else(|| {
            Error::conflict("no_snapshot", "the job has no completed snapshot yet; wait for its first checkpoint")
        });
    };
    let snapshot = context.metadata.snapshot(id).await?;
    if snapshot.job_id != job {
        return Err(Error::not_found("snapshot_not_found", format!("snapshot {id} is not of job {job}")));
    }
    if snapshot.status != SnapshotStatus::Completed {
        return Err(Error::conflict("snapshot_not_completed", format!("snapshot {id} is {}", snapshot.status)));
    }
    Ok(snapshot)
}

async fn drill(
    context: &Arc<Context>,
    job: JobId,
    wanted: Option<SnapshotId>,
    action: ActionId,
) -> Result<DrillReport> {
    let mut tries = 0;
    loop {
        let snapshot = choose(context, job, wanted).await?;
        let dir = scratch_root(context).join(action.to_string());
        let result = restore_beside(context, &snapshot, &dir).await;
        if let Err(error) = tokio::fs::remove_dir_all(&dir).await {
            tracing::warn!(dir = %dir.display(), %error, "removing a drill's folder failed; the next start does it");
        }
        tries += 1;
        match result {
            // A running job retires its checkpoints; then it has a newer one.
            Err(error) if error.kind == ErrorKind::NotFound && wanted.is_none() && tries < MAX_TRIES => {
                tracing::info!(job.id = %job, %error, "the drill's checkpoint was retired meanwhile; taking the newest");
            }
            result => return result,
        }
    }
}

async fn restore_beside(context: &Arc<Context>, snapshot: &Snapshot, dir: &std::path::Path) -> Result<DrillReport> {
    crate::crash::point("drill-begun");
    let since = Instant::now();
    let (store, manifest) = restore::load(&context.store, &snapshot.location).await?;
    let manifest_ms = millis(since);
    let (mut download_ms, mut open_ms) = (0, 0);
    let mut operators = Vec::with_capacity(manifest.operators.len());
    for operator in &manifest.operators {
        let begun = Instant::now();
        let images = download(context, &store, &manifest, operator, dir).await?;
        download_ms += millis(begun);
        crate::crash::point("drill-downloaded");
        let begun = Instant::now();
        let mut tables: BTreeMap<String, u64> = BTreeMap::new();
        for image in images {
            for counted in open(context, image, manifest.settings.max_parallelism).await? {
                *tables.entry(counted.table).or_default() += counted.keys;
            }
        }
        open_ms += millis(begun);
        operators.push(OperatorDrill {
            id: operator.id.to_string(),
            name: operator.name.clone(),
            subtasks: operator.subtasks.len() as u64,
            state_bytes: operator
                .subtasks
                .iter()
                .filter_map(|s| s.keyed.as_ref())
                .flat_map(|k| &k.files)
                .map(|f| f.bytes)
                .sum(),
            tables: tables.into_iter().map(|(table, keys)| TableKeys { table, keys }).collect(),
        });
    }
    Ok(DrillReport {
        snapshot_id: manifest.snapshot_id.to_string(),
        checkpoint_id: manifest.checkpoint_id,
        kind: manifest.kind,
        location: snapshot.location.clone(),
        state_bytes: manifest.state_bytes(),
        files: manifest.files().count() as u64,
        manifest_ms,
        download_ms,
        open_ms,
        total_ms: millis(since),
        keys: operators.iter().flat_map(|o| &o.tables).map(|t| t.keys).sum(),
        operators,
    })
}

/// Downloads one operator's images as they were written: one per old subtask, verified.
async fn download(
    context: &Context,
    store: &Store,
    manifest: &Manifest,
    operator: &OperatorState,
    dir: &std::path::Path,
) -> Result<Vec<RestoredState>> {
    let keyed: Vec<_> =
        operator.subtasks.iter().filter_map(|s| s.keyed.clone().map(|k| vec![(s.subtask, k)])).collect();
    let plan = restore::OperatorPlan { operator_state: Vec::new(), keyed };
    let threads = context.settings.transfer_threads;
    let plan = [(operator.id, plan)].into();
    let dir = dir.join(manifest.snapshot_id.to_string());
    let local = restore::download(plan, store, &dir, threads, false, &Transfer::default()).await?;
    Ok(local.into_values().flat_map(|o| o.keyed).flatten().collect())
}

async fn open(context: &Arc<Context>, image: RestoredState, max_parallelism: u32) -> Result<Vec<TableKeys>> {
    let shared = Arc::clone(&context.shared_memory);
    let mut opened = image.dir.clone().into_os_string();
    opened.push("-opened");
    tokio::task::spawn_blocking(move || {
        let dir = PathBuf::from(opened);
        let counted = inspect(&image.dir, dir.clone(), image.key_groups, max_parallelism, &shared);
        // The next state needs the room; what is left goes with the whole folder.
        let _ = std::fs::remove_dir_all(dir);
        counted
    })
    .await
    .map_err(|e| Error::internal("opening a state panicked").caused_by(&e))?
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
