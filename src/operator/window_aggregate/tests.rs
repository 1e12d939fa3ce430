//! The operator against a naive reference that keeps every record of every window, under random batching, snapshots,
//! restores, rescales and memory budgets; and tables of single cases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;

use super::*;
use crate::graph::key_group::range_of;
use crate::graph::{AggregateCall, AggregateFunction, WindowKind, WindowTableSpec};
use crate::operator::MAX_WATERMARK;
use crate::operator::key_hasher::KeyHasher;
use crate::operator::test_support::Collected;
use crate::operator::window_table::WindowTableOperator;
use crate::state::{RestoredState, SharedMemory};
use crate::types::{DataType, Field, MAX_LENGTH, TimestampKind, TypeKind};

const MAX_PARALLELISM: u32 = 128;
const ROOMY: usize = 64 << 20;

/// (event time, key, value, filter)
type Record = (i64, Option<i64>, Option<i64>, Option<bool>);

#[derive(Debug, Clone)]
enum Action {
    Records(Vec<Record>),
    /// The watermark advances by this.
    Advance(i64),
    /// Snapshot, then go on with this many subtasks restored from it.
    Restore(u32),
    /// Snapshot, then go on.
    Snapshot,
}

#[derive(Debug, Clone, Copy)]
enum Keys {
    BigInt,
    /// Two columns of the same information.
    StringAndInt,
    None,
}

#[derive(Debug, Clone)]
struct Case {
    window: WindowKind,
    attached: bool,
    keys: Keys,
    budget: usize,
    actions: Vec<Action>,
}

fn timestamp(kind: TimestampKind) -> DataType {
    TypeKind::Timestamp(3, kind).into()
}

/// ts, k, ks, ki, v, f, s
fn input_schema() -> Schema {
    Schema::new(vec![
        Field::new("ts", timestamp(TimestampKind::Rowtime)),
        Field::new("k", TypeKind::BigInt.into()),
        Field::new("ks", DataType::string()),
        Field::new("ki", TypeKind::Int.into()),
        Field::new("v", TypeKind::BigInt.into()),
        Field::new("f", TypeKind::Boolean.into()),
        Field::new("s", DataType::string()),
    ])
}

fn with_windows(schema: &Schema) -> Schema {
    let mut fields = schema.fields.clone();
    for (name, kind) in [("ws", TimestampKind::Regular), ("we", TimestampKind::Regular), ("wt", TimestampKind::Rowtime)]
    {
        fields.push(Field::new(name, timestamp(kind)));
    }
    Schema::new(fields)
}

fn key_text(key: Option<i64>) -> Option<String> {
    key.map(|k| format!("key-{}", "x".repeat(usize::try_from(k.rem_euclid(7)).unwrap())))
}

fn batch_of(records: &[Record]) -> RecordBatch {
    let texts: Vec<Option<String>> = records.iter().map(|r| key_text(r.1)).collect();
    let strings: Vec<Option<String>> = records.iter().map(|r| r.2.map(|v| format!("s{v}"))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from_iter_values(records.iter().map(|r| r.0))),
        Arc::new(records.iter().map(|r| r.1).collect::<Int64Array>()),
        Arc::new(StringArray::from(texts)),
        Arc::new(records.iter().map(|r| r.1.map(|k| i32::try_from(k).unwrap())).collect::<Int32Array>()),
        Arc::new(records.iter().map(|r| r.2).collect::<Int64Array>()),
        Arc::new(records.iter().map(|r| r.3).collect::<BooleanArray>()),
        Arc::new(StringArray::from(strings)),
    ];
    RecordBatch::try_new(input_schema().to_arrow(), columns).unwrap()
}

fn call(function: AggregateFunction, argument: Option<usize>, kind: TypeKind) -> AggregateCall {
    AggregateCall { function, argument, distinct: false, filter: None, data_type: kind.into() }
}

