//! Changes against a naive evaluator, with batches cut anywhere, restores at other parallelisms and tiny budgets.

use super::*;
use crate::graph::key_group::{key_group, range_of, subtask_of};
use crate::graph::{AggregateCall, AggregateFunction as F};
use crate::operator::test_support::Collected;
use crate::state::{RestoredState, SharedMemory};
use crate::types::row_kind::{DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE};
use crate::types::{DataType, Field, TypeKind};
use arrow::array::{AsArray, BooleanArray, Int8Array, Int64Array, StringArray};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const MAX_PARALLELISM: u32 = 128;
const ROOMY: usize = 1 << 26;
const NULL: i64 = i64::MIN;

/// Key, value, filter, and whether the row comes.
type Record = (Option<i64>, Option<i64>, Option<bool>, bool);
/// Kind, key, results.
type Change = (i8, Vec<i64>);

#[derive(Debug, Clone)]
struct Case {
    text_keys: bool,
    retracts: bool,
    update_before: bool,
    budget: usize,
    actions: Vec<Action>,
}

#[derive(Debug, Clone)]
enum Action {
    Records(Vec<Record>),
    Restore(u32),
}

fn bigint(name: &str) -> Field {
    Field::new(name, TypeKind::BigInt.into())
}

fn call(function: F, distinct: bool, filter: bool) -> AggregateCall {
    let argument = (function != F::CountStar).then_some(1);
    AggregateCall { function, argument, distinct, filter: filter.then_some(2), data_type: TypeKind::BigInt.into() }
}

fn calls() -> Vec<AggregateCall> {
    vec![
        call(F::Count, false, true),
        call(F::Sum, false, false),
        call(F::Min, false, false),
        call(F::Max, false, true),
        call(F::Avg, false, false),
        call(F::Count, true, false),
        call(F::Sum, true, true),
        call(F::FirstValue, false, false),
        call(F::LastValue, false, true),
    ]
}

fn spec(case: &Case) -> (GroupAggregateSpec, Schema, Schema) {
    let key = if case.text_keys { Field::new("k", DataType::string()) } else { bigint("k") };
    let input = Schema::new(vec![key.clone(), bigint("v"), Field::new("f", TypeKind::Boolean.into())]);
    let mut output = vec![key];
    output.extend((0..calls().len()).map(|i| bigint(&format!("r{i}"))));
    let spec = GroupAggregateSpec {
        keys: vec![0],
        aggregates: calls(),
        retracts: case.retracts,
        update_before: case.update_before,
        state_ttl_ms: 0,
        bundles: false,
    };
    (spec, input, Schema::new(output))
}

fn batch_of(case: &Case, records: &[Record]) -> RecordBatch {
    let (_, input, _) = spec(case);
    let keys: ArrayRef = if case.text_keys {
        Arc::new(StringArray::from_iter(records.iter().map(|r| r.0.map(|k| k.to_string()))))
    } else {
        Arc::new(Int64Array::from_iter(records.iter().map(|r| r.0)))
    };
    let values: ArrayRef = Arc::new(Int64Array::from_iter(records.iter().map(|r| r.1)));
    let filters: ArrayRef = Arc::new(BooleanArray::from_iter(records.iter().map(|r| r.2)));
    let batch = RecordBatch::try_new(input.to_arrow(), vec![keys, values, filters]).unwrap();
    if records.iter().all(|r| r.3) {
        return batch;
    }
    // Both kinds that take away, and both that add.
    let kind = |(i, r): (usize, &Record)| match (r.3, i % 2) {
        (true, 0) => INSERT,
        (true, _) => UPDATE_AFTER,
        (false, 0) => DELETE,
        (false, _) => UPDATE_BEFORE,
    };
    let kinds = Int8Array::from_iter_values(records.iter().enumerate().map(kind));
    row_kind::attach(&batch, kinds, &with_row_kind(&batch.schema())).unwrap()
}

