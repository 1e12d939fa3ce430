//! `holdfast job stop`.

use super::submit::label;
use crate::api::model::SnapshotView;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::Format;
use crate::cli::snapshot;
use crate::cli::wait::{self, Goal, WaitArgs};
use crate::job::StopRequest;
use crate::metadata::SnapshotFormat;

/// How to stop.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    /// The job's id or name
    job: String,
    /// Move event time to its end first, so that every open window is emitted; only for jobs that end for good
    #[arg(long)]
    drain: bool,
    /// URI of the folder to write the savepoint to [default: the service's store]
    #[arg(long, value_name = "URI")]
    target: Option<String>,
    /// How the savepoint's state is written
    #[arg(long, value_name = "FORMAT", value_parser = snapshot::format)]
    format: Option<SnapshotFormat>,
    /// Labels of the savepoint; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The same key stops the job once, however often the command is repeated
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Stops a job; with `--wait` until the savepoint is stored and the job has ended.
pub async fn run(client: &Client, format: Format, args: &StopArgs) -> Result<(), Failure> {
    let request = StopRequest {
        target: args.target.clone(),
        drain: args.drain,
        format: args.format,
        labels: snapshot::labels(&args.labels),
        client_key: args.idempotency_key.clone(),
    };
    let mut savepoint: SnapshotView = client.post_json(&["jobs", &args.job, "stop"], &request).await?;
    if args.wait.wait {
        savepoint = wait::for_snapshot(client, &savepoint, args.wait.wait_timeout).await?;
        wait::for_job(client, &savepoint.job_id, Goal::Ended, args.wait.wait_timeout).await?;
    }
    snapshot::print(format, &savepoint)
}
