//! What a key has: its partial matches, matches that wait for others, and the rows that these are of.
//!
//! The elements of a pattern follow each other strictly, so a match is its first row's number and, in order, how many
//! rows each variable took: rows are numbered by key in the order in which they are matched.
//!
//! Source: Flink's `NFA`, `NFAState` and `AfterMatchSkipStrategy`. A complete match is emitted when no partial match has
//! an earlier first row; then those that the skip strategy excludes are dropped, complete ones too.
//!
//! Stored, version 1, integers big endian: number of the next row to be matched u64 | of the next to come u64 | number of rows u32, each: time i64, length u32,
//! bytes | partial, then complete matches, each kind: count u32, each: state u32 | 0, or 1 and the first row's time i64
//! and number u64 | count of runs u16, each: variable u16, rows u32. Partial matches are in the order of the heap.

use std::collections::VecDeque;

use super::heap::{Heap, Ordered};
use super::nfa::{FINAL, Nfa, Step};
use crate::error::{Error, Result};
use crate::graph::pattern::AfterMatch;
use crate::operator::aggregate::Stored;
use crate::state::backend::malformed;
use crate::state::keyed_map::Entries;

const VALUE_VERSION: u8 = 1;

/// A row: of the batch that is being matched, or kept from earlier.
#[derive(Debug, Clone)]
pub enum RowData {
    Released(u32),
    Stored(Box<[u8]>),
}

/// A row with its time, ms.
#[derive(Debug, Clone)]
pub struct Row {
    pub time: i64,
    pub data: RowData,
}

/// Rows in sequence that are mapped to one variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub variable: u16,
    pub rows: u32,
}

/// A partial match, or a complete one.
#[derive(Debug, Clone)]
pub struct Match {
    pub state: usize,
    /// The first row: its time and number; none before it.
    pub first: Option<(i64, u64)>,
    pub runs: Vec<Run>,
}

impl Ordered for Match {
    fn key(&self) -> (i64, u64) {
        self.first.unwrap_or((i64::MAX, u64::MAX))
    }
}

impl Match {
    /// The match with one more row.
    pub fn with(&self, variable: usize) -> Vec<Run> {
        let variable = u16::try_from(variable).unwrap_or(u16::MAX);
        let mut runs = Vec::with_capacity(self.runs.len() + 1);
        runs.extend_from_slice(&self.runs);
        match runs.last_mut() {
            Some(last) if last.variable == variable => last.rows += 1,
            _ => runs.push(Run { variable, rows: 1 }),
        }
        runs
    }
    /// The number of the row after the match.
    fn end(&self) -> u64 {
        self.first.map_or(0, |(_, number)| number) + self.runs.iter().map(|r| u64::from(r.rows)).sum::<u64>()
    }
    /// The number of the first or last row that is mapped to one of the variables.
    fn row_of(&self, variables: &[usize], last: bool) -> Option<u64> {
        let (mut at, mut found) = (self.first?.1, None);
        for run in &self.runs {
            if variables.contains(&usize::from(run.variable)) {
                if !last {
                    return Some(at);
                }
                found = Some(at + u64::from(run.rows) - 1);
            }
            at += u64::from(run.rows);
        }
        found
    }
}

/// See the module text.
#[derive(Debug, Default)]
pub struct Partition {
    pub partial: Heap<Match>,
    complete: Heap<Match>,
    /// The last of them is number `arrived - 1`.
    rows: VecDeque<Row>,
    /// The number of the next row that comes, and of the next to be matched: behind it if `NEXT` looks ahead.
    arrived: u64,
    pub next: u64,
    /// When the oldest partial match is looked at again, if that is planned.
    pub timer: Option<i64>,
    started: bool,
}

