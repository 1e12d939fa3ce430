//! The job graph as data: what `sql` plans, what is stored with a job, what `runtime` executes.
//!
//! Invariants: 1. vertices are in topological order; 2. a vertex is a chain: its first operator is a source or takes
//! the vertex's input edges, each further operator takes the output of the one before; 3. operator ids are unique and
//! depend only on the plan's structure and names; 4. everything here is serialisable and versioned by [`PLAN_VERSION`].

pub mod join;
pub mod key_group;
pub mod pattern;
pub mod ranking;
mod state_summary;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::expr::Expr;
use crate::id::OperatorId;
use crate::types::changelog::ChangelogMode;
use crate::types::{DataType, Field, Schema, TimestampKind, TypeKind};

pub use join::{
    IntervalJoinSpec, JoinCondition, JoinInputKey, JoinKey, JoinKind, JoinSpec, TemporalJoinSpec, UnnestSpec,
    WindowJoinSpec,
};
pub use state_summary::{StateBound, StateSummary};

/// Version of the stored form of [`JobGraph`].
pub const PLAN_VERSION: u32 = 1;
/// The connector name of an ad-hoc query's sink: its rows go to the asker.
pub const COLLECT: &str = "collect";
/// Flink's default number of key groups for small parallelism; the upper limit of a job's parallelism.
pub const DEFAULT_MAX_PARALLELISM: u32 = 128;

/// A planned job.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct JobGraph {
    pub version: u32,
    /// Topologically ordered; edges refer to positions here.
    pub vertices: Vec<Vertex>,
    pub edges: Vec<Edge>,
    /// The kinds of rows that each operator emits.
    #[serde(default)]
    pub changelog: BTreeMap<OperatorId, ChangelogMode>,
    /// Session options that influence evaluation, e.g. `table.local-time-zone`.
    pub options: BTreeMap<String, String>,
}

/// A chain of operators that run in one subtask thread each.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Vertex {
    /// The operators' names joined by ` -> `, as Flink shows it.
    pub name: String,
    /// `Some(1)` where the plan needs one subtask; else the job's parallelism.
    pub parallelism: Option<u32>,
    pub operators: Vec<OperatorSpec>,
}

/// How records travel between two vertices.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    /// Which input of the receiver's first operator: 0, or 1 for the right side of a join.
    pub input: usize,
    pub exchange: Exchange,
    /// Whether it carries the late records of the sender's operators ([`late_schema`]) instead of its output.
    #[serde(default)]
    pub late: bool,
}

/// The columns of late records: the operator that dropped them, its watermark, the row as JSON.
pub fn late_schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
        let watermark = TypeKind::TimestampLtz(3, TimestampKind::Regular);
        Schema::new(vec![
            Field::new("operator", DataType::string().with_nullable(false)),
            Field::new("watermark", DataType::not_null(watermark)),
            Field::new("record", DataType::string().with_nullable(false)),
        ])
    });
    &SCHEMA
}

/// Distribution of an edge.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Exchange {
    /// Subtask i to subtask i if the parallelisms are equal, else round robin by batch.
    Forward,
    /// By key group of these columns of the sender's output.
    Hash { keys: Vec<usize> },
    /// Everything to subtask 0.
    Global,
}

/// One operator of a chain.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OperatorSpec {
    pub id: OperatorId,
    /// Flink-like description: `TableSourceScan(table=[bids])`, `Calc(select=[…], where=[…])`.
    pub name: String,
    pub kind: OperatorKind,
    /// The columns that it emits (a sink: that it writes).
    pub output: Schema,
}

/// What an operator does.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum OperatorKind {
    Source(SourceSpec),
    Calc(CalcSpec),
    WindowTable(WindowTableSpec),
    WindowAggregate(WindowAggregateSpec),
    MatchRecognize(Box<pattern::MatchRecognizeSpec>),
    TopN(ranking::TopNSpec),
    KeepFirst(ranking::KeepFirstSpec),
    TemporalSort(ranking::TemporalSortSpec),
    GroupAggregate(GroupAggregateSpec),
    Expand(ExpandSpec),
    Replicate(ReplicateSpec),
    Join(JoinSpec),
    IntervalJoin(IntervalJoinSpec),
    TemporalJoin(TemporalJoinSpec),
    WindowJoin(WindowJoinSpec),
    Unnest(UnnestSpec),
    WindowRank(WindowRankSpec),
    Sink(SinkSpec),
    /// Rows given in the SQL text (`VALUES`), emitted once by subtask 0.
    Values {
        rows: Vec<Vec<Expr>>,
    },
}

