//! The rows of the metadata database.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::graph::JobGraph;
use crate::id::{ActionId, JobId, OperationId, SnapshotId};

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }
        impl $name {
            /// The stored and shown text.
            pub fn as_str(self) -> &'static str { match self { $($name::$variant => $text),* } }
            /// All values, in declaration order.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
        }
        // By hand: the derive does not see a renaming that comes from a macro's argument.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let builder = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String);
                builder.enum_values(Some([$($text),*])).into()
            }
        }
        impl utoipa::ToSchema for $name {}
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
        impl std::str::FromStr for $name {
            type Err = crate::error::Error;
            fn from_str(text: &str) -> Result<Self, crate::error::Error> {
                match text { $($text => Ok($name::$variant),)* _ => Err(crate::error::Error::invalid("invalid_value", format!("'{text}' is none of {}", [$($text),*].join(", ")))) }
            }
        }
    };
}

pub(super) use text_enum;

text_enum! {
    /// A job's lifecycle; names as in Flink's REST API.
    JobStatus {
        /// Accepted and stored; not started yet.
        Created = "CREATED",
        /// Being started: state is restored, subtasks are built.
        Initializing = "INITIALIZING",
        Running = "RUNNING",
        /// Failed, waiting for the restart strategy's delay.
        Restarting = "RESTARTING",
        Cancelling = "CANCELLING",
        /// The service was shut down; runs again when one starts.
        Suspended = "SUSPENDED",
        Canceled = "CANCELED",
        Failed = "FAILED",
        Finished = "FINISHED",
    }
}

impl JobStatus {
    /// Whether the job has ended for good.
    pub fn is_terminal(self) -> bool {
        matches!(self, JobStatus::Canceled | JobStatus::Failed | JobStatus::Finished)
    }
}

text_enum! {
    /// What the user wants of a job.
    DesiredStatus {
        Running = "RUNNING",
        /// The savepoint to stop with is published; only the end is missing.
        Stopped = "STOPPED",
        Canceled = "CANCELED",
        /// It has ended, and its objects and then its row are being deleted; nothing starts it again.
        Deleted = "DELETED",
    }
}
text_enum! {
    /// What a recorded action does.
    ActionKind { Fsck = "FSCK", Drill = "DRILL" }
}
text_enum! {
    /// A recorded action's life.
    ActionStatus { Running = "RUNNING", Completed = "COMPLETED", Failed = "FAILED" }
}
text_enum! {
    /// Kind of a snapshot.
    SnapshotKind { Checkpoint = "CHECKPOINT", Savepoint = "SAVEPOINT" }
}
text_enum! {
    /// A snapshot's life. Only `COMPLETED` ones can be restored.
    SnapshotStatus {
        InProgress = "IN_PROGRESS",
        Completed = "COMPLETED",
        Failed = "FAILED",
        /// Retired: its row no longer counts, its objects are being deleted (repeated after a crash).
        Deleting = "DELETING",
    }
}
text_enum! {
    /// How a snapshot's keyed state is written.
    SnapshotFormat {
        /// The state backend's files as they are.
        Native = "native",
        /// Ordered keys and values that any program can read; see `docs/savepoint-format.md`.
        Canonical = "canonical",
    }
}
text_enum! {
    /// What is done with a savepoint.
    OperationKind { Export = "EXPORT", Import = "IMPORT", Verify = "VERIFY" }
}
text_enum! {
    /// How far an operation is.
    OperationStatus { InProgress = "IN_PROGRESS", Completed = "COMPLETED", Failed = "FAILED" }
}
text_enum! {
    /// Why a snapshot was taken.
    SnapshotTrigger {
        Periodic = "PERIODIC",
        Manual = "MANUAL",
        Savepoint = "SAVEPOINT",
        /// Stop-with-savepoint.
        Stop = "STOP",
        /// All input was read: the last checkpoint, with which sinks commit.
        EndOfInput = "END_OF_INPUT",
        /// Graceful shutdown of the service.
        Shutdown = "SHUTDOWN",
    }
}

