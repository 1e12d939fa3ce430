//! The `holdfast` command: `serve` runs the service here, everything else talks to one over HTTP.
//!
//! Results go to standard output, everything else to standard error, so that `--output json` can be piped. A failure
//! prints `error[code]: detail` with the place, and exits with the code that [`failure::Exit`] documents.

#![allow(rustdoc::invalid_html_tags, reason = "doc comments are the help text, with <placeholders>")]

pub mod action;
pub mod checkpoint;
mod checkpoint_statistics;
pub mod client;
pub mod excerpt;
pub mod failure;
#[cfg(test)]
mod fixtures;
pub mod fsck;
pub mod job;
pub mod layer;
pub mod migrate;
pub mod output;
pub mod pages;
pub mod progress;
pub mod recover;
pub mod savepoint;
pub mod serve;
pub mod snapshot;
pub mod source;
pub mod sql;
pub mod units;
pub mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Exit, Failure};

/// Threads of the runtime at least: the API must answer while another request is planned.
const MIN_THREADS: usize = 2;

/// Runs Flink SQL streaming jobs in one process and does not lose their state
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    propagate_version = true,
    max_term_width = 120,
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unavailable (try again later), 6 invalid request or SQL"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(Box<serve::ServeArgs>),
    /// Submit, look at, cancel, stop and restart jobs
    Job(job::JobArgs),
    /// Snapshots that live until they are deleted
    Savepoint(savepoint::SavepointArgs),
    /// Snapshots that the service takes and retires by itself
    Checkpoint(checkpoint::CheckpointArgs),
    /// Compare the store with the database, and repair on request
    Fsck(fsck::FsckArgs),
    /// Check SQL, run ad-hoc queries
    Sql(sql::SqlArgs),
    /// Print the OpenAPI description of the REST API
    Openapi,
    /// Bring the database's schema to this version and exit
    Migrate(migrate::MigrateArgs),
    /// Rebuild the database's rows of jobs and snapshots from the store alone
    Recover(recover::RecoverArgs),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    // Prints help, version and usage errors itself; the latter with exit code 2.
    let cli = Cli::parse();
    install_crypto();
    let failure = match runtime().and_then(|runtime| runtime.block_on(execute(cli.command))) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(failure) => failure,
    };
    if !failure.is_broken_pipe() {
        output::note(&failure.to_string());
    }
    failure.exit.into()
}

async fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(*args).await,
        Command::Job(args) => job::run(args).await,
        Command::Savepoint(args) => savepoint::run(args).await,
        Command::Checkpoint(args) => checkpoint::run(args).await,
        Command::Fsck(args) => fsck::run(args).await,
        Command::Sql(args) => sql::run(args).await,
        Command::Openapi => output::print(crate::api::openapi_json().trim_end()),
        Command::Migrate(args) => migrate::run(args).await,
        Command::Recover(args) => recover::run(args).await,
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let threads = std::thread::available_parallelism().map_or(MIN_THREADS, |n| n.get().max(MIN_THREADS));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|e| {
            Failure::new(Exit::Failed, "no_thread", "the threads of the service cannot be started").because(&e)
        })
}

