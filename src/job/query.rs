//! Ad-hoc queries: a SELECT as a job of its own, whose rows go to the asker. Not stored, not checkpointed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Context;
use super::settings::MAX_PARALLELISM;
use crate::error::{Error, Result};
use crate::graph::DEFAULT_MAX_PARALLELISM;
use crate::id::JobId;
use crate::runtime::collect::COLLECT_CAPACITY;
use crate::runtime::{Barrier, Execution, ExecutionSpec, TaskEvent, TaskId};
use crate::sql;
use crate::types::Schema;

/// Queries that run at once; more are refused.
const MAX_QUERIES: usize = 8;
/// Longest time of a query, if the asker does not say, ms.
pub const DEFAULT_TIMEOUT_MS: u64 = 10 * 60 * 1000;

static SLOTS: std::sync::LazyLock<Arc<Semaphore>> = std::sync::LazyLock::new(|| Arc::new(Semaphore::new(MAX_QUERIES)));

/// A running query.
pub struct Query {
    /// The columns of the result.
    pub schema: Schema,
    /// Its rows; ends when the query does. Dropping it ends the query.
    pub rows: mpsc::Receiver<RecordBatch>,
    /// How it ended.
    pub end: oneshot::Receiver<Result<()>>,
}

/// Plans a script that ends with a SELECT and starts it. Errors of the SQL come at once.
pub async fn start(
    context: &Arc<Context>,
    text: &str,
    parallelism: Option<u32>,
    timeout_ms: Option<u64>,
) -> Result<Query> {
    let parallelism = parallelism.unwrap_or(1);
    if !(1..=MAX_PARALLELISM.min(DEFAULT_MAX_PARALLELISM)).contains(&parallelism) {
        return Err(Error::invalid(
            "invalid_value",
            format!("parallelism must be between 1 and {}", MAX_PARALLELISM.min(DEFAULT_MAX_PARALLELISM)),
        )
        .at_pointer("/parallelism"));
    }
    let text = text.to_owned();
    // Planning is work for a thread that may block.
    let (planned, schema) = tokio::task::spawn_blocking(move || sql::plan_query(&text))
        .await
        .map_err(|e| Error::internal(format!("planning panicked: {e}")))??;
    let slot = Arc::clone(&SLOTS).try_acquire_owned().map_err(|_| {
        Error::unavailable("too_many_queries", format!("{MAX_QUERIES} queries are running; try again later"))
    })?;
    let id = JobId::generate();
    let dir = context.settings.work_dir.join("queries").join(id.to_string());
    let (row_sender, rows) = mpsc::channel(COLLECT_CAPACITY);
    let (end_sender, end) = oneshot::channel();
    let spec = ExecutionSpec {
        job_id: id,
        attempt: 1,
        graph: Arc::new(planned.graph),
        parallelism,
        max_parallelism: DEFAULT_MAX_PARALLELISM,
        exactly_once: true,
        work_dir: dir.clone(),
        memory_bytes: context.settings.job_memory_bytes,
        shared_memory: Arc::clone(&context.shared_memory),
        restored: Default::default(),
        collect: Some(row_sender.clone()),
    };
    let (event_sender, events) = mpsc::unbounded_channel();
    let execution = tokio::task::spawn_blocking(move || Execution::start(spec, event_sender))
        .await
        .map_err(|e| Error::internal(format!("starting a query panicked: {e}")))??;
    let time = Duration::from_millis(timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS));
    tokio::spawn(async move {
        let result = tokio::select! {
            result = drive(&execution, events) => result,
            () = row_sender.closed() => Err(Error::conflict("query_abandoned", "nobody reads the result any more")),
            () = tokio::time::sleep(time) => Err(Error::unavailable("query_timeout", format!("the query did not end within {} ms; raise timeout_ms, or bound its input", time.as_millis()))),
        };
        finish(execution, dir, slot).await;
        drop(row_sender);
        // The asker may have gone.
        let _ = end_sender.send(result);
    });
    Ok(Query { schema, rows, end })
}

/// Waits until all input has passed through all subtasks: a barrier behind the last record tells.
async fn drive(execution: &Execution, mut events: mpsc::UnboundedReceiver<TaskEvent>) -> Result<()> {
    let mut reading: HashSet<TaskId> = execution.sources().iter().copied().collect();
    let mut unacknowledged: HashSet<TaskId> = execution.tasks().iter().copied().collect();
    while let Some(event) = events.recv().await {
        match event {
            TaskEvent::Failed { error, .. } => return Err(error),
            TaskEvent::SourceFinished { task } => {
                if reading.remove(&task) && reading.is_empty() {
                    execution.trigger(Barrier { checkpoint_id: 1, stops: true });
                }
            }
            TaskEvent::Acknowledge { task, .. } => {
                unacknowledged.remove(&task);
                if unacknowledged.is_empty() {
                    return Ok(());
                }
            }
            TaskEvent::Running { .. } | TaskEvent::Committed { .. } => {}
        }
    }
    Err(Error::internal("the query's subtasks ended without a word"))
}

async fn finish(execution: Execution, dir: std::path::PathBuf, slot: OwnedSemaphorePermit) {
    execution.cancel();
    if let Err(panic) = tokio::task::spawn_blocking(move || execution.join()).await {
        tracing::error!(%panic, "ending a query panicked");
    }
    // A query without state has no folder.
    let _ = tokio::fs::remove_dir_all(dir).await;
    drop(slot);
}
