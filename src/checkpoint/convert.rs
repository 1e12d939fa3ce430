//! A native savepoint's copy in the canonical format. Its images are restored to the local disk one after another, and
//! their entries go from there to the target.

use std::sync::Arc;

use super::canonical::upload_entries;
use super::copy::{CopyTarget, store_manifest};
use super::manifest::Manifest;
use super::progress::Transfer;
use super::restore::download_image;
use super::upload::{DEFAULT_INLINE_THRESHOLD_BYTES, Destination};
use super::{manifest_key, savepoint_prefix};
use crate::error::Result;
use crate::metadata::{SnapshotFormat, SnapshotKind};
use crate::state::{SharedMemory, StateSnapshot};
use crate::storage::Store;

/// Writes the state of `manifest`, whose objects lie in `from`, as entries; answers the copy's manifest, which is stored.
pub async fn convert(
    from: &Store,
    manifest: &Manifest,
    to: &CopyTarget<'_>,
    shared: &Arc<SharedMemory>,
    progress: &Arc<Transfer>,
) -> Result<Manifest> {
    let mut converted = manifest.clone();
    (converted.snapshot_id, converted.kind) = (to.id, SnapshotKind::Savepoint);
    converted.format = SnapshotFormat::Canonical;
    converted.key = manifest_key(SnapshotKind::Savepoint, manifest.job_id, to.id, 0, 0);
    // What is read; what is written is known when it is there.
    progress.expect(manifest.state_bytes());
    for operator in &mut converted.operators {
        for subtask in &mut operator.subtasks {
            let Some(image) = &subtask.keyed else { continue };
            let dir = to.scratch.join(format!("{}-{}", operator.id, subtask.subtask));
            download_image(image, from, &dir, to.threads, progress).await?;
            let image = StateSnapshot { dir, files: Vec::new(), key_groups: image.key_groups.clone() };
            let destination = Destination {
                store: to.store.clone(),
                prefix: format!("{}/state/{}-{}", savepoint_prefix(to.id), operator.id, subtask.subtask),
                threads: to.threads,
                inline_threshold_bytes: DEFAULT_INLINE_THRESHOLD_BYTES,
                keep: None,
                progress: Arc::clone(progress),
            };
            subtask.keyed = Some(upload_entries(image, &destination, Arc::clone(shared)).await?.keyed);
        }
    }
    store_manifest(to.store, &converted).await?;
    Ok(converted)
}
