//! The session's tables, views and options.
//!
//! Names are case-sensitive. Computed columns and watermarks are bound when the table is created, so that a mistake is
//! reported there; views are kept as text's tree and bound where they are used.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast as sp;

use super::ast::{ColumnKind, CreateTable, CreateView, Position};
use super::options;
use super::planner::Environment;
use super::planner::expression::Binder;
use super::planner::place;
use super::planner::scope::Scope;
use crate::error::Result;
use crate::expr::Expr;
use crate::graph::ConnectorSpec;
use crate::types::{DataType, Field, Schema, TimestampKind, TypeKind};

/// A table.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    /// Of its `CREATE TABLE`.
    pub position: Position,
    pub columns: Vec<Column>,
    pub watermark: Option<Watermark>,
    pub primary_key: Vec<String>,
    pub partitioned_by: Vec<String>,
    pub options: BTreeMap<String, String>,
}

/// A column of a table; its type has the time attribute.
#[derive(Debug, Clone)]
pub struct Column {
    pub field: Field,
    pub kind: TableColumn,
}

/// Where a column's values come from.
#[derive(Debug, Clone)]
pub enum TableColumn {
    /// Stored: its position among the reader's columns.
    Physical { reader: usize },
    /// Of the record: its position among the reader's columns.
    Metadata { reader: usize, key: String, is_virtual: bool },
    /// Over the reader's columns.
    Computed { expr: Expr },
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone)]
pub struct Watermark {
    /// The rowtime column.
    pub column: usize,
    /// Over the table's columns.
    pub expr: Expr,
}

/// A view: its query, and column names if it gives any.
#[derive(Debug)]
pub struct View {
    pub query: Box<sp::Query>,
    pub columns: Vec<String>,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Entry {
    Table(Arc<Table>),
    View(Arc<View>),
}

/// The session.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<String, Entry>,
    /// What `LIKE` copies: the written parts of each table.
    definitions: BTreeMap<String, CreateTable>,
    /// Set options.
    pub options: BTreeMap<String, String>,
    pub warnings: Vec<String>,
}

impl Table {
    /// All columns.
    pub fn schema(&self) -> Schema {
        Schema::new(self.columns.iter().map(|c| c.field.clone()).collect())
    }
    /// What a sink of this table must be given; time attributes are ordinary timestamps there.
    pub fn sink_schema(&self) -> Schema {
        let stored = self.columns.iter().filter(|c| matches!(c.kind, TableColumn::Physical { .. }));
        Schema::new(stored.map(|c| Field::new(c.field.name.clone(), regular(&c.field.data_type))).collect())
    }
    /// The connector; an error at the table's place if it has none.
    pub fn connector(&self) -> Result<ConnectorSpec> {
        let Some(connector) = self.options.get("connector") else {
            let message = format!("table '{}' has no option 'connector': add WITH ('connector' = '…')", self.name);
            return Err(place::error("missing_option", message, self.position));
        };
        Ok(ConnectorSpec { table: self.name.clone(), connector: connector.clone(), options: self.options.clone() })
    }
}

fn regular(data_type: &DataType) -> DataType {
    DataType { kind: data_type.kind.regular(), nullable: data_type.nullable }
}

