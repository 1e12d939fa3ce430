//! The one error type that crosses module boundaries.
//!
//! An error carries a *kind* (what the caller should do), a stable *code* (what scripts match on), a sentence for the
//! person who must act, and the *places* it is about (line and column, JSON pointer, file and offset). A single struct
//! instead of an enum per module: every layer only ever asks "which kind" and "which code", and conversions between
//! ten enums would say nothing more.

use std::fmt;

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request or its SQL is wrong: change it and send it again.
    Invalid,
    /// The thing named does not exist (any more).
    NotFound,
    /// The thing is in another state than the request needs: look at it, then decide.
    Conflict,
    /// Another process owns the job now: stop working on it at once.
    Fenced,
    /// A dependency (database, store, disk) did not answer: try again later.
    Unavailable,
    /// Stored bytes are not what was written: restore from another snapshot.
    Corrupt,
    /// A defect in Holdfast: report it with the log.
    Internal,
}

/// A place that an error is about.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// A position in SQL text; both count from 1.
    Sql { line: u64, column: u64 },
    /// A JSON pointer (RFC 6901) into a request body.
    Pointer { pointer: String },
    /// A record of an input: file (or topic) and line (or offset), both as the connector counts them.
    Input { file: String, line: u64 },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Sql { line, column } => write!(f, "line {line}, column {column}"),
            Place::Pointer { pointer } => write!(f, "{pointer}"),
            Place::Input { file, line } => write!(f, "{file}, line {line}"),
        }
    }
}

/// See the module text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Error {
    pub kind: ErrorKind,
    /// Stable, lower-case, snake_case; documented in `docs/errors.md`.
    pub code: String,
    /// What failed and what to do; safe to show to a client.
    pub message: String,
    /// The place, where there is one.
    pub place: Option<Place>,
    /// Causes, outermost first; for the log.
    pub causes: Vec<String>,
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error of `kind` with a stable `code`.
    pub fn new(kind: ErrorKind, code: &str, message: impl Into<String>) -> Self {
        Error { kind, code: code.to_owned(), message: message.into(), place: None, causes: Vec::new() }
    }
    /// The request is wrong.
    pub fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }
    /// The thing named does not exist.
    pub fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, code, message)
    }
    /// The thing is in another state than the request needs.
    pub fn conflict(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, message)
    }
    /// Another process owns the job.
    pub fn fenced(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fenced, "fenced", message)
    }
    /// A dependency did not answer.
    pub fn unavailable(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, code, message)
    }
    /// Stored bytes are not what was written.
    pub fn corrupt(code: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, code, message)
    }
    /// A defect in Holdfast.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "internal", message)
    }
    /// Adds the position in SQL text (line and column, from 1).
    pub fn at_sql(mut self, line: u64, column: u64) -> Self {
        self.place = Some(Place::Sql { line, column });
        self
    }
    /// Adds the JSON pointer of the offending member of a request body.
    pub fn at_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.place = Some(Place::Pointer { pointer: pointer.into() });
        self
    }
    /// Adds the input record's place.
    pub fn at_input(mut self, file: impl Into<String>, line: u64) -> Self {
        self.place = Some(Place::Input { file: file.into(), line });
        self
    }
    /// Adds a cause and, recursively, its sources.
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(c) = next {
            self.causes.push(c.to_string());
            next = c.source();
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(place) = &self.place {
            write!(f, " ({place})")?;
        }
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Self {
        Error::new(ErrorKind::Internal, "evaluation_failed", "evaluating a batch failed").caused_by(&e)
    }
}
