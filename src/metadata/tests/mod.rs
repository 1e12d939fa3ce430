//! Each test runs against SQLite and against a real PostgreSQL server.

mod holds;
mod jobs;
mod lease;
#[path = "../../../tests/it/support/postgres.rs"]
mod postgres_server;
mod savepoints;
mod snapshots;
mod statistics;
mod upgrades;

use std::collections::BTreeMap;

use super::*;
use crate::error::ErrorKind;
use crate::graph::{JobGraph, PLAN_VERSION};
use crate::id::{ActionId, JobId, SnapshotId};

/// A migrated database, and what must outlive it.
pub(super) struct Fixture {
    pub metadata: Metadata,
    _folder: Option<tempfile::TempDir>,
}

pub(super) async fn sqlite() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/new/folders/metadata.db", folder.path().display());
    let metadata = Metadata::connect(&url).await.unwrap();
    metadata.migrate().await.unwrap();
    Fixture { metadata, _folder: Some(folder) }
}

pub(super) async fn postgres() -> Fixture {
    let url = tokio::task::spawn_blocking(postgres_server::fresh_database).await.unwrap();
    let metadata = Metadata::connect(&url).await.unwrap();
    metadata.migrate().await.unwrap();
    Fixture { metadata, _folder: None }
}

/// Makes `sqlite::name` and `postgres::name` of each function `name(&Metadata)`.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(&crate::metadata::tests::sqlite().await.metadata).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(&crate::metadata::tests::postgres().await.metadata).await; })*
        }
    };
}
pub(super) use on_both;

pub(super) const LEASE_MS: u64 = 1_000;

pub(super) fn settings(labels: &[(&str, &str)]) -> JobSettings {
    JobSettings {
        parallelism: 2,
        max_parallelism: 128,
        checkpointing: CheckpointSettings::default(),
        restart: RestartStrategy::default(),
        restore: None,
        on_corrupt: OnCorrupt::Fail,
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

pub(super) fn job(name: &str, created_ms: i64) -> Job {
    Job {
        id: JobId::generate(),
        name: name.to_owned(),
        sql: "INSERT INTO out SELECT 'ü' FROM t".to_owned(),
        plan: JobGraph {
            version: PLAN_VERSION,
            vertices: Vec::new(),
            edges: Vec::new(),
            changelog: BTreeMap::new(),
            options: BTreeMap::new(),
        },
        settings: settings(&[]),
        status: JobStatus::Created,
        desired: DesiredStatus::Running,
        attempt: 0,
        restarts: 0,
        failed_checkpoints: 0,
        owner: None,
        lease_until_ms: 0,
        failure: None,
        created_ms,
        started_ms: None,
        ended_ms: None,
        updated_ms: created_ms,
        version: 1,
        restart_from: None,
        restored: None,
    }
}

pub(super) async fn insert(metadata: &Metadata, job: &Job) -> JobId {
    assert_eq!(metadata.insert_job(job, None).await.unwrap(), Inserted::Created);
    job.id
}

pub(super) async fn acquired(metadata: &Metadata, id: JobId, owner: &str, now_ms: i64) -> Lease {
    metadata.acquire_job(id, owner, LEASE_MS, now_ms).await.unwrap().expect("the job is free").1
}

/// Ends a job that nobody runs.
pub(super) async fn end(metadata: &Metadata, id: JobId, now_ms: i64) {
    assert!(metadata.cancel_unowned(id, now_ms).await.unwrap());
}

pub(super) fn snapshot(lease: &Lease, kind: SnapshotKind, checkpoint_id: u64) -> Snapshot {
    Snapshot {
        id: SnapshotId::generate(),
        job_id: lease.job_id,
        kind,
        checkpoint_id,
        attempt: lease.attempt,
        status: SnapshotStatus::InProgress,
        trigger: SnapshotTrigger::Periodic,
        location: format!("file:///store/{checkpoint_id}/manifest"),
        state_bytes: 0,
        uploaded_bytes: 0,
        started_ms: 10,
        ended_ms: None,
        failure: None,
        details: SnapshotDetails::default(),
    }
}

pub(super) fn check_error<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, code: &str) -> Error {
    let error = result.expect_err(code);
    assert_eq!((error.kind, error.code.as_str()), (kind, code), "{error}");
    error
}

#[test]
fn terminal_statuses_in_sql_are_those_of_the_model() {
    for status in JobStatus::ALL {
        assert_eq!(row::terminal!().contains(&format!("'{status}'")), status.is_terminal(), "{status}");
    }
}

#[tokio::test]
async fn a_database_is_ready_once_it_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let urls = [
        format!("sqlite://{}/m.db", folder.path().display()),
        tokio::task::spawn_blocking(postgres_server::fresh_database).await.unwrap(),
    ];
    for url in urls {
        let metadata = Metadata::connect(&url).await.unwrap();
        check_error(metadata.is_ready().await, ErrorKind::Unavailable, "database_not_migrated");
        metadata.migrate().await.unwrap();
        metadata.migrate().await.unwrap();
        metadata.is_ready().await.unwrap();
        on!(metadata, p => sqlx::query("UPDATE _sqlx_migrations SET version = 9999").execute(p).await.map(|_| ()))
            .unwrap();
        check_error(metadata.is_ready().await, ErrorKind::Conflict, "database_too_new");
        check_error(metadata.migrate().await, ErrorKind::Conflict, "database_too_new");
        metadata.close().await;
        check_error(metadata.is_ready().await, ErrorKind::Unavailable, "database_unavailable");
    }
}

