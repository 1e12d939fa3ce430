//! Every setting of the service, resolved: flags over environment over TOML file over defaults (see `cli`).

use std::net::SocketAddr;
use std::path::PathBuf;

/// The service's settings. Units are in the names; defaults suit a machine with two cores and 4 GB.
#[derive(Debug, Clone)]
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
