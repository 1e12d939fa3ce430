//! Functions of the chapter "temporal".

use crate::expr::function::Function;

pub(super) static FUNCTIONS: &[Function] = &[];
