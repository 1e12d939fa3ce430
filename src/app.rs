//! The composition root: builds the service from its settings, runs it, and ends it in order.

use std::fs::{File, TryLockError};
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::id::InstanceId;
use crate::job::{Context, JobService, Transfers, action, cleaning, drill, preflight, supervisor};
use crate::metadata::Metadata;
use crate::state::SharedMemory;
use crate::storage::Store;

/// Runs the service until `stop` is done; then takes last checkpoints and ends. Errors are those of the start.
pub async fn serve(settings: Settings, stop: impl Future<Output = ()>) -> Result<()> {
    let (instance, _lock) = lock_data_dir(&settings.data_dir)?;
    let store = Store::open(&settings.store).await?;
    let work_dir = settings.work_dir.clone();
    let (warnings, store) = blocking(move || preflight::check_places(&work_dir, &store).map(|w| (w, store))).await??;
    for warning in &warnings {
        tracing::warn!(code = warning.code, "{}", warning.message);
    }
    store.probe().await?;
    let metadata = Metadata::connect(&settings.database_url).await?;
    metadata.migrate().await?;
    let listener = TcpListener::bind(settings.listen).await.map_err(|e| {
        Error::unavailable(
            "listen",
            format!("cannot listen on {}; is another service there? (--listen)", settings.listen),
        )
        .caused_by(&e)
    })?;
    let address =
        listener.local_addr().map_err(|e| Error::internal("the listening address is unknown").caused_by(&e))?;
    let context = Arc::new(Context {
        shared_memory: Arc::new(SharedMemory::new(settings.rocksdb_memory_bytes)),
        settings,
        metadata: metadata.clone(),
        store,
        instance,
        warnings,
        transfers: Transfers::default(),
        running: Mutex::default(),
        actions: Mutex::default(),
        wake: Notify::new(),
        changed: Notify::new(),
    });
    let stopping = CancellationToken::new();
    action::fail_interrupted(&context).await;
    drill::sweep(&context).await;
    let janitor = tokio::spawn(cleaning::run(Arc::clone(&context), stopping.clone()));
    let supervisor = tokio::spawn(supervisor::run(Arc::clone(&context), stopping.clone()));
    let http_stop = CancellationToken::new();
    let router = api::router(JobService::new(Arc::clone(&context)), stopping.clone());
    let server = axum::serve(listener, router).with_graceful_shutdown(http_stop.clone().cancelled_owned());
    let server = tokio::spawn(server.into_future());
    tracing::info!(%address, store = context.settings.store, work_dir = %context.settings.work_dir.display(), instance = %context.instance, "holdfast serves on http://{address}");
    stop.await;
    tracing::info!("shutting down: taking last checkpoints");
    stopping.cancel();
    if let Err(panic) = supervisor.await {
        tracing::error!(%panic, "the supervisor panicked");
    }
    // It may be deleting; the next start goes on.
    janitor.abort();
    http_stop.cancel();
    // Streams of ad-hoc queries may be open; they must not hold up the end.
    if tokio::time::timeout(std::time::Duration::from_secs(2), server).await.is_err() {
        tracing::info!("open connections were closed");
    }
    metadata.close().await;
    tracing::info!("shut down");
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("a start-up check panicked: {e}")))
}

/// Locks the data directory for this process and reads the instance's id. The id is the same after a restart, so that
/// the service takes its own jobs back at once instead of waiting for its old leases to end; the lock proves that the
/// process before is gone.
fn lock_data_dir(dir: &Path) -> Result<(InstanceId, File)> {
    let failed = |what: &str, e: &std::io::Error| {
        Error::unavailable("data_dir", format!("{what} in the data directory {} failed", dir.display())).caused_by(e)
    };
    std::fs::create_dir_all(dir).map_err(|e| failed("creating files", &e))?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(|e| failed("opening the lock", &e))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::conflict(
                "data_dir_in_use",
                format!("another holdfast uses the data directory {}; stop it, or set --data-dir", dir.display()),
            ));
        }
        Err(TryLockError::Error(e)) => return Err(failed("locking", &e)),
    }
    let path = dir.join("instance");
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Ok(id) = text.trim().parse()
    {
        return Ok((id, lock));
    }
    let id = InstanceId::generate();
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&path)?;
        writeln!(file, "{id}")?;
        file.sync_all()
    };
    write().map_err(|e| failed("storing the instance's id", &e))?;
    Ok((id, lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_serves_one_process_and_keeps_its_instance() {
        let dir = tempfile::tempdir().unwrap();
        let (first, lock) = lock_data_dir(dir.path()).unwrap();
        assert_eq!(lock_data_dir(dir.path()).unwrap_err().code, "data_dir_in_use");
        drop(lock);
        assert_eq!(lock_data_dir(dir.path()).unwrap().0, first);
    }
}
