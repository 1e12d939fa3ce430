//! Functions of the chapter "string".

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[];
