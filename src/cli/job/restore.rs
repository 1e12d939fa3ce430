//! `holdfast job restore`: a submit that starts from a snapshot. Without a file, the snapshot's own job is submitted
//! again: its SQL, name and settings, unless flags say otherwise.

use super::submit::{JobOptions, request, submit};
use crate::api::model::{CheckpointingView, JobView, SnapshotView};
use crate::api::savepoints::show::ManifestView;
use crate::cli::client::Client;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Format;
use crate::cli::source::Source;
use crate::id::{JobId, SnapshotId};
use crate::job::SubmitRequest;
use crate::job::settings::{CheckpointingRequest, RestoreRequest};
use crate::metadata::ClaimMode;

/// A snapshot and what to run from it.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// A snapshot's id, its URI, 'latest' (of the newest job with the same name), or a time such as 2026-01-31T10:00:00Z
    snapshot: String,
    /// Flink SQL script; '-' reads standard input [default: the SQL of the snapshot's job]
    #[arg(long, short, value_name = "FILE")]
    file: Option<String>,
    /// The job whose SQL, name and settings are used again, if they cannot be told from the snapshot
    #[arg(long, value_name = "JOB", conflicts_with = "file")]
    job: Option<String>,
    /// Drop state that no operator of the new plan claims
    #[arg(long)]
    allow_non_restored_state: bool,
    /// The snapshot becomes the new job's, which deletes it when it is subsumed (Flink's claim mode CLAIM)
    #[arg(long)]
    claim: bool,
    /// Restore even a savepoint that a job was drained with: rows read later are then late
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    options: JobOptions,
}

/// Submits a job that starts from a snapshot.
pub async fn run(client: &Client, format: Format, args: &RestoreArgs) -> Result<(), Failure> {
    let restore = RestoreRequest {
        allow_non_restored_state: args.allow_non_restored_state,
        claim_mode: args.claim.then_some(ClaimMode::Claim),
        force: args.force,
        ..RestoreRequest::new(args.snapshot.clone())
    };
    if let Some(file) = &args.file {
        let source = Source::read(file)?;
        let request = request(&source, &args.options, Some(restore));
        return submit(client, format, &source, &request, &args.options).await;
    }
    if let Some(manifest) = from_manifest(client, args).await? {
        let source = Source { name: format!("<the SQL of savepoint {}>", args.snapshot), text: manifest.sql.clone() };
        let mut request = request(&source, &args.options, Some(restore));
        request.name.get_or_insert(manifest.job_name);
        request.parallelism.get_or_insert(manifest.parallelism);
        return submit(client, format, &source, &request, &args.options).await;
    }
    let job = original(client, args).await?;
    let source = Source { name: format!("<the SQL of job {}>", job.id), text: job.sql.clone() };
    let request = again(request(&source, &args.options, Some(restore)), &job);
    submit(client, format, &source, &request, &args.options).await
}

/// Fills what the flags leave open from the job that is submitted again.
fn again(request: SubmitRequest, job: &JobView) -> SubmitRequest {
    let interval_ms = request.checkpointing.as_ref().and_then(|c| c.interval_ms);
    SubmitRequest {
        name: request.name.or_else(|| Some(job.name.clone())),
        parallelism: request.parallelism.or(Some(job.parallelism)),
        // Left open, it is the snapshot's.
        max_parallelism: request.max_parallelism,
        checkpointing: Some(checkpointing(&job.checkpointing, interval_ms)),
        restart: request.restart.or_else(|| Some(job.restart.clone())),
        labels: request.labels.or_else(|| Some(job.labels.clone())),
        on_corrupt: request.on_corrupt.or(Some(job.on_corrupt)),
        ..request
    }
}

fn checkpointing(c: &CheckpointingView, interval_ms: Option<u64>) -> CheckpointingRequest {
    CheckpointingRequest {
        interval_ms: interval_ms.or(Some(c.interval_ms)),
        min_pause_ms: Some(c.min_pause_ms),
        timeout_ms: Some(c.timeout_ms),
        max_concurrent_checkpoints: Some(c.max_concurrent_checkpoints),
        tolerable_failed_checkpoints: c.tolerable_failed_checkpoints,
        retained: Some(c.retained),
        on_cancel: Some(c.on_cancel),
        mode: Some(c.mode),
        incremental: Some(c.incremental),
        data_inline_threshold_bytes: Some(c.data_inline_threshold_bytes),
        transfer_threads: Some(c.transfer_threads),
        stuck_after_ms: Some(c.stuck_after_ms),
    }
}

/// What a snapshot's text tells about its job.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// Its name is the job's: `latest` with `--name`.
    Job(String),
    /// The job with this savepoint has to be found.
    Savepoint(SnapshotId),
    Unknown,
}

