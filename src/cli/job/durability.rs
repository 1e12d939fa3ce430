//! `holdfast job durability` and `holdfast job drill`.

use crate::api::actions::ActionView;
use crate::cli::action;
use crate::cli::client::Client;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Format, duration, record, show, size, warn};
use crate::cli::units::Millis;
use crate::job::drill::{DrillReport, DrillRequest};
use crate::job::durability::{Durability, Place, RecoversFrom};

/// How to drill.
#[derive(Debug, clap::Args)]
pub struct DrillArgs {
    /// The job's id or name
    job: String,
    /// A snapshot's id [default: the one that the job would go on from now]
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Longest time to wait; then the command fails with exit code 5 while the service goes on
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    wait_timeout: Millis,
}

/// Prints what a crash would cost; the risks go to standard error.
pub async fn show_durability(client: &Client, format: Format, job: &str) -> Result<(), Failure> {
    let durability: Durability = client.get(&["jobs", job, "durability"], &[]).await?;
    if format == Format::Table {
        warn(&durability.risks);
    }
    show(format, &durability, durability_table)
}

fn durability_table(d: &Durability) -> String {
    let unknown = || "not known".to_owned();
    let ms = |ms: u64| duration(i64::try_from(ms).unwrap_or(i64::MAX));
    let from = match (&d.recovery_point, d.recovers_from) {
        (Some(p), _) => {
            format!("{} {} ({} old, {})", p.kind, p.checkpoint_id, duration(p.age_ms), size(p.state_bytes))
        }
        (None, RecoversFrom::SubmittedSnapshot) => "the snapshot that it was submitted with".to_owned(),
        (None, _) => "the beginning".to_owned(),
    };
    let speed = |rate: Option<u64>| rate.map_or_else(|| "not measured yet".to_owned(), |r| format!("{}/s", size(r)));
    let mut rows = vec![
        ("job", d.job_id.clone()),
        ("status", d.status.to_string()),
        ("a crash goes on from", from),
        ("reads again", d.replay_records.map_or_else(unknown, |n| format!("{n} records"))),
        ("of the last", d.replay_input_ms.map_or_else(unknown, duration)),
        ("restore takes about", d.restore_estimate_ms.map_or_else(unknown, ms)),
        ("download", speed(d.download_bytes_per_s)),
        ("upload", speed(d.upload_bytes_per_s)),
        ("working directory", place(&d.work_dir)),
        ("store", place(&d.store)),
    ];
    rows.extend(d.last_drill.as_ref().map(|drill| {
        let took = drill.total_ms.map_or_else(String::new, |t| format!(" in {}", ms(t)));
        ("last drill", format!("{}{took}", drill.status))
    }));
    record(rows)
}

fn place(place: &Place) -> String {
    match &place.device {
        Some(d) => format!("{} on {} ({}, device {})", place.location, d.mount_point, d.file_system, d.number),
        None => place.location.clone(),
    }
}

/// Drills and prints the report.
pub async fn drill(client: &Client, format: Format, args: &DrillArgs) -> Result<(), Failure> {
    let request = DrillRequest { snapshot: args.snapshot.clone() };
    let started: ActionView = client.post_json(&["jobs", &args.job, "drill"], &request).await?;
    let ended = action::wait(client, &started, "the drill", args.wait_timeout).await?;
    let Some(report) = ended.drill else {
        return Err(Failure::new(Exit::Failed, "unexpected_answer", "the service answered no report"));
    };
    show(format, &report, drill_table)
}

fn drill_table(r: &DrillReport) -> String {
    let ms = |ms: u64| duration(i64::try_from(ms).unwrap_or(i64::MAX));
    let mut rows = vec![
        ("snapshot", format!("{} {} ({})", r.kind, r.checkpoint_id, r.snapshot_id)),
        ("location", r.location.clone()),
        ("state", format!("{} in {} files; every hash is right", size(r.state_bytes), r.files)),
        ("download", ms(r.download_ms)),
        ("open and read", ms(r.open_ms)),
        ("all of it", ms(r.total_ms)),
        ("keys", r.keys.to_string()),
    ];
    for operator in r.operators.iter().filter(|o| !o.tables.is_empty()) {
        let tables: Vec<String> = operator.tables.iter().map(|t| format!("{} {}", t.table, t.keys)).collect();
        rows.push(("operator", format!("{}: {}", operator.name, tables.join(", "))));
    }
    record(rows)
}
