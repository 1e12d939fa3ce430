//! Fits a query to its sink: columns by position or by list, implicit casts, nulls for what is not given.

use super::place;
use super::query::QueryBinder;
use super::rel::Rel;
use super::{Environment, SinkQuery, coercion};
use crate::error::Result;
use crate::expr::{Expr, Scalar};
use crate::graph::{COLLECT, ConnectorSpec, SinkSpec, late_schema};
use crate::sql::ast::{Insert, Position};
use crate::sql::catalog::{Catalog, Entry, Table, TableColumn};
use crate::types::Schema;
use std::collections::BTreeMap;

/// Binds `INSERT INTO`; answers warnings too.
pub fn bind_insert(
    insert: &Insert,
    catalog: &Catalog,
    environment: &Environment,
    at: Position,
) -> Result<(SinkQuery, Vec<String>)> {
    let name_at = place::of_span(insert.table.span).unwrap_or(at);
    let table = match catalog.get(&insert.table.value) {
        Some(Entry::Table(table)) => table.clone(),
        Some(Entry::View(_)) => {
            let message = format!("'{}' is a view: INSERT INTO needs a table", insert.table.value);
            return Err(place::error("sql_unsupported", message, name_at));
        }
        None => {
            let near = place::suggestion(&insert.table.value, catalog.names());
            let message = format!("there is no table '{}'{near}", insert.table.value);
            return Err(place::error("sql_unknown_table", message, name_at));
        }
    };
    let persisted = table.columns.iter().find(|c| matches!(c.kind, TableColumn::Metadata { is_virtual: false, .. }));
    if let Some(column) = persisted {
        let message =
            format!("writing the metadata column '{}' is not supported: declare it VIRTUAL", column.field.name);
        return Err(place::error("sql_unsupported", message, name_at));
    }
    let schema = table.sink_schema();
    let targets = targets(insert, &table, &schema, at)?;
    let query_at = place::position(insert.query.as_ref()).unwrap_or(at);
    let bound = QueryBinder::new(catalog, environment, at).bind(&insert.query, None)?;
    let (rel, warnings) = fit(bound.rel, &targets, &schema, &table.name, query_at)?;
    let sink = SinkSpec { connector: table.connector()?, partitioned_by: table.partitioned_by.clone() };
    let mut primary_key: Vec<usize> = table.primary_key.iter().filter_map(|name| schema.index_of(name)).collect();
    primary_key.sort_unstable();
    Ok((
        SinkQuery { rel, sink, schema, primary_key, at: query_at, declared: Some(table.position), late: false },
        warnings,
    ))
}

/// Binds the table of `late-records.table`, which takes the late records that operators drop.
pub fn bind_late(name: &str, catalog: &Catalog, at: Position) -> Result<SinkQuery> {
    let Some(Entry::Table(table)) = catalog.get(name) else {
        let near = place::suggestion(name, catalog.names());
        let message = format!("there is no table '{name}' for late-records.table{near}");
        return Err(place::error("sql_unknown_table", message, at));
    };
    let schema = table.sink_schema();
    let targets: Vec<usize> = (0..late_schema().fields.len()).collect();
    let given = Rel::Values { rows: vec![], schema: late_schema().clone() };
    let (rel, _) = fit(given, &targets, &schema, &table.name, at)?;
    let sink = SinkSpec { connector: table.connector()?, partitioned_by: table.partitioned_by.clone() };
    Ok(SinkQuery { rel, sink, schema, primary_key: vec![], at, declared: Some(table.position), late: true })
}

/// Binds a query whose rows are collected; answers the columns as Flink types them.
pub fn bind_collect(
    query: &sqlparser::ast::Query,
    catalog: &Catalog,
    environment: &Environment,
    at: Position,
) -> Result<(SinkQuery, Schema)> {
    let rel = QueryBinder::new(catalog, environment, at).bind(query, None)?.rel;
    let schema = rel.schema().clone();
    let connector = ConnectorSpec { table: String::new(), connector: COLLECT.to_owned(), options: BTreeMap::new() };
    let sink = SinkSpec { connector, partitioned_by: vec![] };
    Ok((SinkQuery { rel, sink, schema: schema.clone(), primary_key: vec![], at, declared: None, late: false }, schema))
}

/// For each column of the query, the sink's column.
fn targets(insert: &Insert, table: &Table, schema: &Schema, at: Position) -> Result<Vec<usize>> {
    if insert.columns.is_empty() {
        return Ok((0..schema.fields.len()).collect());
    }
    let mut targets = Vec::with_capacity(insert.columns.len());
    for column in &insert.columns {
        let at = place::of_span(column.span).unwrap_or(at);
        let Some(index) = schema.index_of(&column.value) else {
            if table.columns.iter().any(|c| c.field.name == column.value) {
                let message = format!("column '{}' is computed or virtual: it cannot be written", column.value);
                return Err(place::error("sql_unsupported", message, at));
            }
            let near = place::suggestion(&column.value, schema.fields.iter().map(|f| f.name.as_str()));
            let message = format!("table '{}' has no column '{}'{near}", table.name, column.value);
            return Err(place::error("sql_unknown_column", message, at));
        };
        if targets.contains(&index) {
            return Err(place::error("sql_type", format!("column '{}' is named twice", column.value), at));
        }
        targets.push(index);
    }
    Ok(targets)
}

fn fit(rel: Rel, targets: &[usize], schema: &Schema, table: &str, at: Position) -> Result<(Rel, Vec<String>)> {
    let given = rel.schema().clone();
    if given.fields.len() != targets.len() {
        let list = |fields: Vec<String>| fields.join(", ");
        let wanted =
            targets.iter().filter_map(|t| schema.fields.get(*t)).map(|f| format!("{} {}", f.name, f.data_type));
        let message = format!(
            "the query has {} columns, but {} of '{table}' are to be written: query [{}], table [{}]",
            given.fields.len(),
            targets.len(),
            list(given.fields.iter().map(|f| format!("{} {}", f.name, f.data_type)).collect()),
            list(wanted.collect()),
        );
        return Err(place::error("sql_type", message, at));
    }
    let mut warnings = Vec::new();
    let mut projection = Vec::with_capacity(schema.fields.len());
    for (index, field) in schema.fields.iter().enumerate() {
        let Some(position) = targets.iter().position(|t| *t == index) else {
            if !field.data_type.nullable {
                let message = format!("column '{}' of '{table}' is NOT NULL and must be given a value", field.name);
                return Err(place::error("sql_type", message, at));
            }
            projection.push(Expr::literal(Scalar::Null, field.data_type.kind.clone()));
            continue;
        };
        let Some(from) = given.fields.get(position) else { continue };
        let column = Expr::column(position, from.data_type.clone());
        let cast = coercion::coerce(column, &field.data_type).map_err(|e| {
            let message = format!(
                "column {} of the query, '{}' {}, cannot be written to column '{}' {} of '{table}': {}; add a CAST",
                position + 1,
                from.name,
                from.data_type,
                field.name,
                field.data_type,
                e.message
            );
            place::error("sql_type", message, at)
        })?;
        if from.data_type.nullable && !field.data_type.nullable {
            warnings.push(format!(
                "line {}, column {}: column '{}' of '{table}' is NOT NULL, but '{}' may be null: filter nulls out or use \
                 COALESCE",
                at.line, at.column, field.name, from.name
            ));
        }
        projection.push(cast);
    }
    let names = schema.fields.iter().map(|f| f.name.clone()).collect();
    Ok((rel.project(projection, names), warnings))
}
