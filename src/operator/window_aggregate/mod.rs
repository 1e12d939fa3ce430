//! `GROUP BY keys, window_start, window_end` in event time: one row per key and window, when the watermark passes its end.
//!
//! Each row updates one slice; a window merges its slices when it fires (Flink's `SlicingWindowOperator`). A row is late,
//! dropped and counted when the last window of its slice has fired; while only some have, it still counts for the
//! others. A window fires when the watermark reaches its last ms, once; windows without rows are not emitted.
//!
//! Windows are emitted in order of their end, before the watermark that fires them; the order of rows within a window is
//! not defined. Results do not depend on batching: no watermark matters within a batch.
//!
//! Operator state, version 1: `{"v": 1, "watermark": ms}`, so that after a restore the same rows are late as without.

mod slice_table;
mod store;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use std::collections::HashMap;
use std::ops::Range;

use super::aggregate::{AggregateInput, AggregateType};
use super::event_time::{TimeShift, from_ms, to_ms};
use super::late::LateRecords;
use super::window::{Window, Windows};
use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot, Watermark};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::{WindowAggregateSpec, WindowInput, WindowProperty};
use crate::state::StateContext;
use crate::state::backend::malformed;
use crate::state::key_codec::KeyCodec;
use crate::types::Schema;
use slice_table::{SliceTable, TableType};
use store::SliceStore;

/// Where windows come from; see [`WindowInput`].
#[derive(Clone, Copy)]
enum Assigner {
    Assign { windows: Windows, rowtime: usize },
    Attached { start: usize, end: usize, zoned: bool },
}

/// See the module text.
pub struct WindowAggregateOperator {
    spec: WindowAggregateSpec,
    assigner: Assigner,
    shift: TimeShift,
    input: Schema,
    output: SchemaRef,
    store: SliceStore,
    watermark: Watermark,
    late: LateRecords,
    late_records_dropped: u64,
}

/// What the stored form of an aggregate's state depends on; state of another layout cannot be opened.
pub fn layout(spec: &WindowAggregateSpec, input: &Schema) -> Result<String> {
    let windows = match spec.input {
        WindowInput::Assign { window, .. } => format!("{window:?}"),
        WindowInput::Attached { .. } => "attached".to_owned(),
    };
    let mut keys = Vec::with_capacity(spec.keys.len());
    for key in &spec.keys {
        let field = input.fields.get(*key).ok_or_else(|| Error::internal("a grouping column does not exist"))?;
        keys.push(field.data_type.kind.regular().to_string());
    }
    let aggregates: Vec<String> =
        spec.aggregates.iter().map(|a| Ok(AggregateType::new(a, input)?.layout())).collect::<Result<_>>()?;
    Ok(format!("windows [{windows}] by keys [{}] with aggregates [{}]", keys.join(", "), aggregates.join(", ")))
}

impl WindowAggregateOperator {
    /// Opens the state, fresh or restored. `restored_operator_state` has the values of all old subtasks.
    /// Windows are aligned in UTC unless [`Self::with_context`] says otherwise.
    pub fn open(
        spec: &WindowAggregateSpec,
        input: &Schema,
        output: &Schema,
        context: StateContext,
        restored_operator_state: &[serde_json::Value],
    ) -> Result<Self> {
        let assigner = match spec.input {
            WindowInput::Assign { window, rowtime } => Assigner::Assign { windows: Windows::new(window)?, rowtime },
            WindowInput::Attached { window_start, window_end, zoned } => {
                Assigner::Attached { start: window_start, end: window_end, zoned }
            }
        };
        let key_fields = spec
            .keys
            .iter()
            .map(|k| input.fields.get(*k).ok_or_else(|| Error::internal("a grouping column does not exist")));
        let key_fields = key_fields.collect::<Result<Vec<_>>>()?;
        let of = TableType {
            keys: KeyCodec::new(key_fields.iter().map(|f| f.data_type.to_arrow()).collect())?,
            aggregates: spec.aggregates.iter().map(|a| AggregateType::new(a, input)).collect::<Result<_>>()?,
        };
        let layout = layout(spec, input)?;
        Ok(WindowAggregateOperator {
            store: SliceStore::open(&context, of, &layout)?,
            watermark: restored_watermark(restored_operator_state)?,
            spec: spec.clone(),
            assigner,
            shift: TimeShift::none(),
            input: input.clone(),
            output: output.to_arrow(),
            late: LateRecords::new("WindowAggregate", input),
            late_records_dropped: 0,
        })
    }

