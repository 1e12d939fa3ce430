//! Arithmetic, comparison and logic.

pub(crate) mod arithmetic;
pub(crate) mod comparison;
mod concat;
pub(crate) mod decimal;
mod interval;
mod logic;
mod membership;
mod pattern;

use super::Expr;
use super::function::Function;
use crate::error::{Error, Result};
use crate::types::{DataType, TypeKind};

/// All operators, for the registry.
pub(super) fn all() -> impl Iterator<Item = &'static Function> {
    [
        arithmetic::FUNCTIONS,
        comparison::FUNCTIONS,
        concat::FUNCTIONS,
        logic::FUNCTIONS,
        membership::FUNCTIONS,
        pattern::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// An error of the arguments, with code `invalid_argument`.
fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid("invalid_argument", message))
}

/// Refuses a wrong number of arguments.
fn expect_count(name: &str, args: &[Expr], count: usize) -> Result<()> {
    if args.len() == count {
        return Ok(());
    }
    refuse(format!("{name} takes {count} arguments, not {}", args.len()))
}

/// Whether a result is null where an argument is.
fn any_nullable(args: &[Expr]) -> bool {
    args.iter().any(|a| a.data_type().nullable)
}

/// Casts one argument in place.
fn coerce(arg: &mut Expr, kind: &TypeKind, explicit: bool) -> Result<()> {
    if arg.data_type().kind != *kind {
        let taken = std::mem::replace(
            arg,
            Expr::Literal { value: super::Scalar::Null, data_type: DataType::nullable(TypeKind::Null) },
        );
        let nullable = taken.data_type().nullable;
        *arg = super::cast(taken, &DataType { kind: kind.clone(), nullable }, explicit)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
