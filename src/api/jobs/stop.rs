//! `POST /jobs/{id}/stop`.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::api::ApiState;
use crate::api::idempotency::client_key;
use crate::api::model::SnapshotView;
use crate::api::problem::{OptionalBody, Path, Problem, ProblemBody, Query};
use crate::api::savepoints::respond;
use crate::api::wait::WaitQuery;
use crate::job::StopRequest;

/// Takes a savepoint, then ends the job.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/stop",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name"), WaitQuery, ("Idempotency-Key" = Option<String>, Header, description = "The same key with the same body stops the job once, however often it is sent, across restarts too")),
    request_body(content = Option<StopRequest>),
    responses(
        (status = 200, description = "The savepoint is finished (with `wait`)", body = SnapshotView),
        (status = 202, description = "The savepoint is in progress; `Location` names it", body = SnapshotView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job does not run", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn stop_job(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(wait): Query<WaitQuery>,
    headers: HeaderMap,
    OptionalBody(mut request): OptionalBody<StopRequest>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    request.client_key = client_key(&headers, request.client_key)?;
    let job = state.service.job(&job).await?;
    let savepoint = state.service.stop(&job, &request).await?;
    let since = Instant::now();
    let response = respond(&state, savepoint, wait).await?;
    if let (Some(wait), StatusCode::OK) = (wait, response.status()) {
        // The savepoint is stored a moment before the job has ended; who waits wants both.
        state.service.wait_for_end(job.id, wait.saturating_sub(since.elapsed())).await?;
    }
    Ok(response)
}
