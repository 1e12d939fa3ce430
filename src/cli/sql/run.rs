//! `holdfast sql run`: an ad-hoc query. By default its changes are folded to the table that they describe, printed at
//! the end (or at Ctrl-C, as far as it has come); with `--changelog` each change is printed as it comes.

use std::io::{self, BufWriter, Write};

use comfy_table::{Table, presets};
use futures::{StreamExt, pin_mut};
use serde_json::Value;

use super::csv;
use super::fold::Fold;
use super::lines::{Change, ColumnName, Line, Splitter, parse};
use crate::api::sql::QueryRequest;
use crate::cli::client::Client;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{note, one_line};
use crate::cli::progress::Progress;
use crate::cli::source::Source;
use crate::cli::units::Millis;

/// How rows look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RowFormat {
    Table,
    /// A JSON object per line.
    Json,
    /// With a header line.
    Csv,
}

/// A query to run.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Flink SQL script that ends with a SELECT; '-' reads standard input
    file: String,
    /// Print every change (+I, -U, +U, -D) as it comes, instead of the table at the end
    #[arg(long)]
    changelog: bool,
    /// End the query after this many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Subtasks per vertex
    #[arg(long, value_name = "N")]
    parallelism: Option<u32>,
    /// Longest time of the query [default: 10min]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Millis>,
    /// How rows look
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: RowFormat,
}

/// What the changes become.
enum Sink {
    Changelog(Changelog<BufWriter<io::Stdout>>),
    Table(Fold),
}

