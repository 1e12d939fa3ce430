//! Conditions and measures over rows of matches, for many matches at once.
//!
//! The values that an expression asks for are gathered into columns, one row per match; then it is evaluated as any other.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::partition::{Partition, RowData, Run};
use crate::error::{Error, Result};
use crate::expr::{EvalContext, Evaluator};
use crate::graph::AggregateCall;
use crate::graph::pattern::{MatchEnd, PatternExpr, PatternInput, RowSet};
use crate::operator::aggregate::{AggregateInput, AggregateType};
use crate::operator::event_time::from_ms;
use crate::state::row_codec::{RowCodec, RowEncoder};
use crate::types::Schema;

/// Rows of a match that an expression is evaluated for.
pub struct Subject<'a> {
    pub partition: &'a Partition,
    /// The number of the first row.
    pub first: u64,
    pub runs: &'a [Run],
    /// How many rows of the match are visible to what is not `FINAL`.
    pub visible: u64,
    /// What `MATCH_ROWTIME()` answers.
    pub time: i64,
}

/// Where the bytes of rows are.
pub struct Rows<'a> {
    pub codec: &'a RowCodec,
    /// Of the batch that is being matched.
    pub released: &'a RowEncoder<'a>,
}

/// The row that a value is of.
#[derive(PartialEq)]
struct Anchor {
    rows: RowSet,
    end: MatchEnd,
    offset: u32,
    shift: i64,
}

enum Source {
    /// A column of the row at an anchor.
    Row {
        anchor: usize,
        column: usize,
    },
    Aggregate {
        rows: RowSet,
        call: AggregateCall,
        function: Box<AggregateType>,
    },
    MatchTime,
    Classifier,
}

/// A compiled [`PatternExpr`].
pub struct PatternEvaluator {
    evaluator: Evaluator,
    schema: SchemaRef,
    anchors: Vec<Anchor>,
    sources: Vec<Source>,
}

