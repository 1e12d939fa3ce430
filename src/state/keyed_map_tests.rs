//! A map of sums against a `HashMap`, with evictions, flushes and restores at other key-group ranges in between.

use super::*;
use crate::state::{RestoredState, SharedMemory, StateContext};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::DataType;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

const MAX_PARALLELISM: u32 = 128;

/// A sum per key; zero is empty.
#[derive(Default)]
struct Sums(Vec<i64>);

impl Entries for Sums {
    fn resize(&mut self, slots: usize) {
        self.0.resize(slots, 0);
    }
    fn is_empty(&self, slot: usize) -> bool {
        self.0[slot] == 0
    }
    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0[slot].to_be_bytes());
    }
    fn read(&mut self, slot: usize, value: &[u8]) -> Result<()> {
        self.0[slot] = i64::from_be_bytes(value.try_into().unwrap());
        Ok(())
    }
    fn keep(&mut self, slots: &[u32]) -> Result<()> {
        self.0 = slots.iter().map(|s| self.0[*s as usize]).collect();
        Ok(())
    }
    fn bytes(&self) -> usize {
        8 * self.0.len()
    }
}

#[derive(Debug, Clone)]
enum Action {
    Add(Vec<(i64, i64)>),
    Flush,
    Evict,
    Restore(u32),
}

struct Subtask {
    backend: Backend,
    map: KeyedMap<Sums>,
}

fn open(
    root: &std::path::Path,
    generation: usize,
    parallelism: u32,
    text: bool,
    old: &[RestoredState],
) -> Vec<Subtask> {
    (0..parallelism as usize)
        .map(|subtask| {
            let key_groups = crate::graph::key_group::range_of(subtask, parallelism, MAX_PARALLELISM);
            let mut restored = Vec::new();
            for (index, one) in old.iter().enumerate() {
                if one.key_groups.start < key_groups.end && key_groups.start < one.key_groups.end {
                    let dir = root.join(format!("{generation}-{subtask}-from-{index}"));
                    std::fs::create_dir_all(&dir).unwrap();
                    for file in std::fs::read_dir(&one.dir).unwrap().map(|e| e.unwrap().path()) {
                        std::fs::copy(&file, dir.join(file.file_name().unwrap())).unwrap();
                    }
                    restored.push(RestoredState { dir, key_groups: one.key_groups.clone() });
                }
            }
            let context = StateContext {
                dir: root.join(format!("{generation}-{subtask}")),
                key_groups,
                max_parallelism: MAX_PARALLELISM,
                memory_budget_bytes: 0,
                shared: Arc::new(SharedMemory::new(8 << 20)),
                restored,
            };
            let backend = Backend::open(&context, &["sums"], "sums").unwrap();
            let codec = KeyCodec::new(vec![if text { DataType::Utf8 } else { DataType::Int64 }]).unwrap();
            let map =
                KeyedMap::open(&backend, "sums", Some(7), codec, MAX_PARALLELISM, Sums::default(), 1 << 20).unwrap();
            Subtask { backend, map }
        })
        .collect()
}

fn keys(values: &[i64], text: bool, codec: &KeyCodec) -> KeyBatch {
    let column: ArrayRef = if text {
        Arc::new(StringArray::from_iter_values(values.iter().map(|v| format!("key {v}"))))
    } else {
        Arc::new(Int64Array::from(values.to_vec()))
    };
    codec.encode(&[column], values.len()).unwrap()
}

fn add(subtasks: &mut [Subtask], changes: &[(i64, i64)], text: bool) {
    let codec = subtasks[0].map.codec().clone();
    let all: Vec<i64> = changes.iter().map(|(k, _)| *k).collect();
    let parallelism = u32::try_from(subtasks.len()).unwrap();
    let hashes = keys(&all, text, &codec).hashes();
    for (index, subtask) in subtasks.iter_mut().enumerate() {
        let mine: Vec<(i64, i64)> = changes
            .iter()
            .zip(&hashes)
            .filter(|(_, h)| {
                let group = key_group(**h, MAX_PARALLELISM);
                crate::graph::key_group::subtask_of(group, parallelism, MAX_PARALLELISM) == index
            })
            .map(|(c, _)| *c)
            .collect();
        let mut slots = Vec::new();
        let batch = keys(&mine.iter().map(|(k, _)| *k).collect::<Vec<_>>(), text, &codec);
        subtask.map.resolve(&subtask.backend, &batch, None, &mut slots).unwrap();
        for (slot, (_, by)) in slots.iter().zip(&mine) {
            subtask.map.entries.0[*slot as usize] += by;
        }
        subtask.map.change(&slots);
    }
}

fn check(actions: &[Action], text: bool) {
    let root = crate::state::test_dir();
    let mut expected: HashMap<i64, i64> = HashMap::new();
    let mut subtasks = open(root.path(), 0, 1, text, &[]);
    for (generation, action) in (1..).zip(actions) {
        match action {
            Action::Add(changes) => {
                changes.iter().for_each(|(k, v)| *expected.entry(*k).or_default() += v);
                add(&mut subtasks, changes, text);
            }
            Action::Flush => subtasks.iter_mut().for_each(|s| s.map.flush(&s.backend).unwrap()),
            Action::Evict => subtasks.iter_mut().for_each(|s| s.map.evict(&s.backend, s.map.bytes() / 2).unwrap()),
            Action::Restore(parallelism) => {
                let old: Vec<RestoredState> = subtasks
                    .iter_mut()
                    .map(|s| {
                        s.map.flush(&s.backend).unwrap();
                        let snapshot = s.backend.snapshot().unwrap();
                        RestoredState { dir: snapshot.dir, key_groups: snapshot.key_groups }
                    })
                    .collect();
                subtasks = open(root.path(), generation, *parallelism, text, &old);
            }
        }
    }
    expected.retain(|_, v| *v != 0);
    let mut found = 0;
    for subtask in &mut subtasks {
        subtask.map.flush(&subtask.backend).unwrap();
        subtask
            .map
            .scan(&subtask.backend, |_, _| {
                found += 1;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
    }
    assert_eq!(found, expected.len(), "RocksDB has each entry once, and no empty one");
    // Adding zero reads every key back.
    let wanted: Vec<(i64, i64)> = expected.keys().map(|k| (*k, 0)).collect();
    if !wanted.is_empty() {
        add(&mut subtasks, &wanted, text);
    }
    let total: i64 = expected.values().sum();
    let mut held = 0;
    for subtask in &subtasks {
        held += subtask.map.entries.0.iter().sum::<i64>();
    }
    assert_eq!(held, total);
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => prop::collection::vec((0..40i64, -3..4i64), 1..30).prop_map(Action::Add),
        1 => Just(Action::Flush),
        2 => Just(Action::Evict),
        1 => (1..4u32).prop_map(Action::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn entries_survive_evictions_flushes_and_rescales(actions in prop::collection::vec(action(), 1..20), text in any::<bool>()) {
        check(&actions, text);
    }
}
