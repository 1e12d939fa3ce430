//! Reads a whole snapshot and compares every byte with what was written.

use std::collections::BTreeMap;

use futures::StreamExt;

use super::manifest::{FileContent, Manifest, StateFile};
use super::progress::Transfer;
use super::restore::{self, inline_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Store;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Verification {
    /// Whether everything is what was written.
    pub intact: bool,
    /// Objects that were read, the manifest included.
    pub objects: u64,
    /// Bytes of state that were read.
    pub bytes: u64,
    /// Every object that is not what was written.
    pub damaged: Vec<Damage>,
}

/// A damaged object.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Damage {
    /// Its URI.
    pub object: String,
    pub problem: DamageKind,
    pub detail: String,
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DamageKind {
    /// There is no such object.
    Missing,
    /// It has another number of bytes.
    WrongLength,
    /// It has as many bytes, but others.
    WrongHash,
    /// It is the manifest, and cannot be understood.
    Unreadable,
}

/// Verifies the snapshot at `location`. Damage is a finding, not an error; errors are those of a store that does not
/// answer.
pub async fn verify(own: &Store, location: &str, threads: usize, progress: &Transfer) -> Result<Verification> {
    let (store, manifest) = match restore::load(own, location).await {
        Ok(loaded) => loaded,
        Err(error) => {
            let problem = match error.kind {
                ErrorKind::NotFound => DamageKind::Missing,
                ErrorKind::Corrupt => DamageKind::Unreadable,
                _ => return Err(error),
            };
            let damaged = vec![Damage { object: location.to_owned(), problem, detail: error.message }];
            return Ok(Verification { objects: 1, damaged, ..Verification::default() });
        }
    };
    progress.expect(manifest.state_bytes());
    let mut checks = futures::stream::iter(manifest.files())
        .map(|file| check(&store, &manifest, file, progress))
        .buffer_unordered(threads.max(1));
    let mut objects = 1;
    let mut damaged = BTreeMap::new();
    while let Some(checked) = checks.next().await {
        let (is_object, damage) = checked?;
        objects += u64::from(is_object);
        if let Some(damage) = damage {
            damaged.insert(damage.object.clone(), damage);
        }
    }
    let damaged: Vec<Damage> = damaged.into_values().collect();
    Ok(Verification { intact: damaged.is_empty(), objects, bytes: manifest.state_bytes(), damaged })
}

/// Whether the file is an object of its own, and what is wrong with it.
async fn check(
    store: &Store,
    manifest: &Manifest,
    file: &StateFile,
    progress: &Transfer,
) -> Result<(bool, Option<Damage>)> {
    let (key, found) = match &file.content {
        FileContent::Inline(text) => {
            let uri = store.uri_of(&manifest.key);
            let damage = |e: Error| Damage { object: uri, problem: DamageKind::WrongHash, detail: e.message };
            progress.advance(file.bytes);
            return Ok((false, inline_bytes(file, text).err().map(damage)));
        }
        FileContent::Object(key) => (key, store.digest(key).await),
    };
    progress.advance(file.bytes);
    let damage = |problem, detail| Damage { object: store.uri_of(key), problem, detail };
    let damage = match found {
        Ok(found) if found.bytes != file.bytes => {
            Some(damage(DamageKind::WrongLength, format!("it has {} bytes, {} were written", found.bytes, file.bytes)))
        }
        Ok(found) if found.sha256 != file.sha256 => Some(damage(
            DamageKind::WrongHash,
            format!("its SHA-256 is {}, that of what was written is {}", found.sha256, file.sha256),
        )),
        Ok(_) => None,
        Err(error) if error.kind == ErrorKind::NotFound => Some(damage(DamageKind::Missing, error.message)),
        Err(error) => return Err(error),
    };
    Ok((true, damage))
}
