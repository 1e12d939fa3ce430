//! Top-N: keeps the first rows of each partition in some order, and tells what changes, row by row.
//!
//! Rows with equal sort keys are in the order of arrival. With the number in the output, a row that comes in moves those
//! behind it: each number whose row changes is updated. Without it, one row comes in and one goes out. Deduplication is the
//! case of one row. Source: Flink's `AppendOnlyTopNFunction`, `RetractableTopNFunction`, `FastTop1Function`,
//! `RowTimeDeduplicateFunction`, `ProcTimeDeduplicateKeep…RowFunction`, whose kinds of rows these are.
//!
//! State: see [`ranking`]; of rows that only come, no more are kept than are in.

mod ranking;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use self::ranking::{RANKED, RANKING, Rankings, TREE_ROW_BYTES};
use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot};
use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::graph::ranking::{Ties, TopNSpec};
use crate::state::key_codec::KeyCodec;
use crate::state::keyed_map::KeyedMap;
use crate::state::row_codec::{RowCodec, RowEncoder};
use crate::state::{Backend, StateContext, sort_codec};
use crate::types::Schema;
use crate::types::row_kind::{self, DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE};

/// See the module text.
pub struct TopNOperator {
    spec: TopNSpec,
    codec: RowCodec,
    output: SchemaRef,
    output_with_kinds: SchemaRef,
    backend: Backend,
    map: KeyedMap<Rankings>,
    budget_bytes: usize,
    changes: Changes,
}

/// Rows to be emitted.
#[derive(Default)]
struct Changes {
    kinds: Vec<i8>,
    numbers: Vec<i64>,
    /// 0 = a row of the input batch, 1 = one of `stored`.
    rows: Vec<(usize, usize)>,
    stored: Vec<u8>,
    ends: Vec<usize>,
}

/// Where a row to be emitted is.
#[derive(Clone, Copy)]
enum Source<'a> {
    Input(usize),
    Stored(&'a [u8]),
}

impl Changes {
    fn push(&mut self, kind: i8, position: usize, row: Source<'_>) {
        self.kinds.push(kind);
        self.numbers.push(i64::try_from(position).unwrap_or(i64::MAX).saturating_add(1));
        self.rows.push(match row {
            Source::Input(row) => (0, row),
            Source::Stored(bytes) => {
                self.stored.extend_from_slice(bytes);
                self.ends.push(self.stored.len());
                (1, self.ends.len() - 1)
            }
        });
    }
    fn update(&mut self, before: bool, position: usize, old: Source<'_>, new: Source<'_>) {
        if before {
            self.push(UPDATE_BEFORE, position, old);
        }
        self.push(UPDATE_AFTER, position, new);
    }
}

impl TopNOperator {
    /// Opens the state, fresh or restored.
    pub fn open(spec: &TopNSpec, input: &Schema, output: &Schema, context: StateContext) -> Result<Self> {
        let types: Vec<_> = input.fields.iter().map(|f| f.data_type.to_arrow()).collect();
        let key_type = |k: &usize| types.get(*k).cloned().ok_or_else(|| Error::internal("a key column does not exist"));
        let keys = KeyCodec::new(spec.partition_by.iter().map(key_type).collect::<Result<_>>()?)?;
        let columns: Vec<_> = input.fields.iter().map(|f| f.data_type.kind.regular().to_string()).collect();
        // What is kept depends on the last number, not on what is shown of it.
        let layout = format!(
            "rows [{}] ranked up to {} by {:?} in {:?}, {:?} first, retracted {}",
            columns.join(", "),
            if spec.retracts { 0 } else { spec.last },
            spec.order_by,
            spec.partition_by,
            spec.ties,
            spec.retracts
        );
        let backend = Backend::open(&context, &[RANKING, RANKED], &layout)?;
        let budget_bytes = context.memory_budget_bytes;
        let rankings = Rankings::new(spec.retracts);
        let map = KeyedMap::open(&backend, RANKING, None, keys, context.max_parallelism, rankings, budget_bytes / 2)?;
        let output = output.to_arrow();
        Ok(TopNOperator {
            spec: spec.clone(),
            codec: RowCodec::new(types),
            output_with_kinds: row_kind::with_row_kind(&output),
            output,
            backend,
            map,
            budget_bytes,
            changes: Changes::default(),
        })
    }

