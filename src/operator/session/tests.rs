//! The operator against a naive reference that keeps every row, one by one, under random batching, snapshots, restores,
//! rescales and memory budgets.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Int64Array, StringArray, TimestampMillisecondArray};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;

use super::*;
use crate::graph::key_group::range_of;
use crate::graph::{AggregateCall, AggregateFunction};
use crate::operator::MAX_WATERMARK;
use crate::operator::key_hasher::KeyHasher;
use crate::operator::test_support::Collected;
use crate::state::integers::to_i64;
use crate::state::{RestoredState, SharedMemory};
use crate::types::{DataType, Field, TimestampKind, TypeKind};

const MAX_PARALLELISM: u32 = 128;
const GAP: i64 = 7;

/// (event time, key, value)
type Record = (i64, Option<i64>, Option<i64>);

#[derive(Debug, Clone)]
enum Action {
    Records(Vec<Record>),
    /// The watermark advances by this.
    Advance(i64),
    /// Snapshot, then go on with this many subtasks restored from it.
    Restore(u32),
}

/// ts, k, ks, v
fn input_schema() -> Schema {
    Schema::new(vec![
        Field::new("ts", TypeKind::Timestamp(3, TimestampKind::Rowtime).into()),
        Field::new("k", TypeKind::BigInt.into()),
        Field::new("ks", DataType::string()),
        Field::new("v", TypeKind::BigInt.into()),
    ])
}

fn key_text(key: Option<i64>) -> Option<String> {
    key.map(|k| format!("key-{}", "x".repeat(usize::try_from(k.rem_euclid(7)).unwrap())))
}

fn batch_of(records: &[Record]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from_iter_values(records.iter().map(|r| r.0))),
        Arc::new(records.iter().map(|r| r.1).collect::<Int64Array>()),
        Arc::new(StringArray::from(records.iter().map(|r| key_text(r.1)).collect::<Vec<_>>())),
        Arc::new(records.iter().map(|r| r.2).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(input_schema().to_arrow(), columns).unwrap()
}

fn spec_of(two_keys: bool) -> (WindowAggregateSpec, Schema) {
    use AggregateFunction as F;
    let call = |function, argument, distinct| AggregateCall {
        function,
        argument,
        distinct,
        filter: None,
        data_type: TypeKind::BigInt.into(),
    };
    let keys = if two_keys { vec![2, 1] } else { vec![1] };
    let spec = WindowAggregateSpec {
        input: WindowInput::Assign { window: WindowKind::Session { gap_ms: GAP }, rowtime: 0 },
        keys: keys.clone(),
        aggregates: vec![
            call(F::CountStar, None, false),
            call(F::Sum, Some(3), false),
            call(F::Count, Some(3), true),
            call(F::Min, Some(3), false),
        ],
        properties: vec![WindowProperty::Start, WindowProperty::End, WindowProperty::Time],
    };
    let mut fields: Vec<Field> = keys.iter().map(|k| input_schema().fields[*k].clone()).collect();
    fields.extend((0..4).map(|i| Field::new(format!("a{i}"), TypeKind::BigInt.into())));
    for name in ["ws", "we", "wt"] {
        fields.push(Field::new(name, TypeKind::Timestamp(3, TimestampKind::Regular).into()));
    }
    (spec, Schema::new(fields))
}

/// Sessions as lists of rows.
#[derive(Default)]
struct Reference {
    sessions: Vec<(i64, i64, Vec<Record>)>,
    watermark: Option<i64>,
    late: u64,
}

impl Reference {
    fn record(&mut self, record: Record) {
        let (mut start, mut end, mut rows) = (record.0, record.0 + GAP, vec![]);
        let touching = |s: &(i64, i64, Vec<Record>)| s.2[0].1 == record.1 && s.0 <= record.0 + GAP && record.0 <= s.1;
        while let Some(position) = self.sessions.iter().position(touching) {
            let (from, to, more) = self.sessions.remove(position);
            (start, end) = (start.min(from), end.max(to));
            rows.extend(more);
        }
        if rows.is_empty() && self.watermark.is_some_and(|w| end - 1 <= w) {
            self.late += 1;
            return;
        }
        rows.push(record);
        self.sessions.push((start, end, rows));
    }

