//! Flink SQL text in, job graph out.
//!
//! `parser` turns text into statements (`ast`), `catalog` holds the session's tables, views and options, `planner`
//! binds queries and builds the [`crate::graph::JobGraph`]. Everything that is not supported is refused here, with its
//! line and column, never at run time.

pub mod ast;
pub mod catalog;
pub mod checkpoint_options;
pub mod duration;
mod explain;
pub mod options;
pub mod parser;
pub mod planner;
mod script;

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::graph::JobGraph;
use crate::types::Schema;
use planner::Environment;

pub use explain::explain;

/// Stack of the thread that plans: statements nest as deeply as the parser allows.
const PLANNER_STACK_BYTES: usize = 64 << 20;

/// A planned script.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub graph: JobGraph,
    /// All options that the script set.
    pub options: BTreeMap<String, String>,
    /// What is odd but no error, for a person to read.
    pub warnings: Vec<String>,
    /// The tables that are written, in order, each once.
    pub sinks: Vec<String>,
}

/// What a dry run found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CheckReport {
    pub statements: Vec<CheckedStatement>,
    /// The plan of the job, if the script has `INSERT`s, or of its last query.
    pub plan: Option<String>,
    /// The columns of the last query, if it is a bare `SELECT`.
    pub columns: Option<Schema>,
    pub sinks: Vec<String>,
    pub warnings: Vec<String>,
}

/// One statement of a checked script.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CheckedStatement {
    pub line: u64,
    pub column: u64,
    /// `CREATE TABLE`, `INSERT`, `SET`, …
    pub kind: String,
    /// The table, view or option that it is about.
    pub object: Option<String>,
    /// Of `EXPLAIN`.
    pub plan: Option<String>,
}

/// Plans a script that writes tables: DDL, views and options, then one or more `INSERT`s or a statement set, which are
/// one job.
pub fn plan_job(sql: &str) -> Result<Planned> {
    plan_job_with(sql, &Environment::real())
}

/// Plans a script whose last statement is a query, and answers its columns as Flink names and types them. The graph's
/// sink has the connector `collect`.
pub fn plan_query(sql: &str) -> Result<(Planned, Schema)> {
    plan_query_with(sql, &Environment::real())
}

/// Checks a script of either kind without running it.
pub fn check(sql: &str) -> Result<CheckReport> {
    check_with(sql, &Environment::real())
}

fn plan_job_with(sql: &str, environment: &Environment) -> Result<Planned> {
    on_planner_thread(|| script::plan_job(sql, environment))
}

fn plan_query_with(sql: &str, environment: &Environment) -> Result<(Planned, Schema)> {
    on_planner_thread(|| script::plan_query(sql, environment))
}

fn check_with(sql: &str, environment: &Environment) -> Result<CheckReport> {
    on_planner_thread(|| script::check(sql, environment))
}

/// Runs on a thread with a large stack, so that no nesting which the parser lets through can overflow it.
fn on_planner_thread<T: Send>(plan: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("planner".to_owned()).stack_size(PLANNER_STACK_BYTES);
        let handle = thread
            .spawn_scoped(scope, plan)
            .map_err(|e| Error::unavailable("no_thread", "a thread for planning could not be started").caused_by(&e))?;
        handle.join().unwrap_or_else(|_| Err(Error::internal("the planner failed: report the SQL text")))
    })
}
