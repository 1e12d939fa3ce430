//! Binds statements and builds the job graph.
//!
//! In order: [`query`] binds a query to a relational tree ([`rel`]), [`insert`] fits it to its sink, [`normalise`] moves
//! projections and filters towards the sources and merges them, [`prune`] drops what is not needed (members of rows
//! included), [`changelog`] decides which kinds of rows each relation emits, [`physical`] cuts the tree into chains. Nothing here knows how a function computes: types and names come
//! from the expression layer through [`Environment`].

mod aggregate;
mod changelog;
pub mod coercion;
pub mod display;
pub mod expression;
mod from;
mod function_call;
mod group_window;
mod grouping;
pub mod insert;
mod join;
mod keys;
mod literal;
mod match_recognize;
mod names;
mod need;
mod normalise;
mod order;
mod physical;
pub mod place;
mod prune;
pub mod query;
mod rank;
mod refuse;
mod rel;
mod scalar_subquery;
pub mod scope;
mod set_operation;
mod subquery;
mod time;
mod window;

use sqlparser::ast as sp;

use super::ast::Position;
use super::catalog::Catalog;
use super::parser;
use crate::connector::{self, SinkChangelog};
use crate::error::Result;
use crate::expr::{self, Expr};
use crate::graph::{ConnectorSpec, JobGraph, SinkSpec, SourceSpec};
use crate::types::changelog::ChangelogMode;
use crate::types::{DataType, Schema};

pub use rel::Rel;

/// What the planner asks of the layers below; tests replace it.
pub struct Environment {
    /// Builds a typed call.
    pub call: fn(&str, Vec<Expr>) -> Result<Expr>,
    /// Whether a source may leave out columns that the query does not use.
    pub prunes_columns: fn(&ConnectorSpec) -> bool,
    /// The kinds of rows that a source gives.
    pub source_changelog: fn(&ConnectorSpec) -> ChangelogMode,
    /// The kinds of rows that a sink takes.
    pub sink_changelog: fn(&SinkSpec) -> SinkChangelog,
    /// Checks a source's options and columns.
    pub check_source: fn(&SourceSpec) -> Result<()>,
    /// Checks a sink's options and columns.
    pub check_sink: fn(&SinkSpec, &Schema) -> Result<()>,
}

impl Environment {
    /// The functions and connectors of this program.
    pub fn real() -> Self {
        Environment {
            call: |name, args| expr::call(name, args),
            // An unknown connector is refused when the source is checked.
            prunes_columns: |spec| connector::source(spec).map_or(true, |source| source.prunes_columns(spec)),
            source_changelog: |spec| connector::source(spec).map_or(ChangelogMode::INSERT_ONLY, |s| s.changelog(spec)),
            sink_changelog: |spec| connector::sink(&spec.connector).map_or(SinkChangelog::All, |s| s.changelog(spec)),
            check_source: |spec| connector::source(&spec.connector)?.validate(spec),
            check_sink: |spec, schema| connector::sink(&spec.connector)?.validate(spec, schema),
        }
    }
}

/// A query that feeds a sink.
#[derive(Debug)]
pub struct SinkQuery {
    pub rel: Rel,
    pub sink: SinkSpec,
    pub schema: Schema,
    /// The sink's `PRIMARY KEY`: columns of `schema`, ascending.
    pub primary_key: Vec<usize>,
    /// Of the statement.
    pub at: Position,
    /// Of the sink's `CREATE TABLE`; `None` for the collecting sink.
    pub declared: Option<Position>,
    /// Whether it is fed by the late records that the operators of the other queries drop; its relation reads
    /// `Values` in their place.
    pub late: bool,
}

/// Optimises the queries of a job together and builds its graph.
pub fn build(queries: Vec<SinkQuery>, catalog: &Catalog, environment: &Environment) -> Result<JobGraph> {
    let mut queries: Vec<SinkQuery> =
        queries.into_iter().map(|q| SinkQuery { rel: normalise::normalise(q.rel), ..q }).collect();
    let scans = prune::prune_all(&mut queries, environment);
    queries.iter_mut().try_for_each(|query| changelog::infer(query, environment))?;
    physical::build(queries, &scans, catalog, environment)
}

/// A type written in `CAST`.
fn sql_type(data_type: &sp::DataType, at: Position) -> Result<DataType> {
    parser::data_type::from_sqlparser(data_type).map_err(|e| place::locate(e, at))
}

#[cfg(test)]
mod tests;
