//! Matches of fixed tables, and that neither batches nor restores change them.

use super::*;
use crate::expr::{self, Expr, Scalar};
use crate::graph::pattern::{AfterMatch, MatchEnd, Pattern, RowSet};
use crate::graph::{AggregateCall, AggregateFunction, NullOrder, SortKey, SortOrder};
use crate::operator::harness::Harness;
use crate::types::{DataType, Field, TimestampKind, TypeKind};
use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;
use std::sync::Arc;

/// Key, value, time.
type Rows = Vec<(i64, i64, i64)>;

fn schema() -> Schema {
    let time = DataType::not_null(TypeKind::Timestamp(3, TimestampKind::Rowtime));
    Schema::new(vec![
        Field::new("k", TypeKind::BigInt.into()),
        Field::new("v", TypeKind::BigInt.into()),
        Field::new("ts", time),
    ])
}

fn batch(rows: &[(i64, i64, i64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.2))),
    ];
    RecordBatch::try_new(schema().to_arrow(), columns).unwrap()
}

fn value(variable: usize, end: MatchEnd, offset: u32, shift: i64) -> PatternInput {
    let rows = RowSet { variables: vec![variable], is_final: false };
    PatternInput::Row { rows, end, offset, shift, column: 1 }
}

fn column(index: usize) -> Expr {
    Expr::column(index, TypeKind::BigInt.into())
}

fn compare(op: &str, inputs: Vec<PatternInput>, right: Expr) -> PatternExpr {
    PatternExpr { expr: expr::call(op, vec![column(0), right]).unwrap(), inputs }
}

fn number(value: i64) -> Expr {
    Expr::literal(Scalar::Int(value), TypeKind::BigInt)
}

fn count(variable: usize) -> PatternInput {
    let call = AggregateCall {
        function: AggregateFunction::Count,
        argument: Some(1),
        distinct: false,
        filter: None,
        data_type: DataType::not_null(TypeKind::BigInt),
    };
    PatternInput::Aggregate { rows: RowSet { variables: vec![variable], is_final: false }, call }
}

/// `(a b+ c)`: b rises from the row before it, c falls below a. Measures: a.v, LAST(b.v), COUNT(b.v), c.v.
fn spec(after_match: AfterMatch, within_ms: Option<i64>) -> MatchRecognizeSpec {
    let repeat = |n| Pattern::Repeat { pattern: Box::new(Pattern::Variable(n)), min: 1, max: None, greedy: true };
    let last = |n| value(n, MatchEnd::Last, 0, 0);
    let measure = |input| PatternExpr { expr: column(0), inputs: vec![input] };
    MatchRecognizeSpec {
        keys: vec![0],
        order: vec![SortKey { column: 2, order: SortOrder::Ascending, nulls: NullOrder::First }],
        processing_time: false,
        variables: ["a", "b", "c"].map(str::to_owned).to_vec(),
        pattern: Pattern::Concat(vec![Pattern::Variable(0), repeat(1), Pattern::Variable(2)]),
        define: vec![
            Some(compare(">", vec![last(0)], number(0))),
            Some(compare(">=", vec![last(1), last(0)], column(1))),
            Some(compare("<", vec![last(2), last(0)], column(1))),
        ],
        measures: vec![measure(last(0)), measure(last(1)), measure(count(1)), measure(last(2))],
        after_match,
        within_ms,
        rows: RowsPerMatch::One,
        before: vec![0],
        after: vec![],
    }
}

fn harness(spec: MatchRecognizeSpec, parallelism: u32, budget: usize) -> Harness {
    let width = spec.before.len() + spec.measures.len() + spec.after.len();
    let fields = (0..width).map(|i| {
        let of_time = spec.rows == RowsPerMatch::All && spec.before.get(i) == Some(&2);
        let time = TypeKind::Timestamp(3, TimestampKind::Rowtime);
        Field::new(i.to_string(), if of_time { time } else { TypeKind::BigInt }.into())
    });
    let output = Schema::new(fields.collect());
    Harness::new(&schema(), &[0], parallelism, budget, move |context, restored| {
        let eval = EvalContext { time_zone: chrono_tz::Tz::UTC };
        Ok(Box::new(MatchRecognizeOperator::open(&spec, &schema(), &output, context, &eval, restored)?))
    })
}

fn check(spec: MatchRecognizeSpec, rows: &[(i64, i64, i64)], expected: &[&[i64]]) {
    let mut harness = harness(spec, 1, 1 << 20);
    harness.process(&batch(rows)).unwrap();
    harness.watermark(MAX_WATERMARK).unwrap();
    assert_eq!(harness.out.integers(), expected, "{rows:?}");
}

/// Values of one key, a second apart.
fn values(values: &[i64]) -> Rows {
    (0..).zip(values).map(|(n, v)| (1, *v, n * 1000)).collect()
}

