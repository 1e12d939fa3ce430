//! `/api/v1/jobs/{id}/savepoints`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::model::{SnapshotPage, SnapshotView};
use super::page;
use super::problem::{OptionalBody, Path, Problem, ProblemBody, Query};
use super::wait::WaitQuery;
use crate::job::SavepointRequest;
use crate::metadata::{Snapshot, SnapshotKind, SnapshotStatus};

/// Query of a list of snapshots.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SnapshotsQuery {
    /// Most items of the page (1 to 200; default 50).
    pub limit: Option<u32>,
    /// The `next_page_token` of the page before.
    pub page_token: Option<String>,
}

/// A page of a job's snapshots of one kind.
pub async fn page_of(
    state: &ApiState,
    job: &str,
    kind: SnapshotKind,
    query: &SnapshotsQuery,
) -> Result<Json<SnapshotPage>, Problem> {
    let limit = page::limit(query.limit)?;
    let before: Option<u64> = query.page_token.as_deref().map(page::decode).transpose()?;
    let job = state.service.job(job).await?;
    let snapshots = state.service.snapshots(job.id, kind, before, limit + 1).await?;
    let (snapshots, next_page_token) = page::cut(snapshots, limit, |s| page::encode(&s.checkpoint_id));
    Ok(Json(SnapshotPage { items: snapshots.iter().map(Into::into).collect(), next_page_token }))
}

/// The answer to a request that started a snapshot: 202 with the resource, or, after the wait, the finished one.
pub async fn respond(
    state: &ApiState,
    snapshot: Snapshot,
    collection: &str,
    wait: Option<Duration>,
) -> Result<Response, Problem> {
    let snapshot = match wait {
        Some(time) => state.service.wait_for_snapshot(snapshot.id, time).await?,
        None => snapshot,
    };
    let name = if snapshot.kind == SnapshotKind::Savepoint {
        snapshot.id.to_string()
    } else {
        snapshot.checkpoint_id.to_string()
    };
    let location = format!("/api/v1/jobs/{}/{collection}/{name}", snapshot.job_id);
    let status = if snapshot.status == SnapshotStatus::InProgress { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, [(LOCATION, location)], Json(SnapshotView::from(&snapshot))).into_response())
}

/// Takes a savepoint.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/savepoints",
    tag = "savepoints",
    params(("job" = String, Path, description = "The job's id or name"), WaitQuery),
    request_body(content = Option<SavepointRequest>),
    responses(
        (status = 200, description = "Finished (with `wait`): completed or failed", body = SnapshotView),
        (status = 202, description = "In progress; `Location` names it", body = SnapshotView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job does not run", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn create_savepoint(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(wait): Query<WaitQuery>,
    OptionalBody(request): OptionalBody<SavepointRequest>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let job = state.service.job(&job).await?;
    let savepoint = state.service.create_savepoint(&job, &request).await?;
    respond(&state, savepoint, "savepoints", wait).await
}

/// Lists a job's savepoints, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/savepoints",
    tag = "savepoints",
    params(("job" = String, Path, description = "The job's id or name"), SnapshotsQuery),
    responses((status = 200, description = "The resource", body = SnapshotPage), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_savepoints(
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
pub async fn get_savepoint(
    State(state): State<ApiState>,
    Path((job, savepoint)): Path<(String, String)>,
) -> Result<Json<SnapshotView>, Problem> {
    let job = state.service.job(&job).await?;
    Ok(Json((&state.service.savepoint(job.id, &savepoint).await?).into()))
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
        (status = 409, description = "It is in progress", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn delete_savepoint(
    State(state): State<ApiState>,
    Path((job, savepoint)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let job = state.service.job(&job).await?;
    let savepoint = state.service.savepoint(job.id, &savepoint).await?;
    state.service.delete_savepoint(&savepoint).await?;
    Ok(StatusCode::NO_CONTENT)
}