impl Catalog {
    /// The table or view of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }
    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// `SET`.
    pub fn set(&mut self, key: &str, value: &str, at: Position) -> Result<()> {
        if let Some(warning) = options::check(key, value).map_err(|e| place::locate(e, at))? {
            self.warnings.push(format!("line {}, column {}: {warning}", at.line, at.column));
        }
        self.options.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
    /// `RESET`.
    pub fn reset(&mut self, key: Option<&str>) {
        match key {
            Some(key) => {
                self.options.remove(key);
            }
            None => self.options.clear(),
        }
    }

    /// `DROP`.
    pub fn drop(&mut self, name: &sp::Ident, is_view: bool, if_exists: bool, at: Position) -> Result<()> {
        let at = place::of_span(name.span).unwrap_or(at);
        let what = if is_view { "view" } else { "table" };
        match self.entries.get(&name.value) {
            Some(entry) if matches!(entry, Entry::View(_)) == is_view => {
                self.entries.remove(&name.value);
                self.definitions.remove(&name.value);
                Ok(())
            }
            None if if_exists => Ok(()),
            Some(_) => {
                let other = if is_view { "table" } else { "view" };
                let message = format!("'{}' is a {other}: write DROP {}", name.value, other.to_uppercase());
                Err(place::error("sql_unknown_table", message, at))
            }
            None => Err(place::error("sql_unknown_table", format!("there is no {what} '{}'", name.value), at)),
        }
    }

    /// `CREATE VIEW`; the query was bound once by the caller, which gives the number of its columns.
    pub fn create_view(&mut self, view: CreateView, arity: usize, at: Position) -> Result<()> {
        if !self.is_free(&view.name, view.if_not_exists, at)? {
            return Ok(());
        }
        if !view.columns.is_empty() && view.columns.len() != arity {
            let message = format!("the view names {} columns, its query has {arity}", view.columns.len());
            return Err(place::error("sql_type", message, at));
        }
        let columns = view.columns.into_iter().map(|c| c.value).collect();
        self.entries.insert(view.name.value, Entry::View(Arc::new(View { query: view.query, columns })));
        Ok(())
    }

    /// `CREATE TABLE`.
    pub fn create_table(&mut self, definition: CreateTable, environment: &Environment, at: Position) -> Result<()> {
        if !self.is_free(&definition.name, definition.if_not_exists, at)? {
            return Ok(());
        }
        let definition = self.with_base(definition, at)?;
        let table = bind_table(&definition, environment, at)?;
        self.definitions.insert(table.name.clone(), definition);
        self.entries.insert(table.name.clone(), Entry::Table(Arc::new(table)));
        Ok(())
    }

    fn is_free(&self, name: &sp::Ident, if_not_exists: bool, at: Position) -> Result<bool> {
        if !self.entries.contains_key(&name.value) {
            return Ok(true);
        }
        if if_not_exists {
            return Ok(false);
        }
        let at = place::of_span(name.span).unwrap_or(at);
        let message = format!("'{}' exists already: drop it first, or write IF NOT EXISTS", name.value);
        Err(place::error("sql_duplicate_table", message, at))
    }

    /// Adds what `LIKE` takes over: columns, watermark, keys, partitions and options; own options win.
    fn with_base(&self, mut definition: CreateTable, at: Position) -> Result<CreateTable> {
        let Some(like) = definition.like.take() else { return Ok(definition) };
        let at = place::of_span(like.span).unwrap_or(at);
        let Some(base) = self.definitions.get(&like.value) else {
            let near = place::suggestion(&like.value, self.definitions.keys().map(String::as_str));
            return Err(place::error("sql_unknown_table", format!("there is no table '{}'{near}", like.value), at));
        };
        if base.watermark.is_some() && definition.watermark.is_some() {
            let message = format!("table '{}' and this one both declare a watermark: leave out this one's", like.value);
            return Err(place::error("sql_type", message, at));
        }
        let mut columns = base.columns.clone();
        columns.append(&mut definition.columns);
        definition.columns = columns;
        definition.watermark = definition.watermark.or_else(|| base.watermark.clone());
        if definition.primary_key.is_empty() {
            definition.primary_key.clone_from(&base.primary_key);
        }
        if definition.partitioned_by.is_empty() {
            definition.partitioned_by.clone_from(&base.partitioned_by);
        }
        for option in &base.options {
            if !definition.options.iter().any(|(key, ..)| *key == option.0) {
                definition.options.push(option.clone());
            }
        }
        Ok(definition)
    }
}

fn bind_table(definition: &CreateTable, environment: &Environment, at: Position) -> Result<Table> {
    check_names(definition)?;
    let key: Vec<&str> = definition.primary_key.iter().map(|k| k.value.as_str()).collect();
    // What computed columns are over: physical columns, then metadata columns.
    let mut reader = Vec::new();
    let mut metadata = Vec::new();
    for column in &definition.columns {
        let name = &column.name.value;
        match &column.kind {
            ColumnKind::Physical(data_type) => {
                let nullable = data_type.nullable && !key.contains(&name.as_str());
                reader.push(Field::new(name.clone(), data_type.with_nullable(nullable)));
            }
            ColumnKind::Metadata { data_type, .. } => metadata.push(Field::new(name.clone(), data_type.clone())),
            ColumnKind::Computed(_) => {}
        }
    }
    reader.append(&mut metadata);
    let reader = Scope::new(None, Schema::new(reader));
    let mut columns = Vec::with_capacity(definition.columns.len());
    for column in &definition.columns {
        let name = column.name.value.clone();
        let stored = || reader.schema.index_of(&name).and_then(|i| Some((i, reader.schema.fields.get(i)?.clone())));
        columns.push(match (&column.kind, stored()) {
            (ColumnKind::Computed(node), _) => {
                let expr = Binder::new(&reader, environment, column.position).bind(node)?;
                Column { field: Field::new(name, expr.data_type().clone()), kind: TableColumn::Computed { expr } }
            }
            (ColumnKind::Physical(_), Some((reader, field))) => {
                Column { field, kind: TableColumn::Physical { reader } }
            }
            (ColumnKind::Metadata { key, is_virtual, .. }, Some((reader, field))) => {
                let kind = TableColumn::Metadata { reader, key: key.clone(), is_virtual: *is_virtual };
                Column { field, kind }
            }
            _ => return Err(crate::error::Error::internal("a table's column without a place in its reader")),
        });
    }
    let watermark = bind_watermark(definition, &mut columns, environment)?;
    Ok(Table {
        name: definition.name.value.clone(),
        position: at,
        columns,
        watermark,
        primary_key: definition.primary_key.iter().map(|k| k.value.clone()).collect(),
        partitioned_by: definition.partitioned_by.iter().map(|k| k.value.clone()).collect(),
        options: definition.options.iter().map(|(key, value, _)| (key.clone(), value.clone())).collect(),
    })
}

fn check_names(definition: &CreateTable) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for column in &definition.columns {
        if !seen.insert(column.name.value.as_str()) {
            let message = format!("column '{}' is declared twice", column.name.value);
            return Err(place::error("sql_type", message, column.position));
        }
    }
    for (name, what) in definition
        .primary_key
        .iter()
        .map(|k| (k, "primary key"))
        .chain(definition.partitioned_by.iter().map(|k| (k, "PARTITIONED BY")))
    {
        let physical =
            definition.columns.iter().any(|c| c.name.value == name.value && matches!(c.kind, ColumnKind::Physical(_)));
        if !physical {
            let at = place::of_span(name.span).unwrap_or_default();
            let near = place::suggestion(&name.value, seen.iter().copied());
            let message = format!("{what}: there is no physical column '{}'{near}", name.value);
            return Err(place::error("sql_unknown_column", message, at));
        }
    }
    Ok(())
}

