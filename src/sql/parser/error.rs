//! Errors of the parser: made as `sqlparser`'s (its hooks must return them), turned into ours at the edge.
//!
//! `sqlparser` writes the position into the text (`… at Line: 1, Column: 2`); ours do the same so that one function,
//! [`convert`], finds it again. A refusal is told from a mistake by a mark in front.

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, TokenizerError};

use super::MAX_NESTING;
use crate::error::Error;

/// Result inside the parser.
pub(super) type Parsed<T> = Result<T, ParserError>;

const UNSUPPORTED_MARK: char = '\u{1}';
const POSITION_MARK: &str = " at Line: ";
/// Longer tokens are cut in messages.
const MAX_SHOWN: usize = 60;

/// A mistake at `location`.
pub(super) fn syntax<T>(location: Location, message: impl AsRef<str>) -> Parsed<T> {
    Err(ParserError::ParserError(format!("{}{location}", message.as_ref())))
}

/// Something that Flink SQL has and Holdfast has not, or not yet.
pub(super) fn unsupported<T>(location: Location, message: impl AsRef<str>) -> Parsed<T> {
    Err(ParserError::ParserError(format!("{UNSUPPORTED_MARK}{}{location}", message.as_ref())))
}

/// `found` stands where `what` should.
pub(super) fn expected<T>(what: &str, found: &TokenWithSpan) -> Parsed<T> {
    syntax(found.span.start, format!("expected {what}, found {}", shown(&found.token)))
}

/// A token as messages show it.
pub(super) fn shown(token: &Token) -> String {
    if *token == Token::EOF {
        return "the end of the text".to_owned();
    }
    cut(&token.to_string())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The error for the client; `stopped` is where the parser stood, for the messages without a position.
pub(super) fn convert(error: ParserError, stopped: Location) -> Error {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        ParserError::RecursionLimitExceeded => {
            format!("the statement nests deeper than {MAX_NESTING} levels: split it with views")
        }
    };
    let (message, location) = split_position(&text);
    let location = location.unwrap_or(stopped);
    let error = match message.strip_prefix(UNSUPPORTED_MARK) {
        Some(message) => Error::invalid("sql_unsupported", message),
        None => Error::invalid("sql_syntax", reworded(message)),
    };
    error.at_sql(location.line, location.column)
}

/// An error of the tokenizer.
pub(super) fn convert_tokenizer(error: &TokenizerError) -> Error {
    let Location { line, column } = error.location;
    Error::invalid("sql_syntax", reworded(&error.message)).at_sql(line, column)
}

fn split_position(text: &str) -> (&str, Option<Location>) {
    let parse = || {
        let at = text.rfind(POSITION_MARK)?;
        let (line, column) = text[at + POSITION_MARK.len()..].split_once(", Column: ")?;
        Some((&text[..at], Location { line: line.parse().ok()?, column: column.parse().ok()? }))
    };
    parse().map_or((text, None), |(message, location)| (message, Some(location)))
}

/// `Expected: X, found: Y` in our style.
fn reworded(message: &str) -> String {
    let Some(rest) = message.strip_prefix("Expected: ") else {
        return uncapitalized(message.trim_end_matches('.'));
    };
    let Some((what, found)) = rest.rsplit_once(", found: ") else {
        return format!("expected {rest}");
    };
    let is_sign = !what.chars().any(char::is_alphanumeric);
    let what = if is_sign { format!("`{what}`") } else { what.to_owned() };
    let found = if found == "EOF" { "the end of the text".to_owned() } else { cut(found) };
    format!("expected {what}, found {found}")
}

/// The text without its capital; a word in capitals is a keyword and stays.
fn uncapitalized(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if first.is_uppercase() && !chars.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}
