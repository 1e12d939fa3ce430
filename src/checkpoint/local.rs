//! Local recovery: the newest checkpoint's files stay on the working disk, to be used instead of downloads after a crash of
//! the process.
//!
//! Layout: `<job's folder>/local/<checkpoint>/<operator>-<subtask>/<file>`. After its upload, a subtask's image (hard links)
//! is moved there instead of being deleted; when a checkpoint is published, the folders of the ones before go. So at most the
//! newest completed checkpoint and those under way are there, and they take space only for files that RocksDB has deleted
//! since.
//!
//! Invariants: 1. nothing here is trusted: a file is used only if its length and SHA-256 are the manifest's; 2. only
//! `*.sst` files are used, by hard link, because RocksDB never changes one; 3. losing all of it loses nothing.
//! Source: Flink, "Task-Local Recovery".

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::manifest::StateFile;
use crate::id::OperatorId;

/// Bytes read at once while a file is hashed.
const BLOCK_BYTES: usize = 1 << 20;

/// Where one job's local files are.
#[derive(Debug, Clone)]
pub struct LocalFiles {
    root: PathBuf,
}

/// How much of a restore came from where.
#[derive(Debug, Default)]
pub struct Transferred {
    local_bytes: AtomicU64,
    remote_bytes: AtomicU64,
}

impl Transferred {
    /// Bytes of state files that were on the working disk.
    pub fn local_bytes(&self) -> u64 {
        self.local_bytes.load(Ordering::Relaxed)
    }
    /// Bytes of state files that were read from the store, those inside the manifest included.
    pub fn remote_bytes(&self) -> u64 {
        self.remote_bytes.load(Ordering::Relaxed)
    }
    /// Counts a file that was read from the store.
    pub fn add_remote(&self, bytes: u64) {
        self.remote_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl LocalFiles {
    /// Of the job with this folder on the working disk.
    pub fn of_job(job_dir: &Path) -> Self {
        LocalFiles { root: job_dir.join("local") }
    }

    /// The folder of all of them, which outlives attempts.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a subtask's part of a checkpoint is kept.
    pub fn image(&self, checkpoint_id: u64, operator: OperatorId, subtask: usize) -> PathBuf {
        self.root.join(checkpoint_id.to_string()).join(format!("{operator}-{subtask}"))
    }

    /// Deletes what is of checkpoints before this one; a failure costs only space.
    pub async fn forget_before(&self, checkpoint_id: u64) {
        self.forget(move |kept| kept < checkpoint_id).await;
    }

    /// Deletes what is of a checkpoint that failed.
    pub async fn forget_one(&self, checkpoint_id: u64) {
        self.forget(move |kept| kept == checkpoint_id).await;
    }

    async fn forget(&self, doomed: impl Fn(u64) -> bool) {
        let Ok(mut entries) = tokio::fs::read_dir(&self.root).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let number = entry.file_name().to_str().and_then(|n| n.parse::<u64>().ok());
            // What this program never made there goes too.
            if number.is_none_or(&doomed) {
                let _ = tokio::fs::remove_dir_all(entry.path()).await;
            }
        }
    }
}

/// The kept image of one old subtask, and the count of what is used of it.
#[derive(Clone)]
pub struct LocalImage<'a> {
    pub dir: PathBuf,
    pub transferred: &'a Transferred,
}

impl LocalImage<'_> {
    /// Links the file to `target` if a file with its length and checksum is here; answers whether it did.
    pub async fn link(&self, file: &StateFile, target: &Path) -> bool {
        if !file.name.ends_with(".sst") || file.name.contains('/') {
            return false;
        }
        let (path, target) = (self.dir.join(&file.name), target.to_owned());
        let (bytes, sha256) = (file.bytes, file.sha256.clone());
        let linked = tokio::task::spawn_blocking(move || {
            // Linked first: what is hashed is what is used, whoever changes names meanwhile.
            if std::fs::hard_link(&path, &target).is_err() {
                return false;
            }
            if is_same(&target, bytes, &sha256) {
                return true;
            }
            tracing::warn!(file = %path.display(), "a local state file is not what was stored; it is read from the store");
            let _ = std::fs::remove_file(&target);
            let _ = std::fs::remove_file(&path);
            false
        });
        let linked = linked.await.unwrap_or(false);
        if linked {
            self.transferred.local_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        linked
    }
}

/// Keeps an uploaded image; answers false if it could not (then it is to be deleted).
pub async fn keep(image: &Path, to: &Path) -> bool {
    let Some(parent) = to.parent() else { return false };
    let _ = tokio::fs::remove_dir_all(to).await;
    tokio::fs::create_dir_all(parent).await.is_ok() && tokio::fs::rename(image, to).await.is_ok()
}

