//! Compares the store with the database: what nobody references (orphans), what is referenced and not there (losses),
//! and what was begun and never ended. Repairs only when told to.
//!
//! Invariants: 1. without `repair` nothing is written anywhere; 2. nothing is deleted that a completed snapshot
//! references, now or at the moment of the deletion; 3. nothing is deleted that a running upload may have stored: the
//! prefix of an `IN_PROGRESS` row, an object younger than the age limit; 4. nothing is deleted of jobs and savepoints
//! that this database does not know, if there is a manifest: they may be another installation's, or this one's before
//! its database was lost; 5. if no completed snapshot's manifest is found, this is the wrong store, and nothing is
//! repaired.
//!
//! The store is listed first, then the rows are read: what is published in between is seen as referenced. A loss is
//! looked at again before it is reported.

mod decide;
pub(super) mod facts;
mod repair;

use std::collections::BTreeMap;

use utoipa::ToSchema;

use crate::error::Result;
use crate::id::{JobId, SnapshotId};
use crate::metadata::Metadata;
use crate::storage::Store;

pub use decide::{Fix, Problem};

/// Problems that a report lists one by one; all are counted and repaired.
pub const MAX_LISTED: usize = 1_000;
/// Age below which an unreferenced object is left alone, ms: longer than any upload that the database does not know of
/// (a process that lost its job and has not noticed).
pub const DEFAULT_MIN_AGE_MS: u64 = 3_600_000;
/// The same for objects of jobs and savepoints that the database does not know, ms.
pub const DEFAULT_UNKNOWN_MIN_AGE_MS: u64 = 86_400_000;

/// What to look at and what to do.
#[derive(Debug, Clone, Copy)]
pub struct FsckOptions {
    pub repair: bool,
    /// Read every object and compare its hash.
    pub deep: bool,
    pub min_age_ms: u64,
    pub unknown_min_age_ms: u64,
    /// Parallel requests.
    pub threads: usize,
}

/// Kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// An object that nothing references. Repair: it is deleted.
    OrphanObject,
    /// A completed snapshot's manifest is not there. Repair (of this and the following losses): the snapshot is set to
    /// `FAILED`, so that nothing starts from it.
    MissingManifest,
    /// A completed snapshot's manifest cannot be read.
    UnreadableManifest,
    /// A completed snapshot references an object that is not there.
    MissingObject,
    /// A completed snapshot references an object that is too short.
    WrongLength,
    /// A completed snapshot references an object with other bytes (found with `deep` only).
    WrongHash,
    /// A manifest that no row knows: another installation's, or the database was lost. Never repaired: import it, or
    /// recover the database from the store.
    ManifestWithoutRow,
    /// A snapshot in progress that nobody works on any more. Repair: it is set to `FAILED`.
    AbandonedSnapshot,
    /// A deletion that was begun and not finished. Repair: it is finished.
    UnfinishedDeletion,
    /// A snapshot lies in another store, which does not answer. Not repaired.
    UnreachableStore,
}

impl ProblemKind {
    /// Whether a completed snapshot cannot be restored.
    pub fn is_loss(self) -> bool {
        use ProblemKind::{MissingManifest, MissingObject, UnreadableManifest, WrongHash, WrongLength};
        matches!(self, MissingManifest | UnreadableManifest | MissingObject | WrongLength | WrongHash)
    }
}

/// A problem as the report lists it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct ListedProblem {
    pub kind: ProblemKind,
    /// URI of the object that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub job_id: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub snapshot_id: Option<SnapshotId>,
    pub detail: String,
    pub repaired: bool,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct FsckReport {
    /// Whether it was allowed to repair.
    pub repair: bool,
    /// Whether every object was read.
    pub deep: bool,
    /// Objects in the store, and their bytes.
    pub objects: u64,
    pub object_bytes: u64,
    /// Rows of snapshots, and how many are completed.
    pub snapshots: u64,
    pub completed_snapshots: u64,
    /// Unreferenced objects, and their bytes.
    pub orphans: u64,
    pub orphan_bytes: u64,
    /// Unreferenced objects that were left alone: too young, or of a snapshot in progress.
    pub spared_objects: u64,
    /// Objects that are not Holdfast's.
    pub foreign_objects: u64,
    /// Completed snapshots that cannot be restored.
    pub lost_snapshots: u64,
    /// Problems by kind.
    pub counts: BTreeMap<String, u64>,
    pub repaired: u64,
    /// Problems that are left after the repairs.
    pub left: u64,
    /// The first problems.
    pub problems: Vec<ListedProblem>,
}

/// Looks, and repairs if told to.
pub async fn fsck(metadata: &Metadata, store: &Store, options: &FsckOptions, now_ms: i64) -> Result<FsckReport> {
    let facts = facts::gather(metadata, store, options).await?;
    let decided = decide::decide(&facts, options, now_ms);
    let problems = facts::confirm(metadata, store, decided.problems).await?;
    let mut report = FsckReport {
        repair: options.repair,
        deep: options.deep,
        objects: facts.objects.len() as u64,
        object_bytes: facts.objects.values().map(|o| o.bytes).sum(),
        snapshots: facts.snapshots.len() as u64,
        completed_snapshots: facts.completed() as u64,
        spared_objects: decided.spared,
        foreign_objects: decided.foreign,
        ..FsckReport::default()
    };
    let repaired = match options.repair {
        true => repair::repair(metadata, store, &facts, &problems).await?,
        false => vec![false; problems.len()],
    };
    let mut lost = std::collections::HashSet::new();
    for (problem, repaired) in problems.iter().zip(&repaired) {
        let name = serde_json::to_value(problem.kind).ok().and_then(|v| v.as_str().map(str::to_owned));
        *report.counts.entry(name.unwrap_or_default()).or_default() += 1;
        if problem.kind == ProblemKind::OrphanObject {
            report.orphans += 1;
            report.orphan_bytes += problem.bytes;
        }
        if problem.kind.is_loss() {
            lost.extend(problem.snapshot_id);
        }
        report.repaired += u64::from(*repaired);
        report.left += u64::from(!*repaired);
    }
    report.lost_snapshots = lost.len() as u64;
    report.problems = problems
        .into_iter()
        .zip(repaired)
        .take(MAX_LISTED)
        .map(|(p, repaired)| ListedProblem {
            kind: p.kind,
            object: p.object.map(|o| if o.contains("://") { o } else { store.uri_of(&o) }),
            job_id: p.job_id,
            snapshot_id: p.snapshot_id,
            detail: p.detail,
            repaired,
        })
        .collect();
    Ok(report)
}
