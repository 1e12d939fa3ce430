//! A model of jobs that drives the real protocol (uploads, manifests, rows, retention, deletion, `fsck`) over a store in
//! memory with planned faults and SQLite in memory. Operators are small: an image is a handful of random files.
//!
//! What is checked after every step: each snapshot that the database lists as `COMPLETED` is whole, byte for byte; and
//! after each cleaning nothing is in the store but what those reference and what an upload in progress has stored.

mod faults;
mod sequences;
mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::fsck::facts::needed;
use super::manifest::{Manifest, SubtaskState};
use super::progress::Transfer;
use super::retention::Retention;
use super::upload::KnownFiles;
use super::{restore, state_prefix, verify};
use crate::graph::{JobGraph, OperatorKind, OperatorSpec, PLAN_VERSION, Vertex};
use crate::id::{JobId, OperatorId, SnapshotId};
use crate::metadata::{Job, Lease, Metadata, Snapshot, SnapshotStatus};
use crate::storage::Store;
use crate::storage::faulty::Faults;
use crate::types::Schema;

/// Subtasks of each operator.
const PARALLELISM: usize = 2;
const MAX_PARALLELISM: u32 = 128;
const STACK_BYTES: usize = 32 << 20;
/// Sequences at once.
const WORKERS: usize = 8;

/// Per operator and subtask, the files of its state with their bytes.
type Content = BTreeMap<(OperatorId, usize), BTreeMap<String, Vec<u8>>>;
type Known = HashMap<(OperatorId, usize), Arc<KnownFiles>>;

/// A small generator; the seed is all that a replay needs.
#[derive(Debug, Clone)]
struct Rng(u64);

impl Rng {
    /// Splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn index(&mut self, n: usize) -> Option<usize> {
        (n > 0).then(|| usize::try_from(self.below(n as u64)).unwrap())
    }
}

/// A snapshot whose upload goes on while other things happen.
struct PendingSnapshot {
    snapshot: Snapshot,
    content: Content,
    known: Known,
    parts: Vec<(OperatorId, SubtaskState)>,
    todo: Vec<(OperatorId, usize)>,
}

struct ModelJob {
    row: Job,
    lease: Lease,
    content: Content,
    next_file: u64,
    known: Known,
    retention: Retention,
    retained: u32,
    pending: Option<PendingSnapshot>,
    in_use_from: std::sync::atomic::AtomicU64,
    runs: bool,
}

struct World {
    metadata: Metadata,
    store: Store,
    faults: Arc<Faults>,
    rng: Rng,
    jobs: Vec<ModelJob>,
    /// What each snapshot that may be published holds.
    contents: HashMap<SnapshotId, Content>,
    /// Objects whose bytes were compared with their manifests' hashes.
    verified: HashMap<String, Bytes>,
    dir: tempfile::TempDir,
    next_dir: u64,
    /// Requests of the steps so far, without those of the checks.
    requests: u64,
    /// Steps so far, for the message of a failure.
    log: Vec<String>,
}

