//! The `blackhole` sink: takes rows and forgets them, for measuring.

use arrow::record_batch::RecordBatch;

use super::options::Options;
use super::{SinkChangelog, SinkConnector, SinkWriter, TaskContext};
use crate::error::Result;
use crate::graph::SinkSpec;
use crate::types::Schema;

/// The connector.
pub struct Blackhole;

struct Writer;

impl SinkConnector for Blackhole {
    fn validate(&self, spec: &SinkSpec, _: &Schema) -> Result<()> {
        Options::new(&spec.connector).refuse_unknown(&[])
    }
    fn changelog(&self, _: &SinkSpec) -> SinkChangelog {
        SinkChangelog::All
    }
    fn writer(&self, _: &SinkSpec, _: &Schema, _: &TaskContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer))
    }
}

impl SinkWriter for Writer {
    fn write(&mut self, _: &RecordBatch) -> Result<()> {
        Ok(())
    }
    fn prepare_commit(&mut self, _: u64) -> Result<Vec<serde_json::Value>> {
        Ok(Vec::new())
    }
    fn commit(&mut self, _: &[serde_json::Value]) -> Result<()> {
        Ok(())
    }
    fn discard_stale(&mut self) -> Result<()> {
        Ok(())
    }
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}
