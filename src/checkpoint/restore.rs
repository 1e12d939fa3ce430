//! From a manifest back to open state: which old image goes to which new subtask, and the verified download.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{FutureExt, StreamExt, TryStreamExt};
use serde_json::Value;

use super::local::{LocalFiles, LocalImage, Transferred};
use super::manifest::{FileContent, KeyedState, Manifest, StateFile, sha256_hex};
use super::progress::Transfer;
use super::upload::{KnownFiles, shareable};
use crate::error::{Error, Result};
use crate::graph::{JobGraph, OperatorKind, key_group};
use crate::id::OperatorId;
use crate::metadata::SnapshotTrigger;
use crate::state::RestoredState;
use crate::storage::Store;

/// Name of a manifest's object in its folder.
const MANIFEST_NAME: &str = "_metadata";

/// Reads a manifest by its URI, or by its folder's, from `own` or from any other store; answers the store at its root.
pub async fn load(own: &Store, uri: &str) -> Result<(Store, Manifest)> {
    let trimmed = uri.trim_end_matches('/');
    let uri = if trimmed.ends_with(MANIFEST_NAME) { trimmed.to_owned() } else { format!("{trimmed}/{MANIFEST_NAME}") };
    if let Some(key) = own.key_of(&uri) {
        let manifest = Manifest::decode(&own.get(&key).await?, &uri)?;
        if manifest.key == key {
            return Ok((own.clone(), manifest));
        }
    }
    let folder = uri.trim_end_matches(MANIFEST_NAME).trim_end_matches('/');
    let near = open_existing(folder).await?;
    let mut manifest = Manifest::decode(&near.get(MANIFEST_NAME).await?, &uri)?;
    match uri.strip_suffix(manifest.key.as_str()) {
        Some(root) => Ok((open_existing(root.trim_end_matches('/')).await?, manifest)),
        // Copied elsewhere.
        None => {
            manifest.relocate(MANIFEST_NAME)?;
            Ok((near, manifest))
        }
    }
}

/// Opens a store that must be there already: a wrong `file://` URI must not create folders.
pub async fn open_existing(uri: &str) -> Result<Store> {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    if path.starts_with('/') && !tokio::fs::try_exists(path).await.unwrap_or(false) {
        return Err(Error::not_found("snapshot_not_found", format!("there is nothing at {uri}")));
    }
    Store::open(uri).await
}

/// One operator's restore: all old operator states, and per new subtask the old images that hold its key groups.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct OperatorPlan {
    pub operator_state: Vec<Value>,
    /// Per new subtask: (old subtask, image).
    pub keyed: Vec<Vec<(usize, KeyedState)>>,
}

/// What goes where.
pub type RestorePlan = HashMap<OperatorId, OperatorPlan>;

/// Decides what goes where. `parallelism_of` gives the new number of subtasks of an operator. State that no operator of
/// `graph` claims is an error with code `state_not_restored`, unless `allow_non_restored`.
pub fn plan(
    manifest: &Manifest,
    graph: &JobGraph,
    parallelism_of: impl Fn(OperatorId) -> usize,
    max_parallelism: u32,
    allow_non_restored: bool,
) -> Result<RestorePlan> {
    if manifest.settings.max_parallelism != max_parallelism {
        return Err(Error::invalid(
            "max_parallelism_changed",
            format!(
                "the snapshot has {} key groups and the job {max_parallelism}; set max_parallelism to {}",
                manifest.settings.max_parallelism, manifest.settings.max_parallelism
            ),
        ));
    }
    let known: std::collections::HashSet<OperatorId> =
        graph.vertices.iter().flat_map(|v| &v.operators).map(|o| o.id).collect();
    let mut plan = RestorePlan::new();
    for operator in &manifest.operators {
        let has_state = operator.subtasks.iter().any(|s| s.keyed.is_some() || s.operator_state.is_some())
            && !is_published_sink(manifest, operator.id);
        if !known.contains(&operator.id) {
            if has_state && !allow_non_restored {
                return Err(Error::conflict(
                    "state_not_restored",
                    format!(
                        "the snapshot has state of operator {} ({}), which the job does not have; set allow_non_restored_state to drop it",
                        operator.name, operator.id
                    ),
                ));
            }
            continue;
        }
        let parallelism = parallelism_of(operator.id);
        let subtasks = u32::try_from(parallelism).map_err(|_| Error::internal("parallelism is too large"))?;
        let mut entry = OperatorPlan {
            operator_state: operator.subtasks.iter().filter_map(|s| s.operator_state.clone()).collect(),
            keyed: vec![Vec::new(); parallelism],
        };
        for (new, images) in entry.keyed.iter_mut().enumerate() {
            let range = key_group::range_of(new, subtasks, max_parallelism);
            let overlapping = operator.subtasks.iter().filter_map(|s| s.keyed.as_ref().map(|k| (s.subtask, k)));
            images.extend(
                overlapping
                    .filter(|(_, k)| k.key_groups.start < range.end && range.start < k.key_groups.end)
                    .map(|(s, k)| (s, k.clone())),
            );
        }
        plan.insert(operator.id, entry);
    }
    Ok(plan)
}

