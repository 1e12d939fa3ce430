//! `GET /savepoints/{id}` and what it consists of.

use axum::Json;
use axum::extract::State;
use utoipa::ToSchema;

use super::view;
use crate::api::ApiState;
use crate::api::model::SnapshotView;
use crate::api::problem::{Path, Problem, ProblemBody};
use crate::checkpoint::manifest::Manifest;
use crate::metadata::{SnapshotFormat, SnapshotKind, SnapshotTrigger};

/// What a savepoint consists of, from its manifest.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct ManifestView {
    /// The job that took it.
    pub job_id: String,
    pub job_name: String,
    pub checkpoint_id: u64,
    pub attempt: u64,
    pub kind: SnapshotKind,
    pub trigger: SnapshotTrigger,
    pub format: SnapshotFormat,
    pub created_ms: i64,
    /// The job's SQL text, then.
    pub sql: String,
    pub parallelism: u32,
    /// Key groups; a job that restores it has as many.
    pub max_parallelism: u32,
    /// Bytes of keyed state.
    pub state_bytes: u64,
    /// Bytes of the objects that hold them.
    pub stored_bytes: u64,
    /// Objects, the manifest included.
    pub objects: u64,
    pub operators: Vec<OperatorStateView>,
}

/// One operator's part of a savepoint.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct OperatorStateView {
    pub id: String,
    pub name: String,
    /// Bytes of keyed state.
    pub state_bytes: u64,
    pub subtasks: Vec<SubtaskStateView>,
}

/// One subtask's part of an operator's state.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct SubtaskStateView {
    pub subtask: u64,
    /// Whether it has state that is not keyed: positions, watermarks, what sinks have not published.
    pub has_operator_state: bool,
    /// First of its key groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_key_group: Option<u16>,
    /// Last of its key groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_key_group: Option<u16>,
    /// Files of keyed state.
    pub files: u64,
    /// Bytes of keyed state.
    pub state_bytes: u64,
}

impl From<&Manifest> for ManifestView {
    fn from(m: &Manifest) -> Self {
        let operators = m.operators.iter().map(|operator| {
            let subtasks: Vec<SubtaskStateView> = operator.subtasks.iter().map(Into::into).collect();
            OperatorStateView {
                id: operator.id.to_string(),
                name: operator.name.clone(),
                state_bytes: subtasks.iter().map(|s| s.state_bytes).sum(),
                subtasks,
            }
        });
        ManifestView {
            job_id: m.job_id.to_string(),
            job_name: m.job_name.clone(),
            checkpoint_id: m.checkpoint_id,
            attempt: m.attempt,
            kind: m.kind,
            trigger: m.trigger,
            format: m.format,
            created_ms: m.created_ms,
            sql: m.sql.clone(),
            parallelism: m.settings.parallelism,
            max_parallelism: m.settings.max_parallelism,
            state_bytes: m.state_bytes(),
            stored_bytes: m.stored_bytes(),
            objects: m.object_keys().count() as u64,
            operators: operators.collect(),
        }
    }
}

impl From<&crate::checkpoint::manifest::SubtaskState> for SubtaskStateView {
    fn from(s: &crate::checkpoint::manifest::SubtaskState) -> Self {
        let groups = s.keyed.as_ref().map(|k| k.key_groups.clone()).filter(|groups| !groups.is_empty());
        let files = s.keyed.iter().flat_map(|k| &k.files);
        SubtaskStateView {
            subtask: s.subtask as u64,
            has_operator_state: s.operator_state.is_some(),
            first_key_group: groups.as_ref().map(|g| g.start),
            last_key_group: groups.map(|g| g.end - 1),
            files: files.clone().count() as u64,
            state_bytes: files.map(|f| f.bytes).sum(),
        }
    }
}

/// Shows a savepoint.
#[utoipa::path(
    get,
    path = "/api/v1/savepoints/{savepoint}",
    tag = "savepoints",
    params(("savepoint" = String, Path, description = "The savepoint's id")),
    responses((status = 200, description = "The resource", body = SnapshotView), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_savepoint(
    State(state): State<ApiState>,
    Path(savepoint): Path<String>,
) -> Result<Json<SnapshotView>, Problem> {
    Ok(Json(view(&state, &state.service.savepoint(&savepoint).await?)))
}

/// Shows what a completed savepoint consists of.
#[utoipa::path(
    get,
    path = "/api/v1/savepoints/{savepoint}/manifest",
    tag = "savepoints",
    params(("savepoint" = String, Path, description = "The savepoint's id")),
    responses(
        (status = 200, description = "The resource", body = ManifestView),
        (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is not completed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get_savepoint_manifest(
    State(state): State<ApiState>,
    Path(savepoint): Path<String>,
) -> Result<Json<ManifestView>, Problem> {
    let savepoint = state.service.savepoint(&savepoint).await?;
    Ok(Json((&state.service.savepoint_manifest(&savepoint).await?).into()))
}
