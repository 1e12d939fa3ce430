//! `/api/v1/jobs/{id}/checkpoints`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use super::ApiState;
use super::model::{SnapshotPage, SnapshotView};
use super::problem::{Path, Problem, ProblemBody, Query};
use super::savepoints::{SnapshotsQuery, page_of, respond};
use super::wait::WaitQuery;
use crate::metadata::SnapshotKind;

/// Takes a checkpoint now.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/checkpoints",
    tag = "checkpoints",
    params(("job" = String, Path, description = "The job's id or name"), WaitQuery),
    responses(
        (status = 200, description = "Finished (with `wait`): completed or failed", body = SnapshotView),
        (status = 202, description = "In progress; `Location` names it", body = SnapshotView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job does not run", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn trigger_checkpoint(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(wait): Query<WaitQuery>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let job = state.service.job(&job).await?;
    let checkpoint = state.service.trigger_checkpoint(&job).await?;
    respond(&state, checkpoint, wait).await
}

/// Lists a job's checkpoints, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/checkpoints",
    tag = "checkpoints",
    params(("job" = String, Path, description = "The job's id or name"), SnapshotsQuery),
    responses((status = 200, description = "The resource", body = SnapshotPage), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_checkpoints(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(query): Query<SnapshotsQuery>,
) -> Result<Json<SnapshotPage>, Problem> {
    page_of(&state, &job, SnapshotKind::Checkpoint, &query).await
}