fn changes_of(out: &Collected, text_keys: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    for batch in &out.batches {
        let (batch, kinds) = row_kind::split(batch.clone()).unwrap();
        let results = Collected {
            batches: vec![batch.project(&(1..batch.num_columns()).collect::<Vec<_>>()).unwrap()],
            watermarks: vec![],
        };
        for (row, results) in results.integers().into_iter().enumerate() {
            let column = batch.column(0);
            let key = match (column.is_null(row), text_keys) {
                (true, _) => NULL,
                (false, true) => column.as_string::<i32>().value(row).parse().unwrap(),
                (false, false) => column.as_primitive::<arrow::datatypes::Int64Type>().value(row),
            };
            let kind = kinds.as_ref().map_or(INSERT, |k| k.value(row));
            changes.push((kind, [vec![key], results].concat()));
        }
    }
    changes
}

/// One group of the naive evaluator.
#[derive(Default, Clone)]
struct Group {
    rows: Vec<(Option<i64>, Option<bool>)>,
    /// Values in order of arrival; of all rows, and of those that pass the filter.
    all: Vec<i64>,
    passed: Vec<i64>,
}

impl Group {
    fn change(&mut self, (_, value, filter, adds): Record) {
        let take = |list: &mut Vec<i64>, value: i64| {
            if adds {
                list.push(value);
            } else if let Some(at) = list.iter().position(|v| *v == value) {
                list.remove(at);
            }
        };
        if let Some(value) = value {
            take(&mut self.all, value);
            if filter == Some(true) {
                take(&mut self.passed, value);
            }
        }
        if adds {
            self.rows.push((value, filter));
        } else {
            self.rows.pop();
        }
    }
    fn results(&self) -> Vec<i64> {
        let distinct = |list: &[i64]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list.dedup();
            list
        };
        let count = |n: usize| i64::try_from(n).unwrap();
        let or_null = |v: Option<i64>| v.unwrap_or(NULL);
        let sum = |list: &[i64]| if list.is_empty() { NULL } else { list.iter().sum() };
        vec![
            count(self.passed.len()),
            sum(&self.all),
            or_null(self.all.iter().min().copied()),
            or_null(self.passed.iter().max().copied()),
            if self.all.is_empty() { NULL } else { sum(&self.all) / count(self.all.len()) },
            count(distinct(&self.all).len()),
            sum(&distinct(&self.passed)),
            or_null(self.all.first().copied()),
            or_null(self.passed.last().copied()),
        ]
    }
}

/// What one row changes, as Flink's `GroupAggFunction`.
fn naive(groups: &mut HashMap<Option<i64>, Group>, record: Record, update_before: bool, out: &mut Vec<Change>) {
    let key = record.0.unwrap_or(NULL);
    let row = |results: Vec<i64>| [vec![key], results].concat();
    match (groups.get_mut(&record.0), record.3) {
        (None, false) => {}
        (None, true) => {
            let group = groups.entry(record.0).or_default();
            group.change(record);
            out.push((INSERT, row(group.results())));
        }
        (Some(group), _) => {
            let before = group.results();
            group.change(record);
            if group.rows.is_empty() {
                groups.remove(&record.0);
                out.push((DELETE, row(before)));
                return;
            }
            let after = group.results();
            if after != before {
                if update_before {
                    out.push((UPDATE_BEFORE, row(before)));
                }
                out.push((UPDATE_AFTER, row(after)));
            }
        }
    }
}

struct Subtasks<'c> {
    case: &'c Case,
    root: tempfile::TempDir,
    operators: Vec<GroupAggregateOperator>,
    generation: usize,
}

fn context(dir: std::path::PathBuf, subtask: usize, parallelism: u32, budget: usize) -> StateContext {
    StateContext {
        dir,
        key_groups: range_of(subtask, parallelism, MAX_PARALLELISM),
        max_parallelism: MAX_PARALLELISM,
        memory_budget_bytes: budget,
        shared: Arc::new(SharedMemory::new(8 << 20)),
        restored: vec![],
    }
}

