//! Every setting of the service, resolved: flags over environment over TOML file over defaults (see `cli::layer`).
//!
//! Here are the names, the defaults and the limits; reading them from anywhere is the command line's work.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The service's settings. Units are in the names; defaults suit a machine with two cores and 4 GB.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub listen: SocketAddr,
    /// Parent of all embedded defaults.
    pub data_dir: PathBuf,
    /// RocksDB's working files: the fastest local disk; may vanish.
    pub work_dir: PathBuf,
    /// URI of the durable store: `file://`, `s3://`, `gs://`, `az://`.
    pub store: String,
    /// `sqlite://PATH` or `postgres://…`.
    pub database_url: String,
    /// Memory for keyed state of one job (its in-memory tables), bytes.
    pub job_memory_bytes: usize,
    /// RocksDB's shared block cache and write buffers, bytes, for the whole process.
    pub rocksdb_memory_bytes: usize,
    /// Parallelism of jobs that do not say, and its default of checkpointing.
    pub default_parallelism: u32,
    pub checkpoint_interval_ms: u64,
    pub checkpoint_timeout_ms: u64,
    pub checkpoints_retained: u32,
    /// Parallel uploads or downloads of one job.
    pub transfer_threads: usize,
    /// How long a job's lease lasts without renewal, ms.
    pub lease_ms: u64,
    /// How long SIGTERM waits for the last checkpoints, ms.
    pub shutdown_timeout_ms: u64,
    /// Most bytes of a request body.
    pub max_body_bytes: usize,
    /// Longest time of a request (streams and waits excepted), ms.
    pub request_timeout_ms: u64,
    /// Most requests handled at once.
    pub max_concurrent_requests: usize,
}

/// The defaults; those of the places derive from the data directory.
pub mod defaults {
    use std::net::{Ipv4Addr, SocketAddr};

    /// This machine only: the API has no authentication.
    pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
    /// Below the current directory.
    pub const DATA_DIR: &str = "holdfast-data";
    pub const JOB_MEMORY_BYTES: u64 = 256 << 20;
    pub const ROCKSDB_MEMORY_BYTES: u64 = 256 << 20;
    pub const PARALLELISM: u32 = 1;
    pub const CHECKPOINT_INTERVAL_MS: u64 = 10_000;
    /// Flink's.
    pub const CHECKPOINT_TIMEOUT_MS: u64 = 600_000;
    pub const CHECKPOINTS_RETAINED: u32 = 3;
    pub const TRANSFER_THREADS: usize = 4;
    pub const LEASE_MS: u64 = 15_000;
    /// Within the 30 s that Kubernetes grants a pod.
    pub const SHUTDOWN_TIMEOUT_MS: u64 = 25_000;
    pub const MAX_BODY_BYTES: u64 = 4 << 20;
    pub const REQUEST_TIMEOUT_MS: u64 = 30_000;
    pub const MAX_CONCURRENT_REQUESTS: usize = 256;
}

/// Longest time that any setting may say: a day.
const MAX_TIME_MS: u64 = 86_400_000;

impl Settings {
    /// Refuses values that cannot work. Errors have code `invalid_setting` and name the flag.
    pub fn check(&self) -> Result<()> {
        /// Fewer bytes hold no block of RocksDB and no table of a job.
        const MIN_MEMORY_BYTES: usize = 1 << 20;
        /// A lease is renewed three times in its time; a shorter one ends in a slow moment.
        const MIN_LEASE_MS: u64 = 1_000;
        within("job-memory", "bytes", self.job_memory_bytes, MIN_MEMORY_BYTES..=usize::MAX)?;
        within("rocksdb-memory", "bytes", self.rocksdb_memory_bytes, MIN_MEMORY_BYTES..=usize::MAX)?;
        within("default-parallelism", "", self.default_parallelism, 1..=256)?;
        if self.checkpoint_interval_ms != 0 {
            within("checkpoint-interval", "ms (or 0 = off)", self.checkpoint_interval_ms, 10..=MAX_TIME_MS)?;
        }
        within("checkpoint-timeout", "ms", self.checkpoint_timeout_ms, 10..=MAX_TIME_MS)?;
        within("checkpoints-retained", "", self.checkpoints_retained, 1..=1_000)?;
        within("transfer-threads", "", self.transfer_threads, 1..=256)?;
        within("lease", "ms", self.lease_ms, MIN_LEASE_MS..=MAX_TIME_MS)?;
        within("shutdown-timeout", "ms", self.shutdown_timeout_ms, 0..=MAX_TIME_MS)?;
        within("max-body", "bytes", self.max_body_bytes, 1 << 10..=1 << 30)?;
        within("request-timeout", "ms", self.request_timeout_ms, 100..=MAX_TIME_MS)?;
        within("max-concurrent-requests", "", self.max_concurrent_requests, 1..=65_536)
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    unit: &str,
    value: T,
    allowed: RangeInclusive<T>,
) -> Result<()> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    let message = format!("{name} is {value}; it must be from {} to {}{unit}", allowed.start(), allowed.end());
    Err(Error::invalid("invalid_setting", message))
}

#[cfg(test)]
impl Settings {
    /// Settings that touch nothing, for tests of pure parts.
    pub fn for_tests() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: PathBuf::from("/nonexistent"),
            work_dir: PathBuf::from("/nonexistent/work"),
            store: "memory://".into(),
            database_url: "sqlite::memory:".into(),
            job_memory_bytes: 64 << 20,
            rocksdb_memory_bytes: 64 << 20,
            default_parallelism: 1,
            checkpoint_interval_ms: 10_000,
            checkpoint_timeout_ms: 600_000,
            checkpoints_retained: 3,
            transfer_threads: 2,
            lease_ms: 15_000,
            shutdown_timeout_ms: 10_000,
            max_body_bytes: 1 << 20,
            request_timeout_ms: 30_000,
            max_concurrent_requests: 64,
        }
    }
}
