//! Small steps over `sqlparser`'s token cursor, by word instead of by `Keyword`: half of Flink's words are no keywords
//! there, and the rest is taken away by `tokens`.

use sqlparser::ast::Ident;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::error::{Parsed, expected, unsupported};
use crate::sql::ast::Position;

/// Whether `token` is this word, unquoted, in any case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    unquoted(token).is_some_and(|w| w.eq_ignore_ascii_case(word))
}

/// The text of an unquoted word.
pub(super) fn unquoted(token: &Token) -> Option<&str> {
    match token {
        Token::Word(w) if w.quote_style.is_none() => Some(&w.value),
        _ => None,
    }
}

/// Words that begin or join clauses: never a name, and never the start of an expression.
pub(super) fn is_clause_word(token: &Token) -> bool {
    const WORDS: &[&str] = &[
        "AND",
        "AS",
        "BETWEEN",
        "BY",
        "CREATE",
        "CROSS",
        "DISTINCT",
        "DROP",
        "ELSE",
        "EXCEPT",
        "FROM",
        "FULL",
        "GROUP",
        "HAVING",
        "IN",
        "INNER",
        "INSERT",
        "INTERSECT",
        "INTO",
        "IS",
        "JOIN",
        "LIKE",
        "LIMIT",
        "NATURAL",
        "ON",
        "OR",
        "ORDER",
        "OUTER",
        "SELECT",
        "SET",
        "THEN",
        "UNION",
        "USING",
        "WHEN",
        "WHERE",
        "WITH",
    ];
    unquoted(token).is_some_and(|w| WORDS.iter().any(|k| k.eq_ignore_ascii_case(w)))
}

/// Whether `token` begins a query.
pub(super) fn begins_query(token: &Token) -> bool {
    ["SELECT", "WITH", "VALUES"].iter().any(|w| is_word(token, w))
}

/// Whether the `n`th token ahead is this word.
pub(super) fn at(p: &Parser, n: usize, word: &str) -> bool {
    is_word(&p.peek_nth_token_ref(n).token, word)
}

/// Whether the tokens ahead are these words.
pub(super) fn at_all(p: &Parser, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(n, word)| at(p, n, word))
}

/// Takes these words if all of them are next.
pub(super) fn eat(p: &mut Parser, words: &[&str]) -> bool {
    let there = at_all(p, words);
    if there {
        words.iter().for_each(|_| p.advance_token());
    }
    there
}

/// Takes these words, or fails at the first that is missing.
pub(super) fn want(p: &mut Parser, words: &[&str]) -> Parsed<()> {
    for word in words {
        if !eat(p, &[word]) {
            return expected(word, p.peek_token_ref());
        }
    }
    Ok(())
}

/// Whether the `n`th token ahead is `token`.
pub(super) fn at_token(p: &Parser, n: usize, token: &Token) -> bool {
    p.peek_nth_token_ref(n).token == *token
}

/// Takes `token`, or fails.
pub(super) fn want_token(p: &mut Parser, token: &Token) -> Parsed<()> {
    if p.consume_token(token) { Ok(()) } else { expected(&format!("`{token}`"), p.peek_token_ref()) }
}

/// `item, item, …`.
pub(super) fn list<'a, T>(p: &mut Parser<'a>, mut item: impl FnMut(&mut Parser<'a>) -> Parsed<T>) -> Parsed<Vec<T>> {
    let mut items = vec![item(p)?];
    while p.consume_token(&Token::Comma) {
        items.push(item(p)?);
    }
    Ok(items)
}

/// `(item, item, …)`.
pub(super) fn parenthesized<'a, T>(
    p: &mut Parser<'a>,
    item: impl FnMut(&mut Parser<'a>) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    want_token(p, &Token::LParen)?;
    let items = list(p, item)?;
    want_token(p, &Token::RParen)?;
    Ok(items)
}

/// A string literal.
pub(super) fn string(p: &mut Parser) -> Parsed<String> {
    match &p.peek_token_ref().token {
        Token::SingleQuotedString(text) => {
            let text = text.clone();
            p.advance_token();
            Ok(text)
        }
        _ => expected("a string in single quotes", p.peek_token_ref()),
    }
}

/// An identifier.
pub(super) fn identifier(p: &mut Parser) -> Parsed<Ident> {
    let found = p.peek_token_ref();
    match &found.token {
        Token::Word(word) if !is_clause_word(&found.token) => {
            let identifier = word.to_ident(found.span);
            p.advance_token();
            Ok(identifier)
        }
        _ => expected("a name", found),
    }
}

/// The name of a table or view: its last part, the others must name the default database.
pub(super) fn table_name(p: &mut Parser) -> Parsed<Ident> {
    let start = here(p);
    let mut parts = vec![identifier(p)?];
    while p.consume_token(&Token::Period) {
        parts.push(identifier(p)?);
    }
    let name = parts.pop().expect("one part was pushed above");
    let qualifier: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
    if is_default_database(&qualifier) { Ok(name) } else { unsupported(start, ONLY_DEFAULT_DATABASE) }
}

/// Why a qualified name is refused.
pub(super) const ONLY_DEFAULT_DATABASE: &str =
    "there is only the database `default_catalog`.`default_database`: write the table's name alone";

/// Whether `qualifier` names the one database there is.
pub(super) fn is_default_database(qualifier: &[&str]) -> bool {
    matches!(qualifier, [] | ["default_database"] | ["default_catalog", "default_database"])
}

/// Where the next token begins.
pub(super) fn here(p: &Parser) -> Location {
    p.peek_token_ref().span.start
}

/// The position of a token.
pub(super) fn position(token: &TokenWithSpan) -> Position {
    Position { line: token.span.start.line, column: token.span.start.column }
}
