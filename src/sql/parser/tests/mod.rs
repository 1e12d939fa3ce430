//! Tests of the parser: tables of inputs over every construct, and properties over broken text.

mod errors;
mod fixtures;
mod fuzz;
mod queries;
mod statements;
mod types;

use sqlparser::ast::{Expr, Query, Select, SelectItem, SetExpr};

use super::parse;
use crate::error::{Error, Place};
use crate::sql::ast::Statement;

/// Parses a script of one statement.
fn one(sql: &str) -> Statement {
    let mut statements = parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0).statement
}

/// Parses a query.
fn query(sql: &str) -> Box<Query> {
    match one(sql) {
        Statement::Query(query) => query,
        other => panic!("{sql}: {other:?}"),
    }
}

/// Parses a query that is one `SELECT`.
fn select(sql: &str) -> Select {
    match *query(sql).body {
        SetExpr::Select(select) => *select,
        other => panic!("{sql}: {other:?}"),
    }
}

/// Parses an expression.
fn expr(text: &str) -> Expr {
    let mut select = select(&format!("SELECT {text} FROM t"));
    assert_eq!(select.projection.len(), 1, "{text}");
    match select.projection.remove(0) {
        SelectItem::UnnamedExpr(expr) => expr,
        other => panic!("{text}: {other:?}"),
    }
}

/// The error of a script, its code and its place.
fn fails(sql: &str) -> (Error, u64, u64) {
    let error = match parse(sql) {
        Err(error) => error,
        Ok(statements) => panic!("{sql}: parsed to {statements:?}"),
    };
    match error.place {
        Some(Place::Sql { line, column }) => (error, line, column),
        _ => panic!("{sql}: {error:?} has no position"),
    }
}
