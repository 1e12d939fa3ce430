//! `/api/v1/jobs/{id}/checkpoints/statistics`, and a checkpoint in detail.

use axum::Json;
use axum::extract::State;
use utoipa::ToSchema;

use super::ApiState;
use super::model::SnapshotView;
use super::problem::{Path, Problem, ProblemBody, Query};
use crate::job::statistics::{Details, Distribution, Statistics};
use crate::metadata::{
    CheckpointFailureReason, CheckpointStatistics, Job, SnapshotKind, SnapshotStatus, SnapshotTrigger,
    SubtaskStatistics,
};

/// Entries of the history shown unless the query says otherwise.
const DEFAULT_HISTORY: usize = 50;

/// The statistics of a job's checkpoints and savepoints.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct CheckpointStatisticsView {
    pub counts: CheckpointCounts,
    /// Over completed checkpoints, without savepoints; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<CheckpointSummary>,
    pub latest: LatestCheckpoints,
    /// Ended checkpoints and savepoints, newest first.
    pub history: Vec<CheckpointFigures>,
}

/// How many checkpoints and savepoints there were, among those whose statistics are kept (the last 1000).
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct CheckpointCounts {
    pub total: u64,
    pub in_progress: u64,
    pub completed: u64,
    pub failed: u64,
    /// Failed checkpoints since the last completed one: an alarm, unless it is 0.
    pub failed_in_a_row: u64,
}

/// Distributions of the figures of completed checkpoints.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct CheckpointSummary {
    pub duration_ms: Distribution,
    pub state_bytes: Distribution,
    pub uploaded_bytes: Distribution,
    pub stored_bytes: Distribution,
    pub start_delay_ms: Distribution,
    pub alignment_ms: Distribution,
    pub sync_ms: Distribution,
    pub upload_ms: Distribution,
}

/// The newest of each kind.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct LatestCheckpoints {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<CheckpointFigures>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<CheckpointFigures>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub savepoint: Option<CheckpointFigures>,
}

/// The figures of an ended checkpoint or savepoint; times of phases are the longest of all subtasks.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct CheckpointFigures {
    pub checkpoint_id: u64,
    pub kind: SnapshotKind,
    pub trigger: SnapshotTrigger,
    pub status: SnapshotStatus,
    pub started_ms: i64,
    /// From request to publication.
    pub duration_ms: u64,
    /// Full size.
    pub state_bytes: u64,
    /// Delta: newly stored.
    pub uploaded_bytes: u64,
    /// Bytes of all objects that hold the state: more than `state_bytes` by what died in packed ones.
    pub stored_bytes: u64,
    /// From the trigger to the first barrier.
    pub start_delay_ms: u64,
    /// From the first barrier to the last.
    pub alignment_ms: u64,
    /// The synchronous phase.
    pub sync_ms: u64,
    /// The asynchronous phase.
    pub upload_ms: u64,
    /// Flink's name of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<CheckpointFailureReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A checkpoint or savepoint with the parts of its subtasks.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct CheckpointDetails {
    #[serde(flatten)]
    pub snapshot: SnapshotView,
    /// Whether it can still be restored; figures outlive that.
    pub retained: bool,
    /// Flink's name of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<CheckpointFailureReason>,
    /// Bytes of all objects that hold the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// Of the subtasks that acknowledged; empty until it has ended.
    pub subtasks: Vec<SubtaskFigures>,
}

/// One subtask's part in a checkpoint.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct SubtaskFigures {
    pub vertex: u64,
    /// The vertex's name.
    pub operator: String,
    /// From 0.
    pub subtask: u64,
    pub start_delay_ms: u64,
    pub alignment_ms: u64,
    pub sync_ms: u64,
    pub upload_ms: u64,
    pub state_bytes: u64,
    pub uploaded_bytes: u64,
}

fn duration_ms(s: &CheckpointStatistics) -> u64 {
    u64::try_from(s.snapshot.ended_ms.unwrap_or(s.snapshot.started_ms) - s.snapshot.started_ms).unwrap_or(0)
}

impl From<&CheckpointStatistics> for CheckpointFigures {
    fn from(s: &CheckpointStatistics) -> Self {
        CheckpointFigures {
            checkpoint_id: s.snapshot.checkpoint_id,
            kind: s.snapshot.kind,
            trigger: s.snapshot.trigger,
            status: s.snapshot.status,
            started_ms: s.snapshot.started_ms,
            duration_ms: duration_ms(s),
            state_bytes: s.snapshot.state_bytes,
            uploaded_bytes: s.snapshot.uploaded_bytes,
            stored_bytes: s.stored_bytes,
            start_delay_ms: s.longest.start_delay_ms,
            alignment_ms: s.longest.alignment_ms,
            sync_ms: s.longest.sync_ms,
            upload_ms: s.longest.upload_ms,
            failure_reason: s.reason,
            failure: s.snapshot.failure.clone(),
        }
    }
}

