//! What a batch's rows do to the results of their groups, and the changes that follow from it.

use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::connector::MAX_BATCH_ROWS;
use crate::error::Result;
use crate::operator::Collector;
use crate::state::key_codec::KeyCodec;
use crate::types::row_kind::{DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE};

/// What a row does to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The row is of a group that has none: it is dropped.
    Nothing,
    /// The group's first row.
    First,
    Update,
    /// The group's last row goes.
    Last,
}

/// The rows of a batch in their groups.
#[derive(Default)]
pub struct Course {
    /// Each group once.
    pub touched: Vec<u32>,
    pub effects: Vec<Effect>,
    pub signs: Vec<i8>,
    /// Rows after which their group is empty; none if there is no such.
    pub ends: Vec<bool>,
    /// Where the group's result before each row is, among results as [`crate::operator::aggregate::Aggregate::follow`]
    /// answers them.
    before: Vec<u32>,
    /// By group: its position in `touched`, `u32::MAX` outside of a batch.
    position: Vec<u32>,
    /// By position in `touched`: the row before.
    last: Vec<u32>,
}

impl Course {
    /// Follows the rows: `rows` is the number of rows of each group.
    pub fn follow(&mut self, groups: &[u32], kinds: Option<&Int8Array>, rows: &mut [i64]) {
        self.touched.clear();
        self.effects.clear();
        self.signs.clear();
        self.ends.clear();
        self.before.clear();
        self.last.clear();
        self.position.resize(rows.len(), u32::MAX);
        for (row, group) in (0u32..).zip(groups) {
            let slot = *group as usize;
            if self.position[slot] == u32::MAX {
                self.position[slot] = u32::try_from(self.touched.len()).unwrap_or(u32::MAX);
                self.touched.push(*group);
                self.last.push(u32::MAX);
            }
            let adds = kinds.is_none_or(|k| crate::types::row_kind::adds(k.value(row as usize)));
            let (effect, sign) = match (adds, rows[slot]) {
                (true, 0) => (Effect::First, 1),
                (true, _) => (Effect::Update, 1),
                (false, 0) => (Effect::Nothing, 0),
                (false, 1) => (Effect::Last, -1),
                (false, _) => (Effect::Update, -1),
            };
            rows[slot] += i64::from(sign);
            self.effects.push(effect);
            self.signs.push(sign);
            let last = &mut self.last[self.position[slot] as usize];
            self.before.push(std::mem::replace(last, row));
        }
        if self.effects.contains(&Effect::Last) {
            self.ends.extend(self.effects.iter().map(|e| *e == Effect::Last));
        }
        let count = u32::try_from(self.touched.len()).unwrap_or(u32::MAX);
        for (before, group) in self.before.iter_mut().zip(groups) {
            *before = if *before == u32::MAX { self.position[*group as usize] } else { count + *before };
        }
        for group in &self.touched {
            self.position[*group as usize] = u32::MAX;
        }
    }

    fn after(&self, row: usize) -> u32 {
        u32::try_from(self.touched.len() + row).unwrap_or(u32::MAX)
    }

    /// The rows whose update is none, because no result differs.
    fn unchanged(&self, results: &[ArrayRef]) -> Result<Vec<bool>> {
        let rows: Vec<usize> =
            self.effects.iter().enumerate().filter(|(_, e)| **e == Effect::Update).map(|(row, _)| row).collect();
        let before = UInt32Array::from_iter_values(rows.iter().map(|row| self.before[*row]));
        let after = UInt32Array::from_iter_values(rows.iter().map(|row| self.after(*row)));
        let mut differs: Vec<bool> = vec![false; rows.len()];
        for column in results {
            let (before, after) = (take(column, &before, None)?, take(column, &after, None)?);
            let column = differing(&before, &after)?;
            differs.iter_mut().zip(column.values().iter()).for_each(|(all, one)| *all |= one);
        }
        let mut unchanged = vec![false; self.effects.len()];
        rows.into_iter().zip(differs).for_each(|(row, differs)| unchanged[row] = !differs);
        Ok(unchanged)
    }

