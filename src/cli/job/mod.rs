//! `holdfast job`.

mod durability;
mod list;
mod restore;
mod stop;
pub mod submit;
mod upgrade;
mod view;

use clap::Subcommand;

use super::client::{Client, ServerArgs};
use super::failure::Failure;
use super::output::{Format, OutputArgs, note};
use super::wait::{self, Goal, WaitArgs};
use crate::api::model::JobView;
use crate::job::RestartRequest;

/// `holdfast job …`
#[derive(Debug, clap::Args)]
pub struct JobArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    /// Submit a job; it starts at once
    Submit(Box<submit::SubmitArgs>),
    /// List jobs, newest first
    List(list::ListArgs),
    /// Show a job
    Show {
        /// The job's id or name
        job: String,
    },
    /// Show what a crash of a job would cost now, and what is risky
    Durability {
        /// The job's id or name
        job: String,
    },
    /// Restore a snapshot beside the running job, verify all of it, and say how long it took
    Drill(durability::DrillArgs),
    /// Cancel a job; its checkpoints are kept or deleted as its settings say
    Cancel {
        /// The job's id or name
        job: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Take a savepoint, then end the job
    Stop(stop::StopArgs),
    /// Delete a job that has ended, with its history and checkpoints
    Delete {
        /// The job's id or name
        job: String,
        /// Delete its savepoints too
        #[arg(long)]
        delete_savepoints: bool,
    },
    /// Start a job that has ended again, from its newest snapshot
    Restart {
        /// The job's id or name
        job: String,
        /// Go on from this snapshot of the job instead: an id, a URI, or a time
        #[arg(long, value_name = "SNAPSHOT")]
        from: Option<String>,
        /// Go on even if the job was drained: rows read later are then late
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Change the SQL text or settings of a running job; the old version comes back if the new one does not work
    Upgrade(Box<upgrade::UpgradeArgs>),
    /// List a job's upgrades, newest first
    Upgrades {
        /// The job's id or name
        job: String,
    },
    /// Submit a job that starts from a snapshot
    Restore(Box<restore::RestoreArgs>),
}

/// Runs the command.
pub async fn run(args: JobArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let format = args.output.output;
    match args.command {
        JobCommand::Submit(args) => submit::run(&client, format, &args).await,
        JobCommand::Restore(args) => restore::run(&client, format, &args).await,
        JobCommand::Upgrade(args) => upgrade::run(&client, format, &args).await,
        JobCommand::Upgrades { job } => upgrade::print_list(&client, format, &job).await,
        JobCommand::List(args) => list::run(&client, format, &args).await,
        JobCommand::Show { job } => view::print(format, &client.get(&["jobs", &job], &[]).await?),
        JobCommand::Durability { job } => durability::show_durability(&client, format, &job).await,
        JobCommand::Drill(args) => durability::drill(&client, format, &args).await,
        JobCommand::Stop(args) => stop::run(&client, format, &args).await,
        JobCommand::Cancel { job, wait } => {
            let job = client.post(&["jobs", &job, "cancel"]).await?;
            finish(&client, format, job, Goal::Ended, &wait).await
        }
        JobCommand::Restart { job, from, force, wait } => {
            let request = RestartRequest { from: from.map(Into::into), force, ..RestartRequest::default() };
            let job = client.post_json(&["jobs", &job, "restart"], &request).await?;
            finish(&client, format, job, Goal::Running, &wait).await
        }
        JobCommand::Delete { job, delete_savepoints } => {
            let query = [("delete_savepoints", delete_savepoints.to_string())];
            client.delete(&["jobs", &job], &query).await?;
            note(&format!("job {job} was deleted"));
            Ok(())
        }
    }
}

/// Waits for a job that was just changed, if the user wants so, and prints it.
async fn finish(client: &Client, format: Format, job: JobView, goal: Goal, args: &WaitArgs) -> Result<(), Failure> {
    let job = if args.wait { wait::for_job(client, &job.id, goal, args.wait_timeout).await? } else { job };
    view::print(format, &job)
}
