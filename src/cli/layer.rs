//! One layer of the service's settings: each may be there or not. Flags (with the environment behind them, which clap
//! resolves) lie over the TOML file, that over the defaults.
//!
//! The file's keys are the flags' names without the dashes in front; an unknown key is refused, because a misspelt
//! setting that is silently ignored is how data gets lost.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use reqwest::Url;
use serde::Deserialize;

use super::failure::Failure;
use super::units::{Bytes, Millis};
use crate::config::{Settings, defaults};
use crate::error::{Error, Result};
use crate::telemetry::LogFormat;

/// All settings of `serve`.
#[derive(Debug, Clone, Default, clap::Args, serde::Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Layer {
    /// Address and port to serve HTTP on [default: 127.0.0.1:8081]
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDRESS", help_heading = "Places")]
    pub listen: Option<SocketAddr>,
    /// Folder of this instance: its lock, its id, and whatever the other places do not name [default: holdfast-data]
    #[arg(long, env = "HOLDFAST_DATA_DIR", value_name = "DIR", help_heading = "Places")]
    pub data_dir: Option<PathBuf>,
    /// Folder of RocksDB's working files: the fastest local disk, which may vanish; never inside the store
    /// [default: <data-dir>/work]
    #[arg(long, env = "HOLDFAST_WORK_DIR", value_name = "DIR", help_heading = "Places")]
    pub work_dir: Option<PathBuf>,
    /// Durable store of checkpoints and savepoints: file:///folder, s3://bucket/prefix, gs://… or az://…; credentials
    /// come from the cloud's own environment variables [default: file://<data-dir>/store]
    #[arg(long, env = "HOLDFAST_STORE", value_name = "URI", help_heading = "Places")]
    pub store: Option<String>,
    /// Database of jobs and snapshots: sqlite://PATH or postgres://… [default: sqlite://<data-dir>/holdfast.db]
    #[arg(long, env = "HOLDFAST_DATABASE_URL", value_name = "URL", help_heading = "Places", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Memory for the keyed state of one job, a size such as 64MB or 2GB [default: 256MB]
    #[arg(long, env = "HOLDFAST_JOB_MEMORY", value_name = "SIZE", help_heading = "Jobs")]
    pub job_memory: Option<Bytes>,
    /// Memory for RocksDB's block cache and write buffers, of all jobs together [default: 256MB]
    #[arg(long, env = "HOLDFAST_ROCKSDB_MEMORY", value_name = "SIZE", help_heading = "Jobs")]
    pub rocksdb_memory: Option<Bytes>,
    /// Subtasks per vertex of jobs that do not say [default: 1]
    #[arg(long, env = "HOLDFAST_DEFAULT_PARALLELISM", value_name = "N", help_heading = "Jobs")]
    pub default_parallelism: Option<u32>,

    /// Time between checkpoints of jobs that do not say, a duration such as 500ms or 1min; 0 = off [default: 10s]
    #[arg(long, env = "HOLDFAST_CHECKPOINT_INTERVAL", value_name = "DURATION", help_heading = "Checkpoints")]
    pub checkpoint_interval: Option<Millis>,
    /// Time after which a checkpoint is given up [default: 10min]
    #[arg(long, env = "HOLDFAST_CHECKPOINT_TIMEOUT", value_name = "DURATION", help_heading = "Checkpoints")]
    pub checkpoint_timeout: Option<Millis>,
    /// Completed checkpoints kept per job [default: 3]
    #[arg(long, env = "HOLDFAST_CHECKPOINTS_RETAINED", value_name = "N", help_heading = "Checkpoints")]
    pub checkpoints_retained: Option<u32>,
    /// Files of one job that are uploaded or downloaded at once [default: 4]
    #[arg(long, env = "HOLDFAST_TRANSFER_THREADS", value_name = "N", help_heading = "Checkpoints")]
    pub transfer_threads: Option<usize>,

    /// Time after which another instance takes over the jobs of one that does not answer [default: 15s]
    #[arg(long, env = "HOLDFAST_LEASE", value_name = "DURATION", help_heading = "Limits")]
    pub lease: Option<Millis>,
    /// Longest wait for last checkpoints after SIGTERM or SIGINT [default: 25s]
    #[arg(long, env = "HOLDFAST_SHUTDOWN_TIMEOUT", value_name = "DURATION", help_heading = "Limits")]
    pub shutdown_timeout: Option<Millis>,
    /// Largest body of a request [default: 4MB]
    #[arg(long, env = "HOLDFAST_MAX_BODY", value_name = "SIZE", help_heading = "Limits")]
    pub max_body: Option<Bytes>,
    /// Longest time of a request; streams and waits on request excepted [default: 30s]
    #[arg(long, env = "HOLDFAST_REQUEST_TIMEOUT", value_name = "DURATION", help_heading = "Limits")]
    pub request_timeout: Option<Millis>,
    /// Requests handled at once; more are refused with 503 [default: 256]
    #[arg(long, env = "HOLDFAST_MAX_CONCURRENT_REQUESTS", value_name = "N", help_heading = "Limits")]
    pub max_concurrent_requests: Option<usize>,

    /// How log lines look [default: text]
    #[arg(long, env = "HOLDFAST_LOG_FORMAT", value_name = "FORMAT", help_heading = "Logs")]
    #[serde(deserialize_with = "log_format")]
    pub log_format: Option<LogFormat>,
    /// What is logged, as in RUST_LOG: a level, or such as info,holdfast::job=debug [default: info]
    #[arg(long, env = "HOLDFAST_LOG_LEVEL", value_name = "FILTER", help_heading = "Logs")]
    pub log_level: Option<String>,
}

