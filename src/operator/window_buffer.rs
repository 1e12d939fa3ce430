//! Rows that have a window already and wait until it is over: one input of a window Top-N or a window join.
//!
//! A window with end `e` is over when the watermark reaches its last ms; a row of it that comes later is late. Where the
//! windows are of a `TIMESTAMP_LTZ`, their bounds are local times of the session's time zone.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;

use super::Watermark;
use super::event_time::{TimeShift, to_ms};
use super::key_hasher::KeyHasher;
use crate::error::Result;
use crate::graph::key_group::key_group;
use crate::state::Backend;
use crate::state::row_codec::RowCodec;
use crate::state::time_buffer::{TimeBuffer, in_time};
use crate::types::Schema;

/// Rows in time, their instants, late rows.
pub type InTime = (RecordBatch, Vec<i64>, Option<RecordBatch>);

/// See the module text.
pub struct WindowBuffer {
    buffer: TimeBuffer,
    hasher: KeyHasher,
    window_end: usize,
    shift: TimeShift,
    max_parallelism: u32,
}

impl WindowBuffer {
    /// A buffer in a table of the backend; `keys` decide the key group, as in the exchange before.
    pub fn open(
        backend: &Backend,
        table: &'static str,
        input: &Schema,
        (window_end, keys): (usize, &[usize]),
        shift: TimeShift,
        max_parallelism: u32,
        next_number: u64,
    ) -> Result<Self> {
        let codec = RowCodec::new(input.fields.iter().map(|f| f.data_type.to_arrow()).collect());
        Ok(WindowBuffer {
            buffer: TimeBuffer::open(backend, table, codec, next_number)?,
            hasher: KeyHasher::new(input, keys)?,
            window_end,
            shift,
            max_parallelism,
        })
    }

    /// The rows that are not late, with the instants at which their windows are over, and those that are.
    pub fn in_time(&self, batch: RecordBatch, watermark: Watermark) -> Result<InTime> {
        let mut last = (i64::MIN, i64::MIN);
        let mut times = to_ms(batch.column(self.window_end))?;
        for time in &mut times {
            if last.0 != *time {
                last = (*time, self.shift.to_instant(time.wrapping_sub(1)));
            }
            *time = last.1;
        }
        let Some(rows) = in_time(&times, watermark) else { return Ok((batch, times, None)) };
        let late = (0u32..).zip(&times).filter(|(_, time)| **time <= watermark).map(|(row, _)| row);
        let late = take_record_batch(&batch, &UInt32Array::from_iter_values(late))?;
        let times = rows.iter().map(|row| times[*row as usize]).collect();
        Ok((take_record_batch(&batch, &UInt32Array::from(rows))?, times, Some(late)))
    }

    /// Takes rows, with the instants at which their windows are over.
    pub fn push(&mut self, batch: &RecordBatch, times: &[i64]) -> Result<()> {
        if times.is_empty() {
            return Ok(());
        }
        let groups = self.hasher.hash(batch)?.into_iter().map(|hash| key_group(hash, self.max_parallelism));
        let groups: Vec<u16> = groups.collect();
        self.buffer.push(batch.columns().to_vec(), times, &groups)
    }

    /// Takes out the rows whose windows are over, earliest first, then in order of arrival.
    pub fn release(&mut self, backend: &Backend, watermark: Watermark) -> Result<Option<Vec<ArrayRef>>> {
        Ok(self.buffer.release(backend, watermark)?.map(|released| released.columns))
    }

    /// The waiting rows.
    pub fn rows(&self) -> &TimeBuffer {
        &self.buffer
    }

    /// The waiting rows, to be written.
    pub fn rows_mut(&mut self) -> &mut TimeBuffer {
        &mut self.buffer
    }
}