#[test]
fn skip_strategies_decide_where_the_next_match_begins() {
    let rows = values(&[3, 4, 5, 1, 2, 0, 7, 6]);
    check(spec(AfterMatch::PastLastRow, None), &rows, &[&[1, 3, 5, 2, 1]]);
    check(spec(AfterMatch::ToNextRow, None), &rows, &[&[1, 3, 5, 2, 1], &[1, 4, 5, 1, 1], &[1, 1, 2, 1, 0]]);
    check(spec(AfterMatch::ToLast(vec![2]), None), &rows, &[&[1, 3, 5, 2, 1], &[1, 1, 2, 1, 0]]);
    check(spec(AfterMatch::ToFirst(vec![1]), None), &rows, &[&[1, 3, 5, 2, 1], &[1, 4, 5, 1, 1], &[1, 1, 2, 1, 0]]);
}

#[test]
fn rows_are_matched_in_the_order_of_time_and_late_ones_are_dropped() {
    let mut harness = harness(spec(AfterMatch::PastLastRow, None), 1, 1 << 20);
    harness.process(&batch(&[(1, 1, 5000), (1, 3, 1000), (1, 4, 2000)])).unwrap();
    harness.watermark(4999).unwrap();
    assert!(harness.out.batches.is_empty());
    harness.process(&batch(&[(1, 9, 4999), (1, 8, 5000)])).unwrap();
    assert_eq!(harness.late(), 1);
    harness.watermark(5000).unwrap();
    assert_eq!(harness.out.integers(), [[1, 3, 4, 1, 1]]);
}

#[test]
fn a_match_is_shorter_than_within() {
    let rows = values(&[3, 4, 5, 1]);
    check(spec(AfterMatch::PastLastRow, Some(3001)), &rows, &[&[1, 3, 5, 2, 1]]);
    check(spec(AfterMatch::PastLastRow, Some(3000)), &rows, &[&[1, 4, 5, 1, 1]]);
}

#[test]
fn rows_before_and_after_a_match_can_be_asked_for() {
    let mut of_neighbours = spec(AfterMatch::PastLastRow, None);
    let measure = |input| PatternExpr { expr: column(0), inputs: vec![input] };
    of_neighbours.measures = vec![
        measure(value(0, MatchEnd::First, 0, -1)),
        measure(value(1, MatchEnd::First, 1, 0)),
        measure(value(2, MatchEnd::Last, 0, 2)),
        measure(value(2, MatchEnd::Last, 0, 3)),
    ];
    check(of_neighbours, &values(&[-7, 3, 4, 5, 1, -8, -9]), &[&[1, -7, 5, -9, i64::MIN]]);
}

#[test]
fn all_rows_per_match_see_the_rows_so_far() {
    let mut all = spec(AfterMatch::PastLastRow, None);
    (all.rows, all.before, all.after) = (RowsPerMatch::All, vec![0, 2], vec![1]);
    let none = i64::MIN;
    let expected: [&[i64]; 4] = [
        &[1, 0, 3, none, 0, none, 3],
        &[1, 1000, 3, 4, 1, none, 4],
        &[1, 2000, 3, 5, 2, none, 5],
        &[1, 3000, 3, 5, 2, 1, 1],
    ];
    check(all, &values(&[3, 4, 5, 1]), &expected);
}

#[test]
fn skipping_to_a_variable_that_is_not_there_is_an_error() {
    let mut harness = harness(spec(AfterMatch::ToFirst(vec![0]), None), 1, 1 << 20);
    harness.process(&batch(&values(&[3, 4, 1]))).unwrap();
    assert_eq!(harness.watermark(MAX_WATERMARK).unwrap_err().code, "invalid_after_match");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn neither_batches_nor_restores_change_the_matches(
        rows in prop::collection::vec((0i64..4, 0i64..6, 0i64..3000), 1..120),
        cuts in prop::collection::vec((1usize..20, 0u32..6), 1..20),
        skip in 0..3,
        within in prop::option::of(1i64..4000),
        tight in any::<bool>(),
    ) {
        // Times rise with disorder of up to 3 s.
        let rows: Rows = (0..).zip(rows).map(|(n, (k, v, late))| (k, v, 10_000 + n * 500 - late)).collect();
        let skip = match skip {
            0 => AfterMatch::ToNextRow,
            1 => AfterMatch::PastLastRow,
            _ => AfterMatch::ToLast(vec![1]),
        };
        let mut whole = harness(spec(skip.clone(), within), 1, 1 << 20);
        whole.process(&batch(&rows)).unwrap();
        whole.watermark(MAX_WATERMARK).unwrap();
        let mut pieces = harness(spec(skip, within), 2, if tight { 200 } else { 1 << 20 });
        let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
        while at < rows.len() {
            let (length, restore) = cuts.next().unwrap();
            let end = rows.len().min(at + length);
            pieces.process(&batch(&rows[at..end])).unwrap();
            let seen = i64::try_from(end).unwrap();
            pieces.watermark(10_000 + seen * 500 - 3001).unwrap();
            if (1..4).contains(&restore) {
                pieces.restore(restore);
            }
            at = end;
        }
        pieces.watermark(MAX_WATERMARK).unwrap();
        prop_assert_eq!(pieces.late(), 0);
        prop_assert_eq!(pieces.folded(), whole.folded());
    }
}
