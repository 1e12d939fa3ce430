//! Regular joins: all rows of both inputs are kept (until they are deleted), and each change of either input changes the
//! result at once.
//!
//! What a record emits is what Flink's `StreamingJoinOperator` and `StreamingSemiAntiJoinOperator` emit for it, record by
//! record: an outer row is first padded with nulls, taken back (`-D`) when its first match comes, and padded again when
//! its last one goes; so the number of matches of each row of an outer side is kept with it. Rows with a null in a key
//! that compares with `=` meet nothing and are not kept. Within a batch the other side's rows do not change, so all pairs
//! of the batch are found at once.
//!
//! State: per input the rows by join key, in RocksDB tables `left` and `right` ([`crate::state::row_lists`]). A row is
//! found again by all of its columns, or by a unique key of its input if that has one, under which a new row replaces
//! the old one (Flink's `JoinRecordStateViews`). With `table.exec.state.ttl` a row is forgotten so long after it was added;
//! nothing is emitted then, as in Flink.

mod interval;
pub mod pairs;
mod side;
mod temporal;

use arrow::buffer::NullBuffer;
use arrow::record_batch::RecordBatch;

use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::{JoinKind, JoinSpec};
use crate::state::row_lists::{NONE, RowLists};
use crate::state::{Backend, StateContext};
use crate::types::Schema;
use crate::types::row_kind::{self, DELETE, INSERT, adds};
pub use interval::IntervalJoinOperator;
pub use pairs::{Changes, Emitter, Matches, Residual, columns_of, number};
pub use side::{Side, SideKeys, SideWriter};
pub use temporal::TemporalJoinOperator;

const LEFT: &str = "left";
const RIGHT: &str = "right";
/// Pairs that are looked at at once, unless one row has more.
const MAX_PAIRS: usize = if cfg!(test) { 16 } else { 32_768 };

/// See the module text.
pub struct JoinOperator {
    kind: JoinKind,
    residual: Option<Residual>,
    emitter: Emitter,
    arity: usize,
    left: Side,
    right: Side,
    backend: Backend,
    budget_bytes: usize,
    has_ttl: bool,
    /// Scratch: the groups of a batch's keys, of its own side and of the other.
    mine: Vec<u32>,
    theirs: Vec<u32>,
}

impl JoinOperator {
    /// Opens the state, fresh or restored; `inputs` are the columns of the left and the right input.
    pub fn open(
        spec: &JoinSpec,
        inputs: [&Schema; 2],
        output: &Schema,
        context: &EvalContext,
        state: &StateContext,
    ) -> Result<Self> {
        let [left, right] = inputs;
        let condition = &spec.condition;
        let keys: Vec<String> = condition.keys.iter().map(|k| format!("{} = {}", k.left, k.right)).collect();
        let layout = format!(
            "{} on [{}] of {} and {}",
            condition.kind.name(),
            keys.join(", "),
            Side::layout(&spec.left_key, left),
            Side::layout(&spec.right_key, right)
        );
        let ttls = [spec.left_ttl_ms, spec.right_ttl_ms];
        let backend = Backend::open(state, &[LEFT, RIGHT], &layout)?;
        let side = |table, input: usize, key, schema, counts| {
            let keys = SideKeys::new(condition, input, schema)?;
            let mut side = Side::open(&backend, table, keys, key, schema, state.max_parallelism, counts)?;
            side.lists = side.lists.with_ttl(ttls[input]);
            Ok::<_, Error>(side)
        };
        let kind = condition.kind;
        Ok(JoinOperator {
            kind,
            residual: condition.residual.as_ref().map(|r| Residual::new(r, left, right, context)).transpose()?,
            emitter: Emitter::new(&condition.output, left.fields.len(), output),
            arity: left.fields.len(),
            left: side(LEFT, 0, &spec.left_key, left, kind.keeps_left() || kind.is_semi_or_anti())?,
            right: side(RIGHT, 1, &spec.right_key, right, kind.keeps_right())?,
            backend,
            budget_bytes: state.memory_budget_bytes,
            has_ttl: ttls != [0, 0],
            mine: Vec::new(),
            theirs: Vec::new(),
        })
    }
}

