//! `GROUP BY` over an unbounded input: a group's result changes with each of its rows.
//!
//! As Flink's `GroupAggFunction`, row by row: the first row of a group gives `+I`, each further one `-U` and `+U` unless
//! the result stays the same, and the one that takes the group's last row away `-D`. A row taken away from a group that
//! has none is dropped. Without grouping columns there is one group, which begins with its first row. Work is done a batch
//! at a time (keys resolved together, accumulators column by column), but what is emitted does not depend on batches,
//! except where it is asked for (`table.exec.mini-batch.enabled`: one change per group and batch).
//!
//! State: `groups` holds each group's rows and accumulators ([`groups`]), `distinct` the values of `DISTINCT` aggregates
//! ([`distinct`]). It grows with the number of groups (and distinct values), for ever unless a time to live is set:
//! a group (and a value) expires when it was not written to for that long.

mod distinct;
mod emit;
mod groups;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;
use arrow::record_batch::RecordBatch;
use std::ops::ControlFlow;

use super::aggregate::{AggregateInput, AggregateType, Changes};
use super::{Collector, Operator, OperatorMetrics, OperatorSnapshot};
use crate::error::{Error, Result};
use crate::graph::{AggregateFunction, GroupAggregateSpec};
use crate::state::key_codec::KeyCodec;
use crate::state::keyed_map::KeyedMap;
use crate::state::{Backend, StateContext};
use crate::types::Schema;
use crate::types::row_kind::{self, with_row_kind};
use distinct::{Counts, DistinctValues};
use emit::{Course, Emission};
use groups::{Groups, TimeToLive};

const GROUPS: &str = "groups";
const DISTINCT: &str = "distinct";
/// A snapshot looks through one of so many parts of the state for what has expired.
const SWEEP_PARTS: u16 = 16;

/// See the module text.
pub struct GroupAggregateOperator {
    spec: GroupAggregateSpec,
    types: Vec<AggregateType>,
    backend: Backend,
    groups: KeyedMap<Groups>,
    distinct: Vec<DistinctValues>,
    emission: Emission,
    budget_bytes: usize,
    now_ms: fn() -> i64,
    /// The next part to look through.
    sweep: u16,
    course: Course,
    slots: Vec<u32>,
}

impl GroupAggregateOperator {
    /// Opens the state, fresh or restored.
    pub fn open(spec: &GroupAggregateSpec, input: &Schema, output: &Schema, context: &StateContext) -> Result<Self> {
        Self::open_with_clock(spec, input, output, context, crate::clock::now_ms)
    }

