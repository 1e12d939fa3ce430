//! The window_table operator.