fn is_same(path: &Path, bytes: u64, sha256: &str) -> bool {
    let hash = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        if file.metadata()?.len() != bytes {
            return Ok(String::new());
        }
        let (mut hasher, mut block) = (Sha256::new(), vec![0; BLOCK_BYTES]);
        loop {
            match std::io::Read::read(&mut file, &mut block)? {
                0 => return Ok(hex::encode(hasher.finalize())),
                n => hasher.update(block.get(..n).unwrap_or_default()),
            }
        }
    };
    hash().is_ok_and(|found| found == sha256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::{FileContent, sha256_hex};

    #[tokio::test]
    async fn only_a_file_with_the_manifests_bytes_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalFiles::of_job(dir.path());
        let kept = local.image(7, OperatorId::from_text("o"), 0);
        let stored = |name: &str, content: &[u8]| StateFile {
            name: name.into(),
            bytes: content.len() as u64,
            sha256: sha256_hex(content),
            content: FileContent::Object("k".into()),
        };
        for (what, name, on_disk, expected) in [
            ("the same", "1.sst", Some(&b"content"[..]), true),
            ("a changed byte", "2.sst", Some(b"cOntent"), false),
            ("shorter", "3.sst", Some(b"conten"), false),
            ("longer", "4.sst", Some(b"content!"), false),
            ("missing", "5.sst", None, false),
            ("a file that RocksDB changes", "CURRENT", Some(b"content"), false),
        ] {
            let image = dir.path().join("image");
            std::fs::create_dir_all(&image).unwrap();
            if let Some(bytes) = on_disk {
                std::fs::write(image.join(name), bytes).unwrap();
            }
            assert!(keep(&image, &kept).await);
            let target = dir.path().join(format!("target-{name}"));
            let transferred = Transferred::default();
            let image = LocalImage { dir: kept.clone(), transferred: &transferred };
            assert_eq!(image.link(&stored(name, b"content"), &target).await, expected, "{what}");
            assert_eq!(target.exists(), expected, "{what}");
            assert_eq!(transferred.local_bytes(), if expected { 7 } else { 0 }, "{what}");
        }
    }

    #[tokio::test]
    async fn only_the_newest_checkpoint_and_those_under_way_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalFiles::of_job(dir.path());
        for checkpoint in [3, 4, 5, 6] {
            std::fs::create_dir_all(local.image(checkpoint, OperatorId::from_text("o"), 0)).unwrap();
        }
        local.forget_before(5).await;
        local.forget_one(6).await;
        let left: Vec<_> = std::fs::read_dir(local.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["5"]);
    }

    /// Restores 1 GB with and without local files, and prints both times:
    /// `cargo test --release --lib local_files_against_downloads -- --ignored --nocapture`.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "measures: needs 3 GB of disk"]
    async fn local_files_against_downloads() {
        use crate::checkpoint::progress::Transfer;
        use crate::checkpoint::restore::{Download, OperatorPlan};
        use crate::checkpoint::upload::{DEFAULT_INLINE_THRESHOLD_BYTES, Destination, upload};
        use crate::state::StateSnapshot;
        use crate::storage::Store;
        const FILES: usize = 32;
        const FILE_BYTES: usize = 32 << 20;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", dir.path().join("store").display())).await.unwrap();
        let (local, operator) = (LocalFiles::of_job(&dir.path().join("job")), OperatorId::from_text("o"));
        let image = dir.path().join("image");
        std::fs::create_dir_all(&image).unwrap();
        let mut content: Vec<u8> = (0..FILE_BYTES).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
        let mut files = Vec::new();
        for n in 0..FILES {
            content[0] = n as u8;
            let name = format!("{n:06}.sst");
            std::fs::write(image.join(&name), &content).unwrap();
            files.push((name, FILE_BYTES as u64));
        }
        let snapshot = StateSnapshot { dir: image, files, key_groups: 0..128 };
        let to = Destination {
            store: store.clone(),
            prefix: "jobs/j/shared/1-1/o-0".into(),
            threads: 4,
            inline_threshold_bytes: DEFAULT_INLINE_THRESHOLD_BYTES,
            keep: Some(local.image(1, operator, 0)),
            progress: std::sync::Arc::default(),
        };
        let uploaded = upload(snapshot, &to, std::sync::Arc::default()).await.unwrap();
        for (what, kept) in [("downloads", None), ("local files", Some((&local, 1)))] {
            let plan = OperatorPlan { operator_state: Vec::new(), keyed: vec![vec![(0, uploaded.keyed.clone())]] };
            let (transferred, progress) = (Transferred::default(), Transfer::default());
            let target = dir.path().join(what);
            let (share, threads) = (true, 4);
            let download = Download {
                store: &store,
                dir: &target,
                threads,
                share,
                local: kept,
                transferred: &transferred,
                progress: &progress,
            };
            let since = std::time::Instant::now();
            download.run([(operator, plan)].into()).await.unwrap();
            let (from_disk, from_store) = (transferred.local_bytes(), transferred.remote_bytes());
            println!("{what}: {:?} for {from_disk} bytes from the disk, {from_store} from the store", since.elapsed());
        }
    }
}
