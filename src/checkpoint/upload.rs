//! Stores a subtask's local image: large files as objects of their own, small ones packed together, the smallest inside
//! the manifest, known ones by reference.
//!
//! Invariants: 1. a checkpoint of an operator subtask that changed nothing stores no object; 2. one that wrote many
//! small files stores a few packed objects ([`PACK_BYTES`] each); 3. of a packed object that is referenced again at
//! least half is in use, else its files are stored anew ([`reusable`]): the store never holds more than twice the
//! packed bytes that the newest checkpoint needs, and a file is stored again only after as many bytes beside it died.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::local;
use super::manifest::{FileContent, KeyedState, StateFile, sha256_hex};
use super::progress::Transfer;
use crate::error::{Error, Result};
use crate::state::StateSnapshot;
use crate::storage::{PutOutcome, Store};

/// Files up to this size, bytes, are stored inside the manifest unless the job says otherwise: an idle job's checkpoint
/// then costs one request. Flink: `execution.checkpointing.data-inline-threshold` (20 KiB there; the OPTIONS file of our
/// RocksDB, new in each image, is larger).
pub const DEFAULT_INLINE_THRESHOLD_BYTES: u64 = 64 << 10;
/// Most bytes of one operator subtask inside the manifest; what is beyond is packed. The manifest is read as a whole.
pub const MAX_INLINE_BYTES: u64 = 256 << 10;
/// Larger files are objects of their own.
pub const MAX_PACKED_FILE_BYTES: u64 = 1 << 20;
/// A packed object is closed when it has this size, bytes: one put, and small enough to be read into memory.
pub const PACK_BYTES: u64 = 8 << 20;

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
    /// Files up to this size go into the manifest.
    pub inline_threshold_bytes: u64,
    /// Where the image goes after its upload, for local recovery; else it is deleted.
    pub keep: Option<PathBuf>,
    /// Who watches.
    pub progress: Arc<Transfer>,
}

/// An uploaded image.
#[derive(Debug)]
pub struct Uploaded {
    pub keyed: KeyedState,
    /// Bytes stored now, inline ones included.
    pub new_bytes: u64,
}

/// Stores `snapshot` and deletes its folder, or moves it to where it is kept. `known` is empty for a savepoint, which must stand alone.
pub async fn upload(snapshot: StateSnapshot, destination: &Destination, known: Arc<KnownFiles>) -> Result<Uploaded> {
    let result = upload_files(&snapshot, destination, &known).await;
    let dir = snapshot.dir;
    if let (Ok(_), Some(to)) = (&result, &destination.keep)
        && local::keep(&dir, to).await
    {
        return result;
    }
    // The image is only hard links; what is left of it goes with the attempt's folder.
    let _ = tokio::fs::remove_dir_all(&dir).await;
    result
}

/// What becomes of the files of an image.
#[derive(Debug, Default, PartialEq)]
struct Layout {
    /// Stored by an earlier checkpoint.
    referenced: Vec<StateFile>,
    inline: Vec<String>,
    /// Each an object of its own.
    alone: Vec<String>,
    /// Each an object that holds these files.
    packs: Vec<Vec<String>>,
}

/// Decides what becomes of each file (name, bytes).
fn layout(files: &[(String, u64)], known: &KnownFiles, inline_threshold_bytes: u64) -> Layout {
    let reusable = reusable(files, known);
    let mut layout = Layout::default();
    let (mut inline_bytes, mut pack_bytes) = (0, 0);
    for (name, bytes) in files {
        let reused = reusable.get(name.as_str());
        let is_inline = reused.is_none_or(|f| f.content.object().is_none());
        if is_inline && *bytes <= inline_threshold_bytes && inline_bytes + bytes <= MAX_INLINE_BYTES {
            inline_bytes += bytes;
            layout.inline.push(name.clone());
        } else if let Some(file) = reused.filter(|_| !is_inline) {
            layout.referenced.push((*file).clone());
        } else if *bytes > MAX_PACKED_FILE_BYTES {
            layout.alone.push(name.clone());
        } else {
            if pack_bytes + bytes > PACK_BYTES || layout.packs.is_empty() {
                layout.packs.push(Vec::new());
                pack_bytes = 0;
            }
            pack_bytes += bytes;
            layout.packs.last_mut().expect("one was pushed").push(name.clone());
        }
    }
    layout
}

/// The known files that the image still has, without those in packed objects of which less than half is still in use.
fn reusable<'k>(files: &[(String, u64)], known: &'k KnownFiles) -> HashMap<&'k str, &'k StateFile> {
    let mut found: HashMap<&str, &StateFile> = files
        .iter()
        .filter_map(|(name, bytes)| known.get(name).filter(|f| f.bytes == *bytes))
        .map(|f| (f.name.as_str(), f))
        .collect();
    let mut used: HashMap<&str, u64> = HashMap::new();
    for file in found.values() {
        if let FileContent::Packed { object, .. } = &file.content {
            *used.entry(object).or_default() += file.bytes;
        }
    }
    found.retain(|_, file| match &file.content {
        FileContent::Packed { object, object_bytes, .. } => {
            used.get(object.as_str()).is_some_and(|bytes| bytes.saturating_mul(2) >= *object_bytes)
        }
        _ => true,
    });
    found
}

