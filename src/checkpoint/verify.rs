//! Compares what a manifest says with what the store has: lengths, and on request every hash.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;

use super::manifest::{FileContent, Manifest, StateFile, sha256_hex};
use super::restore::packed_bytes;
use crate::error::{ErrorKind, Result};
use crate::storage::Store;

/// What is wrong with a stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    Missing,
    WrongLength,
    WrongHash,
}

/// One damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub kind: DamageKind,
    pub key: String,
    pub detail: String,
}

/// The state objects that a manifest needs, and how many bytes each has.
pub fn needed(manifest: &Manifest) -> BTreeMap<String, u64> {
    let mut needed = BTreeMap::new();
    for file in manifest.files() {
        match &file.content {
            FileContent::Inline(_) => {}
            FileContent::Object(key) => drop(needed.insert(key.clone(), file.bytes)),
            FileContent::Packed { object, object_bytes, .. } => drop(needed.insert(object.clone(), *object_bytes)),
        }
    }
    needed
}

/// Compares an object's length.
pub fn length_damage(key: &str, found: Option<u64>, needed: u64) -> Option<Damage> {
    let (kind, detail) = match found {
        None => (DamageKind::Missing, "it is not there".to_owned()),
        Some(found) if found != needed => {
            (DamageKind::WrongLength, format!("it has {found} bytes, but {needed} were stored"))
        }
        Some(_) => return None,
    };
    Some(Damage { kind, key: key.to_owned(), detail })
}

/// Reads everything that a manifest names, each object once, and lists what is damaged; `Err` if the store does not
/// answer.
pub async fn damages(manifest: &Manifest, store: &Store, threads: usize) -> Result<Vec<Damage>> {
    let mut objects: BTreeMap<&str, Vec<&StateFile>> = BTreeMap::new();
    for file in manifest.files() {
        objects.entry(file.content.object().unwrap_or(&manifest.key)).or_default().push(file);
    }
    // Collected first: a stream over a borrowing closure cannot be proven `Send`.
    let reads: Vec<_> = objects.into_iter().map(|(key, files)| object_damage(key, files, store)).collect();
    let mut reads = futures::stream::iter(reads).buffer_unordered(threads.max(1));
    let mut found = Vec::new();
    while let Some(damage) = reads.next().await {
        found.extend(damage?);
    }
    found.sort_by(|a: &Damage, b: &Damage| a.key.cmp(&b.key));
    Ok(found)
}

/// What is wrong with an object that holds these files, if anything.
async fn object_damage(key: &str, files: Vec<&StateFile>, store: &Store) -> Result<Option<Damage>> {
    let mut pack = None;
    for file in files {
        let (bytes, sha256) = match &file.content {
            FileContent::Inline(text) => {
                let content = STANDARD.decode(text).unwrap_or_default();
                (content.len() as u64, sha256_hex(&content))
            }
            FileContent::Object(_) => match store.hash(key).await {
                Ok(stored) => (stored.bytes, stored.sha256),
                Err(e) if e.kind == ErrorKind::NotFound => return Ok(length_damage(key, None, file.bytes)),
                Err(e) => return Err(e),
            },
            FileContent::Packed { object_bytes, .. } => {
                let content = match pack.take() {
                    Some(content) => content,
                    None => match store.get(key).await {
                        Ok(content) => content,
                        Err(e) if e.kind == ErrorKind::NotFound => return Ok(length_damage(key, None, *object_bytes)),
                        Err(e) => return Err(e),
                    },
                };
                if let Some(damage) = length_damage(key, Some(content.len() as u64), *object_bytes) {
                    return Ok(Some(damage));
                }
                let is_right = packed_bytes(file, &content).is_some();
                pack = Some(content);
                if is_right { (file.bytes, file.sha256.clone()) } else { (file.bytes, "another".to_owned()) }
            }
        };
        if (bytes, &sha256) != (file.bytes, &file.sha256) {
            let kind = if bytes == file.bytes { DamageKind::WrongHash } else { DamageKind::WrongLength };
            let detail = format!(
                "file {} has {bytes} bytes with SHA-256 {sha256}, but {} bytes with {} were stored",
                file.name, file.bytes, file.sha256
            );
            return Ok(Some(Damage { kind, key: key.to_owned(), detail }));
        }
    }
    Ok(None)
}
