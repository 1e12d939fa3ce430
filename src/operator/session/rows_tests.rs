//! Against a naive reference that keeps every row, one by one.

use std::sync::Arc;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;

use super::*;
use crate::operator::MAX_WATERMARK;
use crate::operator::key_hasher::KeyHasher;
use crate::operator::test_subtasks::Subtasks;
use crate::types::{DataType, Field, TimestampKind, TypeKind};

const GAP: i64 = 7;

/// (event time, key, id)
type Record = (i64, i64, i64);

#[derive(Debug, Clone)]
enum Action {
    Records(Vec<Record>),
    Advance(i64),
    Restore(u32),
}

fn schemas() -> (Schema, Schema) {
    let time = |kind| DataType::from(TypeKind::Timestamp(3, kind));
    let input = Schema::new(vec![
        Field::new("ts", time(TimestampKind::Rowtime)),
        Field::new("k", TypeKind::BigInt.into()),
        Field::new("id", TypeKind::BigInt.into()),
    ]);
    let mut output = input.clone();
    for name in ["window_start", "window_end", "window_time"] {
        output.fields.push(Field::new(name, time(TimestampKind::Regular)));
    }
    (input, output)
}

fn batch_of(records: &[Record]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from_iter_values(records.iter().map(|r| r.0))),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.1))),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.2))),
    ];
    RecordBatch::try_new(schemas().0.to_arrow(), columns).unwrap()
}

fn check(budget: usize, actions: &[Action]) {
    let (input, output) = schemas();
    let spec = WindowTableSpec { window: WindowKind::Session { gap_ms: GAP }, rowtime: 0, partition_by: vec![1] };
    let hasher = KeyHasher::new(&input, &[1]).unwrap();
    let mut subtasks = Subtasks::new(budget, vec![hasher], move |context, states| {
        let utc = EvalContext { time_zone: chrono_tz::Tz::UTC };
        Box::new(SessionTableOperator::open(&spec, &input, &output, context, states, &utc).unwrap())
    });
    let mut sessions: Vec<(i64, i64, Vec<Record>)> = Vec::new();
    let (mut watermark, mut late) = (-100, 0);
    for action in actions.iter().chain(&[Action::Advance(MAX_WATERMARK)]) {
        match action {
            Action::Records(records) => {
                for record in records {
                    let (mut start, mut end, mut rows) = (record.0, record.0 + GAP, vec![]);
                    let touching =
                        |s: &(i64, i64, Vec<Record>)| s.2[0].1 == record.1 && s.0 <= record.0 + GAP && record.0 <= s.1;
                    while let Some(position) = sessions.iter().position(touching) {
                        let (from, to, more) = sessions.remove(position);
                        (start, end) = (start.min(from), end.max(to));
                        rows.extend(more);
                    }
                    if rows.is_empty() && end - 1 <= watermark {
                        late += 1;
                        continue;
                    }
                    rows.push(*record);
                    sessions.push((start, end, rows));
                }
                subtasks.push(0, &batch_of(records));
            }
            Action::Advance(by) => {
                watermark = watermark.saturating_add(*by);
                subtasks.watermark(watermark);
                let mut expected = Vec::new();
                sessions.retain(|(start, end, rows)| {
                    let over = end - 1 <= watermark;
                    let rows = rows.iter().filter(|_| over);
                    expected.extend(rows.map(|r| vec![r.0, r.1, r.2, *start, *end, end - 1]));
                    !over
                });
                expected.sort_unstable();
                assert_eq!(subtasks.take(), expected, "at watermark {watermark}");
            }
            Action::Restore(parallelism) => {
                subtasks.restore(*parallelism, &[(0, batch_of(&[(1_000_000, 1, 1)]))]);
            }
        }
        assert_eq!(subtasks.late(), late);
    }
}

fn action() -> impl Strategy<Value = Action> {
    let record = (-100..120i64, 0..8i64, 0..1000i64);
    prop_oneof![
        6 => prop::collection::vec(record, 0..30).prop_map(Action::Records),
        4 => (0..25i64).prop_map(Action::Advance),
        1 => (1..4u32).prop_map(Action::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_are_those_of_a_naive_reference(
        budget in prop_oneof![Just(64usize << 20), Just(1), 500..20_000usize],
        actions in prop::collection::vec(action(), 1..25),
    ) {
        check(budget, &actions);
    }
}
