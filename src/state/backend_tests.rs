//! The RocksDB backend: snapshots, restores in place and by import, damaged files.

use super::*;
use crate::state::RestoredState;

const TABLE: &str = "t";

fn context(dir: &Path, key_groups: Range<u16>, restored: Vec<RestoredState>) -> StateContext {
    StateContext {
        dir: dir.to_owned(),
        key_groups,
        max_parallelism: 128,
        memory_budget_bytes: 1 << 20,
        shared: Arc::new(SharedMemory::new(8 << 20)),
        restored,
    }
}

fn open(context: &StateContext) -> Result<Backend> {
    Backend::open(context, &[TABLE], "layout")
}

/// Writes one entry per key group.
fn fill(backend: &Backend, value: &[u8]) {
    let mut writes = backend.writes(TABLE).unwrap();
    for group in backend.key_groups() {
        writes.put(&group.to_be_bytes(), value).unwrap();
    }
    writes.commit().unwrap();
}

fn entries(backend: &Backend) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    let all = backend.scan(TABLE, &[], |key, value| {
        found.push((u16::from_be_bytes(key.try_into().unwrap()), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    });
    all.unwrap();
    found
}

fn ssts(snapshot: &StateSnapshot) -> Vec<String> {
    snapshot.files.iter().map(|(name, _)| name.clone()).filter(|n| n.ends_with(".sst")).collect()
}

#[test]
fn restore_in_place_keeps_the_names_of_unchanged_files() {
    let tmp = crate::state::test_dir();
    let mut first = open(&context(&tmp.path().join("a"), 0..128, vec![])).unwrap();
    fill(&first, b"1");
    let one = first.snapshot().unwrap();
    let unchanged = first.snapshot().unwrap();
    assert_eq!(ssts(&one), ssts(&unchanged));
    assert!(!ssts(&one).is_empty());
    drop(first);

    let restored = vec![RestoredState { dir: unchanged.dir, key_groups: 0..128 }];
    let mut second = open(&context(&tmp.path().join("b"), 0..128, restored)).unwrap();
    assert!(second.is_restored());
    assert_eq!(entries(&second), (0..128).map(|g| (g, b"1".to_vec())).collect::<Vec<_>>());
    fill(&second, b"2");
    let more = ssts(&second.snapshot().unwrap());
    assert!(ssts(&one).iter().all(|name| more.contains(name)), "{more:?} keeps {one:?}");
    assert!(more.len() > ssts(&one).len());
    // The image taken before is untouched.
    let restored = vec![RestoredState { dir: one.dir, key_groups: 0..128 }];
    let old = open(&context(&tmp.path().join("c"), 0..128, restored)).unwrap();
    assert!(entries(&old).iter().all(|(_, value)| value == b"1"));
}

#[test]
fn import_takes_the_owned_key_groups_of_each_old_subtask() {
    let tmp = crate::state::test_dir();
    let old = |name: &str, groups: Range<u16>, value: &[u8]| {
        let mut backend = open(&context(&tmp.path().join(name), groups.clone(), vec![])).unwrap();
        fill(&backend, value);
        RestoredState { dir: backend.snapshot().unwrap().dir, key_groups: groups }
    };
    let restored = vec![old("a", 0..64, b"a"), old("b", 64..128, b"b")];
    let new = open(&context(&tmp.path().join("c"), 43..86, restored)).unwrap();
    let expected: Vec<_> = (43..86).map(|g| (g, if g < 64 { b"a".to_vec() } else { b"b".to_vec() })).collect();
    assert_eq!(entries(&new), expected);
}

#[test]
fn scans_prefixes_deletes() {
    let tmp = crate::state::test_dir();
    let backend = open(&context(tmp.path(), 0..4, vec![])).unwrap();
    fill(&backend, b"v");
    assert_eq!(backend.prefixes(TABLE, 2).unwrap(), (0..4u16).map(|g| g.to_be_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(backend.prefixes(TABLE, 1).unwrap(), vec![vec![0]]);
    let mut writes = backend.writes(TABLE).unwrap();
    writes.delete(&[0, 0]).unwrap();
    writes.delete_prefix(&[0, 2]).unwrap();
    writes.commit().unwrap();
    assert_eq!(entries(&backend).iter().map(|(g, _)| *g).collect::<Vec<_>>(), vec![1, 3]);
    let got = backend.multi_get(TABLE, [&[0u8, 1][..], &[0, 2]]).unwrap();
    assert_eq!(got.iter().map(|v| v.as_deref()).collect::<Vec<_>>(), vec![Some(&b"v"[..]), None]);
}

#[test]
fn damaged_files_are_corrupt_and_named() {
    for damage in ["missing sst", "short sst", "flipped sst", "missing CURRENT", "missing MANIFEST"] {
        let tmp = crate::state::test_dir();
        let mut backend = open(&context(&tmp.path().join("a"), 0..128, vec![])).unwrap();
        fill(&backend, b"value");
        let snapshot = backend.snapshot().unwrap();
        drop(backend);
        let part = damage.split(' ').nth(1).unwrap();
        // All of a kind, so that a table's file is among them whatever its number.
        let hit: Vec<_> = snapshot.files.iter().map(|(n, _)| n.clone()).filter(|n| n.contains(part)).collect();
        for name in &hit {
            let path = snapshot.dir.join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            if damage.starts_with("short") {
                bytes.truncate(bytes.len() / 2);
                std::fs::write(&path, bytes).unwrap();
            } else if damage.starts_with("flipped") {
                bytes.iter_mut().take(40).for_each(|b| *b ^= 0x55);
                std::fs::write(&path, bytes).unwrap();
            }
        }
        let restored = vec![RestoredState { dir: snapshot.dir, key_groups: 0..128 }];
        let answer = open(&context(&tmp.path().join("b"), 0..128, restored))
            .and_then(|b| b.scan(TABLE, &[], |_, _| Ok(ControlFlow::Continue(()))));
        let error = answer.expect_err(damage);
        assert_eq!(error.code, "state_corrupt", "{damage}: {error}");
        assert!(hit.iter().any(|name| error.to_string().contains(name.as_str())), "{damage}: {error} names {hit:?}");
    }
}

#[test]
fn another_layout_or_format_is_refused() {
    let tmp = crate::state::test_dir();
    let mut backend = open(&context(&tmp.path().join("a"), 0..128, vec![])).unwrap();
    let snapshots: Vec<_> = (0..2).map(|_| backend.snapshot().unwrap().dir).collect();
    for (dir, groups) in snapshots.into_iter().zip([0..128, 0..64]) {
        let restored = vec![RestoredState { dir, key_groups: 0..128 }];
        let other = context(&tmp.path().join(format!("b{}", groups.end)), groups, restored);
        assert_eq!(Backend::open(&other, &[TABLE], "another").err().unwrap().code, "state_incompatible");
    }
    let mut meta = backend.writes(META).unwrap();
    meta.put(FORMAT_KEY, b"2").unwrap();
    meta.commit().unwrap();
    let restored = vec![RestoredState { dir: backend.snapshot().unwrap().dir, key_groups: 0..128 }];
    let error = open(&context(&tmp.path().join("c"), 0..128, restored)).err().unwrap();
    assert_eq!(error.code, "state_format_unsupported");
}
