//! Integration tests: one binary, because on two cores linking is the cost.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod checkpointing;
mod cleaning;
mod client;
mod durability;
mod faults;
mod kill_loop;
mod lifecycle;
mod malformed;
mod oracle;
mod restore;
mod savepoints;
mod support;
mod tidy;
mod upgrade;
