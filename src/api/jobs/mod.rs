//! `/api/v1/jobs`.

pub mod cancel;
pub mod delete;
pub mod drill;
pub mod durability;
pub mod exceptions;
pub mod list;
pub mod metrics;
pub mod plan;
pub mod restart;
pub mod show;
pub mod stop;
pub mod submit;
pub mod upgrade;