/// Runs a query.
pub async fn run(client: &Client, args: &RunArgs) -> Result<(), Failure> {
    let source = Source::read(&args.file)?;
    let request = QueryRequest {
        sql: source.text.clone(),
        parallelism: args.parallelism,
        limit: args.limit,
        timeout_ms: args.timeout.map(|t| t.0),
    };
    let stream = client.stream(&["sql", "query"], &request).await.map_err(|e| source.explain(e))?;
    pin_mut!(stream);
    let mut columns: Vec<ColumnName> = Vec::new();
    let mut sink = if args.changelog {
        Sink::Changelog(Changelog { format: args.output, out: BufWriter::new(io::stdout()) })
    } else {
        Sink::Table(Fold::default())
    };
    // A spinner would tear lines apart that are printed meanwhile.
    let progress = (!args.changelog).then(|| Progress::start("the query runs"));
    let interrupt = tokio::signal::ctrl_c();
    pin_mut!(interrupt);
    let mut splitter = Splitter::default();
    let ending = loop {
        let chunk = tokio::select! {
            biased;
            _ = &mut interrupt => break Ending::Interrupted,
            chunk = stream.next() => chunk,
        };
        let Some(chunk) = chunk else {
            let detail = "the result broke off before its end; was the service stopped?";
            return Err(Failure::new(Exit::Unavailable, "connection_lost", detail));
        };
        splitter.push(&chunk?)?;
        if let Some(ending) = take_lines(&mut splitter, &mut columns, &mut sink).map_err(|e| source.explain(e))? {
            break ending;
        }
        if let Sink::Changelog(changelog) = &mut sink {
            changelog.out.flush()?;
        }
    };
    drop(progress);
    match &mut sink {
        Sink::Changelog(changelog) => changelog.out.flush()?,
        Sink::Table(fold) => print_table(args.output, &columns, fold)?,
    }
    match ending {
        Ending::Whole => {}
        Ending::Limited => note("the result was cut at the limit (--limit)"),
        Ending::Interrupted => note("interrupted: the query was ended; this is how far it came"),
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    Limited,
    Interrupted,
}

fn take_lines(
    splitter: &mut Splitter,
    columns: &mut Vec<ColumnName>,
    sink: &mut Sink,
) -> Result<Option<Ending>, Failure> {
    while let Some(line) = splitter.next() {
        match (parse(line)?, &mut *sink) {
            (Line::Columns(names), Sink::Changelog(changelog)) => {
                changelog.header(&names)?;
                *columns = names;
            }
            (Line::Columns(names), Sink::Table(_)) => *columns = names,
            (Line::Change(change), Sink::Changelog(changelog)) => changelog.write(columns, &change)?,
            (Line::Change(change), Sink::Table(fold)) => fold.apply(change)?,
            (Line::End { limited }, _) => return Ok(Some(if limited { Ending::Limited } else { Ending::Whole })),
        }
    }
    Ok(None)
}

/// Prints changes one by one.
struct Changelog<W> {
    format: RowFormat,
    out: W,
}

impl<W: Write> Changelog<W> {
    fn header(&mut self, columns: &[ColumnName]) -> Result<(), Failure> {
        if self.format == RowFormat::Csv {
            let names: Vec<Value> =
                std::iter::once("op").chain(columns.iter().map(String::as_str)).map(Value::from).collect();
            writeln!(self.out, "{}", csv::line(&names))?;
        }
        Ok(())
    }

    /// `table` looks as Flink's print connector does: `+I[1, a]`.
    fn write(&mut self, columns: &[ColumnName], change: &Change) -> Result<(), Failure> {
        let op = change.op.as_str();
        match self.format {
            RowFormat::Table => {
                let cells: Vec<String> = change.row.iter().map(cell).collect();
                writeln!(self.out, "{op}[{}]", cells.join(", "))?;
            }
            RowFormat::Csv => {
                let op = Value::from(op);
                writeln!(self.out, "{}", csv::line(std::iter::once(&op).chain(&change.row)))?;
            }
            RowFormat::Json => {
                let row = object(columns, &change.row);
                writeln!(self.out, "{{\"op\":\"{op}\",\"row\":{row}}}")?;
            }
        }
        Ok(())
    }
}

fn print_table(format: RowFormat, columns: &[ColumnName], fold: &Fold) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match format {
        RowFormat::Table => {
            let mut table = Table::new();
            table.load_preset(presets::ASCII_FULL_CONDENSED).set_header(columns.iter().map(|c| one_line(c)));
            let mut count = 0u64;
            for row in fold.rows() {
                table.add_row(row.iter().map(cell));
                count += 1;
            }
            writeln!(out, "{table}\n{count} row{}", if count == 1 { "" } else { "s" })?;
        }
        RowFormat::Csv => {
            let names: Vec<Value> = columns.iter().map(|c| Value::from(c.as_str())).collect();
            writeln!(out, "{}", csv::line(&names))?;
            for row in fold.rows() {
                writeln!(out, "{}", csv::line(row))?;
            }
        }
        RowFormat::Json => {
            for row in fold.rows() {
                writeln!(out, "{}", object(columns, row))?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// A cell for a person: text as it is, NULL in capitals.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => one_line(text),
        other => one_line(&other.to_string()),
    }
}

/// A JSON object with members in the order of the columns, which a map would not keep.
fn object(columns: &[ColumnName], row: &[Value]) -> String {
    let members: Vec<String> =
        columns.iter().zip(row).map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::lines::Op;
    use super::*;

    #[test]
    fn changes_are_printed_in_each_format() {
        let check = |format, expected: &str| {
            let mut changelog = Changelog { format, out: Vec::new() };
            let columns = ["n".to_owned(), "a b".to_owned()];
            changelog.header(&columns).unwrap();
            let change = Change { op: Op::UpdateAfter, row: vec![1.into(), "x,\ty".into()] };
            changelog.write(&columns, &change).unwrap();
            changelog.write(&columns, &Change { op: Op::Delete, row: vec![Value::Null, "".into()] }).unwrap();
            assert_eq!(String::from_utf8(changelog.out).unwrap(), expected);
        };
        check(RowFormat::Table, "+U[1, x,\\ty]\n-D[NULL, ]\n");
        check(RowFormat::Csv, "op,n,a b\n+U,1,\"x,\ty\"\n-D,,\"\"\n");
        let json =
            "{\"op\":\"+U\",\"row\":{\"n\":1,\"a b\":\"x,\\ty\"}}\n{\"op\":\"-D\",\"row\":{\"n\":null,\"a b\":\"\"}}\n";
        check(RowFormat::Json, json);
    }

    #[test]
    fn a_result_ends_with_its_last_line_only() {
        let mut splitter = Splitter::default();
        let (mut columns, mut sink) = (Vec::new(), Sink::Table(Fold::default()));
        splitter
            .push(b"{\"columns\":[{\"name\":\"a\",\"type\":\"INT\"}]}\n{\"op\":\"+I\",\"row\":[1]}\n{\"op\"")
            .unwrap();
        assert_eq!(take_lines(&mut splitter, &mut columns, &mut sink).unwrap(), None);
        splitter.push(b":\"+I\",\"row\":[2]}\n{\"end\":{\"rows\":2,\"limited\":false}}\n").unwrap();
        assert_eq!(take_lines(&mut splitter, &mut columns, &mut sink).unwrap(), Some(Ending::Whole));
        let Sink::Table(fold) = sink else { panic!("it was a table") };
        assert_eq!((columns, fold.rows().count()), (vec!["a".to_owned()], 2));
    }
}