    fn open_with_clock(
        spec: &GroupAggregateSpec,
        input: &Schema,
        output: &Schema,
        context: &StateContext,
        now_ms: fn() -> i64,
    ) -> Result<Self> {
        let field =
            |column: usize| input.fields.get(column).ok_or_else(|| Error::internal("a grouping column does not exist"));
        let keys = spec.keys.iter().map(|k| field(*k)).collect::<Result<Vec<_>>>()?;
        let make = if spec.retracts { AggregateType::retracting } else { AggregateType::new };
        let types: Vec<AggregateType> = spec.aggregates.iter().map(|a| make(a, input)).collect::<Result<_>>()?;
        let ttl = TimeToLive { ms: i64::try_from(spec.state_ttl_ms).unwrap_or(i64::MAX), now: now_ms() };
        let mut columns: Vec<usize> = Vec::new();
        for (call, of) in spec.aggregates.iter().zip(&types) {
            if let (true, Some(column)) = (of.is_distinct(), call.argument)
                && !columns.contains(&column)
            {
                columns.push(column);
            }
        }
        let layout = format!(
            "groups by [{}] with aggregates [{}]{}",
            keys.iter().map(|f| f.data_type.kind.regular().to_string()).collect::<Vec<_>>().join(", "),
            types.iter().map(AggregateType::layout).collect::<Vec<_>>().join(", "),
            if ttl.ms > 0 { " with a time to live" } else { "" },
        );
        let backend = Backend::open(context, &[GROUPS, DISTINCT], &layout)?;
        let key_types: Vec<_> = keys.iter().map(|f| f.data_type.to_arrow()).collect();
        let budget = context.memory_budget_bytes / 2 / (1 + columns.len());
        let max = context.max_parallelism;
        let codec = KeyCodec::new(key_types.clone())?;
        let groups = KeyedMap::open(&backend, GROUPS, None, codec, max, Groups::new(&types, ttl)?, budget)?;
        let mut distinct = Vec::with_capacity(columns.len());
        for (tag, column) in (0u8..).zip(columns) {
            let is_call = |(call, of): (&crate::graph::AggregateCall, &AggregateType)| {
                of.is_distinct() && call.argument == Some(column)
            };
            let calls: Vec<usize> =
                spec.aggregates.iter().zip(&types).enumerate().filter(|(_, c)| is_call(*c)).map(|(i, _)| i).collect();
            let argument = field(column)?.data_type.to_arrow();
            let codec = KeyCodec::new(key_types.iter().cloned().chain([argument]).collect())?;
            let counts = Counts::new(calls.len(), ttl);
            let map = KeyedMap::open(&backend, DISTINCT, Some(tag), codec, max, counts, budget)?;
            distinct.push(DistinctValues { calls, map, retracts: spec.retracts });
        }
        let counts_all =
            |c: &crate::graph::AggregateCall| c.function == AggregateFunction::CountStar && c.filter.is_none();
        let output = output.to_arrow();
        Ok(GroupAggregateOperator {
            emission: Emission {
                update_before: spec.update_before,
                // Downstream state must not expire earlier than this: as in Flink, all updates are passed on then.
                always: ttl.ms > 0 || spec.aggregates.iter().any(counts_all) && !spec.bundles,
                changelog: with_row_kind(&output),
                output,
            },
            spec: spec.clone(),
            types,
            backend,
            groups,
            distinct,
            budget_bytes: context.memory_budget_bytes,
            now_ms,
            sweep: 0,
            course: Course::default(),
            slots: Vec::new(),
        })
    }

    /// The rows that each aggregate takes.
    fn masks(&mut self, keys: &[ArrayRef], inputs: &[AggregateInput]) -> Result<Vec<Option<BooleanBuffer>>> {
        let mut masks: Vec<Option<BooleanBuffer>> =
            inputs.iter().zip(&self.spec.aggregates).map(|(input, call)| input.mask(call.function)).collect();
        if self.distinct.is_empty() {
            return Ok(masks);
        }
        let key_groups: Vec<u16> = self.slots.iter().map(|slot| self.groups.key_group(*slot)).collect();
        let Course { touched, signs, ends, .. } = &self.course;
        let changes = Changes { groups: &self.slots, signs, ends, touched };
        for distinct in &mut self.distinct {
            let of: Vec<_> = distinct.calls.iter().map(|call| masks[*call].clone()).collect();
            let values = distinct.calls.first().and_then(|call| inputs[*call].argument.clone());
            let values = values.ok_or_else(|| Error::internal("a distinct aggregate needs an argument"))?;
            let first = distinct.count(&self.backend, keys, &values, &key_groups, &changes, &of)?;
            for (call, mask) in distinct.calls.iter().zip(first) {
                masks[*call] = Some(mask);
            }
        }
        Ok(masks)
    }

    fn set_now(&mut self) {
        if self.spec.state_ttl_ms > 0 {
            let now = (self.now_ms)();
            self.groups.entries.ttl.now = now;
            self.distinct.iter_mut().for_each(|d| d.map.entries.ttl.now = now);
        }
    }

    fn bytes(&self) -> usize {
        self.groups.bytes() + self.distinct.iter().map(|d| d.map.bytes()).sum::<usize>()
    }

