//! Tables of changes and what they emit, as Flink's operators do; then the same in any batches, through restores and
//! with a tiny memory budget.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::*;
use crate::graph::{JoinCondition, JoinInputKey, JoinKey, key_group};
use crate::operator::test_support::Collected;
use crate::state::{RestoredState, SharedMemory, test_dir};
use crate::types::row_kind::{attach, short, with_row_kind};
use crate::types::{DataType, Field, TypeKind};

const N: i64 = i64::MIN;

fn schema(names: [&str; 2]) -> Schema {
    Schema::new(names.iter().map(|n| Field::new(*n, DataType::nullable(TypeKind::BigInt))).collect())
}

fn spec(kind: JoinKind, keys: [JoinInputKey; 2], residual: bool) -> JoinSpec {
    let column = |i| crate::expr::Expr::column(i, DataType::nullable(TypeKind::BigInt));
    let residual = residual.then(|| crate::expr::call("<=", vec![column(1), column(3)]).unwrap());
    let output = if kind.is_semi_or_anti() { vec![0, 1] } else { vec![0, 1, 2, 3] };
    let condition =
        JoinCondition { kind, keys: vec![JoinKey { left: 0, right: 0, null_safe: false }], residual, output };
    let [left_key, right_key] = keys;
    JoinSpec { condition, left_key, right_key, left_ttl_ms: 0, right_ttl_ms: 0 }
}

fn output(spec: &JoinSpec) -> Schema {
    let names = ["a", "b", "c", "d"];
    let fields = spec.condition.output.iter().map(|i| Field::new(names[*i], DataType::nullable(TypeKind::BigInt)));
    Schema::new(fields.collect())
}

/// A change of an input: which, its kind, its key and value.
type Change = (usize, i8, i64, i64);

fn batch(changes: &[Change]) -> RecordBatch {
    let column = |of: fn(&Change) -> i64| -> ArrayRef {
        Arc::new(changes.iter().map(|c| Some(of(c)).filter(|v| *v != N)).collect::<Int64Array>())
    };
    let schema = schema(["k", "v"]).to_arrow();
    let rows = RecordBatch::try_new(schema.clone(), vec![column(|c| c.2), column(|c| c.3)]).unwrap();
    if changes.iter().all(|c| c.1 == INSERT) {
        return rows;
    }
    let kinds = changes.iter().map(|c| c.1).collect::<Int8Array>();
    attach(&rows, kinds, &with_row_kind(&schema)).unwrap()
}

struct Run {
    root: tempfile::TempDir,
    spec: JoinSpec,
    /// Per subtask.
    operators: Vec<JoinOperator>,
    attempt: usize,
    budget: usize,
    out: Collected,
}

impl Run {
    fn new(spec: JoinSpec, budget: usize) -> Self {
        let mut run = Run { root: test_dir(), spec, operators: vec![], attempt: 0, budget, out: Collected::default() };
        run.open(1, vec![]);
        run
    }
    fn open(&mut self, parallelism: u32, snapshots: Vec<RestoredState>) {
        self.attempt += 1;
        let open = |subtask: u32| {
            let key_groups = key_group::range_of(subtask as usize, parallelism, 128);
            let mut restored = Vec::new();
            for (i, old) in snapshots.iter().enumerate() {
                if old.key_groups.start < key_groups.end && key_groups.start < old.key_groups.end {
                    // Each subtask may take its copy over.
                    let dir = self.root.path().join(format!("{}-{subtask}-{i}", self.attempt));
                    std::fs::create_dir(&dir).unwrap();
                    for file in std::fs::read_dir(&old.dir).unwrap() {
                        let path = file.unwrap().path();
                        std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
                    }
                    restored.push(RestoredState { dir, key_groups: old.key_groups.clone() });
                }
            }
            let state = StateContext {
                dir: self.root.path().join(format!("{}-{subtask}", self.attempt)),
                key_groups,
                max_parallelism: 128,
                memory_budget_bytes: self.budget,
                shared: Arc::new(SharedMemory::new(8 << 20)),
                restored,
            };
            let context = EvalContext { time_zone: chrono_tz::Tz::UTC };
            let (left, right) = (schema(["k", "v"]), schema(["k", "v"]));
            JoinOperator::open(&self.spec, [&left, &right], &output(&self.spec), &context, &state).unwrap()
        };
        let operators = (0..parallelism).map(open).collect();
        self.operators = operators;
    }
    fn restore(&mut self, parallelism: u32) {
        let states = self.operators.iter_mut().map(|o| {
            let state = o.snapshot(1).unwrap().keyed.unwrap();
            RestoredState { dir: state.dir, key_groups: state.key_groups }
        });
        let states = states.collect();
        self.operators.clear();
        self.open(parallelism, states);
    }
    fn process(&mut self, changes: &[Change]) {
        let hasher = crate::operator::key_hasher::KeyHasher::new(&schema(["k", "v"]), &[0]).unwrap();
        let input = changes[0].0;
        let parts = hasher.partition(&batch(changes), u32::try_from(self.operators.len()).unwrap(), 128).unwrap();
        for (operator, part) in self.operators.iter_mut().zip(parts) {
            if let Some(part) = part {
                operator.process(input, part, &mut self.out).unwrap();
            }
        }
    }
    fn take(&mut self) -> Vec<String> {
        let out = std::mem::take(&mut self.out);
        let mut rows = Vec::new();
        for batch in out.batches {
            let (plain, kinds) = row_kind::split(batch).unwrap();
            let one = Collected { batches: vec![plain], watermarks: vec![] };
            for (i, row) in one.integers().into_iter().enumerate() {
                let kind = kinds.as_ref().map_or(INSERT, |k| k.value(i));
                let cells: Vec<String> =
                    row.iter().map(|v| if *v == N { "null".to_owned() } else { v.to_string() }).collect();
                rows.push(format!("{}[{}]", short(kind), cells.join(",")));
            }
        }
        rows
    }
}