impl Partition {
    /// Adds the match that begins with each row.
    pub fn start(&mut self, nfa: &Nfa) {
        if !self.started {
            self.started = true;
            if !self.partial.items().iter().any(|m| m.first.is_none()) {
                self.partial.push(Match { state: nfa.start(), first: None, runs: Vec::new() });
            }
        }
    }
    /// Adds a row behind the others.
    pub fn arrive(&mut self, row: Row) {
        self.rows.push_back(row);
        self.arrived += 1;
    }
    /// The number of rows that came and are not matched yet.
    pub fn ahead(&self) -> u64 {
        self.arrived - self.next
    }
    /// A row by number, if it is kept.
    pub fn row(&self, number: u64) -> Option<&Row> {
        let first = self.arrived - u64::try_from(self.rows.len()).ok()?;
        self.rows.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }
    /// The rows that are kept, to be changed.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.iter_mut()
    }
    /// Whether there is a match that has begun.
    pub fn is_active(&self) -> bool {
        self.partial.len() > 1 || !self.complete.is_empty()
    }
    /// When the oldest partial match is too old.
    pub fn oldest(&self) -> Option<i64> {
        self.partial.peek()?.first.map(|(time, _)| time)
    }

    /// Drops partial matches that are too old at a time; answers the matches that waited for them.
    pub fn advance(&mut self, time: i64, within_ms: Option<i64>, skip: &AfterMatch) -> Result<Vec<Match>> {
        if let Some(within) = within_ms
            && self.oldest().is_some_and(|first| time.saturating_sub(first) >= within)
        {
            let mut kept = Heap::default();
            for partial in self.partial.take() {
                if partial.first.is_none_or(|(first, _)| time.saturating_sub(first) < within) {
                    kept.push(partial);
                }
            }
            self.partial = kept;
            return self.emit(skip);
        }
        Ok(Vec::new())
    }

    /// Offers the next row, `truth[i]` being the conditions that hold for it in partial match `i`; answers the matches to
    /// emit.
    pub fn step(&mut self, nfa: &Nfa, truth: &[u64], skip: &AfterMatch, steps: &mut Vec<Step>) -> Result<Vec<Match>> {
        let Some(time) = self.row(self.next).map(|r| r.time) else {
            return Err(Error::internal("a row to be matched is not kept"));
        };
        let number = self.next;
        self.next += 1;
        let mut potential = Heap::default();
        let mut partial = Heap::default();
        for (current, truth) in self.partial.take().into_iter().zip(truth) {
            nfa.steps(current.state, *truth, steps);
            for step in steps.iter() {
                let first = Some(current.first.unwrap_or((time, number)));
                let next = Match { state: step.to, first, runs: current.with(step.variable) };
                if step.completes {
                    potential.push(Match { state: FINAL, ..next.clone() });
                }
                if next.state == FINAL { potential.push(next) } else { partial.push(next) }
            }
            if current.first.is_none() {
                partial.push(current);
            }
        }
        self.partial = partial;
        if potential.is_empty() && self.complete.is_empty() {
            return Ok(Vec::new());
        }
        potential.take().into_iter().for_each(|m| self.complete.push(m));
        self.emit(skip)
    }

    fn emit(&mut self, skip: &AfterMatch) -> Result<Vec<Match>> {
        let mut emitted = Vec::new();
        while let Some(earliest) = self.complete.peek() {
            if self.partial.peek().is_some_and(|partial| partial.key() < earliest.key()) {
                break;
            }
            let Some(found) = self.complete.pop() else { break };
            let kept_from = kept_from(&found, skip)?;
            let keeps = |m: &Match| m.first.is_none_or(|(_, number)| number >= kept_from);
            self.partial.retain(keeps);
            self.complete.retain(keeps);
            emitted.push(found);
        }
        Ok(emitted)
    }

    /// Forgets rows that no match has and that are not among the `behind` ones before the next.
    pub fn forget(&mut self, behind: u64) {
        let oldest = self.partial.peek().into_iter().chain(self.complete.peek()).filter_map(|m| m.first);
        let needed = oldest.map(|(_, number)| number).min().unwrap_or(self.next).min(self.next).saturating_sub(behind);
        let first = self.arrived - u64::try_from(self.rows.len()).unwrap_or(0);
        for _ in first..needed {
            self.rows.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        let matches = |heap: &Heap<Match>| {
            heap.items().iter().map(|m| size_of::<Match>() + m.runs.capacity() * size_of::<Run>()).sum::<usize>()
        };
        let stored = |row: &Row| match &row.data {
            RowData::Stored(bytes) => bytes.len(),
            RowData::Released(_) => 0,
        };
        matches(&self.partial)
            + matches(&self.complete)
            + self.rows.capacity() * size_of::<Row>()
            + self.rows.iter().map(stored).sum::<usize>()
    }
}

/// The number of the first row with which a match may begin after this one.
fn kept_from(found: &Match, skip: &AfterMatch) -> Result<u64> {
    let first = found.first.map_or(0, |(_, number)| number);
    let target = match skip {
        AfterMatch::ToNextRow => return Ok(first + 1),
        AfterMatch::PastLastRow => return Ok(found.end()),
        AfterMatch::ToFirst(variables) => found.row_of(variables, false),
        AfterMatch::ToLast(variables) => found.row_of(variables, true),
    };
    match target {
        None => Err(Error::invalid(
            "invalid_after_match",
            "AFTER MATCH SKIP TO names a variable that no row of a match is mapped to: skip to one that is always there",
        )),
        Some(target) if target == first => Err(Error::invalid(
            "invalid_after_match",
            "AFTER MATCH SKIP TO would go to the first row of the match, which would match again for ever",
        )),
        Some(target) => Ok(target),
    }
}

