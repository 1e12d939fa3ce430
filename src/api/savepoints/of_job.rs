//! `/api/v1/jobs/{id}/savepoints`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::{SnapshotsQuery, page_of, respond, view};
use crate::api::ApiState;
use crate::api::idempotency::client_key;
use crate::api::model::{SnapshotPage, SnapshotView};
use crate::api::problem::{OptionalBody, Path, Problem, ProblemBody, Query};
use crate::api::wait::WaitQuery;
use crate::job::SavepointRequest;
use crate::metadata::SnapshotKind;

/// Takes a savepoint.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/savepoints",
    tag = "savepoints",
    params(("job" = String, Path, description = "The job's id or name"), WaitQuery, ("Idempotency-Key" = Option<String>, Header, description = "The same key with the same body takes one savepoint of the job, however often it is sent, across restarts too")),
    request_body(content = Option<SavepointRequest>),
    responses(
        (status = 200, description = "Finished (with `wait`, or when the key was sent before): completed or failed", body = SnapshotView),
        (status = 202, description = "In progress; `Location` names it", body = SnapshotView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job does not run", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn create_savepoint(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(wait): Query<WaitQuery>,
    headers: HeaderMap,
    OptionalBody(mut request): OptionalBody<SavepointRequest>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    request.client_key = client_key(&headers, request.client_key)?;
    let job = state.service.job(&job).await?;
    let savepoint = state.service.create_savepoint(&job, &request).await?;
    respond(&state, savepoint, wait).await
}

/// Lists a job's savepoints, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/savepoints",
    tag = "savepoints",
    params(("job" = String, Path, description = "The job's id or name"), SnapshotsQuery),
    responses((status = 200, description = "The resource", body = SnapshotPage), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_job_savepoints(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(query): Query<SnapshotsQuery>,
) -> Result<Json<SnapshotPage>, Problem> {
    page_of(&state, &job, SnapshotKind::Savepoint, &query).await
}

/// Shows a savepoint.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/savepoints/{savepoint}",
    tag = "savepoints",
    params(("job" = String, Path, description = "The job's id or name"), ("savepoint" = String, Path, description = "The savepoint's id")),
    responses((status = 200, description = "The resource", body = SnapshotView), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_job_savepoint(
    State(state): State<ApiState>,
    Path((job, savepoint)): Path<(String, String)>,
) -> Result<Json<SnapshotView>, Problem> {
    let job = state.service.job(&job).await?;
    Ok(Json(view(&state, &state.service.savepoint_of(job.id, &savepoint).await?)))
}

/// Deletes a savepoint with its objects.
#[utoipa::path(
    delete,
    path = "/api/v1/jobs/{job}/savepoints/{savepoint}",
    tag = "savepoints",
    params(("job" = String, Path, description = "The job's id or name"), ("savepoint" = String, Path, description = "The savepoint's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is in progress, in use or pinned", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn delete_job_savepoint(
    State(state): State<ApiState>,
    Path((job, savepoint)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let job = state.service.job(&job).await?;
    let savepoint = state.service.savepoint_of(job.id, &savepoint).await?;
    state.service.delete_savepoint(&savepoint).await?;
    Ok(StatusCode::NO_CONTENT)
}