fn bind_watermark(
    definition: &CreateTable,
    columns: &mut [Column],
    environment: &Environment,
) -> Result<Option<Watermark>> {
    let Some(watermark) = &definition.watermark else { return Ok(None) };
    let at = place::of_span(watermark.column.span).unwrap_or(watermark.position);
    let name = &watermark.column.value;
    let schema = Schema::new(columns.iter().map(|c| c.field.clone()).collect());
    let Some(index) = schema.index_of(name) else {
        let near = place::suggestion(name, schema.fields.iter().map(|f| f.name.as_str()));
        return Err(place::error("sql_unknown_column", format!("WATERMARK: there is no column '{name}'{near}"), at));
    };
    let scope = Scope::new(None, schema);
    let expr = Binder::new(&scope, environment, watermark.position).bind(&watermark.expr)?;
    let Some(column) = columns.get_mut(index) else {
        return Err(crate::error::Error::internal("a watermark's column outside of its table"));
    };
    let data_type = &mut column.field.data_type;
    data_type.kind = match &data_type.kind {
        TypeKind::Timestamp(p @ 0..=3, _) => TypeKind::Timestamp(*p, TimestampKind::Rowtime),
        TypeKind::TimestampLtz(p @ 0..=3, TimestampKind::Regular | TimestampKind::Rowtime) => {
            TypeKind::TimestampLtz(*p, TimestampKind::Rowtime)
        }
        _ => {
            let message = format!(
                "WATERMARK: column '{name}' must be TIMESTAMP(3) or TIMESTAMP_LTZ(3), or of lower precision, not \
                 {data_type}: add a computed column with CAST(… AS TIMESTAMP(3))"
            );
            return Err(place::error("sql_type", message, at));
        }
    };
    if !matches!(expr.data_type().kind, TypeKind::Timestamp(0..=3, _) | TypeKind::TimestampLtz(0..=3, _)) {
        let at = place::position(watermark.expr.as_ref()).unwrap_or(watermark.position);
        let message =
            format!("WATERMARK: the expression must be TIMESTAMP(3) or TIMESTAMP_LTZ(3), not {}", expr.data_type());
        return Err(place::error("sql_type", message, at));
    }
    Ok(Some(Watermark { column: index, expr }))
}
