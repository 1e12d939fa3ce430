//! Durable object storage: `file://`, `s3://`, `gs://`, `az://`, and `memory://` for tests.
//!
//! Invariants: 1. an object is never overwritten; 2. when a put returns, the object survives a crash and the loss of
//! power; 3. what is read back into a file is compared with its expected length and SHA-256 before the call returns;
//! 4. keys are relative paths of letters, digits and `.`, `_`, `=`, `-`; no part starts with a dot.
//!
//! On `file://` the crate `object_store` does not sync what it writes (0.13, `local.rs`), so writing is done here: the
//! bytes go to a staging file, are synced, and only then linked to their name, and the folders are synced up to the
//! store's root. Staging files that a crash left are swept a day later.
//!
//! Failures: a store that does not answer, in spite of retries, is `Unavailable` (`store_unavailable`,
//! `store_access_denied`); a missing object is `NotFound` (`object_missing`), which [`missing_is_corrupt`] turns into
//! `Corrupt` for callers that know it was there; wrong bytes are `Corrupt` (`object_corrupt`). Messages name the
//! operation and the object. A call that failed as unavailable may have had its effect: repeat it.

mod device;
#[cfg(test)]
pub(crate) mod faulty;
mod key;
mod local;
mod meter;
mod open;
mod requests;
mod store_error;
#[cfg(test)]
mod tests;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::{Error, Result};
use crate::id::InstanceId;

use local::LocalFolder;
use store_error::{from_read, from_write};

pub use device::{Device, device_of};
pub use requests::RequestCounts;
pub use store_error::missing_is_corrupt;

/// Largest object that [`Store::get`] returns; larger ones are read to a file.
pub const MAX_OBJECT_IN_MEMORY_BYTES: u64 = 256 << 20;

/// What [`Store::put_if_absent`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is stored.
    Created,
    /// There is an object with this key; nothing was changed. After a call that failed as unavailable it may be one's
    /// own: compare.
    Exists,
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub bytes: u64,
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    pub key: String,
    pub bytes: u64,
    pub modified_ms: i64,
}

/// A store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// Before each key in `objects`, with its `/`; empty for `file://`, whose root is the folder itself.
    prefix: String,
    /// URI of the root, without a `/` at its end.
    base: String,
    local: Option<LocalFolder>,
    is_durable: bool,
    requests: Arc<requests::Requests>,
}

impl Store {
    /// Opens a store: `file:///folder` (created), `s3://bucket/prefix`, `gs://…`, `az://…`, `memory://` (a new, empty
    /// one). Credentials and endpoints come from the environment, as the vendors' tools name them: `AWS_…`,
    /// `GOOGLE_…`, `AZURE_…`. Does not touch the network: see [`Store::probe`].
    pub async fn open(uri: &str) -> Result<Store> {
        let variables: Vec<_> =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Self::open_with(uri, variables).await
    }

    /// As [`Store::open`], with these variables instead of the environment's.
    pub async fn open_with(uri: &str, variables: Vec<(String, String)>) -> Result<Store> {
        open::open(uri, variables.into_iter().collect(), open::retry()).await
    }

    /// Stores an object unless there is one with this key.
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<PutOutcome> {
        let path = self.path(key)?;
        let transfer = self.requests.uploads.start();
        let size = bytes.len() as u64;
        let outcome = self.put_bytes(key, &path, bytes).await?;
        if outcome == PutOutcome::Created {
            transfer.done(size);
        }
        Ok(outcome)
    }