/// Settings of checkpointing; names and defaults in the docs.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CheckpointSettings {
    /// 0 = no periodic checkpoints (switched off by the user; warned about).
    pub interval_ms: u64,
    pub min_pause_ms: u64,
    pub timeout_ms: u64,
    /// Checkpoints and savepoints under way at once; 1 if there is a minimum pause.
    pub max_concurrent: u32,
    /// Failed checkpoints in a row that the job outlives; none = any number.
    pub tolerable_failed: Option<u32>,
    /// Completed checkpoints kept.
    pub retained: u32,
    pub on_cancel: OnCancel,
    pub mode: CheckpointMode,
    /// Whether a checkpoint references files that the one before stored.
    pub incremental: bool,
    /// Files up to this size are stored inside the manifest.
    pub data_inline_threshold_bytes: u64,
    /// Parallel transfers of one operator subtask.
    pub transfer_threads: u32,
    /// After which time a checkpoint that does not get on in a subtask is reported; 0 = never.
    pub stuck_after_ms: u64,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        CheckpointSettings {
            interval_ms: 10_000,
            min_pause_ms: 0,
            timeout_ms: 600_000,
            max_concurrent: 1,
            tolerable_failed: None,
            retained: 3,
            on_cancel: OnCancel::Retain,
            mode: CheckpointMode::ExactlyOnce,
            incremental: true,
            data_inline_threshold_bytes: 64 << 10,
            transfer_threads: 4,
            stuck_after_ms: 60_000,
        }
    }
}

text_enum! {
    /// Whether checkpoints outlive a cancelled job.
    OnCancel { Retain = "retain", Delete = "delete" }
}
text_enum! {
    /// Whether barriers are aligned.
    CheckpointMode { ExactlyOnce = "exactly_once", AtLeastOnce = "at_least_once" }
}

/// When and how often a failed job is started again; Flink's strategies and names.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(tag = "strategy", rename_all = "snake_case", deny_unknown_fields)]
pub enum RestartStrategy {
    /// Wait `initial_backoff_ms`, then ever longer by `backoff_multiplier` up to `max_backoff_ms`, each varied by
    /// `jitter_factor`; back to the start after `reset_backoff_threshold_ms` without failure; `attempts` 0 = for ever.
    ExponentialDelay {
        #[serde(default = "defaults::initial_backoff_ms")]
        initial_backoff_ms: u64,
        #[serde(default = "defaults::max_backoff_ms")]
        max_backoff_ms: u64,
        #[serde(default = "defaults::backoff_multiplier")]
        backoff_multiplier: f64,
        #[serde(default = "defaults::jitter_factor")]
        jitter_factor: f64,
        #[serde(default = "defaults::reset_backoff_threshold_ms")]
        reset_backoff_threshold_ms: u64,
        #[serde(default)]
        attempts: u32,
    },
    /// At most `attempts` restarts, `delay_ms` apart.
    FixedDelay {
        #[serde(default = "defaults::attempts")]
        attempts: u32,
        #[serde(default = "defaults::delay_ms")]
        delay_ms: u64,
    },
    /// Fails for good when `max_failures` happen within `interval_ms`.
    FailureRate {
        #[serde(default = "defaults::attempts")]
        max_failures: u32,
        #[serde(default = "defaults::failure_interval_ms")]
        interval_ms: u64,
        #[serde(default = "defaults::delay_ms")]
        delay_ms: u64,
    },
    /// The first failure is final.
    None,
}

/// Flink's defaults of the restart strategies.
mod defaults {
    pub fn initial_backoff_ms() -> u64 {
        1_000
    }
    pub fn max_backoff_ms() -> u64 {
        60_000
    }
    pub fn backoff_multiplier() -> f64 {
        1.5
    }
    pub fn jitter_factor() -> f64 {
        0.1
    }
    pub fn reset_backoff_threshold_ms() -> u64 {
        3_600_000
    }
    pub fn attempts() -> u32 {
        1
    }
    pub fn delay_ms() -> u64 {
        1_000
    }
    pub fn failure_interval_ms() -> u64 {
        60_000
    }
}

