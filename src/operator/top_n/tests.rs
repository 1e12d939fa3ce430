//! Changes of fixed tables, and the ranked rows against a sort.

use super::*;
use crate::graph::{NullOrder, SortKey, SortOrder};
use crate::operator::harness::Harness;
use crate::types::{Field, TypeKind};
use arrow::array::Int8Array;
use proptest::prelude::*;

/// Key, value to rank by, payload.
type Row = (i64, i64, i64);

fn schema() -> Schema {
    Schema::new(["k", "v", "p"].map(|n| Field::new(n, TypeKind::BigInt.into())).to_vec())
}

fn batch(rows: &[(i8, Row)]) -> RecordBatch {
    let column =
        |of: fn(&Row) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, r)| of(r)))) };
    let plain =
        RecordBatch::try_new(schema().to_arrow(), vec![column(|r| r.0), column(|r| r.1), column(|r| r.2)]).unwrap();
    if rows.iter().all(|(kind, _)| *kind == INSERT) {
        return plain;
    }
    let kinds = Int8Array::from_iter_values(rows.iter().map(|(kind, _)| *kind));
    row_kind::attach(&plain, kinds, &row_kind::with_row_kind(&schema().to_arrow())).unwrap()
}

fn spec(first: u64, last: u64, number: bool, retracts: bool) -> TopNSpec {
    TopNSpec {
        partition_by: vec![0],
        order_by: vec![SortKey { column: 1, order: SortOrder::Descending, nulls: NullOrder::Last }],
        first,
        last,
        number,
        ties: Ties::Oldest,
        retracts,
        update_before: true,
    }
}

fn harness(spec: TopNSpec, parallelism: u32, budget: usize) -> Harness {
    let mut output = schema();
    if spec.number {
        output.fields.push(Field::new("n", TypeKind::BigInt.into()));
    }
    Harness::new(&schema(), &[0], parallelism, budget, move |context, _| {
        Ok(Box::new(TopNOperator::open(&spec, &schema(), &output, context)?))
    })
}

fn check(spec: TopNSpec, rows: &[(i8, Row)], expected: &[(&str, &[i64])]) {
    // One batch, and one batch a row.
    for size in [rows.len(), 1] {
        let mut harness = harness(spec.clone(), 1, 1 << 20);
        rows.chunks(size).for_each(|part| harness.process(&batch(part)).unwrap());
        let found = harness.changes();
        let found: Vec<(&str, &[i64])> = found.iter().map(|(k, r)| (row_kind::short(*k), &r[1..])).collect();
        assert_eq!(found, expected, "{spec:?} over {rows:?} by {size}");
    }
}

fn inserts(values: &[i64]) -> Vec<(i8, Row)> {
    (0..).zip(values).map(|(p, v)| (INSERT, (1, *v, p))).collect()
}

#[test]
fn without_the_number_one_row_comes_in_and_one_goes_out() {
    let rows = inserts(&[5, 3, 4, 4, 9]);
    let expected: &[(&str, &[i64])] =
        &[("+I", &[5, 0]), ("+I", &[3, 1]), ("-D", &[3, 1]), ("+I", &[4, 2]), ("-D", &[4, 2]), ("+I", &[9, 4])];
    check(spec(1, 2, false, false), &rows, expected);
    check(spec(1, 2, false, true), &rows, expected);
}

#[test]
fn with_the_number_those_behind_move() {
    let rows = inserts(&[5, 3, 4]);
    let expected: &[(&str, &[i64])] = &[("+I", &[5, 0, 1]), ("+I", &[3, 1, 2]), ("-U", &[3, 1, 2]), ("+U", &[4, 2, 2])];
    check(spec(1, 2, true, false), &rows, expected);
    check(spec(1, 2, true, true), &rows, expected);
    let expected: &[(&str, &[i64])] = &[("+I", &[3, 1, 2]), ("-U", &[3, 1, 2]), ("+U", &[4, 2, 2]), ("+I", &[3, 1, 3])];
    check(spec(2, 4, true, false), &rows, expected);
}

#[test]
fn a_range_shows_what_moves_into_it() {
    let expected: &[(&str, &[i64])] = &[("+I", &[3, 1]), ("+I", &[5, 0]), ("-D", &[3, 1]), ("+I", &[8, 2])];
    check(spec(2, 3, false, false), &inserts(&[5, 3, 8, 10]), expected);
    check(spec(2, 3, false, true), &inserts(&[5, 3, 8, 10]), expected);
}

