//! Runs a script's statements in order against a fresh catalog, and plans what it writes.

use sqlparser::ast as sp;

use super::ast::{Insert, Position, PositionedStatement, Statement};
use super::catalog::Catalog;
use super::planner::insert::{bind_collect, bind_insert, bind_late};
use super::planner::query::QueryBinder;
use super::planner::{self, Environment, SinkQuery, place};
use super::{CheckReport, CheckedStatement, Planned, explain, options, parser};
use crate::error::{Error, Result};
use crate::graph::JobGraph;
use crate::types::Schema;

const NO_INSERT: &str = "the script writes no table: add INSERT INTO …, or send a query to POST /sql/query";

/// See [`super::plan_job`].
pub fn plan_job(sql: &str, environment: &Environment) -> Result<Planned> {
    let mut session = Session::new(environment);
    for PositionedStatement { position, statement } in parser::parse(sql)? {
        match statement {
            Statement::Query(_) => {
                let message = "a job needs INSERT INTO …: send a bare query to POST /sql/query";
                return Err(place::error("no_insert", message, position));
            }
            Statement::Explain(_) => {
                let message = "EXPLAIN is not part of a job: send the script to POST /sql/check";
                return Err(place::error("sql_unsupported", message, position));
            }
            other => session.run(other, position)?,
        }
    }
    if session.queries.is_empty() {
        return Err(Error::invalid("no_insert", NO_INSERT));
    }
    session.finish()
}

/// See [`super::plan_query`].
pub fn plan_query(sql: &str, environment: &Environment) -> Result<(Planned, Schema)> {
    let mut statements = parser::parse(sql)?;
    let Some(PositionedStatement { position, statement: Statement::Query(query) }) = statements.pop() else {
        return Err(Error::invalid("no_query", "the last statement must be a query: SELECT …"));
    };
    let mut session = Session::new(environment);
    for PositionedStatement { position, statement } in statements {
        match statement {
            Statement::Query(_) | Statement::Insert(_) | Statement::StatementSet(_) | Statement::Explain(_) => {
                let message = "before the query only CREATE, DROP, SET and RESET may stand: send INSERTs as a job";
                return Err(place::error("sql_unsupported", message, position));
            }
            other => session.run(other, position)?,
        }
    }
    let (collect, schema) = bind_collect(&query, &session.catalog, environment, position)?;
    session.queries.push(collect);
    Ok((session.finish()?, schema))
}

/// See [`super::check`].
pub fn check(sql: &str, environment: &Environment) -> Result<CheckReport> {
    let mut session = Session::new(environment);
    let mut report = CheckReport { statements: vec![], plan: None, columns: None, sinks: vec![], warnings: vec![] };
    let mut last_query = None;
    for PositionedStatement { position, statement } in parser::parse(sql)? {
        let (kind, object) = describe(&statement);
        let mut plan = None;
        match statement {
            Statement::Query(query) => {
                let (graph, schema) = session.query_graph(&query, position)?;
                last_query = Some((graph, schema));
            }
            Statement::Explain(explained) => plan = Some(session.explain(*explained)?),
            other => session.run(other, position)?,
        }
        let Position { line, column } = position;
        report.statements.push(CheckedStatement { line, column, kind: kind.to_owned(), object, plan });
    }
    if session.queries.is_empty() {
        report.warnings = session.catalog.warnings;
        report.warnings.extend(last_query.iter().flat_map(|(graph, _): &(JobGraph, Schema)| graph.state_warnings()));
        if let Some((graph, columns)) = last_query {
            report.plan = Some(explain(&graph));
            report.columns = Some(columns);
        }
    } else {
        let planned = session.finish()?;
        report.plan = Some(explain(&planned.graph));
        report.sinks = planned.sinks;
        report.warnings = planned.warnings;
    }
    Ok(report)
}

fn describe(statement: &Statement) -> (&'static str, Option<String>) {
    match statement {
        Statement::CreateTable(t) => ("CREATE TABLE", Some(t.name.value.clone())),
        Statement::CreateView(v) => ("CREATE VIEW", Some(v.name.value.clone())),
        Statement::Drop { is_view: true, name, .. } => ("DROP VIEW", Some(name.value.clone())),
        Statement::Drop { name, .. } => ("DROP TABLE", Some(name.value.clone())),
        Statement::Insert(insert) => ("INSERT", Some(insert.table.value.clone())),
        Statement::StatementSet(_) => ("STATEMENT SET", None),
        Statement::Set { key, .. } => ("SET", Some(key.clone())),
        Statement::Reset { key } => ("RESET", key.clone()),
        Statement::Query(_) => ("SELECT", None),
        Statement::Explain(_) => ("EXPLAIN", None),
    }
}