const L: usize = 0;
const R: usize = 1;
const UB: i8 = row_kind::UPDATE_BEFORE;
const UA: i8 = row_kind::UPDATE_AFTER;
const I: i8 = INSERT;
const D: i8 = DELETE;

fn check(kind: JoinKind, keys: [JoinInputKey; 2], steps: &[(Change, &str)]) {
    let mut run = Run::new(spec(kind, keys, false), 1 << 20);
    for (change, expected) in steps {
        run.process(&[*change]);
        assert_eq!(run.take().join(" "), *expected, "{kind:?} after {change:?}");
    }
}

fn plain() -> [JoinInputKey; 2] {
    [JoinInputKey::None, JoinInputKey::None]
}

#[test]
fn each_record_emits_what_flinks_operators_do() {
    check(
        JoinKind::Inner,
        plain(),
        &[
            ((L, I, 1, 10), ""),
            ((R, I, 1, 20), "+I[1,10,1,20]"),
            ((R, UB, 1, 20), "-U[1,10,1,20]"),
            ((R, UA, 1, 21), "+U[1,10,1,21]"),
            ((L, I, N, 11), ""),
            ((R, I, N, 22), ""),
            ((L, I, 1, 10), "+I[1,10,1,21]"),
            ((L, D, 1, 10), "-D[1,10,1,21]"),
            ((R, D, 1, 21), "-D[1,10,1,21]"),
            ((R, D, 1, 99), "-D[1,10,1,99]"),
        ],
    );
    check(
        JoinKind::Left,
        plain(),
        &[
            ((L, I, 1, 10), "+I[1,10,null,null]"),
            ((L, UA, N, 11), "+I[null,11,null,null]"),
            ((L, UB, N, 11), "-D[null,11,null,null]"),
            ((R, I, 1, 20), "-D[1,10,null,null] +I[1,10,1,20]"),
            ((R, UA, 1, 21), "+I[1,10,1,21]"),
            ((R, UB, 1, 20), "-U[1,10,1,20]"),
            ((L, UB, 1, 10), "-D[1,10,1,21]"),
            ((L, UA, 1, 12), "+I[1,12,1,21]"),
            ((R, D, 1, 21), "-D[1,12,1,21] +I[1,12,null,null]"),
            ((L, UB, 1, 12), "-D[1,12,null,null]"),
        ],
    );
    check(
        JoinKind::Full,
        plain(),
        &[
            ((R, I, 1, 20), "+I[null,null,1,20]"),
            ((L, I, 1, 10), "-D[null,null,1,20] +I[1,10,1,20]"),
            ((L, I, 1, 11), "+I[1,11,1,20]"),
            ((L, D, 1, 10), "-D[1,10,1,20]"),
            ((L, D, 1, 11), "-D[1,11,1,20] +I[null,null,1,20]"),
            ((R, UB, 1, 20), "-D[null,null,1,20]"),
        ],
    );
    check(
        JoinKind::Semi,
        plain(),
        &[
            ((L, I, 1, 10), ""),
            ((R, UA, 1, 20), "+U[1,10]"),
            ((R, I, 1, 21), ""),
            ((L, UA, 1, 11), "+U[1,11]"),
            ((R, D, 1, 20), ""),
            ((R, D, 1, 21), "-D[1,10] -D[1,11]"),
            ((L, I, N, 12), ""),
        ],
    );
    check(
        JoinKind::Anti,
        plain(),
        &[
            ((L, I, 1, 10), "+I[1,10]"),
            ((R, UA, 1, 20), "-D[1,10]"),
            ((L, I, 1, 11), ""),
            ((R, UB, 1, 20), "+I[1,10] +I[1,11]"),
            ((L, UB, 1, 11), "-U[1,11]"),
            ((L, I, N, 12), "+I[null,12]"),
        ],
    );
}

