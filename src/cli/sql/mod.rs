//! `holdfast sql`.

mod check;
mod csv;
mod fold;
mod lines;
mod run;

use clap::Subcommand;

use super::client::{Client, ServerArgs};
use super::failure::Failure;

/// `holdfast sql …`
#[derive(Debug, clap::Args)]
pub struct SqlArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: SqlCommand,
}

#[derive(Debug, Subcommand)]
enum SqlCommand {
    /// Parse and plan a script; create nothing
    Check(check::CheckArgs),
    /// Run a script that ends with a SELECT and print its result
    Run(run::RunArgs),
}

/// Runs the command.
pub async fn run(args: SqlArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    match args.command {
        SqlCommand::Check(args) => check::run(&client, &args).await,
        SqlCommand::Run(args) => run::run(&client, &args).await,
    }
}