/// One put, or none.
pub(super) enum Part {
    Inline(String),
    Alone(String),
    Pack(usize, Vec<String>),
}

async fn upload_files(snapshot: &StateSnapshot, to: &Destination, known: &KnownFiles) -> Result<Uploaded> {
    let Layout { referenced, inline, alone, packs } = layout(&snapshot.files, known, to.inline_threshold_bytes);
    let old: HashSet<&str> = referenced.iter().map(|f| f.name.as_str()).collect();
    to.progress.expect(snapshot.files.iter().filter(|(name, _)| !old.contains(name.as_str())).map(|(_, b)| b).sum());
    let parts = alone.into_iter().map(Part::Alone);
    let parts = parts.chain(packs.into_iter().enumerate().map(|(n, names)| Part::Pack(n, names)));
    let uploads: Vec<_> =
        parts.chain(inline.into_iter().map(Part::Inline)).map(|part| watched_part(&snapshot.dir, part, to)).collect();
    let stored: Vec<Vec<StateFile>> =
        futures::stream::iter(uploads).buffer_unordered(to.threads.max(1)).try_collect().await?;
    let mut files: Vec<StateFile> = stored.into_iter().flatten().collect();
    let is_known = |f: &StateFile| known.get(&f.name).is_some_and(|k| k == f);
    let new_bytes = files.iter().filter(|f| !is_known(f)).map(|f| f.bytes).sum();
    files.extend(referenced);
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Uploaded { keyed: KeyedState { key_groups: snapshot.key_groups.clone(), files }, new_bytes })
}

async fn watched_part(dir: &Path, part: Part, to: &Destination) -> Result<Vec<StateFile>> {
    let stored = store_part(dir, part, to).await?;
    to.progress.advance(stored.iter().map(|f| f.bytes).sum());
    Ok(stored)
}

pub(super) async fn store_part(dir: &Path, part: Part, to: &Destination) -> Result<Vec<StateFile>> {
    match part {
        Part::Alone(name) => {
            let key = format!("{}-{name}", to.prefix);
            let stored = to.store.put_file(&key, &dir.join(&name), None).await?;
            Ok(vec![StateFile { name, bytes: stored.bytes, sha256: stored.sha256, content: FileContent::Object(key) }])
        }
        Part::Inline(name) => {
            let (files, content) = concatenate(dir, vec![name]).await?;
            let inline = |(name, _, bytes, sha256)| StateFile {
                name,
                bytes,
                sha256,
                content: FileContent::Inline(STANDARD.encode(&content)),
            };
            Ok(files.into_iter().map(inline).collect())
        }
        Part::Pack(number, names) => {
            let (files, content) = concatenate(dir, names).await?;
            let (object, object_bytes) = (format!("{}-pack-{number}", to.prefix), content.len() as u64);
            put_pack(&to.store, &object, content).await?;
            let packed = |(name, offset, bytes, sha256)| StateFile {
                name,
                bytes,
                sha256,
                content: FileContent::Packed { object: object.clone(), offset, object_bytes },
            };
            Ok(files.into_iter().map(packed).collect())
        }
    }
}

async fn put_pack(store: &Store, key: &str, content: Bytes) -> Result<()> {
    match store.put_if_absent(key, content.clone()).await? {
        PutOutcome::Created => Ok(()),
        // Keys are unique: what exists is one's own, of a try whose answer was lost.
        PutOutcome::Exists if store.get(key).await? == content => Ok(()),
        PutOutcome::Exists => Err(Error::conflict(
            "object_exists",
            format!("{} exists with other content; nothing was changed", store.uri_of(key)),
        )),
    }
}

/// Name, offset, bytes and SHA-256 of a file in a concatenation.
type Placed = (String, u64, u64, String);

/// Reads files one behind the other.
async fn concatenate(dir: &Path, names: Vec<String>) -> Result<(Vec<Placed>, Bytes)> {
    let dir = dir.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut content = Vec::new();
        let mut placed = Vec::with_capacity(names.len());
        for name in names {
            let path = dir.join(&name);
            let bytes = std::fs::read(&path).map_err(|e| unreadable(&path, &e))?;
            placed.push((name, content.len() as u64, bytes.len() as u64, sha256_hex(&bytes)));
            content.extend_from_slice(&bytes);
        }
        Ok((placed, Bytes::from(content)))
    });
    read.await.map_err(|e| Error::internal("reading a local image panicked").caused_by(&e))?
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::unavailable("snapshot_read", format!("reading {} of a local image failed", path.display())).caused_by(error)
}

