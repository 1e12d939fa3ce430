//! Temporal joins: which version a row meets, kinds, restores.

use std::sync::Arc;

use arrow::array::{Int64Array, TimestampMillisecondArray};

use super::*;
use crate::graph::{JoinCondition, JoinKey, JoinKind};
use crate::operator::MAX_WATERMARK;
use crate::operator::test_support::Collected;
use crate::state::{RestoredState, SharedMemory, test_dir};
use crate::types::row_kind::{UPDATE_AFTER, attach, with_row_kind};
use crate::types::{Field, TimestampKind, TypeKind};

const N: i64 = i64::MIN;

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("k", TypeKind::BigInt.into()),
        Field::new("v", TypeKind::BigInt.into()),
        Field::new("ts", TypeKind::Timestamp(3, TimestampKind::Rowtime).into()),
    ])
}

/// Rows of key, value, time and kind.
fn rows(rows: &[(i64, i64, i64, i8)]) -> RecordBatch {
    let column = |of: fn(&(i64, i64, i64, i8)) -> i64| {
        rows.iter().map(|r| Some(of(r)).filter(|v| *v != N)).collect::<Int64Array>()
    };
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.2));
    let columns: Vec<ArrayRef> = vec![Arc::new(column(|r| r.0)), Arc::new(column(|r| r.1)), Arc::new(times)];
    let schema = schema().to_arrow();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let kinds = rows.iter().map(|r| r.3).collect::<Int8Array>();
    attach(&batch, kinds, &with_row_kind(&schema)).unwrap()
}

fn open(
    root: &tempfile::TempDir,
    kind: JoinKind,
    attempt: u32,
    restored: Option<OperatorSnapshot>,
    budget: usize,
) -> TemporalJoinOperator {
    let condition = JoinCondition {
        kind,
        keys: vec![JoinKey { left: 0, right: 0, null_safe: false }],
        residual: None,
        output: vec![0, 1, 4],
    };
    let spec = TemporalJoinSpec { condition, left_time: 2, right_time: 2 };
    let values: Vec<_> = restored.iter().filter_map(|r| r.operator_state.clone()).collect();
    let keyed = restored.and_then(|r| r.keyed);
    let state = StateContext {
        dir: root.path().join(attempt.to_string()),
        key_groups: 0..128,
        max_parallelism: 128,
        memory_budget_bytes: budget,
        shared: Arc::new(SharedMemory::new(8 << 20)),
        restored: keyed.map(|k| RestoredState { dir: k.dir, key_groups: k.key_groups }).into_iter().collect(),
    };
    let context = EvalContext { time_zone: chrono_tz::Tz::UTC };
    let output = Schema::new(["a", "b", "c"].map(|n| Field::new(n, TypeKind::BigInt.into())).to_vec());
    TemporalJoinOperator::open(&spec, [&schema(), &schema()], &output, &context, &state, &values).unwrap()
}

fn check(kind: JoinKind, budget: usize, restores: bool, expected: &[&[&[i64]]]) {
    let root = test_dir();
    let mut attempt = 0;
    let mut operator = open(&root, kind, attempt, None, budget);
    const I: i8 = INSERT;
    type Rows = &'static [(i64, i64, i64, i8)];
    let steps: [(Rows, Rows, i64); 4] = [
        (&[(1, 10, 5, I), (1, 11, 15, I), (2, 12, 15, I), (N, 13, 16, I)], &[(1, 100, 0, I), (1, 101, 15, I)], 15),
        // Versions come in any order; one of the same time replaces the other; a deletion ends.
        (
            &[(1, 14, 30, I), (1, 15, 19, I)],
            &[(1, 102, 20, UPDATE_AFTER), (1, 101, 15, UPDATE_BEFORE), (1, 103, 20, I)],
            30,
        ),
        (&[(1, 16, 45, UPDATE_AFTER), (1, 17, 41, I)], &[(1, 103, 40, DELETE)], 44),
        // Late: it meets the latest version that is still there.
        (&[(1, 18, 39, I)], &[(1, 104, 45, I)], MAX_WATERMARK),
    ];
    for ((left, right, watermark), expected) in steps.into_iter().zip(expected) {
        let mut out = Collected::default();
        operator.process(1, rows(right), &mut out).unwrap();
        operator.process(0, rows(left), &mut out).unwrap();
        if restores {
            let snapshot = operator.snapshot(1).unwrap();
            drop(operator);
            attempt += 1;
            operator = open(&root, kind, attempt, Some(snapshot), budget);
        }
        operator.watermark(watermark, &mut out).unwrap();
        assert_eq!(out.watermarks, [watermark]);
        let mut found = Vec::new();
        for batch in std::mem::take(&mut out.batches) {
            let (batch, kinds) = split(batch).unwrap();
            let part = Collected { batches: vec![batch], watermarks: vec![] };
            for (i, mut row) in part.integers().into_iter().enumerate() {
                row.push(i64::from(kinds.as_ref().map_or(INSERT, |k| k.value(i))));
                found.push(row);
            }
        }
        assert_eq!(found, *expected, "{kind:?} up to {watermark}");
    }
}

#[test]
fn a_row_meets_the_version_of_its_time() {
    for (budget, restores) in [(1 << 20, false), (1 << 20, true), (300, false), (300, true)] {
        check(
            JoinKind::Inner,
            budget,
            restores,
            &[&[&[1, 10, 100, 0], &[1, 11, 101, 0]], &[&[1, 15, 101, 0], &[1, 14, 103, 0]], &[], &[&[1, 16, 104, 2]]],
        );
        check(
            JoinKind::Left,
            budget,
            restores,
            &[
                &[&[1, 10, 100, 0], &[1, 11, 101, 0], &[2, 12, N, 0]],
                &[&[N, 13, N, 0], &[1, 15, 101, 0], &[1, 14, 103, 0]],
                &[&[1, 17, N, 0]],
                &[&[1, 18, N, 0], &[1, 16, 104, 2]],
            ],
        );
    }
}