fn aggregates() -> Vec<AggregateCall> {
    use AggregateFunction as F;
    vec![
        call(F::CountStar, None, TypeKind::BigInt),
        AggregateCall { filter: Some(5), ..call(F::Count, Some(4), TypeKind::BigInt) },
        call(F::Sum, Some(4), TypeKind::BigInt),
        call(F::Avg, Some(4), TypeKind::BigInt),
        call(F::Max, Some(6), TypeKind::VarChar(MAX_LENGTH)),
        AggregateCall { distinct: true, ..call(F::Count, Some(4), TypeKind::BigInt) },
        AggregateCall { distinct: true, filter: Some(5), ..call(F::Sum, Some(4), TypeKind::BigInt) },
        AggregateCall { distinct: true, ..call(F::Count, Some(6), TypeKind::BigInt) },
        AggregateCall { distinct: true, ..call(F::Min, Some(4), TypeKind::BigInt) },
    ]
}

fn spec_of(case: &Case) -> (WindowAggregateSpec, Schema, Schema) {
    let keys = match case.keys {
        Keys::BigInt => vec![1],
        Keys::StringAndInt => vec![2, 3],
        Keys::None => vec![],
    };
    let mut input = input_schema();
    let windows = if case.attached {
        input = with_windows(&input);
        WindowInput::Attached { window_start: 7, window_end: 8, zoned: false }
    } else {
        WindowInput::Assign { window: case.window, rowtime: 0 }
    };
    let mut output: Vec<Field> = keys.iter().map(|k| input.fields[*k].clone()).collect();
    output.extend(aggregates().iter().enumerate().map(|(i, a)| Field::new(format!("a{i}"), a.data_type.clone())));
    let properties = vec![WindowProperty::Start, WindowProperty::End, WindowProperty::Time];
    for (name, kind) in [("ws", TimestampKind::Regular), ("we", TimestampKind::Regular), ("wt", TimestampKind::Rowtime)]
    {
        output.push(Field::new(name, timestamp(kind)));
    }
    let spec = WindowAggregateSpec { input: windows, keys, aggregates: aggregates(), properties };
    (spec, input, Schema::new(output))
}

/// Windows of a time by trying all starts near it.
fn windows_of(kind: WindowKind, time: i64) -> Vec<Window> {
    let (size, slide, offset) = match kind {
        WindowKind::Tumble { size_ms, offset_ms } => (size_ms, size_ms, offset_ms),
        WindowKind::Hop { size_ms, slide_ms, offset_ms } => (size_ms, slide_ms, offset_ms),
        WindowKind::Cumulate { size_ms, step_ms, offset_ms } => {
            let start = time - (time - offset_ms).rem_euclid(size_ms);
            let ends = (1..=size_ms / step_ms).map(|n| start + n * step_ms).filter(|end| *end > time);
            return ends.map(|end| Window { start, end }).collect();
        }
        WindowKind::Session { .. } => unreachable!("sessions have an operator of their own"),
    };
    (time - size + 1..=time)
        .filter(|start| (start - offset).rem_euclid(slide) == 0)
        .map(|start| Window { start, end: start + size })
        .collect()
}

#[derive(Default)]
struct Reference {
    windows: BTreeMap<(Window, Option<i64>), Vec<Record>>,
    watermark: Option<i64>,
    late: u64,
}

impl Reference {
    fn record(&mut self, case: &Case, record: Record) {
        let all = windows_of(case.window, record.0);
        let open: Vec<_> = all.iter().filter(|w| self.watermark.is_none_or(|m| w.end - 1 > m)).collect();
        if case.attached {
            self.late += u64::try_from(all.len() - open.len()).unwrap();
        } else if open.is_empty() && !all.is_empty() {
            self.late += 1;
        }
        let key = if matches!(case.keys, Keys::None) { None } else { record.1 };
        open.iter().for_each(|w| self.windows.entry((**w, key)).or_default().push(record));
    }

    fn fire(&mut self, case: &Case, watermark: i64) -> Vec<String> {
        self.watermark = Some(watermark);
        let due: Vec<_> = self.windows.keys().filter(|(w, _)| w.end - 1 <= watermark).copied().collect();
        due.into_iter().map(|id| row(case, id.0, id.1, &self.windows.remove(&id).unwrap())).collect()
    }
}

