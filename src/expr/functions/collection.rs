//! Functions of the chapter "collection".

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[];
