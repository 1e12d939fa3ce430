//! `POST /savepoints/{id}/verify`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::operations::{OperationView, respond};
use crate::api::ApiState;
use crate::api::idempotency::idempotency_key;
use crate::api::problem::{Path, Problem, ProblemBody, Query};
use crate::api::wait::WaitQuery;

/// Reads a whole savepoint and compares every byte with what was written. Damage is a result, not a failure: every
/// damaged object is named.
#[utoipa::path(
    post,
    path = "/api/v1/savepoints/{savepoint}/verify",
    tag = "savepoints",
    params(("savepoint" = String, Path, description = "The savepoint's id"), WaitQuery, ("Idempotency-Key" = Option<String>, Header, description = "The same key verifies once")),
    responses(
        (status = 200, description = "Finished (with `wait`): completed or failed", body = OperationView),
        (status = 202, description = "In progress; `Location` names it", body = OperationView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is not completed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn verify_savepoint(
    State(state): State<ApiState>,
    Path(savepoint): Path<String>,
    Query(wait): Query<WaitQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let key = idempotency_key(&headers)?;
    let savepoint = state.service.savepoint(&savepoint).await?;
    let operation = state.service.verify(&savepoint, key.as_deref()).await?;
    respond(&state, operation, wait).await
}
