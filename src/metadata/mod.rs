//! What the service knows, in Postgres or SQLite: jobs, snapshots, failures. All SQL of ours is here.
//!
//! One set of queries for both databases. Statuses change by compare-and-set; a job's row is only written by the
//! process that holds its lease, and every such write names the attempt, so that a fenced process writes nothing.
//!
//! Times are ms since the epoch. JSON columns are text.

mod model;

pub use model::*;
