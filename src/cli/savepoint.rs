//! `holdfast savepoint`.

use clap::Subcommand;

use super::client::{Client, ServerArgs};
use super::failure::{Exit, Failure};
use super::job::submit::label;
use super::output::{Format, OutputArgs, duration, list, note, record, show, size, time};
use super::pages::{collect, note_if_cut};
use super::snapshot;
use super::wait::{self, WaitArgs};
use crate::api::model::{SnapshotPage, SnapshotView};
use crate::api::savepoints::change::ChangeRequest;
use crate::api::savepoints::operations::OperationView;
use crate::api::savepoints::show::ManifestView;
use crate::job::{ExportRequest, ImportRequest, SavepointRequest};
use crate::metadata::{SnapshotFormat, SnapshotStatus};

/// `holdfast savepoint …`
#[derive(Debug, clap::Args)]
pub struct SavepointArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: SavepointCommand,
}

#[derive(Debug, Subcommand)]
enum SavepointCommand {
    /// Take a savepoint of a running job
    Create {
        /// The job's id or name
        job: String,
        /// URI of the folder to write to [default: the service's store]
        #[arg(long, value_name = "URI")]
        target: Option<String>,
        /// How the state is written: native (the state backend's files, fast) or canonical (for any program to read)
        #[arg(long, value_name = "FORMAT", value_parser = snapshot::format)]
        format: Option<SnapshotFormat>,
        /// For filtering lists; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// The same key takes one savepoint, however often the command is repeated
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List savepoints, newest first
    List {
        /// Only those of this job: its id or name, also of a job that was deleted
        job: Option<String>,
        /// Only those with this label; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// Most savepoints listed
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show a savepoint and what it consists of
    Show {
        /// The savepoint's id
        savepoint: String,
    },
    /// Delete a savepoint with its objects
    Delete {
        /// The savepoint's id
        savepoint: String,
    },
    /// Set labels (KEY=VALUE) and remove labels (KEY=)
    Label {
        /// The savepoint's id
        savepoint: String,
        /// Labels; an empty value removes one
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
    },
    /// Keep a savepoint from being deleted
    Pin {
        /// The savepoint's id
        savepoint: String,
    },
    /// Let a savepoint be deleted again
    Unpin {
        /// The savepoint's id
        savepoint: String,
    },
    /// Copy a savepoint to another place
    Export {
        /// The savepoint's id
        savepoint: String,
        /// URI of the folder to copy to
        #[arg(long, value_name = "URI")]
        target: String,
        /// canonical converts a native savepoint [default: as it is]
        #[arg(long, value_name = "FORMAT", value_parser = snapshot::format)]
        format: Option<SnapshotFormat>,
        /// The same key exports once, however often the command is repeated
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Make a snapshot that lies elsewhere, of whatever installation, a savepoint of this service
    Import {
        /// URI of the savepoint's folder or manifest
        from: String,
        /// Use it where it is instead of copying it
        #[arg(long)]
        in_place: bool,
        /// For filtering lists; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// Keep it from being deleted
        #[arg(long)]
        pin: bool,
        /// The same key imports once, however often the command is repeated
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Read a whole savepoint and compare it with what was written; waits for the result
    Verify {
        /// The savepoint's id
        savepoint: String,
        /// Longest time to wait; then the command fails with exit code 5 while the service goes on
        #[arg(long, value_name = "DURATION", default_value = "10min")]
        wait_timeout: super::units::Millis,
    },
}

/// Runs the command.
pub async fn run(args: SavepointArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let format = args.output.output;
    match args.command {
        SavepointCommand::Create { job, target, format: state_format, labels, idempotency_key, wait } => {
            let request = SavepointRequest {
                target,
                format: state_format,
                labels: snapshot::labels(&labels),
                client_key: idempotency_key,
            };
            let created = client.post_json(&["jobs", &job, "savepoints"], &request).await?;
            snapshot::finish(&client, format, created, &wait).await
        }
        SavepointCommand::List { job, labels, limit } => print_list(&client, format, job, &labels, limit).await,
        SavepointCommand::Show { savepoint } => print(&client, format, &savepoint).await,
        SavepointCommand::Delete { savepoint } => {
            client.delete(&["savepoints", &savepoint], &[]).await?;
            note(&format!("savepoint {savepoint} was deleted"));
            Ok(())
        }
        SavepointCommand::Label { savepoint, labels } => {
            let labels = labels.into_iter().map(|(k, v)| (k, Some(v).filter(|v| !v.is_empty()))).collect();
            change(&client, format, &savepoint, ChangeRequest { pinned: None, labels }).await
        }
        SavepointCommand::Pin { savepoint } => pin(&client, format, &savepoint, true).await,
        SavepointCommand::Unpin { savepoint } => pin(&client, format, &savepoint, false).await,
        SavepointCommand::Export { savepoint, target, format: state_format, idempotency_key, wait } => {
            let request = ExportRequest { target, format: state_format, client_key: idempotency_key };
            let begun = client.post_json(&["savepoints", &savepoint, "export"], &request).await?;
            finish(&client, format, begun, &wait).await
        }
        SavepointCommand::Import { from, in_place, labels, pin, idempotency_key, wait } => {
            let request = ImportRequest {
                from,
                copy: in_place.then_some(false),
                labels: snapshot::labels(&labels),
                pinned: pin.then_some(true),
                client_key: idempotency_key,
            };
            let begun = client.post_json(&["savepoints", "import"], &request).await?;
            finish(&client, format, begun, &wait).await
        }
        SavepointCommand::Verify { savepoint, wait_timeout } => {
            let begun = client.post(&["savepoints", &savepoint, "verify"]).await?;
            let ended = wait::for_operation(&client, &begun, wait_timeout).await?;
            print_operation(format, &ended)?;
            let damaged = ended.verification.map_or(0, |v| v.damaged.len());
            if damaged == 0 {
                return Ok(());
            }
            Err(Failure::new(
                Exit::Failed,
                "savepoint_damaged",
                format!("{damaged} objects of savepoint {savepoint} are not what was written"),
            ))
        }
    }
}

async fn pin(client: &Client, format: Format, savepoint: &str, pinned: bool) -> Result<(), Failure> {
    change(client, format, savepoint, ChangeRequest { pinned: Some(pinned), ..ChangeRequest::default() }).await
}

async fn change(client: &Client, format: Format, savepoint: &str, request: ChangeRequest) -> Result<(), Failure> {
    let changed: SnapshotView = client.patch_json(&["savepoints", savepoint], &request).await?;
    snapshot::print(format, &changed)
}

async fn finish(client: &Client, format: Format, begun: OperationView, args: &WaitArgs) -> Result<(), Failure> {
    let operation = if args.wait { wait::for_operation(client, &begun, args.wait_timeout).await? } else { begun };
    print_operation(format, &operation)
}

fn print_operation(format: Format, operation: &OperationView) -> Result<(), Failure> {
    show(format, operation, |o| {
        let mut rows = vec![
            ("operation", o.id.clone()),
            ("savepoint", o.savepoint_id.clone()),
            ("kind", o.kind.to_string()),
            ("status", o.status.to_string()),
            ("done", size(o.bytes_done)),
            ("started", time(o.started_ms)),
        ];
        rows.extend(o.ended_ms.map(|ms| ("duration", duration(ms - o.started_ms))));
        rows.extend(o.location.clone().map(|location| ("location", location)));
        rows.extend(o.failure.clone().map(|failure| ("failure", failure)));
        let mut text = String::new();
        if let Some(v) = &o.verification {
            rows.push(("objects", v.objects.to_string()));
            rows.push(("intact", if v.intact { "yes" } else { "no" }.to_owned()));
            let problem = |d: &crate::checkpoint::verify::Damage| {
                let problem = serde_json::to_value(d.problem).unwrap_or_default();
                vec![problem.as_str().unwrap_or_default().to_owned(), d.object.clone(), d.detail.clone()]
            };
            if !v.damaged.is_empty() {
                text = format!("\n\n{}", list(&["PROBLEM", "OBJECT", "DETAIL"], v.damaged.iter().map(problem)));
            }
        }
        record(rows) + &text
    })
}

/// A savepoint and its manifest as one object.
#[derive(serde::Serialize)]
struct Described {
    #[serde(flatten)]
    savepoint: SnapshotView,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<ManifestView>,
}

async fn print(client: &Client, format: Format, id: &str) -> Result<(), Failure> {
    let savepoint: SnapshotView = client.get(&["savepoints", id], &[]).await?;
    let mut manifest = None;
    if savepoint.status == SnapshotStatus::Completed {
        match client.get::<ManifestView>(&["savepoints", id, "manifest"], &[]).await {
            Ok(view) => manifest = Some(view),
            // The row is worth showing without it.
            Err(failure) => note(&format!("its manifest cannot be read: {failure}")),
        }
    }
    show(format, &Described { savepoint, manifest }, |d| {
        let rows = snapshot::rows(&d.savepoint);
        let contents = d.manifest.as_ref().map(contents).unwrap_or_default();
        record(rows) + &contents
    })
}

fn contents(manifest: &ManifestView) -> String {
    let settings = record([
        ("parallelism", format!("{} (max {})", manifest.parallelism, manifest.max_parallelism)),
        ("objects", format!("{} with {}", manifest.objects, size(manifest.stored_bytes))),
    ]);
    let rows = manifest.operators.iter().flat_map(|operator| {
        operator.subtasks.iter().map(|s| {
            let groups = match (s.first_key_group, s.last_key_group) {
                (Some(first), Some(last)) => format!("{first}-{last}"),
                _ => "-".to_owned(),
            };
            vec![
                operator.name.clone(),
                operator.id.clone(),
                s.subtask.to_string(),
                groups,
                s.files.to_string(),
                size(s.state_bytes),
                if s.has_operator_state { "yes" } else { "no" }.to_owned(),
            ]
        })
    });
    let header = ["OPERATOR", "ID", "SUBTASK", "KEY GROUPS", "FILES", "STATE", "OPERATOR STATE"];
    format!("\n{settings}\n\n{}", list(&header, rows))
}

async fn print_list(
    client: &Client,
    format: Format,
    job: Option<String>,
    labels: &[(String, String)],
    limit: u32,
) -> Result<(), Failure> {
    let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}:{v}")).collect();
    let (items, next_page_token) = collect(limit, async |mut query| {
        query.extend(job.clone().map(|job| ("job", job)));
        if !labels.is_empty() {
            query.push(("label", labels.join(",")));
        }
        let page: SnapshotPage = client.get(&["savepoints"], &query).await?;
        Ok((page.items, page.next_page_token))
    })
    .await?;
    note_if_cut(items.len(), next_page_token.as_ref());
    show(format, &SnapshotPage { items, next_page_token }, |page| {
        let header = ["ID", "JOB", "STATUS", "FORMAT", "PINNED", "STATE", "STARTED", "LABELS"];
        let rows = page.items.iter().map(|s| {
            let labels: Vec<String> = s.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            vec![
                s.id.clone(),
                s.job_name.clone(),
                s.status.to_string(),
                s.format.to_string(),
                if s.pinned { "yes" } else { "-" }.to_owned(),
                size(s.state_bytes),
                time(s.started_ms),
                labels.join(","),
            ]
        });
        list(&header, rows)
    })
}
