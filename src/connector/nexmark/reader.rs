//! Makes batches of events with only the columns and members that are read.

use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::generator::{Config, Event, Kind, Texts, Wanted};
use super::unknown_column;
use crate::clock::now_ms;
use crate::connector::format::column::{Column, Data};
use crate::connector::throttle::{Allowance, Throttle};
use crate::connector::{MAX_BATCH_ROWS, Poll, ReaderCounters, SourceReader, SplitState};
use crate::error::{Error, Result};
use crate::types::{DataType, Schema, TimestampKind, TypeKind};

/// Where a member's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    /// An index into [`Event::numbers`].
    Number(usize),
    /// As `Number`, a timestamp.
    Instant(usize),
    Time,
    /// An index into the texts; the last one is `extra`.
    Text(usize),
    Extra(usize),
}

const PERSON: &[(&str, Member)] = &[
    ("id", Member::Number(0)),
    ("name", Member::Text(0)),
    ("emailAddress", Member::Text(1)),
    ("creditCard", Member::Text(2)),
    ("city", Member::Text(3)),
    ("state", Member::Text(4)),
    ("dateTime", Member::Time),
    ("extra", Member::Extra(5)),
];
const AUCTION: &[(&str, Member)] = &[
    ("id", Member::Number(0)),
    ("itemName", Member::Text(0)),
    ("description", Member::Text(1)),
    ("initialBid", Member::Number(1)),
    ("reserve", Member::Number(2)),
    ("dateTime", Member::Time),
    ("expires", Member::Instant(3)),
    ("seller", Member::Number(4)),
    ("category", Member::Number(5)),
    ("extra", Member::Extra(2)),
];
const BID: &[(&str, Member)] = &[
    ("auction", Member::Number(0)),
    ("bidder", Member::Number(1)),
    ("price", Member::Number(2)),
    ("channel", Member::Text(0)),
    ("url", Member::Text(1)),
    ("dateTime", Member::Time),
    ("extra", Member::Extra(2)),
];

/// What a column is filled with.
pub enum Output {
    EventType,
    Row { kind: Kind, members: Vec<MemberOutput> },
}

/// A member of a row column.
pub struct MemberOutput(Member);

/// What to fill each column of `schema` with; errors name the column that cannot be.
pub fn outputs(schema: &Schema) -> Result<Vec<Output>> {
    let output = |name: &str, data_type: &DataType| {
        let (kind, known) = match name {
            "event_type" => {
                wrong_type(name, data_type, data_type.kind == TypeKind::Int, "INT")?;
                return Ok(Output::EventType);
            }
            "person" => (Kind::Person, PERSON),
            "auction" => (Kind::Auction, AUCTION),
            "bid" => (Kind::Bid, BID),
            other => return Err(unknown_column(other, &["event_type", "person", "auction", "bid"])),
        };
        let TypeKind::Row(fields) = &data_type.kind else {
            wrong_type(name, data_type, false, "ROW<…>")?;
            return Err(Error::internal("a ROW is a ROW"));
        };
        let member = |name: &str, data_type: &DataType| {
            let Some((_, member)) = known.iter().find(|(n, _)| *n == name) else {
                return Err(unknown_column(name, &known.iter().map(|(n, _)| *n).collect::<Vec<_>>()));
            };
            let kind = &data_type.kind;
            match member {
                Member::Number(_) => wrong_type(name, data_type, *kind == TypeKind::BigInt, "BIGINT")?,
                Member::Time | Member::Instant(_) => {
                    let fits = kind.regular() == TypeKind::Timestamp(3, TimestampKind::Regular);
                    wrong_type(name, data_type, fits, "TIMESTAMP(3)")?;
                }
                Member::Text(_) | Member::Extra(_) => wrong_type(name, data_type, kind.is_string(), "STRING")?,
            }
            Ok(MemberOutput(*member))
        };
        let members = fields.iter().map(|f| member(&f.name, &f.data_type)).collect::<Result<_>>()?;
        Ok(Output::Row { kind, members })
    };
    schema.fields.iter().map(|f| output(&f.name, &f.data_type)).collect()
}