impl OperatorKind {
    /// Whether it hands out the late records that it drops.
    pub fn drops_late(&self) -> bool {
        match self {
            OperatorKind::WindowTable(window) => window.window.is_session(),
            OperatorKind::WindowAggregate(_) | OperatorKind::WindowRank(_) | OperatorKind::WindowJoin(_) => true,
            _ => false,
        }
    }
    /// Whether it has keyed state, and so a share of the job's memory.
    pub fn is_keyed(&self) -> bool {
        match self {
            OperatorKind::WindowTable(window) => window.window.is_session(),
            OperatorKind::WindowAggregate(_)
            | OperatorKind::GroupAggregate(_)
            | OperatorKind::WindowRank(_)
            | OperatorKind::MatchRecognize(_)
            | OperatorKind::TopN(_)
            | OperatorKind::KeepFirst(_)
            | OperatorKind::TemporalSort(_)
            | OperatorKind::Join(_)
            | OperatorKind::IntervalJoin(_)
            | OperatorKind::TemporalJoin(_)
            | OperatorKind::WindowJoin(_) => true,
            _ => false,
        }
    }
}

/// A table's connector with its options, format options included, as written in `WITH`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ConnectorSpec {
    /// The table's name.
    pub table: String,
    /// The value of `'connector'`.
    pub connector: String,
    /// All options of the table.
    pub options: BTreeMap<String, String>,
}

/// Reads a table. The reader decodes `physical` (only the columns, and the members of `ROW`s, that the query uses);
/// then `projection` computes the scan's output (computed columns included), the watermark generator runs on that.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SourceSpec {
    pub connector: ConnectorSpec,
    /// What the reader must produce: physical columns first, in table order, pruned.
    pub physical: Schema,
    /// `METADATA` columns that follow the physical ones in the reader's batches: (metadata key, column).
    pub metadata: Vec<(String, crate::types::Field)>,
    /// Over the reader's columns (physical ++ metadata); `None` = as they are.
    pub projection: Option<Vec<Expr>>,
    pub watermark: Option<WatermarkSpec>,
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WatermarkSpec {
    /// The rowtime column in the scan's output.
    pub rowtime: usize,
    /// Over the scan's output: a timestamp; null = no watermark from this row.
    pub expr: Expr,
    /// `table.exec.source.idle-timeout` in ms; 0 = never idle.
    pub idle_timeout_ms: u64,
}

/// Filter, then project.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CalcSpec {
    /// Boolean over the input; rows where it is not true are dropped.
    pub filter: Option<Expr>,
    /// Over the input; `None` = all columns as they are.
    pub projection: Option<Vec<Expr>>,
}

/// Event-time windows; all lengths in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum WindowKind {
    /// `[n*size+offset, (n+1)*size+offset)`.
    Tumble { size_ms: i64, offset_ms: i64 },
    /// Windows of `size_ms`, one starting each `slide_ms`.
    Hop { size_ms: i64, slide_ms: i64, offset_ms: i64 },
    /// Windows that start each `size_ms` and end each `step_ms` after that, up to `size_ms`.
    Cumulate { size_ms: i64, step_ms: i64, offset_ms: i64 },
    /// From a key's first row to `gap_ms` after its last one, when none came for so long.
    Session { gap_ms: i64 },
}

impl WindowKind {
    /// Whether its windows depend on the rows.
    pub fn is_session(&self) -> bool {
        matches!(self, WindowKind::Session { .. })
    }
}

/// A window table function that is not directly aggregated: appends `window_start, window_end, window_time`, one output
/// row per window of the input row. Sessions are emitted when they are over.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WindowTableSpec {
    pub window: WindowKind,
    /// The rowtime column of the input.
    pub rowtime: usize,
    /// The columns of `PARTITION BY`, for sessions.
    pub partition_by: Vec<usize>,
}

