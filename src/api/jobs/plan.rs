//! `GET /jobs/{id}/plan`.

use axum::Json;
use axum::extract::State;
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::problem::{Path, Problem, ProblemBody};
use crate::graph::{Exchange, JobGraph, StateBound};
use crate::runtime::execution::vertex_parallelism;
use crate::sql;

/// A job's plan.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct PlanView {
    /// As `EXPLAIN` prints it.
    pub text: String,
    pub vertices: Vec<VertexView>,
    pub edges: Vec<EdgeView>,
}

/// A chain of operators.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct VertexView {
    pub name: String,
    pub parallelism: usize,
    pub operators: Vec<OperatorView>,
}

/// One operator.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct OperatorView {
    pub id: String,
    pub name: String,
    /// Its output columns.
    pub columns: Vec<ColumnView>,
    /// The kinds of rows that it emits: of `I`, `UB`, `UA`, `D`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changelog_mode: Option<String>,
    /// What it keeps by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateView>,
}

/// The keyed state of an operator.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct StateView {
    pub keeps: String,
    /// Whether it is freed in time; else it grows with the number of keys.
    pub bounded: bool,
    /// When it is freed.
    pub freed: String,
}

/// A column with its Flink type.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct ColumnView {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
}

/// How records travel between two vertices (positions in `vertices`).
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct EdgeView {
    pub from: usize,
    pub to: usize,
    /// `FORWARD`, `HASH` or `GLOBAL`.
    pub exchange: String,
}

/// Columns with their types.
pub fn columns(schema: &crate::types::Schema) -> Vec<ColumnView> {
    schema.fields.iter().map(|f| ColumnView { name: f.name.clone(), data_type: f.data_type.to_string() }).collect()
}

impl PlanView {
    /// The plan of a job that runs at `parallelism`.
    pub fn new(graph: &JobGraph, parallelism: u32) -> Self {
        let vertices = graph.vertices.iter().map(|v| VertexView {
            name: v.name.clone(),
            parallelism: vertex_parallelism(v.parallelism, parallelism),
            operators: v
                .operators
                .iter()
                .map(|o| OperatorView {
                    id: o.id.to_string(),
                    name: o.name.clone(),
                    columns: columns(&o.output),
                    changelog_mode: graph.changelog.get(&o.id).map(|m| m.to_string()),
                    state: o.kind.state().map(|s| StateView {
                        keeps: s.keeps.to_owned(),
                        bounded: s.bound != StateBound::Unbounded,
                        freed: s.bound.describe(),
                    }),
                })
                .collect(),
        });
        let edges = graph.edges.iter().map(|e| {
            let exchange = match e.exchange {
                Exchange::Forward => "FORWARD",
                Exchange::Hash { .. } => "HASH",
                Exchange::Global => "GLOBAL",
            };
            EdgeView { from: e.from, to: e.to, exchange: exchange.to_owned() }
        });
        PlanView { text: sql::explain(graph), vertices: vertices.collect(), edges: edges.collect() }
    }
}

/// Shows a job's plan.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/plan",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    responses((status = 200, description = "The resource", body = PlanView), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_job_plan(State(state): State<ApiState>, Path(job): Path<String>) -> Result<Json<PlanView>, Problem> {
    let job = state.service.job(&job).await?;
    Ok(Json(PlanView::new(&job.plan, job.settings.parallelism)))
}
