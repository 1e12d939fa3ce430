//! Against a naive reference that ranks all rows of a window when it is over.

use arrow::array::TimestampMillisecondArray;
use proptest::prelude::*;

use super::*;
use crate::graph::{NullOrder, SortKey};
use crate::operator::MAX_WATERMARK;
use crate::operator::key_hasher::KeyHasher;
use crate::operator::test_subtasks::Subtasks;
use crate::types::{DataType, Field, TimestampKind, TypeKind};

const SIZE: i64 = 10;

/// (window number, key, value, id)
type Record = (i64, i64, Option<i64>, i64);

#[derive(Debug, Clone)]
enum Action {
    Records(Vec<Record>),
    Advance(i64),
    Restore(u32),
}

fn schema(value: TimestampKind) -> Schema {
    let time = |kind| DataType::from(TypeKind::Timestamp(3, kind));
    Schema::new(vec![
        Field::new("ws", time(TimestampKind::Regular)),
        Field::new("we", time(TimestampKind::Regular)),
        Field::new("k", TypeKind::BigInt.into()),
        Field::new("v", time(value)),
        Field::new("id", TypeKind::BigInt.into()),
    ])
}

fn batch_of(records: &[Record]) -> RecordBatch {
    let times = |values: Vec<Option<i64>>| Arc::new(TimestampMillisecondArray::from(values)) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        times(records.iter().map(|r| Some(r.0 * SIZE)).collect()),
        times(records.iter().map(|r| Some(r.0 * SIZE + SIZE)).collect()),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.1))),
        times(records.iter().map(|r| r.2).collect()),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.3))),
    ];
    RecordBatch::try_new(schema(TimestampKind::Regular).to_arrow(), columns).unwrap()
}

fn subtasks(spec: RankSpec, value: TimestampKind, budget: usize) -> Subtasks {
    let input = schema(value);
    let mut output = input.clone();
    if spec.number {
        output.fields.push(Field::new("rn", DataType::not_null(TypeKind::BigInt)));
    }
    let hasher = KeyHasher::new(&input, &spec.partition_by).unwrap();
    let spec = WindowRankSpec { window_start: 0, window_end: 1, zoned: false, rank: spec };
    Subtasks::new(budget, vec![hasher], move |context, states| {
        let utc = EvalContext { time_zone: chrono_tz::Tz::UTC };
        Box::new(WindowRankOperator::open(&spec, &input, &output, context, states, &utc).unwrap())
    })
}

fn rank(first: u64, last: u64, order: SortOrder, nulls: NullOrder) -> RankSpec {
    let order_by = vec![SortKey { column: 3, order, nulls }];
    RankSpec { partition_by: vec![0, 1, 2], order_by, first, last, number: true }
}

/// What is emitted when the windows before `watermark` are over.
fn expected(rows: &mut Vec<Record>, spec: &RankSpec, watermark: i64) -> Vec<Vec<i64>> {
    let (due, open): (Vec<Record>, _) = rows.drain(..).partition(|r| r.0 * SIZE + SIZE - 1 <= watermark);
    *rows = open;
    let mut partitions: std::collections::BTreeMap<(i64, i64), Vec<Record>> = Default::default();
    due.into_iter().for_each(|r| partitions.entry((r.0, r.1)).or_default().push(r));
    let mut emitted = Vec::new();
    for rows in partitions.values_mut() {
        rows.sort_by(|a, b| {
            let (a, b) = if spec.order_by[0].order == SortOrder::Descending { (b, a) } else { (a, b) };
            a.2.cmp(&b.2)
        });
        for (number, r) in (1..).zip(rows).filter(|(number, _)| (spec.first..=spec.last).contains(number)) {
            let null = i64::MIN;
            emitted.push(vec![r.0 * SIZE, r.0 * SIZE + SIZE, r.1, r.2.unwrap_or(null), r.3, number.cast_signed()]);
        }
    }
    emitted.sort_unstable();
    emitted
}

fn check(spec: &RankSpec, budget: usize, actions: &[Action]) {
    let mut subtasks = subtasks(spec.clone(), TimestampKind::Regular, budget);
    let (mut rows, mut watermark, mut late) = (Vec::new(), -100, 0);
    for action in actions.iter().chain(&[Action::Advance(MAX_WATERMARK)]) {
        match action {
            Action::Records(records) => {
                let (in_time, too_late): (Vec<Record>, Vec<Record>) =
                    records.iter().partition(|r| r.0 * SIZE + SIZE - 1 > watermark);
                late += too_late.len() as u64;
                rows.extend(in_time);
                subtasks.push(0, &batch_of(records));
            }
            Action::Advance(by) => {
                watermark = watermark.saturating_add(*by);
                subtasks.watermark(watermark);
                assert_eq!(subtasks.take(), expected(&mut rows, spec, watermark), "at watermark {watermark}");
            }
            Action::Restore(parallelism) => {
                subtasks.restore(*parallelism, &[(0, batch_of(&[(1_000, 1, Some(1), 1)]))]);
            }
        }
        assert_eq!(subtasks.late(), late);
    }
}

fn action() -> impl Strategy<Value = Action> {
    let record = (-10..10i64, 0..3i64, prop::option::weighted(0.9, 0..8i64), 0..1000i64);
    prop_oneof![
        6 => prop::collection::vec(record, 0..40).prop_map(Action::Records),
        3 => (0..40i64).prop_map(Action::Advance),
        1 => (1..4u32).prop_map(Action::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_are_those_of_a_naive_reference(
        (first, more) in (1..3u64, 0..3u64),
        descending in any::<bool>(),
        budget in prop_oneof![Just(64usize << 20), Just(1), 500..20_000usize],
        actions in prop::collection::vec(action(), 1..20),
    ) {
        // Null is the smallest value, wherever the order goes.
        let (order, nulls) = match descending {
            true => (SortOrder::Descending, NullOrder::Last),
            false => (SortOrder::Ascending, NullOrder::First),
        };
        check(&rank(first, first + more, order, nulls), budget, &actions);
    }
}

#[test]
fn of_equal_times_deduplication_keeps_the_first_or_the_last_to_come() {
    let records = [(0, 1, Some(5), 1), (0, 1, Some(5), 2), (0, 1, Some(4), 3)];
    for (kind, order, expected) in [
        (TimestampKind::Rowtime, SortOrder::Descending, 2),
        (TimestampKind::Regular, SortOrder::Descending, 1),
        (TimestampKind::Rowtime, SortOrder::Ascending, 3),
    ] {
        for together in [true, false] {
            let nulls = if order == SortOrder::Ascending { NullOrder::First } else { NullOrder::Last };
            let mut subtasks = subtasks(rank(1, 1, order, nulls), kind, 1 << 20);
            let size = if together { 3 } else { 1 };
            records.chunks(size).for_each(|part| subtasks.push(0, &batch_of(part)));
            subtasks.watermark(SIZE - 1);
            let ids: Vec<i64> = subtasks.take().iter().map(|row| row[4]).collect();
            assert_eq!(ids, [expected], "{kind:?} {order:?}");
        }
    }
}
