//! Long actions of the service: recorded in the database, done in the background, one of a kind at a time.

use std::collections::HashSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;

use super::retry::retry;
use super::{Context, JobService};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::id::{ActionId, JobId};
use crate::metadata::{Action, ActionKind, ActionStatus};

/// How often a waiting request looks again without being woken.
const WAIT_STEP: Duration = Duration::from_millis(250);

/// What is being done in this process. A short critical section, never held across an await.
pub type Running = Mutex<HashSet<(ActionKind, Option<JobId>)>>;

/// Takes its entry out again, however the action ends.
struct Entry(Arc<Context>, (ActionKind, Option<JobId>));

impl Drop for Entry {
    fn drop(&mut self) {
        if let Ok(mut running) = self.0.actions.lock() {
            running.remove(&self.1);
        }
    }
}

/// Records an action and begins `work`, whose value is the report. `action_running` if one of this kind (and job) is
/// under way here.
pub async fn begin(
    context: &Arc<Context>,
    kind: ActionKind,
    job: Option<JobId>,
    work: impl FnOnce(ActionId) -> futures::future::BoxFuture<'static, Result<serde_json::Value>>,
) -> Result<Action> {
    if !context.actions.lock().expect("no panic while held").insert((kind, job)) {
        return Err(Error::conflict(
            "action_running",
            format!("another {kind} is under way; wait for it, then try again"),
        ));
    }
    let entry = Entry(Arc::clone(context), (kind, job));
    let action = Action {
        id: ActionId::generate(),
        kind,
        job_id: job,
        owner: context.owner(),
        status: ActionStatus::Running,
        started_ms: now_ms(),
        ended_ms: None,
        report: None,
        failure: None,
    };
    context.metadata.begin_action(&action).await?;
    tokio::spawn(finish(entry, action.id, work(action.id)));
    Ok(action)
}

async fn finish(entry: Entry, id: ActionId, work: impl Future<Output = Result<serde_json::Value>>) {
    let context = &entry.0;
    let outcome = AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(Error::internal("the action panicked; the log has more")));
    if let Err(error) = &outcome {
        tracing::warn!(action.id = %id, kind = %entry.1.0, %error, "action failed");
    }
    if let Err(error) = retry!(context.metadata.end_action(id, &outcome, now_ms())) {
        tracing::error!(action.id = %id, %error, "storing the outcome of an action failed; the next start sets it to FAILED");
    }
    context.changed.notify_waiters();
}

/// At the start: what this instance did when it ended is not done any more.
pub async fn fail_interrupted(context: &Context) {
    let error = Error::unavailable("service_ended", "the service ended before the action did; start it again");
    if let Err(error) = context.metadata.fail_actions_of(&context.owner(), &error, now_ms()).await {
        tracing::warn!(%error, "failing interrupted actions failed");
    }
}

impl JobService {
    /// An action by its id.
    pub async fn action(&self, id: ActionId) -> Result<Action> {
        self.context().metadata.action(id).await
    }

    /// The newest actions of a kind, of one job or of none.
    pub async fn actions(&self, kind: ActionKind, job: Option<JobId>, limit: u32) -> Result<Vec<Action>> {
        self.context().metadata.actions(kind, job, limit).await
    }

    /// The action once it has ended, or as it is when `time` is over.
    pub async fn wait_for_action(&self, id: ActionId, time: Duration) -> Result<Action> {
        let end = tokio::time::Instant::now() + time;
        loop {
            let changed = self.context().changed.notified();
            let action = self.action(id).await?;
            if action.status != ActionStatus::Running || tokio::time::Instant::now() >= end {
                return Ok(action);
            }
            let _ = tokio::time::timeout_at(end.min(tokio::time::Instant::now() + WAIT_STEP), changed).await;
        }
    }
}
