//! Looks at where things are before anything is lost: the working directory and the durable store must not be one
//! place. Nested = refused; on one device, not durable, or checkpointing off = warned about.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::metadata::JobSettings;
use crate::storage::Store;

/// Something that is allowed but could cost data.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Warning {
    /// Stable, snake_case.
    pub code: String,
    pub message: String,
}

impl Warning {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Warning { code: code.to_owned(), message: message.into() }
    }
}

/// Checks the service's places. Creates the working directory.
pub fn check_places(work_dir: &Path, store: &Store) -> Result<Vec<Warning>> {
    std::fs::create_dir_all(work_dir).map_err(|e| {
        Error::invalid(
            "work_dir",
            format!("the working directory {} cannot be created; set --work-dir", work_dir.display()),
        )
        .caused_by(&e)
    })?;
    let mut warnings = Vec::new();
    if !store.is_durable() {
        warnings.push(Warning::new("store_not_durable", "the store keeps snapshots in memory (or on a memory disk): they are lost with the machine; set --store to file://, s3://, gs:// or az://"));
    }
    if let Some(store_dir) = store.local_path() {
        if let Some(refusal) = nested(&real(work_dir), &real(&store_dir)) {
            return Err(Error::invalid("work_dir_in_store", refusal));
        }
        if same_device(work_dir, &store_dir) {
            warnings.push(Warning::new(
                "same_device",
                format!("the working directory {} and the store {} are on one device: losing it loses the state and its snapshots", work_dir.display(), store_dir.display()),
            ));
        }
    }
    Ok(warnings)
}

/// Warnings about one job's own settings.
pub fn check_job(settings: &JobSettings) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if settings.checkpointing.interval_ms == 0 {
        warnings.push(Warning::new("checkpointing_off", "periodic checkpoints are switched off: a crash loses the state and starts the job anew from its last savepoint, or from the beginning"));
    }
    warnings
}

/// Why two real paths must not be used together, if so.
fn nested(work: &Path, store: &Path) -> Option<String> {
    if work == store {
        Some(format!(
            "the working directory and the store are both {}; RocksDB's files and the snapshots must not share a folder",
            work.display()
        ))
    } else if work.starts_with(store) {
        Some(format!(
            "the working directory {} lies inside the store {}; move one of them (--work-dir, --store)",
            work.display(),
            store.display()
        ))
    } else if store.starts_with(work) {
        Some(format!(
            "the store {} lies inside the working directory {}; move one of them (--work-dir, --store)",
            store.display(),
            work.display()
        ))
    } else {
        None
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn same_device(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    matches!((a.metadata(), b.metadata()), (Ok(a), Ok(b)) if a.dev() == b.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_places_are_refused_either_way() {
        let check = |work: &str, store: &str, refused: bool| {
            assert_eq!(nested(Path::new(work), Path::new(store)).is_some(), refused, "{work} {store}")
        };
        check("/d/work", "/d/store", false);
        check("/d/store/work", "/d/store", true);
        check("/d/work", "/d/work/store", true);
        check("/d/x", "/d/x", true);
        check("/d/store2", "/d/store", false);
    }
}
