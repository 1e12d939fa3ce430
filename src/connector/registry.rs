//! Which connectors exist.

use std::sync::Arc;

use super::blackhole::Blackhole;
use super::datagen::Datagen;
use super::filesystem::{FilesystemSink, FilesystemSource};
use super::nexmark::Nexmark;
use super::options::offer;
use super::print::Print;
use super::{SinkConnector, SourceConnector};
use crate::error::{Error, Result};
use crate::graph::ConnectorSpec;

const SOURCES: &[&str] = &["datagen", "filesystem", "nexmark"];
const SINKS: &[&str] = &["blackhole", "filesystem", "print"];

pub(super) fn source(spec: &ConnectorSpec) -> Result<Arc<dyn SourceConnector>> {
    match spec.connector.as_str() {
        "datagen" => Ok(Arc::new(Datagen)),
        "filesystem" => Ok(Arc::new(FilesystemSource)),
        "nexmark" => Ok(Arc::new(Nexmark)),
        other => Err(unknown("source", other, SOURCES)),
    }
}

pub(super) fn sink(spec: &ConnectorSpec) -> Result<Arc<dyn SinkConnector>> {
    match spec.connector.as_str() {
        "blackhole" => Ok(Arc::new(Blackhole)),
        "filesystem" => Ok(Arc::new(FilesystemSink)),
        "print" => Ok(Arc::new(Print)),
        other => Err(unknown("sink", other, SINKS)),
    }
}

fn unknown(role: &str, name: &str, known: &[&str]) -> Error {
    Error::invalid("unknown_connector", format!("there is no {role} connector '{name}'; {}", offer(name, known)))
}