fn row(case: &Case, window: Window, key: Option<i64>, records: &[Record]) -> String {
    let show = |v: Option<i64>| v.map_or(String::new(), |v| v.to_string());
    let values: Vec<i64> = records.iter().filter_map(|r| r.2).collect();
    let filtered: Vec<i64> = records.iter().filter(|r| r.3 == Some(true)).filter_map(|r| r.2).collect();
    let distinct: BTreeSet<i64> = values.iter().copied().collect();
    let sum = |v: &mut dyn Iterator<Item = i64>| v.reduce(|a, b| a + b);
    let total = sum(&mut values.iter().copied());
    let mut columns = match case.keys {
        Keys::BigInt => vec![show(key)],
        Keys::StringAndInt => vec![key_text(key).unwrap_or_default(), show(key)],
        Keys::None => vec![],
    };
    columns.extend([
        records.len().to_string(),
        filtered.len().to_string(),
        show(total),
        show(total.map(|t| t / i64::try_from(values.len()).unwrap())),
        values.iter().map(|v| format!("s{v}")).max().unwrap_or_default(),
        distinct.len().to_string(),
        show(sum(&mut filtered.iter().copied().collect::<BTreeSet<_>>().into_iter())),
        distinct.len().to_string(),
        show(values.iter().min().copied()),
    ]);
    columns.extend([window.start, window.end, window.end - 1].map(|t| t.to_string()));
    columns.join("|")
}