impl Default for RestartStrategy {
    fn default() -> Self {
        RestartStrategy::ExponentialDelay {
            initial_backoff_ms: defaults::initial_backoff_ms(),
            max_backoff_ms: defaults::max_backoff_ms(),
            backoff_multiplier: defaults::backoff_multiplier(),
            jitter_factor: defaults::jitter_factor(),
            reset_backoff_threshold_ms: defaults::reset_backoff_threshold_ms(),
            attempts: 0,
        }
    }
}

text_enum! {
    /// Who owns a snapshot that a job is restored from. Flink: `execution.state-recovery.claim-mode`.
    ClaimMode {
        /// It stays its owner's; the job references nothing of it.
        NoClaim = "NO_CLAIM",
        /// It becomes the job's and is deleted when it is subsumed.
        Claim = "CLAIM",
    }
}

/// Which snapshot a job starts from when it has none of its own yet.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RestoreSource {
    /// URI of the manifest.
    pub manifest: String,
    /// Whether state that no operator of the plan claims may be dropped.
    pub allow_non_restored_state: bool,
    /// The snapshot's row in this database, if it has one: the job holds it until it has a checkpoint of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

impl RestoreSource {
    /// A snapshot that the job does not hold.
    pub fn unheld(manifest: impl Into<String>, allow_non_restored_state: bool) -> Self {
        RestoreSource { manifest: manifest.into(), allow_non_restored_state, hold: None }
    }
}

/// A job's need of another's snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hold {
    pub snapshot_id: SnapshotId,
    pub mode: ClaimMode,
}

/// What an attempt was restored from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Restored {
    /// URI of the manifest.
    pub location: String,
    pub checkpoint_id: u64,
    /// The attempt that was restored.
    pub attempt: u64,
    /// Bytes of state that were still on the working disk.
    pub restored_local_bytes: u64,
    /// Bytes of state that were read from the store.
    pub restored_remote_bytes: u64,
    pub duration_ms: u64,
    /// Newer snapshots that could not be read and were passed over (`on_corrupt: previous`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedSnapshot>,
}

/// A snapshot that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct SkippedSnapshot {
    /// URI of the manifest.
    pub location: String,
    /// Names the object.
    pub reason: String,
}

text_enum! {
    /// What to do when the newest snapshot cannot be read.
    OnCorrupt {
        /// The restore fails, and the restart strategy decides.
        Fail = "fail",
        /// The one before is restored: what was published since is written again.
        Previous = "previous",
    }
}

/// What is fixed when a job is submitted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct JobSettings {
    pub parallelism: u32,
    pub max_parallelism: u32,
    pub checkpointing: CheckpointSettings,
    pub restart: RestartStrategy,
    pub restore: Option<RestoreSource>,
    #[serde(default = "fail_on_corrupt")]
    pub on_corrupt: OnCorrupt,
    pub labels: BTreeMap<String, String>,
}

fn fail_on_corrupt() -> OnCorrupt {
    OnCorrupt::Fail
}

#[cfg(test)]
impl JobSettings {
    /// Settings of an ordinary job, for tests.
    pub fn for_tests() -> Self {
        JobSettings {
            parallelism: 1,
            max_parallelism: 128,
            checkpointing: CheckpointSettings::default(),
            restart: RestartStrategy::default(),
            restore: None,
            on_corrupt: OnCorrupt::Fail,
            labels: BTreeMap::new(),
        }
    }
}