/// TLS of every connection out (store, database, service) uses ring; nothing else is compiled in.
fn install_crypto() {
    // An error only says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn command_lines_are_understood() {
        let check = |line: &str, ok: bool| {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert_eq!(parsed.is_ok(), ok, "{line}: {:?}", parsed.err().map(|e| e.to_string()));
        };
        check("holdfast serve", true);
        check("holdfast serve --listen 0.0.0.0:80 --store s3://b/p --job-memory 1GB --log-format json", true);
        check("holdfast serve --listen here", false);
        check("holdfast serve --job-memory much", false);
        check("holdfast job submit -f -", true);
        check(
            "holdfast job submit -f a.sql --name n --parallelism 2 --max-parallelism 64 --checkpoint-interval 5s",
            true,
        );
        check("holdfast job submit -f a.sql --restore-from latest --allow-non-restored-state --wait", true);
        check("holdfast job submit -f a.sql --allow-non-restored-state", false);
        check("holdfast job submit -f a.sql --label team=a --label env=b --dry-run --idempotency-key k", true);
        check("holdfast job submit -f a.sql --label team", false);
        check("holdfast job submit -f a.sql --on-corrupt previous", true);
        check("holdfast job submit -f a.sql --on-corrupt ignore", false);
        check("holdfast job submit", false);
        check("holdfast job list --status RUNNING,FAILED --output json --server http://h:1", true);
        check("holdfast job --server http://h:1 -o json list", true);
        check("holdfast job list --status BUSY", false);
        check("holdfast job show x", true);
        check("holdfast job cancel x --wait --wait-timeout 5s", true);
        check("holdfast job stop x --drain --target file:///t --wait", true);
        check("holdfast job delete x --delete-savepoints", true);
        check("holdfast job restart x --wait", true);
        check("holdfast job durability x -o json", true);
        check("holdfast job drill x --snapshot 01 --wait-timeout 5min", true);
        check("holdfast job drill", false);
        check("holdfast job restart x --from 2026-01-31T10:00:00Z --force", true);
        check("holdfast job upgrade x -f a.sql --dry-run", true);
        check("holdfast job upgrade x --parallelism 3 --limit 30s --allow-non-restored-state --wait", true);
        check("holdfast job upgrade", false);
        check("holdfast job upgrades x", true);
        check("holdfast job restore abc --claim --force", true);
        check("holdfast job restore abc", true);
        check("holdfast job restore abc -f a.sql --name n --allow-non-restored-state", true);
        check("holdfast job restore abc -f a.sql --job x", false);
        check("holdfast savepoint create x --target file:///t --wait", true);
        check("holdfast savepoint create x --format canonical --label a=b --idempotency-key k", true);
        check("holdfast savepoint create x --format other", false);
        check("holdfast savepoint list", true);
        check("holdfast savepoint list x --label a=b --limit 3", true);
        check("holdfast savepoint show x", true);
        check("holdfast savepoint delete x", true);
        check("holdfast savepoint label x a=b c=", true);
        check("holdfast savepoint label x", false);
        check("holdfast savepoint pin x", true);
        check("holdfast savepoint unpin x", true);
        check("holdfast savepoint export x --target file:///t --format canonical --wait", true);
        check("holdfast savepoint export x", false);
        check("holdfast savepoint import file:///t --in-place --pin --label a=b --wait", true);
        check("holdfast savepoint verify x", true);
        check("holdfast job stop x --format canonical --label a=b --idempotency-key k", true);
        check("holdfast checkpoint list x --limit 3", true);
        check("holdfast checkpoint list x --limit 0", false);
        check("holdfast checkpoint trigger x --wait", true);
        check("holdfast fsck --repair --deep --min-age 5min --server http://h:1 -o json", true);
        check("holdfast fsck --min-age soon", false);
        check("holdfast sql check -", true);
        check("holdfast sql check a.sql --output csv", false);
        check("holdfast sql run a.sql --changelog --limit 5 --parallelism 2 --output csv --timeout 1min", true);
        check("holdfast sql run", false);
        check("holdfast openapi", true);
        check("holdfast recover --scan s3://b/p --start --database-url postgres://h/d -o json", true);
        check("holdfast recover", false);
        check("holdfast migrate --database-url postgres://h/d", true);
        check("holdfast", false);
        check("holdfast frobnicate", false);
    }

    #[test]
    fn secrets_in_the_environment_are_not_in_the_help() {
        for (command, flag) in [("serve", "database_url"), ("migrate", "database_url"), ("job", "server")] {
            let all = Cli::command();
            let command = all.find_subcommand(command).unwrap();
            let arg = command.get_arguments().find(|a| a.get_id() == flag).unwrap();
            assert!(arg.is_hide_env_values_set(), "{flag}");
        }
    }
}