impl Subtasks<'_> {
    fn open(&mut self, parallelism: u32, old: &[RestoredState]) {
        self.generation += 1;
        let (spec, input, output) = spec(self.case);
        self.operators.clear();
        for subtask in 0..parallelism as usize {
            let dir = self.root.path().join(format!("{}-{subtask}", self.generation));
            let mut context = context(dir.clone(), subtask, parallelism, self.case.budget);
            for (index, one) in old.iter().enumerate() {
                if one.key_groups.start < context.key_groups.end && context.key_groups.start < one.key_groups.end {
                    let copy = dir.with_extension(format!("from-{index}"));
                    std::fs::create_dir_all(&copy).unwrap();
                    for file in std::fs::read_dir(&one.dir).unwrap().map(|e| e.unwrap().path()) {
                        std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
                    }
                    context.restored.push(RestoredState { dir: copy, key_groups: one.key_groups.clone() });
                }
            }
            self.operators.push(GroupAggregateOperator::open(&spec, &input, &output, &context).unwrap());
        }
    }

    fn records(&mut self, records: &[Record]) -> Vec<Change> {
        let batch = batch_of(self.case, records);
        let parallelism = u32::try_from(self.operators.len()).unwrap();
        let codec = KeyCodec::new(vec![batch.column(0).data_type().clone()]).unwrap();
        let hashes = codec.encode(&batch.columns()[..1], batch.num_rows()).unwrap().hashes();
        let mut all = Vec::new();
        for (subtask, operator) in self.operators.iter_mut().enumerate() {
            let mine: arrow::array::UInt32Array = hashes
                .iter()
                .enumerate()
                .filter(|(_, h)| subtask_of(key_group(**h, MAX_PARALLELISM), parallelism, MAX_PARALLELISM) == subtask)
                .map(|(row, _)| u32::try_from(row).unwrap())
                .collect::<Vec<_>>()
                .into();
            let mut out = Collected::default();
            let part = arrow::compute::take_record_batch(&batch, &mine).unwrap();
            operator.process(0, part, &mut out).unwrap();
            all.extend(changes_of(&out, self.case.text_keys));
        }
        all
    }
}

/// By key, because the order between keys depends on their subtasks.
fn by_key(changes: Vec<Change>) -> HashMap<i64, Vec<Change>> {
    let mut keys: HashMap<i64, Vec<Change>> = HashMap::new();
    changes.into_iter().for_each(|c| keys.entry(c.1[0]).or_default().push(c));
    keys
}

fn check(case: &Case) {
    let mut subtasks = Subtasks { case, root: crate::state::test_dir(), operators: vec![], generation: 0 };
    subtasks.open(1, &[]);
    let mut groups = HashMap::new();
    let mut live: Vec<Record> = Vec::new();
    for action in &case.actions {
        match action {
            Action::Records(records) => {
                let mut taken = Vec::new();
                for record in records {
                    let mut record = *record;
                    if !record.3 {
                        // A row that goes is one that came; now and then it is of a group that there is not.
                        match (case.retracts, live.is_empty(), record.1) {
                            (false, ..) => record.3 = true,
                            (true, false, Some(v)) if v % 7 != 0 => {
                                let at = usize::try_from(v.unsigned_abs()).unwrap() * 13 % live.len();
                                record = live.swap_remove(at);
                                record.3 = false;
                            }
                            _ => record.0 = Some(1_000_000),
                        }
                    }
                    if record.3 {
                        live.push(record);
                    }
                    taken.push(record);
                }
                let mut expected = Vec::new();
                taken.iter().for_each(|r| naive(&mut groups, *r, case.update_before, &mut expected));
                if !taken.is_empty() {
                    assert_eq!(by_key(subtasks.records(&taken)), by_key(expected));
                }
            }
            Action::Restore(parallelism) => {
                let snapshots: Vec<RestoredState> = subtasks
                    .operators
                    .iter_mut()
                    .map(|o| {
                        let keyed = o.snapshot(1).unwrap().keyed.unwrap();
                        RestoredState { dir: keyed.dir, key_groups: keyed.key_groups }
                    })
                    .collect();
                // What comes after the snapshot is lost with the process.
                subtasks.records(&[(Some(3), Some(5), Some(true), true)]);
                subtasks.open(*parallelism, &snapshots);
            }
        }
    }
}