struct Session<'a> {
    catalog: Catalog,
    environment: &'a Environment,
    queries: Vec<SinkQuery>,
}

impl<'a> Session<'a> {
    fn new(environment: &'a Environment) -> Self {
        Session { catalog: Catalog::default(), environment, queries: Vec::new() }
    }

    /// Any statement but a query.
    fn run(&mut self, statement: Statement, at: Position) -> Result<()> {
        match statement {
            Statement::CreateTable(table) => self.catalog.create_table(*table, self.environment, at),
            Statement::CreateView(view) => {
                // Bound for its errors; bound again where it is used.
                let bound = QueryBinder::new(&self.catalog, self.environment, at).bind(&view.query, None)?;
                let arity = bound.rel.schema().fields.len();
                self.catalog.create_view(view, arity, at)
            }
            Statement::Drop { is_view, if_exists, name } => self.catalog.drop(&name, is_view, if_exists, at),
            Statement::Set { key, value, position } => self.catalog.set(&key, &value, position),
            Statement::Reset { key } => {
                self.catalog.reset(key.as_deref());
                Ok(())
            }
            Statement::Insert(insert) => self.insert(&insert, at),
            Statement::StatementSet(inserts) => {
                if inserts.is_empty() {
                    return Err(place::error("no_insert", "the statement set is empty: add INSERT INTO …", at));
                }
                inserts.iter().try_for_each(|insert| self.insert(insert, at))
            }
            Statement::Query(_) | Statement::Explain(_) => Err(Error::internal("a query is not run as a statement")),
        }
    }

    fn insert(&mut self, insert: &Insert, at: Position) -> Result<()> {
        let at = place::of_span(insert.table.span).unwrap_or(at);
        let (query, mut warnings) = bind_insert(insert, &self.catalog, self.environment, at)?;
        self.catalog.warnings.append(&mut warnings);
        self.queries.push(query);
        Ok(())
    }

    fn query_graph(&self, query: &sp::Query, at: Position) -> Result<(JobGraph, Schema)> {
        let (collect, schema) = bind_collect(query, &self.catalog, self.environment, at)?;
        Ok((planner::build(vec![collect], &self.catalog, self.environment)?, schema))
    }

    fn explain(&mut self, explained: PositionedStatement) -> Result<String> {
        let at = explained.position;
        let inserts = match explained.statement {
            Statement::Query(query) => return Ok(explain(&self.query_graph(&query, at)?.0)),
            Statement::Insert(insert) => vec![insert],
            Statement::StatementSet(inserts) => inserts,
            _ => return Err(place::error("sql_unsupported", "only queries and INSERTs can be explained", at)),
        };
        let mut queries = Vec::with_capacity(inserts.len() + 1);
        for insert in &inserts {
            queries.push(bind_insert(insert, &self.catalog, self.environment, at)?.0);
        }
        queries.extend(self.late()?);
        Ok(explain(&planner::build(queries, &self.catalog, self.environment)?))
    }

    /// The sink of late records, if the script asks for one.
    fn late(&self) -> Result<Option<SinkQuery>> {
        let Some(table) = self.catalog.options.get(options::LATE_RECORDS_TABLE) else { return Ok(None) };
        bind_late(table, &self.catalog, Position { line: 1, column: 1 }).map(Some)
    }

    fn finish(mut self) -> Result<Planned> {
        let late = self.late()?;
        self.queries.extend(late);
        let mut sinks: Vec<String> = Vec::new();
        for query in &self.queries {
            let table = &query.sink.connector.table;
            if !table.is_empty() && !sinks.contains(table) {
                sinks.push(table.clone());
            }
        }
        let graph = planner::build(self.queries, &self.catalog, self.environment)?;
        let Catalog { options, mut warnings, .. } = self.catalog;
        warnings.extend(graph.state_warnings());
        Ok(Planned { graph, options, warnings, sinks })
    }
}
