//! Stores a subtask's state in the canonical format: its entries go from the local image to files, one after another, and
//! from there to the store. Only a file or two are on the disk at a time, and nothing but an entry in memory.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::manifest::{KeyedState, StateFile};
use super::upload::{Destination, MAX_INLINE_BYTES, Part, Uploaded, store_part};
use crate::error::{Error, Result};
use crate::state::{SharedMemory, StateSnapshot, canonical};

/// Files of entries that wait for being stored, besides the one that is being written.
const WAITING_FILES: usize = 1;

/// Stores the entries of `snapshot` and deletes its folder.
pub async fn upload_entries(
    snapshot: StateSnapshot,
    destination: &Destination,
    shared: Arc<SharedMemory>,
) -> Result<Uploaded> {
    let mut folder = snapshot.dir.clone().into_os_string();
    folder.push("-entries");
    let folder = PathBuf::from(folder);
    let (sender, parts) = mpsc::channel(WAITING_FILES);
    let (image, to) = (snapshot.dir.clone(), folder.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let gone = |_| Error::internal("nobody stores the entries any more");
        canonical::write(&image, &to, &shared, &mut |path| sender.blocking_send(path).map_err(gone))
    });
    let stored = store_files(parts, destination).await;
    let written = writing.await.map_err(|e| Error::internal("writing entries panicked").caused_by(&e));
    // What is left goes with the attempt's folder.
    let _ = tokio::fs::remove_dir_all(&folder).await;
    let _ = tokio::fs::remove_dir_all(&snapshot.dir).await;
    let files = stored?;
    written??;
    let new_bytes = files.iter().map(|f| f.bytes).sum();
    Ok(Uploaded { keyed: KeyedState { key_groups: snapshot.key_groups, files }, new_bytes })
}

async fn store_files(mut parts: mpsc::Receiver<PathBuf>, to: &Destination) -> Result<Vec<StateFile>> {
    let mut files = Vec::new();
    let mut inline_bytes = 0;
    while let Some(path) = parts.recv().await {
        let unreadable = |e: &std::io::Error| {
            Error::unavailable("snapshot_read", format!("reading {} failed", path.display())).caused_by(e)
        };
        let bytes = tokio::fs::metadata(&path).await.map_err(|e| unreadable(&e))?.len();
        to.progress.expect(bytes);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
            return Err(Error::internal("a file of entries has no name"));
        };
        let part = if bytes <= to.inline_threshold_bytes && inline_bytes + bytes <= MAX_INLINE_BYTES {
            inline_bytes += bytes;
            Part::Inline(name.to_owned())
        } else {
            Part::Alone(name.to_owned())
        };
        files.extend(store_part(folder, part, to).await?);
        tokio::fs::remove_file(&path).await.map_err(|e| unreadable(&e))?;
        to.progress.advance(bytes);
    }
    Ok(files)
}
