//! What `fsck` observes: the store's objects first, then the rows, then the manifests.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::StreamExt;

use super::decide::Problem;
use super::{FsckOptions, ProblemKind};
use crate::checkpoint::manifest::{FileContent, Manifest};
use crate::checkpoint::progress::Transfer;
use crate::checkpoint::verify::{Damage, DamageKind, verify};
use crate::checkpoint::{is_manifest, restore};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{JobId, SnapshotId};
use crate::metadata::{JobState, Metadata, Snapshot, SnapshotStatus};
use crate::storage::{ObjectInfo, Store};

/// Rows read at once.
const PAGE: u32 = 500;

/// Everything that the decisions need.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The own store's objects by key.
    pub objects: BTreeMap<String, ObjectInfo>,
    pub jobs: HashMap<JobId, JobState>,
    pub snapshots: Vec<SnapshotFacts>,
    /// Manifests in the store that no row knows, and what they need.
    pub unknown_manifests: BTreeMap<String, Vec<String>>,
}

/// A row, and what it needs.
#[derive(Debug)]
pub(super) struct SnapshotFacts {
    pub row: Snapshot,
    /// The manifest's key, if it lies in the own store.
    pub key: Option<String>,
    pub content: Content,
}

/// What is known of a snapshot's content.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// Not completed: nothing is needed.
    NotNeeded,
    /// The manifest was read: what it needs in its store, and what is wrong there.
    Read {
        needs: Vec<String>,
        damages: Vec<Damage>,
    },
    Missing,
    Unreadable(String),
    /// Its store does not answer.
    Unreachable(String),
}

impl Facts {
    pub(super) fn completed(&self) -> usize {
        self.snapshots.iter().filter(|s| s.row.status == SnapshotStatus::Completed).count()
    }
}

/// Observes. The order matters: what is published after the listing is not among the objects, but its row is.
pub(super) async fn gather(metadata: &Metadata, store: &Store, options: &FsckOptions) -> Result<Facts> {
    let objects: BTreeMap<String, ObjectInfo> = store.list("").await?.into_iter().map(|o| (o.key.clone(), o)).collect();
    let mut jobs = HashMap::new();
    let mut after = None;
    loop {
        let page = metadata.job_states(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        jobs.extend(page.into_iter().map(|j| (j.id, j)));
    }
    let rows = all_rows(metadata).await?;
    let known: HashSet<String> = rows.iter().filter_map(|row| store.key_of(&row.location)).collect();
    let mut snapshots = Vec::with_capacity(rows.len());
    for row in rows {
        let key = store.key_of(&row.location);
        let content = match row.status {
            SnapshotStatus::Completed => content(&row, key.as_deref(), store, &objects, options).await?,
            _ => Content::NotNeeded,
        };
        snapshots.push(SnapshotFacts { row, key, content });
    }
    let mut unknown_manifests = BTreeMap::new();
    for key in objects.keys().filter(|k| is_manifest(k) && !known.contains(*k)) {
        let needs = match store.get(key).await {
            Ok(bytes) => Manifest::decode(&bytes, key).map(|m| needed(&m).into_keys().collect()),
            Err(e) if e.kind == ErrorKind::NotFound => continue,
            Err(e) => Err(e),
        };
        unknown_manifests.insert(key.clone(), needs.unwrap_or_default());
    }
    Ok(Facts { objects, jobs, snapshots, unknown_manifests })
}

/// All snapshots' rows.
pub(super) async fn all_rows(metadata: &Metadata) -> Result<Vec<Snapshot>> {
    let mut rows: Vec<Snapshot> = Vec::new();
    loop {
        let page = metadata.all_snapshots(rows.last().map(|s| s.id), PAGE).await?;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page);
    }
}

async fn content(
    row: &Snapshot,
    key: Option<&str>,
    own: &Store,
    objects: &BTreeMap<String, ObjectInfo>,
    options: &FsckOptions,
) -> Result<Content> {
    let (store, manifest) = match restore::load(own, &row.location).await {
        Ok(loaded) => loaded,
        Err(error) => return unloaded(error, key.is_some()),
    };
    // A manifest that was copied elsewhere has a root of its own, which may lie in the own store too.
    let mut needs = Vec::new();
    let mut looks = Vec::new();
    let mut damages = Vec::new();
    for (key, bytes) in needed(&manifest) {
        let uri = store.uri_of(&key);
        match own.key_of(&uri) {
            Some(own_key) => {
                damages.extend(length_damage(&own_key, objects.get(&own_key).map(|o| o.bytes), bytes));
                needs.push(own_key);
            }
            None => looks.push(look(&store, uri, key, bytes)),
        }
    }
    if options.deep {
        let verified = verify(own, &row.location, options.threads, &Transfer::default()).await?;
        damages = verified.damaged;
        // By their keys, as the listing has them.
        for damage in &mut damages {
            damage.object = own.key_of(&damage.object).unwrap_or_else(|| damage.object.clone());
        }
    } else {
        let mut looks = futures::stream::iter(looks).buffer_unordered(options.threads.max(1));
        while let Some(damage) = looks.next().await {
            damages.extend(damage?);
        }
    }
    Ok(Content::Read { needs, damages })
}

