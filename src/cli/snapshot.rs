//! What savepoints and checkpoints look like.

use super::client::Client;
use super::failure::Failure;
use super::output::{Format, duration, list, record, show, size, time};
use super::pages::{collect, note_if_cut};
use super::wait::{self, WaitArgs};
use crate::api::model::{SnapshotPage, SnapshotView};

/// Prints one snapshot.
pub fn print(format: Format, snapshot: &SnapshotView) -> Result<(), Failure> {
    show(format, snapshot, |s| record(rows(s)))
}

/// What is known of a snapshot.
pub fn rows(s: &SnapshotView) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("id", s.id.clone()),
        ("job", s.job_id.clone()),
        ("kind", s.kind.to_string()),
        ("number", s.checkpoint_id.to_string()),
        ("status", s.status.to_string()),
        ("trigger", s.trigger.to_string()),
        ("location", s.location.clone()),
        ("state", size(s.state_bytes)),
        ("uploaded", size(s.uploaded_bytes)),
        ("started", time(s.started_ms)),
    ];
    rows.extend(s.duration_ms.map(|ms| ("duration", duration(ms))));
    rows.extend(s.failure.clone().map(|f| ("failure", f)));
    rows
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
