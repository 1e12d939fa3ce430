//! `holdfast checkpoint`.

use clap::Subcommand;

use super::checkpoint_statistics;
use super::client::{Client, ServerArgs};
use super::failure::Failure;
use super::output::OutputArgs;
use super::snapshot;
use super::wait::WaitArgs;

/// `holdfast checkpoint …`
#[derive(Debug, clap::Args)]
pub struct CheckpointArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// List a job's checkpoints, newest first
    List {
        /// The job's id or name
        job: String,
        /// Most checkpoints listed
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show a checkpoint with the parts of its subtasks, also one that is retired
    Show {
        /// The job's id or name
        job: String,
        /// The checkpoint's number
        number: u64,
    },
    /// Show counts, distributions and the newest of a job's checkpoints
    Statistics {
        /// The job's id or name
        job: String,
        /// Most checkpoints listed
        #[arg(long, value_name = "N", default_value_t = 20)]
        history: u32,
    },
    /// Take a checkpoint now
    Trigger {
        /// The job's id or name
        job: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// Runs the command.
pub async fn run(args: CheckpointArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let format = args.output.output;
    match args.command {
        CheckpointCommand::List { job, limit } => {
            snapshot::print_list(&client, format, &job, "checkpoints", limit).await
        }
        CheckpointCommand::Show { job, number } => {
            let details = client.get(&["jobs", &job, "checkpoints", &number.to_string()], &[]).await?;
            checkpoint_statistics::print_details(format, &details)
        }
        CheckpointCommand::Statistics { job, history } => {
            let query = [("history", history.to_string())];
            let statistics = client.get(&["jobs", &job, "checkpoints", "statistics"], &query).await?;
            checkpoint_statistics::print_statistics(format, &statistics)
        }
        CheckpointCommand::Trigger { job, wait } => {
            let triggered = client.post(&["jobs", &job, "checkpoints"]).await?;
            snapshot::finish(&client, format, triggered, &wait).await
        }
    }
}