async fn look(store: &Store, uri: String, key: String, bytes: u64) -> Result<Option<Damage>> {
    Ok(length_damage(&uri, store.length(&key).await?, bytes))
}

/// The state objects that a manifest needs, and how many bytes each has.
pub(in crate::checkpoint) fn needed(manifest: &Manifest) -> BTreeMap<String, u64> {
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
fn length_damage(key: &str, found: Option<u64>, needed: u64) -> Option<Damage> {
    let (problem, detail) = match found {
        None => (DamageKind::Missing, "it is not there".to_owned()),
        Some(found) if found != needed => {
            (DamageKind::WrongLength, format!("it has {found} bytes, but {needed} were stored"))
        }
        Some(_) => return None,
    };
    Some(Damage { object: key.to_owned(), problem, detail })
}

/// What it means that a manifest cannot be loaded. The own store must answer; another one may be away.
fn unloaded(error: Error, is_own: bool) -> Result<Content> {
    match error.kind {
        ErrorKind::NotFound => Ok(Content::Missing),
        ErrorKind::Corrupt | ErrorKind::Invalid => Ok(Content::Unreadable(error.to_string())),
        _ if is_own => Err(error),
        _ => Ok(Content::Unreachable(error.to_string())),
    }
}

/// Looks again at losses and interrupted work: the rows may have changed since, and objects that were stored after the
/// listing are there.
pub(super) async fn confirm(metadata: &Metadata, store: &Store, problems: Vec<Problem>) -> Result<Vec<Problem>> {
    let mut rows: HashMap<SnapshotId, Option<Snapshot>> = HashMap::new();
    let mut confirmed = Vec::with_capacity(problems.len());
    for problem in problems {
        let expected = match problem.kind {
            kind if kind.is_loss() => SnapshotStatus::Completed,
            ProblemKind::AbandonedSnapshot => SnapshotStatus::InProgress,
            _ => {
                confirmed.push(problem);
                continue;
            }
        };
        let Some(id) = problem.snapshot_id else { continue };
        if let std::collections::hash_map::Entry::Vacant(entry) = rows.entry(id) {
            entry.insert(match metadata.snapshot(id).await {
                Ok(row) => Some(row),
                Err(e) if e.kind == ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            });
        }
        let still = rows.get(&id).is_some_and(|row| row.as_ref().is_some_and(|r| r.status == expected));
        if still && is_still_lost(&problem, store).await? {
            confirmed.push(problem);
        }
    }
    Ok(confirmed)
}

async fn is_still_lost(problem: &Problem, store: &Store) -> Result<bool> {
    // Objects of the own store are named by their keys, all others and manifests by their URIs.
    let own = problem.object.as_deref().and_then(|o| match o.contains("://") {
        true => store.key_of(o),
        false => Some(o.to_owned()),
    });
    Ok(match (&problem.damage, own) {
        (Some(DamageKind::Missing), Some(key)) => store.length(&key).await?.is_none(),
        _ => true,
    })
}

/// Objects that completed snapshots need now, of those whose rows were not completed before: what was published while
/// `fsck` looked.
pub(super) async fn published_since(metadata: &Metadata, store: &Store, facts: &Facts) -> Result<HashSet<String>> {
    let before: HashSet<SnapshotId> =
        facts.snapshots.iter().filter(|s| s.row.status == SnapshotStatus::Completed).map(|s| s.row.id).collect();
    let mut needed = HashSet::new();
    for row in all_rows(metadata).await? {
        // What is in progress now may be published in a moment; its own prefix is spared anyway.
        let Some(key) = store.key_of(&row.location) else { continue };
        needed.insert(key);
        if row.status != SnapshotStatus::Completed || before.contains(&row.id) {
            continue;
        }
        let (there, manifest) = restore::load(store, &row.location).await?;
        needed.extend(manifest.object_keys().filter_map(|key| store.key_of(&there.uri_of(key))));
    }
    Ok(needed)
}
