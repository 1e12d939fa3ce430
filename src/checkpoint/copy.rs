//! A snapshot's copy under another root: export, import. The copy is a savepoint that stands alone, whatever the
//! original was.
//!
//! Every file is verified against the original's manifest on the way, and the copy's manifest is stored last, if absent:
//! before it there is no savepoint, and a copy that is repeated writes the same bytes under the same keys.

use std::path::Path;

use futures::{StreamExt, TryStreamExt};

use super::manifest::{FileContent, Manifest, StateFile};
use super::progress::Transfer;
use super::restore::{download_file, inline_bytes};
use super::{manifest_key, savepoint_prefix};
use crate::error::{Error, Result};
use crate::id::SnapshotId;
use crate::metadata::SnapshotKind;
use crate::storage::{PutOutcome, Store};

/// Where a copy goes.
pub struct CopyTarget<'a> {
    pub store: &'a Store,
    /// The copy's id.
    pub id: SnapshotId,
    /// A local folder for files on their way; the caller removes it.
    pub scratch: &'a Path,
    /// Parallel transfers.
    pub threads: usize,
}

/// The key of a state file of a savepoint.
pub fn state_key(id: SnapshotId, operator: crate::id::OperatorId, subtask: usize, file: &str) -> String {
    format!("{}/state/{operator}-{subtask}-{file}", savepoint_prefix(id))
}

/// Copies the objects of `manifest`, which lie in `from`, and answers the copy's manifest, which is stored.
pub async fn copy(from: &Store, manifest: &Manifest, to: &CopyTarget<'_>, progress: &Transfer) -> Result<Manifest> {
    let mut copied = manifest.clone();
    (copied.snapshot_id, copied.kind) = (to.id, SnapshotKind::Savepoint);
    copied.key = manifest_key(SnapshotKind::Savepoint, manifest.job_id, to.id, 0, 0);
    progress.expect(manifest.state_bytes());
    let mut files: Vec<(&mut StateFile, String)> = Vec::new();
    for operator in &mut copied.operators {
        for subtask in &mut operator.subtasks {
            for file in subtask.keyed.iter_mut().flat_map(|k| &mut k.files) {
                let key = state_key(to.id, operator.id, subtask.subtask, &file.name);
                files.push((file, key));
            }
        }
    }
    futures::stream::iter(files)
        .map(|(file, key)| copy_file(from, file, key, to, progress))
        .buffer_unordered(to.threads.max(1))
        .try_collect::<Vec<()>>()
        .await?;
    let bytes = copied.encode()?;
    match to.store.put_if_absent(&copied.key, bytes.clone()).await? {
        PutOutcome::Created => Ok(copied),
        PutOutcome::Exists if to.store.get(&copied.key).await? == bytes => Ok(copied),
        PutOutcome::Exists => Err(Error::conflict(
            "object_exists",
            format!("{} is another savepoint; nothing was replaced", to.store.uri_of(&copied.key)),
        )),
    }
}

async fn copy_file(
    from: &Store,
    file: &mut StateFile,
    key: String,
    to: &CopyTarget<'_>,
    progress: &Transfer,
) -> Result<()> {
    if let FileContent::Inline(text) = &file.content {
        inline_bytes(file, text)?;
    } else {
        // The key's last part is unique in the snapshot.
        let path = to.scratch.join(key.rsplit('/').next().unwrap_or(&key));
        download_file(file, from, path.clone()).await?;
        let stored = to.store.put_file(&key, &path, Some(&file.sha256)).await;
        // The caller removes the folder in any case.
        let _ = tokio::fs::remove_file(&path).await;
        stored?;
        file.content = FileContent::Object(key);
    }
    progress.advance(file.bytes);
    Ok(())
}

/// Removes what an unfinished copy left, unless a manifest says that the copy was finished.
pub async fn remove_unfinished(store: &Store, id: SnapshotId) -> Result<()> {
    let prefix = savepoint_prefix(id);
    if store.exists(&format!("{prefix}/_metadata")).await? {
        return Ok(());
    }
    let keys: Vec<String> = store.list(&format!("{prefix}/")).await?.into_iter().map(|o| o.key).collect();
    store.delete(&keys).await
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
