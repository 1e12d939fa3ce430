//! Writing to a `file://` store so that it survives the loss of power: stage, sync, link, sync the folders.
//!
//! A link (not a rename) publishes the object, because it fails if the name exists. Blocking calls run on tokio's
//! threads for them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::id::InstanceId;

use super::device;
use super::store_error::{file_corrupt, from_file, from_folder, missing, occupied};
use super::{PutOutcome, Stored};

/// Holds files that are being written; in the store's folder, because links do not cross file systems.
const STAGING: &str = ".staging";
/// After this, a staging file's writer is dead.
const STAGING_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Bytes read and written at once.
const BLOCK_BYTES: usize = 1 << 20;
/// How often a folder may vanish (by a deletion of its last object) while an object is put in it.
const MAX_LINK_ATTEMPTS: usize = 100;

/// The folder of a store.
#[derive(Debug, Clone)]
pub(super) struct LocalFolder {
    root: Arc<Path>,
}

impl LocalFolder {
    /// Creates the folder, and sweeps what crashed writers left.
    pub(super) async fn open(root: PathBuf) -> Result<LocalFolder> {
        blocking(move || {
            let failed = |e: io::Error| from_folder("creating", &root.display().to_string(), &e);
            let staging = root.join(STAGING);
            fs::create_dir_all(&staging).map_err(failed)?;
            let root = root.canonicalize().map_err(failed)?;
            // The new folder's own name must survive, too; not every folder above may be opened.
            for folder in root.ancestors().skip(1) {
                if File::open(folder).and_then(|f| f.sync_all()).is_err() {
                    break;
                }
            }
            sweep(&staging);
            Ok(LocalFolder { root: root.into() })
        })
        .await
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<PutOutcome> {
        let (folder, key) = (self.clone(), key.to_owned());
        blocking(move || {
            let staged = folder.stage(&key, |file| file.write_all(&bytes))?;
            folder.publish(&staged, &key)
        })
        .await
    }

    pub(super) async fn put_file(&self, key: &str, source: &Path, expected_sha256: Option<&str>) -> Result<Stored> {
        let (folder, key, source) = (self.clone(), key.to_owned(), source.to_owned());
        let expected_sha256 = expected_sha256.map(str::to_owned);
        blocking(move || {
            let mut reading = File::open(&source).map_err(|e| from_file("reading", &source, &e))?;
            let mut stored = None;
            let staged = folder.stage(&key, |file| {
                stored = Some(copy(&mut reading, file)?);
                Ok(())
            })?;
            let stored = stored.expect("staging succeeded");
            if expected_sha256.is_some_and(|expected| expected != stored.sha256) {
                return Err(file_corrupt(&source, "is not what it was when it was written"));
            }
            match folder.publish(&staged, &key)? {
                PutOutcome::Created => Ok(stored),
                PutOutcome::Exists => {
                    let object = folder.root.join(&key);
                    let failed = |e: io::Error| from_folder("reading", &object.display().to_string(), &e);
                    let there = copy(&mut File::open(&object).map_err(failed)?, &mut io::sink()).map_err(failed)?;
                    if there == stored { Ok(stored) } else { Err(occupied(&object.display().to_string())) }
                }
            }
        })
        .await
    }

    /// Copies an object to a file; returns what was copied.
    pub(super) async fn get_to_file(&self, key: &str, target: &Path) -> Result<Stored> {
        let (object, target) = (self.root.join(key), target.to_owned());
        blocking(move || {
            let failed = |e: io::Error| match e.kind() {
                io::ErrorKind::NotFound => missing(&object.display().to_string()),
                _ => from_folder("reading", &object.display().to_string(), &e),
            };
            let mut reading = File::open(&object).map_err(failed)?;
            let mut writing = create_file(&target)?;
            copy(&mut reading, &mut writing).map_err(|e| from_file("copying an object to", &target, &e))
        })
        .await
    }

    /// Reads an object through.
    pub(super) async fn digest(&self, key: &str) -> Result<Stored> {
        let object = self.root.join(key);
        blocking(move || {
            let failed = |e: io::Error| match e.kind() {
                io::ErrorKind::NotFound => missing(&object.display().to_string()),
                _ => from_folder("reading", &object.display().to_string(), &e),
            };
            copy(&mut File::open(&object).map_err(failed)?, &mut io::sink()).map_err(failed)
        })
        .await
    }

    /// Writes a synced staging file.
    fn stage(&self, key: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<Staged> {
        let path = self.root.join(STAGING).join(InstanceId::generate().to_string());
        let create = || File::create_new(&path);
        let written = create()
            .or_else(|e| match e.kind() {
                // The last object's deletion removes empty folders.
                io::ErrorKind::NotFound => fs::create_dir_all(self.root.join(STAGING)).and_then(|()| create()),
                _ => Err(e),
            })
            .and_then(|mut file| {
                let staged = Staged(path.clone());
                write(&mut file)?;
                file.sync_all()?;
                Ok(staged)
            });
        written.map_err(|e| from_folder("storing", &self.root.join(key).display().to_string(), &e))
    }

    /// Gives a staging file its name unless that is taken, and syncs the folders above it.
    fn publish(&self, staged: &Staged, key: &str) -> Result<PutOutcome> {
        let object = self.root.join(key);
        let failed = |e: io::Error| from_folder("storing", &object.display().to_string(), &e);
        let parent = object.parent().expect("an object lies in the store's folder");
        let mut attempts = 0;
        let outcome = loop {
            attempts += 1;
            // A folder that vanishes shows as missing, or as existing while it is created.
            let may_have_vanished =
                |e: &io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists);
            match fs::create_dir_all(parent) {
                Ok(()) => {}
                Err(e) if may_have_vanished(&e) && attempts < MAX_LINK_ATTEMPTS => continue,
                Err(e) => return Err(failed(e)),
            }
            match fs::hard_link(&staged.0, &object) {
                Ok(()) => break PutOutcome::Created,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => break PutOutcome::Exists,
                Err(e) if may_have_vanished(&e) && attempts < MAX_LINK_ATTEMPTS => {}
                Err(e) => return Err(failed(e)),
            }
        };
        // If it exists, its writer may not have come this far.
        for folder in parent.ancestors().take_while(|folder| folder.starts_with(&*self.root)) {
            File::open(folder).and_then(|f| f.sync_all()).map_err(failed)?;
        }
        Ok(outcome)
    }
}

/// A staging file; removed when dropped, its published link stays.
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        // What cannot be removed is swept later.
        let _ = fs::remove_file(&self.0);
    }
}

