//! Jobs: the only place that knows both the data plane and the checkpoint protocol.
//!
//! [`JobService`] takes commands (from HTTP) and answers from the metadata database. One supervisor per process finds
//! jobs that should run and that nobody owns, takes their lease, and gives each a master: one task that runs the job's
//! attempts one after another, drives its checkpoints, and decides about restarts.
//!
//! Invariants: 1. a job's status changes only by compare-and-set along [`status::sources_of`]; 2. a master that finds
//! its lease or attempt gone stops its subtasks at once and writes nothing more; 3. what the user wants (`desired`) is
//! stored before anything is done about it; 4. one job's failure ends in that job's row and nowhere else.

pub mod action;
pub mod alarms;
pub mod attempt;
pub mod checkpoint_settings;
pub mod checkpoints;
pub mod cleaning;
pub mod command;
pub mod compatibility;
pub mod drill;
pub mod durability;
mod in_flight;
pub mod master;
pub mod operations;
pub mod preflight;
pub mod prepare;
pub mod query;
pub mod recover;
pub mod restart;
pub mod restart_settings;
pub mod restore_point;
pub mod retry;
pub mod savepoints;
pub mod service;
pub mod settings;
pub mod statistics;
pub mod status;
pub mod supervisor;
mod switch;
pub mod transfers;
pub mod upgrade;
pub mod watchdog;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, mpsc};

use crate::config::Settings;
use crate::id::{InstanceId, JobId};
use crate::metadata::Metadata;
use crate::runtime::metrics::ExecutionMetrics;
use crate::state::SharedMemory;
use crate::storage::Store;

pub use cleaning::FsckRequest;
pub use command::{Command, SavepointRequest, StopRequest};
pub use operations::{ExportRequest, ImportRequest};
pub use preflight::Warning;
pub use restore_point::RestartRequest;
pub use service::JobService;
pub use settings::SubmitRequest;
pub use transfers::Transfers;
pub use upgrade::UpgradeRequest;

/// What every part of the job layer needs.
pub struct Context {
    pub settings: Settings,
    pub metadata: Metadata,
    pub store: Store,
    pub shared_memory: Arc<SharedMemory>,
    pub instance: InstanceId,
    /// Warnings that hold for every job of this service.
    pub warnings: Vec<Warning>,
    /// How far transfers in this process are.
    pub transfers: Transfers,
    /// Jobs that run here. A short critical section, never held across an await.
    pub running: Mutex<HashMap<JobId, RunningJob>>,
    /// Long actions that are done here.
    pub actions: action::Running,
    /// Wakes the supervisor: there may be a job to run.
    pub wake: Notify,
    /// Wakes those who wait for a snapshot or a job to change.
    pub changed: Notify,
}

/// A job that runs in this process.
#[derive(Clone)]
pub struct RunningJob {
    pub commands: mpsc::Sender<Command>,
    pub metrics: Arc<Mutex<ExecutionMetrics>>,
    pub alarms: alarms::Alarms,
}

impl Context {
    /// The owner name under which this process holds leases.
    pub fn owner(&self) -> String {
        self.instance.to_string()
    }
    /// A job's folder on the working disk.
    pub fn job_dir(&self, job: JobId) -> PathBuf {
        self.settings.work_dir.join(job.to_string())
    }
    /// The running job's handle, if it runs here.
    pub fn running(&self, job: JobId) -> Option<RunningJob> {
        self.running.lock().expect("no panic while held").get(&job).cloned()
    }
}
