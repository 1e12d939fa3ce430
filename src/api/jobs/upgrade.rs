//! `/jobs/{id}/upgrade` and `/jobs/{id}/upgrades`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use super::plan::PlanView;
use crate::api::ApiState;
use crate::api::model::CheckpointingView;
use crate::api::problem::{Body, Path, Problem, ProblemBody, Query};
use crate::job::{UpgradeRequest, Warning};
use crate::metadata::{OperatorChange, Upgrade, UpgradeStatus};

/// Upgrades of a job that a list shows.
const MAX_UPGRADES: u32 = 200;

/// Query of an upgrade.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UpgradeQuery {
    /// Tell what would happen to each operator's state; nothing is changed.
    #[serde(default)]
    #[param(default = false, required = false)]
    pub dry_run: bool,
}

/// What an upgrade would do.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct UpgradeDryRunView {
    /// Whether the same request without `dry_run` would be accepted.
    pub accepted: bool,
    /// Why it would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Of each operator with state.
    pub operators: Vec<OperatorChange>,
    pub parallelism: u32,
    pub checkpointing: CheckpointingView,
    pub plan: PlanView,
    pub warnings: Vec<Warning>,
}

/// An upgrade of a job.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct UpgradeView {
    pub id: String,
    pub job_id: String,
    pub status: UpgradeStatus,
    pub from_version: u64,
    pub to_version: u64,
    pub allow_non_restored_state: bool,
    /// From the switch until the new version must have completed a checkpoint.
    pub limit_ms: u64,
    /// What happens to the state of each operator.
    pub operators: Vec<OperatorChange>,
    /// URI of the savepoint that the old version stopped with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub savepoint: Option<String>,
    /// Why it failed or was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub created_ms: i64,
    /// The switch to the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
}

impl From<&Upgrade> for UpgradeView {
    fn from(u: &Upgrade) -> Self {
        UpgradeView {
            id: u.id.to_string(),
            job_id: u.job_id.to_string(),
            status: u.status,
            from_version: u.from_version,
            to_version: u.to_version,
            allow_non_restored_state: u.allow_non_restored_state,
            limit_ms: u.limit_ms,
            operators: u.operators.clone(),
            savepoint: u.location.clone(),
            failure: u.failure.clone(),
            created_ms: u.created_ms,
            started_ms: u.started_ms,
            ended_ms: u.ended_ms,
        }
    }
}

/// The newest upgrades of a job, newest first.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct UpgradeList {
    pub items: Vec<UpgradeView>,
}

/// Upgrades a running job to a changed SQL text or changed settings: it stops with a savepoint, the new version starts from
/// it, and if that does not complete a checkpoint within the limit, the old version comes back by itself.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/upgrade",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name"), UpgradeQuery),
    request_body(content = UpgradeRequest),
    responses(
        (status = 202, description = "Accepted; `Location` names the upgrade", body = UpgradeView),
        (status = 200, description = "Dry run", body = UpgradeDryRunView),
        (status = 400, description = "The body or its SQL is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job does not run, another upgrade is under way, or state would be lost", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn upgrade_job(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(query): Query<UpgradeQuery>,
    Body(request): Body<UpgradeRequest>,
) -> Result<Response, Problem> {
    let job = state.service.job(&job).await?;
    if query.dry_run {
        let planned = state.service.plan_upgrade(&job, &request).await?;
        let view = UpgradeDryRunView {
            accepted: planned.refusal.is_none(),
            refusal: planned.refusal.map(|e| e.message),
            operators: planned.operators,
            parallelism: planned.settings.parallelism,
            checkpointing: (&planned.settings.checkpointing).into(),
            plan: PlanView::new(&planned.plan, planned.settings.parallelism),
            warnings: planned.warnings,
        };
        return Ok(Json(view).into_response());
    }
    let upgrade = state.service.upgrade(&job, &request).await?;
    let location = format!("/api/v1/jobs/{}/upgrades/{}", upgrade.job_id, upgrade.id);
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(UpgradeView::from(&upgrade))).into_response())
}

/// Lists a job's newest upgrades, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/upgrades",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    responses((status = 200, description = "The resource", body = UpgradeList), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_job_upgrades(
    State(state): State<ApiState>,
    Path(job): Path<String>,
) -> Result<Json<UpgradeList>, Problem> {
    let job = state.service.job(&job).await?;
    let upgrades = state.service.upgrades(job.id, MAX_UPGRADES).await?;
    Ok(Json(UpgradeList { items: upgrades.iter().map(Into::into).collect() }))
}

/// Shows an upgrade.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/upgrades/{upgrade}",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name"), ("upgrade" = String, Path, description = "The upgrade's id")),
    responses((status = 200, description = "The resource", body = UpgradeView), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_job_upgrade(
    State(state): State<ApiState>,
    Path((job, upgrade)): Path<(String, String)>,
) -> Result<Json<UpgradeView>, Problem> {
    let job = state.service.job(&job).await?;
    Ok(Json((&state.service.find_upgrade(job.id, &upgrade).await?).into()))
}