/// The resolved configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    pub settings: Settings,
    pub log_format: LogFormat,
    pub log_level: String,
}

impl Layer {
    /// Reads a TOML file. Errors have code `invalid_config` and name line and column.
    pub fn from_file(path: &Path) -> Result<Layer, Failure> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            Failure::usage("unreadable_file", format!("the configuration file {name} cannot be read")).because(&e)
        })?;
        Self::from_toml(&name, &text)
    }

    fn from_toml(name: &str, text: &str) -> Result<Layer, Failure> {
        toml::from_str(text).map_err(|e| {
            let failure = Failure::usage("invalid_config", e.message().trim());
            match e.span().and_then(|span| text.get(..span.start)) {
                Some(before) => {
                    let line = before.matches('\n').count() + 1;
                    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                    failure.at(line as u64, column as u64).within(name, text)
                }
                None => failure,
            }
        })
    }

    /// This layer, and where it says nothing, the one below.
    pub fn over(self, below: Layer) -> Layer {
        Layer {
            listen: self.listen.or(below.listen),
            data_dir: self.data_dir.or(below.data_dir),
            work_dir: self.work_dir.or(below.work_dir),
            store: self.store.or(below.store),
            database_url: self.database_url.or(below.database_url),
            job_memory: self.job_memory.or(below.job_memory),
            rocksdb_memory: self.rocksdb_memory.or(below.rocksdb_memory),
            default_parallelism: self.default_parallelism.or(below.default_parallelism),
            checkpoint_interval: self.checkpoint_interval.or(below.checkpoint_interval),
            checkpoint_timeout: self.checkpoint_timeout.or(below.checkpoint_timeout),
            checkpoints_retained: self.checkpoints_retained.or(below.checkpoints_retained),
            transfer_threads: self.transfer_threads.or(below.transfer_threads),
            lease: self.lease.or(below.lease),
            shutdown_timeout: self.shutdown_timeout.or(below.shutdown_timeout),
            max_body: self.max_body.or(below.max_body),
            request_timeout: self.request_timeout.or(below.request_timeout),
            max_concurrent_requests: self.max_concurrent_requests.or(below.max_concurrent_requests),
            log_format: self.log_format.or(below.log_format),
            log_level: self.log_level.or(below.log_level),
        }
    }

    /// The settings, with defaults where the layer says nothing; checked. Paths become absolute.
    pub fn resolve(self) -> Result<Configuration> {
        let data_dir = absolute(self.data_dir.unwrap_or_else(|| defaults::DATA_DIR.into()))?;
        let work_dir = self.work_dir.map_or_else(|| Ok(data_dir.join("work")), absolute)?;
        let ms = |value: Option<Millis>, default: u64| value.map_or(default, |v| v.0);
        let settings = Settings {
            listen: self.listen.unwrap_or(defaults::LISTEN),
            store: self.store.map_or_else(|| store_in(&data_dir), Ok)?,
            database_url: self.database_url.map_or_else(|| database_in(&data_dir), Ok)?,
            data_dir,
            work_dir,
            job_memory_bytes: size("job-memory", self.job_memory, defaults::JOB_MEMORY_BYTES)?,
            rocksdb_memory_bytes: size("rocksdb-memory", self.rocksdb_memory, defaults::ROCKSDB_MEMORY_BYTES)?,
            default_parallelism: self.default_parallelism.unwrap_or(defaults::PARALLELISM),
            checkpoint_interval_ms: ms(self.checkpoint_interval, defaults::CHECKPOINT_INTERVAL_MS),
            checkpoint_timeout_ms: ms(self.checkpoint_timeout, defaults::CHECKPOINT_TIMEOUT_MS),
            checkpoints_retained: self.checkpoints_retained.unwrap_or(defaults::CHECKPOINTS_RETAINED),
            transfer_threads: self.transfer_threads.unwrap_or(defaults::TRANSFER_THREADS),
            lease_ms: ms(self.lease, defaults::LEASE_MS),
            shutdown_timeout_ms: ms(self.shutdown_timeout, defaults::SHUTDOWN_TIMEOUT_MS),
            max_body_bytes: size("max-body", self.max_body, defaults::MAX_BODY_BYTES)?,
            request_timeout_ms: ms(self.request_timeout, defaults::REQUEST_TIMEOUT_MS),
            max_concurrent_requests: self.max_concurrent_requests.unwrap_or(defaults::MAX_CONCURRENT_REQUESTS),
        };
        settings.check()?;
        let log_level = self.log_level.unwrap_or_else(|| "info".to_owned());
        Ok(Configuration { settings, log_format: self.log_format.unwrap_or(LogFormat::Text), log_level })
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path)
        .map_err(|e| Error::invalid("invalid_setting", format!("'{}' is not a path", path.display())).caused_by(&e))
}

