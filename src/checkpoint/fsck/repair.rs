//! Carries out what was decided, looking once more before anything is deleted.

use std::collections::{HashMap, HashSet};

use super::Problem;
use super::decide::Fix;
use super::facts::{self, Facts};
use crate::checkpoint::deletion::finish_deletions;
use crate::checkpoint::is_manifest;
use crate::clock::now_ms;
use crate::crash;
use crate::error::{Error, Result};
use crate::id::SnapshotId;
use crate::metadata::{Metadata, SnapshotStatus};
use crate::storage::Store;

use super::ProblemKind;

/// Repairs; answers for each problem whether it is gone.
pub(super) async fn repair(
    metadata: &Metadata,
    store: &Store,
    facts: &Facts,
    problems: &[Problem],
) -> Result<Vec<bool>> {
    check_store(facts, store)?;
    if problems.iter().any(|p| p.fix == Fix::FinishDeletions) {
        finish_deletions(metadata, store).await?;
    }
    crash::point("fsck-deletions");
    let failed = fail_snapshots(metadata, problems).await?;
    crash::point("fsck-snapshots");
    let deleted = delete_orphans(metadata, store, facts, problems).await?;
    let left = match problems.iter().any(|p| p.fix == Fix::FinishDeletions) {
        true => Left::read(metadata).await?,
        false => Left::default(),
    };
    Ok(problems
        .iter()
        .map(|p| match &p.fix {
            Fix::None => false,
            Fix::DeleteObject(key) => deleted.contains(key),
            Fix::FailSnapshot(id) => failed.contains(id),
            Fix::FinishDeletions => !left.has(p),
        })
        .collect())
}

/// Refuses to repair when nothing of what the database knows is in this store: then one of the two is the wrong one.
fn check_store(facts: &Facts, store: &Store) -> Result<()> {
    let own = facts.snapshots.iter().filter(|s| s.row.status == SnapshotStatus::Completed && s.key.is_some());
    let (mut known, mut found) = (0, 0);
    for snapshot in own {
        known += 1;
        found += usize::from(snapshot.key.as_ref().is_some_and(|k| facts.objects.contains_key(k)));
    }
    if known > 0 && found == 0 {
        return Err(Error::conflict(
            "fsck_wrong_store",
            format!(
                "none of the {known} completed snapshots that the database knows is in {}: is it the right store, and mounted? Nothing was changed",
                store.uri()
            ),
        ));
    }
    Ok(())
}

async fn fail_snapshots(metadata: &Metadata, problems: &[Problem]) -> Result<HashSet<SnapshotId>> {
    let mut reasons: HashMap<SnapshotId, &Problem> = HashMap::new();
    for problem in problems {
        if let Fix::FailSnapshot(id) = problem.fix {
            reasons.entry(id).or_insert(problem);
        }
    }
    let mut failed = HashSet::new();
    for (id, problem) in reasons {
        let object = problem.object.as_deref().unwrap_or_default();
        let reason = format!("fsck: {object}: {}", problem.detail);
        let changed = match problem.kind {
            ProblemKind::AbandonedSnapshot => metadata.fail_snapshot(id, &reason, now_ms()).await?,
            _ => metadata.fail_completed(id, &reason).await?,
        };
        if changed {
            tracing::warn!(snapshot.id = %id, reason, "fsck set a snapshot to FAILED");
            failed.insert(id);
        }
    }
    Ok(failed)
}

/// Deletes orphans, without what was published or finished meanwhile.
async fn delete_orphans(
    metadata: &Metadata,
    store: &Store,
    facts: &Facts,
    problems: &[Problem],
) -> Result<HashSet<String>> {
    let orphans: Vec<&String> = problems
        .iter()
        .filter_map(|p| match &p.fix {
            Fix::DeleteObject(key) => Some(key),
            _ => None,
        })
        .collect();
    if orphans.is_empty() {
        return Ok(HashSet::new());
    }
    let needed = facts::published_since(metadata, store, facts).await?;
    let (manifests, state): (Vec<String>, Vec<String>) =
        orphans.into_iter().filter(|k| !needed.contains(*k)).cloned().partition(|k| is_manifest(k));
    store.delete(&state).await?;
    crash::point("fsck-orphans");
    store.delete(&manifests).await?;
    tracing::info!(count = state.len() + manifests.len(), "fsck deleted objects that nothing references");
    Ok(state.into_iter().chain(manifests).collect())
}

/// What is still marked as being deleted.
#[derive(Default)]
struct Left {
    jobs: HashSet<crate::id::JobId>,
    snapshots: HashSet<SnapshotId>,
}

impl Left {
    async fn read(metadata: &Metadata) -> Result<Left> {
        Ok(Left {
            jobs: metadata.jobs_being_deleted().await?.into_iter().collect(),
            snapshots: metadata.deleting().await?.into_iter().map(|s| s.id).collect(),
        })
    }
    fn has(&self, problem: &Problem) -> bool {
        match problem.snapshot_id {
            Some(id) => self.snapshots.contains(&id),
            None => problem.job_id.is_some_and(|id| self.jobs.contains(&id)),
        }
    }
}