impl JoinOperator {
    fn set_now(&mut self) {
        if self.has_ttl {
            let now = now_ms();
            self.left.lists.set_now(now);
            self.right.lists.set_now(now);
        }
    }
}

/// Keeps the lists of both inputs within the budget.
fn keep_budget(backend: &Backend, budget_bytes: usize, lists: [&mut RowLists; 2]) -> Result<()> {
    // A list that is copied to smaller memory takes up to half of its share once more.
    let budget = budget_bytes / 3 * 2;
    let total: usize = lists.iter().map(|l| l.bytes()).sum();
    for list in lists {
        let share = if total > budget { scaled(budget, list.bytes(), total) } else { usize::MAX };
        list.keep_budget(backend, share)?;
    }
    Ok(())
}

/// `whole * part / total`.
fn scaled(whole: usize, part: usize, total: usize) -> usize {
    let scaled = (whole as u128) * (part as u128) / (total.max(1) as u128);
    usize::try_from(scaled).unwrap_or(usize::MAX)
}

impl Operator for JoinOperator {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.set_now();
        let (batch, kinds) = row_kind::split(batch)?;
        let kinds = kinds.as_ref().map(|k| &k.values()[..]);
        let (mine, theirs) = match input {
            0 => (&mut self.left, &mut self.right),
            _ => (&mut self.right, &mut self.left),
        };
        let keys = mine.keys.of(&batch)?;
        let matchable = mine.keys.matchable(&batch);
        theirs.lists.lookup(&self.backend, &keys, &mut self.theirs)?;
        mine.lists.groups(&keys, &mut self.mine)?;
        mine.prepare(&self.backend, &self.mine, kinds)?;
        if let Some(matchable) = &matchable {
            self.theirs.iter_mut().zip(matchable.iter()).filter(|(_, m)| !m).for_each(|(g, _)| *g = NONE);
        }
        let columns = columns_of(&batch);
        let by = mine.identity_columns(&columns);
        let mut step = Step { kind: self.kind, input, kinds, matchable, changes: Changes::default() };
        let mut start = 0;
        while start < batch.num_rows() {
            let end = chunk(theirs, &self.theirs, start);
            let mut matches = Matches::find(&theirs.lists, &self.theirs[start..end], 1, end - start);
            if self.residual.is_some() || self.emitter.reads(1 - input) {
                matches.decode(&theirs.lists, &theirs.rows)?;
            }
            if let Some(residual) = self.residual.as_ref().filter(|_| !matches.slots.is_empty()) {
                matches.filter(residual, &batch, start, input == 0, self.arity)?;
            }
            let writer = mine.writer(&columns, by.as_deref())?;
            step.run(start, writer, &self.mine[start..end], theirs, &matches)?;
            let changes = std::mem::take(&mut step.changes);
            self.emitter.emit(&changes, input, &columns, &matches.columns, out)?;
            start = end;
        }
        keep_budget(&self.backend, self.budget_bytes, [&mut self.left.lists, &mut self.right.lists])
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        self.set_now();
        for lists in [&mut self.left.lists, &mut self.right.lists] {
            lists.flush(&self.backend)?;
            lists.sweep(&self.backend)?;
        }
        Ok(OperatorSnapshot { keyed: Some(self.backend.snapshot()?), operator_state: None })
    }

    fn metrics(&self) -> OperatorMetrics {
        let bytes = self.left.lists.bytes() + self.right.lists.bytes();
        OperatorMetrics { late_records_dropped: 0, state_memory_bytes: u64::try_from(bytes).unwrap_or(u64::MAX) }
    }
}

