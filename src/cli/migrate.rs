//! `holdfast migrate`: for those who give the service a database role that may not change the schema, or who want
//! the change at a time of their choice. `serve` does the same at its start.

use std::path::PathBuf;

use super::failure::Failure;
use super::layer::Layer;
use super::output::note;
use super::serve::configuration;
use crate::metadata::Metadata;

/// The settings of `serve` that say where the database is.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
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

/// Migrates and exits.
pub async fn run(args: MigrateArgs) -> Result<(), Failure> {
    let flags = Layer { database_url: args.database_url, data_dir: args.data_dir, ..Layer::default() };
    let settings = configuration(flags, args.config)?.settings;
    let metadata = Metadata::connect(&settings.database_url).await?;
    let migrated = metadata.migrate().await;
    metadata.close().await;
    migrated?;
    note("the database has this version's schema");
    Ok(())
}