    /// Emits the changes of all rows, in order. `results` are one column per aggregate. If `always` is set, an update is
    /// emitted although nothing changed.
    pub fn emit(&self, keys: &[ArrayRef], results: &[ArrayRef], of: &Emission, out: &mut dyn Collector) -> Result<()> {
        let unchanged = if of.always { vec![] } else { self.unchanged(results)? };
        let (mut kinds, mut rows, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut put = |kind: i8, row: usize, place: u32| {
            kinds.push(kind);
            rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            places.push(place);
        };
        for (row, effect) in self.effects.iter().enumerate() {
            match effect {
                Effect::Nothing => {}
                Effect::First => put(INSERT, row, self.after(row)),
                Effect::Last => put(DELETE, row, self.before[row]),
                Effect::Update if unchanged.get(row).is_some_and(|u| *u) => {}
                Effect::Update => {
                    if of.update_before {
                        put(UPDATE_BEFORE, row, self.before[row]);
                    }
                    put(UPDATE_AFTER, row, self.after(row));
                }
            }
        }
        of.send(&kinds, &rows, &places, keys, results, out)
    }

    /// Emits what all rows of the batch together change, group by group.
    pub fn emit_bundle(
        &self,
        groups: &[u32],
        keys: &[ArrayRef],
        results: &[ArrayRef],
        of: &Emission,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let mut bundle = Course { touched: self.touched.clone(), ..Course::default() };
        let mut position = std::collections::HashMap::with_capacity(self.touched.len());
        for (row, group) in groups.iter().enumerate() {
            let at = *position.entry(*group).or_insert_with(|| {
                bundle.effects.push(Effect::Nothing);
                bundle.before.push(self.before[row]);
                bundle.last.push(0);
                bundle.effects.len() - 1
            });
            bundle.last[at] = u32::try_from(row).unwrap_or(u32::MAX);
            bundle.effects[at] = match (bundle.effects[at], self.effects[row]) {
                (before, Effect::Nothing) => before,
                (Effect::Nothing, now) => now,
                (Effect::First, Effect::Last) => Effect::Nothing,
                (Effect::First, _) => Effect::First,
                (Effect::Last, Effect::First) => Effect::Update,
                (Effect::Last, _) => Effect::Last,
                (Effect::Update, Effect::Last) => Effect::Last,
                (Effect::Update, _) => Effect::Update,
            };
        }
        // Results after the bundle's rows stand where those of its positions are looked for.
        let after: Vec<u32> = bundle.last.iter().map(|row| self.after(*row as usize)).collect();
        let places: Vec<u32> = (0..u32::try_from(self.touched.len()).unwrap_or(0)).chain(after).collect();
        let places = UInt32Array::from(places);
        let results: Vec<ArrayRef> = results.iter().map(|c| take(c, &places, None)).collect::<Result<_, _>>()?;
        let rows = UInt32Array::from(bundle.last.clone());
        let keys: Vec<ArrayRef> = keys.iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>()?;
        bundle.emit(&keys, &results, of, out)
    }
}

fn differing(before: &ArrayRef, after: &ArrayRef) -> Result<BooleanArray> {
    if !before.data_type().is_nested() {
        return Ok(distinct(before, after)?);
    }
    let codec = KeyCodec::new(vec![before.data_type().clone()])?;
    let encode = |column: &ArrayRef| codec.encode_bytes(std::slice::from_ref(column), column.len());
    let ((a, a_ends), (b, b_ends)) = (encode(before)?, encode(after)?);
    let value = |data: &[u8], ends: &[usize], row: usize| {
        let start = row.checked_sub(1).map_or(0, |before| ends[before]);
        data[start..ends[row]].to_vec()
    };
    Ok((0..before.len()).map(|row| Some(value(&a, &a_ends, row) != value(&b, &b_ends, row))).collect())
}

/// How changes are emitted.
pub struct Emission {
    pub update_before: bool,
    /// Whether an update is emitted although nothing changed.
    pub always: bool,
    pub output: SchemaRef,
    /// The same with kinds.
    pub changelog: SchemaRef,
}

impl Emission {
    fn send(
        &self,
        kinds: &[i8],
        rows: &[u32],
        places: &[u32],
        keys: &[ArrayRef],
        results: &[ArrayRef],
        out: &mut dyn Collector,
    ) -> Result<()> {
        let inserts_only = kinds.iter().all(|k| *k == INSERT);
        for start in (0..kinds.len()).step_by(MAX_BATCH_ROWS) {
            let range = start..kinds.len().min(start + MAX_BATCH_ROWS);
            let count = range.len();
            let rows = UInt32Array::from(rows[range.clone()].to_vec());
            let places = UInt32Array::from(places[range.clone()].to_vec());
            let mut columns: Vec<ArrayRef> = keys.iter().map(|k| take(k, &rows, None)).collect::<Result<_, _>>()?;
            for (column, field) in results.iter().zip(self.output.fields().iter().skip(keys.len())) {
                let column = take(column, &places, None)?;
                columns.push(if column.data_type() == field.data_type() {
                    column
                } else {
                    arrow::compute::cast(&column, field.data_type())?
                });
            }
            let mut schema = &self.output;
            if !inserts_only {
                columns.push(std::sync::Arc::new(Int8Array::from(kinds[range].to_vec())));
                schema = &self.changelog;
            }
            let options = RecordBatchOptions::new().with_row_count(Some(count));
            out.batch(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)?;
        }
        Ok(())
    }
}