    async fn put_bytes(&self, key: &str, path: &object_store::path::Path, bytes: Bytes) -> Result<PutOutcome> {
        self.requests.put();
        if let Some(local) = &self.local {
            return local.put_if_absent(key, bytes).await;
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(path, PutPayload::from_bytes(bytes.clone()), options).await {
            Ok(_) => Ok(PutOutcome::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(PutOutcome::Exists),
            // Conditional puts are not repeated below: the answer may be lost, and a server that refuses a large body
            // may close the connection before its answer is read. What is there tells.
            Err(e) => match self.get(key).await {
                Ok(there) if there == bytes => Ok(PutOutcome::Created),
                Ok(_) => Ok(PutOutcome::Exists),
                Err(_) => Err(from_write("storing", &self.uri_of(key), e)),
            },
        }
    }

    /// Stores a local file, whose SHA-256 must be `expected_sha256` if given (`file_corrupt` if not; then nothing is
    /// stored). If the key has an object with the same bytes, that is as good; with other bytes it is a conflict
    /// (`object_exists`).
    pub async fn put_file(&self, key: &str, file: &Path, expected_sha256: Option<&str>) -> Result<Stored> {
        let path = self.path(key)?;
        let transfer = self.requests.uploads.start();
        let stored = match &self.local {
            Some(local) => {
                self.requests.put();
                local.put_file(key, file, expected_sha256).await
            }
            None => self.upload(key, &path, file, expected_sha256).await,
        }?;
        transfer.done(stored.bytes);
        Ok(stored)
    }

    /// Reads an object of at most [`MAX_OBJECT_IN_MEMORY_BYTES`].
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let path = self.path(key)?;
        let read = |e| from_read("reading", &self.uri_of(key), e);
        self.requests.get();
        let transfer = self.requests.downloads.start();
        let result = self.objects.get(&path).await.map_err(read)?;
        if result.meta.size > MAX_OBJECT_IN_MEMORY_BYTES {
            let message =
                format!("{} has {} bytes: too many to be what was expected", self.uri_of(key), result.meta.size);
            return Err(Error::corrupt("object_corrupt", message));
        }
        let bytes = result.bytes().await.map_err(read)?;
        transfer.done(bytes.len() as u64);
        Ok(bytes)
    }

    /// Reads an object to a local file (replaced; its folders are created), which has the expected length and SHA-256
    /// when this returns; on a mismatch (`object_corrupt`) the file is removed. The file is not synced.
    pub async fn get_to_file(&self, key: &str, file: &Path, expected_bytes: u64, expected_sha256: &str) -> Result<()> {
        let path = self.path(key)?;
        let transfer = self.requests.downloads.start();
        let found = match &self.local {
            Some(local) => {
                self.requests.get();
                local.get_to_file(key, file).await
            }
            None => self.download(key, &path, file, expected_bytes).await,
        };
        let found = match found {
            Ok(found) if found.bytes == expected_bytes && found.sha256 == expected_sha256 => {
                transfer.done(found.bytes);
                return Ok(());
            }
            Ok(found) => Err(Error::corrupt(
                "object_corrupt",
                format!(
                    "{} is not what was stored: it has {} bytes with SHA-256 {}, but {expected_bytes} bytes with {expected_sha256} were expected",
                    self.uri_of(key),
                    found.bytes,
                    found.sha256
                ),
            )),
            Err(error) => Err(error),
        };
        // Missing already, or of no use.
        let _ = tokio::fs::remove_file(file).await;
        found
    }

    /// Reads an object through, whatever its size, and answers what it is.
    pub async fn digest(&self, key: &str) -> Result<Stored> {
        let path = self.path(key)?;
        match &self.local {
            Some(local) => local.digest(key).await,
            None => self.digest_remote(key, &path).await,
        }
    }

    /// All objects below a folder (`""` = all), in no particular order; files that are not objects are left out.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let folder = prefix.strip_suffix('/').unwrap_or(prefix);
        let path = match (folder, self.prefix.strip_suffix('/')) {
            ("", None) => None,
            ("", Some(root)) => Some(object_store::path::Path::from(root)),
            _ => Some(self.path(folder)?),
        };
        self.requests.list();
        let listing = self.objects.list(path.as_ref()).try_collect::<Vec<_>>().await;
        let listing = listing.map_err(|e| from_write("listing", &self.uri_of(prefix), e))?;
        Ok(listing
            .into_iter()
            .filter_map(|object| {
                let key = object.location.as_ref().strip_prefix(&self.prefix)?;
                key::check(key).ok()?;
                Some(ObjectInfo {
                    key: key.to_owned(),
                    bytes: object.size,
                    modified_ms: object.last_modified.timestamp_millis(),
                })
            })
            .collect())
    }

