//! Pairs of a batch's rows with kept rows of the other input, and the rows emitted for them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use hashbrown::HashMap;

use crate::connector::MAX_BATCH_ROWS;
use crate::error::{Error, Result};
use crate::expr::{EvalContext, Evaluator, Expr};
use crate::operator::Collector;
use crate::state::row_codec::RowCodec;
use crate::state::row_lists::{NONE, RowLists};
use crate::types::Schema;
use crate::types::row_kind::{INSERT, attach, with_row_kind};

/// A predicate over pairs.
pub struct Residual {
    evaluator: Evaluator,
    /// What it reads, of left and right columns.
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl Residual {
    /// Compiles a predicate over left and right columns.
    pub fn new(predicate: &Expr, left: &Schema, right: &Schema, context: &EvalContext) -> Result<Self> {
        let mut columns = Vec::new();
        collect(predicate, &mut columns);
        columns.sort_unstable();
        columns.dedup();
        let narrow = renumber(predicate, &columns);
        let fields = columns.iter().map(|c| {
            let field = left.fields.get(*c).or_else(|| right.fields.get(c.checked_sub(left.fields.len())?));
            field.cloned().ok_or_else(|| Error::internal("a join's condition reads a column that does not exist"))
        });
        let schema = Schema::new(fields.collect::<Result<_>>()?).to_arrow();
        Ok(Residual { evaluator: Evaluator::new(&narrow, context)?, columns, schema })
    }

    /// For which pairs it is true; `column` answers a column of the pairs.
    pub fn evaluate(&self, pairs: usize, column: impl Fn(usize) -> Result<ArrayRef>) -> Result<BooleanArray> {
        let columns = self.columns.iter().map(|c| column(*c)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(pairs));
        self.evaluator.evaluate_predicate(&RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

fn collect(expr: &Expr, columns: &mut Vec<usize>) {
    if let Expr::Column { index, .. } = expr {
        columns.push(*index);
    }
    expr.children().into_iter().for_each(|c| collect(c, columns));
}

fn renumber(expr: &Expr, columns: &[usize]) -> Expr {
    let mut copy = expr.clone();
    if let Expr::Column { index, .. } = &mut copy {
        *index = columns.binary_search(index).unwrap_or(*index);
        return copy;
    }
    for child in copy.children_mut() {
        *child = renumber(child, columns);
    }
    copy
}

/// The kept rows that some rows of a batch meet.
pub struct Matches {
    /// Distinct kept rows, as entries.
    pub entries: Vec<u32>,
    /// Their columns, where something reads them.
    pub columns: Vec<ArrayRef>,
    /// Per pair, which of `entries`.
    pub slots: Vec<u32>,
    /// Row i of the chunk has the pairs `bounds[i]..bounds[i + 1]`.
    pub bounds: Vec<usize>,
}

impl Matches {
    /// The kept rows that each of `rows` rows may meet: those of its groups, of which each row has `per_row`.
    pub fn find(lists: &RowLists, groups: &[u32], per_row: usize, rows: usize) -> Self {
        let mut known: HashMap<u32, (u32, u32)> = HashMap::new();
        let (mut entries, mut slots, mut bounds) = (Vec::new(), Vec::new(), Vec::with_capacity(rows + 1));
        bounds.push(0);
        for row in 0..rows {
            for group in &groups[row * per_row..(row + 1) * per_row] {
                if lists.length(*group) == 0 {
                    continue;
                }
                let (start, end) = *known.entry(*group).or_insert_with(|| {
                    let start = entries.len();
                    entries.extend(lists.entries(*group));
                    (number(start), number(entries.len()))
                });
                slots.extend(start..end);
            }
            bounds.push(slots.len());
        }
        Matches { entries, columns: vec![], slots, bounds }
    }

    /// Reads the columns of the kept rows.
    pub fn decode(&mut self, lists: &RowLists, codec: &RowCodec) -> Result<()> {
        if !self.entries.is_empty() && self.columns.is_empty() {
            let rows: Vec<&[u8]> = self.entries.iter().map(|e| lists.row(*e)).collect();
            self.columns = codec.decode(&rows)?;
        }
        Ok(())
    }

    /// Keeps the pairs for which the predicate is true. `first` is the chunk's first row of `batch`, which is the left
    /// input's if `left`.
    pub fn filter(
        &mut self,
        residual: &Residual,
        batch: &RecordBatch,
        first: usize,
        left: bool,
        arity: usize,
    ) -> Result<()> {
        let pairs = self.slots.len();
        let mut kept = Vec::with_capacity(pairs);
        let mut rows: Vec<u32> = Vec::with_capacity(pairs);
        for (row, pair) in self.bounds.windows(2).enumerate() {
            rows.resize(pair[1], number(first + row));
        }
        // Pieces, because a key with many rows must not take memory for all pairs at once.
        for start in (0..pairs).step_by(MAX_BATCH_ROWS) {
            let end = pairs.min(start + MAX_BATCH_ROWS);
            let mine = UInt32Array::from(rows[start..end].to_vec());
            let theirs = UInt32Array::from(self.slots[start..end].to_vec());
            let truth = residual.evaluate(end - start, |c| {
                Ok(match (c < arity, left) {
                    (true, true) => take(batch.column(c), &mine, None)?,
                    (false, false) => take(batch.column(c - arity), &mine, None)?,
                    (true, false) => take(&self.columns[c], &theirs, None)?,
                    (false, true) => take(&self.columns[c - arity], &theirs, None)?,
                })
            })?;
            kept.extend(truth.values().iter());
        }
        self.keep(|pair| kept[pair]);
        Ok(())
    }

    /// Keeps the pairs of rows of the chunk and entries for which the test is true.
    pub fn retain(&mut self, test: impl Fn(usize, u32) -> bool) {
        let entries = std::mem::take(&mut self.entries);
        let slots = std::mem::take(&mut self.slots);
        let bounds = std::mem::replace(&mut self.bounds, vec![0]);
        for (row, pair) in bounds.windows(2).enumerate() {
            let kept = slots[pair[0]..pair[1]].iter().filter(|slot| test(row, entries[**slot as usize]));
            self.slots.extend(kept);
            self.bounds.push(self.slots.len());
        }
        self.entries = entries;
    }

    fn keep(&mut self, test: impl Fn(usize) -> bool) {
        let (mut slots, mut bounds) = (Vec::with_capacity(self.slots.len()), Vec::with_capacity(self.bounds.len()));
        bounds.push(0);
        for pair in self.bounds.windows(2) {
            slots.extend((pair[0]..pair[1]).filter(|p| test(*p)).map(|p| self.slots[p]));
            bounds.push(slots.len());
        }
        (self.slots, self.bounds) = (slots, bounds);
    }

    /// The pairs of a row of the chunk, as positions in `entries`.
    pub fn of(&self, row: usize) -> &[u32] {
        &self.slots[self.bounds[row]..self.bounds[row + 1]]
    }
}

/// A position in a batch or a list.
pub fn number(position: usize) -> u32 {
    u32::try_from(position).expect("a batch has fewer than 2^32 rows, and no more pairs are looked at at once")
}

/// Rows to be emitted: a row of the batch and a kept row each, [`NONE`] for nulls.
#[derive(Default)]
pub struct Changes {
    pub rows: Vec<u32>,
    pub slots: Vec<u32>,
    pub kinds: Vec<i8>,
}

impl Changes {
    /// Adds one.
    pub fn push(&mut self, row: u32, slot: u32, kind: i8) {
        self.rows.push(row);
        self.slots.push(slot);
        self.kinds.push(kind);
    }
}

/// Builds the emitted columns.
pub struct Emitter {
    /// Of left and right columns.
    pub columns: Vec<usize>,
    arity: usize,
    schema: SchemaRef,
    changelog: SchemaRef,
}

impl Emitter {
    /// For these columns of left and right columns, where the left has `arity`.
    pub fn new(columns: &[usize], arity: usize, output: &Schema) -> Self {
        let schema = output.to_arrow();
        Emitter { columns: columns.to_vec(), arity, changelog: with_row_kind(&schema), schema }
    }

    /// Whether columns of this input are emitted.
    pub fn reads(&self, input: usize) -> bool {
        self.columns.iter().any(|c| (*c < self.arity) == (input == 0))
    }

    /// Emits changes over the columns of a batch of `input` and of kept rows of the other.
    pub fn emit(
        &self,
        changes: &Changes,
        input: usize,
        batch: &[ArrayRef],
        kept: &[ArrayRef],
        out: &mut dyn Collector,
    ) -> Result<()> {
        for start in (0..changes.kinds.len()).step_by(MAX_BATCH_ROWS) {
            let end = changes.kinds.len().min(start + MAX_BATCH_ROWS);
            let (rows, slots) = (indices(&changes.rows[start..end]), indices(&changes.slots[start..end]));
            let mut columns = Vec::with_capacity(self.columns.len());
            for (column, field) in self.columns.iter().zip(self.schema.fields()) {
                let (side, index) = if *column < self.arity { (0, *column) } else { (1, *column - self.arity) };
                let (from, at) = if side == input { (batch, &rows) } else { (kept, &slots) };
                columns.push(match from.get(index) {
                    Some(from) if at.null_count() < at.len() => take(from, at, None)?,
                    _ => new_null_array(field.data_type(), end - start),
                });
            }
            let options = RecordBatchOptions::new().with_row_count(Some(end - start));
            let made = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
            let kinds = &changes.kinds[start..end];
            if kinds.iter().all(|k| *k == INSERT) {
                out.batch(made)?;
            } else {
                out.batch(attach(&made, Int8Array::from(kinds.to_vec()), &self.changelog)?)?;
            }
        }
        Ok(())
    }

    /// The columns emitted.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

fn indices(positions: &[u32]) -> UInt32Array {
    if positions.contains(&NONE) {
        positions.iter().map(|p| Some(*p).filter(|p| *p != NONE)).collect()
    } else {
        UInt32Array::from(positions.to_vec())
    }
}

/// Columns of a batch, shared.
pub fn columns_of(batch: &RecordBatch) -> Vec<ArrayRef> {
    batch.columns().iter().map(Arc::clone).collect()
}
