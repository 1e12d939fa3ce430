//! `GET /jobs/{id}/metrics`.

use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::problem::{Path, Problem, ProblemBody};
use crate::runtime::metrics::TaskMetrics;

/// Figures of a job's current attempt; names as in Flink's metric reference. Empty if it does not run here.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct MetricsView {
    pub subtasks: Vec<SubtaskMetrics>,
}

/// Figures of one subtask.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubtaskMetrics {
    /// Position in the plan's vertices.
    pub vertex: usize,
    pub vertex_name: String,
    pub subtask: usize,
    pub num_records_in: u64,
    pub num_records_out: u64,
    /// Bytes read by a source.
    pub num_bytes_in: u64,
    pub num_late_records_dropped: u64,
    /// Undecodable records skipped on request (`ignore-parse-errors`).
    pub num_records_skipped: u64,
    /// Event time reached, ms; absent before the first watermark, and after the end of input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_input_watermark: Option<i64>,
    /// Time spent waiting for a full output channel.
    pub back_pressured_time_ms: u64,
    /// Keyed state held in memory.
    pub state_memory_bytes: u64,
}

impl From<&TaskMetrics> for SubtaskMetrics {
    fn from(m: &TaskMetrics) -> Self {
        SubtaskMetrics {
            vertex: m.task.vertex,
            vertex_name: m.vertex_name.clone(),
            subtask: m.task.subtask,
            num_records_in: m.records_in.load(Relaxed),
            num_records_out: m.records_out.load(Relaxed),
            num_bytes_in: m.bytes_in.load(Relaxed),
            num_late_records_dropped: m.late_records_dropped.load(Relaxed),
            num_records_skipped: m.skipped_records.load(Relaxed),
            current_input_watermark: Some(m.current_watermark.load(Relaxed))
                .filter(|w| *w != i64::MIN && *w != i64::MAX),
            back_pressured_time_ms: m.back_pressured_us.load(Relaxed) / 1000,
            state_memory_bytes: m.state_memory_bytes.load(Relaxed),
        }
    }
}

/// Shows the figures of a job's subtasks.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/metrics",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    responses((status = 200, description = "The resource", body = MetricsView), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_job_metrics(
    State(state): State<ApiState>,
    Path(job): Path<String>,
) -> Result<Json<MetricsView>, Problem> {
    let job = state.service.job(&job).await?;
    let subtasks = state.service.metrics(job.id).iter().map(|m| m.as_ref().into()).collect();
    Ok(Json(MetricsView { subtasks }))
}
