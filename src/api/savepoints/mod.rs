//! Savepoints: `/api/v1/savepoints` and, of one job, `/api/v1/jobs/{id}/savepoints`.

pub mod change;
pub mod delete;
pub mod export;
pub mod import;
pub mod list;
pub mod of_job;
pub mod operations;
pub mod show;
pub mod verify;

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::model::{SnapshotPage, SnapshotView};
use super::page;
use super::problem::Problem;
use crate::metadata::{Snapshot, SnapshotKind, SnapshotStatus};

/// Query of a list of snapshots.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SnapshotsQuery {
    /// Most items of the page (1 to 200; default 50).
    pub limit: Option<u32>,
    /// The `next_page_token` of the page before.
    pub page_token: Option<String>,
}

/// A page of a job's snapshots of one kind.
pub async fn page_of(
    state: &ApiState,
    job: &str,
    kind: SnapshotKind,
    query: &SnapshotsQuery,
) -> Result<Json<SnapshotPage>, Problem> {
    let limit = page::limit(query.limit)?;
    let before: Option<u64> = query.page_token.as_deref().map(page::decode).transpose()?;
    let job = state.service.job(job).await?;
    let snapshots = state.service.snapshots(job.id, kind, before, limit + 1).await?;
    let (snapshots, next_page_token) = page::cut(snapshots, limit, |s| page::encode(&s.checkpoint_id));
    Ok(Json(SnapshotPage { items: snapshots.iter().map(|s| view(state, s)).collect(), next_page_token }))
}

/// The answer to a request that started a snapshot: 202 with the resource, or, after the wait, the finished one.
pub async fn respond(state: &ApiState, snapshot: Snapshot, wait: Option<Duration>) -> Result<Response, Problem> {
    let snapshot = match wait {
        Some(time) => state.service.wait_for_snapshot(snapshot.id, time).await?,
        None => snapshot,
    };
    let location = match snapshot.kind {
        SnapshotKind::Savepoint => format!("/api/v1/savepoints/{}", snapshot.id),
        SnapshotKind::Checkpoint => {
            format!("/api/v1/jobs/{}/checkpoints/{}", snapshot.job_id, snapshot.checkpoint_id)
        }
    };
    let status = if snapshot.status == SnapshotStatus::InProgress { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, [(LOCATION, location)], Json(view(state, &snapshot))).into_response())
}

/// A snapshot with how far it is, if it is under way here.
pub fn view(state: &ApiState, snapshot: &Snapshot) -> SnapshotView {
    let transfers = &state.service.context().transfers;
    let progress = match snapshot.status {
        SnapshotStatus::InProgress => transfers.snapshots.figures(snapshot.id),
        _ => None,
    };
    SnapshotView { progress: progress.map(Into::into), ..SnapshotView::from(snapshot) }
}
