//! Canonical parts: both ways round, cuts, damage, golden bytes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::state::{RestoredState, StateContext, test_dir};

const TABLES: &[&str] = &["one", "two"];
type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

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

/// An image with these entries (of one table each), as files of entries.
fn written(dir: &Path, key_groups: Range<u16>, tables: &[Entries]) -> PathBuf {
    let mut backend = Backend::open(&context(&dir.join("db"), key_groups, vec![]), TABLES, "layout").unwrap();
    for (name, entries) in TABLES.iter().zip(tables) {
        let mut writes = backend.writes(name).unwrap();
        entries.iter().for_each(|(k, v)| writes.put(k, v).unwrap());
        writes.commit().unwrap();
    }
    let image = backend.snapshot().unwrap();
    let to = dir.join("entries");
    let mut parts = Vec::new();
    write(&image.dir, &to, &SharedMemory::new(8 << 20), &mut |path| {
        parts.push(path);
        Ok(())
    })
    .unwrap();
    parts.sort();
    assert_eq!(entry_files(&to).unwrap(), parts);
    to
}

fn read(backend: &Backend, table: &str) -> Entries {
    let mut found = Entries::new();
    let scanned = backend.scan(table, &[], |key, value| {
        found.insert(key.to_vec(), value.to_vec());
        Ok(ControlFlow::Continue(()))
    });
    scanned.unwrap();
    found
}

fn entries() -> impl Strategy<Value = Entries> {
    let key = (0u16..128, prop::collection::vec(any::<u8>(), 0..12)).prop_map(|(group, rest)| {
        let mut key = group.to_be_bytes().to_vec();
        key.extend(rest);
        key
    });
    prop::collection::btree_map(key, prop::collection::vec(any::<u8>(), 0..200), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the entries and however the key groups are cut before and after, each new subtask has exactly its own.
    #[test]
    fn entries_read_back_at_any_parallelism(
        tables in prop::collection::vec(entries(), TABLES.len()),
        old in 1u16..4,
        new in 1u16..4,
    ) {
        let tmp = test_dir();
        let cut = |n: u16, of: u16| (n * 128 / of)..((n + 1) * 128 / of);
        let within = |entries: &Entries, range: &Range<u16>| -> Entries {
            entries
                .iter()
                .filter(|(k, _)| range.contains(&u16::from_be_bytes([k[0], k[1]])))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect()
        };
        for subtask in 0..new {
            let range = cut(subtask, new);
            let restored = (0..old).map(|n| {
                let groups = cut(n, old);
                let mine: Vec<Entries> = tables.iter().map(|t| within(t, &groups)).collect();
                let dir = written(&tmp.path().join(format!("{subtask}-{n}")), groups.clone(), &mine);
                RestoredState { dir, key_groups: groups }
            });
            let context = context(&tmp.path().join(format!("new-{subtask}")), range.clone(), restored.collect());
            let backend = Backend::open(&context, TABLES, "layout").unwrap();
            for (name, entries) in TABLES.iter().zip(&tables) {
                prop_assert_eq!(read(&backend, name), within(entries, &range));
            }
        }
    }
}

fn sample() -> Entries {
    (0..50u16).map(|n| ([n.to_be_bytes(), n.to_be_bytes()].concat(), vec![7; 40])).collect()
}

#[test]
fn large_tables_are_cut_into_parts_and_empty_ones_have_one() {
    let tmp = test_dir();
    let dir = written(tmp.path(), 0..128, &[sample(), Entries::new()]);
    let names: Vec<String> =
        entry_files(&dir).unwrap().iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert!(names.len() > 3, "{names:?}");
    assert_eq!(names.first().map(String::as_str), Some("one-00000000.entries"));
    assert_eq!(names.last().map(String::as_str), Some("two-00000000.entries"));
}

#[test]
fn the_bytes_of_version_1_are_these() {
    let tmp = test_dir();
    let entries: Entries = [(vec![0, 5, b'k'], b"v".to_vec()), (vec![0, 5, b'l'], vec![])].into();
    let dir = written(tmp.path(), 0..128, &[entries, Entries::new()]);
    let bytes = std::fs::read(dir.join("one-00000000.entries")).unwrap();
    let mut expected = b"HOLDFAST-ENTRIES 1\n".to_vec();
    let header = br#"{"table":"one","part":0,"layout":"layout","state_version":1}"#;
    expected.extend((header.len() as u32).to_be_bytes());
    expected.extend(header);
    expected.extend([1, 0, 5, 2, 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'v', 2, 0, 0, 0, 1, b'l', 0, 0, 0, 0]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(bytes, expected);
}

#[test]
fn another_layout_or_version_is_refused_and_so_is_any_cut() {
    let tmp = test_dir();
    let dir = written(tmp.path(), 0..128, &[sample(), Entries::new()]);
    let open = |name: &str, layout: &str| {
        // Restored files are taken over: a copy each time.
        let copy = tmp.path().join(format!("copy-{name}"));
        std::fs::create_dir(&copy).unwrap();
        for path in entry_files(&dir).unwrap() {
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        let restored = vec![RestoredState { dir: copy, key_groups: 0..128 }];
        Backend::open(&context(&tmp.path().join(format!("db-{name}")), 0..128, restored), TABLES, layout)
            .map(|backend| read(&backend, "one"))
            .map_err(|e| e.code)
    };
    assert_eq!(open("same", "layout"), Ok(sample()));
    assert_eq!(open("other", "another layout"), Err("state_incompatible".into()));
    let first = dir.join("one-00000000.entries");
    let bytes = std::fs::read(&first).unwrap();
    for length in (0..bytes.len()).step_by(7) {
        std::fs::write(&first, &bytes[..length]).unwrap();
        assert_eq!(open(&format!("cut-{length}"), "layout"), Err("state_corrupt".into()), "cut to {length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    std::fs::write(&first, &longer).unwrap();
    assert_eq!(open("longer", "layout"), Err("state_corrupt".into()));
    let mut newer = bytes;
    newer[17] = b'2';
    std::fs::write(&first, &newer).unwrap();
    assert_eq!(open("newer", "layout"), Err("state_format_unsupported".into()));
}