    fn keep_budget(&mut self) -> Result<()> {
        let bytes = self.bytes();
        if bytes <= self.budget_bytes {
            return Ok(());
        }
        // Each gives up half of its share.
        let share = |of: usize| (self.budget_bytes / 2).saturating_mul(of) / bytes.max(1);
        let target = share(self.groups.bytes());
        let targets: Vec<usize> = self.distinct.iter().map(|d| share(d.map.bytes())).collect();
        self.groups.evict(&self.backend, target)?;
        for (distinct, target) in self.distinct.iter_mut().zip(targets) {
            distinct.map.evict(&self.backend, target)?;
        }
        Ok(())
    }

    /// Deletes what has expired in the next part of the key groups.
    fn sweep(&mut self) -> Result<()> {
        let ttl = self.groups.entries.ttl;
        if ttl.ms == 0 {
            return Ok(());
        }
        self.sweep = (self.sweep + 1) % SWEEP_PARTS;
        for group in self.backend.key_groups().filter(|g| g % SWEEP_PARTS == self.sweep) {
            for table in [GROUPS, DISTINCT] {
                let mut expired = Vec::new();
                self.backend.scan(table, &group.to_be_bytes(), |key, value| {
                    if ttl.has_expired_stored(value) {
                        expired.push(key.to_vec());
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
                let mut writes = self.backend.writes(table)?;
                expired.iter().try_for_each(|key| writes.delete(key))?;
                writes.commit()?;
            }
        }
        Ok(())
    }
}

impl Operator for GroupAggregateOperator {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (batch, kinds) = row_kind::split(batch)?;
        self.set_now();
        let keys: Vec<ArrayRef> = self.spec.keys.iter().map(|k| batch.column(*k).clone()).collect();
        let encoded = self.groups.codec().encode(&keys, batch.num_rows())?;
        self.groups.resolve(&self.backend, &encoded, None, &mut self.slots)?;
        let groups = &mut self.groups.entries;
        if groups.ttl.ms > 0 {
            self.slots.iter().for_each(|slot| groups.expire(*slot as usize));
        }
        self.course.follow(&self.slots, kinds.as_ref(), &mut groups.rows);
        let column = |index: &usize| batch.column(*index).clone();
        let inputs: Vec<AggregateInput> = self
            .spec
            .aggregates
            .iter()
            .map(|c| AggregateInput {
                argument: c.argument.as_ref().map(column),
                filter: c.filter.as_ref().map(column),
            })
            .collect();
        let masks = self.masks(&keys, &inputs)?;
        let Course { touched, signs, ends, .. } = &self.course;
        let changes = Changes { groups: &self.slots, signs, ends, touched };
        let groups = &mut self.groups.entries;
        let mut results = Vec::with_capacity(self.types.len());
        for (((aggregate, of), input), mask) in groups.aggregates.iter_mut().zip(&self.types).zip(&inputs).zip(&masks) {
            results.push(aggregate.follow(input, &changes, mask.as_ref(), of)?);
        }
        if groups.ttl.ms > 0 {
            touched.iter().for_each(|slot| groups.written[*slot as usize] = groups.ttl.now);
        }
        self.groups.change(touched);
        if self.spec.bundles {
            self.course.emit_bundle(&self.slots, &keys, &results, &self.emission, out)?;
        } else {
            self.course.emit(&keys, &results, &self.emission, out)?;
        }
        self.keep_budget()
    }

    fn snapshot(&mut self, _checkpoint_id: u64) -> Result<OperatorSnapshot> {
        self.set_now();
        self.groups.flush(&self.backend)?;
        for distinct in &mut self.distinct {
            distinct.map.flush(&self.backend)?;
        }
        self.sweep()?;
        Ok(OperatorSnapshot { keyed: Some(self.backend.snapshot()?), operator_state: None })
    }

    fn metrics(&self) -> OperatorMetrics {
        OperatorMetrics {
            state_memory_bytes: u64::try_from(self.bytes()).unwrap_or(u64::MAX),
            ..OperatorMetrics::default()
        }
    }
}

#[cfg(test)]
mod tests;
