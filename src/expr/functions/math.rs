//! Functions of the chapter "math".

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[];
