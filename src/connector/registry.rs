//! Which connectors exist.

use std::sync::Arc;

use super::{SinkConnector, SourceConnector};
use crate::error::{Error, Result};
use crate::graph::ConnectorSpec;

pub(super) fn source(spec: &ConnectorSpec) -> Result<Arc<dyn SourceConnector>> {
    Err(Error::invalid("unknown_connector", format!("there is no source connector '{}'", spec.connector)))
}

pub(super) fn sink(spec: &ConnectorSpec) -> Result<Arc<dyn SinkConnector>> {
    Err(Error::invalid("unknown_connector", format!("there is no sink connector '{}'", spec.connector)))
}