/// The partitions of an operator.
#[derive(Default)]
pub struct Partitions {
    pub items: Vec<Partition>,
    held: Vec<usize>,
    bytes: usize,
}

impl Partitions {
    /// Counts a partition's memory anew.
    pub fn recount(&mut self, slot: usize) {
        let bytes = self.items[slot].bytes();
        self.bytes = self.bytes - self.held[slot] + bytes;
        self.held[slot] = bytes;
    }
}

impl Entries for Partitions {
    fn resize(&mut self, slots: usize) {
        self.items.resize_with(slots, Partition::default);
        self.held.resize(slots, 0);
    }
    fn is_empty(&self, slot: usize) -> bool {
        let partition = &self.items[slot];
        !partition.is_active() && partition.rows.is_empty()
    }
    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        let partition = &self.items[slot];
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        out.push(VALUE_VERSION);
        out.extend_from_slice(&partition.next.to_be_bytes());
        out.extend_from_slice(&partition.arrived.to_be_bytes());
        out.extend_from_slice(&count(partition.rows.len()));
        for row in &partition.rows {
            out.extend_from_slice(&row.time.to_be_bytes());
            // Rows are stored before the operator writes anything.
            let bytes: &[u8] = if let RowData::Stored(bytes) = &row.data { bytes } else { &[] };
            out.extend_from_slice(&count(bytes.len()));
            out.extend_from_slice(bytes);
        }
        for heap in [&partition.partial, &partition.complete] {
            out.extend_from_slice(&count(heap.len()));
            for item in heap.items() {
                out.extend_from_slice(&count(item.state));
                out.push(u8::from(item.first.is_some()));
                if let Some((time, number)) = item.first {
                    out.extend_from_slice(&time.to_be_bytes());
                    out.extend_from_slice(&number.to_be_bytes());
                }
                out.extend_from_slice(&count(item.runs.len()));
                for run in &item.runs {
                    out.extend_from_slice(&run.variable.to_be_bytes());
                    out.extend_from_slice(&run.rows.to_be_bytes());
                }
            }
        }
    }
    fn read(&mut self, slot: usize, value: &[u8]) -> Result<()> {
        let partition = read(value)?;
        self.items[slot] = partition;
        self.recount(slot);
        Ok(())
    }
    fn keep(&mut self, slots: &[u32]) -> Result<()> {
        self.items = slots.iter().map(|s| std::mem::take(&mut self.items[*s as usize])).collect();
        self.held = slots.iter().map(|s| self.held[*s as usize]).collect();
        self.bytes = self.held.iter().sum();
        Ok(())
    }
    fn bytes(&self) -> usize {
        self.bytes + self.items.capacity() * size_of::<Partition>() + 8 * self.held.capacity()
    }
}

/// Reads a stored partition.
pub fn read(value: &[u8]) -> Result<Partition> {
    let mut stored = Stored(value);
    if stored.array()? != [VALUE_VERSION] {
        return Err(malformed("a partition has an unknown version"));
    }
    let size = |stored: &mut Stored<'_>| {
        usize::try_from(u32::from_be_bytes(stored.array()?)).map_err(|_| malformed("a partition's count"))
    };
    let mut partition = Partition {
        next: u64::from_be_bytes(stored.array()?),
        arrived: u64::from_be_bytes(stored.array()?),
        ..Partition::default()
    };
    for _ in 0..size(&mut stored)? {
        let time = i64::from_be_bytes(stored.array()?);
        let length = size(&mut stored)?;
        partition.rows.push_back(Row { time, data: RowData::Stored(stored.bytes(length)?.into()) });
    }
    if partition.arrived < partition.next.max(u64::try_from(partition.rows.len()).unwrap_or(u64::MAX)) {
        return Err(malformed("a partition has more rows than came"));
    }
    let mut heaps = [Heap::default(), Heap::default()];
    for heap in &mut heaps {
        for _ in 0..size(&mut stored)? {
            let state = size(&mut stored)?;
            let first = match stored.state(1)? {
                0 => None,
                _ => Some((i64::from_be_bytes(stored.array()?), u64::from_be_bytes(stored.array()?))),
            };
            let mut runs = Vec::new();
            for _ in 0..size(&mut stored)? {
                let variable = u16::from_be_bytes(stored.array()?);
                runs.push(Run { variable, rows: u32::from_be_bytes(stored.array()?) });
            }
            heap.push(Match { state, first, runs });
        }
    }
    [partition.partial, partition.complete] = heaps;
    if stored.0.is_empty() { Ok(partition) } else { Err(malformed("a partition is longer than its parts")) }
}
