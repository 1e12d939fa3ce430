//! Lists of rows by key: against a plain map, through restores and small budgets; stored bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use proptest::prelude::*;

use super::*;
use crate::state::{RestoredState, SharedMemory, StateContext, test_dir};

const TABLE: &str = "rows";

fn context(dir: std::path::PathBuf, restored: Vec<RestoredState>) -> StateContext {
    StateContext {
        dir,
        key_groups: 0..128,
        max_parallelism: 128,
        memory_budget_bytes: 1 << 20,
        shared: Arc::new(SharedMemory::new(8 << 20)),
        restored,
    }
}

fn keys(codec: &KeyCodec, keys: &[u8]) -> KeyBatch {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(keys.iter().map(|k| format!("key {k}"))));
    codec.encode(&[column], keys.len()).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8, u8),
    Remove(u8, u8),
    Associate(u8, u8, u32),
    Read(u8),
    Flush,
    Shrink(usize),
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let (key, row) = (0..6u8, 0..12u8);
    prop_oneof![
        8 => (key.clone(), row.clone()).prop_map(|(k, r)| Step::Push(k, r)),
        4 => (key.clone(), row.clone()).prop_map(|(k, r)| Step::Remove(k, r)),
        2 => (key.clone(), row, 0..9u32).prop_map(|(k, r, n)| Step::Associate(k, r, n)),
        3 => key.prop_map(Step::Read),
        1 => Just(Step::Flush),
        2 => (0..4000usize).prop_map(Step::Shrink),
        1 => Just(Step::Restore),
    ]
}

fn bytes(row: u8) -> Vec<u8> {
    vec![row; usize::from(row) + 1]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Lists are those of a map of vectors, whatever is written, forgotten and restored in between.
    #[test]
    fn lists_are_as_in_a_simple_map(steps in prop::collection::vec(step(), 1..200), by_key in any::<bool>()) {
        let root = test_dir();
        let codec = KeyCodec::new(vec![DataType::Utf8]).unwrap();
        let mut opened = 0;
        let mut backend = Backend::open(&context(root.path().join("0"), vec![]), &[TABLE], "test").unwrap();
        let mut lists = RowLists::open(&backend, TABLE, codec.clone(), 128);
        let mut model: BTreeMap<u8, Vec<(u8, u32)>> = BTreeMap::new();
        let identity = |row: u8| if by_key { vec![row] } else { bytes(row) };
        let mut groups = Vec::new();
        for step in steps {
            match step {
                Step::Push(key, row) => {
                    lists.groups(&keys(&codec, &[key]), &mut groups).unwrap();
                    let id = identity(row);
                    let id = if by_key { Identity::Key(&id) } else { Identity::Row };
                    lists.push(groups[0], &bytes(row), id, 0).unwrap();
                    model.entry(key).or_default().push((row, 0));
                }
                Step::Remove(key, row) | Step::Associate(key, row, _) => {
                    lists.lookup(&backend, &keys(&codec, &[key]), &mut groups).unwrap();
                    let id = identity(row);
                    let found = lists.find(groups[0], &id);
                    let list = model.entry(key).or_default();
                    // Of equal rows any may be found; they differ in nothing but associations.
                    prop_assert_eq!(found.is_some(), list.iter().any(|(r, _)| *r == row));
                    let Some(found) = found else { continue };
                    let position = lists.entries(groups[0]).position(|e| e == found).unwrap();
                    prop_assert_eq!(list[position].0, row);
                    match step {
                        Step::Associate(.., n) => {
                            lists.associate(found, n);
                            list[position].1 = n;
                        }
                        _ => {
                            lists.remove(found);
                            list.remove(position);
                        }
                    }
                }
                Step::Read(key) => {
                    lists.lookup(&backend, &keys(&codec, &[key]), &mut groups).unwrap();
                    let found: Vec<(Vec<u8>, u32)> = lists
                        .entries(groups[0])
                        .map(|e| (lists.row(e).to_vec(), lists.associations(e)))
                        .collect();
                    let expected = model.get(&key).into_iter().flatten().map(|(r, n)| (bytes(*r), *n));
                    prop_assert_eq!(found, expected.collect::<Vec<_>>());
                }
                Step::Flush => lists.flush(&backend).unwrap(),
                Step::Shrink(budget) => lists.keep_budget(&backend, budget).unwrap(),
                Step::Restore => {
                    lists.flush(&backend).unwrap();
                    let snapshot = backend.snapshot().unwrap();
                    let restored = RestoredState { dir: snapshot.dir, key_groups: 0..128 };
                    opened += 1;
                    drop(backend);
                    backend = Backend::open(&context(root.path().join(opened.to_string()), vec![restored]), &[TABLE], "test").unwrap();
                    lists = RowLists::open(&backend, TABLE, codec.clone(), 128);
                }
            }
        }
    }
}

