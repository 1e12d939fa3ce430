//! A snapshot's copy under another root: export, import. The copy is a savepoint that stands alone, whatever the
//! original was.
//!
//! Every file is verified against the original's manifest on the way, and the copy's manifest is stored last, if absent:
//! before it there is no savepoint, and a copy that is repeated writes the same bytes under the same keys.

use std::collections::BTreeMap;
use std::path::Path;

use futures::{FutureExt, StreamExt, TryStreamExt};

use super::manifest::{FileContent, Manifest, StateFile};
use super::progress::Transfer;
use super::restore::{damaged_pack, download_file, inline_bytes, packed_bytes};
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
    let objects = objects_of(manifest, to.id);
    let copies: Vec<_> = objects.values().map(|object| copy_object(from, object, to, progress).boxed()).collect();
    futures::stream::iter(copies).buffer_unordered(to.threads.max(1)).try_collect::<Vec<()>>().await?;
    for file in copied.files_mut() {
        match &mut file.content {
            FileContent::Inline(text) => {
                let text = std::mem::take(text);
                inline_bytes(file, &text)?;
                file.content = FileContent::Inline(text);
                progress.advance(file.bytes);
            }
            FileContent::Object(object) | FileContent::Packed { object, .. } => {
                let moved = objects.get(object.as_str()).ok_or_else(|| Error::internal("an object was not copied"))?;
                *object = moved.key.clone();
            }
        }
    }
    store_manifest(to.store, &copied).await?;
    Ok(copied)
}

/// Stores a copy's manifest, last of all. That the same one is there already is as good.
pub(super) async fn store_manifest(store: &Store, manifest: &Manifest) -> Result<()> {
    let bytes = manifest.encode()?;
    match store.put_if_absent(&manifest.key, bytes.clone()).await? {
        PutOutcome::Created => Ok(()),
        PutOutcome::Exists if store.get(&manifest.key).await? == bytes => Ok(()),
        PutOutcome::Exists => Err(occupied(store, &manifest.key)),
    }
}

/// An object, and the files that are wanted of it.
struct Object<'m> {
    /// Its new key.
    key: String,
    files: Vec<&'m StateFile>,
}

/// The objects that hold state files, by their keys. Numbers instead of names for packed ones: those of several
/// checkpoints may end alike.
fn objects_of(manifest: &Manifest, id: SnapshotId) -> BTreeMap<&str, Object<'_>> {
    let mut objects: BTreeMap<&str, Object<'_>> = BTreeMap::new();
    for operator in &manifest.operators {
        for subtask in &operator.subtasks {
            for file in subtask.keyed.iter().flat_map(|k| &k.files) {
                let packs = objects.len();
                match &file.content {
                    FileContent::Inline(_) => {}
                    FileContent::Object(object) => {
                        let key = state_key(id, operator.id, subtask.subtask, &file.name);
                        objects.insert(object, Object { key, files: vec![file] });
                    }
                    FileContent::Packed { object, .. } => {
                        let new = || Object {
                            key: format!("{}/state/{}-{packs}-pack", savepoint_prefix(id), operator.id),
                            files: Vec::new(),
                        };
                        objects.entry(object).or_insert_with(new).files.push(file);
                    }
                }
            }
        }
    }
    objects
}

async fn copy_object(from: &Store, object: &Object<'_>, to: &CopyTarget<'_>, progress: &Transfer) -> Result<()> {
    let Some(first) = object.files.first() else { return Ok(()) };
    match &first.content {
        FileContent::Inline(_) => {}
        FileContent::Object(_) => {
            // The key's last part is unique in the copy.
            let path = to.scratch.join(object.key.rsplit('/').next().unwrap_or(&object.key));
            download_file(first, from, path.clone()).await?;
            let stored = to.store.put_file(&object.key, &path, Some(&first.sha256)).await;
            // The caller removes the folder in any case.
            let _ = tokio::fs::remove_file(&path).await;
            stored?;
        }
        FileContent::Packed { object: packed, .. } => {
            let content = from.get(packed).await?;
            for file in &object.files {
                packed_bytes(file, &content).ok_or_else(|| damaged_pack(from, packed, file))?;
            }
            if to.store.put_if_absent(&object.key, content.clone()).await? == PutOutcome::Exists
                && to.store.get(&object.key).await? != content
            {
                return Err(occupied(to.store, &object.key));
            }
        }
    }
    progress.advance(object.files.iter().map(|f| f.bytes).sum());
    Ok(())
}

fn occupied(store: &Store, key: &str) -> Error {
    Error::conflict("object_exists", format!("{} is something else; nothing was replaced", store.uri_of(key)))
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