/// Runs `work` on each of `items`, some at once; a failure ends all. Each worker has a thread and a runtime of its own:
/// crashes are armed for the thread, and a seed gives one order of events. More than there are cores, because a step
/// waits for SQLite's thread most of the time.
fn in_parallel<T: Sync>(items: &[T], work: impl AsyncFn(&T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let worker = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while let Some(item) = items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            runtime.block_on(work(item));
        }
    };
    std::thread::scope(|scope| {
        // The futures of a step lie within each other, and are large where the compiler does not optimise.
        let thread = || std::thread::Builder::new().stack_size(STACK_BYTES);
        let workers: Vec<_> = (0..WORKERS).map(|_| thread().spawn_scoped(scope, worker).unwrap()).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

fn operators() -> [OperatorId; 2] {
    [OperatorId::from_text("first"), OperatorId::from_text("second")]
}

fn graph() -> JobGraph {
    let spec = |id: OperatorId| OperatorSpec {
        id,
        name: "op".into(),
        kind: OperatorKind::Values { rows: Vec::new() },
        output: Schema { fields: Vec::new() },
    };
    let vertex = Vertex { name: "v".into(), parallelism: None, operators: operators().into_iter().map(spec).collect() };
    JobGraph {
        version: PLAN_VERSION,
        vertices: vec![vertex],
        edges: Vec::new(),
        changelog: BTreeMap::default(),
        options: BTreeMap::default(),
    }
}

impl World {
    async fn new(seed: u64) -> World {
        let metadata = Metadata::connect("sqlite::memory:").await.unwrap();
        metadata.migrate().await.unwrap();
        let (store, faults) = Store::faulty();
        World {
            metadata,
            store,
            faults,
            rng: Rng(seed),
            jobs: Vec::new(),
            contents: HashMap::new(),
            verified: HashMap::new(),
            dir: crate::state::test_dir(),
            next_dir: 0,
            requests: 0,
            log: Vec::new(),
        }
    }

    fn fresh_dir(&mut self) -> PathBuf {
        self.next_dir += 1;
        self.dir.path().join(self.next_dir.to_string())
    }

    async fn rows(&self) -> Vec<Snapshot> {
        self.metadata.all_snapshots(None, 10_000).await.unwrap()
    }

    /// Every listed completed snapshot is whole; one of them is brought to the disk and compared with what was written.
    async fn check(&mut self) {
        let completed: Vec<Snapshot> =
            self.rows().await.into_iter().filter(|s| s.status == SnapshotStatus::Completed).collect();
        for row in &completed {
            self.check_whole(row).await;
        }
        if let Some(n) = self.rng.index(completed.len()) {
            self.check_restores(&completed[n]).await;
        }
    }

    async fn check_whole(&mut self, row: &Snapshot) {
        let key = self.store.key_of(&row.location).unwrap();
        let stored = self.store.get(&key).await;
        let Ok(bytes) = stored else { panic!("the manifest of {row:?} is gone: {stored:?}\n{}", self.story()) };
        let manifest = Manifest::decode(&bytes, &key).unwrap();
        let needed = needed(&manifest);
        let mut known = self.verified.get(&key) == Some(&bytes);
        for object in needed.keys() {
            let found = self.store.get(object).await;
            let Ok(found) = found else { panic!("{object} of {row:?} is gone: {found:?}\n{}", self.story()) };
            known &= self.verified.get(object) == Some(&found);
            self.verified.insert(object.clone(), found);
        }
        if !known {
            let verified = verify::verify(&self.store, &row.location, 1, &Transfer::default()).await.unwrap();
            assert!(verified.intact, "{row:?}: {verified:?}\n{}", self.story());
            self.verified.insert(key, bytes);
        }
    }

    async fn check_restores(&mut self, row: &Snapshot) {
        let dir = self.fresh_dir();
        let (_, content) = self.load(row, &dir, false).await.unwrap();
        let _ = std::fs::remove_dir_all(dir);
        assert!(Some(&content) == self.contents.get(&row.id), "{row:?} restores something else\n{}", self.story());
    }

    /// Brings a snapshot to the disk, as a job's start does.
    async fn load(&self, row: &Snapshot, dir: &std::path::Path, share: bool) -> crate::error::Result<(Known, Content)> {
        let (store, manifest) = restore::load(&self.store, &row.location).await?;
        let plan = restore::plan(&manifest, &graph(), |_| PARALLELISM, MAX_PARALLELISM, false)?;
        let local = restore::download(plan, &store, dir, 1, share, &Transfer::default()).await?;
        let (mut known, mut content) = (Known::new(), Content::new());
        for (id, operator) in local {
            for (subtask, files) in operator.known.into_iter().enumerate() {
                known.insert((id, subtask), Arc::new(files));
            }
            for (subtask, images) in operator.keyed.into_iter().enumerate() {
                let files = content.entry((id, subtask)).or_insert_with(BTreeMap::new);
                for entry in images.iter().flat_map(|i| std::fs::read_dir(&i.dir).unwrap()).map(Result::unwrap) {
                    let name = entry.file_name().into_string().unwrap();
                    files.insert(name, std::fs::read(entry.path()).unwrap());
                }
            }
        }
        Ok((known, content))
    }

    /// Nothing is in the store but what completed snapshots reference and what pending ones may have stored.
    async fn check_nothing_left(&mut self) {
        let mut needed = BTreeSet::new();
        for row in self.rows().await.iter().filter(|s| s.status == SnapshotStatus::Completed) {
            let key = self.store.key_of(&row.location).unwrap();
            let manifest = Manifest::decode(&self.store.get(&key).await.unwrap(), &key).unwrap();
            needed.extend(manifest.object_keys().map(str::to_owned));
        }
        let pending: Vec<String> = self
            .jobs
            .iter()
            .filter_map(|j| j.pending.as_ref())
            .map(|p| format!("{}/", state_prefix(&p.snapshot)))
            .collect();
        for object in self.store.list("").await.unwrap() {
            let is_needed = needed.contains(&object.key) || pending.iter().any(|p| object.key.starts_with(p));
            assert!(is_needed, "{} is left\n{}", object.key, self.story());
        }
    }

    fn story(&self) -> String {
        format!("steps:\n  {}", self.log.join("\n  "))
    }

    fn find(&mut self, id: JobId) -> Option<&mut ModelJob> {
        self.jobs.iter_mut().find(|j| j.row.id == id)
    }
}
