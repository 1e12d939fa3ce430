//! Durable object storage.
