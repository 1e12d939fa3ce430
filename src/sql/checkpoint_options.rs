//! Every option of Flink 2.3 on checkpoints, state recovery and state backends, and what it does here.
//!
//! The table in `docs/checkpoints.md` is rendered from [`OPTIONS`]; a test compares them. What cannot be honoured is
//! refused if a script that sets it expects a guarantee that it would not get, and else warned about with the reason.
//!
//! Source: `CheckpointingOptions`, `StateRecoveryOptions`, `StateBackendOptions`, `StateChangelogOptions` and
//! `RocksDBOptions` of Flink 2.3.0.

use std::collections::BTreeMap;

use super::options::Shape;

/// What becomes of an option.
pub(super) enum Fate {
    /// It does what Flink says.
    Honoured(Shape),
    /// An older name of another option.
    Alias(&'static str),
    /// It is always so here; another value is refused.
    Always(&'static str),
    /// It has no effect here, which a script that sets it is told.
    NoEffect,
}

/// An option of Flink's.
pub(super) struct FlinkOption {
    /// With a dot at its end: all options below.
    pub name: &'static str,
    /// Flink's default.
    pub default: &'static str,
    pub fate: Fate,
    /// What it does here, or why it does nothing.
    pub note: &'static str,
}

const fn option(name: &'static str, default: &'static str, fate: Fate, note: &'static str) -> FlinkOption {
    FlinkOption { name, default, fate, note }
}

use Fate::{Alias, Always, Honoured, NoEffect};
use Shape::{Bytes, Count, Duration, Number, OneOf, Text};

const BOOLEAN: Shape = OneOf(&["true", "false"]);
const PLACE: &str = "what a job stores goes to the service's `--store`; the place is the service's matter, so that no job's script can move it to a disk that vanishes";
const CHANNEL_STATE: &str =
    "there are no unaligned checkpoints: a channel holds at most four batches, which bounds the alignment";
const MERGING: &str = "small files are always merged, within one checkpoint, into objects of up to 8 MiB, of which at least half is in use while it is referenced";
const LOCAL: &str = "files that are still on the working disk are always used if their checksums are right, and nothing depends on them";
const ROCKSDB: &str =
    "RocksDB is set up by the service (`--rocksdb-memory`, `--work-dir`), one set of buffers for all jobs";
const CHANGELOG: &str = "there is no changelog backend";

/// See the module text.
pub(super) const OPTIONS: &[FlinkOption] = &[
    option(
        "execution.checkpointing.interval",
        "none (off)",
        Honoured(Duration),
        "10 s unless set (`--checkpoint-interval`): without checkpoints a crash loses the state. 0 switches them off and is warned about",
    ),
    option(
        "execution.checkpointing.min-pause",
        "0 ms",
        Honoured(Duration),
        "above 0 it forces `max-concurrent-checkpoints` to 1, as in Flink",
    ),
    option("execution.checkpointing.timeout", "10 min", Honoured(Duration), "the same (`--checkpoint-timeout`)"),
    option(
        "execution.checkpointing.max-concurrent-checkpoints",
        "1",
        Honoured(Count),
        "at most 16. Savepoints count too and wait for their turn; Flink starts them at once. Checkpoints complete in the order in which they were triggered",
    ),
    option(
        "execution.checkpointing.mode",
        "EXACTLY_ONCE",
        Honoured(OneOf(&["EXACTLY_ONCE", "AT_LEAST_ONCE"])),
        "the same",
    ),
    option(
        "execution.checkpointing.tolerable-failed-checkpoints",
        "0",
        Honoured(Number),
        "no limit unless set: a failed checkpoint raises an alarm (the job's `warnings`, `failed_checkpoints`, Prometheus) and does not kill a healthy job. A number fails the job, as in Flink, when more checkpoints in a row fail",
    ),
    option(
        "execution.checkpointing.num-retained",
        "1",
        Honoured(Count),
        "3 (`--checkpoints-retained`), at most 1000: one that turns out damaged must not be the only one",
    ),
    option(
        "execution.checkpointing.externalized-checkpoint-retention",
        "NO_EXTERNALIZED_CHECKPOINTS",
        Honoured(OneOf(&["RETAIN_ON_CANCELLATION", "DELETE_ON_CANCELLATION"])),
        "`RETAIN_ON_CANCELLATION`. `NO_EXTERNALIZED_CHECKPOINTS` is refused: checkpoints are always in the store, and outlive a job that failed",
    ),
    option(
        "execution.checkpointing.incremental",
        "false",
        Honoured(BOOLEAN),
        "true. With `false` each checkpoint stores all its files anew and shares none",
    ),
    option(
        "execution.checkpointing.data-inline-threshold",
        "20 kb",
        Honoured(Bytes),
        "64 kb, at most 1 mb as in Flink: RocksDB's `OPTIONS` file, new in each image, is larger than 20 kb. At most 256 kb for each operator subtask",
    ),
    option(
        "execution.checkpointing.checkpoints-after-tasks-finish",
        "true",
        Always("true"),
        "subtasks outlive their input and take part in every checkpoint, the last one included, with which sinks commit",
    ),
    option(
        "execution.checkpointing.checkpoints-after-tasks-finish.enabled",
        "",
        Alias("execution.checkpointing.checkpoints-after-tasks-finish"),
        "",
    ),
    option(
        "execution.checkpointing.interval-during-backlog",
        "none",
        NoEffect,
        "no source reports a backlog; the interval is always the ordinary one",
    ),
    option("execution.checkpointing.unaligned.enabled", "false", Always("false"), CHANNEL_STATE),
    option("execution.checkpointing.unaligned", "", Alias("execution.checkpointing.unaligned.enabled"), ""),
    option("execution.checkpointing.unaligned.forced", "false", Always("false"), CHANNEL_STATE),
    option("execution.checkpointing.aligned-checkpoint-timeout", "0 ms", NoEffect, CHANNEL_STATE),
    option(
        "execution.checkpointing.alignment-timeout",
        "",
        Alias("execution.checkpointing.aligned-checkpoint-timeout"),
        "",
    ),
    option("execution.checkpointing.unaligned.interruptible-timers.enabled", "false", NoEffect, CHANNEL_STATE),
    option("execution.checkpointing.unaligned.max-subtasks-per-channel-state-file", "5", NoEffect, CHANNEL_STATE),
    option("execution.checkpointing.unaligned.recover-output-on-downstream.enabled", "false", NoEffect, CHANNEL_STATE),
    option("execution.checkpointing.during-recovery.enabled", "false", NoEffect, CHANNEL_STATE),
    option("execution.checkpointing.storage", "jobmanager", NoEffect, PLACE),
    option("state.checkpoint-storage", "", Alias("execution.checkpointing.storage"), ""),
    option("execution.checkpointing.dir", "none", NoEffect, PLACE),
    option("state.checkpoints.dir", "", Alias("execution.checkpointing.dir"), ""),
    option("state.backend.fs.checkpointdir", "", Alias("execution.checkpointing.dir"), ""),
    option(
        "execution.checkpointing.savepoint-dir",
        "none",
        NoEffect,
        "savepoints go to the service's `--store`, or to the `target` that is given when one is taken",
    ),
    option("state.savepoints.dir", "", Alias("execution.checkpointing.savepoint-dir"), ""),
    option(
        "execution.checkpointing.create-subdir",
        "true",
        Always("true"),
        "each job has a prefix of its own; two jobs never share one",
    ),
    option("state.checkpoints.create-subdir", "", Alias("execution.checkpointing.create-subdir"), ""),
    option(
        "execution.checkpointing.cleaner.parallel-mode",
        "true",
        NoEffect,
        "retired objects are deleted in bulk, in the background",
    ),
    option("state.checkpoint.cleaner.parallel-mode", "", Alias("execution.checkpointing.cleaner.parallel-mode"), ""),
    option(
        "execution.checkpointing.write-buffer-size",
        "4096",
        NoEffect,
        "files are stored as they are on the local disk, without a stream of their own",
    ),
    option("state.backend.fs.write-buffer-size", "", Alias("execution.checkpointing.write-buffer-size"), ""),
    option("state.storage.fs.write-buffer-size", "", Alias("execution.checkpointing.write-buffer-size"), ""),
    option("execution.checkpointing.file-merging.enabled", "false", NoEffect, MERGING),
    option("execution.checkpointing.file-merging.across-checkpoint-boundary", "false", Always("false"), MERGING),
    option("execution.checkpointing.file-merging.max-file-size", "32 mb", NoEffect, MERGING),
    option("execution.checkpointing.file-merging.max-space-amplification", "2", NoEffect, MERGING),
    option("execution.checkpointing.file-merging.max-subtasks-per-file", "4", NoEffect, MERGING),
    option("execution.checkpointing.file-merging.pool-blocking", "false", NoEffect, MERGING),
    option("execution.checkpointing.local-backup.enabled", "false", NoEffect, LOCAL),
    option("execution.checkpointing.local-backup.dirs", "none", NoEffect, LOCAL),
    option("taskmanager.state.local.root-dirs", "", Alias("execution.checkpointing.local-backup.dirs"), ""),
    option(
        "pipeline.sources.pause-until-first-checkpoint",
        "false",
        NoEffect,
        "sources begin at once; a restored job's output is committed with its next checkpoint in any case",
    ),
    option("state.checkpoints.num-retained", "", Alias("execution.checkpointing.num-retained"), ""),
    option("state.backend.incremental", "", Alias("execution.checkpointing.incremental"), ""),
    option("state.backend.fs.memory-threshold", "", Alias("execution.checkpointing.data-inline-threshold"), ""),
    option("state.storage.fs.memory-threshold", "", Alias("execution.checkpointing.data-inline-threshold"), ""),
    option("execution.state-recovery.path", "none", Honoured(Text), "also `latest`, or a snapshot's id"),
    option("execution.savepoint.path", "", Alias("execution.state-recovery.path"), ""),
    option("execution.state-recovery.ignore-unclaimed-state", "false", Honoured(BOOLEAN), "the same"),
    option(
        "execution.savepoint.ignore-unclaimed-state",
        "",
        Alias("execution.state-recovery.ignore-unclaimed-state"),
        "",
    ),
    option(
        "execution.state-recovery.claim-mode",
        "NO_CLAIM",
        Honoured(OneOf(&["CLAIM", "NO_CLAIM"])),
        "the same. `LEGACY`, which Flink 2 does not have any more, is refused",
    ),
    option("execution.savepoint-restore-mode", "", Alias("execution.state-recovery.claim-mode"), ""),
    option("execution.state-recovery.from-local", "false", NoEffect, LOCAL),
    option("state.backend.local-recovery", "", Alias("execution.state-recovery.from-local"), ""),
    option("execution.state-recovery.approximate-local-recovery", "false", Always("false"), "it loses records"),
    option(
        "execution.checkpointing.approximate-local-recovery",
        "",
        Alias("execution.state-recovery.approximate-local-recovery"),
        "",
    ),
    option(
        "execution.state-recovery.without-channel-state.checkpoint-id",
        "-1",
        NoEffect,
        "a snapshot holds no channel state that could be left out",
    ),
    option(
        "execution.checkpointing.recover-without-channel-state.checkpoint-id",
        "",
        Alias("execution.state-recovery.without-channel-state.checkpoint-id"),
        "",
    ),
    option("state.backend.type", "hashmap", NoEffect, "there is one backend: tables in memory, behind them RocksDB"),
    option("state.backend", "", Alias("state.backend.type"), ""),
    option(
        "state.backend.rocksdb.checkpoint.transfer.thread.num",
        "4",
        Honoured(Count),
        "uploads or downloads of one operator subtask at once; 4 (`--transfer-threads`), at most 256",
    ),
    option("state.backend.rocksdb.", "", NoEffect, ROCKSDB),
    option("state.backend.forst.", "", NoEffect, "there is no ForSt backend"),
    option("state.changelog.", "", NoEffect, CHANGELOG),
    option("state.backend.changelog.", "", NoEffect, CHANGELOG),
];

/// The option of this name, or the one whose family it belongs to.
pub(super) fn find(name: &str) -> Option<&'static FlinkOption> {
    let exact = OPTIONS.iter().find(|o| o.name == name);
    exact.or_else(|| OPTIONS.iter().find(|o| o.name.ends_with('.') && name.starts_with(o.name)))
}

/// The value that was set under this name, or under one of its older names; with the name that was used.
pub fn get<'o>(options: &'o BTreeMap<String, String>, name: &str) -> Option<(&'o str, &'o str)> {
    let older = OPTIONS.iter().filter(|o| matches!(o.fate, Alias(of) if of == name)).map(|o| o.name);
    let found = std::iter::once(name).chain(older).find_map(|name| options.get_key_value(name));
    found.map(|(key, value)| (key.as_str(), value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::options::check;

    const DOCS: &str = include_str!("../../docs/checkpoints.md");
    const BEGIN: &str = "<!-- options: rendered from src/sql/checkpoint_options.rs -->\n";
    const END: &str = "<!-- end of options -->";

    fn rendered() -> String {
        let mut text = String::from("| Flink's option | its default | here |\n| --- | --- | --- |\n");
        for o in OPTIONS.iter().filter(|o| !matches!(o.fate, Alias(_))) {
            let aliases = OPTIONS.iter().filter(|a| matches!(a.fate, Alias(of) if of == o.name));
            let names: Vec<String> = std::iter::once(o.name)
                .chain(aliases.map(|a| a.name))
                .map(|n| format!("`{n}{}`", if n.ends_with('.') { "*" } else { "" }))
                .collect();
            let fate = match o.fate {
                Honoured(_) => "honoured: ".to_owned(),
                Always(value) => format!("always `{value}`, another value is refused: "),
                NoEffect => "no effect, warned about: ".to_owned(),
                Alias(_) => unreachable!("filtered"),
            };
            let default = if o.default.is_empty() { String::new() } else { format!("`{}`", o.default) };
            text += &format!("| {} | {default} | {fate}{} |\n", names.join(", "), o.note);
        }
        text
    }

    #[test]
    fn the_documented_table_is_this_one() {
        let documented = DOCS.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(table, _)| table);
        let expected = rendered();
        assert!(documented == Some(&expected), "docs/checkpoints.md must have, between its markers:\n{expected}");
    }

    #[test]
    fn every_documented_option_is_known() {
        let names = DOCS
            .split('`')
            .filter(|t| ["execution.", "state.", "restart-strategy.", "holdfast."].iter().any(|p| t.starts_with(p)));
        let mut count = 0;
        for name in names.filter(|n| !n.contains(['*', '=']) && !n.ends_with('.')) {
            count += 1;
            let answer = check(name, "?").map_err(|e| e.message).unwrap_or_default().unwrap_or_default();
            assert!(!answer.contains("is not known"), "{name} is documented but not known: {answer}");
            let refused = check(name, "?").is_err_and(|e| e.message.contains("is not supported; here are"));
            assert!(!refused, "{name} is documented but not known");
        }
        assert!(count > 60, "{count} options are documented");
    }

    /// All keys of the named classes of Flink 2.3.0, as its jar has them.
    #[test]
    fn every_option_of_flink_has_a_fate() {
        let flink = "execution.checkpointing.aligned-checkpoint-timeout execution.checkpointing.alignment-timeout \
            execution.checkpointing.checkpoints-after-tasks-finish \
            execution.checkpointing.checkpoints-after-tasks-finish.enabled \
            execution.checkpointing.cleaner.parallel-mode execution.checkpointing.create-subdir \
            execution.checkpointing.data-inline-threshold execution.checkpointing.dir \
            execution.checkpointing.during-recovery.enabled \
            execution.checkpointing.externalized-checkpoint-retention \
            execution.checkpointing.file-merging.across-checkpoint-boundary \
            execution.checkpointing.file-merging.enabled execution.checkpointing.file-merging.max-file-size \
            execution.checkpointing.file-merging.max-space-amplification \
            execution.checkpointing.file-merging.max-subtasks-per-file \
            execution.checkpointing.file-merging.pool-blocking execution.checkpointing.incremental \
            execution.checkpointing.interval execution.checkpointing.interval-during-backlog \
            execution.checkpointing.local-backup.dirs execution.checkpointing.local-backup.enabled \
            execution.checkpointing.max-concurrent-checkpoints execution.checkpointing.min-pause \
            execution.checkpointing.mode execution.checkpointing.num-retained execution.checkpointing.savepoint-dir \
            execution.checkpointing.storage execution.checkpointing.timeout \
            execution.checkpointing.tolerable-failed-checkpoints execution.checkpointing.unaligned \
            execution.checkpointing.unaligned.enabled execution.checkpointing.unaligned.forced \
            execution.checkpointing.unaligned.interruptible-timers.enabled \
            execution.checkpointing.unaligned.max-subtasks-per-channel-state-file \
            execution.checkpointing.unaligned.recover-output-on-downstream.enabled \
            execution.checkpointing.write-buffer-size pipeline.sources.pause-until-first-checkpoint \
            state.backend.fs.checkpointdir state.backend.fs.memory-threshold state.backend.fs.write-buffer-size \
            state.backend.incremental state.backend.local-recovery state.checkpoint-storage \
            state.checkpoint.cleaner.parallel-mode state.checkpoints.create-subdir state.checkpoints.dir \
            state.checkpoints.num-retained state.savepoints.dir state.storage.fs.memory-threshold \
            state.storage.fs.write-buffer-size taskmanager.state.local.root-dirs \
            execution.checkpointing.approximate-local-recovery \
            execution.checkpointing.recover-without-channel-state.checkpoint-id \
            execution.savepoint.ignore-unclaimed-state execution.savepoint.path \
            execution.state-recovery.approximate-local-recovery execution.state-recovery.claim-mode \
            execution.state-recovery.from-local execution.state-recovery.ignore-unclaimed-state \
            execution.state-recovery.path execution.state-recovery.without-channel-state.checkpoint-id \
            state.backend state.backend.type state.changelog.enabled state.changelog.max-failures-allowed \
            state.backend.changelog.storage state.backend.rocksdb.checkpoint.transfer.thread.num \
            state.backend.rocksdb.localdir state.backend.rocksdb.memory.managed";
        for name in flink.split_whitespace() {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused_or_warned_about_with_the_reason() {
        for (name, value, expected) in [
            ("execution.checkpointing.unaligned.enabled", "true", Err("bounds the alignment")),
            ("execution.checkpointing.unaligned", "true", Err("bounds the alignment")),
            ("execution.checkpointing.unaligned.enabled", "FALSE", Ok(None)),
            ("execution.checkpointing.dir", "s3://b/p", Ok(Some("--store"))),
            ("state.checkpoints.dir", "s3://b/p", Ok(Some("--store"))),
            ("state.backend.rocksdb.block.cache-size", "8 mb", Ok(Some("--rocksdb-memory"))),
            ("state.backend.incremental", "true", Ok(None)),
            ("state.backend.incremental", "perhaps", Err("true, false")),
            ("execution.checkpointing.data-inline-threshold", "20 kb", Ok(None)),
            ("execution.checkpointing.data-inline-threshold", "20 apples", Err("a size")),
            ("execution.checkpointing.tolerable-failed-checkpoints", "0", Ok(None)),
            ("execution.checkpointing.tolerable-failed-checkpoints", "-1", Err("whole number")),
        ] {
            match (check(name, value), expected) {
                (Ok(warning), Ok(part)) => {
                    assert_eq!(warning.is_some(), part.is_some(), "{name}");
                    assert!(part.is_none_or(|p| warning.unwrap().contains(p)), "{name}");
                }
                (Err(e), Err(part)) => assert!(e.message.contains(part), "{name}: {e}"),
                (got, _) => panic!("{name} = {value}: {got:?}"),
            }
        }
    }

    #[test]
    fn the_newer_name_wins() {
        let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (old, new) = ("state.backend.incremental", "execution.checkpointing.incremental");
        let both: BTreeMap<String, String> = set(&[(old, "true"), (new, "false")]);
        assert_eq!(get(&both, new), Some((new, "false")));
        let one: BTreeMap<String, String> = set(&[(old, "true")]);
        assert_eq!(get(&one, new), Some((old, "true")));
    }
}
