//! `POST /savepoints/import`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::operations::{OperationView, respond};
use crate::api::ApiState;
use crate::api::idempotency::client_key;
use crate::api::problem::{Body, Problem, ProblemBody, Query};
use crate::api::wait::WaitQuery;
use crate::job::ImportRequest;

/// Makes a snapshot that lies elsewhere, of whatever installation, a savepoint of this service.
#[utoipa::path(
    post,
    path = "/api/v1/savepoints/import",
    tag = "savepoints",
    params(WaitQuery, ("Idempotency-Key" = Option<String>, Header, description = "The same key with the same body imports once")),
    request_body(content = ImportRequest, example = json!({"from": "s3://backups/holdfast/savepoints/00000000000000000000000000000000", "labels": {"from": "production"}})),
    responses(
        (status = 200, description = "Finished (with `wait`): completed or failed", body = OperationView),
        (status = 202, description = "In progress; `Location` names it, `savepoint_id` the savepoint that it makes", body = OperationView),
        (status = 400, description = "The request is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no snapshot", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn import_savepoint(
    State(state): State<ApiState>,
    Query(wait): Query<WaitQuery>,
    headers: HeaderMap,
    Body(mut request): Body<ImportRequest>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    request.client_key = client_key(&headers, request.client_key)?;
    let operation = state.service.import(&request).await?;
    respond(&state, operation, wait).await
}
