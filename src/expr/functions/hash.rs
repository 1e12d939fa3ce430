//! Functions of the chapter "hash".

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[];
