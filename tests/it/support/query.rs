//! Runs queries on the engine itself, without a service: from start to end, or through a snapshot in the middle.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use holdfast::connector::format::json::encode_rows;
use holdfast::graph::JobGraph;
use holdfast::graph::key_group;
use holdfast::id::OperatorId;
use holdfast::operator::OperatorSnapshot;
use holdfast::runtime::{Barrier, Execution, ExecutionSpec, RestoredOperator, TaskEvent};
use holdfast::state::{RestoredState, SharedMemory, StateSnapshot};
use holdfast::types::{Schema, row_kind};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

const MAX_PARALLELISM: u32 = 128;
/// For the in-memory tables of a job, bytes, unless a test wants less.
const MEMORY_BYTES: usize = 64 << 20;

/// A result: its columns, and how often each row (a JSON array) is there.
pub struct Answer {
    pub schema: Schema,
    rows: HashMap<String, i64>,
}

impl Answer {
    fn new(schema: Schema) -> Self {
        Answer { schema, rows: HashMap::new() }
    }

    /// Applies changes to the rows that they describe.
    fn fold(&mut self, batch: arrow::record_batch::RecordBatch) -> Result<(), String> {
        let (batch, kinds) = row_kind::split(batch).map_err(|e| e.to_string())?;
        let rows = encode_rows(&batch, &self.schema).map_err(|e| e.to_string())?;
        for (at, row) in rows.into_iter().enumerate() {
            let adds = kinds.as_ref().is_none_or(|k| row_kind::adds(k.value(at)));
            *self.rows.entry(Value::Array(row).to_string()).or_default() += if adds { 1 } else { -1 };
        }
        Ok(())
    }

    /// The rows that are left, each as often as it is there, in no order.
    pub fn rows(&self) -> Result<Vec<Vec<Value>>, String> {
        let mut rows = Vec::new();
        for (row, count) in &self.rows {
            let times =
                usize::try_from(*count).map_err(|_| format!("{row} was taken away more often than it was given"))?;
            let row: Vec<Value> = serde_json::from_str(row).map_err(|e| e.to_string())?;
            rows.extend(std::iter::repeat_n(row, times));
        }
        Ok(rows)
    }
}

/// The local images of a snapshot, by operator and subtask.
type Images = HashMap<OperatorId, Vec<OperatorSnapshot>>;

/// What one run needs.
struct Run<'a> {
    graph: &'a JobGraph,
    parallelism: u32,
    memory_bytes: usize,
    dir: &'a Path,
    restored: HashMap<OperatorId, RestoredOperator>,
    /// Whether to stop behind a barrier that follows the first rows of each source, and not at the end of input.
    stop_early: bool,
}

/// Runs a query from start to end.
pub async fn run(sql: &str, parallelism: u32) -> Result<Answer, String> {
    run_within(sql, parallelism, MEMORY_BYTES).await
}

/// As `run`, with so many bytes for the in-memory tables.
pub async fn run_within(sql: &str, parallelism: u32, memory_bytes: usize) -> Result<Answer, String> {
    let (planned, schema) = holdfast::sql::plan_query(sql).map_err(|e| e.to_string())?;
    let mut answer = Answer::new(schema);
    let dir = TempDir::new().unwrap();
    let restored = HashMap::new();
    let run = Run { graph: &planned.graph, parallelism, memory_bytes, dir: dir.path(), restored, stop_early: false };
    execute(run, &mut answer).await?;
    Ok(answer)
}

/// Runs a query at parallelism 1 until each source has read its first file (rows of one file are one batch), takes a
/// snapshot there, and goes on from it at another parallelism.
pub async fn run_through_snapshot(sql: &str, then: u32) -> Result<Answer, String> {
    let (planned, schema) = holdfast::sql::plan_query(sql).map_err(|e| e.to_string())?;
    let graph = &planned.graph;
    let mut answer = Answer::new(schema);
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let run = |parallelism, dir, restored, stop_early| Run {
        graph,
        parallelism,
        memory_bytes: MEMORY_BYTES,
        dir,
        restored,
        stop_early,
    };
    let images = execute(run(1, first.path(), HashMap::new(), true), &mut answer).await?;
    let restored = restore(images, graph, then, second.path());
    let work = second.path().join("work");
    std::fs::create_dir_all(&work).unwrap();
    execute(run(then, &work, restored, false), &mut answer).await?;
    Ok(answer)
}

