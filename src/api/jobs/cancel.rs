//! `POST /jobs/{id}/cancel`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::api::ApiState;
use crate::api::model::JobView;
use crate::api::problem::{Path, Problem, ProblemBody};

/// Cancels a job. Its checkpoints are kept or deleted as its settings say.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/cancel",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    responses(
        (status = 202, description = "Accepted", body = JobView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job has ended already", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn cancel_job(
    State(state): State<ApiState>,
    Path(job): Path<String>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let job = state.service.job(&job).await?;
    let job = state.service.cancel(&job).await?;
    Ok((StatusCode::ACCEPTED, Json(JobView::new(&job, state.service.warnings(&job)))))
}
