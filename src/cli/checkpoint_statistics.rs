//! What checkpoints' figures look like.

use super::failure::Failure;
use super::output::{Format, duration, list, record, show, size, time};
use super::snapshot;
use crate::api::checkpoint_statistics::{CheckpointDetails, CheckpointFigures, CheckpointStatisticsView};
use crate::job::statistics::Distribution;

fn ms(ms: u64) -> String {
    duration(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Prints a checkpoint with its subtasks.
pub fn print_details(format: Format, details: &CheckpointDetails) -> Result<(), Failure> {
    show(format, details, |d| {
        let mut rows = snapshot::rows(&d.snapshot);
        rows.push(("retained", if d.retained { "yes" } else { "no" }.to_owned()));
        rows.extend(d.failure_reason.map(|r| ("reason", r.to_string())));
        rows.extend(d.stored_bytes.map(|b| ("objects", size(b))));
        let header = ["OPERATOR", "SUBTASK", "DELAY", "ALIGNMENT", "SYNC", "UPLOAD", "STATE", "UPLOADED"];
        let subtasks = d.subtasks.iter().map(|s| {
            vec![
                s.operator.clone(),
                s.subtask.to_string(),
                ms(s.start_delay_ms),
                ms(s.alignment_ms),
                ms(s.sync_ms),
                ms(s.upload_ms),
                size(s.state_bytes),
                size(s.uploaded_bytes),
            ]
        });
        format!("{}\n\n{}", record(rows), list(&header, subtasks))
    })
}

/// Prints the statistics of a job's checkpoints.
pub fn print_statistics(format: Format, statistics: &CheckpointStatisticsView) -> Result<(), Failure> {
    show(format, statistics, table)
}

fn table(s: &CheckpointStatisticsView) -> String {
    let counts = record([
        ("in progress", s.counts.in_progress.to_string()),
        ("completed", s.counts.completed.to_string()),
        ("failed", s.counts.failed.to_string()),
        ("failed in a row", s.counts.failed_in_a_row.to_string()),
    ]);
    let header = ["FIGURE", "MIN", "AVG", "P50", "P90", "P99", "MAX"];
    let line = |name: &str, d: &Distribution, show: fn(u64) -> String| {
        let figures = [d.min, d.avg, d.p50, d.p90, d.p99, d.max];
        std::iter::once(name.to_owned()).chain(figures.map(show)).collect::<Vec<_>>()
    };
    let summary = s.summary.iter().flat_map(|d| {
        [
            line("duration", &d.duration_ms, ms),
            line("start delay", &d.start_delay_ms, ms),
            line("alignment", &d.alignment_ms, ms),
            line("sync", &d.sync_ms, ms),
            line("upload", &d.upload_ms, ms),
            line("state", &d.state_bytes, size),
            line("uploaded", &d.uploaded_bytes, size),
            line("objects", &d.stored_bytes, size),
        ]
    });
    let columns =
        ["NUMBER", "STATUS", "TRIGGER", "STARTED", "DURATION", "ALIGNMENT", "SYNC", "STATE", "UPLOADED", "REASON"];
    let history = list(&columns, s.history.iter().map(row));
    format!("{counts}\n\n{}\n\n{history}", list(&header, summary))
}

fn row(f: &CheckpointFigures) -> Vec<String> {
    vec![
        f.checkpoint_id.to_string(),
        f.status.to_string(),
        f.trigger.to_string(),
        time(f.started_ms),
        ms(f.duration_ms),
        ms(f.alignment_ms),
        ms(f.sync_ms),
        size(f.state_bytes),
        size(f.uploaded_bytes),
        f.failure_reason.map_or_else(|| "-".to_owned(), |r| r.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_shown_as_tables() {
        let d = serde_json::json!({ "min": 1, "avg": 2, "p50": 2, "p90": 3, "p99": 4, "max": 5 });
        let figures = serde_json::json!({
            "checkpoint_id": 9, "kind": "CHECKPOINT", "trigger": "PERIODIC", "status": "FAILED", "started_ms": 0,
            "duration_ms": 1500, "state_bytes": 2048, "uploaded_bytes": 0, "stored_bytes": 0, "start_delay_ms": 0,
            "alignment_ms": 0, "sync_ms": 0, "upload_ms": 0, "failure_reason": "CHECKPOINT_EXPIRED"
        });
        let view: CheckpointStatisticsView = serde_json::from_value(serde_json::json!({
            "counts": { "total": 2, "in_progress": 0, "completed": 1, "failed": 1, "failed_in_a_row": 1 },
            "summary": {
                "duration_ms": d, "state_bytes": d, "uploaded_bytes": d, "stored_bytes": d, "start_delay_ms": d,
                "alignment_ms": d, "sync_ms": d, "upload_ms": d
            },
            "latest": {}, "history": [figures]
        }))
        .unwrap();
        let text = table(&view);
        for part in ["failed in a row:  1", "start delay", "CHECKPOINT_EXPIRED", "1.5 s"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