fn sweep(staging: &Path) {
    let entries = fs::read_dir(staging).into_iter().flatten().flatten();
    for entry in entries {
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|modified| modified.elapsed().ok());
        if age.is_some_and(|age| age > STAGING_LIFETIME) {
            // Swept the next time, else.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Creates or replaces a working file, and its folders.
pub(super) fn create_file(path: &Path) -> Result<File> {
    let create = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(path)
    };
    create().map_err(|e| from_file("creating", path, &e))
}

/// Copies all bytes and takes their SHA-256.
pub(super) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<Stored> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    loop {
        let part = match from.read(&mut block) {
            Ok(0) => return Ok(Stored { bytes, sha256: hex::encode(hasher.finalize()) }),
            Ok(n) => block.get(..n).ok_or(io::ErrorKind::InvalidData)?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(part);
        to.write_all(part)?;
        bytes += part.len() as u64;
    }
}

/// Runs file I/O where it may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::internal("a file operation did not end").caused_by(&e)),
    }
}

/// Whether the folder lies on a file system that keeps its files in memory; false where that cannot be told.
pub(super) fn is_in_memory(folder: &Path) -> bool {
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| {
        device::find(folder, &mounts).is_some_and(|d| matches!(d.file_system.as_str(), "tmpfs" | "ramfs" | "devtmpfs"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_staging_files_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let modified = fs::metadata(folder.path()).unwrap().modified().unwrap() - 2 * STAGING_LIFETIME;
        File::create(&old).unwrap().set_modified(modified).unwrap();
        File::create(&new).unwrap();
        sweep(folder.path());
        assert_eq!((old.exists(), new.exists()), (false, true));
    }
}
