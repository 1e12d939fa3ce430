//! Interval joins against a simple evaluator, and what late rows and outer rows do.

use std::sync::Arc;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use proptest::prelude::*;

use super::*;
use crate::graph::{JoinCondition, JoinKey, JoinKind};
use crate::operator::test_support::Collected;
use crate::state::{RestoredState, SharedMemory, test_dir};
use crate::types::{DataType, Field, TimestampKind, TypeKind};

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("k", DataType::nullable(TypeKind::BigInt)),
        Field::new("ts", DataType::nullable(TypeKind::Timestamp(3, TimestampKind::Rowtime))),
    ])
}

fn rows(rows: &[(i64, i64)]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|r| r.1)));
    RecordBatch::try_new(schema().to_arrow(), vec![keys, times]).unwrap()
}

struct Run {
    root: tempfile::TempDir,
    spec: IntervalJoinSpec,
    operator: IntervalJoinOperator,
    attempt: u32,
    budget: usize,
    out: Collected,
}

impl Run {
    fn open(
        root: &tempfile::TempDir,
        spec: &IntervalJoinSpec,
        attempt: u32,
        budget: usize,
        restored: Option<OperatorSnapshot>,
    ) -> IntervalJoinOperator {
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
        let mut output = schema();
        output.fields.extend(schema().fields);
        IntervalJoinOperator::open(spec, [&schema(), &schema()], &output, &context, &state, &values).unwrap()
    }
    fn new(kind: JoinKind, bounds: (i64, i64), budget: usize) -> Self {
        let condition = JoinCondition {
            kind,
            keys: vec![JoinKey { left: 0, right: 0, null_safe: false }],
            residual: None,
            output: vec![0, 1, 2, 3],
        };
        let spec = IntervalJoinSpec { condition, left_time: 1, right_time: 1, lower_ms: bounds.0, upper_ms: bounds.1 };
        let root = test_dir();
        let operator = Self::open(&root, &spec, 0, budget, None);
        Run { root, spec, operator, attempt: 0, budget, out: Collected::default() }
    }
    fn restore(&mut self) {
        let snapshot = self.operator.snapshot(1).unwrap();
        self.attempt += 1;
        self.operator = Self::open(&self.root, &self.spec, self.attempt, self.budget, Some(snapshot));
    }
    fn process(&mut self, input: usize, batch: &[(i64, i64)]) {
        self.operator.process(input, rows(batch), &mut self.out).unwrap();
    }
    fn watermark(&mut self, watermark: i64) {
        self.operator.watermark(watermark, &mut self.out).unwrap();
    }
    fn take(&mut self) -> Vec<Vec<i64>> {
        std::mem::take(&mut self.out).integers()
    }
}

const N: i64 = i64::MIN;

#[test]
fn rows_meet_within_bounds_and_are_freed() {
    let mut run = Run::new(JoinKind::Full, (-1000, 5000), 1 << 20);
    run.process(0, &[(1, 10_000), (2, 10_000)]);
    run.process(1, &[(1, 4_999), (1, 5_000), (1, 11_000), (1, 11_001), (2, 50_000)]);
    assert_eq!(run.take(), [[1, 10_000, 1, 5_000], [1, 10_000, 1, 11_000]]);
    run.watermark(10_999);
    assert_eq!(run.take(), [[N, N, 1, 4_999]].as_slice()[..0], "its bucket is still needed");
    run.watermark(40_000);
    let mut freed = run.take();
    freed.sort();
    assert_eq!(freed, [[N, N, 1, 4_999], [N, N, 1, 11_001], [2, 10_000, N, N]]);
    // Late: nothing is left to meet, and it is not kept.
    run.process(0, &[(1, 10_000)]);
    assert_eq!(run.take(), [[1, 10_000, N, N]]);
    run.watermark(MAX_WATERMARK);
    assert_eq!(run.take(), [[N, N, 2, 50_000]]);
    assert!(run.operator.metrics().state_memory_bytes < 1 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    /// Without late rows the result is that of a join of all rows, whatever batches, restores and budgets there are, and
    /// no row is emitted after the watermark that is passed on has reached its times.
    #[test]
    fn the_result_is_that_of_a_join_of_all_rows(
        kind in prop::sample::select(vec![JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full]),
        bounds in prop::sample::select(vec![(-2000i64, 3000i64), (0, 0), (1000, 4000), (-4000, -500), (500, -500)]),
        budget in prop::sample::select(vec![500usize, 1 << 20]),
        steps in prop::collection::vec((0..2usize, 0..3i64, 0..3000i64, 0..10u8), 1..80),
    ) {
        let mut run = Run::new(kind, bounds, budget);
        let mut all: [Vec<(i64, i64)>; 2] = [vec![], vec![]];
        let mut found = Vec::new();
        let (mut now, mut passed) = (0, N);
        for (input, key, ahead, then) in steps {
            let row = (key, now + ahead);
            run.process(input, &[row]);
            all[input].push(row);
            if then < 4 {
                now += ahead;
                run.watermark(now - 1);
            }
            if then == 9 {
                run.restore();
            }
            let out = std::mem::take(&mut run.out);
            for row in out.integers() {
                let earliest = [row[1], row[3]].into_iter().filter(|t| *t != N).min().unwrap();
                prop_assert!(earliest > passed, "{row:?} is late at {passed}");
                found.push(row);
            }
            passed = out.watermarks.last().copied().unwrap_or(passed);
        }
        run.watermark(MAX_WATERMARK);
        found.extend(run.take());
        let meets = |l: &(i64, i64), r: &(i64, i64)| l.0 == r.0 && (bounds.0..=bounds.1).contains(&(l.1 - r.1));
        let mut expected = Vec::new();
        for l in &all[0] {
            let matches: Vec<_> = all[1].iter().filter(|r| meets(l, r)).collect();
            expected.extend(matches.iter().map(|r| vec![l.0, l.1, r.0, r.1]));
            if matches.is_empty() && kind.keeps_left() {
                expected.push(vec![l.0, l.1, N, N]);
            }
        }
        if kind.keeps_right() {
            let alone = all[1].iter().filter(|r| !all[0].iter().any(|l| meets(l, r)));
            expected.extend(alone.map(|r| vec![N, N, r.0, r.1]));
        }
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}