#[tokio::test]
async fn several_processes_may_migrate_at_once() {
    let url = tokio::task::spawn_blocking(postgres_server::fresh_database).await.unwrap();
    let migrate = || async {
        let metadata = Metadata::connect(&url).await?;
        metadata.migrate().await?;
        metadata.is_ready().await
    };
    let (a, b, c) = tokio::join!(migrate(), migrate(), migrate());
    a.and(b).and(c).unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_there_is_unavailable() {
    let url = format!("postgres://postgres@127.0.0.1:{}/x", postgres_server::free_port());
    let connected = Metadata::connect_within(&url, Duration::from_millis(100)).await;
    check_error(connected, ErrorKind::Unavailable, "database_unavailable");
    for url in ["mysql://x", "nothing", "postgres://[", ""] {
        check_error(Metadata::connect(url).await, ErrorKind::Invalid, "invalid_database_url");
    }
    let url = tokio::task::spawn_blocking(postgres_server::fresh_database).await.unwrap();
    check_error(Metadata::connect(&format!("{url}_missing")).await, ErrorKind::Invalid, "invalid_database_url");
}

#[tokio::test]
async fn a_lost_connection_is_unavailable_and_the_next_call_works() {
    let Fixture { metadata, .. } = postgres().await;
    let Pool::Postgres(pool) = &metadata.pool else { unreachable!() };
    let killed = metadata
        .run("ending its own connection", async {
            sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(pool).await.map(|_| ())
        })
        .await;
    check_error(killed, ErrorKind::Unavailable, "database_unavailable");
    metadata.is_ready().await.unwrap();
}

#[tokio::test]
async fn commits_are_durable_whatever_the_default_of_the_server_is() {
    let Fixture { metadata, .. } = postgres().await;
    let Pool::Postgres(pool) = &metadata.pool else { unreachable!() };
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(pool).await.unwrap();
    let alter = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    sqlx::query(sqlx::AssertSqlSafe(alter)).execute(pool).await.unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}", pool.connect_options().get_port());
    let Metadata { pool: Pool::Postgres(pool) } = Metadata::connect(&url).await.unwrap() else { unreachable!() };
    let setting: String = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&pool).await.unwrap();
    assert_eq!(setting, "on");
}

#[tokio::test]
async fn sqlite_syncs_every_commit_and_checks_references() {
    let Fixture { metadata, _folder } = sqlite().await;
    let Pool::Sqlite(pool) = &metadata.pool else { unreachable!() };
    let pragma = async |name: &'static str| sqlx::query_scalar::<_, i64>(name).fetch_one(pool).await.unwrap();
    assert_eq!(pragma("PRAGMA synchronous").await, 2, "2 is FULL");
    assert_eq!(pragma("PRAGMA foreign_keys").await, 1);
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
    assert_eq!(mode, "wal");
}
