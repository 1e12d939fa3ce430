//! The checkpoint protocol: from acknowledgements to a published manifest, and back to open state.
//!
//! Life of a checkpoint; the numbers are the steps at which the crash tests stop the process:
//! 1. a row `IN_PROGRESS` with id and attempt, before any object exists;
//! 2. barriers flow;
//! 3. subtasks acknowledge with local images;
//! 4. new files are uploaded under keys that name the attempt;
//! 5. the manifest is put if absent;
//! 6. one transaction sets `COMPLETED` where id, attempt and `IN_PROGRESS` still match and the job is still ours:
//!    **the publication point**;
//! 7. sinks commit;
//! 8. older checkpoints are retired: row `DELETING`, state objects, manifest, row.
//!
//! Invariants: 1. an object's key is never reused and no object is overwritten; 2. a completed snapshot's objects are
//! deleted only after its row is `DELETING`, and only those that no other kept snapshot references; 3. what a crash
//! leaves behind lies under the job's own prefix and is swept when the job next starts.
//!
//! This module knows no threads and no channels; `job` carries acknowledgements here from `runtime`.

pub mod canonical;
pub mod convert;
pub mod copy;
pub mod deletion;
pub mod fsck;
pub mod local;
pub mod manifest;
#[cfg(test)]
mod model;
pub mod pending;
pub mod progress;
pub mod restore;
pub mod retention;
pub mod upload;
pub mod verify;

use crate::id::{JobId, SnapshotId};
use crate::metadata::{Snapshot, SnapshotKind};

/// Everything of a job but its savepoints lies under this prefix.
pub fn job_prefix(job: JobId) -> String {
    format!("jobs/{job}")
}

/// The key of a snapshot's manifest, relative to its store's root.
pub fn manifest_key(kind: SnapshotKind, job: JobId, snapshot: SnapshotId, checkpoint_id: u64, attempt: u64) -> String {
    match kind {
        SnapshotKind::Checkpoint => format!("{}/chk-{checkpoint_id}-{attempt}/_metadata", job_prefix(job)),
        SnapshotKind::Savepoint => format!("{}/_metadata", savepoint_prefix(snapshot)),
    }
}

/// Everything of a savepoint lies under this prefix.
pub fn savepoint_prefix(snapshot: SnapshotId) -> String {
    format!("savepoints/{snapshot}")
}

/// Keys of a snapshot's own state objects start with this.
pub fn state_prefix(snapshot: &Snapshot) -> String {
    match snapshot.kind {
        SnapshotKind::Checkpoint => {
            format!("{}/shared/{}-{}", job_prefix(snapshot.job_id), snapshot.attempt, snapshot.checkpoint_id)
        }
        SnapshotKind::Savepoint => format!("{}/state", savepoint_prefix(snapshot.id)),
    }
}

/// Whether a key is a manifest's.
pub fn is_manifest(key: &str) -> bool {
    key.ends_with("/_metadata")
}
