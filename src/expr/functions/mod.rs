//! Flink's built-in scalar functions, one file per chapter of Flink's system-function page.

mod arguments;
mod collection;
mod conditional;
mod hash;
mod json;
mod kernels;
mod math;
mod string;
mod temporal;

use super::function::Function;

/// All built-in functions, for the registry.
pub(super) fn all() -> impl Iterator<Item = &'static Function> {
    [
        collection::FUNCTIONS,
        conditional::FUNCTIONS,
        hash::FUNCTIONS,
        json::FUNCTIONS,
        math::FUNCTIONS,
        string::FUNCTIONS,
        temporal::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}