    fn position(number: u64) -> usize {
        usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX)
    }

    fn insert(&mut self, slot: usize, at: usize, sort: &[u8], encoder: &RowEncoder<'_>, row: &mut Vec<u8>) {
        // Positions count from 0, numbers from 1.
        let (first, last) = (Self::position(self.spec.first), Self::position(self.spec.last));
        let before = self.spec.update_before;
        let ranking = &mut self.map.entries.items[slot];
        let number = match self.spec.ties {
            Ties::Oldest => ranking.next,
            Ties::Newest => u64::MAX - ranking.next,
        };
        let (length, limit) = (ranking.len(), last.saturating_add(1));
        let position = ranking.before(sort, number, limit);
        if position > last && !self.spec.retracts {
            return;
        }
        ranking.next += 1;
        row.clear();
        // A row that never goes out is never emitted again.
        if !self.spec.is_insert_only() {
            encoder.write(at, row);
        }
        ranking.insert(sort, number, row);
        let grown = isize::try_from(2 * sort.len() + row.len() + TREE_ROW_BYTES).unwrap_or(isize::MAX);
        if position <= last && self.spec.number {
            let moved = ranking.rows(position, last.min(length).saturating_add(2) - position);
            for (n, current) in moved.iter().enumerate() {
                let place = position + n;
                if place > last {
                    break;
                }
                if place < first {
                    continue;
                }
                let new = if n == 0 { Source::Input(at) } else { Source::Stored(current) };
                match moved.get(n + 1).filter(|_| place < length) {
                    Some(old) => self.changes.update(before, place, Source::Stored(old), new),
                    None => self.changes.push(INSERT, place, new),
                }
            }
        } else if position <= last {
            let place = position.max(first);
            let entering =
                if place == position { Some(Source::Input(at)) } else { ranking.row(place).map(Source::Stored) };
            let leaving = last.checked_add(1).filter(|_| length > last).and_then(|next| ranking.row(next));
            if let Some(entering) = entering {
                match leaving {
                    Some(leaving) if first == last => {
                        self.changes.update(before, place, Source::Stored(leaving), entering);
                    }
                    Some(leaving) => {
                        self.changes.push(DELETE, place, Source::Stored(leaving));
                        self.changes.push(INSERT, place, entering);
                    }
                    None => self.changes.push(INSERT, place, entering),
                }
            }
        }
        if !self.spec.retracts && ranking.len() > limit {
            ranking.pop();
        }
        self.map.entries.recount(slot, grown);
    }

    fn remove(&mut self, slot: usize, sort: &[u8], row: &[u8]) {
        let (first, last) = (Self::position(self.spec.first), Self::position(self.spec.last));
        let before = self.spec.update_before;
        let ranking = &mut self.map.entries.items[slot];
        let length = ranking.len();
        // A row that is not there was never in, or its kind came out of order: nothing was emitted for it.
        let Some(position) = ranking.remove(sort, row, last.saturating_add(1)) else { return };
        let removed = Source::Stored(row);
        if position <= last && self.spec.number {
            // What was at a place before is now one place ahead.
            let now = ranking.rows(position, last.min(length) - position + 1);
            for place in position.max(first)..=last.min(length - 1) {
                let n = place - position;
                let old = if n == 0 { removed } else { Source::Stored(now[n - 1]) };
                match now.get(n) {
                    Some(new) => self.changes.update(before, place, old, Source::Stored(new)),
                    None => self.changes.push(DELETE, place, old),
                }
            }
        } else if position <= last {
            let place = position.max(first);
            let leaving = if place == position {
                Some(removed)
            } else {
                // One place ahead of where it was.
                place.checked_sub(1).and_then(|p| ranking.row(p)).map(Source::Stored)
            };
            if let Some(leaving) = leaving.filter(|_| place < length) {
                match ranking.row(last) {
                    Some(new) if first == last => self.changes.update(before, place, leaving, Source::Stored(new)),
                    new => {
                        self.changes.push(DELETE, place, leaving);
                        if let Some(new) = new {
                            self.changes.push(INSERT, place, Source::Stored(new));
                        }
                    }
                }
            }
        }
        let shrunk = isize::try_from(2 * sort.len() + row.len() + TREE_ROW_BYTES).unwrap_or(isize::MAX);
        self.map.entries.recount(slot, -shrunk);
    }

    fn emit(&mut self, input: &RecordBatch, out: &mut dyn Collector) -> Result<()> {
        let changes = std::mem::take(&mut self.changes);
        if changes.kinds.is_empty() {
            return Ok(());
        }
        let starts = std::iter::once(0).chain(changes.ends.iter().copied());
        let stored: Vec<&[u8]> = starts.zip(&changes.ends).map(|(start, end)| &changes.stored[start..*end]).collect();
        let stored = if stored.is_empty() { vec![] } else { self.codec.decode(&stored)? };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.output.fields().len());
        for (at, column) in input.columns().iter().enumerate() {
            columns.push(match stored.get(at) {
                Some(stored) => interleave(&[column.as_ref(), stored.as_ref()], &changes.rows)?,
                None => interleave(&[column.as_ref()], &changes.rows)?,
            });
        }
        if self.spec.number {
            columns.push(Arc::new(Int64Array::from(changes.numbers)));
        }
        let rows = RecordBatch::try_new(self.output.clone(), columns)?;
        let all = if changes.kinds.iter().all(|k| *k == INSERT) {
            rows
        } else {
            row_kind::attach(&rows, Int8Array::from(changes.kinds), &self.output_with_kinds)?
        };
        for start in (0..all.num_rows()).step_by(MAX_BATCH_ROWS) {
            out.batch(all.slice(start, MAX_BATCH_ROWS.min(all.num_rows() - start)))?;
        }
        Ok(())
    }
}