/// Runs until all subtasks have passed the last barrier; answers their images.
async fn execute(run: Run<'_>, answer: &mut Answer) -> Result<Images, String> {
    let (rows, mut batches) = mpsc::channel(16);
    let (events, mut reports) = mpsc::unbounded_channel();
    let spec = ExecutionSpec {
        job_id: holdfast::id::JobId::generate(),
        attempt: 1,
        graph: Arc::new(run.graph.clone()),
        parallelism: run.parallelism,
        max_parallelism: MAX_PARALLELISM,
        exactly_once: true,
        work_dir: run.dir.to_path_buf(),
        memory_bytes: run.memory_bytes,
        shared_memory: Arc::new(SharedMemory::new(32 << 20)),
        restored: run.restored,
        collect: Some(rows),
    };
    let execution = Execution::start(spec, events).map_err(|e| e.to_string())?;
    let barrier = Barrier { checkpoint_id: 1, stops: true };
    if run.stop_early {
        // A source looks for it when it has emitted its first rows.
        execution.trigger(barrier);
    }
    let mut reading: HashSet<_> = execution.sources().iter().copied().collect();
    let mut working: HashSet<_> = execution.tasks().iter().copied().collect();
    let mut images = Images::new();
    let outcome = loop {
        tokio::select! {
            Some(batch) = batches.recv() => answer.fold(batch)?,
            Some(event) = reports.recv() => match event {
                TaskEvent::Failed { error, .. } => break Err(error.to_string()),
                TaskEvent::SourceFinished { task }
                    if reading.remove(&task) && reading.is_empty() && !run.stop_early =>
                {
                    execution.trigger(barrier);
                }
                TaskEvent::Acknowledge { task, snapshots, .. } => {
                    for (id, snapshot) in snapshots {
                        images.entry(id).or_default().push(snapshot);
                    }
                    working.remove(&task);
                    if working.is_empty() { break Ok(images) }
                }
                _ => {}
            },
        }
    };
    while let Ok(batch) = batches.try_recv() {
        answer.fold(batch)?;
    }
    tokio::task::spawn_blocking(move || execution.join()).await.unwrap();
    outcome
}

/// Deals the images to the subtasks of the next run, each with a copy of its own.
fn restore(images: Images, graph: &JobGraph, parallelism: u32, dir: &Path) -> HashMap<OperatorId, RestoredOperator> {
    let mut restored = HashMap::new();
    for (id, snapshots) in images {
        let vertex = graph.vertices.iter().find(|v| v.operators.iter().any(|o| o.id == id)).unwrap();
        let parallelism = vertex.parallelism.unwrap_or(parallelism);
        let operator_state = snapshots.iter().filter_map(|s| s.operator_state.clone()).collect();
        let images: Vec<StateSnapshot> = snapshots.into_iter().filter_map(|s| s.keyed).collect();
        let keyed = (0..parallelism as usize).map(|subtask| {
            let range = key_group::range_of(subtask, parallelism, MAX_PARALLELISM);
            let wanted = images
                .iter()
                .enumerate()
                .filter(|(_, image)| image.key_groups.start < range.end && range.start < image.key_groups.end);
            wanted.map(|(old, image)| copy(image, &dir.join(format!("{id}-{old}-{subtask}")))).collect()
        });
        let keyed = keyed.collect();
        restored.insert(id, RestoredOperator { operator_state, keyed });
    }
    restored
}

fn copy(image: &StateSnapshot, to: &Path) -> RestoredState {
    std::fs::create_dir_all(to).unwrap();
    for (name, _) in &image.files {
        std::fs::copy(image.dir.join(name), to.join(name)).unwrap();
    }
    RestoredState { dir: to.to_path_buf(), key_groups: image.key_groups.clone() }
}
