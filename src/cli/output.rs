//! Standard output: tables for people, JSON for programs. Notes and warnings go to standard error.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat};
use comfy_table::{Table, presets};
use serde::Serialize;

use super::excerpt::printable;
use super::failure::Failure;
use crate::job::Warning;

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    /// What the service answered.
    Json,
}

/// The flag of the commands that show one thing or a list.
#[derive(Debug, Clone, clap::Args)]
pub struct OutputArgs {
    /// How the result looks
    #[arg(long, short = 'o', global = true, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// Prints lines; a newline is added.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// Prints a value as indented JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value).map_err(io::Error::from)?)
}

/// Prints a value as JSON, or what `table` makes of it.
pub fn show<T: Serialize>(format: Format, value: &T, table: impl FnOnce(&T) -> String) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(value),
        Format::Table => print(&table(value)),
    }
}

/// A line on standard error for the person who watches.
pub fn note(text: &str) {
    // Nobody to tell if standard error is gone.
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// What could cost data; on standard error.
pub fn warn(warnings: &[Warning]) {
    for warning in warnings {
        note(&format!("warning[{}]: {}", warning.code, warning.message));
    }
}

/// Columns without borders, easy to cut with other programs.
pub fn list(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|c| one_line(c)));
    }
    trimmed(&table)
}

/// Names and values, one per line.
pub fn record(rows: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for (name, value) in rows {
        table.add_row([format!("{name}:"), one_line(&value)]);
    }
    trimmed(&table)
}

/// The table without the blanks that fill its lines.
fn trimmed(table: &Table) -> String {
    let mut column = table.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>();
    // The preset's first column is padded on the left.
    if column.iter().all(|l| l.is_empty() || l.starts_with(' ')) {
        for line in &mut column {
            if !line.is_empty() {
                line.remove(0);
            }
        }
    }
    column.join("\n")
}

/// The text in one line, without control characters.
pub fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// A point in time, in UTC to the second.
pub fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A duration to three digits or so: `850 ms`, `12.3 s`, `4 min 10 s`.
pub fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A size in powers of 1024: `512 B`, `1.5 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // In tenths of the unit, rounded down.
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut units = UNITS.iter();
    let mut unit = units.next().expect("there are units");
    while tenths >= 10_240 {
        let Some(next) = units.next() else { break };
        (tenths, unit) = (tenths / 1024, next);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let check = |got: String, expected: &str| assert_eq!(got, expected);
        check(size(0), "0 B");
        check(size(1023), "1023 B");
        check(size(1536), "1.5 kB");
        check(size(5 << 30), "5.0 GB");
        check(size(u64::MAX), "16383.9 PB");
        check(duration(850), "850 ms");
        check(duration(12_345), "12.3 s");
        check(duration(250_000), "4 min 10 s");
        check(duration(7_260_000), "2 h 1 min");
        check(time(0), "1970-01-01T00:00:00Z");
        check(time(i64::MAX), "9223372036854775807");
    }

    #[test]
    fn lists_are_aligned_and_safe() {
        let text =
            list(&["NAME", "STATUS"], [vec!["a\nb\u{1b}".into(), "RUNNING".into()], vec!["c".into(), "FAILED".into()]]);
        assert_eq!(text, "NAME          STATUS\na\\nb\\u{1b}   RUNNING\nc             FAILED");
        assert_eq!(record([("id", "1".into()), ("name", "x".into())]), "id:    1\nname:  x");
    }
}
