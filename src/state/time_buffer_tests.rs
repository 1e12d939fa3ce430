//! A buffer against a sorted list, with flushes, spills and restores at other key-group ranges in between.

use super::*;
use crate::state::{RestoredState, SharedMemory, StateContext};
use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Action {
    /// Key groups and times after the watermark.
    Push(Vec<(u16, i64)>),
    Advance(i64),
    Flush,
    Spill,
    Restore(u32),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => prop::collection::vec((0u16..8, 1i64..20), 1..6).prop_map(Action::Push),
        3 => (1i64..12).prop_map(Action::Advance),
        1 => Just(Action::Flush),
        1 => Just(Action::Spill),
        1 => (1u32..4).prop_map(Action::Restore),
    ]
}

struct Subtask {
    backend: Backend,
    buffer: TimeBuffer,
}

fn open(root: &std::path::Path, generation: usize, parallelism: u32, old: &[RestoredState], next: u64) -> Vec<Subtask> {
    (0..parallelism as usize)
        .map(|subtask| {
            let key_groups = crate::graph::key_group::range_of(subtask, parallelism, 8);
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
                max_parallelism: 8,
                memory_budget_bytes: 0,
                shared: Arc::new(SharedMemory::new(8 << 20)),
                restored,
            };
            let backend = Backend::open(&context, &["pending"], "test").unwrap();
            let codec = RowCodec::new(vec![DataType::Int64, DataType::Int64]);
            let buffer = TimeBuffer::open(&backend, "pending", codec, next).unwrap();
            Subtask { backend, buffer }
        })
        .collect()
}

fn check(actions: Vec<Action>) {
    let tmp = crate::state::test_dir();
    let mut subtasks = open(tmp.path(), 0, 2, &[], 0);
    let (mut model, mut watermark, mut serial) = (Vec::<(i64, i64, u16)>::new(), 0, 0);
    for (generation, action) in actions.into_iter().chain([Action::Advance(1000)]).enumerate() {
        match action {
            Action::Push(rows) => {
                for subtask in &mut subtasks {
                    let owned = subtask.backend.key_groups();
                    let mine: Vec<_> = rows.iter().filter(|(group, _)| owned.contains(group)).collect();
                    let times: Vec<i64> = mine.iter().map(|(_, after)| watermark + after).collect();
                    let groups: Vec<u16> = mine.iter().map(|(group, _)| *group).collect();
                    let serials: Vec<i64> = (serial..).take(mine.len()).collect();
                    serial += 100;
                    model.extend(times.iter().zip(&serials).zip(&groups).map(|((t, s), g)| (*t, *s, *g)));
                    let columns: Vec<ArrayRef> =
                        vec![Arc::new(Int64Array::from(times.clone())), Arc::new(Int64Array::from(serials))];
                    subtask.buffer.push(columns, &times, &groups).unwrap();
                }
            }
            Action::Advance(by) => {
                watermark += by;
                for subtask in &mut subtasks {
                    let owned = subtask.backend.key_groups();
                    let due = |(time, _, group): &&(i64, i64, u16)| *time <= watermark && owned.contains(group);
                    let mut expected: Vec<(i64, i64)> = model.iter().filter(due).map(|(t, s, _)| (*t, *s)).collect();
                    expected.sort_unstable();
                    let released = subtask.buffer.release(&subtask.backend, watermark).unwrap();
                    let mut found: Vec<(i64, i64)> = released.map_or(vec![], |released| {
                        let column = |c: usize| released.columns[c].as_primitive::<Int64Type>().values().to_vec();
                        assert_eq!(released.times, column(0));
                        column(0).into_iter().zip(column(1)).collect()
                    });
                    assert!(found.is_sorted_by_key(|(time, _)| *time));
                    found.sort_unstable();
                    assert_eq!(found, expected);
                }
                model.retain(|(time, ..)| *time > watermark);
            }
            Action::Flush => subtasks.iter_mut().for_each(|s| s.buffer.flush(&s.backend).unwrap()),
            Action::Spill => {
                for subtask in &mut subtasks {
                    subtask.buffer.spill(&subtask.backend).unwrap();
                    assert_eq!(subtask.buffer.bytes(), 0);
                }
            }
            Action::Restore(parallelism) => {
                let mut old = Vec::new();
                let mut next = 0;
                for subtask in &mut subtasks {
                    subtask.buffer.flush(&subtask.backend).unwrap();
                    let snapshot = subtask.backend.snapshot().unwrap();
                    old.push(RestoredState { dir: snapshot.dir, key_groups: snapshot.key_groups });
                    next = next.max(subtask.buffer.next_number());
                }
                subtasks.clear();
                subtasks = open(tmp.path(), generation + 1, parallelism, &old, next);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_row_is_released_once_and_in_order(actions in prop::collection::vec(action(), 1..25)) {
        check(actions);
    }
}

#[test]
fn rows_of_one_time_keep_their_order_of_arrival_over_a_restore() {
    let push = |n| Action::Push(vec![(3, 5); n]);
    check(vec![push(3), Action::Spill, push(2), Action::Restore(3), push(2), Action::Flush, push(1)]);
}

#[test]
fn operator_state_of_several_subtasks_is_united() {
    let state = |watermark: i64, next: u64| serde_json::json!({"v": 1, "watermark": watermark, "next_number": next});
    assert_eq!(restored_operator_state(&[]).unwrap(), (i64::MIN, 0));
    assert_eq!(restored_operator_state(&[state(5, 1), state(3, 9)]).unwrap(), (3, 9));
    assert!(restored_operator_state(&[serde_json::json!({"v": 2})]).is_err());
}

#[test]
fn late_rows_are_those_at_or_before_the_watermark() {
    assert_eq!(in_time(&[1, 2], i64::MIN), None);
    assert_eq!(in_time(&[4, 5, 6], 5), Some(vec![2]));
    assert_eq!(in_time(&[6, 7], 5), None);
}
