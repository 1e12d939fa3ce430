//! What the integration tests share: a real Postgres, a real S3 server, the real binary.

pub mod postgres;
pub mod proxy;
pub mod query;
pub mod s3;
pub mod server;
