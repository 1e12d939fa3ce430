//! `POST /jobs/{id}/restart`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::api::ApiState;
use crate::api::model::JobView;
use crate::api::problem::{OptionalBody, Path, Problem, ProblemBody};
use crate::job::RestartRequest;

/// Starts a job that has ended again: from its newest snapshot, or from the one that the body names.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/restart",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    request_body(content = Option<RestartRequest>),
    responses(
        (status = 202, description = "Accepted", body = JobView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job has not ended, its name is taken, or it was drained", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn restart_job(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    OptionalBody(request): OptionalBody<RestartRequest>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let job = state.service.job(&job).await?;
    let job = state.service.restart(&job, &request).await?;
    Ok((StatusCode::ACCEPTED, Json(JobView::new(&job, state.service.warnings(&job)))))
}