fn action() -> impl Strategy<Value = Action> {
    let record = (
        prop::option::weighted(0.9, 0..12i64),
        prop::option::weighted(0.9, -6..6i64),
        prop::option::of(any::<bool>()),
        prop::bool::weighted(0.6),
    );
    prop_oneof![
        6 => prop::collection::vec(record, 0..30).prop_map(Action::Records),
        1 => (1..4u32).prop_map(Action::Restore),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let budget = prop_oneof![Just(ROOMY), Just(1), 2_000..10_000usize];
    (any::<bool>(), any::<bool>(), any::<bool>(), budget, prop::collection::vec(action(), 1..12)).prop_map(
        |(text_keys, retracts, update_before, budget, actions)| Case {
            text_keys,
            retracts,
            update_before,
            budget,
            actions,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn changes_are_those_of_a_naive_evaluator(case in case()) {
        check(&case);
    }
}

fn one(spec: &GroupAggregateSpec, now_ms: fn() -> i64) -> (GroupAggregateOperator, tempfile::TempDir) {
    let input = Schema::new(vec![bigint("k"), bigint("v"), Field::new("f", TypeKind::Boolean.into())]);
    let mut output: Vec<Field> = spec.keys.iter().map(|_| bigint("k")).collect();
    output.extend(spec.aggregates.iter().map(|_| bigint("r")));
    let root = crate::state::test_dir();
    let context = context(root.path().join("state"), 0, 1, ROOMY);
    let operator =
        GroupAggregateOperator::open_with_clock(spec, &input, &Schema::new(output), &context, now_ms).unwrap();
    (operator, root)
}

fn plain(keys: Vec<usize>, aggregates: Vec<AggregateCall>) -> GroupAggregateSpec {
    GroupAggregateSpec { keys, aggregates, retracts: true, update_before: true, state_ttl_ms: 0, bundles: false }
}

fn feed(operator: &mut GroupAggregateOperator, records: &[Record]) -> Vec<(i8, Vec<i64>)> {
    let case = Case { text_keys: false, retracts: true, update_before: true, budget: ROOMY, actions: vec![] };
    let mut out = Collected::default();
    operator.process(0, batch_of(&case, records), &mut out).unwrap();
    let mut changes = Vec::new();
    for batch in &out.batches {
        let (batch, kinds) = row_kind::split(batch.clone()).unwrap();
        let rows = Collected { batches: vec![batch], watermarks: vec![] }.integers();
        changes.extend(rows.into_iter().enumerate().map(|(i, r)| (kinds.as_ref().map_or(INSERT, |k| k.value(i)), r)));
    }
    changes
}

fn never() -> i64 {
    0
}

#[test]
fn a_global_aggregate_begins_with_its_first_row_and_ends_with_its_last() {
    let (mut operator, _root) = one(&plain(vec![], vec![call(F::CountStar, false, false)]), never);
    let row = |adds| (None, Some(1), None, adds);
    assert_eq!(
        feed(&mut operator, &[row(false), row(true), row(true), row(false), row(false), row(true)]),
        [
            (INSERT, vec![1]),
            (UPDATE_BEFORE, vec![1]),
            (UPDATE_AFTER, vec![2]),
            (UPDATE_BEFORE, vec![2]),
            (UPDATE_AFTER, vec![1]),
            (DELETE, vec![1]),
            (INSERT, vec![1]),
        ]
    );
}

#[test]
fn distinct_rows_come_once() {
    let (mut operator, _root) = one(&plain(vec![0], vec![]), never);
    let row = |key, adds| (Some(key), None, None, adds);
    assert_eq!(
        feed(&mut operator, &[row(1, true), row(1, true), row(2, true), row(1, false), row(1, false)]),
        [(INSERT, vec![1]), (INSERT, vec![2]), (DELETE, vec![1])]
    );
}

#[test]
fn a_bundle_emits_what_its_rows_change_together() {
    let spec = GroupAggregateSpec { bundles: true, ..plain(vec![0], vec![call(F::Sum, false, false)]) };
    let (mut operator, _root) = one(&spec, never);
    let row = |key, value, adds| (Some(key), Some(value), None, adds);
    assert_eq!(
        feed(&mut operator, &[row(1, 5, true), row(2, 1, true), row(1, 2, true), row(3, 1, true), row(3, 1, false)]),
        [(INSERT, vec![1, 7]), (INSERT, vec![2, 1])]
    );
    assert_eq!(
        feed(&mut operator, &[row(1, 5, false), row(2, 1, false), row(1, 5, true), row(2, 9, true), row(4, 4, true)]),
        [(UPDATE_BEFORE, vec![2, 1]), (UPDATE_AFTER, vec![2, 9]), (INSERT, vec![4, 4])]
    );
    assert_eq!(feed(&mut operator, &[row(4, 4, false)]), [(DELETE, vec![4, 4])]);
}

#[test]
fn what_was_not_written_to_for_long_expires() {
    static NOW: AtomicI64 = AtomicI64::new(0);
    let spec = GroupAggregateSpec {
        state_ttl_ms: 100,
        ..plain(vec![0], vec![call(F::CountStar, false, false), call(F::Count, true, false)])
    };
    let (mut operator, _root) = one(&spec, || NOW.load(Ordering::Relaxed));
    let row = |key, value| (Some(key), Some(value), None, true);
    assert_eq!(feed(&mut operator, &[row(1, 1), row(2, 1)]), [(INSERT, vec![1, 1, 1]), (INSERT, vec![2, 1, 1])]);
    NOW.store(60, Ordering::Relaxed);
    assert_eq!(feed(&mut operator, &[row(1, 1)]), [(UPDATE_BEFORE, vec![1, 1, 1]), (UPDATE_AFTER, vec![1, 2, 1])]);
    operator.snapshot(1).unwrap();
    NOW.store(120, Ordering::Relaxed);
    assert_eq!(
        feed(&mut operator, &[row(1, 1), row(2, 1)]),
        [(UPDATE_BEFORE, vec![1, 2, 1]), (UPDATE_AFTER, vec![1, 3, 1]), (INSERT, vec![2, 1, 1])]
    );
    NOW.store(1000, Ordering::Relaxed);
    // Each snapshot looks through a part of the state.
    for id in 0..u64::from(SWEEP_PARTS) {
        operator.snapshot(2 + id).unwrap();
    }
    for table in [GROUPS, DISTINCT] {
        assert!(operator.backend.prefixes(table, 2).unwrap().is_empty(), "nothing is left in {table}");
    }
    assert_eq!(feed(&mut operator, &[row(1, 2)]), [(INSERT, vec![1, 1, 1])]);
}

#[test]
#[ignore = "a measurement: run it alone at opt-level 3"]
fn rows_per_second() {
    for (name, keys, aggregates) in [
        (
            "COUNT(*), SUM, MAX by 1,000 keys",
            1_000u64,
            vec![call(F::CountStar, false, false), call(F::Sum, false, false), call(F::Max, false, false)],
        ),
        (
            "COUNT(*), SUM, MAX by 1,000,000 keys",
            1_000_000,
            vec![call(F::CountStar, false, false), call(F::Sum, false, false), call(F::Max, false, false)],
        ),
        ("COUNT(DISTINCT v) by 1,000 keys", 1_000, vec![call(F::Count, true, false)]),
    ] {
        let spec = GroupAggregateSpec { retracts: false, ..plain(vec![0], aggregates) };
        let (mut operator, _root) = one(&spec, never);
        let case = Case { text_keys: false, retracts: false, update_before: true, budget: ROOMY, actions: vec![] };
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let batches: Vec<RecordBatch> = (0..200)
            .map(|_| {
                let row =
                    |_| (i64::try_from(next() % keys).ok(), i64::try_from(next() % 100_000).ok(), Some(true), true);
                batch_of(&case, &(0..8192).map(row).collect::<Vec<_>>())
            })
            .collect();
        let mut out = Collected::default();
        let started = std::time::Instant::now();
        for batch in &batches {
            operator.process(0, batch.clone(), &mut out).unwrap();
            out.batches.clear();
        }
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = (batches.len() * 8192) as f64 / started.elapsed().as_secs_f64() / 1e6;
        println!("{name}: {rate:.2} M rows/s");
    }
}