/// A job's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: JobId,
    /// Unique among jobs that are not terminal.
    pub name: String,
    pub sql: String,
    pub plan: JobGraph,
    pub settings: JobSettings,
    pub status: JobStatus,
    pub desired: DesiredStatus,
    /// Count of starts; the fencing token together with the lease.
    pub attempt: u64,
    /// Restarts after failures.
    pub restarts: u64,
    /// Failed checkpoints since the last completed one: an alarm figure.
    pub failed_checkpoints: u64,
    /// The instance that runs it, and until when its lease lasts.
    pub owner: Option<String>,
    pub lease_until_ms: i64,
    /// The newest failure's message, if any.
    pub failure: Option<String>,
    pub created_ms: i64,
    /// Of the newest attempt.
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    pub updated_ms: i64,
    /// Of SQL text, plan and settings, from 1.
    pub version: u64,
    /// The snapshot that a restart named; wins over the job's own newest until a checkpoint is made from it.
    pub restart_from: Option<RestoreSource>,
    /// What the newest attempt was restored from.
    pub restored: Option<Restored>,
}

/// A checkpoint's or savepoint's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub id: SnapshotId,
    /// The job that took it; of an imported savepoint perhaps none of this database.
    pub job_id: JobId,
    pub kind: SnapshotKind,
    /// Flink's checkpoint id: counts from 1 in each job, savepoints included.
    pub checkpoint_id: u64,
    pub attempt: u64,
    pub status: SnapshotStatus,
    pub trigger: SnapshotTrigger,
    /// URI of the manifest; known from the start.
    pub location: String,
    /// Bytes of state that the manifest references.
    pub state_bytes: u64,
    /// Bytes newly stored for it.
    pub uploaded_bytes: u64,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
    /// Why it failed.
    pub failure: Option<String>,
    pub details: SnapshotDetails,
}

/// What a snapshot's row says besides its life.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SnapshotDetails {
    /// Name of the job that took it, then.
    pub job_name: String,
    pub format: SnapshotFormat,
    /// Cannot be deleted until it is unpinned.
    pub pinned: bool,
    pub labels: BTreeMap<String, String>,
    /// The URI that it was imported from.
    pub imported_from: Option<String>,
    /// Whether its objects are somebody else's: forgotten, not deleted.
    pub is_foreign: bool,
}

#[expect(clippy::derivable_impls, reason = "the enumeration comes from a macro")]
impl Default for SnapshotFormat {
    fn default() -> Self {
        SnapshotFormat::Native
    }
}

/// Work on a savepoint that takes its time.
#[derive(Debug, Clone, PartialEq)]
pub struct SavepointOperation {
    pub id: OperationId,
    pub savepoint: SnapshotId,
    pub kind: OperationKind,
    pub status: OperationStatus,
    /// The instance that does it.
    pub owner: String,
    pub request: serde_json::Value,
    pub bytes_done: u64,
    pub bytes_total: Option<u64>,
    pub result: Option<serde_json::Value>,
    /// Why it failed.
    pub failure: Option<String>,
    pub started_ms: i64,
    pub updated_ms: i64,
    pub ended_ms: Option<i64>,
}

/// One failure of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobException {
    pub job_id: JobId,
    pub attempt: u64,
    pub at_ms: i64,
    /// The whole error, with its place and causes.
    pub error: Error,
    /// The subtask that failed, where known.
    pub task: Option<FailedTask>,
}

/// Where a job failed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FailedTask {
    /// The vertex's name.
    pub vertex: String,
    /// The operator's name in it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// From 0.
    pub subtask: u64,
    pub parallelism: u64,
}

impl std::fmt::Display for FailedTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}/{})", self.vertex, self.subtask + 1, self.parallelism)
    }
}

/// A long action of the service: recorded before it begins, with its report for good.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    pub id: ActionId,
    pub kind: ActionKind,
    /// The job that it is about, if it is about one.
    pub job_id: Option<JobId>,
    /// The instance that does it.
    pub owner: String,
    pub status: ActionStatus,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
    /// What it found; of a completed one.
    pub report: Option<serde_json::Value>,
    /// Why it failed.
    pub failure: Option<Error>,
}
