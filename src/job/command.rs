//! What a running job can be told, and the bodies of such requests.

use tokio::sync::oneshot;

use crate::error::Result;
use crate::metadata::{Snapshot, SnapshotKind, SnapshotTrigger};

/// Messages to a job's master. Bounded queue: see [`COMMAND_CAPACITY`].
pub enum Command {
    /// The user wants it ended; already stored.
    Cancel,
    /// Take a snapshot; answered once its row exists.
    Snapshot {
        kind: SnapshotKind,
        trigger: SnapshotTrigger,
        target: Option<String>,
        drain: bool,
        reply: oneshot::Sender<Result<Snapshot>>,
    },
    /// An upgrade is stored: stop with a savepoint.
    Upgrade,
    /// The service shuts down: take a last checkpoint and stop.
    Shutdown,
    /// Another process owns the job.
    Fenced,
}

/// Commands that may wait for one job.
pub const COMMAND_CAPACITY: usize = 64;

/// Body of `POST /jobs/{id}/savepoints`.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SavepointRequest {
    /// URI of the folder to write to; default: the service's store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Body of `POST /jobs/{id}/stop`.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Where the savepoint goes; default: the service's store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether event time is first moved to its end, so that every open window is emitted. Only for jobs that end for good.
    #[serde(default)]
    pub drain: bool,
}
