//! Compares what a manifest says with what the store has: lengths, and on request every hash.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;

use super::manifest::{FileContent, Manifest, StateFile, sha256_hex};
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

/// The state objects that a manifest needs, and how many bytes each must have at least.
pub fn needed(manifest: &Manifest) -> BTreeMap<String, u64> {
    let mut needed = BTreeMap::new();
    for file in manifest.files() {
        if let FileContent::Object(key) = &file.content {
            let bytes = needed.entry(key.clone()).or_insert(0);
            *bytes = file.bytes.max(*bytes);
        }
    }
    needed
}

/// Compares an object's length.
pub fn length_damage(key: &str, found: Option<u64>, needed: u64) -> Option<Damage> {
    let (kind, detail) = match found {
        None => (DamageKind::Missing, "it is not there".to_owned()),
        Some(found) if found < needed => {
            (DamageKind::WrongLength, format!("it has {found} bytes, but {needed} were stored"))
        }
        Some(_) => return None,
    };
    Some(Damage { kind, key: key.to_owned(), detail })
}

/// Reads a file's stored bytes and compares length and SHA-256; `Err` if the store does not answer.
pub async fn file_damage(file: &StateFile, manifest_key: &str, store: &Store) -> Result<Option<Damage>> {
    let (key, bytes, sha256) = match &file.content {
        FileContent::Inline(text) => {
            let content = STANDARD.decode(text).unwrap_or_default();
            (manifest_key, content.len() as u64, sha256_hex(&content))
        }
        FileContent::Object(key) => match store.hash(key).await {
            Ok(stored) => (key.as_str(), stored.bytes, stored.sha256),
            Err(e) if e.kind == ErrorKind::NotFound => return Ok(length_damage(key, None, file.bytes)),
            Err(e) => return Err(e),
        },
    };
    if bytes == file.bytes && sha256 == file.sha256 {
        return Ok(None);
    }
    let kind = if bytes == file.bytes { DamageKind::WrongHash } else { DamageKind::WrongLength };
    let detail = format!(
        "file {} has {bytes} bytes with SHA-256 {sha256}, but {} bytes with {} were stored",
        file.name, file.bytes, file.sha256
    );
    Ok(Some(Damage { kind, key: key.to_owned(), detail }))
}

/// Reads everything that a manifest names and lists what is damaged.
pub async fn damages(manifest: &Manifest, store: &Store, threads: usize) -> Result<Vec<Damage>> {
    // Collected first: a stream over a borrowing closure cannot be proven `Send`.
    let reads: Vec<_> = manifest.files().map(|f| file_damage(f, &manifest.key, store)).collect();
    let mut reads = futures::stream::iter(reads).buffer_unordered(threads.max(1));
    let mut found = Vec::new();
    while let Some(damage) = reads.next().await {
        found.extend(damage?);
    }
    found.sort_by(|a: &Damage, b: &Damage| a.key.cmp(&b.key));
    found.dedup();
    Ok(found)
}
