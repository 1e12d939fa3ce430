//! `holdfast sql check`.

use crate::api::sql::{CheckRequest, CheckView};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, list, note, show};
use crate::cli::source::Source;

/// A script to check.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Flink SQL script; '-' reads standard input
    file: String,
    /// How the result looks
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// Checks a script; exits with 6 and the place if it is wrong.
pub async fn run(client: &Client, args: &CheckArgs) -> Result<(), Failure> {
    let source = Source::read(&args.file)?;
    let request = CheckRequest { sql: source.text.clone() };
    let view: CheckView = client.post_json(&["sql", "check"], &request).await.map_err(|e| source.explain(e))?;
    if args.output == Format::Table {
        for warning in &view.warnings {
            note(&format!("warning: {warning}"));
        }
    }
    show(args.output, &view, table)
}

fn table(view: &CheckView) -> String {
    let rows = view.statements.iter().map(|s| vec![format!("{}:{}", s.line, s.column), s.kind.clone()]);
    let statements = list(&["PLACE", "STATEMENT"], rows);
    match &view.plan {
        Some(plan) => format!("{statements}\n\n{}", plan.trim_end()),
        None => statements,
    }
}
