//! From what a database reports to the error that its caller acts on. Constraint names are interface: the table
//! [`CONSTRAINTS`] is the only place that knows them.

use sqlx::error::{DatabaseError, ErrorKind as DatabaseErrorKind};
use sqlx::migrate::MigrateError;

use crate::error::{Error, ErrorKind};

/// A constraint that callers can violate, and what that means.
struct Constraint {
    /// Its name, as Postgres reports it.
    name: &'static str,
    /// Its columns, as SQLite reports it.
    columns: &'static str,
    code: &'static str,
    message: &'static str,
}

const CONSTRAINTS: &[Constraint] = &[
    Constraint {
        name: "jobs_live_name",
        columns: "jobs.name",
        code: "job_name_taken",
        message: "a job with this name has not ended: cancel it or choose another name",
    },
    Constraint { name: "jobs_pkey", columns: "jobs.id", code: "job_exists", message: "a job with this id exists" },
    Constraint {
        name: "snapshots_client_key",
        columns: "snapshots.job_id, snapshots.client_key",
        code: "snapshot_key_reused",
        message: "this job has a snapshot with this client key: read that one",
    },
    Constraint {
        name: "snapshot_holds_claim",
        columns: "snapshot_holds.snapshot_id",
        code: "snapshot_claimed",
        message: "another job has claimed this snapshot: restore it with claim mode NO_CLAIM, or choose another one",
    },
    Constraint {
        name: "job_upgrades_active",
        columns: "job_upgrades.job_id",
        code: "upgrade_in_progress",
        message: "an upgrade of this job is under way: wait for its end",
    },
    Constraint {
        name: "snapshots_checkpoint_id",
        columns: "snapshots.job_id, snapshots.checkpoint_id",
        code: "checkpoint_id_taken",
        message: "this job has a snapshot with this checkpoint id: ask for the next one",
    },
];

/// What a database's own error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Index into [`CONSTRAINTS`].
    Violated(usize),
    NoSuchJob,
    /// Repeating the call may help: connection lost, shut down, locked, deadlocked, full, read-only standby.
    Unavailable,
    /// Credentials or database name.
    Refused,
    /// The file or a page is damaged.
    Damaged,
    /// Text that the database cannot store (a NUL character).
    BadText,
    Defect,
}

/// Decides from the error's code (SQLSTATE, or SQLite's extended result code), constraint and message.
fn meaning(kind: &DatabaseErrorKind, code: &str, constraint: Option<&str>, message: &str) -> Meaning {
    match kind {
        DatabaseErrorKind::UniqueViolation => {
            let columns = message.rsplit_once("failed: ").map_or("", |(_, columns)| columns);
            let violated =
                CONSTRAINTS.iter().position(|c| constraint.map_or(c.columns == columns, |name| c.name == name));
            return violated.map_or(Meaning::Defect, Meaning::Violated);
        }
        // All references are to jobs.
        DatabaseErrorKind::ForeignKeyViolation => return Meaning::NoSuchJob,
        _ => {}
    }
    // A SQLSTATE has five characters; a result code of SQLite has at most four digits.
    if code.len() == 5 {
        return match code {
            // Class 08 connection, 53 resources, 57P0x shutdown, 58 system, 40 rollback, 55P03 lock, 25006 standby.
            "57P01" | "57P02" | "57P03" | "57P05" | "57014" | "55P03" | "25006" | "40001" | "40P01" => {
                Meaning::Unavailable
            }
            "22021" | "22P05" => Meaning::BadText,
            "XX001" | "XX002" => Meaning::Damaged,
            "3D000" => Meaning::Refused,
            _ => match code.get(..2) {
                Some("08" | "53" | "58") => Meaning::Unavailable,
                Some("28") => Meaning::Refused,
                _ => Meaning::Defect,
            },
        };
    }
    // https://www.sqlite.org/rescode.html: the primary code is the low byte.
    match code.parse::<u32>().map(|extended| extended & 0xff) {
        // BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
        Ok(5 | 6 | 8 | 10 | 13 | 14 | 15) => Meaning::Unavailable,
        // CORRUPT, NOTADB.
        Ok(11 | 26) => Meaning::Damaged,
        _ => Meaning::Defect,
    }
}

