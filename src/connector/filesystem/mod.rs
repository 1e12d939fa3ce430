//! The `filesystem` connector: files of records in a local folder, read in order and written exactly once.
//!
//! A file is immutable once it appears under its name, as in Flink; names that start with `.` or `_` are not data.

mod listing;
mod sink;
mod source;

pub use sink::FilesystemSink;
pub use source::FilesystemSource;