fn rows_of(collected: &Collected) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in &collected.batches {
        assert!(batch.num_rows() <= MAX_BATCH_ROWS && batch.num_rows() > 0);
        let properties = batch.num_columns() - 3;
        for row in 0..batch.num_rows() {
            let value = |(index, column): (usize, &ArrayRef)| {
                if index >= properties {
                    crate::state::integers::to_i64(column).unwrap()[row].to_string()
                } else {
                    array_value_to_string(column, row).unwrap()
                }
            };
            rows.push(batch.columns().iter().enumerate().map(value).collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// The subtasks of the operator.
struct Subtasks<'c> {
    case: &'c Case,
    root: tempfile::TempDir,
    shared: Arc<SharedMemory>,
    operators: Vec<WindowAggregateOperator>,
    generation: usize,
    late_before: u64,
}

impl<'c> Subtasks<'c> {
    fn new(case: &'c Case) -> Self {
        let shared = Arc::new(SharedMemory::new(16 << 20));
        let root = crate::state::test_dir();
        let mut subtasks = Subtasks { case, root, shared, operators: vec![], generation: 0, late_before: 0 };
        subtasks.open(1, &[], &[]);
        subtasks
    }

    fn open(&mut self, parallelism: u32, snapshots: &[RestoredState], states: &[serde_json::Value]) {
        self.generation += 1;
        let (spec, input, output) = spec_of(self.case);
        self.operators.clear();
        for subtask in 0..usize::try_from(parallelism).unwrap() {
            let key_groups = range_of(subtask, parallelism, MAX_PARALLELISM);
            let dir = self.root.path().join(format!("{}-{subtask}", self.generation));
            let mut restored = Vec::new();
            for (index, old) in snapshots.iter().enumerate() {
                if old.key_groups.start < key_groups.end && key_groups.start < old.key_groups.end {
                    let copy = self.root.path().join(format!("{}-{subtask}-from-{index}", self.generation));
                    copy_dir(&old.dir, &copy);
                    restored.push(RestoredState { dir: copy, key_groups: old.key_groups.clone() });
                }
            }
            let context = StateContext {
                dir,
                key_groups,
                max_parallelism: MAX_PARALLELISM,
                memory_budget_bytes: self.case.budget,
                shared: self.shared.clone(),
                restored,
            };
            self.operators.push(WindowAggregateOperator::open(&spec, &input, &output, context, states).unwrap());
        }
    }

    fn late(&self) -> u64 {
        self.late_before + self.operators.iter().map(|o| o.metrics().late_records_dropped).sum::<u64>()
    }

    fn records(&mut self, records: &[Record]) {
        let mut out = Collected::default();
        let mut batches = vec![batch_of(records)];
        let (spec, input, _) = spec_of(self.case);
        if self.case.attached {
            let table = WindowTableSpec { window: self.case.window, rowtime: 0, partition_by: vec![] };
            let context = EvalContext { time_zone: chrono_tz::Tz::UTC };
            let mut windows = WindowTableOperator::new(&table, &input, &context).unwrap();
            let mut expanded = Collected::default();
            windows.process(0, batches.remove(0), &mut expanded).unwrap();
            batches = expanded.batches;
        }
        let hasher = KeyHasher::new(&input, &spec.keys).unwrap();
        let parallelism = u32::try_from(self.operators.len()).unwrap();
        for batch in batches {
            let parts = hasher.partition(&batch, parallelism, MAX_PARALLELISM).unwrap();
            for (operator, part) in self.operators.iter_mut().zip(parts) {
                if let Some(part) = part {
                    operator.process(0, part, &mut out).unwrap();
                }
            }
        }
        assert!(out.batches.is_empty(), "nothing is emitted before a watermark");
    }

    fn watermark(&mut self, watermark: i64) -> Vec<String> {
        let mut rows = Vec::new();
        for operator in &mut self.operators {
            let mut out = Collected::default();
            operator.watermark(watermark, &mut out).unwrap();
            assert_eq!(out.watermarks, vec![watermark]);
            let ends: Vec<i64> = rows_of(&out).iter().map(|r| r.rsplit('|').next().unwrap().parse().unwrap()).collect();
            assert!(ends.is_sorted(), "windows fire in order");
            rows.extend(rows_of(&out));
        }
        rows.sort_unstable();
        rows
    }

    fn snapshot(&mut self) -> (Vec<RestoredState>, Vec<serde_json::Value>) {
        let (mut states, mut json) = (Vec::new(), Vec::new());
        for operator in &mut self.operators {
            let snapshot = operator.snapshot(1).unwrap();
            let keyed = snapshot.keyed.unwrap();
            states.push(RestoredState { dir: keyed.dir, key_groups: keyed.key_groups });
            json.push(snapshot.operator_state.unwrap());
        }
        (states, json)
    }
}

fn check(case: &Case) {
    let mut reference = Reference::default();
    let mut subtasks = Subtasks::new(case);
    let mut watermark = -100;
    for action in &case.actions {
        match action {
            Action::Records(records) => {
                records.iter().for_each(|r| reference.record(case, *r));
                if !records.is_empty() {
                    subtasks.records(records);
                }
            }
            Action::Advance(by) => {
                watermark += by;
                let mut expected = reference.fire(case, watermark);
                expected.sort_unstable();
                assert_eq!(subtasks.watermark(watermark), expected, "at watermark {watermark}");
            }
            Action::Snapshot => drop(subtasks.snapshot()),
            Action::Restore(parallelism) => {
                let (states, json) = subtasks.snapshot();
                // What comes after the snapshot is lost with the process.
                subtasks.late_before = subtasks.late();
                subtasks.records(&[(1_000_000, Some(1), Some(1), Some(true))]);
                subtasks.open(*parallelism, &states, &json);
            }
        }
        assert_eq!(subtasks.late(), reference.late);
    }
    let mut expected = reference.fire(case, MAX_WATERMARK);
    expected.sort_unstable();
    assert_eq!(subtasks.watermark(MAX_WATERMARK), expected, "at the end");
    for operator in &subtasks.operators {
        assert!(operator.store.first().is_none(), "no slice outlives its last window");
    }
}

fn record() -> impl Strategy<Value = Record> {
    (-100..100i64, prop::option::weighted(0.9, 0..20i64), prop::option::of(-5..5i64), prop::option::of(any::<bool>()))
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => prop::collection::vec(record(), 0..40).prop_map(Action::Records),
        4 => (0..25i64).prop_map(Action::Advance),
        1 => Just(Action::Snapshot),
        1 => (1..4u32).prop_map(Action::Restore),
    ]
}

fn window() -> impl Strategy<Value = WindowKind> {
    prop_oneof![
        (1..40i64, -5..50i64).prop_map(|(size_ms, offset_ms)| WindowKind::Tumble { size_ms, offset_ms }),
        (1..9i64, 1..6i64, -5..50i64).prop_map(|(step_ms, steps, offset_ms)| WindowKind::Cumulate {
            size_ms: step_ms * steps,
            step_ms,
            offset_ms
        }),
        (1..40i64, 1..20i64, -5..50i64).prop_map(|(size_ms, slide_ms, offset_ms)| WindowKind::Hop {
            size_ms,
            slide_ms,
            offset_ms
        }),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let keys = prop_oneof![Just(Keys::BigInt), Just(Keys::StringAndInt), Just(Keys::None)];
    let budget = prop_oneof![Just(ROOMY), Just(1), 500..20_000usize];
    (window(), any::<bool>(), keys, budget, prop::collection::vec(action(), 1..30))
        .prop_map(|(window, attached, keys, budget, actions)| Case { window, attached, keys, budget, actions })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_are_those_of_a_naive_reference(case in case()) {
        check(&case);
    }
}

#[test]
fn a_rescale_keeps_every_group() {
    let records: Vec<Record> = (0..500).map(|i| (i % 30, Some(i % 101), Some(i % 7), Some(i % 2 == 0))).collect();
    for (attached, budget) in [(false, ROOMY), (true, ROOMY), (false, 1), (true, 4_000)] {
        let batch = || Action::Records(records.clone());
        let actions = [1, 2, 3, 3, 1].into_iter().flat_map(|p| [batch(), Action::Restore(p), Action::Advance(24)]);
        let window = WindowKind::Hop { size_ms: 20, slide_ms: 5, offset_ms: 0 };
        check(&Case { window, attached, keys: Keys::StringAndInt, budget, actions: actions.collect() });
    }
}

#[test]
fn late_records_are_counted_when_their_last_window_has_fired() {
    let tumble = WindowKind::Tumble { size_ms: 10, offset_ms: 0 };
    let hop = WindowKind::Hop { size_ms: 10, slide_ms: 5, offset_ms: 0 };
    for (window, watermark, time, late) in [
        (tumble, 8, 5, 0),
        (tumble, 9, 5, 1),
        (tumble, 9, 10, 0),
        (tumble, -1, -1, 1),
        (tumble, -2, -1, 0),
        (hop, 9, 7, 0),
        (hop, 13, 7, 0),
        (hop, 14, 7, 1),
        (hop, 9, 4, 1),
    ] {
        let actions = vec![Action::Advance(watermark + 100), Action::Records(vec![(time, Some(1), Some(1), None)])];
        let case = Case { window, attached: false, keys: Keys::BigInt, budget: ROOMY, actions };
        check(&case);
        let mut subtasks = Subtasks::new(&case);
        subtasks.watermark(watermark);
        subtasks.records(&[(time, Some(1), Some(1), None)]);
        assert_eq!(subtasks.late(), late, "{window:?}, watermark {watermark}, time {time}");
    }
}

#[test]
fn a_null_event_time_is_an_error() {
    let case = Case {
        window: WindowKind::Tumble { size_ms: 10, offset_ms: 0 },
        attached: false,
        keys: Keys::BigInt,
        budget: ROOMY,
        actions: vec![],
    };
    let mut subtasks = Subtasks::new(&case);
    let batch = batch_of(&[(1, None, None, None)]);
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(TimestampMillisecondArray::from(vec![None]));
    let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    let error = subtasks.operators[0].process(0, batch, &mut Collected::default()).unwrap_err();
    assert_eq!(error.code, "null_rowtime");
}

#[test]
fn operator_state_restores_the_lowest_watermark() {
    let states = |w: &[i64]| w.iter().map(|w| serde_json::json!({"v": 1, "watermark": w})).collect::<Vec<_>>();
    assert_eq!(restored_watermark(&states(&[7, 5])).unwrap(), 5);
    assert_eq!(restored_watermark(&[]).unwrap(), i64::MIN);
    assert_eq!(restored_watermark(&states(&[i64::MIN])).unwrap(), i64::MIN);
    assert_eq!(restored_watermark(&[serde_json::json!({"v": 2})]).unwrap_err().code, "state_corrupt");
}

#[test]
fn days_are_local_for_instants() {
    let ltz = |kind| DataType::from(TypeKind::TimestampLtz(3, kind));
    let input = Schema::new(vec![Field::new("ts", ltz(TimestampKind::Rowtime))]);
    let output = Schema::new(vec![
        Field::new("n", TypeKind::BigInt.into()),
        Field::new("ws", timestamp(TimestampKind::Regular)),
        Field::new("wt", ltz(TimestampKind::Rowtime)),
    ]);
    const HOUR: i64 = 3_600_000;
    let spec = WindowAggregateSpec {
        input: WindowInput::Assign { window: WindowKind::Tumble { size_ms: 24 * HOUR, offset_ms: 0 }, rowtime: 0 },
        keys: vec![],
        aggregates: vec![call(AggregateFunction::CountStar, None, TypeKind::BigInt)],
        properties: vec![WindowProperty::Start, WindowProperty::Time],
    };
    let root = crate::state::test_dir();
    let context = StateContext {
        dir: root.path().join("state"),
        key_groups: 0..128,
        max_parallelism: MAX_PARALLELISM,
        memory_budget_bytes: ROOMY,
        shared: Arc::new(SharedMemory::new(1 << 20)),
        restored: vec![],
    };
    let zone = EvalContext { time_zone: chrono_tz::Tz::Asia__Shanghai };
    let mut operator = WindowAggregateOperator::open(&spec, &input, &output, context, &[]).unwrap().with_context(&zone);
    let times = TimestampMillisecondArray::from(vec![-9 * HOUR, -8 * HOUR, 15 * HOUR]).with_timezone("UTC");
    let batch = RecordBatch::try_new(input.to_arrow(), vec![Arc::new(times)]).unwrap();
    let mut out = Collected::default();
    operator.process(0, batch, &mut out).unwrap();
    operator.watermark(16 * HOUR - 2, &mut out).unwrap();
    assert_eq!(out.integers(), vec![vec![1, -24 * HOUR, -8 * HOUR - 1]]);
    operator.watermark(16 * HOUR - 1, &mut out).unwrap();
    assert_eq!(out.integers()[1], vec![2, 0, 16 * HOUR - 1]);
}

#[test]
#[ignore = "a measurement: run it alone at opt-level 3"]
fn rows_per_second_of_a_tumbling_count() {
    let schema = Schema::new(vec![
        Field::new("ts", timestamp(TimestampKind::Rowtime)),
        Field::new("k", TypeKind::BigInt.into()),
        Field::new("s", DataType::string()),
    ]);
    for (name, column, keys) in
        [("BIGINT", 1, 1_000i64), ("BIGINT", 1, 1_000_000), ("STRING", 2, 1_000), ("STRING", 2, 1_000_000)]
    {
        let output = Schema::new(vec![schema.fields[column].clone(), Field::new("n", TypeKind::BigInt.into())]);
        let spec = WindowAggregateSpec {
            input: WindowInput::Assign { window: WindowKind::Tumble { size_ms: 1 << 30, offset_ms: 0 }, rowtime: 0 },
            keys: vec![column],
            aggregates: vec![call(AggregateFunction::CountStar, None, TypeKind::BigInt)],
            properties: vec![],
        };
        let root = crate::state::test_dir();
        let context = StateContext {
            dir: root.path().join("state"),
            key_groups: 0..128,
            max_parallelism: MAX_PARALLELISM,
            memory_budget_bytes: 1 << 30,
            shared: Arc::new(SharedMemory::new(64 << 20)),
            restored: vec![],
        };
        let mut operator = WindowAggregateOperator::open(&spec, &schema, &output, context, &[]).unwrap();
        let mut state = 1u64;
        let batches: Vec<RecordBatch> = (0..500)
            .map(|_| {
                let ks: Vec<i64> = (0..8192)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        i64::try_from(state >> 33).unwrap() % keys
                    })
                    .collect();
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(TimestampMillisecondArray::from_iter_values(0..8192)),
                    Arc::new(Int64Array::from(ks.clone())),
                    Arc::new(StringArray::from_iter_values(ks.iter().map(|k| format!("key-{k}")))),
                ];
                RecordBatch::try_new(schema.to_arrow(), columns).unwrap()
            })
            .collect();
        let mut out = Collected::default();
        let started = std::time::Instant::now();
        for batch in &batches {
            operator.process(0, batch.clone(), &mut out).unwrap();
        }
        let processed = started.elapsed();
        operator.snapshot(1).unwrap();
        let written = started.elapsed() - processed;
        operator.watermark(MAX_WATERMARK, &mut out).unwrap();
        let fired = started.elapsed() - processed - written;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = (batches.len() * 8192) as f64 / processed.as_secs_f64() / 1e6;
        println!("{name}, {keys} keys: {rate:.1} M rows/s; snapshot {written:?}; firing {fired:?}");
    }
}