impl PatternEvaluator {
    /// Compiles an expression over an input of these columns.
    pub fn new(expr: &PatternExpr, input: &Schema, context: &EvalContext) -> Result<Self> {
        let (mut anchors, mut sources, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        for part in &expr.inputs {
            let (source, data_type) = match part {
                PatternInput::Row { rows, end, offset, shift, column } => {
                    let anchor = Anchor { rows: rows.clone(), end: *end, offset: *offset, shift: *shift };
                    let found = anchors.iter().position(|a| *a == anchor);
                    let anchor = found.unwrap_or_else(|| {
                        anchors.push(anchor);
                        anchors.len() - 1
                    });
                    let field = input.fields.get(*column);
                    let field = field.ok_or_else(|| Error::internal("a pattern's column does not exist"))?;
                    (Source::Row { anchor, column: *column }, &field.data_type)
                }
                PatternInput::Aggregate { rows, call } => {
                    let function = Box::new(AggregateType::new(call, input)?);
                    (Source::Aggregate { rows: rows.clone(), call: call.clone(), function }, &call.data_type)
                }
                PatternInput::MatchTime { data_type } => (Source::MatchTime, data_type),
                PatternInput::Classifier { data_type } => (Source::Classifier, data_type),
            };
            fields.push(ArrowField::new(fields.len().to_string(), data_type.to_arrow(), true));
            sources.push(source);
        }
        let schema = Arc::new(ArrowSchema::new(fields));
        Ok(PatternEvaluator { evaluator: Evaluator::new(&expr.expr, context)?, schema, anchors, sources })
    }

    /// Whether it asks only for the row that is being matched to the variable.
    pub fn is_of_current_row(&self, variable: usize) -> bool {
        let current = |a: &Anchor| {
            let rows = &a.rows.variables;
            a.end == MatchEnd::Last && a.offset == 0 && a.shift == 0 && (rows.is_empty() || rows.contains(&variable))
        };
        self.anchors.iter().all(current) && self.sources.iter().all(|s| matches!(s, Source::Row { .. }))
    }

    /// A condition of the current row, for all rows of a batch.
    pub fn of_rows(&self, columns: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
        let values = self.sources.iter().map(|s| match s {
            Source::Row { column, .. } => {
                columns.get(*column).cloned().ok_or_else(|| Error::internal("a pattern's column does not exist"))
            }
            _ => Err(Error::internal("the condition is not of the current row alone")),
        });
        self.evaluator.evaluate_predicate(&self.batch(values.collect::<Result<_>>()?, rows)?)
    }

    /// A condition, for each subject.
    pub fn condition(&self, subjects: &[Subject<'_>], rows: &Rows<'_>, names: &[String]) -> Result<BooleanArray> {
        self.evaluator.evaluate_predicate(&self.gather(subjects, rows, names)?)
    }

    /// A value for each subject.
    pub fn values(&self, subjects: &[Subject<'_>], rows: &Rows<'_>, names: &[String]) -> Result<ArrayRef> {
        self.evaluator.evaluate(&self.gather(subjects, rows, names)?)
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    fn gather(&self, subjects: &[Subject<'_>], rows: &Rows<'_>, names: &[String]) -> Result<RecordBatch> {
        let anchored = self.anchors.iter().map(|anchor| {
            let numbers = subjects.iter().map(|s| (s.partition, s.locate(anchor)));
            rows.decode(numbers)
        });
        let anchored = anchored.collect::<Result<Vec<_>>>()?;
        let mut columns = Vec::with_capacity(self.sources.len());
        for (source, field) in self.sources.iter().zip(self.schema.fields()) {
            columns.push(match source {
                Source::Row { anchor, column } => anchored[*anchor][*column].clone(),
                Source::Aggregate { rows: of, call, function } => aggregate(subjects, rows, of, call, function)?,
                Source::MatchTime => from_ms(subjects.iter().map(|s| s.time).collect(), field.data_type())?,
                Source::Classifier => {
                    let name = |s: &Subject<'_>| {
                        let last = s.pieces(s.visible).last();
                        last.and_then(|(_, run)| names.get(usize::from(run.variable))).map(String::as_str)
                    };
                    Arc::new(subjects.iter().map(name).collect::<StringArray>())
                }
            });
        }
        self.batch(columns, subjects.len())
    }
}

impl Subject<'_> {
    /// The runs within the first `limit` rows, with the number of the first row of each.
    fn pieces(&self, limit: u64) -> impl Iterator<Item = (u64, Run)> + '_ {
        let mut at = 0;
        self.runs.iter().map_while(move |run| {
            let start = at;
            let left = limit.checked_sub(start).filter(|left| *left > 0)?;
            at += u64::from(run.rows);
            let rows = u32::try_from(left.min(u64::from(run.rows))).ok()?;
            Some((self.first + start, Run { rows, ..*run }))
        })
    }

    fn limit(&self, rows: &RowSet) -> u64 {
        if rows.is_final { u64::MAX } else { self.visible }
    }

    /// The rows of a set, in order.
    fn rows_of<'s>(&'s self, rows: &'s RowSet) -> impl Iterator<Item = u64> + 's {
        let of_set = |run: &Run| rows.variables.is_empty() || rows.variables.contains(&usize::from(run.variable));
        let pieces = self.pieces(self.limit(rows)).filter(move |(_, run)| of_set(run));
        pieces.flat_map(|(start, run)| start..start + u64::from(run.rows))
    }

    /// The number of the row at an anchor.
    fn locate(&self, anchor: &Anchor) -> Option<u64> {
        let offset = u64::from(anchor.offset);
        let of_set =
            |run: &Run| anchor.rows.variables.is_empty() || anchor.rows.variables.contains(&usize::from(run.variable));
        let pieces = || self.pieces(self.limit(&anchor.rows)).filter(|(_, run)| of_set(run));
        let mut rest = match anchor.end {
            MatchEnd::First => offset,
            MatchEnd::Last => {
                let all: u64 = pieces().map(|(_, run)| u64::from(run.rows)).sum();
                all.checked_sub(offset + 1)?
            }
        };
        for (start, run) in pieces() {
            if rest < u64::from(run.rows) {
                return (start + rest).checked_add_signed(anchor.shift);
            }
            rest -= u64::from(run.rows);
        }
        None
    }
}

impl Rows<'_> {
    /// The columns of rows by number; all null where there is no such row.
    pub fn decode<'p>(&self, rows: impl Iterator<Item = (&'p Partition, Option<u64>)>) -> Result<Vec<ArrayRef>> {
        let null = vec![0; self.codec.columns().len()];
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        for (partition, number) in rows {
            match number.and_then(|n| partition.row(n)).map(|row| &row.data) {
                Some(RowData::Released(row)) => self.released.write(*row as usize, &mut data),
                Some(RowData::Stored(bytes)) => data.extend_from_slice(bytes),
                None => data.extend_from_slice(&null),
            }
            ends.push(data.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let rows: Vec<&[u8]> = starts.zip(&ends).map(|(start, end)| &data[start..*end]).collect();
        self.codec.decode(&rows)
    }
}

/// An aggregate for each subject.
fn aggregate(
    subjects: &[Subject<'_>],
    rows: &Rows<'_>,
    of: &RowSet,
    call: &AggregateCall,
    function: &AggregateType,
) -> Result<ArrayRef> {
    let (mut groups, mut numbers) = (Vec::new(), Vec::new());
    for (group, subject) in (0u32..).zip(subjects) {
        for number in subject.rows_of(of) {
            groups.push(group);
            numbers.push((subject.partition, Some(number)));
        }
    }
    let columns = rows.decode(numbers.into_iter())?;
    let column = |index: usize| {
        columns.get(index).cloned().ok_or_else(|| Error::internal("an aggregate's column does not exist"))
    };
    let input = AggregateInput {
        argument: call.argument.map(column).transpose()?,
        filter: call.filter.map(column).transpose()?,
    };
    let mut aggregate = function.create()?;
    aggregate.resize(subjects.len());
    aggregate.update(&input, &groups)?;
    aggregate.finish(0..subjects.len(), function)
}
