//! What a running job can be told, and the bodies of such requests.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::error::Result;
use crate::metadata::{Snapshot, SnapshotFormat, SnapshotKind, SnapshotTrigger};

/// Messages to a job's master. Bounded queue: see [`COMMAND_CAPACITY`].
pub enum Command {
    /// The user wants it ended; already stored.
    Cancel,
    /// Take a snapshot; answered once its row exists.
    Snapshot { spec: SnapshotSpec, drain: bool, reply: oneshot::Sender<Result<Snapshot>> },
    /// An upgrade is stored: stop with a savepoint.
    Upgrade,
    /// The service shuts down: take a last checkpoint and stop.
    Shutdown,
    /// Another process owns the job.
    Fenced,
}

/// Which snapshot is wanted.
#[derive(Debug, Clone)]
pub struct SnapshotSpec {
    pub kind: SnapshotKind,
    pub trigger: SnapshotTrigger,
    /// Where a savepoint goes; default: the service's store.
    pub target: Option<String>,
    pub format: SnapshotFormat,
    pub labels: BTreeMap<String, String>,
    /// Unique in the job.
    pub client_key: Option<String>,
}

impl SnapshotSpec {
    /// A checkpoint.
    pub fn checkpoint(trigger: SnapshotTrigger) -> Self {
        let kind = SnapshotKind::Checkpoint;
        let (format, labels) = (SnapshotFormat::Native, BTreeMap::new());
        SnapshotSpec { kind, trigger, target: None, format, labels, client_key: None }
    }
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
    /// `native` (the state backend's files as they are, the default) or `canonical` (ordered keys and values that any
    /// program can read).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SnapshotFormat>,
    /// Labels of the savepoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The same key with the same request takes one savepoint of the job, however often it is sent; as the header
    /// `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
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
    /// As that of a savepoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SnapshotFormat>,
    /// Labels of the savepoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The same key with the same request stops the job once, however often it is sent; as the header `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
}
