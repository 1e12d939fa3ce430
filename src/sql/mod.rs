//! Flink SQL text in, job graph out.
//!
//! `parser` turns text into statements (`ast`), `catalog` holds the session's tables, views and options, `planner`
//! binds queries and builds the [`crate::graph::JobGraph`]. Everything that is not supported is refused here, with its
//! line and column, never at run time.

pub mod ast;
pub mod catalog;
pub mod parser;
pub mod planner;
