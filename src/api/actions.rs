//! `/api/v1/actions/{id}` and `/api/v1/fsck`: what takes long is started, recorded, and asked for at any later time.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use super::ApiState;
use super::problem::{OptionalBody, Path, Problem, ProblemBody, Query};
use super::wait::WaitQuery;
use crate::checkpoint::fsck::FsckReport;
use crate::error::{Error, Result};
use crate::job::FsckRequest;
use crate::job::drill::DrillReport;
use crate::metadata::{Action, ActionKind, ActionStatus};

/// Actions that a list shows.
const LISTED: u32 = 20;

/// A long action of the service.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct ActionView {
    /// 32 lower-case hexadecimal digits.
    pub id: String,
    pub kind: ActionKind,
    /// The job that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    pub status: ActionStatus,
    pub started_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
    /// The report of a completed fsck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsck: Option<FsckReport>,
    /// The report of a completed drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillReport>,
    /// Why it failed: code and message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ActionFailure>,
}

/// Why an action failed.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct ActionFailure {
    pub code: String,
    pub message: String,
}

/// The newest actions of one kind, newest first.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct ActionList {
    pub items: Vec<ActionView>,
}

impl TryFrom<Action> for ActionView {
    type Error = Error;
    fn try_from(action: Action) -> Result<ActionView> {
        let report = action.report.unwrap_or_default();
        let of = |kind| action.status == ActionStatus::Completed && action.kind == kind;
        Ok(ActionView {
            id: action.id.to_string(),
            kind: action.kind,
            job_id: action.job_id.map(|id| id.to_string()),
            status: action.status,
            started_ms: action.started_ms,
            ended_ms: action.ended_ms,
            fsck: of(ActionKind::Fsck).then(|| read(report.clone())).transpose()?,
            drill: of(ActionKind::Drill).then(|| read(report)).transpose()?,
            failure: action.failure.map(|e| ActionFailure { code: e.code, message: e.message }),
        })
    }
}

fn read<T: serde::de::DeserializeOwned>(report: serde_json::Value) -> Result<T> {
    serde_json::from_value(report)
        .map_err(|e| Error::corrupt("row_corrupt", "an action's report cannot be read").caused_by(&e))
}

/// The answer to a request that started an action: 202 with the resource, or, after the wait, the ended one.
pub async fn respond(state: &ApiState, action: Action, wait: Option<Duration>) -> Result<Response, Problem> {
    let action = match wait {
        Some(time) => state.service.wait_for_action(action.id, time).await?,
        None => action,
    };
    let location = format!("/api/v1/actions/{}", action.id);
    let status = if action.status == ActionStatus::Running { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, [(LOCATION, location)], Json(ActionView::try_from(action)?)).into_response())
}

/// The newest actions of a kind.
pub async fn list(
    state: &ApiState,
    kind: ActionKind,
    job: Option<crate::id::JobId>,
) -> Result<Json<ActionList>, Problem> {
    let actions = state.service.actions(kind, job, LISTED).await?;
    Ok(Json(ActionList { items: actions.into_iter().map(ActionView::try_from).collect::<Result<_>>()? }))
}

/// Shows a long action: whether it has ended, and with which report.
#[utoipa::path(
    get,
    path = "/api/v1/actions/{action}",
    tag = "service",
    params(("action" = String, Path, description = "The action's id"), WaitQuery),
    responses((status = 200, description = "The resource", body = ActionView), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_action(
    State(state): State<ApiState>,
    Path(action): Path<String>,
    Query(wait): Query<WaitQuery>,
) -> Result<Json<ActionView>, Problem> {
    let wait = wait.duration()?.unwrap_or_default();
    let action = state.service.wait_for_action(action.parse()?, wait).await?;
    Ok(Json(ActionView::try_from(action)?))
}

/// Compares the store with the database and, if told to, repairs.
#[utoipa::path(
    post,
    path = "/api/v1/fsck",
    tag = "service",
    params(WaitQuery),
    request_body(content = Option<FsckRequest>),
    responses(
        (status = 200, description = "Ended (with `wait`)", body = ActionView),
        (status = 202, description = "Started; `Location` names it", body = ActionView),
        (status = 409, description = "Another one is under way", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn start_fsck(
    State(state): State<ApiState>,
    Query(wait): Query<WaitQuery>,
    OptionalBody(request): OptionalBody<FsckRequest>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let action = state.service.fsck(&request).await?;
    respond(&state, action, wait).await
}

/// Lists the newest comparisons of store and database, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/fsck",
    tag = "service",
    responses((status = 200, description = "The newest 20", body = ActionList), (status = 503, description = "Not available now", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_fscks(State(state): State<ApiState>) -> Result<Json<ActionList>, Problem> {
    list(&state, ActionKind::Fsck, None).await
}