/// The path as a URL, with what URLs reserve escaped: folders may have spaces, `#` and `?` in their names.
fn file_url(path: &Path) -> Result<Url> {
    Url::from_file_path(path)
        .map_err(|()| Error::invalid("invalid_setting", format!("'{}' is not an absolute path", path.display())))
}

fn store_in(data_dir: &Path) -> Result<String> {
    Ok(file_url(&data_dir.join("store"))?.to_string())
}

fn database_in(data_dir: &Path) -> Result<String> {
    Ok(format!("sqlite://{}", file_url(&data_dir.join("holdfast.db"))?.path()))
}

fn size(name: &str, value: Option<Bytes>, default: u64) -> Result<usize> {
    let bytes = value.map_or(default, |v| v.0);
    let too_large = |_| Error::invalid("invalid_setting", format!("{name} is more than this machine can address"));
    usize::try_from(bytes).map_err(too_large)
}

fn log_format<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<LogFormat>, D::Error> {
    let text = String::deserialize(deserializer)?;
    LogFormat::from_str(&text, false)
        .map(Some)
        .map_err(|_| serde::de::Error::custom(format!("'{text}' is not a log format; expected text or json")))
}

#[cfg(test)]
mod tests {
    use clap::{Args, CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        layer: Layer,
    }

    fn flags(arguments: &[&str]) -> Layer {
        Flags::try_parse_from(std::iter::once(&"serve").chain(arguments)).unwrap().layer
    }

    fn file(text: &str) -> Layer {
        Layer::from_toml("holdfast.toml", text).unwrap()
    }

    #[test]
    fn flags_win_over_the_file_and_that_over_defaults() {
        let check = |arguments: &[&str], text: &str, of: fn(&Settings) -> u64, expected: u64| {
            let got = of(&flags(arguments).over(file(text)).resolve().unwrap().settings);
            assert_eq!(got, expected, "{arguments:?} {text}");
        };
        let interval: fn(&Settings) -> u64 = |s| s.checkpoint_interval_ms;
        check(&[], "", interval, 10_000);
        check(&[], "checkpoint-interval = '5 s'", interval, 5_000);
        check(&["--checkpoint-interval", "2s"], "checkpoint-interval = '5 s'", interval, 2_000);
        check(&["--lease=3s"], "checkpoint-interval = '5 s'", interval, 5_000);
        let memory: fn(&Settings) -> u64 = |s| s.job_memory_bytes as u64;
        check(&[], "", memory, 256 << 20);
        check(&[], "job-memory = '1g'", memory, 1 << 30);
        check(&["--job-memory", "64MB"], "job-memory = '1g'", memory, 64 << 20);
        check(&[], "transfer-threads = 7", |s| s.transfer_threads as u64, 7);
    }

