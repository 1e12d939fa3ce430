//! Integration tests: one binary, because on two cores linking is the cost.

mod kill_loop;
mod lifecycle;
mod oracle;
mod support;
