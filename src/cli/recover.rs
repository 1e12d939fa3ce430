//! `holdfast recover`: rebuilds the database from the store alone.

use std::path::PathBuf;

use super::failure::Failure;
use super::layer::Layer;
use super::output::{OutputArgs, list, note, show};
use super::serve::configuration;
use crate::checkpoint::restore::open_existing;
use crate::clock::now_ms;
use crate::job::recover::{Recovered, recover};
use crate::metadata::Metadata;

/// The store to scan and the database to fill.
#[derive(Debug, clap::Args)]
pub struct RecoverArgs {
    /// URI of the store whose manifests are scanned: the one that the service runs with
    #[arg(long, value_name = "URI")]
    scan: String,
    /// Let the jobs run as soon as a service does; else they wait for 'holdfast job restart'
    #[arg(long)]
    start: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// TOML file with the service's settings
    #[arg(long, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// sqlite://PATH or postgres://… [default: sqlite://<data-dir>/holdfast.db]
    #[arg(long, env = "HOLDFAST_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The service's folder [default: holdfast-data]
    #[arg(long, env = "HOLDFAST_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Scans, fills the database, and says what it found and what it skipped.
pub async fn run(args: RecoverArgs) -> Result<(), Failure> {
    let flags = Layer { database_url: args.database_url, data_dir: args.data_dir, ..Layer::default() };
    let settings = configuration(flags, args.config)?.settings;
    let store = open_existing(&args.scan).await?;
    let metadata = Metadata::connect(&settings.database_url).await.map_err(Failure::of_settings)?;
    let recovered = async {
        metadata.migrate().await?;
        recover(&metadata, &store, args.start, now_ms()).await
    };
    let recovered = recovered.await;
    metadata.close().await;
    let recovered = recovered?;
    show(args.output.output, &recovered, table)?;
    for skipped in &recovered.skipped {
        note(&format!("skipped {}: {}", skipped.what, skipped.reason));
    }
    note(&format!("{} jobs recovered, {} things skipped", recovered.jobs.len(), recovered.skipped.len()));
    Ok(())
}

fn table(recovered: &Recovered) -> String {
    let header = ["ID", "NAME", "STATUS", "CHECKPOINTS", "SAVEPOINTS", "NEWEST"];
    let rows = recovered.jobs.iter().map(|j| {
        let (id, name, newest) = (j.id.clone(), j.name.clone(), j.newest.clone());
        vec![id, name, j.status.to_string(), j.checkpoints.to_string(), j.savepoints.to_string(), newest]
    });
    list(&header, rows)
}