/// The end of the chunk of rows from `start` on that has about [`MAX_PAIRS`] pairs.
fn chunk(theirs: &Side, groups: &[u32], start: usize) -> usize {
    let mut pairs = 0;
    for (row, group) in groups.iter().enumerate().skip(start) {
        pairs += theirs.lists.length(*group);
        if pairs > MAX_PAIRS && row > start {
            return row;
        }
    }
    groups.len()
}

/// The changes that rows of one batch make, record by record.
struct Step<'a> {
    kind: JoinKind,
    input: usize,
    kinds: Option<&'a [i8]>,
    matchable: Option<NullBuffer>,
    changes: Changes,
}

impl Step<'_> {
    fn run(
        &mut self,
        first: usize,
        mut writer: SideWriter<'_, '_>,
        groups: &[u32],
        theirs: &mut Side,
        matches: &Matches,
    ) -> Result<()> {
        for (position, group) in groups.iter().enumerate() {
            let row = first + position;
            let kind = self.kinds.map_or(INSERT, |k| k[row]);
            let slots = matches.of(position);
            if self.kind.is_semi_or_anti() {
                self.semi_or_anti(number(row), kind, slots, theirs, matches);
            } else {
                self.join(number(row), kind, slots, theirs, matches);
            }
            if self.matchable.as_ref().is_none_or(|m| m.is_valid(row)) {
                writer.write(row, *group, kind, number(slots.len()))?;
            }
        }
        Ok(())
    }

    /// Adds one to the number of matches of a kept row, or takes one away; answers the number before.
    fn count(theirs: &mut Side, entry: u32, kind: i8) -> u32 {
        let before = theirs.lists.associations(entry);
        let after = if adds(kind) { before.saturating_add(1) } else { before.saturating_sub(1) };
        theirs.lists.associate(entry, after);
        before
    }

    fn join(&mut self, row: u32, kind: i8, slots: &[u32], theirs: &mut Side, matches: &Matches) {
        let changes = &mut self.changes;
        let (mine_outer, theirs_outer) = match self.input {
            0 => (self.kind.keeps_left(), self.kind.keeps_right()),
            _ => (self.kind.keeps_right(), self.kind.keeps_left()),
        };
        if slots.is_empty() {
            if mine_outer {
                changes.push(row, NONE, if adds(kind) { INSERT } else { DELETE });
            }
            return;
        }
        // With outer sides, updates of the result are deletions and insertions.
        let paired = match (adds(kind), mine_outer || theirs_outer, mine_outer) {
            (true, true, _) => INSERT,
            (false, _, true) => DELETE,
            _ => kind,
        };
        if !theirs_outer {
            slots.iter().for_each(|slot| changes.push(row, *slot, paired));
            return;
        }
        let entry = |slot: &u32| matches.entries[*slot as usize];
        if adds(kind) {
            for slot in slots {
                if Self::count(theirs, entry(slot), kind) == 0 {
                    changes.push(NONE, *slot, DELETE);
                }
            }
            slots.iter().for_each(|slot| changes.push(row, *slot, paired));
        } else {
            slots.iter().for_each(|slot| changes.push(row, *slot, paired));
            for slot in slots {
                if Self::count(theirs, entry(slot), kind) == 1 {
                    changes.push(NONE, *slot, INSERT);
                }
            }
        }
    }

    fn semi_or_anti(&mut self, row: u32, kind: i8, slots: &[u32], theirs: &mut Side, matches: &Matches) {
        let semi = self.kind == JoinKind::Semi;
        if self.input == 0 {
            if slots.is_empty() != semi {
                self.changes.push(row, NONE, kind);
            }
            return;
        }
        for slot in slots {
            let before = Self::count(theirs, matches.entries[*slot as usize], kind);
            let emitted = match (adds(kind), before, semi) {
                (true, 0, true) | (false, 1, true) => kind,
                (true, 0, false) => DELETE,
                (false, 1, false) => INSERT,
                _ => continue,
            };
            self.changes.push(NONE, *slot, emitted);
        }
    }
}

#[cfg(test)]
mod tests;
