//! Holdfast: Flink SQL streaming jobs in one process that do not lose their state.

pub mod api;
pub mod app;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connector;
pub mod crash;
pub mod error;
pub mod expr;
pub mod graph;
pub mod id;
pub mod job;
pub mod metadata;
pub mod operator;
pub mod runtime;
pub mod sql;
pub mod state;
pub mod storage;
pub mod telemetry;
pub mod types;