fn summary(statistics: &Statistics) -> Option<CheckpointSummary> {
    let of = |figure: fn(&CheckpointStatistics) -> u64| statistics.distribution(figure);
    Some(CheckpointSummary {
        duration_ms: of(duration_ms)?,
        state_bytes: of(|s| s.snapshot.state_bytes)?,
        uploaded_bytes: of(|s| s.snapshot.uploaded_bytes)?,
        stored_bytes: of(|s| s.stored_bytes)?,
        start_delay_ms: of(|s| s.longest.start_delay_ms)?,
        alignment_ms: of(|s| s.longest.alignment_ms)?,
        sync_ms: of(|s| s.longest.sync_ms)?,
        upload_ms: of(|s| s.longest.upload_ms)?,
    })
}

fn view(job: &Job, statistics: &Statistics, history: usize) -> CheckpointStatisticsView {
    let ended = &statistics.ended;
    let completed = ended.iter().filter(|s| s.snapshot.status == SnapshotStatus::Completed).count() as u64;
    let newest = |kind, status| {
        ended.iter().find(|s| (s.snapshot.kind, s.snapshot.status) == (kind, status)).map(CheckpointFigures::from)
    };
    CheckpointStatisticsView {
        counts: CheckpointCounts {
            total: ended.len() as u64 + statistics.in_progress,
            in_progress: statistics.in_progress,
            completed,
            failed: ended.len() as u64 - completed,
            failed_in_a_row: job.failed_checkpoints,
        },
        summary: summary(statistics),
        latest: LatestCheckpoints {
            completed: newest(SnapshotKind::Checkpoint, SnapshotStatus::Completed),
            failed: newest(SnapshotKind::Checkpoint, SnapshotStatus::Failed),
            savepoint: newest(SnapshotKind::Savepoint, SnapshotStatus::Completed),
        },
        history: ended.iter().take(history).map(CheckpointFigures::from).collect(),
    }
}

fn details(job: &Job, details: &Details) -> CheckpointDetails {
    let statistics = details.statistics.as_ref();
    let figures = |s: &SubtaskStatistics| SubtaskFigures {
        vertex: s.vertex,
        operator: usize::try_from(s.vertex)
            .ok()
            .and_then(|v| job.plan.vertices.get(v))
            .map_or_else(String::new, |v| v.name.clone()),
        subtask: s.subtask,
        start_delay_ms: s.start_delay_ms,
        alignment_ms: s.alignment_ms,
        sync_ms: s.sync_ms,
        upload_ms: s.upload_ms,
        state_bytes: s.state_bytes,
        uploaded_bytes: s.uploaded_bytes,
    };
    CheckpointDetails {
        snapshot: (&details.snapshot).into(),
        retained: details.is_retained,
        failure_reason: statistics.and_then(|s| s.reason),
        stored_bytes: statistics.map(|s| s.stored_bytes),
        subtasks: statistics.iter().flat_map(|s| &s.subtasks).map(figures).collect(),
    }
}

/// Query of the statistics.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatisticsQuery {
    /// Entries of the history, newest first; default 50, at most 1000.
    #[serde(default)]
    pub history: Option<u32>,
}

/// Shows the statistics of a job's checkpoints: counts, distributions, the newest ones.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/checkpoints/statistics",
    tag = "checkpoints",
    params(("job" = String, Path, description = "The job's id or name"), StatisticsQuery),
    responses((status = 200, description = "The resource", body = CheckpointStatisticsView), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_checkpoint_statistics(
    State(state): State<ApiState>,
    Path(job): Path<String>,
    Query(query): Query<StatisticsQuery>,
) -> Result<Json<CheckpointStatisticsView>, Problem> {
    let job = state.service.job(&job).await?;
    let history = query.history.and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_HISTORY);
    Ok(Json(view(&job, &state.service.statistics(&job).await?, history)))
}

/// Shows a checkpoint by its number, with the parts of its subtasks; also one that is retired.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/checkpoints/{number}",
    tag = "checkpoints",
    params(("job" = String, Path, description = "The job's id or name"), ("number" = u64, Path, description = "The checkpoint's number in the job")),
    responses((status = 200, description = "The resource", body = CheckpointDetails), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_checkpoint(
    State(state): State<ApiState>,
    Path((job, number)): Path<(String, u64)>,
) -> Result<Json<CheckpointDetails>, Problem> {
    let job = state.service.job(&job).await?;
    Ok(Json(details(&job, &state.service.checkpoint_details(&job, number).await?)))
}