    /// Deletes objects; missing ones are fine. All are tried, then the first failure is returned.
    pub async fn delete(&self, keys: &[String]) -> Result<()> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>>>()?;
        if paths.is_empty() {
            return Ok(());
        }
        let count = paths.len();
        self.requests.delete(count);
        let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let failures = self.objects.delete_stream(paths).filter_map(async |deleted| match deleted {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => None,
            Err(e) => Some(e),
        });
        match std::pin::pin!(failures).fold(None, async |first, e| first.or(Some(e))).await {
            None => Ok(()),
            Some(e) => Err(from_write(&format!("deleting {count} objects"), &self.base, e)),
        }
    }

    /// The length of an object, if there is one with this key.
    pub async fn length(&self, key: &str) -> Result<Option<u64>> {
        match self.objects.head(&self.path(key)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(from_read("looking for", &self.uri_of(key), e)),
        }
    }

    /// Whether there is an object with this key.
    pub async fn exists(&self, key: &str) -> Result<bool> {
        self.requests.get();
        match self.objects.head(&self.path(key)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(from_read("looking for", &self.uri_of(key), e)),
        }
    }

    /// How fast bytes were written and read lately, bytes per second; none before enough of them were.
    pub fn rates(&self) -> (Option<u64>, Option<u64>) {
        (self.requests.uploads.rate(), self.requests.downloads.rate())
    }

    /// Requests sent since the store was opened, by this handle and its clones.
    pub fn requests(&self) -> RequestCounts {
        self.requests.counts()
    }

    /// The URI of a key.
    pub fn uri_of(&self, key: &str) -> String {
        format!("{}/{key}", self.base)
    }

    /// The key of a URI, if it lies in this store.
    pub fn key_of(&self, uri: &str) -> Option<String> {
        let uri = open::normal_form(uri)?;
        let key = uri.strip_prefix(&self.base)?.strip_prefix('/')?;
        key::check(key).ok().map(|()| key.to_owned())
    }

    /// The URI of the store's root, without credentials.
    pub fn uri(&self) -> &str {
        &self.base
    }

    /// Whether what is stored outlives the machine's next restart: not in memory, nor in a folder of a memory file
    /// system.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// The folder of a `file://` store, without symbolic links.
    pub fn local_path(&self) -> Option<PathBuf> {
        self.local.as_ref().map(|local| local.root().to_owned())
    }

    /// Proves with an object of its own that the store can be written, read and deleted, and that it does not replace
    /// an object when asked not to; `store_unsafe` if it does, because checkpoints could then overwrite each other.
    pub async fn probe(&self) -> Result<()> {
        let key = format!("probe/{}", InstanceId::generate());
        let probed = self.probe_with(&key).await;
        let deleted = self.delete(std::slice::from_ref(&key)).await;
        probed?;
        deleted?;
        match self.exists(&key).await? {
            false => Ok(()),
            true => Err(Error::invalid("store_unsafe", format!("the store {} does not delete objects", self.base))),
        }
    }

    async fn probe_with(&self, key: &str) -> Result<()> {
        let refuse = |what: &str| {
            let message =
                format!("the store {} {what}: use one that supports conditional puts (If-None-Match)", self.base);
            Err(Error::invalid("store_unsafe", message))
        };
        let first = Bytes::from_static(b"holdfast probe: first");
        if self.put_if_absent(key, first.clone()).await? != PutOutcome::Created {
            return refuse("has an object with a key that was never used");
        }
        if self.put_if_absent(key, Bytes::from_static(b"holdfast probe: second")).await? != PutOutcome::Exists {
            return refuse("replaces objects although it was told not to");
        }
        if self.get(key).await? != first {
            return refuse("does not return what was stored");
        }
        match self.list("probe").await?.iter().any(|object| object.key == key) {
            true => Ok(()),
            false => refuse("does not list what was stored"),
        }
    }

    fn path(&self, key: &str) -> Result<object_store::path::Path> {
        key::check(key)?;
        Ok(object_store::path::Path::from(format!("{}{key}", self.prefix)))
    }
}
