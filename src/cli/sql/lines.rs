//! The lines of a query's result, as they come from `POST /api/v1/sql/query`.

use serde_json::Value;

use crate::api::jobs::plan::ColumnView;
use crate::api::problem::ProblemBody;
use crate::cli::failure::{Exit, Failure};

/// Longest line: a row with a large text in it.
const MAX_LINE_BYTES: usize = 64 << 20;

/// One line.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// The first.
    Columns(Vec<ColumnName>),
    Change(Change),
    /// The last of a query that went well. `limited` = it was cut at the limit.
    End {
        limited: bool,
    },
}

/// A column's name; its type is of no use here.
pub type ColumnName = String;

/// What happened to one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub op: Op,
    pub row: Vec<Value>,
}

/// Flink's row kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum Op {
    #[serde(rename = "+I")]
    Insert,
    #[serde(rename = "-U")]
    UpdateBefore,
    #[serde(rename = "+U")]
    UpdateAfter,
    #[serde(rename = "-D")]
    Delete,
}

impl Op {
    /// Flink's short text.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Insert => "+I",
            Op::UpdateBefore => "-U",
            Op::UpdateAfter => "+U",
            Op::Delete => "-D",
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Raw {
    Columns { columns: Vec<ColumnView> },
    Change { op: Op, row: Vec<Value> },
    End { end: RawEnd },
    Error { error: ProblemBody },
}

#[derive(serde::Deserialize)]
struct RawEnd {
    limited: bool,
}

/// Reads one line; the service's own error line becomes its failure.
pub fn parse(line: &[u8]) -> Result<Line, Failure> {
    match serde_json::from_slice(line) {
        Ok(Raw::Columns { columns }) => Ok(Line::Columns(columns.into_iter().map(|c| c.name).collect())),
        Ok(Raw::Change { op, row }) => Ok(Line::Change(Change { op, row })),
        Ok(Raw::End { end }) => Ok(Line::End { limited: end.limited }),
        Ok(Raw::Error { error }) => Err(error.into()),
        Err(e) => {
            Err(Failure::new(Exit::Failed, "unexpected_answer", "a line of the result cannot be read").because(&e))
        }
    }
}

/// Cuts chunks of bytes into lines.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    start: usize,
}

impl Splitter {
    /// Takes the next chunk.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() > MAX_LINE_BYTES.saturating_add(chunk.len()) {
            let detail = format!("a row of the result is larger than {MAX_LINE_BYTES} bytes");
            return Err(Failure::new(Exit::Failed, "result_too_large", detail));
        }
        Ok(())
    }

    /// The next whole line, without its end.
    pub fn next(&mut self) -> Option<&[u8]> {
        let rest = self.buffer.get(self.start..)?;
        let end = memchr::memchr(b'\n', rest)?;
        let line = self.start..self.start + end;
        self.start = line.end + 1;
        self.buffer.get(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_read() {
        let check = |text: &str, expected: Line| assert_eq!(parse(text.as_bytes()).unwrap(), expected);
        check(r#"{"columns":[{"name":"a","type":"INT"}]}"#, Line::Columns(vec!["a".into()]));
        check(
            r#"{"op":"-U","row":[1,null]}"#,
            Line::Change(Change { op: Op::UpdateBefore, row: vec![1.into(), Value::Null] }),
        );
        check(r#"{"end":{"rows":3,"limited":true}}"#, Line::End { limited: true });
        let problem = r#"{"error":{"type":"t","title":"t","status":503,"detail":"d","code":"query_timeout"}}"#;
        assert_eq!(parse(problem.as_bytes()).unwrap_err().exit, Exit::Unavailable);
        assert_eq!(parse(b"<html>").unwrap_err().code, "unexpected_answer");
    }

    #[test]
    fn lines_do_not_depend_on_chunks() {
        let text = b"one\n\ntwo\nthree\nrest";
        for size in 1..=text.len() {
            let mut splitter = Splitter::default();
            let mut lines = Vec::new();
            for chunk in text.chunks(size) {
                splitter.push(chunk).unwrap();
                while let Some(line) = splitter.next() {
                    lines.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            assert_eq!(lines, ["one", "", "two", "three"], "chunks of {size}");
        }
    }
}
