//! The session's tables, views and options.