/// Whether an operator is a sink whose output is all published: of the savepoint that a job stopped with, because the job
/// ends only when its sinks have committed. Dropping it loses nothing.
fn is_published_sink(manifest: &Manifest, id: OperatorId) -> bool {
    let operator = manifest.plan.vertices.iter().flat_map(|v| &v.operators).find(|o| o.id == id);
    manifest.trigger == SnapshotTrigger::Stop && operator.is_some_and(|o| matches!(o.kind, OperatorKind::Sink(_)))
}

/// One operator's state on the local disk.
#[derive(Debug, Default)]
pub struct LocalOperator {
    pub operator_state: Vec<Value>,
    /// Per new subtask.
    pub keyed: Vec<Vec<RestoredState>>,
    /// Per new subtask: files that later checkpoints may reference instead of storing them again.
    pub known: Vec<KnownFiles>,
}

/// Downloads what `plan` needs into `dir`, verifying length and checksum of every file, without local recovery; see
/// [`Download`].
pub async fn download(
    plan: RestorePlan,
    store: &Store,
    dir: &Path,
    threads: usize,
    share: bool,
    progress: &Transfer,
) -> Result<HashMap<OperatorId, LocalOperator>> {
    let transferred = Transferred::default();
    Download { store, dir, threads, share, local: None, transferred: &transferred, progress }.run(plan).await
}

/// How a snapshot comes to the local disk.
pub struct Download<'a> {
    pub store: &'a Store,
    /// The folder that it goes to.
    pub dir: &'a Path,
    /// Parallel transfers.
    pub threads: usize,
    /// Whether the snapshot's objects may be referenced by the job's next checkpoints (its own newest checkpoint) or not
    /// (a savepoint, another job's).
    pub share: bool,
    /// The files that are still there, and the snapshot's number, under which they are kept.
    pub local: Option<(&'a LocalFiles, u64)>,
    pub transferred: &'a Transferred,
    /// Who watches.
    pub progress: &'a Transfer,
}

impl Download<'_> {
    /// Brings what `plan` needs; the length and checksum of every file are verified when this returns.
    pub async fn run(&self, plan: RestorePlan) -> Result<HashMap<OperatorId, LocalOperator>> {
        let mut local = HashMap::new();
        let images = plan.values().flat_map(|o| &o.keyed).flatten();
        self.progress.expect(images.flat_map(|(_, image)| &image.files).map(|f| f.bytes).sum());
        for (id, operator) in plan {
            let mut users: BTreeMap<usize, usize> = BTreeMap::new();
            operator.keyed.iter().flatten().for_each(|(old, _)| *users.entry(*old).or_default() += 1);
            let mut keyed = Vec::with_capacity(operator.keyed.len());
            let mut known = Vec::with_capacity(operator.keyed.len());
            for (new, images) in operator.keyed.iter().enumerate() {
                let mut restored = Vec::with_capacity(images.len());
                for (old, image) in images {
                    let folder = self.dir.join(format!("{id}-{old}-{new}"));
                    let kept = self.local.map(|(files, number)| files.image(number, id, *old));
                    self.image(image, kept, &folder).await?;
                    restored.push(RestoredState { dir: folder, key_groups: image.key_groups.clone() });
                }
                let in_place = match images.as_slice() {
                    [(old, image)] if self.share && users.get(old) == Some(&1) => Some(image),
                    _ => None,
                };
                let shared = in_place.map(|image| shareable(image).map(|f| (f.name.clone(), f.clone())).collect());
                known.push(shared.unwrap_or_default());
                keyed.push(restored);
            }
            local.insert(id, LocalOperator { operator_state: operator.operator_state, keyed, known });
        }
        Ok(local)
    }

    async fn image(&self, image: &KeyedState, kept: Option<PathBuf>, folder: &Path) -> Result<()> {
        tokio::fs::create_dir_all(folder).await.map_err(|e| disk(folder, &e))?;
        let missing = match kept {
            Some(dir) => self.link(image, dir, folder).await,
            None => image.files.iter().collect(),
        };
        self.transferred.add_remote(missing.iter().map(|f| f.bytes).sum());
        download_files(missing, self.store, folder, self.threads, self.progress).await
    }

    /// Links what is still there; answers the rest.
    async fn link<'i>(&self, image: &'i KeyedState, dir: PathBuf, folder: &Path) -> Vec<&'i StateFile> {
        let kept = LocalImage { dir, transferred: self.transferred };
        let links: Vec<_> = image
            .files
            .iter()
            .map(|file| {
                let kept = kept.clone();
                let target = folder.join(&file.name);
                async move {
                    if kept.link(file, &target).await {
                        self.progress.advance(file.bytes);
                        return None;
                    }
                    Some(file)
                }
                .boxed()
            })
            .collect();
        futures::stream::iter(links).buffer_unordered(self.threads.max(1)).filter_map(async |f| f).collect().await
    }
}

