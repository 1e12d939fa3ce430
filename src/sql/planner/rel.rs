//! The relational tree between binding and the job graph.
//!
//! Invariants: 1. every `Column` of an expression is a position in the input's [`Rel::schema`]; 2. a `Calc`'s
//! projection has one expression per column of its schema; 3. window columns are appended by `WindowTable` in the order
//! start, end, time, and a `WindowAggregate` emits `keys ++ aggregates ++ properties`; 4. a `GroupAggregate` emits
//! `keys ++ aggregates`.

use std::sync::Arc;

use super::super::catalog::Table;
use super::need::Need;
use crate::expr::Expr;
use crate::graph::pattern::MatchRecognizeSpec;
use crate::graph::ranking::TemporalSortSpec;
use crate::graph::{
    ExpandSpec, GroupAggregateSpec, JoinCondition, RankSpec, ReplicateSpec, UnnestSpec, WindowAggregateSpec,
    WindowTableSpec,
};
use crate::sql::ast::Position;
use crate::types::{DataType, Schema, TypeKind};

/// A relational operator over its inputs.
#[derive(Debug, Clone)]
pub enum Rel {
    Scan(Scan),
    Values { rows: Vec<Vec<Expr>>, schema: Schema },
    Calc(Calc),
    WindowTable { input: Box<Rel>, spec: WindowTableSpec, schema: Schema },
    WindowAggregate { input: Box<Rel>, spec: WindowAggregateSpec, schema: Schema },
    MatchRecognize { input: Box<Rel>, spec: Box<MatchRecognizeSpec>, schema: Schema },
    GroupAggregate { input: Box<Rel>, spec: GroupAggregateSpec, schema: Schema },
    Expand { input: Box<Rel>, spec: ExpandSpec, schema: Schema },
    Replicate { input: Box<Rel>, spec: ReplicateSpec, schema: Schema },
    Union { inputs: Vec<Rel>, schema: Schema },
    Join(Join),
    Unnest(Unnest),
    Rank(Rank),
    TemporalSort { input: Box<Rel>, spec: TemporalSortSpec, schema: Schema },
}

/// Reads columns of a table.
#[derive(Debug, Clone)]
pub struct Scan {
    pub table: Arc<Table>,
    /// Positions in the table's columns, ascending, and what of each is read.
    pub columns: Vec<(usize, Need)>,
    pub schema: Schema,
}

/// Filters, then projects.
#[derive(Debug, Clone)]
pub struct Calc {
    pub input: Box<Rel>,
    pub filter: Option<Expr>,
    pub projection: Vec<Expr>,
    pub schema: Schema,
}

/// Joins two inputs; its columns are `condition.output` of left and right columns.
#[derive(Debug, Clone)]
pub struct Join {
    pub left: Box<Rel>,
    pub right: Box<Rel>,
    pub condition: JoinCondition,
    pub form: JoinForm,
    pub schema: Schema,
}

/// Gives each row once per element of a collection; its columns are `spec.output` of the input's and the elements'.
#[derive(Debug, Clone)]
pub struct Unnest {
    pub input: Box<Rel>,
    pub spec: UnnestSpec,
    pub schema: Schema,
}

/// How long a join keeps rows; the columns are those of each input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinForm {
    Regular,
    Interval {
        left_time: usize,
        right_time: usize,
        lower_ms: i64,
        upper_ms: i64,
    },
    Temporal {
        left_time: usize,
        right_time: usize,
    },
    /// Rows of the same window.
    Window {
        left: WindowBounds,
        right: WindowBounds,
    },
}

/// A window's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowBounds {
    pub start: usize,
    pub end: usize,
    /// Whether it is aligned in the session's time zone.
    pub zoned: bool,
}

/// Numbers rows within partitions and keeps some; see [`RankSpec`]. The schema has the number as its last column, until
/// pruning drops it.
#[derive(Debug, Clone)]
pub struct Rank {
    pub input: Box<Rel>,
    pub spec: RankSpec,
    /// The window by which rows are partitioned.
    pub window: Option<WindowBounds>,
    /// Whether `-U` is emitted, outside of windows.
    pub update_before: bool,
    /// Of `ROW_NUMBER`, `ORDER BY` or `LIMIT`.
    pub at: Position,
    pub schema: Schema,
}

