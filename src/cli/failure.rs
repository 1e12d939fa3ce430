//! Why a command failed: what it prints to standard error and with which code it exits.

use std::fmt;
use std::io;
use std::process::ExitCode;

use super::excerpt::{excerpt, printable};
use crate::api::problem::{ProblemBody, ProblemPlace};
use crate::error::{Error, ErrorKind, Place};

/// Exit codes of all commands; 0 is success. Part of the interface: scripts match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: the command, the job or the snapshot failed.
    Failed,
    /// 2: wrong flags, an unreadable file, wrong settings.
    Usage,
    /// 3: there is no such thing.
    NotFound,
    /// 4: the thing is in another state than the command needs.
    Conflict,
    /// 5: the service (or something it needs) does not answer: try again later.
    Unavailable,
    /// 6: the service refused the request or its SQL: change it.
    Invalid,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Conflict => 4,
            Exit::Unavailable => 5,
            Exit::Invalid => 6,
        })
    }
}

/// See the module text.
#[derive(Debug, Clone)]
pub struct Failure {
    pub exit: Exit,
    pub code: String,
    pub detail: String,
    places: Vec<ProblemPlace>,
    causes: Vec<String>,
    /// The text that lines and columns are about, with its name.
    text: Option<Box<(String, String)>>,
}

impl Failure {
    /// A failure with a stable code.
    pub fn new(exit: Exit, code: &str, detail: impl Into<String>) -> Self {
        Failure {
            exit,
            code: code.to_owned(),
            detail: detail.into(),
            places: Vec::new(),
            causes: Vec::new(),
            text: None,
        }
    }
    /// The command line or a local file is wrong.
    pub fn usage(code: &str, detail: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, detail)
    }
    /// Adds a cause and its sources.
    pub fn because(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(c) = next {
            self.causes.push(c.to_string());
            next = c.source();
        }
        self
    }
    /// Adds a line and column of [`Failure::within`]'s text.
    pub fn at(mut self, line: u64, column: u64) -> Self {
        self.places.push(ProblemPlace { line: Some(line), column: Some(column), ..ProblemPlace::default() });
        self
    }
    /// Names the text that lines and columns are about.
    pub fn within(mut self, name: &str, text: &str) -> Self {
        self.text = Some(Box::new((name.to_owned(), text.to_owned())));
        self
    }
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        self.exit == Exit::Unavailable
    }
    /// Whether nobody reads the output any more: no reason to complain.
    pub fn is_broken_pipe(&self) -> bool {
        self.code == "broken_pipe"
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let exit = match e.kind {
            ErrorKind::Invalid => Exit::Invalid,
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Conflict | ErrorKind::Fenced => Exit::Conflict,
            ErrorKind::Unavailable => Exit::Unavailable,
            ErrorKind::Corrupt | ErrorKind::Internal => Exit::Failed,
        };
        let place = e.place.map(|place| match place {
            Place::Sql { line, column } => {
                ProblemPlace { line: Some(line), column: Some(column), ..ProblemPlace::default() }
            }
            Place::Pointer { pointer } => ProblemPlace { pointer: Some(pointer), ..ProblemPlace::default() },
            Place::Input { file, line } => {
                ProblemPlace { file: Some(file), line: Some(line), ..ProblemPlace::default() }
            }
        });
        let (places, causes) = (place.into_iter().collect(), e.causes);
        Failure { exit, code: e.code, detail: e.message, places, causes, text: None }
    }
}

impl From<ProblemBody> for Failure {
    fn from(p: ProblemBody) -> Self {
        let exit = exit_of(p.status);
        Failure { exit, code: p.code, detail: p.detail, places: p.errors, causes: Vec::new(), text: None }
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Exit::Failed, "broken_pipe", "nobody reads the output"),
            _ => Failure::new(Exit::Failed, "output_failed", "writing the output failed").because(&e),
        }
    }
}

/// What an HTTP status means to a script.
pub fn exit_of(status: u16) -> Exit {
    match status {
        404 | 410 => Exit::NotFound,
        409 | 412 => Exit::Conflict,
        429 | 502 | 503 | 504 => Exit::Unavailable,
        400..=499 => Exit::Invalid,
        _ => Exit::Failed,
    }
}

