//! The calc operator.