impl Rel {
    /// The output's columns.
    pub fn schema(&self) -> &Schema {
        match self {
            Rel::Scan(Scan { schema, .. })
            | Rel::Calc(Calc { schema, .. })
            | Rel::Rank(Rank { schema, .. })
            | Rel::Values { schema, .. }
            | Rel::WindowTable { schema, .. }
            | Rel::WindowAggregate { schema, .. }
            | Rel::MatchRecognize { schema, .. }
            | Rel::TemporalSort { schema, .. }
            | Rel::GroupAggregate { schema, .. }
            | Rel::Expand { schema, .. }
            | Rel::Replicate { schema, .. }
            | Rel::Union { schema, .. }
            | Rel::Join(Join { schema, .. })
            | Rel::Unnest(Unnest { schema, .. }) => schema,
        }
    }
    /// The output's columns, to be renamed.
    pub fn schema_mut(&mut self) -> &mut Schema {
        match self {
            Rel::Scan(Scan { schema, .. })
            | Rel::Calc(Calc { schema, .. })
            | Rel::Rank(Rank { schema, .. })
            | Rel::Values { schema, .. }
            | Rel::WindowTable { schema, .. }
            | Rel::WindowAggregate { schema, .. }
            | Rel::MatchRecognize { schema, .. }
            | Rel::TemporalSort { schema, .. }
            | Rel::GroupAggregate { schema, .. }
            | Rel::Expand { schema, .. }
            | Rel::Replicate { schema, .. }
            | Rel::Union { schema, .. }
            | Rel::Join(Join { schema, .. })
            | Rel::Unnest(Unnest { schema, .. }) => schema,
        }
    }
    /// The relations that it reads, in the order of its inputs.
    pub fn inputs(&self) -> Vec<&Rel> {
        match self {
            Rel::Scan(_) | Rel::Values { .. } => vec![],
            Rel::Calc(Calc { input, .. })
            | Rel::Rank(Rank { input, .. })
            | Rel::WindowTable { input, .. }
            | Rel::WindowAggregate { input, .. }
            | Rel::TemporalSort { input, .. }
            | Rel::MatchRecognize { input, .. }
            | Rel::GroupAggregate { input, .. }
            | Rel::Expand { input, .. }
            | Rel::Replicate { input, .. } => vec![input],
            Rel::Union { inputs, .. } => inputs.iter().collect(),
            Rel::Join(Join { left, right, .. }) => vec![left, right],
            Rel::Unnest(Unnest { input, .. }) => vec![input],
        }
    }
    /// [`Rel::inputs`], to be changed.
    pub fn inputs_mut(&mut self) -> Vec<&mut Rel> {
        match self {
            Rel::Scan(_) | Rel::Values { .. } => vec![],
            Rel::Calc(Calc { input, .. })
            | Rel::Rank(Rank { input, .. })
            | Rel::WindowTable { input, .. }
            | Rel::WindowAggregate { input, .. }
            | Rel::TemporalSort { input, .. }
            | Rel::MatchRecognize { input, .. }
            | Rel::GroupAggregate { input, .. }
            | Rel::Expand { input, .. }
            | Rel::Replicate { input, .. } => vec![input],
            Rel::Union { inputs, .. } => inputs.iter_mut().collect(),
            Rel::Join(Join { left, right, .. }) => vec![left, right],
            Rel::Unnest(Unnest { input, .. }) => vec![input],
        }
    }
    /// All columns as expressions.
    pub fn columns(&self) -> Vec<Expr> {
        columns(self.schema())
    }
    /// A projection over this, with the given column names.
    pub fn project(self, projection: Vec<Expr>, names: Vec<String>) -> Rel {
        let fields = names.into_iter().zip(&projection);
        let schema = Schema::new(fields.map(|(n, e)| crate::types::Field::new(n, e.data_type().clone())).collect());
        Rel::Calc(Calc { input: Box::new(self), filter: None, projection, schema })
    }
    /// The different rows of this.
    pub fn distinct(self) -> Rel {
        let schema = self.schema().clone();
        let keys = (0..schema.fields.len()).collect();
        let spec = GroupAggregateSpec {
            keys,
            aggregates: vec![],
            retracts: false,
            update_before: false,
            state_ttl_ms: 0,
            bundles: false,
        };
        Rel::GroupAggregate { input: Box::new(self), spec, schema }
    }
    /// A filter over this.
    pub fn filter(self, filter: Expr) -> Rel {
        let schema = self.schema().clone();
        Rel::Calc(Calc { projection: columns(&schema), input: Box::new(self), filter: Some(filter), schema })
    }
}

/// A schema's columns as expressions.
pub fn columns(schema: &Schema) -> Vec<Expr> {
    schema.fields.iter().enumerate().map(|(i, f)| Expr::column(i, f.data_type.clone())).collect()
}

/// Calls `visit` with every column position in the expression.
pub fn each_column(expr: &Expr, visit: &mut impl FnMut(usize)) {
    if let Expr::Column { index, .. } = expr {
        visit(*index);
    }
    for child in expr.children() {
        each_column(child, visit);
    }
}

/// Whether any column of the expression satisfies the test.
pub fn any_column(expr: &Expr, test: impl Fn(usize) -> bool) -> bool {
    let mut found = false;
    each_column(expr, &mut |i| found |= test(i));
    found
}

/// Replaces every column by what `by` answers for it.
pub fn substitute(expr: &Expr, by: &mut impl FnMut(usize, &DataType) -> Expr) -> Expr {
    if let Expr::Column { index, data_type } = expr {
        return by(*index, data_type);
    }
    let mut copy = expr.clone();
    for child in copy.children_mut() {
        *child = substitute(child, by);
    }
    copy
}

/// A column, a member of one, or a constant: costs nothing to compute twice.
pub fn is_trivial(expr: &Expr) -> bool {
    match expr {
        Expr::Column { .. } | Expr::Literal { .. } => true,
        Expr::Field { row, .. } => is_trivial(row),
        _ => false,
    }
}

/// The conjuncts of a predicate, in order.
pub fn conjuncts(predicate: Expr) -> Vec<Expr> {
    match predicate {
        Expr::Call { function, args, .. } if function == "AND" => args.into_iter().flat_map(conjuncts).collect(),
        other => vec![other],
    }
}

/// The conjunction of predicates, in order, as a balanced tree; `None` for none.
pub fn conjunction(predicates: impl IntoIterator<Item = Expr>) -> Option<Expr> {
    let mut level: Vec<Expr> = predicates.into_iter().collect();
    while level.len() > 1 {
        let mut next = Vec::with_capacity(level.len().div_ceil(2));
        let mut items = level.into_iter();
        while let Some(left) = items.next() {
            next.push(match items.next() {
                Some(right) => and(left, right),
                None => left,
            });
        }
        level = next;
    }
    level.pop()
}

fn and(left: Expr, right: Expr) -> Expr {
    let nullable = left.data_type().nullable || right.data_type().nullable;
    let data_type = DataType { kind: TypeKind::Boolean, nullable };
    Expr::Call { function: "AND".to_owned(), args: vec![left, right], data_type }
}
