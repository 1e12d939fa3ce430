//! Copies of snapshots: they stand alone, move, and are refused when damaged.

use super::*;
use crate::checkpoint::manifest::{KeyedState, OperatorState, SubtaskState, sha256_hex};
use crate::checkpoint::restore::load;
use crate::checkpoint::verify::{DamageKind, verify};
use crate::graph::JobGraph;
use crate::id::{JobId, OperatorId};
use crate::metadata::{JobSettings, SnapshotFormat, SnapshotTrigger};
use base64::Engine;

const PACK: &str = "jobs/j/shared/1-1/pack-0";

/// A checkpoint with one inline file, two objects and one packed object of two files, in a store of its own.
async fn checkpoint(root: &Path) -> (Store, Manifest) {
    let store = Store::open(&format!("file://{}", root.display())).await.unwrap();
    let inline = b"inline".to_vec();
    let mut files = vec![StateFile {
        name: "CURRENT".into(),
        bytes: 6,
        sha256: sha256_hex(&inline),
        content: FileContent::Inline(base64::engine::general_purpose::STANDARD.encode(&inline)),
    }];
    for n in 0..2u8 {
        let bytes = vec![n; 1000];
        let key = format!("jobs/j/shared/1-1/{n}");
        store.put_if_absent(&key, bytes.clone().into()).await.unwrap();
        let content = FileContent::Object(key);
        files.push(StateFile { name: format!("00000{n}.sst"), bytes: 1000, sha256: sha256_hex(&bytes), content });
    }
    let packed: Vec<u8> = (0..=255).collect();
    store.put_if_absent(PACK, packed.clone().into()).await.unwrap();
    for (name, range) in [("000003.sst", 0..100), ("000004.sst", 156..256usize)] {
        let content = FileContent::Packed { object: PACK.into(), offset: range.start as u64, object_bytes: 256 };
        files.push(StateFile { name: name.into(), bytes: 100, sha256: sha256_hex(&packed[range]), content });
    }
    let subtask =
        SubtaskState { subtask: 3, operator_state: None, keyed: Some(KeyedState { key_groups: 0..128, files }) };
    let manifest = Manifest {
        snapshot_id: SnapshotId::generate(),
        job_id: JobId::generate(),
        job_name: "j".into(),
        checkpoint_id: 7,
        attempt: 2,
        kind: SnapshotKind::Checkpoint,
        trigger: SnapshotTrigger::Periodic,
        drained: false,
        format: SnapshotFormat::Native,
        created_ms: 1,
        key: "jobs/j/chk-7-2/_metadata".into(),
        sql: String::new(),
        plan: JobGraph {
            version: 1,
            vertices: vec![],
            edges: vec![],
            options: Default::default(),
            changelog: Default::default(),
        },
        settings: JobSettings::for_tests(),
        operators: vec![OperatorState { id: OperatorId::from_text("o"), name: "agg".into(), subtasks: vec![subtask] }],
    };
    store.put_if_absent(&manifest.key, manifest.encode().unwrap()).await.unwrap();
    (store, manifest)
}

async fn copied(from: &Store, manifest: &Manifest, to: &Store, scratch: &Path) -> Result<Manifest> {
    let progress = Transfer::default();
    let target = CopyTarget { store: to, id: SnapshotId::from_text("copy"), scratch, threads: 2 };
    let copied = copy(from, manifest, &target, &progress).await?;
    assert_eq!(progress.figures(), (2206, 2206));
    Ok(copied)
}