    /// Aligns windows over a `TIMESTAMP_LTZ` rowtime in the context's time zone, as Flink does.
    pub fn with_context(mut self, context: &EvalContext) -> Self {
        self.shift = match self.assigner {
            Assigner::Assign { rowtime, .. } => {
                self.input.fields.get(rowtime).map_or(TimeShift::none(), |f| TimeShift::of(&f.data_type.kind, context))
            }
            Assigner::Attached { zoned, .. } => TimeShift::of_windows(zoned, context),
        };
        self
    }

    /// The rows of each slice in the batch; `None` = all rows.
    fn split(&mut self, batch: &RecordBatch) -> Result<Vec<(Window, Option<Vec<u32>>)>> {
        match self.assigner {
            Assigner::Assign { windows, rowtime } => {
                let mut times = to_ms(batch.column(rowtime))?;
                self.shift.to_local(&mut times);
                let (min, max) = times.iter().fold((i64::MAX, i64::MIN), |(a, b), t| (a.min(*t), b.max(*t)));
                let first = windows.slice_of(min);
                if windows.slice_of(max) == first {
                    return Ok(vec![(first, None)]);
                }
                Ok(split_by(times.into_iter().map(|t| windows.slice_of(t))))
            }
            Assigner::Attached { start, end, .. } => {
                let (starts, ends) = (to_ms(batch.column(start))?, to_ms(batch.column(end))?);
                let windows = || starts.iter().zip(&ends).map(|(start, end)| Window { end: *end, start: *start });
                match windows().next() {
                    Some(first) if windows().all(|w| w == first) => Ok(vec![(first, None)]),
                    _ => Ok(split_by(windows())),
                }
            }
        }
    }

    /// The windows of a slice, earliest first, none if it lies between windows.
    fn windows_of(&self, slice: Window) -> (Option<Window>, Option<Window>) {
        match self.assigner {
            Assigner::Attached { .. } => (Some(slice).filter(|w| !self.has_fired(*w)), Some(slice)),
            Assigner::Assign { windows, .. } => {
                let mut all = windows.of_slice(slice);
                let last = windows.of_slice(slice).next_back();
                (all.find(|w| !self.has_fired(*w)), last)
            }
        }
    }

    fn has_fired(&self, window: Window) -> bool {
        self.shift.has_fired(window.end, self.watermark)
    }

    /// Fires the windows that become due, earliest first.
    fn fire(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        let mut fired: Option<Window> = None;
        // The first slice has the first window that is due: later slices have no earlier unfired windows.
        while let Some(first) = self.store.first() {
            let due = match self.assigner {
                Assigner::Attached { .. } => Some(first),
                Assigner::Assign { windows, .. } => {
                    windows.of_slice(first).find(|w| fired.is_none_or(|f| *w > f) && !self.has_fired(*w))
                }
            };
            let Some(due) = due else {
                self.store.remove(first)?;
                continue;
            };
            if !self.shift.has_fired(due.end, watermark) {
                break;
            }
            let slices = match self.assigner {
                Assigner::Attached { .. } => first..Window { start: first.start.wrapping_add(1), ..first },
                Assigner::Assign { .. } => slices_within(due),
            };
            if let Assigner::Assign { windows, .. } = self.assigner
                && windows.are_cumulative()
            {
                self.store.coalesce(slices.clone())?;
            }
            self.store
                .visit(slices, |table| emit(table, &self.spec, &self.store, &self.shift, due, &self.output, out))?;
            fired = Some(due);
            self.remove_expired(due)?;
        }
        Ok(())
    }

    /// Deletes the slices whose last window is this one.
    fn remove_expired(&mut self, fired: Window) -> Result<()> {
        while let Some(first) = self.store.first() {
            let last = match self.assigner {
                Assigner::Attached { .. } => Some(first),
                Assigner::Assign { windows, .. } => windows.of_slice(first).next_back(),
            };
            if last.is_some_and(|last| last > fired) {
                return Ok(());
            }
            self.store.remove(first)?;
        }
        Ok(())
    }
}

