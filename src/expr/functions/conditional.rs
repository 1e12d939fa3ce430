//! Functions of the chapter "conditional".

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[];
