//! `DELETE /jobs/{id}`.

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::ApiState;
use crate::api::problem::{Path, Problem, ProblemBody, Query};

/// Query of a deletion.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Delete the job's savepoints too.
    #[serde(default)]
    #[param(default = false, required = false)]
    pub delete_savepoints: bool,
}

/// Deletes a job that has ended, with its history and checkpoints.
#[utoipa::path(
    delete,
    path = "/api/v1/jobs/{job}",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name"), DeleteQuery),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job has not ended, or has savepoints", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn delete_job(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, Problem> {
    let job = state.service.job(&job).await?;
    state.service.delete(&job, query.delete_savepoints).await?;
    Ok(StatusCode::NO_CONTENT)
}
