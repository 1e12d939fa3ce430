//! The columns that an expression may name.

use sqlparser::ast::Ident;

use super::place;
use crate::error::Result;
use crate::expr::Expr;
use crate::sql::ast::Position;
use crate::types::{DataType, Schema, TypeKind};

/// Columns in input order, under the name of their table.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The table's alias or name.
    pub qualifier: Option<String>,
    pub schema: Schema,
}

impl Scope {
    /// The expression that `a`, `t.a`, `a.member` or `t.a.member` names.
    pub fn resolve(&self, path: &[Ident], fallback: Position) -> Result<Expr> {
        let Some(first) = path.first() else {
            return Err(place::error("sql_unknown_column", "an empty name", fallback));
        };
        let at = |ident: &Ident| place::of_span(ident.span).unwrap_or(fallback);
        if let (Some(second), true) = (path.get(1), self.qualifier.as_deref() == Some(first.value.as_str()))
            && let Some(column) = self.column(&second.value)
        {
            return members(column, path.get(2..).unwrap_or_default(), fallback);
        }
        if let Some(column) = self.column(&first.value) {
            return members(column, path.get(1..).unwrap_or_default(), fallback);
        }
        let names = || self.schema.fields.iter().map(|f| f.name.as_str());
        if path.len() > 1 && self.qualifier.as_deref() == Some(first.value.as_str()) {
            let second = path.get(1).unwrap_or(first);
            let message = format!(
                "table '{}' has no column '{}'{}",
                first.value,
                second.value,
                place::suggestion(&second.value, names())
            );
            return Err(place::error("sql_unknown_column", message, at(second)));
        }
        let what = if path.len() > 1 { "table or column" } else { "column" };
        let known = names().chain(self.qualifier.as_deref());
        let message = format!("there is no {what} '{}'{}", first.value, place::suggestion(&first.value, known));
        Err(place::error("sql_unknown_column", message, at(first)))
    }
    fn column(&self, name: &str) -> Option<Expr> {
        let index = self.schema.index_of(name)?;
        self.schema.fields.get(index).map(|f| Expr::column(index, f.data_type.clone()))
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
