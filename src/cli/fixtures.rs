//! Views for the tests of the command line.

use crate::api::model::{JobView, SnapshotView};
use crate::metadata::{JobStatus, SnapshotKind, SnapshotStatus};

/// A job in a status.
pub fn job(status: JobStatus) -> JobView {
    let value = serde_json::json!({
        "id": "0123456789abcdef0123456789abcdef", "name": "demo", "status": status, "desired": "RUNNING",
        "sql": "INSERT INTO t SELECT 1", "parallelism": 2, "max_parallelism": 128,
        "checkpointing": {
            "interval_ms": 5000, "min_pause_ms": 0, "timeout_ms": 600_000, "retained": 3, "on_cancel": "retain",
            "mode": "exactly_once", "max_concurrent_checkpoints": 1, "incremental": true,
            "data_inline_threshold_bytes": 65536, "transfer_threads": 4, "stuck_after_ms": 60000
        },
        "restart": {"strategy": "none"}, "labels": {"team": "a"}, "attempt": 1, "restarts": 0, "created_ms": 0,
        "warnings": []
    });
    serde_json::from_value(value).expect("a job as the API shows it")
}

/// A snapshot in a status.
pub fn snapshot(kind: SnapshotKind, status: SnapshotStatus) -> SnapshotView {
    SnapshotView {
        id: "00112233445566778899aabbccddeeff".into(),
        job_id: "0123456789abcdef0123456789abcdef".into(),
        kind,
        checkpoint_id: 7,
        attempt: 1,
        status,
        trigger: crate::metadata::SnapshotTrigger::Manual,
        location: "file:///s/savepoints/x/_metadata".into(),
        state_bytes: 2048,
        uploaded_bytes: 1024,
        started_ms: 0,
        ended_ms: Some(1500),
        duration_ms: Some(1500),
        failure: None,
        job_name: "demo".into(),
        format: crate::metadata::SnapshotFormat::Native,
        pinned: false,
        labels: std::collections::BTreeMap::new(),
        imported_from: None,
        is_foreign: false,
        progress: None,
    }
}