#[tokio::test]
async fn a_copy_stands_alone_and_can_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (from, manifest) = checkpoint(&dir.path().join("from")).await;
    let to = Store::open(&format!("file://{}", dir.path().join("to").display())).await.unwrap();
    // Twice: the second finds everything there.
    for _ in 0..2 {
        let copied = copied(&from, &manifest, &to, &dir.path().join("scratch")).await.unwrap();
        assert_eq!((copied.kind, copied.job_id), (SnapshotKind::Savepoint, manifest.job_id));
    }
    std::fs::remove_dir_all(dir.path().join("from")).unwrap();
    let folder = dir.path().join("to").join(savepoint_prefix(SnapshotId::from_text("copy")));
    let moved = dir.path().join("moved/anywhere");
    std::fs::create_dir_all(dir.path().join("moved")).unwrap();
    std::fs::rename(&folder, &moved).unwrap();
    let location = format!("file://{}", moved.display());
    let (store, loaded) = load(&to, &location).await.unwrap();
    assert_eq!(loaded.key, "_metadata");
    let found = verify(&to, &location, 2, &Transfer::default()).await.unwrap();
    assert_eq!((found.intact, found.objects, found.bytes, found.damaged), (true, 4, 2206, vec![]));
    for key in loaded.object_keys() {
        assert!(store.exists(key).await.unwrap(), "{key}");
    }
}

#[tokio::test]
async fn verification_names_every_damaged_object() {
    let dir = tempfile::tempdir().unwrap();
    let (from, manifest) = checkpoint(&dir.path().join("from")).await;
    let location = from.uri_of(&manifest.key);
    let object = |n: u8| dir.path().join(format!("from/jobs/j/shared/1-1/{n}"));
    let check = async |expected: &[(&str, DamageKind)]| {
        let found = verify(&from, &location, 2, &Transfer::default()).await.unwrap();
        let damaged: Vec<_> = found.damaged.iter().map(|d| (d.object.as_str(), d.problem)).collect();
        let expected: Vec<_> = expected.iter().map(|(key, problem)| (from.uri_of(key), *problem)).collect();
        assert_eq!(damaged, expected.iter().map(|(key, p)| (key.as_str(), *p)).collect::<Vec<_>>());
        assert_eq!(found.intact, expected.is_empty());
    };
    check(&[]).await;
    std::fs::write(object(0), [9; 1000]).unwrap();
    std::fs::write(object(1), [1; 999]).unwrap();
    check(&[("jobs/j/shared/1-1/0", DamageKind::WrongHash), ("jobs/j/shared/1-1/1", DamageKind::WrongLength)]).await;
    std::fs::remove_file(object(0)).unwrap();
    check(&[("jobs/j/shared/1-1/0", DamageKind::Missing), ("jobs/j/shared/1-1/1", DamageKind::WrongLength)]).await;
    std::fs::write(object(0), [0; 1000]).unwrap();
    std::fs::write(object(1), [1; 1000]).unwrap();
    let pack = dir.path().join("from").join(PACK);
    let whole = std::fs::read(&pack).unwrap();
    let mut changed = whole.clone();
    changed[200] ^= 1;
    std::fs::write(&pack, &changed).unwrap();
    check(&[(PACK, DamageKind::WrongHash)]).await;
    std::fs::write(&pack, &whole[..255]).unwrap();
    check(&[(PACK, DamageKind::WrongLength)]).await;
    // Bytes of no file that is still in use.
    changed.clone_from(&whole);
    changed[120] ^= 1;
    std::fs::write(&pack, &changed).unwrap();
    check(&[]).await;
    let metadata = dir.path().join("from").join(&manifest.key);
    std::fs::write(&metadata, b"HOLDFAST").unwrap();
    check(&[(manifest.key.as_str(), DamageKind::Unreadable)]).await;
    std::fs::remove_file(&metadata).unwrap();
    check(&[(manifest.key.as_str(), DamageKind::Missing)]).await;
}

#[tokio::test]
async fn a_damaged_snapshot_is_not_copied_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (from, manifest) = checkpoint(&dir.path().join("from")).await;
    let to = Store::open(&format!("file://{}", dir.path().join("to").display())).await.unwrap();
    std::fs::write(dir.path().join("from/jobs/j/shared/1-1/1"), [9; 1000]).unwrap();
    let error = copied(&from, &manifest, &to, &dir.path().join("scratch")).await.unwrap_err();
    assert_eq!(error.code, "object_corrupt");
    assert!(error.message.contains("jobs/j/shared/1-1/1"), "{error}");
    remove_unfinished(&to, SnapshotId::from_text("copy")).await.unwrap();
    assert_eq!(to.list("").await.unwrap(), []);
}
