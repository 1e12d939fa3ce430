//! Answers of fixed tables, and random rows against a direct computation of each frame.

use super::*;
use crate::graph::AggregateFunction;
use crate::operator::MAX_WATERMARK;
use crate::operator::harness::Harness;
use crate::types::{DataType, Field, TimestampKind, TypeKind};
use arrow::array::TimestampMillisecondArray;
use proptest::prelude::*;

/// Key, value (null below 0), time.
type Input = (i64, i64, i64);

fn schema() -> Schema {
    let time = DataType::not_null(TypeKind::Timestamp(3, TimestampKind::Rowtime));
    Schema::new(vec![
        Field::new("k", TypeKind::BigInt.into()),
        Field::new("v", TypeKind::BigInt.into()),
        Field::new("ts", time),
    ])
}

fn batch(rows: &[Input]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(rows.iter().map(|r| Some(r.1).filter(|v| *v >= 0)).collect::<Int64Array>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.2))),
    ];
    RecordBatch::try_new(schema().to_arrow(), columns).unwrap()
}

fn aggregate(function: AggregateFunction, distinct: bool) -> OverCall {
    let argument = (function != AggregateFunction::CountStar).then_some(1);
    OverCall::Aggregate(AggregateCall {
        function,
        argument,
        distinct,
        filter: None,
        data_type: TypeKind::BigInt.into(),
    })
}

fn spec(frame: OverFrame) -> OverSpec {
    use AggregateFunction as F;
    let lag = OverCall::Lag { column: 1, offset: 2, default: Some(0), data_type: TypeKind::BigInt.into() };
    let mut calls: Vec<OverCall> =
        [F::CountStar, F::Sum, F::Min, F::Max].into_iter().map(|f| aggregate(f, false)).collect();
    calls.extend([aggregate(F::Count, true), lag]);
    OverSpec { keys: vec![0], time: 2, processing_time: false, frame, calls }
}

fn harness(spec: OverSpec, parallelism: u32, budget: usize) -> Harness {
    let mut output = schema();
    output.fields.extend((0..spec.calls.len()).map(|n| Field::new(n.to_string(), TypeKind::BigInt.into())));
    Harness::new(&schema(), &[0], parallelism, budget, move |context, restored| {
        Ok(Box::new(OverOperator::open(&spec, &schema(), &output, context, restored)?))
    })
}

const NULL: i64 = i64::MIN;

/// What each row is answered, by looking at all rows of its frame.
fn model(rows: &[Input], frame: OverFrame) -> Vec<Vec<i64>> {
    let mut sorted = rows.to_vec();
    sorted.sort_by_key(|r| r.2);
    let mut answers = Vec::new();
    for key in 0..10 {
        let of_key: Vec<&Input> = sorted.iter().filter(|r| r.0 == key).collect();
        for (at, row) in of_key.iter().enumerate() {
            let end = match frame {
                OverFrame::Rows { .. } => at + 1,
                OverFrame::Range { .. } => of_key.iter().filter(|r| r.2 <= row.2).count(),
            };
            let seen: Vec<&&Input> = match frame {
                OverFrame::Rows { preceding } => {
                    let back = preceding.map_or(usize::MAX, |n| usize::try_from(n).unwrap());
                    of_key[at.saturating_sub(back)..end].iter().collect()
                }
                OverFrame::Range { preceding_ms } => {
                    of_key[..end].iter().filter(|r| preceding_ms.is_none_or(|ms| r.2 >= row.2 - ms)).collect()
                }
            };
            let values: Vec<i64> = seen.iter().map(|r| r.1).filter(|v| *v >= 0).collect();
            let distinct: std::collections::BTreeSet<i64> = values.iter().copied().collect();
            let shown = |v: i64| if v < 0 { NULL } else { v };
            answers.push(vec![
                row.0,
                shown(row.1),
                row.2,
                i64::try_from(seen.len()).unwrap(),
                if values.is_empty() { NULL } else { values.iter().sum() },
                values.iter().min().copied().unwrap_or(NULL),
                values.iter().max().copied().unwrap_or(NULL),
                i64::try_from(distinct.len()).unwrap(),
                (end - 1).checked_sub(2).map_or(of_key[end - 1].0, |p| shown(of_key[p].1)),
            ]);
        }
    }
    answers.sort();
    answers
}

fn frame() -> impl Strategy<Value = OverFrame> {
    prop_oneof![
        prop::option::of(0u64..4).prop_map(|preceding| OverFrame::Rows { preceding }),
        prop::option::of(0i64..60).prop_map(|preceding_ms| OverFrame::Range { preceding_ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_row_sees_its_frame(
        rows in prop::collection::vec((0i64..3, -2i64..5, 0i64..40), 1..60),
        frame in frame(),
        cuts in prop::collection::vec((1usize..9, 0u32..6), 1..9),
        tight in any::<bool>(),
    ) {
        // Times rise, some are equal, with disorder of up to 40 ms.
        let rows: Vec<Input> = (0..).zip(rows).map(|(n, (k, v, late))| (k, v, 100 + n / 2 * 10 - late)).collect();
        let mut harness = harness(spec(frame), 2, if tight { 100 } else { 1 << 20 });
        let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
        while at < rows.len() {
            let (length, restore) = cuts.next().unwrap();
            let end = rows.len().min(at + length);
            harness.process(&batch(&rows[at..end])).unwrap();
            harness.watermark(100 + i64::try_from(end).unwrap() / 2 * 10 - 41).unwrap();
            if (1..4).contains(&restore) {
                harness.restore(restore);
            }
            at = end;
        }
        harness.watermark(MAX_WATERMARK).unwrap();
        prop_assert_eq!(harness.late(), 0);
        prop_assert_eq!(harness.folded(), model(&rows, frame));
    }
}

#[test]
fn rows_wait_for_the_watermark_and_late_ones_are_dropped() {
    let calls = vec![aggregate(AggregateFunction::Sum, false), OverCall::RowNumber];
    let spec = OverSpec { calls, ..spec(OverFrame::Range { preceding_ms: None }) };
    let mut harness = harness(spec, 1, 1 << 20);
    harness.process(&batch(&[(1, 2, 20), (1, 1, 10), (1, 4, 20)])).unwrap();
    assert!(harness.out.batches.is_empty());
    harness.watermark(20).unwrap();
    assert_eq!(harness.out.integers(), [[1, 1, 10, 1, 1], [1, 2, 20, 7, 2], [1, 4, 20, 7, 3]]);
    harness.process(&batch(&[(1, 8, 20), (1, 8, 21)])).unwrap();
    assert_eq!(harness.late(), 1);
    harness.watermark(21).unwrap();
    assert_eq!(harness.out.integers()[3..], [[1, 8, 21, 15, 4]]);
}

#[test]
fn by_processing_time_rows_are_answered_as_they_come() {
    let calls = vec![aggregate(AggregateFunction::Sum, false)];
    let frame = OverFrame::Rows { preceding: Some(1) };
    let spec = OverSpec { calls, processing_time: true, ..spec(frame) };
    let mut harness = harness(spec, 1, 1 << 20);
    harness.process(&batch(&[(1, 1, 9), (2, 5, 8), (1, 2, 7), (1, 3, 6)])).unwrap();
    assert_eq!(harness.out.integers(), [[1, 1, 9, 1], [2, 5, 8, 5], [1, 2, 7, 3], [1, 3, 6, 5]]);
}
