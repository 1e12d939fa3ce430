//! `/savepoints/{id}/operations`: exports, imports and verifications, and what became of them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::problem::{Path, Problem, ProblemBody, Query};
use crate::api::wait::WaitQuery;
use crate::checkpoint::verify::Verification;
use crate::metadata::{OperationKind, OperationStatus, SavepointOperation};

/// An export, import or verification of a savepoint.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct OperationView {
    pub id: String,
    /// The savepoint's id; of an import that of the savepoint that it makes.
    pub savepoint_id: String,
    pub kind: OperationKind,
    pub status: OperationStatus,
    pub bytes_done: u64,
    /// As far as is known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// Where an export or import put the savepoint: URI of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// What a verification found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub started_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
}

impl From<&SavepointOperation> for OperationView {
    fn from(o: &SavepointOperation) -> Self {
        let location = o.result.as_ref().and_then(|r| r.get("location")).and_then(serde_json::Value::as_str);
        let verification = o.result.clone().filter(|_| o.kind == OperationKind::Verify);
        OperationView {
            id: o.id.to_string(),
            savepoint_id: o.savepoint.to_string(),
            kind: o.kind,
            status: o.status,
            bytes_done: o.bytes_done,
            bytes_total: o.bytes_total,
            location: location.map(str::to_owned),
            verification: verification.and_then(|v| serde_json::from_value(v).ok()),
            failure: o.failure.clone(),
            started_ms: o.started_ms,
            ended_ms: o.ended_ms,
        }
    }
}

/// The operations of a savepoint, newest first.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct OperationList {
    pub items: Vec<OperationView>,
}

/// The answer to a request that started an operation: 202 with the resource, or, after the wait, the finished one.
pub async fn respond(
    state: &ApiState,
    operation: SavepointOperation,
    wait: Option<Duration>,
) -> Result<Response, Problem> {
    let operation = match wait {
        Some(time) => state.service.operation(operation.savepoint, operation.id, time).await?,
        None => operation,
    };
    let location = format!("/api/v1/savepoints/{}/operations/{}", operation.savepoint, operation.id);
    let is_running = operation.status == OperationStatus::InProgress;
    let status = if is_running { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, [(LOCATION, location)], Json(OperationView::from(&operation))).into_response())
}

/// Lists what was done with a savepoint, newest first; the last hundred.
#[utoipa::path(
    get,
    path = "/api/v1/savepoints/{savepoint}/operations",
    tag = "savepoints",
    params(("savepoint" = String, Path, description = "The savepoint's id")),
    responses((status = 200, description = "The resource", body = OperationList), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_savepoint_operations(
    State(state): State<ApiState>,
    Path(savepoint): Path<String>,
) -> Result<Json<OperationList>, Problem> {
    let savepoint = state.service.savepoint(&savepoint).await?;
    let operations = state.service.operations(savepoint.id).await?;
    Ok(Json(OperationList { items: operations.iter().map(Into::into).collect() }))
}

/// Shows an export, import or verification.
#[utoipa::path(
    get,
    path = "/api/v1/savepoints/{savepoint}/operations/{operation}",
    tag = "savepoints",
    params(("savepoint" = String, Path, description = "The savepoint's id"), ("operation" = String, Path, description = "The operation's id"), WaitQuery),
    responses((status = 200, description = "The resource", body = OperationView), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_savepoint_operation(
    State(state): State<ApiState>,
    Path((savepoint, operation)): Path<(String, String)>,
    Query(wait): Query<WaitQuery>,
) -> Result<Json<OperationView>, Problem> {
    let wait = wait.duration()?.unwrap_or_default();
    let savepoint = state.service.savepoint(&savepoint).await?;
    let id = operation.parse().map_err(Problem::from)?;
    Ok(Json((&state.service.operation(savepoint.id, id, wait).await?).into()))
}
