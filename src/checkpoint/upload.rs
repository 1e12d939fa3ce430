//! Stores a subtask's local image: new files as objects, small ones inside the manifest, known ones by reference.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt};

use super::manifest::{FileContent, INLINE_THRESHOLD_BYTES, KeyedState, StateFile, sha256_hex};
use crate::error::{Error, Result};
use crate::state::StateSnapshot;
use crate::storage::Store;

/// Files that earlier checkpoints of this attempt (or the restored one) already stored, by local name. Only `*.sst`
/// files are here: they never change under one name.
pub type KnownFiles = HashMap<String, StateFile>;

/// Where and how to store.
#[derive(Clone)]
pub struct Destination {
    pub store: Store,
    /// Prefix of new objects' keys; names attempt, checkpoint, operator and subtask, so that no key is ever reused.
    pub prefix: String,
    /// Parallel transfers.
    pub threads: usize,
}

/// An uploaded image.
#[derive(Debug)]
pub struct Uploaded {
    pub keyed: KeyedState,
    /// Bytes stored now, inline ones included.
    pub new_bytes: u64,
}

/// Stores `snapshot` and deletes its folder. `known` is empty for a savepoint, which must stand alone.
pub async fn upload(snapshot: StateSnapshot, destination: &Destination, known: Arc<KnownFiles>) -> Result<Uploaded> {
    let result = upload_files(&snapshot, destination, &known).await;
    let dir = snapshot.dir;
    // The image is only hard links; what is left of it goes with the attempt's folder.
    let _ = tokio::fs::remove_dir_all(&dir).await;
    result
}

async fn upload_files(snapshot: &StateSnapshot, destination: &Destination, known: &KnownFiles) -> Result<Uploaded> {
    let uploads: Vec<_> = snapshot
        .files
        .iter()
        .cloned()
        .map(|(name, bytes)| upload_file(&snapshot.dir, name, bytes, destination, known))
        .collect();
    let stored: Vec<(StateFile, u64)> =
        futures::stream::iter(uploads).buffered(destination.threads.max(1)).try_collect().await?;
    let new_bytes = stored.iter().map(|(_, new)| new).sum();
    let files = stored.into_iter().map(|(file, _)| file).collect();
    Ok(Uploaded { keyed: KeyedState { key_groups: snapshot.key_groups.clone(), files }, new_bytes })
}

async fn upload_file(
    dir: &Path,
    name: String,
    bytes: u64,
    to: &Destination,
    known: &KnownFiles,
) -> Result<(StateFile, u64)> {
    if let Some(file) = known.get(&name).filter(|f| f.bytes == bytes) {
        return Ok((file.clone(), 0));
    }
    let path = dir.join(&name);
    if bytes <= INLINE_THRESHOLD_BYTES {
        let content = tokio::fs::read(&path).await.map_err(|e| {
            Error::unavailable("snapshot_read", format!("reading {} of a local image failed", path.display()))
                .caused_by(&e)
        })?;
        let (sha256, bytes) = (sha256_hex(&content), content.len() as u64);
        return Ok((StateFile { name, bytes, sha256, content: FileContent::Inline(STANDARD.encode(&content)) }, bytes));
    }
    let key = format!("{}-{name}", to.prefix);
    let stored = to.store.put_file(&key, &path, None).await?;
    Ok((
        StateFile { name, bytes: stored.bytes, sha256: stored.sha256, content: FileContent::Object(key) },
        stored.bytes,
    ))
}

/// The files of a stored image that later checkpoints may reference.
pub fn shareable(keyed: &KeyedState) -> impl Iterator<Item = &StateFile> {
    keyed.files.iter().filter(|f| f.name.ends_with(".sst"))
}
