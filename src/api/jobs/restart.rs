//! `POST /jobs/{id}/restart`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::api::ApiState;
use crate::api::model::JobView;
use crate::api::problem::{Path, Problem, ProblemBody};

/// Starts a job that has ended again, from its newest snapshot.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/restart",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    responses(
        (status = 202, description = "Accepted", body = JobView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job has not ended, or its name is taken", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn restart_job(
    State(state): State<ApiState>,
    Path(job): Path<String>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let job = state.service.job(&job).await?;
    let job = state.service.restart(&job).await?;
    Ok((StatusCode::ACCEPTED, Json(JobView::new(&job, state.service.warnings(&job)))))
}