impl Operator for TopNOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (batch, kinds) = row_kind::split(batch)?;
        let keys: Vec<ArrayRef> = self.spec.partition_by.iter().map(|k| batch.column(*k).clone()).collect();
        let keys = self.map.codec().encode(&keys, batch.num_rows())?;
        let mut slots = Vec::new();
        self.map.resolve(&self.backend, &keys, None, &mut slots)?;
        if self.spec.retracts {
            for slot in &slots {
                ranking::load(&mut self.map, &self.backend, *slot)?;
            }
        }
        let sorts = sort_codec::encode(batch.columns(), &self.spec.order_by, batch.num_rows())?;
        let codec = self.codec.clone();
        let encoder = codec.encoder(batch.columns())?;
        let mut row = Vec::new();
        for (at, (slot, sort)) in slots.iter().zip(&sorts).enumerate() {
            let adds = kinds.as_ref().is_none_or(|k| row_kind::adds(k.value(at)));
            if adds {
                self.insert(*slot as usize, at, sort, &encoder, &mut row);
            } else if self.spec.retracts {
                row.clear();
                encoder.write(at, &mut row);
                self.remove(*slot as usize, sort, &row);
            } else {
                return Err(Error::internal("a Top-N of rows that only come got one taken back"));
            }
        }
        self.map.change(&slots);
        self.emit(&batch, out)?;
        if self.map.bytes() > self.budget_bytes {
            ranking::flush(&mut self.map, &self.backend)?;
            self.map.evict(&self.backend, self.budget_bytes / 2)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        ranking::flush(&mut self.map, &self.backend)?;
        self.map.flush(&self.backend)?;
        Ok(OperatorSnapshot { keyed: Some(self.backend.snapshot()?), operator_state: None })
    }

    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics {
            late_records_dropped: 0,
            state_memory_bytes: u64::try_from(self.map.bytes()).unwrap_or(u64::MAX),
        }
    }
}
