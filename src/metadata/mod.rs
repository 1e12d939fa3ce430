//! What the service knows, in Postgres or SQLite: jobs, snapshots, work on savepoints, failures. All SQL of ours is here.
//!
//! One set of SQL texts for both databases; only the migrations differ (`migrations/sqlite`, `migrations/postgres`).
//!
//! Invariants: 1. statuses change by compare-and-set; 2. a running job's row and its snapshots are only written by the
//! process that holds its [`Lease`], and every such write names the lease, so that a fenced process writes nothing;
//! 3. the commit in [`Metadata::complete_snapshot`] is the publication point of a snapshot; 4. a live name belongs to
//! one job.
//!
//! Failures: a database that does not answer is `Unavailable` (`database_unavailable`, repeat the call); a violated
//! constraint is `Conflict` with its own code; a row that cannot be read is `Corrupt` (`row_corrupt`). A call that
//! failed as unavailable may have been committed: every function says what repeating it does, where that matters.
//!
//! Times are ms since the epoch. JSON columns are text.

/// Runs `$body` with `$pool` bound to the pool of whichever database this is.
macro_rules! on {
    ($metadata:expr, $pool:ident => $body:expr) => {
        match &$metadata.pool {
            crate::metadata::Pool::Sqlite($pool) => $body,
            crate::metadata::Pool::Postgres($pool) => $body,
        }
    };
}

mod actions;
mod cleaning;
mod database_error;
mod exceptions;
mod holds;
mod jobs;
mod lease;
mod model;
mod operations;
mod restores;
mod row;
mod savepoints;
mod snapshots;
mod statistics;
#[cfg(test)]
mod tests;
mod upgrades;

use std::future::Future;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::error::{Error, Result};

pub use actions::ACTIONS_KEPT;
pub use cleaning::JobState;
pub use jobs::{Inserted, JobFilter};
pub use lease::Lease;
use model::text_enum;
pub use model::*;
pub use operations::Begun;
pub use savepoints::{SavepointChange, SavepointFilter};
pub use statistics::*;
pub use upgrades::{JobVersion, OperatorChange, StateChange, Upgrade, UpgradeStatus};

static SQLITE_MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// Longest wait for a connection, including making one.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time of one function of [`Metadata`]; a database that hangs is as good as none.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for another SQLite writer; below [`CALL_TIMEOUT`], so that the cause is reported.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// SQLite has one writer at a time; the others serve reads.
const SQLITE_CONNECTIONS: u32 = 4;
/// Small, because replicas share the server's limit (100 by default).
const POSTGRES_CONNECTIONS: u32 = 10;

/// A commit that was acknowledged must survive a crash of the server, whatever the role's default is.
const DURABLE_COMMITS: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// The metadata database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metadata {
    pool: Pool,
}

#[derive(Debug, Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Metadata {
    /// Connects to `sqlite://PATH` (the file and its folders are created) or `postgres://…`; does not migrate.
    pub async fn connect(url: &str) -> Result<Metadata> {
        Self::connect_within(url, ACQUIRE_TIMEOUT).await
    }

    async fn connect_within(url: &str, timeout: Duration) -> Result<Metadata> {
        let pool = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Pool::Sqlite(connect_sqlite(url, timeout).await?),
            Some("postgres" | "postgresql") => Pool::Postgres(connect_postgres(url, timeout).await?),
            _ => {
                return Err(Error::invalid(
                    "invalid_database_url",
                    "the database URL must start with sqlite:// or postgres://",
                ));
            }
        };
        Ok(Metadata { pool })
    }

    /// Brings the schema to this program's version; several processes may do so at once.
    pub async fn migrate(&self) -> Result<()> {
        let migrated = match &self.pool {
            Pool::Sqlite(pool) => SQLITE_MIGRATIONS.run(pool).await,
            Pool::Postgres(pool) => POSTGRES_MIGRATIONS.run(pool).await,
        };
        migrated.map_err(database_error::from_migration)
    }

    /// Succeeds if the database answers and its schema is this program's.
    pub async fn is_ready(&self) -> Result<()> {
        // Compared with a literal, not as a bare boolean: SQLite stores it as a number.
        const VERSION: &str = "SELECT MAX(version) FROM _sqlx_migrations WHERE success = TRUE";
        self.run("checking the schema", async {
            on!(self, p => sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(p).await)
        })
        .await?;
        let expected = match &self.pool {
            Pool::Sqlite(_) => SQLITE_MIGRATIONS.iter().map(|m| m.version).max(),
            Pool::Postgres(_) => POSTGRES_MIGRATIONS.iter().map(|m| m.version).max(),
        };
        let found: Option<i64> = self
            .run("checking the schema", async {
                match on!(self, p => sqlx::query_scalar(VERSION).fetch_one(p).await) {
                    // No such table: the database answered just now.
                    Err(sqlx::Error::Database(_)) => Ok(None),
                    other => other,
                }
            })
            .await?;
        match found {
            found if found == expected => Ok(()),
            found if found < expected => Err(Error::unavailable(
                "database_not_migrated",
                "the database's schema is older than this program: start the service once with migrations enabled",
            )),
            _ => Err(database_error::too_new()),
        }
    }

    /// Waits until all connections are closed; later calls fail as unavailable.
    pub async fn close(&self) {
        on!(self, p => p.close().await);
    }

    /// Runs one call against the database with the time limit and the mapping of errors that all calls share.
    async fn run<T>(&self, what: &str, call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T> {
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(result) => result.map_err(|e| database_error::from_call(what, &e)),
            Err(_) => Err(Error::unavailable(
                "database_unavailable",
                format!("{what}: the database did not answer within {} s", CALL_TIMEOUT.as_secs()),
            )),
        }
    }

    /// How a transaction that writes begins. SQLite: take the write lock at once, because upgrading a read lock fails
    /// instead of waiting. Postgres: whatever the role's default isolation is, the queries here lock rows themselves.
    fn begin(&self) -> &'static str {
        match self.pool {
            Pool::Sqlite(_) => "BEGIN IMMEDIATE",
            Pool::Postgres(_) => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }
}

async fn connect_sqlite(url: &str, timeout: Duration) -> Result<SqlitePool> {
    let options: SqliteConnectOptions = url.parse().map_err(|e| database_error::from_connect(&e))?;
    // Every connection to an in-memory database would see its own tables.
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    if let Some(folder) = options.get_filename().parent().filter(|f| !in_memory && !f.as_os_str().is_empty()) {
        tokio::fs::create_dir_all(folder).await.map_err(|e| {
            Error::unavailable("database_unavailable", format!("cannot create the folder {}", folder.display()))
                .caused_by(&e)
        })?;
    }
    let options = options
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_BUSY_TIMEOUT);
    SqlitePoolOptions::new()
        .max_connections(if in_memory { 1 } else { SQLITE_CONNECTIONS })
        .acquire_timeout(timeout)
        .connect_with(options)
        .await
        .map_err(|e| database_error::from_connect(&e))
}

async fn connect_postgres(url: &str, timeout: Duration) -> Result<PgPool> {
    let options: PgConnectOptions = url.parse().map_err(|e| database_error::from_connect(&e))?;
    PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(timeout)
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::query(DURABLE_COMMITS).execute(connection).await.map(|_| ()) })
        })
        .connect_with(options.application_name("holdfast"))
        .await
        .map_err(|e| database_error::from_connect(&e))
}
