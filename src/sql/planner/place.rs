//! Errors with their place in the SQL text, and names that were probably meant.

use sqlparser::ast::Spanned;
use sqlparser::tokenizer::Span;

use crate::error::{Error, Place, Result};
use crate::sql::ast::Position;

/// The position of a node, if the parser kept it.
pub fn position(node: &impl Spanned) -> Option<Position> {
    of_span(node.span())
}

/// The start of a span that is not empty.
pub fn of_span(span: Span) -> Option<Position> {
    (span.start.line > 0).then_some(Position { line: span.start.line, column: span.start.column })
}

/// An error at a position.
pub fn error(code: &str, message: impl Into<String>, at: Position) -> Error {
    Error::invalid(code, message).at_sql(at.line, at.column)
}

/// `sql_unsupported`: what is not there, and what to write instead.
pub fn unsupported<T>(what: &str, instead: &str, at: Position) -> Result<T> {
    Err(error("sql_unsupported", format!("{what}: {instead}"), at))
}

/// Gives an error a place, unless it has one.
pub fn locate(mut error: Error, at: Position) -> Error {
    if error.place.is_none() && at.line > 0 {
        error.place = Some(Place::Sql { line: at.line, column: at.column });
    }
    error
}

/// `; did you mean a or b?`, or nothing, for a name that is not among the candidates.
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let limit = 1 + name.chars().count() / 4;
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|c| (distance(&name.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(d, _)| *d <= limit)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(3);
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = near.into_iter().map(|(_, c)| c).collect();
    format!("; did you mean {}?", names.join(" or "))
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(x != *y)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn near_names_are_suggested() {
        for (name, expected) in [
            ("prize", "; did you mean price?"),
            ("PRICE", "; did you mean price?"),
            ("biddr", "; did you mean bidder?"),
            ("totally", ""),
        ] {
            assert_eq!(suggestion(name, ["price", "bidder", "ts"]), expected, "{name}");
        }
    }
}
