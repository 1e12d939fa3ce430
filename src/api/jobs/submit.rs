//! `POST /jobs`.

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use super::plan::PlanView;
use crate::api::ApiState;
use crate::api::idempotency::idempotency_key;
use crate::api::model::{CheckpointingView, JobView};
use crate::api::problem::{Body, Problem, ProblemBody, Query};
use crate::job::{SubmitRequest, Warning};

/// Query of a submit.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubmitQuery {
    /// Plan and check only; nothing is created.
    #[serde(default)]
    #[param(default = false, required = false)]
    pub dry_run: bool,
}

/// What a submit would create.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct DryRunView {
    pub name: String,
    pub parallelism: u32,
    pub max_parallelism: u32,
    pub checkpointing: CheckpointingView,
    pub plan: PlanView,
    pub warnings: Vec<Warning>,
}

/// Submits a job. It starts at once. A replayed `Idempotency-Key` answers 200 with the job that it made.
#[utoipa::path(
    post,
    path = "/api/v1/jobs",
    tag = "jobs",
    params(SubmitQuery, ("Idempotency-Key" = Option<String>, Header, description = "The same key with the same body creates one job, however often it is sent, across restarts too")),
    request_body(content = SubmitRequest, example = json!({"name": "demo", "sql": "CREATE TABLE s (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '10'); CREATE TABLE t (n BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO t SELECT n FROM s"})),
    responses(
        (status = 201, description = "Created; `Location` names it", body = JobView),
        (status = 200, description = "Dry run", body = DryRunView),
        (status = 400, description = "The body or its SQL is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A live job has this name, or the key belongs to another body", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn submit_job(
    State(state): State<ApiState>,
    Query(query): Query<SubmitQuery>,
    headers: HeaderMap,
    Body(request): Body<SubmitRequest>,
) -> Result<Response, Problem> {
    if query.dry_run {
        let planned = state.service.dry_run(&request).await?;
        let s = &planned.settings;
        let view = DryRunView {
            name: planned.name,
            parallelism: s.parallelism,
            max_parallelism: s.max_parallelism,
            checkpointing: (&s.checkpointing).into(),
            plan: PlanView::new(&planned.plan, s.parallelism),
            warnings: planned.warnings,
        };
        return Ok(Json(view).into_response());
    }
    let key = idempotency_key(&headers)?;
    let (submitted, warnings) = state.service.submit(&request, key.as_deref()).await?;
    let location = format!("/api/v1/jobs/{}", submitted.job.id);
    let status = if submitted.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(LOCATION, location)], Json(JobView::new(&submitted.job, warnings))).into_response())
}
