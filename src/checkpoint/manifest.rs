//! The manifest: one object that is enough to restore a job.
//!
//! Bytes: one header line `HOLDFAST-MANIFEST <version> <body bytes> <SHA-256 of the body, hex>\n`, then the body, JSON.
//! Versioning rule: a reader accepts its own version and every older one; a change of meaning raises the version; new
//! optional members do not.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::graph::JobGraph;
use crate::id::{JobId, OperatorId, SnapshotId};
use crate::metadata::{JobSettings, SnapshotFormat, SnapshotKind, SnapshotTrigger};

/// Version that this build writes.
pub const MANIFEST_VERSION: u32 = 1;
const MAGIC: &str = "HOLDFAST-MANIFEST";
/// Longest header line, bytes.
const MAX_HEADER_BYTES: usize = 160;

/// See the module text.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    pub snapshot_id: SnapshotId,
    pub job_id: JobId,
    pub job_name: String,
    pub checkpoint_id: u64,
    pub attempt: u64,
    pub kind: SnapshotKind,
    pub trigger: SnapshotTrigger,
    /// How the keyed state's files are written.
    #[serde(default)]
    pub format: SnapshotFormat,
    /// Whether event time was moved to its end before it was taken (stop with drain): rows that a job restored from it
    /// reads later are all late.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    pub created_ms: i64,
    /// This object's own key; object keys below are relative to the same root.
    pub key: String,
    pub sql: String,
    pub plan: JobGraph,
    pub settings: JobSettings,
    pub operators: Vec<OperatorState>,
}

/// One operator's state.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OperatorState {
    pub id: OperatorId,
    pub name: String,
    pub subtasks: Vec<SubtaskState>,
}

/// One subtask's part of an operator's state.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SubtaskState {
    pub subtask: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_state: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyed: Option<KeyedState>,
}

/// A RocksDB image.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct KeyedState {
    pub key_groups: Range<u16>,
    pub files: Vec<StateFile>,
}

/// One file of an image.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StateFile {
    /// Its name in the image's folder.
    pub name: String,
    pub bytes: u64,
    /// Hex.
    pub sha256: String,
    pub content: FileContent,
}

