//! Whether the service lives, is ready, and what it is.

use axum::Json;
use axum::extract::State;
use utoipa::ToSchema;

use super::ApiState;
use super::problem::{Problem, ProblemBody};
use crate::error::Error;

/// State of the service.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct HealthView {
    /// `ok`.
    pub status: String,
}

/// What runs here.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct VersionView {
    /// Of Holdfast.
    pub version: String,
    /// Of the stored plans that this build writes.
    pub plan_version: u32,
    /// Of the manifests that this build writes.
    pub manifest_version: u32,
}

fn ok() -> Json<HealthView> {
    Json(HealthView { status: "ok".into() })
}

/// Answers while the process lives.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = HealthView)))]
pub async fn get_health() -> Json<HealthView> {
    ok()
}

/// Answers 200 when the database is reachable and the service is not shutting down.
#[utoipa::path(get, path = "/readyz", tag = "service", responses((status = 200, body = HealthView), (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get_ready(State(state): State<ApiState>) -> Result<Json<HealthView>, Problem> {
    if state.stopping.is_cancelled() {
        return Err(Error::unavailable("shutting_down", "the service is shutting down").into());
    }
    state.service.context().metadata.is_ready().await?;
    Ok(ok())
}

/// Shows the versions of the service and its stored formats.
#[utoipa::path(get, path = "/version", tag = "service", responses((status = 200, body = VersionView)))]
pub async fn get_version() -> Json<VersionView> {
    Json(VersionView {
        version: env!("CARGO_PKG_VERSION").into(),
        plan_version: crate::graph::PLAN_VERSION,
        manifest_version: crate::checkpoint::manifest::MANIFEST_VERSION,
    })
}