    fn fire(&mut self, watermark: i64, two_keys: bool) -> Vec<String> {
        self.watermark = Some(watermark);
        let (over, open) = std::mem::take(&mut self.sessions).into_iter().partition(|s| s.1 - 1 <= watermark);
        self.sessions = open;
        let over: Vec<(i64, i64, Vec<Record>)> = over;
        over.into_iter().map(|(start, end, rows)| row(start, end, &rows, two_keys)).collect()
    }
}

fn row(start: i64, end: i64, rows: &[Record], two_keys: bool) -> String {
    let show = |v: Option<i64>| v.map_or(String::new(), |v| v.to_string());
    let values: Vec<i64> = rows.iter().filter_map(|r| r.2).collect();
    let mut columns = vec![show(rows[0].1)];
    if two_keys {
        columns.insert(0, key_text(rows[0].1).unwrap_or_default());
    }
    columns.extend([
        rows.len().to_string(),
        show(values.iter().copied().reduce(|a, b| a + b)),
        values.iter().collect::<BTreeSet<_>>().len().to_string(),
        show(values.iter().min().copied()),
        start.to_string(),
        end.to_string(),
        (end - 1).to_string(),
    ]);
    columns.join("|")
}

fn rows_of(collected: &Collected) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in &collected.batches {
        let properties = batch.num_columns() - 3;
        for row in 0..batch.num_rows() {
            let value = |(index, column): (usize, &ArrayRef)| match index >= properties {
                true => to_i64(column).unwrap()[row].to_string(),
                false => array_value_to_string(column, row).unwrap(),
            };
            rows.push(batch.columns().iter().enumerate().map(value).collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

/// The subtasks of the operator.
struct Subtasks {
    two_keys: bool,
    budget: usize,
    root: tempfile::TempDir,
    shared: Arc<SharedMemory>,
    operators: Vec<SessionAggregateOperator>,
    generation: usize,
    late_before: u64,
}

impl Subtasks {
    fn new(two_keys: bool, budget: usize) -> Self {
        let (root, shared) = (crate::state::test_dir(), Arc::new(SharedMemory::new(16 << 20)));
        let mut subtasks =
            Subtasks { two_keys, budget, root, shared, operators: vec![], generation: 0, late_before: 0 };
        subtasks.open(1, &[], &[]);
        subtasks
    }

    fn open(&mut self, parallelism: u32, snapshots: &[RestoredState], states: &[serde_json::Value]) {
        self.generation += 1;
        let (spec, output) = spec_of(self.two_keys);
        self.operators.clear();
        for subtask in 0..usize::try_from(parallelism).unwrap() {
            let key_groups = range_of(subtask, parallelism, MAX_PARALLELISM);
            let dir = self.root.path().join(format!("{}-{subtask}", self.generation));
            let mut restored = Vec::new();
            for (index, old) in snapshots.iter().enumerate() {
                if old.key_groups.start < key_groups.end && key_groups.start < old.key_groups.end {
                    let copy = self.root.path().join(format!("{}-{subtask}-from-{index}", self.generation));
                    std::fs::create_dir_all(&copy).unwrap();
                    for entry in std::fs::read_dir(&old.dir).unwrap() {
                        let path = entry.unwrap().path();
                        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
                    }
                    restored.push(RestoredState { dir: copy, key_groups: old.key_groups.clone() });
                }
            }
            let context = StateContext {
                dir,
                key_groups,
                max_parallelism: MAX_PARALLELISM,
                memory_budget_bytes: self.budget,
                shared: self.shared.clone(),
                restored,
            };
            let utc = EvalContext { time_zone: chrono_tz::Tz::UTC };
            let operator =
                SessionAggregateOperator::open(&spec, &input_schema(), &output, context, states, &utc).unwrap();
            self.operators.push(operator);
        }
    }

    fn late(&self) -> u64 {
        self.late_before + self.operators.iter().map(|o| o.metrics().late_records_dropped).sum::<u64>()
    }

    fn records(&mut self, records: &[Record]) {
        let (spec, _) = spec_of(self.two_keys);
        let hasher = KeyHasher::new(&input_schema(), &spec.keys).unwrap();
        let parallelism = u32::try_from(self.operators.len()).unwrap();
        let parts = hasher.partition(&batch_of(records), parallelism, MAX_PARALLELISM).unwrap();
        for (operator, part) in self.operators.iter_mut().zip(parts) {
            if let Some(part) = part {
                operator.process(0, part, &mut Collected::default()).unwrap();
            }
        }
    }

    fn watermark(&mut self, watermark: i64) -> Vec<String> {
        let mut rows = Vec::new();
        for operator in &mut self.operators {
            let mut out = Collected::default();
            operator.watermark(watermark, &mut out).unwrap();
            rows.extend(rows_of(&out));
        }
        rows.sort_unstable();
        rows
    }

    fn restore(&mut self, parallelism: u32) {
        let (mut states, mut json) = (Vec::new(), Vec::new());
        for operator in &mut self.operators {
            let snapshot = operator.snapshot(1).unwrap();
            let keyed = snapshot.keyed.unwrap();
            states.push(RestoredState { dir: keyed.dir, key_groups: keyed.key_groups });
            json.push(snapshot.operator_state.unwrap());
        }
        self.late_before = self.late();
        // What comes after the snapshot is lost with the process.
        self.records(&[(1_000_000, Some(1), Some(1))]);
        self.open(parallelism, &states, &json);
    }
}

fn check(two_keys: bool, budget: usize, actions: &[Action]) {
    let mut reference = Reference::default();
    let mut subtasks = Subtasks::new(two_keys, budget);
    let mut watermark = -100;
    let ends = [Action::Advance(MAX_WATERMARK)];
    for action in actions.iter().chain(&ends) {
        match action {
            Action::Records(records) => {
                records.iter().for_each(|r| reference.record(*r));
                if !records.is_empty() {
                    subtasks.records(records);
                }
            }
            Action::Advance(by) => {
                watermark = i64::saturating_add(watermark, *by);
                let mut expected = reference.fire(watermark, two_keys);
                expected.sort_unstable();
                assert_eq!(subtasks.watermark(watermark), expected, "at watermark {watermark}");
            }
            Action::Restore(parallelism) => subtasks.restore(*parallelism),
        }
        assert_eq!(subtasks.late(), reference.late);
    }
}

fn action() -> impl Strategy<Value = Action> {
    let record = (-100..120i64, prop::option::weighted(0.9, 0..12i64), prop::option::of(-3..3i64));
    prop_oneof![
        6 => prop::collection::vec(record, 0..30).prop_map(Action::Records),
        4 => (0..25i64).prop_map(Action::Advance),
        1 => (1..4u32).prop_map(Action::Restore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_are_those_of_a_naive_reference(
        two_keys in any::<bool>(),
        budget in prop_oneof![Just(64usize << 20), Just(1), 500..20_000usize],
        actions in prop::collection::vec(action(), 1..30),
    ) {
        check(two_keys, budget, &actions);
    }
}

#[test]
fn sessions_merge_over_batches_restores_and_eviction() {
    for budget in [64 << 20, 1] {
        let rows = |times: &[i64]| Action::Records(times.iter().map(|t| (*t, Some(1), Some(t % 3))).collect());
        let actions = [
            rows(&[0, 20, 40]),
            Action::Restore(2),
            rows(&[7, 13]),
            Action::Restore(1),
            Action::Advance(126),
            rows(&[33, 27, 19]),
            Action::Advance(1),
        ];
        check(true, budget, &actions);
    }
}
