//! The window_aggregate operator.
