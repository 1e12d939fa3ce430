//! `GET /jobs/{id}`.

use axum::Json;
use axum::extract::State;

use crate::api::ApiState;
use crate::api::model::JobView;
use crate::api::problem::{Path, Problem, ProblemBody};

/// Shows a job.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    responses((status = 200, description = "The resource", body = JobView), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_job(State(state): State<ApiState>, Path(job): Path<String>) -> Result<Json<JobView>, Problem> {
    let job = state.service.job(&job).await?;
    let restoring = state.service.context().transfers.restores.figures(job.id).map(Into::into);
    Ok(Json(JobView { restoring, ..JobView::new(&job, state.service.warnings(&job)) }))
}
