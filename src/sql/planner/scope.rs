//! The columns that an expression may name: those of the tables in `FROM`, and of the query around a subquery.
//!
//! A column of the enclosing query is an `Expr::Column` from [`OUTER_BASE`] on; `subquery` moves it to its place.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::Ident;

use super::place;
use crate::error::Result;
use crate::expr::Expr;
use crate::sql::ast::Position;
use crate::types::{DataType, Schema, TypeKind};

/// The first column number that stands for a column of the enclosing query.
pub const OUTER_BASE: usize = usize::MAX / 4;

/// A table in `FROM`.
#[derive(Debug, Clone)]
pub struct ScopeTable {
    /// The table's alias or name.
    pub qualifier: Option<String>,
    /// Its columns.
    pub columns: Range<usize>,
}

/// Columns in input order, each under the name of its table.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub tables: Vec<ScopeTable>,
    /// The columns with the names that the tables gave them.
    pub schema: Schema,
    /// What a column of `USING` or `NATURAL` is without the name of a table.
    pub merged: Vec<(String, Expr)>,
    /// The enclosing query's columns.
    pub outer: Option<Arc<Scope>>,
}

impl Scope {
    /// The columns of one table.
    pub fn new(qualifier: Option<String>, schema: Schema) -> Self {
        let tables = vec![ScopeTable { qualifier, columns: 0..schema.fields.len() }];
        Scope { tables, schema, merged: vec![], outer: None }
    }

    /// The expression that `a`, `t.a`, `a.member` or `t.a.member` names.
    pub fn resolve(&self, path: &[Ident], fallback: Position) -> Result<Expr> {
        if let Some(found) = self.find(path, fallback)? {
            return Ok(found);
        }
        let mut depth = 0;
        let mut outer = self.outer.as_ref();
        while let Some(scope) = outer {
            if let Some(found) = scope.find(path, fallback)? {
                if depth > 0 {
                    let what = "a column of a query more than one level further out is not supported in a subquery";
                    let at = path.first().and_then(|i| place::of_span(i.span)).unwrap_or(fallback);
                    return place::unsupported(what, "join the tables in FROM instead", at);
                }
                return Ok(super::rel::substitute(&found, &mut |index, data_type| {
                    Expr::column(OUTER_BASE + index, data_type.clone())
                }));
            }
            depth += 1;
            outer = scope.outer.as_ref();
        }
        Err(self.unknown(path, fallback))
    }

    /// Looks a name up in this query alone.
    fn find(&self, path: &[Ident], fallback: Position) -> Result<Option<Expr>> {
        let Some(first) = path.first() else {
            return Err(place::error("sql_unknown_column", "an empty name", fallback));
        };
        let at = |ident: &Ident| place::of_span(ident.span).unwrap_or(fallback);
        if let Some(second) = path.get(1) {
            for table in self.tables_of(&first.value) {
                if let Some(column) = self.column(&second.value, &table.columns, at(second))? {
                    return members(column, path.get(2..).unwrap_or_default(), fallback).map(Some);
                }
            }
        }
        let rest = path.get(1..).unwrap_or_default();
        if let Some((_, merged)) = self.merged.iter().find(|(name, _)| *name == first.value) {
            return members(merged.clone(), rest, fallback).map(Some);
        }
        match self.column(&first.value, &(0..self.schema.fields.len()), at(first))? {
            Some(column) => members(column, rest, fallback).map(Some),
            None => Ok(None),
        }
    }

    /// The tables of this name.
    pub fn tables_of(&self, name: &str) -> impl Iterator<Item = &ScopeTable> {
        self.tables.iter().filter(move |t| t.qualifier.as_deref() == Some(name))
    }

    /// The only column of this name in a range.
    fn column(&self, name: &str, range: &Range<usize>, at: Position) -> Result<Option<Expr>> {
        let fields = self.schema.fields.iter().enumerate().take(range.end).skip(range.start);
        let mut found = fields.filter(|(_, f)| f.name == name);
        let Some((index, field)) = found.next() else { return Ok(None) };
        if let Some((other, _)) = found.next() {
            let tables: Vec<&str> = [index, other].iter().filter_map(|i| self.qualifier_of(*i)).collect();
            let message = match tables.as_slice() {
                [a, b] if a != b => format!("column '{name}' is ambiguous: write {a}.{name} or {b}.{name}"),
                _ => format!("column '{name}' is ambiguous: give the tables or columns different names with AS"),
            };
            return Err(place::error("sql_ambiguous_column", message, at));
        }
        Ok(Some(Expr::column(index, field.data_type.clone())))
    }

    /// The name of the table that a column belongs to.
    fn qualifier_of(&self, column: usize) -> Option<&str> {
        self.tables.iter().find(|t| t.columns.contains(&column)).and_then(|t| t.qualifier.as_deref())
    }

    fn unknown(&self, path: &[Ident], fallback: Position) -> crate::error::Error {
        let Some(first) = path.first() else { return place::error("sql_unknown_column", "an empty name", fallback) };
        let at = |ident: &Ident| place::of_span(ident.span).unwrap_or(fallback);
        if let (Some(second), Some(table)) = (path.get(1), self.tables_of(&first.value).next()) {
            let names = self.schema.fields.get(table.columns.clone()).unwrap_or_default();
            let near = place::suggestion(&second.value, names.iter().map(|f| f.name.as_str()));
            let message = format!("table '{}' has no column '{}'{near}", first.value, second.value);
            return place::error("sql_unknown_column", message, at(second));
        }
        let what = if path.len() > 1 { "table or column" } else { "column" };
        let names = self.schema.fields.iter().map(|f| f.name.as_str());
        let known = names.chain(self.tables.iter().filter_map(|t| t.qualifier.as_deref()));
        let message = format!("there is no {what} '{}'{}", first.value, place::suggestion(&first.value, known));
        place::error("sql_unknown_column", message, at(first))
    }
}

/// Follows member names into a row.
pub fn members(mut expr: Expr, path: &[Ident], fallback: Position) -> Result<Expr> {
    for name in path {
        let at = place::of_span(name.span).unwrap_or(fallback);
        let outer = expr.data_type().clone();
        let TypeKind::Row(fields) = &outer.kind else {
            let message = format!("'{}' is a member of a ROW, but this is {}", name.value, outer);
            return Err(place::error("sql_unknown_column", message, at));
        };
        let found = fields.iter().enumerate().find(|(_, f)| f.name == name.value);
        let Some((index, field)) = found else {
            let near = place::suggestion(&name.value, fields.iter().map(|f| f.name.as_str()));
            return Err(place::error(
                "sql_unknown_column",
                format!("the ROW has no member '{}'{near}", name.value),
                at,
            ));
        };
        let nullable = outer.nullable || field.data_type.nullable;
        let data_type = DataType { kind: field.data_type.kind.clone(), nullable };
        expr = Expr::Field { row: Box::new(expr), index, data_type };
    }
    Ok(expr)
}
