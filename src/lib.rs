//! Holdfast: Flink SQL streaming jobs in one process that do not lose their state.
//!
//! This page is the map. Imports go downward only; `tests/it/tidy.rs` fails on an upward one.
//!
//! | layer | modules | holds |
//! | --- | --- | --- |
//! | 0 | [`id`] [`clock`] [`crash`] [`error`] [`config`] [`telemetry`] [`types`] | newtypes, time, error kinds, settings, Flink's types |
//! | 1 | [`expr`] · [`graph`] · [`storage`] · [`metadata`] | typed expressions and functions · the job graph as data, key groups · objects, put-if-absent · Postgres/SQLite, all SQL of ours |
//! | 2 | [`state`] | RocksDB for one operator subtask: tables, snapshot, import |
//! | 3 | [`connector`] · [`operator`] | sources, sinks, formats · one file or folder each |
//! | 4 | [`sql`] · [`runtime`] · [`checkpoint`] | text to job graph · the data plane: elements, channels, alignment, subtask loops · the protocol: pending, manifest, upload, restore, retention |
//! | 5 | [`job`] | service, master, attempt, supervisor, restart, preflight, ad-hoc queries: the only place that knows all of layer 4 |
//! | 6 | [`api`] · [`cli`] | HTTP only · the command line |
//! | 7 | [`app`] | the composition root |
//!
//! From a request to RocksDB: `api::jobs::submit` → `job::service` → `sql` (plan) → `metadata` (row) → `job::supervisor` →
//! `job::master` → `job::attempt` → `runtime::execution` → `operator::window_aggregate` → `state`.
//!
//! # Life of an event
//! A source decodes a batch with its position → the scan's computed columns, event time, watermark (`runtime::source`) →
//! split by key group (`runtime::channel`) → bounded channel, full = backpressure → subtask loop, alignment
//! (`runtime::task`) → operator chain → keyed state in memory, behind it RocksDB → a sink stages until its checkpoint
//! completes (`runtime::sink`).
//!
//! # Life of a checkpoint
//! See [`checkpoint`]: its numbered steps are the crash points of the tests.
//!
//! # Decisions that are not obvious
//! - **No DataFusion.** Expressions are our own typed trees over Arrow kernels: they are stored with a job's plan (serde),
//!   carry Flink's types with nullability and time attributes, and follow Flink's coercion and null rules, which would
//!   have meant replacing DataFusion's type coercion, function signatures and aggregates one by one. It also takes about
//!   half of the dependencies' compile time away.
//! - **Answers do not depend on batching.** A source cuts a batch before any row that could be late
//!   (`runtime::watermark::cuts`), so lateness is decided as if records came one by one.
//! - **Subtasks outlive their input.** After the end of input they stay, so that the last checkpoint (with which sinks
//!   commit) passes through all of them like any other.
//! - **Object keys name the attempt** and are never reused; sharing between checkpoints is by reference in the manifest,
//!   and only from the newest completed one, so that nothing that is still referenced can be retired.

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
