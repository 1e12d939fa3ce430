//! Parses Flink SQL text into [`crate::sql::ast`].
//!
//! Queries and expressions are parsed by the unforked `sqlparser`; what Flink adds comes in three layers:
//!
//! 1. `tokens`: the tokenizer, less every token and keyword that Flink's grammar does not have, so that `sqlparser`
//!    never recognises another database's syntax;
//! 2. `rewrite`: one pass over the tokens of table clauses (hints, catalog names) and `MATCH_RECOGNIZE … WITHIN`;
//! 3. `dialect`: hooks of `sqlparser`'s expression parser (`TABLE t` arguments, `CAST`, JSON functions, intervals).
//!
//! Statements (`statement`, `table`) and types (`data_type`) are parsed here. Invariants: (1) every error has code
//! `sql_syntax` or `sql_unsupported` and a line and column; (2) nothing that was written is dropped silently, except
//! comments and `COMMENT` clauses; (3) no input overflows the stack: nesting and operator chains are limited.
//!
//! Conventions for the planner (calls that stand for what `sqlparser` has no node for):
//! `__TABLE_ARG(t | subquery [, __PARTITION_BY(k, …)] [, __ORDER_BY(k, …)])`, `MAP(k, v, …)`, `IS_JSON(x, 'VALUE')`,
//! `JSON_EXISTS`, `JSON_VALUE`, `JSON_QUERY`, `JSON_OBJECT`, `JSON_ARRAY` with literal modes as last arguments (see
//! `json`), `DEFINE __WITHIN AS INTERVAL …` for `WITHIN`; a type in `CAST` is read with
//! [`data_type::from_sqlparser`].

mod cursor;
pub mod data_type;
mod dialect;
mod error;
mod expression;
mod json;
mod rewrite;
mod statement;
mod table;
#[cfg(test)]
mod tests;
mod tokens;

use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, TokenWithSpan};

use super::ast::PositionedStatement;
use crate::error::{Error, Place, Result};
use dialect::FlinkDialect;

/// How deep expressions, queries and types may nest: far more than anybody writes, and small enough for a 2 MB stack.
const MAX_NESTING: usize = 100;

/// How many binary operators or set operators may follow each other at one level (`a AND b AND …`): such a chain is a
/// tree of this depth, and its drop and every later walk recurse.
const MAX_CHAIN: usize = 500;

/// Parses a script. Errors have code `sql_syntax` or `sql_unsupported`, with line and column.
pub fn parse(sql: &str) -> Result<Vec<PositionedStatement>> {
    let tokenized = tokens::tokenize(sql)?;
    let rewritten = match rewrite::rewrite(tokenized.tokens) {
        Ok(rewritten) => rewritten,
        Err(error) => return Err(first(tokenized.refused, Some(error.clone())).unwrap_or(error)),
    };
    let refused = first(tokenized.refused, rewritten.refused);
    let end = tokenized.end;
    match run(rewritten.tokens.clone(), end) {
        Ok(statements) => refused.map_or(Ok(statements), Err),
        Err(error) => {
            // `sqlparser` tries `FROM (` as a query, forgets that error, and reports why it is no join either. With
            // LATERAL it must be a query; unless that came less far, it has the real error.
            let error = match run(rewrite::force_subqueries(rewritten.tokens, &rewritten.subqueries), end) {
                Err(forced) if position(&forced) >= position(&error) => forced,
                _ => error,
            };
            Err(first(refused, Some(error.clone())).unwrap_or(error))
        }
    }
}

fn run(tokens: Vec<TokenWithSpan>, end: Location) -> Result<Vec<PositionedStatement>> {
    let dialect = FlinkDialect;
    let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_NESTING).with_tokens_with_locations(tokens);
    statement::script(&mut parser).map_err(|e| {
        let stopped = parser.peek_token_ref().span.start;
        error::convert(e, if stopped.line == 0 { end } else { stopped })
    })
}

/// The error that stands first in the text.
fn first(a: Option<Error>, b: Option<Error>) -> Option<Error> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if position(&b) < position(&a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn position(error: &Error) -> (u64, u64) {
    match error.place {
        Some(Place::Sql { line, column }) => (line, column),
        _ => (0, 0),
    }
}