/// The files of a stored image that later checkpoints may reference.
pub fn shareable(keyed: &KeyedState) -> impl Iterator<Item = &StateFile> {
    keyed.files.iter().filter(|f| f.name.ends_with(".sst"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(name: &str, object: &str, offset: u64, bytes: u64, object_bytes: u64) -> (String, StateFile) {
        let content = FileContent::Packed { object: object.into(), offset, object_bytes };
        (name.into(), StateFile { name: name.into(), bytes, sha256: String::new(), content })
    }

    fn files(sizes: &[(&str, u64)]) -> Vec<(String, u64)> {
        sizes.iter().map(|(n, b)| ((*n).to_owned(), *b)).collect()
    }

    #[test]
    fn files_are_placed_by_size() {
        let image = files(&[("a", 10), ("b", 11), ("c", MAX_PACKED_FILE_BYTES), ("d", MAX_PACKED_FILE_BYTES + 1)]);
        let got = layout(&image, &KnownFiles::new(), 10);
        assert_eq!(got.inline, ["a"]);
        assert_eq!(got.packs, [["b", "c"]]);
        assert_eq!(got.alone, ["d"]);
        assert_eq!(layout(&image[..2], &KnownFiles::new(), 0).packs, [["a", "b"]]);
        let many: Vec<_> = (0..20).map(|n| (format!("{n:02}"), MAX_PACKED_FILE_BYTES)).collect();
        let packs = layout(&many, &KnownFiles::new(), 0).packs;
        assert_eq!(packs.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 4]);
    }

    #[test]
    fn the_manifest_does_not_grow_without_bound() {
        let image: Vec<_> = (0..100).map(|n| (format!("{n:03}.sst"), 10 << 10)).collect();
        let got = layout(&image, &KnownFiles::new(), 64 << 10);
        assert_eq!((got.inline.len(), got.packs.len(), got.packs[0].len()), (25, 1, 75));
    }

    #[test]
    fn a_packed_object_is_referenced_only_while_half_of_it_is_in_use() {
        let known: KnownFiles =
            [packed("1.sst", "p", 0, 40, 100), packed("2.sst", "p", 40, 10, 100), packed("3.sst", "p", 50, 50, 100)]
                .into();
        for (image, expected) in [
            (vec![("1.sst", 40), ("2.sst", 10)], 2),
            (vec![("1.sst", 40)], 0),
            (vec![("3.sst", 50)], 1),
            // Another size: another file.
            (vec![("3.sst", 49), ("1.sst", 40)], 0),
        ] {
            let got = layout(&files(&image), &known, 0);
            let new: usize = got.packs.iter().map(Vec::len).sum();
            assert_eq!((got.referenced.len(), new), (expected, image.len() - expected), "{image:?}");
        }
    }

    #[tokio::test]
    async fn an_unchanged_image_stores_no_object_and_new_small_files_store_one() {
        let store = Store::open("memory://").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let image = |n: u32, names: &[String]| {
            let dir = folder.path().join(n.to_string());
            std::fs::create_dir(&dir).unwrap();
            let mut files: Vec<_> = names.iter().map(|name| (name.clone(), 100_000)).collect();
            names.iter().for_each(|name| std::fs::write(dir.join(name), vec![7; 100_000]).unwrap());
            std::fs::write(dir.join("OPTIONS"), [b'o'; 30_000]).unwrap();
            files.push(("OPTIONS".into(), 30_000));
            files.sort();
            StateSnapshot { dir, files, key_groups: 0..128 }
        };
        let to = |n: u32| Destination {
            store: store.clone(),
            prefix: format!("jobs/j/shared/1-{n}/o-0"),
            threads: 2,
            inline_threshold_bytes: DEFAULT_INLINE_THRESHOLD_BYTES,
            keep: None,
            progress: Arc::default(),
        };
        let mut names: Vec<String> = (0..30).map(|n| format!("{n:06}.sst")).collect();
        let first = upload(image(1, &names), &to(1), Arc::default()).await.unwrap();
        assert_eq!((store.requests().puts, first.new_bytes), (1, 3_030_000));
        let known = |u: &Uploaded| Arc::new(shareable(&u.keyed).map(|f| (f.name.clone(), f.clone())).collect());
        let second = upload(image(2, &names), &to(2), known(&first)).await.unwrap();
        assert_eq!((store.requests().puts, second.new_bytes), (1, 30_000));
        // Two thirds die: the rest moves to a new object, with the files that are new.
        names.drain(..20);
        names.extend((30..35).map(|n| format!("{n:06}.sst")));
        let third = upload(image(3, &names), &to(3), known(&second)).await.unwrap();
        assert_eq!((store.requests().puts, third.new_bytes), (2, 1_530_000));
        assert!(
            third.keyed.files.iter().all(|f| f.content.object().is_none_or(|o| o == "jobs/j/shared/1-3/o-0-pack-0"))
        );
    }
}
