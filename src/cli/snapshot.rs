//! What savepoints and checkpoints look like.

use std::collections::BTreeMap;

use super::client::Client;
use super::failure::Failure;
use super::output::{Format, duration, list, record, show, size, time};
use super::pages::{collect, note_if_cut};
use super::wait::{self, WaitArgs};
use crate::api::model::{SnapshotPage, SnapshotView};
use crate::metadata::SnapshotFormat;

/// Prints one snapshot.
pub fn print(format: Format, snapshot: &SnapshotView) -> Result<(), Failure> {
    show(format, snapshot, |s| record(rows(s)))
}

/// What is shown of a snapshot.
pub fn rows(s: &SnapshotView) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("id", s.id.clone()),
        ("job", format!("{} ({})", s.job_name, s.job_id)),
        ("kind", s.kind.to_string()),
        ("number", s.checkpoint_id.to_string()),
        ("status", s.status.to_string()),
        ("trigger", s.trigger.to_string()),
        ("location", s.location.clone()),
        ("format", s.format.to_string()),
        ("pinned", if s.pinned { "yes" } else { "no" }.to_owned()),
        ("state", size(s.state_bytes)),
        ("uploaded", size(s.uploaded_bytes)),
        ("started", time(s.started_ms)),
    ];
    rows.extend(s.duration_ms.map(|ms| ("duration", duration(ms))));
    if !s.labels.is_empty() {
        let labels: Vec<String> = s.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        rows.push(("labels", labels.join(", ")));
    }
    rows.extend(s.imported_from.clone().map(|from| ("imported from", from)));
    rows.extend(s.progress.map(|p| ("progress", format!("{} of {}", size(p.bytes_done), size(p.bytes_total)))));
    rows.extend(s.failure.clone().map(|f| ("failure", f)));
    rows
}

/// A format by its name.
pub fn format(text: &str) -> Result<SnapshotFormat, String> {
    text.parse().map_err(|e: crate::error::Error| e.message)
}

/// Labels as a request has them.
pub fn labels(labels: &[(String, String)]) -> Option<BTreeMap<String, String>> {
    (!labels.is_empty()).then(|| labels.iter().cloned().collect())
}

/// Waits for a snapshot that was just asked for, if the user wants so, and prints it.
pub async fn finish(client: &Client, format: Format, snapshot: SnapshotView, args: &WaitArgs) -> Result<(), Failure> {
    let snapshot = if args.wait { wait::for_snapshot(client, &snapshot, args.wait_timeout).await? } else { snapshot };
    print(format, &snapshot)
}

/// Prints a job's snapshots of one collection, newest first.
pub async fn print_list(
    client: &Client,
    format: Format,
    job: &str,
    collection: &str,
    limit: u32,
) -> Result<(), Failure> {
    let (items, next_page_token) = collect(limit, async |query| {
        let page: SnapshotPage = client.get(&["jobs", job, collection], &query).await?;
        Ok((page.items, page.next_page_token))
    })
    .await?;
    note_if_cut(items.len(), next_page_token.as_ref());
    show(format, &SnapshotPage { items, next_page_token }, |page| {
        let header = ["NUMBER", "ID", "STATUS", "TRIGGER", "STATE", "UPLOADED", "STARTED", "DURATION"];
        list(&header, page.items.iter().map(row))
    })
}

fn row(s: &SnapshotView) -> Vec<String> {
    vec![
        s.checkpoint_id.to_string(),
        s.id.clone(),
        s.status.to_string(),
        s.trigger.to_string(),
        size(s.state_bytes),
        size(s.uploaded_bytes),
        time(s.started_ms),
        s.duration_ms.map_or_else(|| "-".to_owned(), duration),
    ]
}
