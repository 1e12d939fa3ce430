//! Against a naive reference that joins all rows of a window when it is over.

use std::sync::Arc;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;

use super::*;
use crate::expr::Expr;
use crate::graph::JoinKind;
use crate::operator::MAX_WATERMARK;
use crate::operator::key_hasher::KeyHasher;
use crate::operator::test_subtasks::Subtasks;
use crate::types::{DataType, Field, TimestampKind, TypeKind};

const SIZE: i64 = 10;
const NULL: i64 = i64::MIN;

/// (window number, key, value)
type Record = (i64, Option<i64>, i64);

#[derive(Debug, Clone)]
enum Action {
    Records(usize, Vec<Record>),
    Advance(i64),
    Restore(u32),
}

fn schema() -> Schema {
    let time = DataType::from(TypeKind::Timestamp(3, TimestampKind::Regular));
    Schema::new(vec![
        Field::new("ws", time.clone()),
        Field::new("we", time),
        Field::new("k", TypeKind::BigInt.into()),
        Field::new("v", TypeKind::BigInt.into()),
    ])
}

fn batch_of(records: &[Record]) -> RecordBatch {
    let times = |shift: i64| {
        let values = records.iter().map(|r| r.0 * SIZE + shift);
        Arc::new(TimestampMillisecondArray::from_iter_values(values)) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        times(0),
        times(SIZE),
        Arc::new(records.iter().map(|r| r.1).collect::<Int64Array>()),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.2))),
    ];
    RecordBatch::try_new(schema().to_arrow(), columns).unwrap()
}

fn spec(kind: JoinKind, residual: bool, null_safe: bool) -> WindowJoinSpec {
    let keys = [0, 1, 2].map(|c| JoinKey { left: c, right: c, null_safe: null_safe && c == 2 }).to_vec();
    let value = |column| Expr::column(column, TypeKind::BigInt.into());
    let residual = residual.then(|| crate::expr::call("<=", vec![value(3), value(7)]).unwrap());
    let output = if kind.is_semi_or_anti() { vec![0, 2, 3] } else { vec![0, 2, 3, 4, 6, 7] };
    let condition = JoinCondition { kind, keys, residual, output };
    WindowJoinSpec { condition, left_end: 1, right_end: 1, zoned: false }
}

fn subtasks(spec: &WindowJoinSpec, budget: usize) -> Subtasks {
    let all: Vec<Field> = schema().fields.into_iter().chain(schema().fields).collect();
    let output = Schema::new(spec.condition.output.iter().map(|c| all[*c].clone()).collect());
    let hasher = || KeyHasher::new(&schema(), &[0, 1, 2]).unwrap();
    let spec = spec.clone();
    Subtasks::new(budget, vec![hasher(), hasher()], move |context, states| {
        let utc = EvalContext { time_zone: chrono_tz::Tz::UTC };
        let inputs = [&schema(), &schema()];
        Box::new(WindowJoinOperator::open(&spec, inputs, &output, context, states, &utc).unwrap())
    })
}

fn expected(left: &[Record], right: &[Record], kind: JoinKind, residual: bool, null_safe: bool) -> Vec<Vec<i64>> {
    let matches =
        |l: &Record, r: &Record| l.0 == r.0 && l.1 == r.1 && (l.1.is_some() || null_safe) && (!residual || l.2 <= r.2);
    let cells = |r: &Record| vec![r.0 * SIZE, r.1.unwrap_or(NULL), r.2];
    let nulls = || vec![NULL; 3];
    let mut rows = Vec::new();
    for l in left {
        let found: Vec<&Record> = right.iter().filter(|r| matches(l, r)).collect();
        match kind {
            JoinKind::Semi if !found.is_empty() => rows.push(cells(l)),
            JoinKind::Anti if found.is_empty() => rows.push(cells(l)),
            JoinKind::Semi | JoinKind::Anti => {}
            _ => {
                rows.extend(found.iter().map(|r| [cells(l), cells(r)].concat()));
                if found.is_empty() && kind.keeps_left() {
                    rows.push([cells(l), nulls()].concat());
                }
            }
        }
    }
    if kind.keeps_right() {
        let alone = right.iter().filter(|r| !left.iter().any(|l| matches(l, r)));
        rows.extend(alone.map(|r| [nulls(), cells(r)].concat()));
    }
    rows.sort_unstable();
    rows
}

fn check(kind: JoinKind, residual: bool, null_safe: bool, budget: usize, actions: &[Action]) {
    let mut subtasks = subtasks(&spec(kind, residual, null_safe), budget);
    let (mut rows, mut watermark, mut late) = ([vec![], vec![]], -100, 0);
    for action in actions.iter().chain(&[Action::Advance(MAX_WATERMARK)]) {
        match action {
            Action::Records(side, records) => {
                let (in_time, too_late): (Vec<Record>, Vec<Record>) =
                    records.iter().partition(|r| r.0 * SIZE + SIZE - 1 > watermark);
                late += too_late.len() as u64;
                rows[*side].extend(in_time);
                subtasks.push(*side, &batch_of(records));
            }
            Action::Advance(by) => {
                watermark = watermark.saturating_add(*by);
                subtasks.watermark(watermark);
                let mut due = |side: usize| {
                    let (due, open): (Vec<Record>, Vec<Record>) =
                        rows[side].iter().partition(|r| r.0 * SIZE + SIZE - 1 <= watermark);
                    rows[side] = open;
                    due
                };
                let (left, right) = (due(0), due(1));
                assert_eq!(subtasks.take(), expected(&left, &right, kind, residual, null_safe), "at {watermark}");
            }
            Action::Restore(parallelism) => {
                let lost = batch_of(&[(1_000, Some(1), 1)]);
                subtasks.restore(*parallelism, &[(0, lost.clone()), (1, lost)]);
            }
        }
        assert_eq!(subtasks.late(), late);
    }
}

fn action() -> impl Strategy<Value = Action> {
    let record = (-10..10i64, prop::option::weighted(0.8, 0..3i64), 0..8i64);
    prop_oneof![
        6 => (0..2usize, prop::collection::vec(record, 0..25)).prop_map(|(side, rows)| Action::Records(side, rows)),
        3 => (0..40i64).prop_map(Action::Advance),
        1 => (1..4u32).prop_map(Action::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_are_those_of_a_naive_reference(
        kind in prop::sample::select(vec![
            JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti,
        ]),
        residual in any::<bool>(),
        null_safe in any::<bool>(),
        budget in prop_oneof![Just(64usize << 20), Just(1), 500..20_000usize],
        actions in prop::collection::vec(action(), 1..20),
    ) {
        check(kind, residual, null_safe, budget, &actions);
    }
}