fn from_database(what: &str, error: &dyn DatabaseError) -> Error {
    match meaning(&error.kind(), &error.code().unwrap_or_default(), error.constraint(), error.message()) {
        Meaning::Violated(index) => match CONSTRAINTS.get(index) {
            Some(constraint) => Error::conflict(constraint.code, constraint.message),
            None => Error::internal(what),
        },
        Meaning::NoSuchJob => Error::not_found("job_not_found", "no such job: it was deleted"),
        Meaning::Unavailable => {
            Error::unavailable("database_unavailable", format!("{what}: the database is unable to answer; try again"))
        }
        Meaning::Refused => Error::invalid(
            "invalid_database_url",
            "the database refused the user, password or database name of its URL",
        ),
        Meaning::Damaged => {
            Error::corrupt("database_corrupt", format!("{what}: the database is damaged; restore it from a backup"))
        }
        Meaning::BadText => Error::invalid(
            "invalid_text",
            format!("{what}: the text has a character that cannot be stored, such as NUL; remove it"),
        ),
        Meaning::Defect => Error::internal(what),
    }
}

/// Maps an error of a query; `what` says which step failed.
pub(super) fn from_call(what: &str, error: &sqlx::Error) -> Error {
    use sqlx::Error as E;
    let mapped = match error {
        E::Database(e) => from_database(what, e.as_ref()),
        E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) | E::BeginFailed => {
            Error::unavailable("database_unavailable", format!("{what}: the database did not answer; try again"))
        }
        E::ColumnDecode { .. } | E::Decode(_) => {
            Error::corrupt("row_corrupt", format!("{what}: a column holds another type than this program writes"))
        }
        _ => Error::internal(what),
    };
    mapped.caused_by(error)
}

/// Maps an error of connecting.
pub(super) fn from_connect(error: &sqlx::Error) -> Error {
    match error {
        sqlx::Error::Configuration(_) => {
            Error::invalid("invalid_database_url", "the database URL cannot be understood").caused_by(error)
        }
        _ => from_call("connecting", error),
    }
}

/// Maps an error of migrating.
pub(super) fn from_migration(error: MigrateError) -> Error {
    match &error {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => from_call("migrating the schema", e),
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => too_new().caused_by(&error),
        MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => Error::new(
            ErrorKind::Conflict,
            "database_schema_unknown",
            "the database's schema was not made by a released program: restore it from a backup or use another database",
        )
        .caused_by(&error),
        _ => Error::internal("migrating the schema").caused_by(&error),
    }
}

/// The schema was made by a newer program.
pub(super) fn too_new() -> Error {
    Error::conflict("database_too_new", "the database's schema is newer than this program: use the newer program")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_errors_mean_what_the_caller_should_do() {
        use DatabaseErrorKind::{ForeignKeyViolation, Other, UniqueViolation};
        let cases = [
            (UniqueViolation, "23505", Some("jobs_live_name"), "duplicate key", Meaning::Violated(0)),
            (UniqueViolation, "2067", None, "UNIQUE constraint failed: jobs.name", Meaning::Violated(0)),
            (UniqueViolation, "1555", None, "UNIQUE constraint failed: jobs.id", Meaning::Violated(1)),
            (UniqueViolation, "23505", Some("snapshots_client_key"), "", Meaning::Violated(2)),
            (UniqueViolation, "23505", Some("another"), "", Meaning::Defect),
            (ForeignKeyViolation, "787", None, "FOREIGN KEY constraint failed", Meaning::NoSuchJob),
            (Other, "57P01", None, "terminating connection due to administrator command", Meaning::Unavailable),
            (Other, "40001", None, "could not serialize", Meaning::Unavailable),
            (Other, "08006", None, "connection failure", Meaning::Unavailable),
            (Other, "53300", None, "too many clients", Meaning::Unavailable),
            (Other, "25006", None, "read-only transaction", Meaning::Unavailable),
            (Other, "28P01", None, "password", Meaning::Refused),
            (Other, "3D000", None, "no such database", Meaning::Refused),
            (Other, "XX001", None, "data corrupted", Meaning::Damaged),
            (Other, "22021", None, "invalid byte sequence", Meaning::BadText),
            (Other, "42601", None, "syntax error", Meaning::Defect),
            (Other, "5", None, "database is locked", Meaning::Unavailable),
            (Other, "517", None, "busy snapshot", Meaning::Unavailable),
            (Other, "13", None, "disk full", Meaning::Unavailable),
            (Other, "778", None, "I/O error on write", Meaning::Unavailable),
            (Other, "11", None, "malformed", Meaning::Damaged),
            (Other, "1", None, "no such table", Meaning::Defect),
        ];
        for (kind, code, constraint, message, expected) in cases {
            assert_eq!(meaning(&kind, code, constraint, message), expected, "{code} {message}");
        }
    }
}