impl StateFile {
    /// Bytes of the object that holds it.
    pub fn object_bytes(&self) -> u64 {
        match &self.content {
            FileContent::Packed { object_bytes, .. } => *object_bytes,
            FileContent::Inline(_) | FileContent::Object(_) => self.bytes,
        }
    }
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileContent {
    /// Here, base64.
    Inline(String),
    /// In the object with this key.
    Object(String),
    /// In an object that holds several small files: `bytes` of it from `offset` on.
    Packed {
        object: String,
        offset: u64,
        /// Of the whole object.
        object_bytes: u64,
    },
}

impl FileContent {
    /// The object that holds the file; none if the manifest itself does.
    pub fn object(&self) -> Option<&str> {
        match self {
            FileContent::Inline(_) => None,
            FileContent::Object(object) | FileContent::Packed { object, .. } => Some(object),
        }
    }
}

/// SHA-256 as lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Manifest {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Bytes> {
        let body = serde_json::to_vec(self).map_err(|e| Error::internal("encoding a manifest failed").caused_by(&e))?;
        let mut bytes = format!("{MAGIC} {MANIFEST_VERSION} {} {}\n", body.len(), sha256_hex(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        Ok(Bytes::from(bytes))
    }

    /// Checks and reads stored bytes; `name` is for the error.
    pub fn decode(bytes: &[u8], name: &str) -> Result<Manifest> {
        let corrupt =
            |what: &str| Error::corrupt("manifest_corrupt", format!("{name} is not a readable manifest: {what}"));
        let newline = memchr::memchr(b'\n', &bytes[..bytes.len().min(MAX_HEADER_BYTES)])
            .ok_or_else(|| corrupt("it has no header line"))?;
        let header = std::str::from_utf8(&bytes[..newline]).map_err(|_| corrupt("its header is not text"))?;
        let body = &bytes[newline + 1..];
        let mut parts = header.split(' ');
        let (magic, version, length, hash) = (parts.next(), parts.next(), parts.next(), parts.next());
        if magic != Some(MAGIC) {
            return Err(corrupt("it does not start with HOLDFAST-MANIFEST"));
        }
        match version.and_then(|v| v.parse::<u32>().ok()) {
            Some(v) if (1..=MANIFEST_VERSION).contains(&v) => {}
            Some(v) => return Err(corrupt(&format!("its version is {v}, this build reads up to {MANIFEST_VERSION}"))),
            None => return Err(corrupt("its version is not a number")),
        }
        if length.and_then(|l| l.parse::<usize>().ok()) != Some(body.len()) {
            return Err(corrupt("its length is not what its header says"));
        }
        if hash != Some(sha256_hex(body).as_str()) {
            return Err(corrupt("its checksum is wrong"));
        }
        serde_json::from_slice(body).map_err(|e| corrupt("its body cannot be read").caused_by(&e))
    }

    /// All state files.
    pub fn files(&self) -> impl Iterator<Item = &StateFile> {
        self.operators.iter().flat_map(|o| &o.subtasks).filter_map(|s| s.keyed.as_ref()).flat_map(|k| &k.files)
    }
    /// The keys of all objects that it needs, each once, itself included.
    pub fn object_keys(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::new();
        let objects = self.files().filter_map(|f| f.content.object());
        objects.filter(move |key| seen.insert(*key)).chain([self.key.as_str()])
    }
    /// Bytes of the objects and inline files that hold its state: more than [`Manifest::state_bytes`] by what died in
    /// packed objects.
    pub fn stored_bytes(&self) -> u64 {
        let mut seen = HashSet::new();
        let bytes = self.files().map(|f| match &f.content {
            FileContent::Packed { object, object_bytes, .. } => {
                if seen.insert(object) {
                    *object_bytes
                } else {
                    0
                }
            }
            _ => f.bytes,
        });
        bytes.sum()
    }
    /// Says that it lies at `key` now, its objects moved with it. `snapshot_moved` if an object lies outside its folder:
    /// only savepoints have all their objects below it.
    pub fn relocate(&mut self, key: &str) -> Result<()> {
        let folder = |key: &str| key.rfind('/').map_or("", |at| &key[..=at]).to_owned();
        let (old, new) = (folder(&self.key), folder(key));
        for file in self.files_mut() {
            let (FileContent::Object(object) | FileContent::Packed { object, .. }) = &mut file.content else {
                continue;
            };
            let inside = object.strip_prefix(&old).ok_or_else(|| {
                Error::corrupt(
                    "snapshot_moved",
                    format!("{object} does not lie in the snapshot's folder: only savepoints can be moved on their own; copy a checkpoint with the folders above it"),
                )
            })?;
            *object = format!("{new}{inside}");
        }
        self.key = key.to_owned();
        Ok(())
    }
    /// All state files, to be changed.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut StateFile> {
        let subtasks = self.operators.iter_mut().flat_map(|o| &mut o.subtasks);
        subtasks.filter_map(|s| s.keyed.as_mut()).flat_map(|k| &mut k.files)
    }
    /// Bytes of keyed state.
    pub fn state_bytes(&self) -> u64 {
        self.files().map(|f| f.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let job_id = JobId::from_text("job");
        let plan = JobGraph {
            version: 1,
            vertices: vec![],
            edges: vec![],
            changelog: Default::default(),
            options: Default::default(),
        };
        let settings = JobSettings::for_tests();
        let file = |name: &str, content| StateFile { name: name.into(), bytes: 3, sha256: sha256_hex(b"abc"), content };
        let keyed = KeyedState {
            key_groups: 0..128,
            files: vec![
                file("CURRENT", FileContent::Inline("YWJj".into())),
                file("000008.sst", FileContent::Object("jobs/x/shared/1".into())),
                file(
                    "000009.sst",
                    FileContent::Packed { object: "jobs/x/shared/p".into(), offset: 0, object_bytes: 8 },
                ),
                file(
                    "000010.sst",
                    FileContent::Packed { object: "jobs/x/shared/p".into(), offset: 3, object_bytes: 8 },
                ),
            ],
        };
        let subtask =
            SubtaskState { subtask: 0, operator_state: Some(serde_json::json!({"v": 1})), keyed: Some(keyed) };
        Manifest {
            snapshot_id: SnapshotId::from_text("s"),
            job_id,
            job_name: "j".into(),
            checkpoint_id: 7,
            attempt: 2,
            kind: SnapshotKind::Checkpoint,
            trigger: SnapshotTrigger::Periodic,
            format: SnapshotFormat::Native,
            drained: false,
            created_ms: 1,
            key: "jobs/x/chk-7-2/_metadata".into(),
            sql: "INSERT INTO a SELECT * FROM b".into(),
            plan,
            settings,
            operators: vec![OperatorState {
                id: OperatorId::from_text("o"),
                name: "agg".into(),
                subtasks: vec![subtask],
            }],
        }
    }

    #[test]
    fn a_manifest_reads_back_and_names_its_objects() {
        let manifest = sample();
        let read = Manifest::decode(&manifest.encode().unwrap(), "m").unwrap();
        assert_eq!(read, manifest);
        assert_eq!(
            read.object_keys().collect::<Vec<_>>(),
            ["jobs/x/shared/1", "jobs/x/shared/p", "jobs/x/chk-7-2/_metadata"]
        );
        assert_eq!((read.state_bytes(), read.stored_bytes()), (12, 14));
    }

    #[test]
    fn a_savepoint_is_relocated_with_its_objects_and_a_checkpoint_is_not() {
        let mut savepoint = sample();
        savepoint.key = "savepoints/s/_metadata".into();
        for file in savepoint.files_mut() {
            match &mut file.content {
                FileContent::Inline(_) => {}
                FileContent::Object(object) => *object = "savepoints/s/state/1".into(),
                FileContent::Packed { object, .. } => *object = "savepoints/s/state/p".into(),
            }
        }
        for (to, folder) in [("_metadata", ""), ("a/b/_metadata", "a/b/")] {
            savepoint.relocate(to).unwrap();
            let expected = [format!("{folder}state/1"), format!("{folder}state/p"), to.to_owned()];
            assert_eq!(savepoint.object_keys().collect::<Vec<_>>(), expected);
        }
        assert_eq!(sample().relocate("a/_metadata").unwrap_err().code, "snapshot_moved");
    }

    #[test]
    fn any_changed_byte_is_detected() {
        let bytes = sample().encode().unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[position] ^= 0x20;
            assert!(Manifest::decode(&changed, "m").is_err(), "byte {position}");
        }
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length], "m").is_err(), "cut to {length}");
        }
    }
}