    #[test]
    fn places_derive_from_the_data_directory() {
        let s = flags(&["--data-dir", "/var/lib/hold fast"]).resolve().unwrap().settings;
        assert_eq!(s.work_dir, Path::new("/var/lib/hold fast/work"));
        assert_eq!(s.store, "file:///var/lib/hold%20fast/store");
        assert_eq!(s.database_url, "sqlite:///var/lib/hold%20fast/holdfast.db");
        let s = flags(&["--data-dir", "d"]).resolve().unwrap().settings;
        assert!(s.data_dir.is_absolute() && s.store.starts_with("file:///"), "{s:?}");
    }

    /// The defaults in the help are those of the code: giving a flag its own default changes nothing.
    #[test]
    fn the_help_tells_each_default_and_unit() {
        let none = Layer::default().resolve().unwrap();
        for arg in Flags::command().get_arguments() {
            let Some(flag) = arg.get_long().filter(|f| *f != "help") else { continue };
            let help = arg.get_help().unwrap().to_string();
            let (_, default) = help.rsplit_once("[default: ").unwrap_or_else(|| panic!("--{flag} tells no default"));
            let default = default.trim_end_matches(']');
            let data_dir = none.settings.data_dir.display().to_string();
            let value = default.replace("<data-dir>", &data_dir);
            let given = flags(&[&format!("--{flag}"), &value]).resolve().unwrap();
            assert_eq!(given, none, "--{flag} {default}");
        }
    }

    #[test]
    fn each_flag_has_its_variable() {
        for arg in Flags::command().get_arguments().filter(|a| a.get_id() != "help") {
            let variable = format!("HOLDFAST_{}", arg.get_id().as_str().to_ascii_uppercase());
            assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(variable.as_str()));
        }
    }

    const CHILD: &str = "cli::layer::tests::variables_lie_between_flags_and_file";

    /// Runs in a process of its own (below), because variables belong to the whole process.
    #[test]
    #[ignore = "the test below runs it with variables set"]
    fn variables_lie_between_flags_and_file() {
        let below = file("lease = '7s'\ncheckpoint-interval = '5 s'");
        let s = flags(&["--lease", "3s"]).over(below.clone()).resolve().unwrap().settings;
        assert_eq!((s.lease_ms, s.checkpoint_interval_ms), (3_000, 5_000));
        assert_eq!(flags(&[]).over(below).resolve().unwrap().settings.lease_ms, 4_000);
    }

    #[test]
    fn variables_win_over_the_file_and_flags_over_them() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args([CHILD, "--exact", "--ignored"]).env("HOLDFAST_LEASE", "4s");
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    fn wrong_files_are_refused_with_their_place() {
        let check = |text: &str, place: &str| {
            let shown = Layer::from_toml("holdfast.toml", text).unwrap_err().to_string();
            assert!(shown.contains(place), "{shown}");
            assert!(shown.contains("invalid_config"), "{shown}");
        };
        check("lease = '1s'\nchekpoint-interval = '1s'", "holdfast.toml:2:1");
        check("lease = 'soon'", "holdfast.toml:1:9");
        check("log-format = 'yaml'", "text or json");
        check("lease = ", "holdfast.toml:1");
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        let check = |arguments: &[&str], named: &str| {
            let error = flags(arguments).resolve().unwrap_err();
            assert_eq!(error.code, "invalid_setting");
            assert!(error.message.starts_with(named), "{error}");
        };
        check(&["--default-parallelism", "0"], "default-parallelism");
        check(&["--checkpoint-interval", "1ms"], "checkpoint-interval");
        check(&["--job-memory", "1kb"], "job-memory");
        check(&["--lease", "10ms"], "lease");
        check(&["--max-concurrent-requests", "0"], "max-concurrent-requests");
        assert!(flags(&["--checkpoint-interval", "0"]).resolve().is_ok());
    }

    #[test]
    fn file_and_flags_have_the_same_names() {
        let command = Layer::augment_args(clap::Command::new("serve"));
        for arg in command.get_arguments().filter_map(|a| a.get_long()) {
            let refused = Layer::from_toml("f", &format!("{arg} = []")).unwrap_err().to_string();
            assert!(!refused.contains("unknown field"), "{refused}");
        }
        let matches = command.get_matches_from(["serve"]);
        assert!(Layer::from_arg_matches(&matches).is_ok());
    }
}
