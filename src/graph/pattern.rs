//! `MATCH_RECOGNIZE` as data.

use super::{AggregateCall, SortKey};
use crate::expr::Expr;
use crate::types::DataType;

/// Most pattern variables of one `MATCH_RECOGNIZE`: their truth for a row is one word.
pub const MAX_PATTERN_VARIABLES: usize = 64;

/// Finds a pattern of rows in each partition, in the order of time, and emits rows for each match.
/// Output columns: `before ++ measures ++ after`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MatchRecognizeSpec {
    /// `PARTITION BY`: input columns.
    pub keys: Vec<usize>,
    /// `ORDER BY`: first the time attribute, ascending, then what orders rows of the same time.
    pub order: Vec<SortKey>,
    /// Whether the time attribute is processing time: rows are matched as they come.
    pub processing_time: bool,
    /// The names of the variables in the pattern.
    pub variables: Vec<String>,
    pub pattern: Pattern,
    /// By variable; without a condition every row can be mapped to it.
    pub define: Vec<Option<PatternExpr>>,
    pub measures: Vec<PatternExpr>,
    pub after_match: AfterMatch,
    /// A match must be shorter than this.
    pub within_ms: Option<i64>,
    pub rows: RowsPerMatch,
    /// Input columns that are emitted before the measures, and after them.
    pub before: Vec<usize>,
    pub after: Vec<usize>,
}

impl MatchRecognizeSpec {
    /// All references to input columns.
    pub fn columns_mut(&mut self) -> Vec<&mut usize> {
        let mut all: Vec<&mut usize> = self.keys.iter_mut().collect();
        all.extend(self.order.iter_mut().map(|k| &mut k.column));
        all.extend(self.before.iter_mut());
        all.extend(self.after.iter_mut());
        for expr in self.define.iter_mut().flatten().chain(&mut self.measures) {
            for input in &mut expr.inputs {
                match input {
                    PatternInput::Row { column, .. } => all.push(column),
                    PatternInput::Aggregate { call, .. } => {
                        all.extend(call.argument.iter_mut().chain(&mut call.filter));
                    }
                    PatternInput::MatchTime { .. } | PatternInput::Classifier { .. } => {}
                }
            }
        }
        all
    }
}

/// What is emitted for a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RowsPerMatch {
    /// `ONE ROW PER MATCH`.
    One,
    /// `ALL ROWS PER MATCH`: each row that is mapped to a variable.
    All,
}

/// A row pattern.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Pattern {
    Variable(usize),
    Concat(Vec<Pattern>),
    Alternation(Vec<Pattern>),
    /// `{min, max}`; without a maximum it is unlimited.
    Repeat {
        pattern: Box<Pattern>,
        min: u32,
        max: Option<u32>,
        greedy: bool,
    },
}

/// `AFTER MATCH SKIP`; variables are positions in [`MatchRecognizeSpec::variables`], of a `SUBSET` several.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AfterMatch {
    ToNextRow,
    PastLastRow,
    ToFirst(Vec<usize>),
    ToLast(Vec<usize>),
}

/// An expression over rows of a match: `expr`'s columns are positions in `inputs`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PatternExpr {
    pub expr: Expr,
    pub inputs: Vec<PatternInput>,
}

/// A value of a match.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum PatternInput {
    /// `FIRST | LAST(variable.column, offset)`, then `shift` rows on (`PREV`: negative, `NEXT`: positive).
    Row { rows: RowSet, end: MatchEnd, offset: u32, shift: i64, column: usize },
    /// An aggregate over the rows.
    Aggregate { rows: RowSet, call: AggregateCall },
    /// `MATCH_ROWTIME()`: the time of the row with which the match was complete.
    MatchTime { data_type: DataType },
    /// `CLASSIFIER()`: the variable that the last row is mapped to.
    Classifier { data_type: DataType },
}

/// Rows of a match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct RowSet {
    /// Those mapped to one of these variables; of any if empty.
    pub variables: Vec<usize>,
    /// `FINAL`: of the whole match, also where a row in its middle is emitted.
    pub is_final: bool,
}

/// From which end of a match rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum MatchEnd {
    First,
    Last,
}
