//! `holdfast job upgrade` and `holdfast job upgrades`.

use crate::api::jobs::upgrade::{UpgradeDryRunView, UpgradeList, UpgradeView};
use crate::cli::client::Client;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Format, list, record, show, time, warn};
use crate::cli::source::Source;
use crate::cli::units::Millis;
use crate::cli::wait::{self, Step, WaitArgs};
use crate::job::UpgradeRequest;
use crate::job::settings::CheckpointingRequest;
use crate::metadata::{OperatorChange, UpgradeStatus};

/// What to upgrade a job to.
#[derive(Debug, clap::Args)]
pub struct UpgradeArgs {
    /// The job's id or name
    job: String,
    /// The new Flink SQL script; '-' reads standard input [default: the job's own, to change settings only]
    #[arg(long, short, value_name = "FILE")]
    file: Option<String>,
    /// Subtasks per vertex
    #[arg(long, value_name = "N")]
    parallelism: Option<u32>,
    /// Time between checkpoints, such as 10s; 0 = off
    #[arg(long, value_name = "DURATION")]
    checkpoint_interval: Option<Millis>,
    /// Drop state that no operator of the new plan claims
    #[arg(long)]
    allow_non_restored_state: bool,
    /// Time after which the old version comes back if the new one has completed no checkpoint [default: 5min]
    #[arg(long, value_name = "DURATION")]
    limit: Option<Millis>,
    /// Say what would happen to each operator's state; nothing is changed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Upgrades a job; with `--wait` until the new version has a checkpoint, or the old one is back.
pub async fn run(client: &Client, format: Format, args: &UpgradeArgs) -> Result<(), Failure> {
    let source = args.file.as_deref().map(Source::read).transpose()?;
    let explain = |e: Failure| match &source {
        Some(source) => source.explain(e),
        None => e,
    };
    let request = UpgradeRequest {
        sql: source.as_ref().map(|s| s.text.clone()),
        parallelism: args.parallelism,
        checkpointing: args
            .checkpoint_interval
            .map(|i| CheckpointingRequest { interval_ms: Some(i.0), ..CheckpointingRequest::default() }),
        allow_non_restored_state: args.allow_non_restored_state,
        limit_ms: args.limit.map(|l| l.0),
        ..UpgradeRequest::default()
    };
    let path = ["jobs", &args.job, "upgrade"];
    if args.dry_run {
        let query = [("dry_run", "true".to_owned())];
        let view: UpgradeDryRunView = client.post_query(&path, &query, &request).await.map_err(explain)?;
        if format == Format::Table {
            warn(&view.warnings);
        }
        return show(format, &view, dry_run);
    }
    let mut upgrade: UpgradeView = client.post_json(&path, &request).await.map_err(explain)?;
    if args.wait.wait {
        let path = ["jobs", &upgrade.job_id, "upgrades", &upgrade.id];
        let what = format!("upgrading to version {}", upgrade.to_version);
        upgrade = wait::for_resource(client, &path, &what, args.wait.wait_timeout, step).await?;
    }
    show(format, &upgrade, table)
}

/// Prints a job's upgrades, newest first.
pub async fn print_list(client: &Client, format: Format, job: &str) -> Result<(), Failure> {
    let all: UpgradeList = client.get(&["jobs", job, "upgrades"], &[]).await?;
    show(format, &all, |all| {
        let header = ["ID", "FROM", "TO", "STATUS", "CREATED", "FAILURE"];
        let row = |u: &UpgradeView| {
            let failure = u.failure.clone().unwrap_or_else(|| "-".to_owned());
            let (from, to) = (u.from_version.to_string(), u.to_version.to_string());
            vec![u.id.clone(), from, to, u.status.to_string(), time(u.created_ms), failure]
        };
        list(&header, all.items.iter().map(row))
    })
}

/// Decides whether an upgrade is over.
fn step(upgrade: &UpgradeView) -> Step {
    let why = upgrade.failure.as_deref().unwrap_or("no reason was stored");
    let failed = |code: &str, detail: String| Step::Failed(Failure::new(Exit::Failed, code, detail));
    match upgrade.status {
        UpgradeStatus::Completed => Step::Done,
        UpgradeStatus::RolledBack => {
            failed("upgrade_rolled_back", format!("version {} runs again: {why}", upgrade.from_version))
        }
        UpgradeStatus::Failed => failed("upgrade_failed", format!("the upgrade failed: {why}")),
        status => Step::Wait(format!("the upgrade to version {} is {status}", upgrade.to_version), None),
    }
}

fn operators(operators: &[OperatorChange]) -> String {
    let row = |o: &OperatorChange| {
        vec![o.change.to_string(), o.id.clone(), o.name.clone(), o.reason.clone().unwrap_or_else(|| "-".to_owned())]
    };
    list(&["STATE", "ID", "OPERATOR", "WHY"], operators.iter().map(row))
}

fn dry_run(view: &UpgradeDryRunView) -> String {
    let verdict = match &view.refusal {
        None => "accepted".to_owned(),
        Some(refusal) => format!("refused: {refusal}"),
    };
    let settings = record([("upgrade", verdict), ("parallelism", view.parallelism.to_string())]);
    format!("{settings}\n\n{}\n\n{}", operators(&view.operators), view.plan.text.trim_end())
}

fn table(upgrade: &UpgradeView) -> String {
    let mut rows = vec![
        ("id", upgrade.id.clone()),
        ("job", upgrade.job_id.clone()),
        ("status", upgrade.status.to_string()),
        ("from version", upgrade.from_version.to_string()),
        ("to version", upgrade.to_version.to_string()),
    ];
    rows.extend(upgrade.savepoint.clone().map(|s| ("savepoint", s)));
    rows.extend(upgrade.failure.clone().map(|f| ("failure", f)));
    format!("{}\n\n{}", record(rows), operators(&upgrade.operators))
}