/// Where a window aggregate's windows come from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum WindowInput {
    /// Assigned here, from the rowtime column.
    Assign { window: WindowKind, rowtime: usize },
    /// The input already has windows (it is a window table function's or window aggregate's output).
    Attached {
        window_start: usize,
        window_end: usize,
        /// Whether they are of a `TIMESTAMP_LTZ`: aligned in the session's time zone.
        zoned: bool,
    },
}

impl WindowInput {
    /// Whether sessions are assigned here.
    pub fn is_session(&self) -> bool {
        matches!(self, WindowInput::Assign { window, .. } if window.is_session())
    }
}

/// A property of the window in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum WindowProperty {
    Start,
    End,
    /// `window_end - 1 ms`, a new rowtime.
    Time,
}

/// `GROUP BY keys, window_start, window_end`: emits a row per key and window when the watermark passes the window's end.
/// Output columns: `keys ++ aggregates ++ properties`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WindowAggregateSpec {
    pub input: WindowInput,
    /// Input columns.
    pub keys: Vec<usize>,
    pub aggregates: Vec<AggregateCall>,
    pub properties: Vec<WindowProperty>,
}

/// `GROUP BY keys` over an unbounded input: emits a change whenever a group's result changes.
/// Output columns: `keys ++ aggregates`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GroupAggregateSpec {
    /// Input columns.
    pub keys: Vec<usize>,
    pub aggregates: Vec<AggregateCall>,
    /// Whether the input takes rows away.
    pub retracts: bool,
    /// Whether `-U` is emitted.
    pub update_before: bool,
    /// How long a group is kept after it was last written to, ms; 0 = for ever.
    pub state_ttl_ms: u64,
    /// Whether a batch's changes of a group are emitted as one (`table.exec.mini-batch.enabled`).
    pub bundles: bool,
}

/// Several rows for each row: one per projection, over the input.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ExpandSpec {
    pub projections: Vec<Vec<Expr>>,
}

/// Each row as often as a `BIGINT NOT NULL` column of it says.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ReplicateSpec {
    pub count: usize,
}

/// An aggregate function applied to a column.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// Input column; `None` only for `CountStar`.
    pub argument: Option<usize>,
    pub distinct: bool,
    /// A boolean input column; only rows where it is true count (`FILTER (WHERE …)`).
    pub filter: Option<usize>,
    /// Of the result, as Flink derives it.
    pub data_type: DataType,
}

/// Aggregate functions. Nulls are ignored; over no rows, counts are 0 and the rest null. Integer `SUM` wraps, integer
/// `AVG` truncates, as in Flink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AggregateFunction {
    CountStar,
    Count,
    Sum,
    Min,
    Max,
    Avg,
    /// Of `ROW`s too; nulls are not values.
    FirstValue,
    LastValue,
    /// Of a text, joined by commas, or of `ROW(text, separator)`.
    ListAgg,
    /// A multiset.
    Collect,
    /// An array, nulls included; null over no rows.
    ArrayAgg,
    /// Of a JSON text.
    JsonArrayAgg {
        absent_on_null: bool,
    },
    /// Of `ROW(key, JSON text)`.
    JsonObjectAgg {
        absent_on_null: bool,
    },
}

/// Direction of a sort column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum SortOrder {
    Ascending,
    Descending,
}

/// Where nulls stand; without `NULLS FIRST | LAST` null is the smallest value, as in Flink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NullOrder {
    First,
    Last,
}

/// A column of `ORDER BY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SortKey {
    pub column: usize,
    pub order: SortOrder,
    pub nulls: NullOrder,
}

/// `ROW_NUMBER() OVER (PARTITION BY … ORDER BY …)` and a filter on it: rows from the `first` number to the `last`. Output
/// columns: the input's, then the number if `number`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RankSpec {
    pub partition_by: Vec<usize>,
    pub order_by: Vec<SortKey>,
    pub first: u64,
    pub last: u64,
    pub number: bool,
}

/// A rank within windows, which the input has: emitted when a window is over.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WindowRankSpec {
    /// Columns that are among the rank's `partition_by`.
    pub window_start: usize,
    pub window_end: usize,
    /// Whether they are of a `TIMESTAMP_LTZ`: aligned in the session's time zone.
    pub zoned: bool,
    pub rank: RankSpec,
}

/// Writes a table.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SinkSpec {
    pub connector: ConnectorSpec,
    pub partitioned_by: Vec<String>,
}
