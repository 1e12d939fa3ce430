//! `GET /savepoints`.

use axum::Json;
use axum::extract::State;

use super::view;
use crate::api::ApiState;
use crate::api::jobs::list::{labels, separated};
use crate::api::model::SnapshotPage;
use crate::api::page;
use crate::api::problem::{Problem, ProblemBody, Query};
use crate::error::Result;
use crate::id::SnapshotId;
use crate::metadata::SavepointFilter;

/// Query of a list of savepoints.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only those taken of this job: an id, also of a job that does not exist (any more), or a name that it had then.
    pub job: Option<String>,
    /// Only those in one of these statuses, separated by commas.
    #[param(example = "COMPLETED")]
    pub status: Option<String>,
    /// Only those with all of these labels: `key:value`, separated by commas.
    #[param(example = "why:upgrade")]
    pub label: Option<String>,
    /// Most items of the page (1 to 200; default 50).
    pub limit: Option<u32>,
    /// The `next_page_token` of the page before.
    pub page_token: Option<String>,
}

impl ListQuery {
    fn filter(&self) -> Result<SavepointFilter> {
        let id = self.job.as_deref().and_then(|text| text.parse().ok());
        Ok(SavepointFilter {
            job: id,
            job_name: self.job.clone().filter(|_| id.is_none()),
            status: separated(self.status.as_ref()).iter().map(|s| s.parse()).collect::<Result<_>>()?,
            labels: labels(self.label.as_ref())?,
        })
    }
}

/// Lists savepoints of all jobs, newest first; also those whose job was deleted, and imported ones.
#[utoipa::path(
    get,
    path = "/api/v1/savepoints",
    tag = "savepoints",
    params(ListQuery),
    responses((status = 200, description = "The resource", body = SnapshotPage), (status = 400, description = "The request is wrong", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_savepoints(
    State(state): State<ApiState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<SnapshotPage>, Problem> {
    let limit = page::limit(query.limit)?;
    let after: Option<(i64, SnapshotId)> = query.page_token.as_deref().map(page::decode).transpose()?;
    let savepoints = state.service.savepoints(&query.filter()?, after, limit + 1).await?;
    let (savepoints, next_page_token) = page::cut(savepoints, limit, |s| page::encode(&(s.started_ms, s.id)));
    Ok(Json(SnapshotPage { items: savepoints.iter().map(|s| view(&state, s)).collect(), next_page_token }))
}