#[test]
fn stored_bytes_are_these() {
    let root = test_dir();
    let codec = KeyCodec::new(vec![DataType::Utf8]).unwrap();
    let backend = Backend::open(&context(root.path().join("0"), vec![]), &[TABLE], "test").unwrap();
    let mut lists = RowLists::open(&backend, TABLE, codec.clone(), 128);
    let mut groups = Vec::new();
    lists.groups(&keys(&codec, &[1]), &mut groups).unwrap();
    lists.push(groups[0], b"ab", Identity::Row, 0).unwrap();
    lists.flush(&backend).unwrap();
    lists.push(groups[0], b"row", Identity::Key(b"k"), 7).unwrap();
    lists.flush(&backend).unwrap();
    let mut stored = Vec::new();
    backend
        .scan(TABLE, &[], |key, value| {
            stored.push((key[2..].to_vec(), value.to_vec()));
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    let head = |associations: u8, identity: u8, length: u8| {
        let mut head = [0; HEAD_BYTES];
        (head[0], head[12], head[16], head[20]) = (2, associations, identity, length);
        head
    };
    let value = [&head(0, 2, 2)[..], b"ab", &head(7, 1, 4), b"krow"];
    assert_eq!(stored, vec![(b"\x01\0\0\0\x05key 1".to_vec(), value.concat())]);
}

#[test]
fn rows_expire() {
    let root = test_dir();
    let codec = KeyCodec::new(vec![DataType::Utf8]).unwrap();
    let backend = Backend::open(&context(root.path().join("0"), vec![]), &[TABLE], "test").unwrap();
    let mut lists = RowLists::open(&backend, TABLE, codec.clone(), 128).with_ttl(100);
    let mut groups = Vec::new();
    let both = keys(&codec, &[1, 2]);
    let lengths = |lists: &RowLists, groups: &[u32]| groups.iter().map(|g| lists.length(*g)).collect::<Vec<_>>();
    for (now, spill, sweeps, expected) in
        [(1000, false, 0, [1, 1]), (1050, true, 0, [2, 2]), (1100, false, 0, [2, 2]), (1200, true, 40, [1, 1])]
    {
        lists.set_now(now);
        for _ in 0..sweeps {
            lists.sweep(&backend).unwrap();
        }
        lists.groups(&both, &mut groups).unwrap();
        groups.clone().into_iter().for_each(|g| lists.push(g, b"row", Identity::Row, 0).unwrap());
        if spill {
            lists.keep_budget(&backend, 0).unwrap();
        }
        lists.lookup(&backend, &both, &mut groups).unwrap();
        assert_eq!(lengths(&lists, &groups), expected, "at {now}");
    }
    // What is only in RocksDB is deleted there too.
    lists.keep_budget(&backend, 0).unwrap();
    lists.set_now(2000);
    for _ in 0..SWEEP_PARTS {
        lists.sweep(&backend).unwrap();
    }
    let mut left = 0;
    backend
        .scan(TABLE, &[], |_, _| {
            left += 1;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(left, 0);
}
