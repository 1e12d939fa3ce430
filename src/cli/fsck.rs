//! `holdfast fsck`.

use super::action;
use super::client::{Client, ServerArgs};
use super::failure::{Exit, Failure};
use super::output::{OutputArgs, list, note, show, size};
use super::units::Millis;
use crate::api::actions::ActionView;
use crate::checkpoint::fsck::FsckReport;
use crate::job::FsckRequest;

/// `holdfast fsck`
#[derive(Debug, clap::Args)]
pub struct FsckArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Repair what is found; without it nothing is changed
    #[arg(long)]
    repair: bool,
    /// Read every object and compare its hash
    #[arg(long)]
    deep: bool,
    /// Leave unreferenced objects alone that are younger [default: 1h; 24h for jobs that the database does not know]
    #[arg(long, value_name = "DURATION")]
    min_age: Option<Millis>,
    /// Longest time to wait; then the command fails with exit code 5 while the service goes on
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    wait_timeout: Millis,
}

/// Runs the command; exit code 1 if problems are left.
pub async fn run(args: FsckArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let request = FsckRequest { repair: args.repair, deep: args.deep, min_age_ms: args.min_age.map(|m| m.0) };
    let started: ActionView = client.post_json(&["fsck"], &request).await?;
    let ended = action::wait(&client, &started, "comparing the store with the database", args.wait_timeout).await?;
    let Some(report) = ended.fsck else {
        return Err(Failure::new(Exit::Failed, "unexpected_answer", "the service answered no report"));
    };
    show(args.output.output, &report, table)?;
    match report.left {
        0 => Ok(()),
        left => {
            let advice = if args.repair { "look at them" } else { "try again with --repair" };
            Err(Failure::new(Exit::Failed, "fsck_problems", format!("{left} problems are left; {advice}")))
        }
    }
}

fn table(report: &FsckReport) -> String {
    note(&format!(
        "{} objects ({}), {} snapshots, {} of them completed{}",
        report.objects,
        size(report.object_bytes),
        report.snapshots,
        report.completed_snapshots,
        if report.deep { "; every object was read" } else { "" }
    ));
    if report.problems.is_empty() {
        return "no problems".to_owned();
    }
    let header = ["PROBLEM", "REPAIRED", "OBJECT", "DETAIL"];
    list(
        &header,
        report.problems.iter().map(|p| {
            let kind =
                serde_json::to_value(p.kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
            let object = p.object.clone().or_else(|| p.job_id.map(|id| id.to_string())).unwrap_or_default();
            vec![kind, if p.repaired { "yes" } else { "no" }.to_owned(), object, p.detail.clone()]
        }),
    )
}
