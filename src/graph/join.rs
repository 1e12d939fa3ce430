//! Joins in the job graph. Columns of both inputs are numbered left first: `0..left` are the left's.

use crate::expr::Expr;

/// Which rows a join keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    /// Left rows with a match, once.
    Semi,
    /// Left rows without a match.
    Anti,
}

impl JoinKind {
    /// Whether left rows without a match are emitted with nulls.
    pub fn keeps_left(self) -> bool {
        matches!(self, JoinKind::Left | JoinKind::Full)
    }
    /// Whether right rows without a match are emitted with nulls.
    pub fn keeps_right(self) -> bool {
        matches!(self, JoinKind::Right | JoinKind::Full)
    }
    /// Whether only left columns are emitted.
    pub fn is_semi_or_anti(self) -> bool {
        matches!(self, JoinKind::Semi | JoinKind::Anti)
    }
    /// The name in plans, as Flink writes it.
    pub fn name(self) -> &'static str {
        match self {
            JoinKind::Inner => "InnerJoin",
            JoinKind::Left => "LeftOuterJoin",
            JoinKind::Right => "RightOuterJoin",
            JoinKind::Full => "FullOuterJoin",
            JoinKind::Semi => "LeftSemiJoin",
            JoinKind::Anti => "LeftAntiJoin",
        }
    }
}

/// A pair of columns that must be equal: of the left input, of the right input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JoinKey {
    pub left: usize,
    pub right: usize,
    /// Whether null equals null (`IS NOT DISTINCT FROM`).
    pub null_safe: bool,
}

/// What equal rows of two inputs are: keys, and a predicate over the pair.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct JoinCondition {
    pub kind: JoinKind,
    pub keys: Vec<JoinKey>,
    /// Over left and right columns; a pair for which it is not true is no match.
    pub residual: Option<Expr>,
    /// The emitted columns, of left and right columns.
    pub output: Vec<usize>,
}

/// How a regular join finds a row of an input again that is updated or deleted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum JoinInputKey {
    /// By all of its columns; equal rows are counted.
    None,
    /// By these columns, which are unique in the input.
    Unique(Vec<usize>),
    /// By the join's keys: they contain a unique key.
    Keys,
}

/// A regular join: both inputs are kept for ever and may change.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct JoinSpec {
    pub condition: JoinCondition,
    pub left_key: JoinInputKey,
    pub right_key: JoinInputKey,
    /// How long a row is kept after it was added, ms, of each input; 0 = for ever (`table.exec.state.ttl`).
    pub left_ttl_ms: u64,
    pub right_ttl_ms: u64,
}

/// An interval join in event time: `right + lower_ms <= left <= right + upper_ms`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct IntervalJoinSpec {
    pub condition: JoinCondition,
    /// The event time of the left input.
    pub left_time: usize,
    /// The event time of the right input, a column of it.
    pub right_time: usize,
    pub lower_ms: i64,
    pub upper_ms: i64,
}

/// `CROSS JOIN UNNEST(collection)`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UnnestSpec {
    /// Over the input.
    pub collection: Expr,
    /// Whether a row without elements is emitted with nulls (`LEFT JOIN`).
    pub keeps_empty: bool,
    /// Whether the number of each element, from 1, is the last column.
    pub ordinality: bool,
    /// The emitted columns, of the input's and then the elements'.
    pub output: Vec<usize>,
}

/// A join of rows of the same window, which is among the keys: emitted when the window is over.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WindowJoinSpec {
    pub condition: JoinCondition,
    /// The window's end in the left input.
    pub left_end: usize,
    /// The window's end in the right input, a column of it.
    pub right_end: usize,
    /// Whether the windows are of a `TIMESTAMP_LTZ`: aligned in the session's time zone.
    pub zoned: bool,
}

/// A temporal join in event time: each left row with the version of the right row that was valid at its time.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TemporalJoinSpec {
    pub condition: JoinCondition,
    /// The event time of the left input.
    pub left_time: usize,
    /// The event time of the right input, a column of it.
    pub right_time: usize,
}