#[test]
fn rows_that_are_taken_back_make_room() {
    let mut rows = inserts(&[5, 3, 4]);
    rows.push((DELETE, (1, 5, 0)));
    rows.push((UPDATE_BEFORE, (1, 7, 7)));
    let expected: &[(&str, &[i64])] =
        &[("+I", &[5, 0]), ("+I", &[3, 1]), ("-D", &[3, 1]), ("+I", &[4, 2]), ("-D", &[5, 0]), ("+I", &[3, 1])];
    check(spec(1, 2, false, true), &rows, expected);
    let expected: &[(&str, &[i64])] = &[
        ("+I", &[5, 0, 1]),
        ("+I", &[3, 1, 2]),
        ("-U", &[3, 1, 2]),
        ("+U", &[4, 2, 2]),
        ("-U", &[5, 0, 1]),
        ("+U", &[4, 2, 1]),
        ("-U", &[4, 2, 2]),
        ("+U", &[3, 1, 2]),
    ];
    check(spec(1, 2, true, true), &rows, expected);
}

#[test]
fn one_row_is_updated() {
    let rows = inserts(&[5, 3, 5, 8]);
    check(spec(1, 1, false, false), &rows, &[("+I", &[5, 0]), ("-U", &[5, 0]), ("+U", &[8, 3])]);
    let newest = TopNSpec { ties: Ties::Newest, update_before: false, ..spec(1, 1, false, false) };
    check(newest, &rows, &[("+I", &[5, 0]), ("+U", &[5, 2]), ("+U", &[8, 3])]);
    let last = TopNSpec { ties: Ties::Newest, order_by: vec![], ..spec(1, 1, false, false) };
    check(last, &inserts(&[5, 3]), &[("+I", &[5, 0]), ("-U", &[5, 0]), ("+U", &[3, 1])]);
    let first = TopNSpec { order_by: vec![], ..spec(1, 1, true, false) };
    assert!(first.is_insert_only());
    check(first, &rows, &[("+I", &[5, 0, 1])]);
    let limit = TopNSpec { order_by: vec![], ..spec(2, 3, false, false) };
    check(limit, &rows, &[("+I", &[3, 1]), ("+I", &[5, 2])]);
}

/// Rows that come, or take back one that is there.
fn history(rows: &[(i64, i64, bool, usize)], retracts: bool) -> Vec<(i8, Row)> {
    let (mut there, mut history): (Vec<Row>, Vec<(i8, Row)>) = (Vec::new(), Vec::new());
    for (payload, (k, v, delete, pick)) in (0..).zip(rows) {
        if retracts && *delete && !there.is_empty() {
            history.push((DELETE, there.remove(pick % there.len())));
        } else {
            // Some rows are equal to others.
            let row = (*k, *v, payload % 3);
            there.push(row);
            history.push((INSERT, row));
        }
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_left_is_the_top_of_a_sort(
        rows in prop::collection::vec((0i64..3, 0i64..8, any::<bool>(), 0usize..100), 1..80),
        range in (1u64..4, 0u64..4),
        number in any::<bool>(),
        retracts in any::<bool>(),
        tight in any::<bool>(),
        cuts in prop::collection::vec((1usize..12, 0u32..6), 1..9),
    ) {
        let history = history(&rows, retracts);
        let (first, last) = (range.0, range.0 + range.1);
        let mut harness = harness(spec(first, last, number, retracts), 2, if tight { 10 } else { 1 << 20 });
        let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
        while at < history.len() {
            let (length, restore) = cuts.next().unwrap();
            let end = history.len().min(at + length);
            harness.process(&batch(&history[at..end])).unwrap();
            if (1..4).contains(&restore) {
                harness.restore(restore);
            }
            at = end;
        }
        // Equal rows are the same to whom they are taken from, so the first of them goes.
        let mut left: Vec<Row> = Vec::new();
        for (kind, row) in history {
            if kind == INSERT {
                left.push(row);
            } else {
                let at = left.iter().position(|r| *r == row).unwrap();
                left.remove(at);
            }
        }
        let mut expected: Vec<Vec<i64>> = Vec::new();
        for key in 0..3 {
            let mut of_key: Vec<Row> = left.iter().filter(|r| r.0 == key).copied().collect();
            of_key.sort_by_key(|r| -r.1);
            for (n, row) in (1..).zip(of_key) {
                if (first..=last).contains(&n) {
                    let mut row = vec![row.0, row.1, row.2];
                    if number {
                        row.push(i64::try_from(n).unwrap());
                    }
                    expected.push(row);
                }
            }
        }
        expected.sort();
        prop_assert_eq!(harness.folded(), expected);
    }
}