#[test]
fn a_new_row_of_a_unique_key_replaces_the_old_one() {
    check(
        JoinKind::Inner,
        [JoinInputKey::None, JoinInputKey::Keys],
        &[
            ((R, I, 1, 20), ""),
            ((R, UA, 1, 21), ""),
            ((L, I, 1, 10), "+I[1,10,1,21]"),
            ((R, UA, 1, 22), "+U[1,10,1,22]"),
            ((R, D, 1, 22), "-D[1,10,1,22]"),
            ((L, I, 1, 11), ""),
        ],
    );
    check(
        JoinKind::Inner,
        [JoinInputKey::Unique(vec![0, 1]), JoinInputKey::None],
        &[
            ((L, I, 1, 10), ""),
            ((L, UA, 1, 10), ""),
            ((L, I, 1, 11), ""),
            ((R, I, 1, 20), "+I[1,10,1,20] +I[1,11,1,20]"),
        ],
    );
}

/// The rows of a join of two multisets.
fn joined(kind: JoinKind, residual: bool, left: &[(i64, i64)], right: &[(i64, i64)]) -> Vec<String> {
    let matches =
        |l: &(i64, i64), r: &(i64, i64)| l.0 == r.0 && l.0 != N && (!residual || (l.1 <= r.1 && l.1 != N && r.1 != N));
    let cell = |v: i64| if v == N { "null".to_owned() } else { v.to_string() };
    let mut rows = Vec::new();
    for l in left {
        let found: Vec<_> = right.iter().filter(|r| matches(l, r)).collect();
        match kind {
            JoinKind::Semi | JoinKind::Anti => {
                if found.is_empty() == (kind == JoinKind::Anti) {
                    rows.push(format!("{},{}", cell(l.0), cell(l.1)));
                }
                continue;
            }
            _ => rows.extend(found.iter().map(|r| [l.0, l.1, r.0, r.1].map(cell).join(","))),
        }
        if found.is_empty() && kind.keeps_left() {
            rows.push([l.0, l.1, N, N].map(cell).join(","));
        }
    }
    if kind.keeps_right() {
        let alone = right.iter().filter(|r| !left.iter().any(|l| matches(l, r)));
        rows.extend(alone.map(|r| [N, N, r.0, r.1].map(cell).join(",")));
    }
    rows.sort();
    rows
}

fn kinds() -> impl Strategy<Value = JoinKind> {
    prop::sample::select(vec![
        JoinKind::Inner,
        JoinKind::Left,
        JoinKind::Right,
        JoinKind::Full,
        JoinKind::Semi,
        JoinKind::Anti,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// Whatever changes come in whatever batches, with restores at other parallelisms between them and little memory, the
    /// changes emitted add up to the join of what is there.
    #[test]
    fn changes_add_up_to_the_join(
        kind in kinds(),
        residual in any::<bool>(),
        budget in prop::sample::select(vec![500usize, 4000, 1 << 20]),
        steps in prop::collection::vec((0..2usize, prop::option::weighted(0.9, 0..4i64), 0..4i64, any::<bool>(), 0..12u8), 1..120),
    ) {
        let mut run = Run::new(spec(kind, plain(), residual), budget);
        let mut sides: [Vec<(i64, i64)>; 2] = [vec![], vec![]];
        let mut folded: Vec<String> = Vec::new();
        let mut pending: Vec<Change> = Vec::new();
        for (input, key, value, remove, then) in steps {
            let row = (key.unwrap_or(N), value);
            let side = &mut sides[input];
            let kind = match side.iter().position(|r| *r == row).filter(|_| remove) {
                Some(position) => {
                    side.remove(position);
                    if value % 2 == 0 { D } else { UB }
                }
                None => {
                    side.push(row);
                    if value % 2 == 0 { I } else { UA }
                }
            };
            if pending.first().is_some_and(|c| c.0 != input) {
                run.process(&std::mem::take(&mut pending));
            }
            pending.push((input, kind, row.0, row.1));
            if then < 4 {
                run.process(&std::mem::take(&mut pending));
            }
            if then == 0 {
                run.restore(1);
            } else if then == 1 {
                run.restore(2);
            }
        }
        if !pending.is_empty() {
            run.process(&pending);
        }
        for row in run.take() {
            let (kind, cells) = row.trim_end_matches(']').split_once('[').unwrap();
            if kind.starts_with('+') {
                folded.push(cells.to_owned());
            } else {
                let position = folded.iter().position(|r| r == cells);
                prop_assert!(position.is_some(), "{} takes back a row that is not there", row);
                folded.remove(position.unwrap());
            }
        }
        folded.sort();
        prop_assert_eq!(folded, joined(kind, residual, &sides[0], &sides[1]));
    }
}
