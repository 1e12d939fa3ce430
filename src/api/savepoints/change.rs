//! `PATCH /savepoints/{id}`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use utoipa::ToSchema;

use super::view;
use crate::api::ApiState;
use crate::api::model::SnapshotView;
use crate::api::problem::{Body, Path, Problem, ProblemBody};
use crate::metadata::SavepointChange;

/// Body of `PATCH /savepoints/{id}`; what is left out stays as it is.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Whether it cannot be deleted until it is unpinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// Labels to set; null removes one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
}

/// Changes a savepoint's labels and pin.
#[utoipa::path(
    patch,
    path = "/api/v1/savepoints/{savepoint}",
    tag = "savepoints",
    params(("savepoint" = String, Path, description = "The savepoint's id")),
    request_body(content = ChangeRequest, example = json!({"pinned": true, "labels": {"why": "upgrade", "old": null}})),
    responses(
        (status = 200, description = "The resource as it is now", body = SnapshotView),
        (status = 400, description = "The request is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn change_savepoint(
    State(state): State<ApiState>,
    Path(savepoint): Path<String>,
    Body(request): Body<ChangeRequest>,
) -> Result<Json<SnapshotView>, Problem> {
    let savepoint = state.service.savepoint(&savepoint).await?;
    let change = SavepointChange { pinned: request.pinned, labels: request.labels };
    Ok(Json(view(&state, &state.service.change_savepoint(&savepoint, &change).await?)))
}
