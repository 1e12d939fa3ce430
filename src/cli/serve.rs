//! `holdfast serve`: settings, logs, signals, then the service.

use std::future::Future;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Exit, Failure};
use super::layer::{Configuration, Layer};
use crate::error::ErrorKind;
use crate::{app, telemetry};

/// Exit code of a process that a second SIGINT ends (128 + 2, as shells have it).
const INTERRUPTED: i32 = 130;

/// Flags win over the environment, that over the configuration file, that over the defaults.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// TOML file with settings: keys are the flags' names without dashes in front, such as checkpoint-interval = "10s"
    #[arg(long, env = "HOLDFAST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    layer: Layer,
}

/// Runs the service until SIGTERM or SIGINT; then last checkpoints are taken. A second SIGINT does not wait for them,
/// which loses time but no data.
pub async fn run(args: ServeArgs) -> Result<(), Failure> {
    let configuration = configuration(args.layer, args.config)?;
    telemetry::start_logging(configuration.log_format, &configuration.log_level).map_err(Failure::from)?;
    // Listen for signals before anything is started, so that none is missed.
    let stop = stop_signal()?;
    Ok(app::serve(configuration.settings, stop).await?)
}

/// Resolves flags and file. Wrong settings are usage errors.
pub fn configuration(flags: Layer, file: Option<PathBuf>) -> Result<Configuration, Failure> {
    let below = file.map(|path| Layer::from_file(&path)).transpose()?.unwrap_or_default();
    flags.over(below).resolve().map_err(|e| {
        let is_invalid = e.kind == ErrorKind::Invalid;
        let mut failure = Failure::from(e);
        if is_invalid {
            failure.exit = Exit::Usage;
        }
        failure
    })
}

fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind: SignalKind| -> Result<Signal, Failure> {
        signal(kind).map_err(|e| Failure::new(Exit::Failed, "no_signals", "signals cannot be handled").because(&e))
    };
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "got {name}");
        tokio::spawn(async move {
            interrupt.recv().await;
            tracing::warn!("got SIGINT again: ending without last checkpoints");
            std::process::exit(INTERRUPTED);
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_usage_errors() {
        let flags = Layer { default_parallelism: Some(0), ..Layer::default() };
        assert_eq!(configuration(flags, None).unwrap_err().exit, Exit::Usage);
        let failure = configuration(Layer::default(), Some("/nonexistent.toml".into())).unwrap_err();
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Usage, "unreadable_file"));
    }
}
