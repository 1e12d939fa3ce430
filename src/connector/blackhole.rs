//! The `blackhole` sink: takes rows and forgets them, for measuring. With `delay` each batch takes that long, as with a
//! slow system behind it.

use std::time::Duration;

use arrow::record_batch::RecordBatch;

use super::options::{Options, invalid};
use super::{SinkChangelog, SinkConnector, SinkWriter, TaskContext};
use crate::error::Result;
use crate::graph::SinkSpec;
use crate::types::Schema;

/// The connector.
pub struct Blackhole;

/// Longest delay, ms: a subtask does not notice a cancel meanwhile.
const MAX_DELAY_MS: u64 = 10_000;

struct Writer {
    delay: Duration,
}

fn delay_ms(spec: &SinkSpec) -> Result<u64> {
    match Options::new(&spec.connector).duration_ms("delay")? {
        Some(ms) if ms > MAX_DELAY_MS => {
            Err(invalid("delay", &format!("{ms} ms"), &format!("at most {MAX_DELAY_MS} ms")))
        }
        ms => Ok(ms.unwrap_or(0)),
    }
}

impl SinkConnector for Blackhole {
    fn validate(&self, spec: &SinkSpec, _: &Schema) -> Result<()> {
        delay_ms(spec)?;
        Options::new(&spec.connector).refuse_unknown(&["delay"])
    }
    fn changelog(&self, _: &SinkSpec) -> SinkChangelog {
        SinkChangelog::All
    }
    fn writer(&self, spec: &SinkSpec, _: &Schema, _: &TaskContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer { delay: Duration::from_millis(delay_ms(spec)?) }))
    }
}

impl SinkWriter for Writer {
    fn write(&mut self, _: &RecordBatch) -> Result<()> {
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
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
