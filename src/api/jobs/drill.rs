//! `/jobs/{id}/drill`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;

use crate::api::ApiState;
use crate::api::actions::{ActionList, ActionView, list, respond};
use crate::api::problem::{OptionalBody, Path, Problem, ProblemBody, Query};
use crate::api::wait::WaitQuery;
use crate::job::drill::DrillRequest;
use crate::metadata::ActionKind;

/// Restores a snapshot into a scratch folder beside the running job, verifies every hash, and opens every state.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/drill",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name"), WaitQuery),
    request_body(content = Option<DrillRequest>),
    responses(
        (status = 200, description = "Ended (with `wait`)", body = ActionView),
        (status = 202, description = "Started; `Location` names it", body = ActionView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "There is no snapshot yet, or another drill is under way", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn start_drill(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(wait): Query<WaitQuery>,
    OptionalBody(request): OptionalBody<DrillRequest>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let job = state.service.job(&job).await?;
    let action = state.service.drill(&job, &request).await?;
    respond(&state, action, wait).await
}

/// Lists a job's newest drills, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/drill",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    responses((status = 200, description = "The newest 20", body = ActionList), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_drills(State(state): State<ApiState>, Path(job): Path<String>) -> Result<Json<ActionList>, Problem> {
    let job = state.service.job(&job).await?;
    list(&state, ActionKind::Drill, Some(job.id)).await
}
