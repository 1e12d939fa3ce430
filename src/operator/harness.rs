//! Runs a keyed operator at some parallelism, and through restores at another, for the tests of operators.

use arrow::datatypes::Int8Type;
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

use super::key_hasher::KeyHasher;
use super::test_support::Collected;
use super::{Operator, Watermark};
use crate::error::Result;
use crate::graph::key_group::range_of;
use crate::state::{RestoredState, SharedMemory, StateContext};
use crate::types::Schema;
use crate::types::row_kind;

const MAX_PARALLELISM: u32 = 8;

type Open = Box<dyn Fn(StateContext, &[serde_json::Value]) -> Result<Box<dyn Operator>>>;

/// See the module text.
pub struct Harness {
    root: tempfile::TempDir,
    open: Open,
    hasher: KeyHasher,
    budget_bytes: usize,
    generation: usize,
    subtasks: Vec<(Box<dyn Operator>, std::ops::Range<u16>)>,
    pub out: Collected,
}

impl Harness {
    /// An operator over rows of this schema, by these keys.
    pub fn new(
        schema: &Schema,
        keys: &[usize],
        parallelism: u32,
        budget_bytes: usize,
        open: impl Fn(StateContext, &[serde_json::Value]) -> Result<Box<dyn Operator>> + 'static,
    ) -> Self {
        let mut harness = Harness {
            root: crate::state::test_dir(),
            open: Box::new(open),
            hasher: KeyHasher::new(schema, keys).unwrap(),
            budget_bytes,
            generation: 0,
            subtasks: Vec::new(),
            out: Collected::default(),
        };
        harness.start(parallelism, &[], &[]);
        harness
    }

    fn start(&mut self, parallelism: u32, old: &[RestoredState], states: &[serde_json::Value]) {
        self.generation += 1;
        for subtask in 0..parallelism as usize {
            let key_groups = range_of(subtask, parallelism, MAX_PARALLELISM);
            let mut restored = Vec::new();
            for (index, one) in old.iter().enumerate() {
                if one.key_groups.start < key_groups.end && key_groups.start < one.key_groups.end {
                    let dir = self.root.path().join(format!("{}-{subtask}-from-{index}", self.generation));
                    std::fs::create_dir_all(&dir).unwrap();
                    for file in std::fs::read_dir(&one.dir).unwrap().map(|e| e.unwrap().path()) {
                        std::fs::copy(&file, dir.join(file.file_name().unwrap())).unwrap();
                    }
                    restored.push(RestoredState { dir, key_groups: one.key_groups.clone() });
                }
            }
            let context = StateContext {
                dir: self.root.path().join(format!("{}-{subtask}", self.generation)),
                key_groups: key_groups.clone(),
                max_parallelism: MAX_PARALLELISM,
                memory_budget_bytes: self.budget_bytes,
                shared: Arc::new(SharedMemory::new(8 << 20)),
                restored,
            };
            self.subtasks.push(((self.open)(context, states).unwrap(), key_groups));
        }
    }

    /// Sends each row to the subtask of its key.
    pub fn process(&mut self, batch: &RecordBatch) -> Result<()> {
        let parallelism = u32::try_from(self.subtasks.len()).unwrap();
        let parts = self.hasher.partition(batch, parallelism, MAX_PARALLELISM)?;
        for ((operator, _), part) in self.subtasks.iter_mut().zip(parts) {
            if let Some(part) = part {
                operator.process(0, part, &mut self.out)?;
            }
        }
        Ok(())
    }

    /// Advances the time of all subtasks.
    pub fn watermark(&mut self, watermark: Watermark) -> Result<()> {
        self.subtasks.iter_mut().try_for_each(|(operator, _)| operator.watermark(watermark, &mut self.out))
    }

    /// Takes a snapshot, and goes on from it at another parallelism.
    pub fn restore(&mut self, parallelism: u32) {
        let (mut old, mut states) = (Vec::new(), Vec::new());
        for (operator, key_groups) in &mut self.subtasks {
            let snapshot = operator.snapshot(1).unwrap();
            let dir = snapshot.keyed.unwrap().dir;
            old.push(RestoredState { dir, key_groups: key_groups.clone() });
            states.extend(snapshot.operator_state);
        }
        self.subtasks.clear();
        self.start(parallelism, &old, &states);
    }

    /// Late rows so far, of the subtasks that run now.
    pub fn late(&self) -> u64 {
        self.subtasks.iter().map(|(o, _)| o.metrics().late_records_dropped).sum()
    }

    /// What is left when all changes are applied: rows of integers, sorted.
    pub fn folded(&self) -> Vec<Vec<i64>> {
        let mut rows: Vec<Vec<i64>> = Vec::new();
        for (kind, row) in self.changes() {
            if row_kind::adds(kind) {
                rows.push(row);
            } else {
                let at =
                    rows.iter().position(|r| *r == row).unwrap_or_else(|| panic!("{row:?} is not there to be deleted"));
                rows.remove(at);
            }
        }
        rows.sort();
        rows
    }

    /// All changes in their order, with their kinds.
    pub fn changes(&self) -> Vec<(i8, Vec<i64>)> {
        let mut changes = Vec::new();
        for batch in &self.out.batches {
            let kinds = row_kind::kinds(batch).cloned();
            let (plain, _) = row_kind::split(batch.clone()).unwrap();
            let rows = Collected { batches: vec![plain], watermarks: vec![] }.integers();
            for (at, row) in rows.into_iter().enumerate() {
                let kind: Option<i8> = kinds.as_ref().map(|k: &arrow::array::PrimitiveArray<Int8Type>| k.value(at));
                changes.push((kind.unwrap_or(row_kind::INSERT), row));
            }
        }
        changes
    }
}
