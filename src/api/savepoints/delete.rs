//! `DELETE /savepoints/{id}`.

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::ApiState;
use crate::api::problem::{Path, Problem, ProblemBody};

/// Deletes a savepoint with its objects; of one imported without a copy only what is known of it here.
#[utoipa::path(
    delete,
    path = "/api/v1/savepoints/{savepoint}",
    tag = "savepoints",
    params(("savepoint" = String, Path, description = "The savepoint's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is in progress, in use or pinned", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn delete_savepoint(
    State(state): State<ApiState>,
    Path(savepoint): Path<String>,
) -> Result<StatusCode, Problem> {
    let savepoint = state.service.savepoint(&savepoint).await?;
    state.service.delete_savepoint(&savepoint).await?;
    Ok(StatusCode::NO_CONTENT)
}