fn wrong_type(name: &str, data_type: &DataType, fits: bool, expected: &str) -> Result<()> {
    if fits {
        return Ok(());
    }
    let kind = &data_type.kind;
    Err(Error::invalid("unsupported_type", format!("column '{name}' of nexmark must be {expected}, not {kind}")))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Position {
    v: u32,
    next: u64,
    step: u64,
}

struct Split {
    id: String,
    started: bool,
    finished: bool,
    position: Position,
}

/// Reads the splits of one subtask.
pub struct Reader {
    config: Config,
    /// Events of all splits together; none: without end.
    events: Option<u64>,
    throttle: Throttle,
    splits: Vec<Split>,
    schema: Schema,
    outputs: Vec<Output>,
    columns: Vec<Column>,
    /// By kind: person, auction, bid.
    wanted: [Wanted; 3],
    texts: Texts,
}

impl Reader {
    /// A reader of `own` splits that limits itself to `rate` rows per second.
    pub fn new(
        schema: &Schema,
        config: Config,
        events: Option<u64>,
        rate: Option<f64>,
        own: Vec<SplitState>,
    ) -> Result<Self> {
        let restore = |state: SplitState| {
            let position = serde_json::from_value(state.position).ok().filter(|p: &Position| p.v == 1 && p.step > 0);
            let position = position.ok_or_else(|| {
                Error::corrupt("invalid_position", format!("the position of split {} is unreadable", state.id))
            })?;
            Ok(Split { id: state.id, started: state.started, finished: state.finished, position })
        };
        let outputs = outputs(schema)?;
        let mut wanted = [Wanted::default(); 3];
        for output in &outputs {
            let Output::Row { kind, members } = output else { continue };
            for MemberOutput(member) in members {
                wanted[*kind as usize].texts |= matches!(member, Member::Text(_));
                wanted[*kind as usize].extra |= matches!(member, Member::Extra(_));
            }
        }
        Ok(Reader {
            config,
            events,
            throttle: Throttle::new(rate),
            splits: own.into_iter().map(restore).collect::<Result<_>>()?,
            schema: schema.clone(),
            outputs,
            columns: schema.fields.iter().map(|f| Column::new(&f.data_type, MAX_BATCH_ROWS)).collect(),
            wanted,
            texts: Texts::default(),
        })
    }

    fn make(&mut self, index: usize, most: usize) -> Result<Option<RecordBatch>> {
        let Some(split) = self.splits.get_mut(index) else { return Ok(None) };
        let Position { next, step, .. } = split.position;
        let left = self.events.map_or(u64::MAX, |all| all.saturating_sub(next).div_ceil(step));
        let rows = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        let mut n = next;
        for _ in 0..rows {
            let kind = self.config.kind(n);
            let event = self.config.event(n, self.wanted[kind as usize], &mut self.texts);
            for (column, output) in self.columns.iter_mut().zip(&self.outputs) {
                append(column, output, &event, &self.texts);
            }
            n += step;
        }
        split.started = true;
        split.position.next = n;
        split.finished = self.events.is_some_and(|all| n >= all);
        if rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(self.schema.to_arrow(), arrays, &options)?))
    }
}

#[inline]
fn append(column: &mut Column, output: &Output, event: &Event, texts: &Texts) {
    if matches!(output, Output::Row { kind, .. } if *kind != event.kind) {
        return column.push_null();
    }
    match (output, column.values().1) {
        (Output::EventType, Data::Int32(v)) => {
            v.push(event.kind as i32);
            column.end_value();
        }
        (Output::Row { members, .. }, Data::Row(columns)) => {
            for (column, MemberOutput(member)) in columns.iter_mut().zip(members) {
                match (member, column.values().1) {
                    (Member::Number(i) | Member::Instant(i), Data::Int64(v)) => v.push(event.numbers[*i]),
                    (Member::Time, Data::Int64(v)) => v.push(event.time_ms),
                    (Member::Text(i) | Member::Extra(i), Data::Bytes(v)) => v.push(texts.get(*i)),
                    _ => {
                        column.push_null();
                        continue;
                    }
                }
                column.end_value();
            }
            column.end_value();
        }
        _ => column.push_null(),
    }
}

impl SourceReader for Reader {
    fn poll(&mut self, preferred: Option<usize>) -> Result<Poll> {
        loop {
            let open = |i: &usize| self.splits.get(*i).is_some_and(|s| !s.finished);
            let lowest = || (0..self.splits.len()).filter(open).min_by_key(|i| self.splits[*i].position.next);
            let Some(split) = preferred.filter(open).or_else(lowest) else { return Ok(Poll::End) };
            let most = match self.throttle.ask(MAX_BATCH_ROWS, now_ms()) {
                Allowance::Rows(rows) => rows,
                Allowance::Wait(ms) => return Ok(Poll::Pending { retry_after_ms: ms }),
            };
            if let Some(batch) = self.make(split, most)? {
                self.throttle.used(batch.num_rows());
                return Ok(Poll::Batch { split, batch });
            }
        }
    }

    fn splits(&self) -> Vec<SplitState> {
        let state = |s: &Split| {
            let position = serde_json::json!({"v": 1, "next": s.position.next, "step": s.position.step});
            SplitState { id: s.id.clone(), finished: s.finished, started: s.started, position }
        };
        self.splits.iter().map(state).collect()
    }

    fn counters(&self) -> ReaderCounters {
        ReaderCounters::default()
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