/// Keys are `jobs/JOB/chk-…/_metadata` and `savepoints/ID/_metadata`.
fn origin(snapshot: &str, name: Option<&str>) -> Origin {
    if snapshot == "latest" {
        return name.map_or(Origin::Unknown, |name| Origin::Job(name.to_owned()));
    }
    if let Ok(id) = snapshot.parse() {
        return Origin::Savepoint(id);
    }
    // From the end: the store's own folders may have any names.
    let mut parts: Vec<&str> = snapshot.trim_end_matches('/').split('/').collect();
    parts.pop_if(|last| *last == "_metadata");
    match parts.as_slice() {
        [.., "jobs", job, _] if job.parse::<JobId>().is_ok() => Origin::Job((*job).to_owned()),
        [.., "savepoints", id] => id.parse().map_or(Origin::Unknown, Origin::Savepoint),
        _ => Origin::Unknown,
    }
}

async fn original(client: &Client, args: &RestoreArgs) -> Result<JobView, Failure> {
    let origin = match &args.job {
        Some(job) => Origin::Job(job.clone()),
        None => origin(&args.snapshot, args.options.name.as_deref()),
    };
    match origin {
        Origin::Job(job) => client.get(&["jobs", &job], &[]).await,
        Origin::Savepoint(id) => match job_of(client, &id.to_string()).await? {
            Some(job) => Ok(job),
            None => Err(Failure::new(
                Exit::NotFound,
                "snapshot_not_found",
                format!("no job has the savepoint {id}; if it is a checkpoint's id, name its job with --job"),
            )),
        },
        Origin::Unknown => Err(Failure::usage(
            "unknown_snapshot_job",
            format!(
                "the job of '{}' cannot be told from it; give its SQL with --file or name the job with --job",
                args.snapshot
            ),
        )),
    }
}

/// The job that took this savepoint, if the service knows both.
async fn job_of(client: &Client, savepoint: &str) -> Result<Option<JobView>, Failure> {
    let found = async {
        let savepoint: SnapshotView = client.get(&["savepoints", savepoint], &[]).await?;
        client.get(&["jobs", &savepoint.job_id], &[]).await
    };
    match found.await {
        Ok(job) => Ok(Some(job)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What to submit to run the job of an imported savepoint, or one that outlived its job: what its manifest tells.
async fn from_manifest(client: &Client, args: &RestoreArgs) -> Result<Option<ManifestView>, Failure> {
    let (None, Origin::Savepoint(id)) = (&args.job, origin(&args.snapshot, args.options.name.as_deref())) else {
        return Ok(None);
    };
    if job_of(client, &id.to_string()).await?.is_some() {
        return Ok(None);
    }
    match client.get(&["savepoints", &id.to_string(), "manifest"], &[]).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::super::submit::tests::options;
    use super::*;
    use crate::cli::fixtures::job;
    use crate::metadata::JobStatus;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_snapshot_tells_its_job_where_it_can() {
        let check = |text: &str, expected: Origin| assert_eq!(origin(text, None), expected, "{text}");
        let savepoint = || Origin::Savepoint(ID.parse().unwrap());
        check(ID, savepoint());
        check(&format!("s3://b/p/savepoints/{ID}/_metadata"), savepoint());
        check(&format!("file:///s/savepoints/{ID}/"), savepoint());
        check(&format!("s3://b/jobs/x/jobs/{ID}/chk-7-1/_metadata"), Origin::Job(ID.into()));
        check("s3://b/elsewhere/_metadata", Origin::Unknown);
        check("latest", Origin::Unknown);
        assert_eq!(origin("latest", Some("n")), Origin::Job("n".into()));
    }

    #[test]
    fn the_job_is_submitted_as_it_was_unless_flags_say_otherwise() {
        let old = job(JobStatus::Canceled);
        let source = Source { name: String::new(), text: old.sql.clone() };
        let same = again(request(&source, &options(&[]), None), &old);
        assert_eq!((same.name.as_deref(), same.parallelism, same.max_parallelism), (Some("demo"), Some(2), None));
        assert_eq!(same.checkpointing.unwrap().interval_ms, Some(5000));
        assert_eq!((same.restart, same.labels), (Some(old.restart.clone()), Some(old.labels.clone())));
        let flags = ["--name", "n", "--parallelism", "4", "--checkpoint-interval", "1s", "--label", "x=y"];
        let other = again(request(&source, &options(&flags), None), &old);
        assert_eq!((other.name.as_deref(), other.parallelism), (Some("n"), Some(4)));
        let checkpointing = other.checkpointing.unwrap();
        assert_eq!((checkpointing.interval_ms, checkpointing.retained), (Some(1000), Some(3)));
        assert_eq!(other.labels.unwrap().into_iter().collect::<Vec<_>>(), [("x".to_owned(), "y".to_owned())]);
    }
}
