//! `GET /jobs/{id}/exceptions`.

use axum::Json;
use axum::extract::State;

use crate::api::ApiState;
use crate::api::model::ExceptionList;
use crate::api::problem::{Path, Problem, ProblemBody};

/// Failures shown.
const MAX_EXCEPTIONS: u32 = 100;

/// Lists a job's newest failures (at most 100).
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/exceptions",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    responses((status = 200, description = "The resource", body = ExceptionList), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_job_exceptions(
    State(state): State<ApiState>,
    Path(job): Path<String>,
) -> Result<Json<ExceptionList>, Problem> {
    let job = state.service.job(&job).await?;
    let items = state.service.exceptions(job.id, MAX_EXCEPTIONS).await?;
    Ok(Json(ExceptionList { items: items.iter().map(Into::into).collect() }))
}
