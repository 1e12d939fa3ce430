//! `POST /savepoints/{id}/export`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::operations::{OperationView, respond};
use crate::api::ApiState;
use crate::api::idempotency::client_key;
use crate::api::problem::{Body, Path, Problem, ProblemBody, Query};
use crate::api::wait::WaitQuery;
use crate::job::ExportRequest;

/// Copies a completed savepoint to another place, verifying it on the way.
#[utoipa::path(
    post,
    path = "/api/v1/savepoints/{savepoint}/export",
    tag = "savepoints",
    params(("savepoint" = String, Path, description = "The savepoint's id"), WaitQuery, ("Idempotency-Key" = Option<String>, Header, description = "The same key with the same body exports once")),
    request_body(content = ExportRequest, example = json!({"target": "s3://backups/holdfast"})),
    responses(
        (status = 200, description = "Finished (with `wait`): completed or failed", body = OperationView),
        (status = 202, description = "In progress; `Location` names it", body = OperationView),
        (status = 400, description = "The target cannot be used", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is not completed, or lies there already", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn export_savepoint(
    State(state): State<ApiState>,
    Path(savepoint): Path<String>,
    Query(wait): Query<WaitQuery>,
    headers: HeaderMap,
    Body(mut request): Body<ExportRequest>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    request.client_key = client_key(&headers, request.client_key)?;
    let savepoint = state.service.savepoint(&savepoint).await?;
    let operation = state.service.export(&savepoint, &request).await?;
    respond(&state, operation, wait).await
}
