//! The sink operator: two-phase commit of a writer along the checkpoints.
//!
//! A checkpoint's committables are stored in its snapshot and published when the checkpoint is. After a crash between
//! the two, the restored snapshot still lists them, and subtask 0 publishes them (again): writers make that harmless.

use std::collections::VecDeque;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};

use crate::connector::SinkWriter;
use crate::error::{Error, Result};
use crate::operator::OperatorSnapshot;
use crate::types::Schema;

/// Version of the stored operator state.
const STATE_VERSION: u64 = 1;

/// See the module text.
pub struct SinkOperator {
    writer: Box<dyn SinkWriter>,
    /// Positions and names of the table's `NOT NULL` columns. Flink: `table.exec.sink.not-null-enforcer`, `ERROR`.
    not_null: Vec<(usize, String)>,
    /// Prepared and not yet published, by checkpoint id.
    pending: VecDeque<(u64, Vec<Value>)>,
}

impl SinkOperator {
    /// Opens over `writer`. `restored` are all old subtasks' states; subtask 0 publishes what they list.
    pub fn open(mut writer: Box<dyn SinkWriter>, table: &Schema, subtask: usize, restored: &[Value]) -> Result<Self> {
        if subtask == 0 {
            for state in restored {
                writer.commit(&committables(state)?)?;
            }
            writer.discard_stale()?;
        }
        let columns = table.fields.iter().enumerate();
        let not_null = columns.filter(|(_, f)| !f.data_type.nullable).map(|(i, f)| (i, f.name.clone())).collect();
        Ok(SinkOperator { writer, not_null, pending: VecDeque::new() })
    }
    /// Stages rows; a null in a `NOT NULL` column is an error with code `null_in_not_null_column`.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some((_, name)) = self.not_null.iter().find(|(i, _)| batch.column(*i).null_count() > 0) {
            return Err(Error::invalid(
                "null_in_not_null_column",
                format!(
                    "a record has null in column '{name}', which the sink table declares NOT NULL; filter such records out, use COALESCE, or drop NOT NULL"
                ),
            ));
        }
        self.writer.write(batch)
    }
    /// Makes staged rows durable and notes how to publish them.
    pub fn snapshot(&mut self, checkpoint_id: u64) -> Result<OperatorSnapshot> {
        let prepared = self.writer.prepare_commit(checkpoint_id)?;
        if !prepared.is_empty() {
            self.pending.push_back((checkpoint_id, prepared));
        }
        let all: Vec<&Value> = self.pending.iter().flat_map(|(_, c)| c).collect();
        let operator_state = Some(json!({ "v": STATE_VERSION, "committables": all }));
        Ok(OperatorSnapshot { keyed: None, operator_state })
    }
    /// Publishes everything prepared up to this checkpoint.
    pub fn complete(&mut self, checkpoint_id: u64) -> Result<()> {
        while let Some((id, _)) = self.pending.front()
            && *id <= checkpoint_id
        {
            if let Some((_, prepared)) = self.pending.front() {
                crate::crash::fail("sink-commit")?;
                self.writer.commit(prepared)?;
            }
            self.pending.pop_front();
        }
        Ok(())
    }
    /// Releases the writer.
    pub fn close(&mut self) -> Result<()> {
        self.writer.close()
    }
}

fn committables(state: &Value) -> Result<Vec<Value>> {
    match (state.get("v").and_then(Value::as_u64), state.get("committables").and_then(Value::as_array)) {
        (Some(STATE_VERSION), Some(all)) => Ok(all.clone()),
        _ => Err(Error::corrupt("sink_state", format!("a sink's stored state is not of version {STATE_VERSION}"))),
    }
}
