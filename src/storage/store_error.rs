//! From what a store or a file system reports to the error that its caller acts on.

use std::io;

use crate::error::{Error, ErrorKind};

/// An error of reading `object`; a missing one is `object_missing`.
pub(super) fn from_read(operation: &str, object: &str, error: object_store::Error) -> Error {
    match &error {
        object_store::Error::NotFound { .. } => missing(object).caused_by(&error),
        _ => from_write(operation, object, error),
    }
}

/// An error of anything that cannot miss an object: what is missing then is the bucket or container.
pub(super) fn from_write(operation: &str, object: &str, error: object_store::Error) -> Error {
    use object_store::Error as E;
    let mapped = match &error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Error::unavailable(
            "store_access_denied",
            format!("{operation} {object}: the store refused the credentials; check them and their rights"),
        ),
        E::NotFound { .. } => Error::unavailable(
            "store_unavailable",
            format!("{operation} {object}: the bucket or container does not exist; create it"),
        ),
        E::AlreadyExists { .. } | E::Precondition { .. } => occupied(object),
        E::NotSupported { .. } | E::NotImplemented { .. } => Error::invalid(
            "store_unsafe",
            format!("{operation} {object}: the store does not support this; use another one"),
        ),
        _ => {
            Error::unavailable("store_unavailable", format!("{operation} {object}: the store did not do it; try again"))
        }
    };
    mapped.caused_by(&error)
}

/// An error of the file system below a `file://` store.
pub(super) fn from_folder(operation: &str, object: &str, error: &io::Error) -> Error {
    let mapped = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::unavailable(
            "store_access_denied",
            format!("{operation} {object}: the folder cannot be written; check its owner and rights"),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::unavailable("store_unavailable", format!("{operation} {object}: the disk of the store is full"))
        }
        _ => {
            Error::unavailable("store_unavailable", format!("{operation} {object}: the file system failed; try again"))
        }
    };
    mapped.caused_by(error)
}

/// An error of a local working file.
pub(super) fn from_file(operation: &str, file: &std::path::Path, error: &io::Error) -> Error {
    Error::unavailable("disk_unavailable", format!("{operation} {}: the file system failed", file.display()))
        .caused_by(error)
}

/// There is no such object.
pub(super) fn missing(object: &str) -> Error {
    Error::not_found("object_missing", format!("the store has no object {object}"))
}

/// There is such an object, with other bytes.
pub(super) fn occupied(object: &str) -> Error {
    Error::conflict("object_exists", format!("the store has another object {object}; it is not replaced"))
}

/// A local file changed, or is not what its writer said.
pub(super) fn file_corrupt(file: &std::path::Path, problem: &str) -> Error {
    Error::corrupt("file_corrupt", format!("{} {problem}: it was not stored", file.display()))
}

/// For callers that know that an object was stored: its absence is damage. Other errors pass.
pub fn missing_is_corrupt(error: Error) -> Error {
    match error.kind {
        ErrorKind::NotFound if error.code == "object_missing" => Error {
            kind: ErrorKind::Corrupt,
            message: format!("{}, although it was stored: restore from another snapshot", error.message),
            ..error
        },
        _ => error,
    }
}
