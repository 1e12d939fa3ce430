//! The subtasks of one keyed operator, for tests: routes rows by key group, restores at another parallelism.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use serde_json::Value;

use super::key_hasher::KeyHasher;
use super::test_support::Collected;
use super::{Operator, Watermark};
use crate::graph::key_group::range_of;
use crate::state::{RestoredState, SharedMemory, StateContext};

const MAX_PARALLELISM: u32 = 128;

type Open = dyn Fn(&StateContext, &[Value]) -> Box<dyn Operator>;

/// See the module text.
pub struct Subtasks {
    open: Box<Open>,
    /// Of each input.
    hashers: Vec<KeyHasher>,
    budget: usize,
    root: tempfile::TempDir,
    shared: Arc<SharedMemory>,
    operators: Vec<Box<dyn Operator>>,
    generation: usize,
    late_before: u64,
    /// What was emitted and not taken yet.
    pub out: Collected,
}

impl Subtasks {
    /// One subtask without state.
    pub fn new(
        budget: usize,
        hashers: Vec<KeyHasher>,
        open: impl Fn(&StateContext, &[Value]) -> Box<dyn Operator> + 'static,
    ) -> Self {
        let mut subtasks = Subtasks {
            open: Box::new(open),
            hashers,
            budget,
            root: crate::state::test_dir(),
            shared: Arc::new(SharedMemory::new(16 << 20)),
            operators: vec![],
            generation: 0,
            late_before: 0,
            out: Collected::default(),
        };
        subtasks.start(1, &[], &[]);
        subtasks
    }

    fn start(&mut self, parallelism: u32, snapshots: &[RestoredState], states: &[Value]) {
        self.generation += 1;
        self.operators.clear();
        for subtask in 0..usize::try_from(parallelism).unwrap() {
            let key_groups = range_of(subtask, parallelism, MAX_PARALLELISM);
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
                dir: self.root.path().join(format!("{}-{subtask}", self.generation)),
                key_groups,
                max_parallelism: MAX_PARALLELISM,
                memory_budget_bytes: self.budget,
                shared: self.shared.clone(),
                restored,
            };
            self.operators.push((self.open)(&context, states));
        }
    }

    /// Rows for an input.
    pub fn push(&mut self, input: usize, batch: &RecordBatch) {
        let parallelism = u32::try_from(self.operators.len()).unwrap();
        let parts = self.hashers[input].partition(batch, parallelism, MAX_PARALLELISM).unwrap();
        for (operator, part) in self.operators.iter_mut().zip(parts) {
            if let Some(part) = part.filter(|part| part.num_rows() > 0) {
                operator.process(input, part, &mut self.out).unwrap();
            }
        }
    }

    /// Event time for all subtasks.
    pub fn watermark(&mut self, watermark: Watermark) {
        for operator in &mut self.operators {
            operator.watermark(watermark, &mut self.out).unwrap();
        }
    }

    /// What was emitted since the last call, sorted; see [`Collected::integers`].
    pub fn take(&mut self) -> Vec<Vec<i64>> {
        let mut rows = std::mem::take(&mut self.out).integers();
        rows.sort_unstable();
        rows
    }

    /// Records that came too late.
    pub fn late(&self) -> u64 {
        self.late_before + self.operators.iter().map(|o| o.metrics().late_records_dropped).sum::<u64>()
    }

    /// Takes a snapshot, pushes `lost`, which is lost with the process, and goes on with so many subtasks.
    pub fn restore(&mut self, parallelism: u32, lost: &[(usize, RecordBatch)]) {
        let (mut states, mut json) = (Vec::new(), Vec::new());
        for operator in &mut self.operators {
            let snapshot = operator.snapshot(1).unwrap();
            let keyed = snapshot.keyed.unwrap();
            states.push(RestoredState { dir: keyed.dir, key_groups: keyed.key_groups });
            json.extend(snapshot.operator_state);
        }
        self.late_before = self.late();
        let emitted = std::mem::take(&mut self.out);
        lost.iter().for_each(|(input, batch)| self.push(*input, batch));
        self.out = emitted;
        self.start(parallelism, &states, &json);
    }
}
