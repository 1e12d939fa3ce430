//! `holdfast job submit`.

use crate::api::jobs::submit::DryRunView;
use crate::api::model::JobView;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, record, show, warn};
use crate::cli::source::Source;
use crate::cli::units::Millis;
use crate::cli::wait::{Goal, WaitArgs};
use crate::job::SubmitRequest;
use crate::job::settings::{CheckpointingRequest, RestoreRequest};
use crate::metadata::OnCorrupt;

/// A job to submit.
#[derive(Debug, clap::Args)]
pub struct SubmitArgs {
    /// Flink SQL script: CREATE TABLE …; INSERT INTO …; '-' reads standard input
    #[arg(long, short, value_name = "FILE")]
    file: String,
    /// Start from a snapshot: 'latest' of the newest job with the same name, a time, a snapshot's id, or its URI
    #[arg(long, value_name = "SNAPSHOT")]
    restore_from: Option<String>,
    /// Drop state that no operator of the new plan claims
    #[arg(long, requires = "restore_from")]
    allow_non_restored_state: bool,
    #[command(flatten)]
    options: JobOptions,
}

/// What `submit` and `restore` have in common.
#[derive(Debug, Clone, clap::Args)]
pub struct JobOptions {
    /// Name, unique among jobs that live [default: SET 'pipeline.name', else the sinks' names]
    #[arg(long)]
    pub name: Option<String>,
    /// Subtasks per vertex
    #[arg(long, value_name = "N")]
    pub parallelism: Option<u32>,
    /// Key groups: the most subtasks that the job's state can ever be spread over
    #[arg(long, value_name = "N")]
    pub max_parallelism: Option<u32>,
    /// Time between checkpoints, such as 10s; 0 = off
    #[arg(long, value_name = "DURATION")]
    pub checkpoint_interval: Option<Millis>,
    /// What to do when the newest snapshot cannot be read: fail, or go on from the previous one [default: fail]
    #[arg(long, value_name = "WHAT", value_parser = on_corrupt)]
    pub on_corrupt: Option<OnCorrupt>,
    /// For filtering lists; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Plan and check only; nothing is created
    #[arg(long)]
    pub dry_run: bool,
    /// The same key with the same request creates one job, however often it is sent
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    #[command(flatten)]
    pub wait: WaitArgs,
}

fn on_corrupt(text: &str) -> Result<OnCorrupt, String> {
    text.parse().map_err(|e: crate::error::Error| e.message)
}

/// Splits `key=value`; the value may contain more equals signs.
pub fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not of the form key=value")),
    }
}

/// Submits a job.
pub async fn run(client: &Client, format: Format, args: &SubmitArgs) -> Result<(), Failure> {
    let source = Source::read(&args.file)?;
    let restore = args.restore_from.clone().map(|from| RestoreRequest {
        allow_non_restored_state: args.allow_non_restored_state,
        ..RestoreRequest::new(from)
    });
    let request = request(&source, &args.options, restore);
    submit(client, format, &source, &request, &args.options).await
}

/// The body of the request.
pub fn request(source: &Source, options: &JobOptions, restore: Option<RestoreRequest>) -> SubmitRequest {
    let checkpointing = options
        .checkpoint_interval
        .map(|interval| CheckpointingRequest { interval_ms: Some(interval.0), ..CheckpointingRequest::default() });
    let labels = (!options.labels.is_empty()).then(|| options.labels.iter().cloned().collect());
    SubmitRequest {
        name: options.name.clone(),
        sql: source.text.clone(),
        parallelism: options.parallelism,
        max_parallelism: options.max_parallelism,
        checkpointing,
        restart: None,
        restore,
        on_corrupt: options.on_corrupt,
        labels,
    }
}

/// Sends it; waits until the job runs, if the user wants so.
pub async fn submit(
    client: &Client,
    format: Format,
    source: &Source,
    request: &SubmitRequest,
    options: &JobOptions,
) -> Result<(), Failure> {
    let key = options.idempotency_key.as_deref();
    if options.dry_run {
        let view: DryRunView = client.submit(request, true, key).await.map_err(|e| source.explain(e))?;
        if format == Format::Table {
            warn(&view.warnings);
        }
        return show(format, &view, dry_run);
    }
    let job: JobView = client.submit(request, false, key).await.map_err(|e| source.explain(e))?;
    super::finish(client, format, job, Goal::Running, &options.wait).await
}

fn dry_run(view: &DryRunView) -> String {
    let settings = record([
        ("name", view.name.clone()),
        ("parallelism", format!("{} (max {})", view.parallelism, view.max_parallelism)),
        ("checkpoint interval", format!("{} ms", view.checkpointing.interval_ms)),
    ]);
    format!("{settings}\n\n{}", view.plan.text.trim_end())
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        options: JobOptions,
    }

    /// The options of a command line.
    pub fn options(arguments: &[&str]) -> JobOptions {
        Flags::try_parse_from(std::iter::once(&"submit").chain(arguments)).unwrap().options
    }

    #[test]
    fn requests_say_only_what_the_user_said() {
        let check = |arguments: &[&str], expected: serde_json::Value| {
            let source = Source { name: "f".into(), text: "X".into() };
            assert_eq!(serde_json::to_value(request(&source, &options(arguments), None)).unwrap(), expected);
        };
        check(&[], serde_json::json!({"sql": "X"}));
        check(
            &["--name", "n", "--checkpoint-interval", "5s", "--label", "a=b=c", "--label", "d="],
            serde_json::json!({
                "sql": "X", "name": "n", "checkpointing": {"interval_ms": 5000}, "labels": {"a": "b=c", "d": ""}
            }),
        );
        check(
            &["--parallelism", "2", "--max-parallelism", "64"],
            serde_json::json!({"sql": "X", "parallelism": 2, "max_parallelism": 64}),
        );
    }

    #[test]
    fn labels_need_a_key() {
        assert!(label("x").is_err());
        assert!(label("=x").is_err());
        assert_eq!(label("k=").unwrap(), ("k".into(), String::new()));
    }
}
