//! `GET /jobs`.

use axum::Json;
use axum::extract::State;

use crate::api::ApiState;
use crate::api::model::{JobPage, JobView};
use crate::api::page;
use crate::api::problem::{Problem, ProblemBody, Query};
use crate::error::{Error, Result};
use crate::id::JobId;
use crate::metadata::{Job, JobFilter};

/// Query of a list of jobs.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only jobs in one of these statuses, separated by commas.
    #[param(example = "RUNNING,FAILED")]
    pub status: Option<String>,
    /// Only jobs with all of these labels: `key:value`, separated by commas.
    #[param(example = "team:payments")]
    pub label: Option<String>,
    /// Only jobs of exactly this name.
    pub name: Option<String>,
    /// Most items of the page (1 to 200; default 50).
    pub limit: Option<u32>,
    /// The `next_page_token` of the page before.
    pub page_token: Option<String>,
}

impl ListQuery {
    fn filter(&self) -> Result<JobFilter> {
        let status = separated(self.status.as_ref()).iter().map(|s| s.parse()).collect::<Result<_>>()?;
        let labels = labels(self.label.as_ref())?;
        Ok(JobFilter { status, labels, name: self.name.clone() })
    }
}

/// The parts of a parameter that is a list, separated by commas.
pub fn separated(text: Option<&String>) -> Vec<String> {
    text.iter().flat_map(|t| t.split(',')).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

/// The labels of a filter: `key:value`, separated by commas.
pub fn labels(text: Option<&String>) -> Result<Vec<(String, String)>> {
    let label = |text: &String| {
        text.split_once(':').map(|(k, v)| (k.to_owned(), v.to_owned())).ok_or_else(|| {
            Error::invalid("invalid_label", format!("label filter '{text}' is not of the form key:value"))
        })
    };
    separated(text).iter().map(label).collect()
}

fn position(job: &Job) -> String {
    page::encode(&(job.created_ms, job.id))
}

/// Lists jobs, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    tag = "jobs",
    params(ListQuery),
    responses((status = 200, description = "The resource", body = JobPage), (status = 400, description = "The request is wrong", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn list_jobs(
    State(state): State<ApiState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<JobPage>, Problem> {
    let limit = page::limit(query.limit)?;
    let after: Option<(i64, JobId)> = query.page_token.as_deref().map(page::decode).transpose()?;
    let jobs = state.service.jobs(&query.filter()?, after, limit + 1).await?;
    let (jobs, next_page_token) = page::cut(jobs, limit, position);
    let items = jobs.iter().map(|job| JobView::new(job, state.service.warnings(job))).collect();
    Ok(Json(JobPage { items, next_page_token }))
}