/// The flag that sets a member of a request's body.
fn flag_of(pointer: &str) -> Option<&'static str> {
    Some(match pointer {
        "/name" => "--name",
        "/parallelism" => "--parallelism",
        "/max_parallelism" => "--max-parallelism",
        "/checkpointing/interval_ms" => "--checkpoint-interval",
        "/restore/from" => "--restore-from",
        "/labels" => "--label",
        "/target" => "--target",
        "/limit" => "--limit",
        "/timeout_ms" => "--timeout",
        _ => return None,
    })
}

/// Several lines, without a newline at the end: `error[code]: detail`, then the places, then the causes.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", printable(&self.code), printable(&self.detail))?;
        for place in &self.places {
            match (place, self.text.as_deref()) {
                (ProblemPlace { file: Some(file), line, .. }, _) => {
                    write!(f, "\n --> {}", printable(file))?;
                    line.map_or(Ok(()), |line| write!(f, ", line {line}"))?;
                }
                (ProblemPlace { line: Some(line), column, .. }, Some((name, text))) => {
                    write!(f, "\n{}", excerpt(name, text, *line, column.unwrap_or(1)))?;
                }
                (ProblemPlace { line: Some(line), column, .. }, None) => {
                    write!(f, "\n --> line {line}, column {}", column.unwrap_or(1))?;
                }
                (ProblemPlace { pointer: Some(pointer), .. }, _) => match flag_of(pointer) {
                    Some(flag) => write!(f, "\n --> {flag}")?,
                    None => write!(f, "\n --> {} of the request", printable(pointer))?,
                },
                _ => {}
            }
            if !place.detail.is_empty() && place.detail != self.detail {
                write!(f, "\n     {}", printable(&place.detail))?;
            }
        }
        for cause in &self.causes {
            write!(f, "\n  caused by: {}", printable(cause))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_exit_code() {
        let check = |status, exit| assert_eq!(exit_of(status), exit, "{status}");
        check(400, Exit::Invalid);
        check(405, Exit::Invalid);
        check(413, Exit::Invalid);
        check(404, Exit::NotFound);
        check(409, Exit::Conflict);
        check(503, Exit::Unavailable);
        check(504, Exit::Unavailable);
        check(500, Exit::Failed);
    }

    #[test]
    fn kinds_exit_as_their_http_status_does() {
        use ErrorKind::{Conflict, Corrupt, Fenced, Internal, Invalid, NotFound, Unavailable};
        for kind in [Invalid, NotFound, Conflict, Fenced, Unavailable, Corrupt, Internal] {
            let error = Error::new(kind, "c", "m");
            let status = crate::api::problem::Problem::from(error.clone()).body().status;
            assert_eq!(Failure::from(error).exit, exit_of(status), "{kind:?}");
        }
    }

    #[test]
    fn problems_show_their_places() {
        let check = |error: Error, expected: &str| {
            let body = crate::api::problem::Problem::from(error).body();
            assert_eq!(Failure::from(body).within("q.sql", "SELECT x\nFROM t").to_string(), expected);
        };
        check(Error::not_found("job_not_found", "there is no job 'x'"), "error[job_not_found]: there is no job 'x'");
        check(
            Error::invalid("unknown_column", "there is no column 'x'").at_sql(1, 8),
            "error[unknown_column]: there is no column 'x'\n --> q.sql:1:8\n  |\n1 | SELECT x\n  |        ^",
        );
        check(
            Error::invalid("invalid_value", "must be between 1 and 256").at_pointer("/parallelism"),
            "error[invalid_value]: must be between 1 and 256\n --> --parallelism",
        );
        check(
            Error::invalid("invalid_value", "no").at_pointer("/restart"),
            "error[invalid_value]: no\n --> /restart of the request",
        );
        check(
            Error::corrupt("undecodable_record", "not JSON").at_input("a.json", 7),
            "error[undecodable_record]: not JSON\n --> a.json, line 7",
        );
    }

    #[test]
    fn causes_follow_the_message() {
        let failure = Failure::usage("unreadable_file", "x cannot be read").because(&io::Error::other("gone"));
        assert_eq!(failure.to_string(), "error[unreadable_file]: x cannot be read\n  caused by: gone");
    }

    #[test]
    fn answers_cannot_write_to_the_terminal() {
        let failure = Failure::new(Exit::Failed, "c", "a\u{1b}[2Jb");
        assert_eq!(failure.to_string(), "error[c]: a\\u{1b}[2Jb");
    }
}
