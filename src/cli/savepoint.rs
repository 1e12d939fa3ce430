//! `holdfast savepoint`.

use clap::Subcommand;

use super::client::{Client, ServerArgs};
use super::failure::Failure;
use super::output::{OutputArgs, note};
use super::snapshot;
use super::wait::WaitArgs;
use crate::job::SavepointRequest;

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
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List a job's savepoints, newest first
    List {
        /// The job's id or name
        job: String,
        /// Most savepoints listed
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show a savepoint
    Show {
        /// The job's id or name
        job: String,
        /// The savepoint's id
        savepoint: String,
    },
    /// Delete a savepoint with its objects
    Delete {
        /// The job's id or name
        job: String,
        /// The savepoint's id
        savepoint: String,
    },
}

/// Runs the command.
pub async fn run(args: SavepointArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let format = args.output.output;
    match args.command {
        SavepointCommand::Create { job, target, wait } => {
            let request = SavepointRequest { target };
            let created = client.post_json(&["jobs", &job, "savepoints"], &request).await?;
            snapshot::finish(&client, format, created, &wait).await
        }
        SavepointCommand::List { job, limit } => snapshot::print_list(&client, format, &job, "savepoints", limit).await,
        SavepointCommand::Show { job, savepoint } => {
            snapshot::print(format, &client.get(&["jobs", &job, "savepoints", &savepoint], &[]).await?)
        }
        SavepointCommand::Delete { job, savepoint } => {
            client.delete(&["jobs", &job, "savepoints", &savepoint], &[]).await?;
            note(&format!("savepoint {savepoint} was deleted"));
            Ok(())
        }
    }
}
