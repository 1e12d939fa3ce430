//! Reads a whole snapshot and compares every byte with what was written.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt};

use super::manifest::{FileContent, StateFile};
use super::progress::Transfer;
use super::restore::{self, inline_bytes, packed_bytes};
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
    let mut objects: BTreeMap<&str, Vec<&StateFile>> = BTreeMap::new();
    let mut damaged = Vec::new();
    for file in manifest.files() {
        if let FileContent::Inline(text) = &file.content {
            progress.advance(file.bytes);
            let object = store.uri_of(&manifest.key);
            let damage = |e: Error| Damage { object, problem: DamageKind::WrongHash, detail: e.message };
            damaged.extend(inline_bytes(file, text).err().map(damage));
        } else if let Some(object) = file.content.object() {
            objects.entry(object).or_default().push(file);
        }
    }
    let count = objects.len() as u64 + 1;
    let checks: Vec<_> = objects.into_iter().map(|(key, files)| check(&store, key, files, progress).boxed()).collect();
    let mut checks = futures::stream::iter(checks).buffered(threads.max(1));
    while let Some(checked) = checks.next().await {
        damaged.extend(checked?);
    }
    Ok(Verification { intact: damaged.is_empty(), objects: count, bytes: manifest.state_bytes(), damaged })
}

/// What is wrong with an object that holds these files.
async fn check(store: &Store, key: &str, files: Vec<&StateFile>, progress: &Transfer) -> Result<Option<Damage>> {
    let damage = |problem, detail| Ok(Some(Damage { object: store.uri_of(key), problem, detail }));
    let length =
        |found, written| damage(DamageKind::WrongLength, format!("it has {found} bytes, {written} were written"));
    let Some(first) = files.first() else { return Ok(None) };
    let bytes = files.iter().map(|f| f.bytes).sum();
    let found = if let FileContent::Packed { object_bytes, .. } = &first.content {
        // Small enough for the memory by the way it is written.
        match store.get(key).await {
            Ok(content) if content.len() as u64 != *object_bytes => length(content.len() as u64, *object_bytes),
            Ok(content) => match files.iter().find(|file| packed_bytes(file, &content).is_none()) {
                Some(file) => damage(DamageKind::WrongHash, format!("the SHA-256 of {} in it is wrong", file.name)),
                None => Ok(None),
            },
            Err(error) => Err(error),
        }
    } else {
        match store.digest(key).await {
            Ok(found) if found.bytes != first.bytes => length(found.bytes, first.bytes),
            Ok(found) if found.sha256 != first.sha256 => damage(
                DamageKind::WrongHash,
                format!("its SHA-256 is {}, that of what was written is {}", found.sha256, first.sha256),
            ),
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        }
    };
    progress.advance(bytes);
    match found {
        Err(error) if error.kind == ErrorKind::NotFound => damage(DamageKind::Missing, error.message),
        found => found,
    }
}