impl Operator for WindowAggregateOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        for (slice, rows) in self.split(&batch)? {
            let count = rows.as_ref().map_or(batch.num_rows(), Vec::len);
            match self.windows_of(slice) {
                (Some(_), _) => {}
                (None, Some(_)) => {
                    self.late_records_dropped += u64::try_from(count).unwrap_or(u64::MAX);
                    let late = match rows {
                        None => batch.clone(),
                        Some(rows) => take_record_batch(&batch, &UInt32Array::from(rows))?,
                    };
                    self.late.emit(&late, self.watermark, out)?;
                    continue;
                }
                // Between hopping windows that are shorter than their slide: in no window, so not late either.
                (None, None) => continue,
            }
            let rows = rows.map(UInt32Array::from);
            let column = |index: usize| match &rows {
                None => Ok(batch.column(index).clone()),
                Some(rows) => take(batch.column(index), rows, None),
            };
            let keys = self.spec.keys.iter().map(|k| column(*k)).collect::<Result<Vec<ArrayRef>, _>>()?;
            let inputs = self.spec.aggregates.iter().map(|call| {
                let argument = call.argument.map(column).transpose()?;
                Ok::<_, Error>(AggregateInput { argument, filter: call.filter.map(column).transpose()? })
            });
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            self.store.update(slice, &keys, &inputs, count)?;
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: Watermark, out: &mut dyn Collector) -> Result<()> {
        if watermark > self.watermark {
            self.fire(watermark, out)?;
            self.watermark = watermark;
        }
        out.watermark(self.watermark)
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        Ok(OperatorSnapshot {
            keyed: Some(self.store.snapshot()?),
            operator_state: Some(serde_json::json!({"v": 1, "watermark": self.watermark})),
        })
    }

    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics {
            late_records_dropped: self.late_records_dropped,
            state_memory_bytes: u64::try_from(self.store.bytes()).unwrap_or(u64::MAX),
        }
    }
}

/// The old subtasks' watermark. All are equal at an aligned barrier; of different ones the lowest is safest: a row that
/// some subtask would still have accepted must not be dropped by a watermark that it never saw.
pub(super) fn restored_watermark(states: &[serde_json::Value]) -> Result<Watermark> {
    let mut lowest = None;
    for state in states {
        let version = state.get("v").and_then(serde_json::Value::as_u64);
        let watermark = state.get("watermark").and_then(serde_json::Value::as_i64);
        let (Some(1), Some(watermark)) = (version, watermark) else {
            return Err(malformed("a window aggregate's operator state is not of version 1"));
        };
        lowest = Some(lowest.map_or(watermark, |l: i64| l.min(watermark)));
    }
    Ok(lowest.unwrap_or(i64::MIN))
}

/// The ids of slices that lie in a window.
fn slices_within(window: Window) -> Range<Window> {
    let after = |end: i64| Window { end: end.wrapping_add(1), start: i64::MIN };
    after(window.start)..after(window.end)
}

fn split_by(windows: impl Iterator<Item = Window>) -> Vec<(Window, Option<Vec<u32>>)> {
    let mut parts: Vec<(Window, Vec<u32>)> = Vec::new();
    let mut position_of: HashMap<Window, usize> = HashMap::new();
    let mut last = 0;
    for (row, window) in (0u32..).zip(windows) {
        if parts.get(last).is_none_or(|(id, _)| *id != window) {
            last = *position_of.entry(window).or_insert(parts.len());
            if last == parts.len() {
                parts.push((window, Vec::new()));
            }
        }
        parts[last].1.push(row);
    }
    parts.into_iter().map(|(id, rows)| (id, Some(rows))).collect()
}

/// Emits a table's groups as the rows of a window.
fn emit(
    table: &SliceTable,
    spec: &WindowAggregateSpec,
    store: &SliceStore,
    shift: &TimeShift,
    window: Window,
    output: &SchemaRef,
    out: &mut dyn Collector,
) -> Result<()> {
    let last = window.end.wrapping_sub(1);
    for start in (0..table.len()).step_by(MAX_BATCH_ROWS) {
        let groups = start..table.len().min(start + MAX_BATCH_ROWS);
        let rows = groups.len();
        let mut columns = table.columns(store.table_type(), groups)?;
        for property in &spec.properties {
            let value = match property {
                WindowProperty::Start => window.start,
                WindowProperty::End => window.end,
                WindowProperty::Time => shift.to_instant(last),
            };
            let field = output.fields().get(columns.len());
            let field = field.ok_or_else(|| Error::internal("a window aggregate emits more columns than planned"))?;
            columns.push(from_ms(vec![value; rows], field.data_type())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        out.batch(RecordBatch::try_new_with_options(output.clone(), columns, &options)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
