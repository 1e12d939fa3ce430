//! Functions of the chapter "json".

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[];
