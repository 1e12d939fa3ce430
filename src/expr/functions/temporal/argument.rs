//! Patterns and strings as arguments: a literal pattern is compiled once, another one when it changes.

use arrow::array::StringArray;

use super::super::kernels::{Column, column, literal_text};
use super::pattern::{Dialect, Pattern};
use crate::error::{Error, Result};
use crate::expr::function::{Call, Value};

/// `SimpleDateFormat`'s pattern of a timestamp without a fraction, Flink's default for strings.
pub(super) const TIMESTAMP_FORMAT: &str = "yyyy-MM-dd HH:mm:ss";

/// The pattern argument of a call.
pub(super) struct PatternArgument {
    literal: Option<Result<Pattern>>,
    index: usize,
    dialect: Dialect,
}

impl PatternArgument {
    /// Argument `index`, or `default` if the call has fewer arguments. A wrong literal is kept for [`Patterns::get`].
    pub fn new(call: &Call<'_>, index: usize, default: &str, dialect: Dialect) -> Self {
        let text = if call.args.len() > index { literal_text(call.args.get(index)) } else { Some(default) };
        PatternArgument { literal: text.map(|t| Pattern::compile(t, dialect)), index, dialect }
    }
    /// The error of a wrong literal.
    pub fn check(&self) -> Result<()> {
        match &self.literal {
            Some(Err(e)) => Err(e.clone()),
            _ => Ok(()),
        }
    }
    /// The compiled literal, if it is one.
    pub fn literal(&self) -> Option<&Pattern> {
        self.literal.as_ref().and_then(|p| p.as_ref().ok())
    }
    /// The patterns of a batch.
    pub fn of_batch<'a>(&'a self, args: &'a [Value]) -> Result<Patterns<'a>> {
        let column = if self.literal.is_some() { None } else { Some(column::<StringArray>(args, self.index)?) };
        Ok(Patterns { argument: self, column, last: None })
    }
}

/// The pattern of each row of a batch.
pub(super) struct Patterns<'a> {
    argument: &'a PatternArgument,
    column: Option<Column<'a, StringArray>>,
    last: Option<(String, Result<Pattern>)>,
}

impl Patterns<'_> {
    /// The pattern of a row: `None` if it is null, an error if it is wrong.
    pub fn get(&mut self, row: usize) -> Result<Option<&Pattern>> {
        if let Some(literal) = &self.argument.literal {
            return literal.as_ref().map(Some).map_err(Error::clone);
        }
        let Some(text) = self.column.as_ref().and_then(|c| c.get(row)) else { return Ok(None) };
        if self.last.as_ref().is_none_or(|(last, _)| last != text) {
            self.last = Some((text.to_owned(), Pattern::compile(text, self.argument.dialect)));
        }
        match &self.last {
            Some((_, pattern)) => pattern.as_ref().map(Some).map_err(Error::clone),
            None => Ok(None),
        }
    }
}