/// Downloads the files of one image into a folder, which is created.
pub async fn download_image(
    image: &KeyedState,
    store: &Store,
    folder: &Path,
    threads: usize,
    progress: &Transfer,
) -> Result<()> {
    tokio::fs::create_dir_all(folder).await.map_err(|e| disk(folder, &e))?;
    download_files(image.files.iter().collect(), store, folder, threads, progress).await
}

async fn download_files(
    files: Vec<&StateFile>,
    store: &Store,
    folder: &Path,
    threads: usize,
    progress: &Transfer,
) -> Result<()> {
    let mut packs: BTreeMap<&str, Vec<&StateFile>> = BTreeMap::new();
    let mut alone = Vec::new();
    for file in files {
        match &file.content {
            FileContent::Packed { object, .. } => packs.entry(object).or_default().push(file),
            FileContent::Object(_) | FileContent::Inline(_) => alone.push(file),
        }
    }
    let alone = alone.into_iter().map(|file| {
        let downloaded = async move {
            download_file(file, store, folder.join(&file.name)).await?;
            progress.advance(file.bytes);
            Ok::<_, Error>(())
        };
        downloaded.boxed()
    });
    let packs = packs.into_iter().map(|(object, files)| {
        let downloaded = async move {
            let bytes = files.iter().map(|f| f.bytes).sum();
            download_packed(object, files, store, folder).await?;
            progress.advance(bytes);
            Ok(())
        };
        downloaded.boxed()
    });
    let downloads: Vec<_> = alone.chain(packs).collect();
    futures::stream::iter(downloads).buffer_unordered(threads.max(1)).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Writes a state file's bytes, verified, to `path`.
pub async fn download_file(file: &StateFile, store: &Store, path: PathBuf) -> Result<()> {
    match &file.content {
        FileContent::Object(key) => store.get_to_file(key, &path, file.bytes, &file.sha256).await,
        FileContent::Packed { object, .. } => {
            let folder = path.parent().unwrap_or(Path::new(""));
            download_packed(object, vec![file], store, folder).await
        }
        FileContent::Inline(text) => {
            let bytes = inline_bytes(file, text)?;
            tokio::fs::write(&path, bytes).await.map_err(|e| disk(&path, &e))
        }
    }
}

/// The bytes of a file that lies inside the manifest, verified.
pub fn inline_bytes(file: &StateFile, text: &str) -> Result<Vec<u8>> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if bytes.len() as u64 == file.bytes && sha256_hex(&bytes) == file.sha256 {
        return Ok(bytes);
    }
    Err(Error::corrupt("snapshot_corrupt", format!("file {} inside the manifest is not what was written", file.name)))
}

/// Reads a packed object once and writes the files that are wanted of it.
async fn download_packed(object: &str, files: Vec<&StateFile>, store: &Store, folder: &Path) -> Result<()> {
    let content = store.get(object).await?;
    for file in files {
        let bytes = packed_bytes(file, &content).ok_or_else(|| damaged_pack(store, object, file))?;
        let path = folder.join(&file.name);
        tokio::fs::write(&path, bytes).await.map_err(|e| disk(&path, &e))?;
    }
    Ok(())
}

/// The error for a packed object in which a file is not what was written.
pub fn damaged_pack(store: &Store, object: &str, file: &StateFile) -> Error {
    let message = format!("{} is not what was stored: {} in it has other bytes", store.uri_of(object), file.name);
    Error::corrupt("object_corrupt", message)
}

/// A file's bytes in its packed object's `content`, if length and checksum are right.
pub fn packed_bytes<'c>(file: &StateFile, content: &'c [u8]) -> Option<&'c [u8]> {
    let FileContent::Packed { offset, object_bytes, .. } = &file.content else { return None };
    let start = usize::try_from(*offset).ok()?;
    let bytes = content.get(start..start.checked_add(usize::try_from(file.bytes).ok()?)?)?;
    (content.len() as u64 == *object_bytes && sha256_hex(bytes) == file.sha256).then_some(bytes)
}

fn disk(path: &Path, error: &std::io::Error) -> Error {
    Error::unavailable("work_dir_write", format!("writing {} in the working directory failed", path.display()))
        .caused_by(error)
}
