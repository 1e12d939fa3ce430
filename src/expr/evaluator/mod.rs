//! Turns an expression tree into kernels and runs them over batches.
//!
//! Constant sub-trees are computed when the tree is compiled; one that fails (`1 / 0`) is left to run time, where only
//! rows that reach it fail. Branches (`CASE`, `IF`, `COALESCE`, `AND`, `OR`) that could fail for rows that do not take
//! them, or that may be costly, are evaluated over just the rows that do; cheap total ones are evaluated whole.

mod literal;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::boolean::{and_kleene, or_kleene};
use arrow::compute::kernels::merge::merge;
use arrow::compute::{FilterBuilder, prep_null_mask_filter};
use arrow::datatypes::DataType as ArrowType;
use arrow::record_batch::RecordBatch;

use super::cast::{self, ArrayKernel};
use super::function::{self, Call, Kernel, Value};
use super::{Expr, vector};
use crate::error::{Error, Result};
use crate::types::TypeKind;

pub use literal::scalar_array;

/// Session settings that evaluation depends on.
#[derive(Debug, Clone)]
pub struct EvalContext {
    /// `table.local-time-zone`.
    pub time_zone: chrono_tz::Tz,
}

/// A compiled expression.
pub struct Evaluator {
    root: Node,
    arrow_type: ArrowType,
}

/// The columns of a batch, or of the rows of it that take a branch.
struct Input {
    columns: Vec<ArrayRef>,
    rows: usize,
}

struct Node {
    step: Step,
    /// Columns it reads: only those are filtered for a branch.
    columns: Vec<usize>,
    /// Cheap, and never fails: may be evaluated for rows that do not need it.
    total: bool,
}

enum Step {
    Constant(ArrayRef),
    Column(usize),
    Field(Box<Node>, usize),
    Call(Vec<Node>, Kernel),
    Cast(Box<Node>, ArrayKernel),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Case(Vec<(Node, Node)>, Box<Node>),
    Coalesce(Vec<Node>),
}

impl Evaluator {
    /// Compiles a tree; constant sub-trees are computed now.
    pub fn new(expr: &Expr, context: &EvalContext) -> Result<Self> {
        Ok(Evaluator { root: compile(expr, context)?, arrow_type: expr.data_type().to_arrow() })
    }
    /// One value per row, of the expression's type.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let array = self.root.evaluate(&Input::of(batch))?.into_array(batch.num_rows())?;
        conform(array, &self.arrow_type)
    }
    /// For a boolean expression: true where it is true (null counts as false; the result has no nulls).
    pub fn evaluate_predicate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        predicate(&self.root.evaluate(&Input::of(batch))?, batch.num_rows())
    }
    /// The value, if it is the same for every row of every batch.
    pub fn constant(&self) -> Option<&ArrayRef> {
        match &self.root.step {
            Step::Constant(array) => Some(array),
            _ => None,
        }
    }
}

/// The value (an array of length 1) of an expression without columns that can be computed now.
pub(crate) fn constant(expr: &Expr, context: &EvalContext) -> Option<ArrayRef> {
    match compile(expr, context).ok()?.step {
        Step::Constant(array) => Some(array),
        _ => None,
    }
}

/// Member names and nested nullability are not part of a value; the layout is.
fn conform(array: ArrayRef, arrow_type: &ArrowType) -> Result<ArrayRef> {
    if array.data_type() == arrow_type {
        return Ok(array);
    }
    if array.data_type() == &ArrowType::Null {
        return Ok(new_null_array(arrow_type, array.len()));
    }
    cast::relabel(&array, arrow_type)
}

fn predicate(value: &Value, rows: usize) -> Result<BooleanArray> {
    if value.data_type() == &ArrowType::Null {
        return Ok(BooleanArray::new(BooleanBuffer::new_unset(rows), None));
    }
    let array = vector::boolean(value)?;
    if value.is_scalar() {
        let truth = array.is_valid(0) && array.value(0);
        let bits = if truth { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
        return Ok(BooleanArray::new(bits, None));
    }
    Ok(if array.null_count() == 0 {
        BooleanArray::new(array.values().clone(), None)
    } else {
        prep_null_mask_filter(array)
    })
}

impl Input {
    fn of(batch: &RecordBatch) -> Self {
        Input { columns: batch.columns().to_vec(), rows: batch.num_rows() }
    }
    /// The rows where `mask` is set; only the columns in `needed` are filtered, nobody reads the others.
    fn filter(&self, mask: &BooleanArray, needed: &[usize]) -> Result<Input> {
        let filter = FilterBuilder::new(mask);
        let filter = if needed.len() > 1 { filter.optimize() } else { filter }.build();
        let mut columns = self.columns.clone();
        for &index in needed {
            if let Some(column) = columns.get_mut(index) {
                *column = filter.filter(column)?;
            }
        }
        Ok(Input { columns, rows: filter.count() })
    }
}

impl Node {
    fn new(step: Step, total: bool) -> Self {
        let mut columns = BTreeSet::new();
        let mut add = |node: &Node| columns.extend(node.columns.iter().copied());
        match &step {
            Step::Constant(_) => {}
            Step::Column(index) => {
                columns.insert(*index);
            }
            Step::Field(node, _) | Step::Cast(node, _) => add(node),
            Step::Call(nodes, _) | Step::Coalesce(nodes) => nodes.iter().for_each(add),
            Step::And(left, right) | Step::Or(left, right) => {
                add(left);
                add(right);
            }
            Step::Case(branches, otherwise) => {
                branches.iter().flat_map(|(c, v)| [c, v]).for_each(&mut add);
                add(otherwise);
            }
        }
        Node { step, columns: columns.into_iter().collect(), total }
    }

    fn constant(array: ArrayRef) -> Self {
        Node::new(Step::Constant(array), true)
    }

    fn is_constant(&self) -> bool {
        matches!(self.step, Step::Constant(_))
    }

    fn evaluate(&self, input: &Input) -> Result<Value> {
        match &self.step {
            Step::Constant(array) => Ok(Value::Scalar(array.clone())),
            Step::Column(index) => input
                .columns
                .get(*index)
                .map(|column| Value::Array(column.clone()))
                .ok_or_else(|| Error::internal(format!("a batch has no column {index}"))),
            Step::Field(row, index) => field(&row.evaluate(input)?, *index),
            Step::Call(args, kernel) => {
                let args = args.iter().map(|a| a.evaluate(input)).collect::<Result<Vec<_>>>()?;
                kernel(&args, input.rows)
            }
            Step::Cast(node, kernel) => Ok(match node.evaluate(input)? {
                Value::Array(array) => Value::Array(kernel(&array)?),
                Value::Scalar(array) => Value::Scalar(kernel(&array)?),
            }),
            Step::And(left, right) => logic(left, right, input, false),
            Step::Or(left, right) => logic(left, right, input, true),
            Step::Case(branches, otherwise) => case(branches, otherwise, input),
            Step::Coalesce(nodes) => coalesce(nodes, input),
        }
    }
}

/// Member `index`, null where the row is null.
fn field(row: &Value, index: usize) -> Result<Value> {
    let array = row.array();
    let fields =
        array.as_struct_opt().ok_or_else(|| Error::internal(format!("expected a row, got {}", array.data_type())))?;
    let child = fields.columns().get(index).ok_or_else(|| Error::internal(format!("a row has no member {index}")))?;
    Ok(Value::of(&[row], vector::with_nulls(child, fields.nulls())?))
}

/// `AND` (`absorbing` false) and `OR` (true): a row whose left side is `absorbing` does not need the right one.
fn logic(left: &Node, right: &Node, input: &Input, absorbing: bool) -> Result<Value> {
    let combine = |a: &Value, b: &Value| -> Result<Value> {
        let whole = |v: &Value| v.clone().into_array(input.rows);
        let (x, y) = (whole(a)?, whole(b)?);
        let (x, y) = (x.as_boolean(), y.as_boolean());
        let array = if absorbing { or_kleene(x, y)? } else { and_kleene(x, y)? };
        Ok(Value::Array(Arc::new(array)))
    };
    let first = left.evaluate(input)?;
    let known = vector::boolean(&first)?;
    if first.is_scalar() {
        return match known.is_valid(0).then(|| known.value(0)) {
            Some(value) if value == absorbing => Ok(first),
            Some(_) => right.evaluate(input),
            None => combine(&first, &right.evaluate(input)?),
        };
    }
    if right.total {
        return combine(&first, &right.evaluate(input)?);
    }
    let bits = if absorbing { !known.values() } else { known.values().clone() };
    let open = match known.nulls() {
        Some(nulls) => &bits | &!nulls.inner(),
        None => bits,
    };
    match open.count_set_bits() {
        0 => Ok(first),
        n if n == input.rows => combine(&first, &right.evaluate(input)?),
        _ => {
            let mask = BooleanArray::new(open, None);
            let some = right.evaluate(&input.filter(&mask, &right.columns)?)?;
            let closed = Value::Scalar(Arc::new(BooleanArray::from(vec![absorbing])));
            combine(&first, &Value::Array(merge(&mask, &some, &closed)?))
        }
    }
}

fn case(branches: &[(Node, Node)], otherwise: &Node, input: &Input) -> Result<Value> {
    let Some(((condition, value), rest)) = branches.split_first() else { return otherwise.evaluate(input) };
    let mask = predicate(&condition.evaluate(input)?, input.rows)?;
    match mask.true_count() {
        0 => case(rest, otherwise, input),
        n if n == input.rows => value.evaluate(input),
        _ => {
            let rest_total = otherwise.total && rest.iter().all(|(c, v)| c.total && v.total);
            if value.total && rest_total {
                let (truthy, falsy) = (value.evaluate(input)?, case(rest, otherwise, input)?);
                return Ok(Value::Array(vector::select(&mask, &truthy, &falsy)?));
            }
            let truthy = value.evaluate(&input.filter(&mask, &value.columns)?)?;
            let mut needed: BTreeSet<usize> = otherwise.columns.iter().copied().collect();
            needed.extend(rest.iter().flat_map(|(c, v)| c.columns.iter().chain(&v.columns)).copied());
            let needed: Vec<_> = needed.into_iter().collect();
            let not = BooleanArray::new(!mask.values(), None);
            let falsy = case(rest, otherwise, &input.filter(&not, &needed)?)?;
            Ok(Value::Array(merge(&mask, &truthy, &falsy)?))
        }
    }
}

fn coalesce(nodes: &[Node], input: &Input) -> Result<Value> {
    let Some((first, rest)) = nodes.split_first() else { return Err(Error::internal("COALESCE of nothing")) };
    let mut result = first.evaluate(input)?;
    for node in rest {
        let nulls = result.array().logical_nulls();
        let Some(nulls) = nulls.filter(|n| n.null_count() > 0) else { return Ok(result) };
        if nulls.null_count() == nulls.len() {
            result = node.evaluate(input)?;
            continue;
        }
        let there = BooleanArray::new(nulls.inner().clone(), None);
        result = Value::Array(if node.total {
            vector::select(&there, &result, &node.evaluate(input)?)?
        } else {
            let missing = BooleanArray::new(!nulls.inner(), None);
            let some = node.evaluate(&input.filter(&missing, &node.columns)?)?;
            let kept = arrow::compute::filter(result.array(), &there)?;
            merge(&there, &Value::Array(kept), &some)?
        });
    }
    Ok(result)
}

fn compile(expr: &Expr, context: &EvalContext) -> Result<Node> {
    let node = match expr {
        Expr::Column { index, .. } => Node::new(Step::Column(*index), true),
        Expr::Literal { value, data_type } => Node::constant(scalar_array(value, data_type)?),
        Expr::Field { row, index, .. } => {
            let row = compile(row, context)?;
            let total = row.total;
            Node::new(Step::Field(Box::new(row), *index), total)
        }
        Expr::Case { branches, otherwise, data_type } => {
            let arrow_type = data_type.to_arrow();
            let value = |e: &Expr| Ok::<_, Error>(typed_null(compile(e, context)?, &arrow_type));
            let branches =
                branches.iter().map(|(c, v)| Ok((compile(c, context)?, value(v)?))).collect::<Result<Vec<_>>>()?;
            case_node(branches, value(otherwise)?)
        }
        Expr::Cast { input, on_failure_null, data_type } => {
            let kernel = cast::kernel(input.data_type(), data_type, *on_failure_null, context)?;
            let node = compile(input, context)?;
            let Some(kernel) = kernel else { return Ok(node) };
            let total = node.total && (*on_failure_null || cast::is_total(&input.data_type().kind, &data_type.kind));
            Node::new(Step::Cast(Box::new(node), kernel), total)
        }
        Expr::Call { function, args, data_type } => return compile_call(function, args, expr, data_type, context),
    };
    Ok(fold(node))
}

fn case_node(branches: Vec<(Node, Node)>, otherwise: Node) -> Node {
    let total = otherwise.total && branches.iter().all(|(c, v)| c.total && v.total);
    Node::new(Step::Case(branches, Box::new(otherwise)), total)
}

/// A bare `NULL` as a constant of the type that its place wants.
fn typed_null(node: Node, arrow_type: &ArrowType) -> Node {
    match &node.step {
        Step::Constant(array) if array.data_type() == &ArrowType::Null => Node::constant(new_null_array(arrow_type, 1)),
        _ => node,
    }
}

fn compile_call(
    name: &str,
    args: &[Expr],
    expr: &Expr,
    data_type: &crate::types::DataType,
    context: &EvalContext,
) -> Result<Node> {
    let function = function::lookup(name)
        .ok_or_else(|| Error::internal(format!("the plan names a function {name} that does not exist")))?;
    let mut nodes = args.iter().map(|a| compile(a, context)).collect::<Result<Vec<_>>>()?;
    let arrow_type = data_type.to_arrow();
    let node = match (function.name, nodes.len()) {
        ("AND", 2) | ("OR", 2) => {
            let (right, left) = (nodes.pop(), nodes.pop());
            let (Some(left), Some(right)) = (left, right) else { return Err(Error::internal("AND without arguments")) };
            let [left, right] = [left, right].map(|n| Box::new(typed_null(n, &ArrowType::Boolean)));
            let total = left.total && right.total;
            Node::new(if function.name == "AND" { Step::And(left, right) } else { Step::Or(left, right) }, total)
        }
        ("IF", 3) => {
            let (otherwise, value, condition) = (nodes.pop(), nodes.pop(), nodes.pop());
            let (Some(c), Some(v), Some(o)) = (condition, value, otherwise) else {
                return Err(Error::internal("IF without arguments"));
            };
            case_node(vec![(c, typed_null(v, &arrow_type))], typed_null(o, &arrow_type))
        }
        ("COALESCE" | "IFNULL", 1..) => {
            let nodes: Vec<_> = nodes.into_iter().map(|n| typed_null(n, &arrow_type)).collect();
            let total = nodes.iter().all(|n| n.total);
            Node::new(Step::Coalesce(nodes), total)
        }
        _ => {
            let kernel = (function.prepare)(&Call { args, data_type, context })?;
            let total = function.deterministic && nodes.iter().all(|n| n.total) && is_total(function.name, expr);
            let node = Node::new(Step::Call(nodes, kernel), total);
            return Ok(if function.deterministic { fold(node) } else { node });
        }
    };
    Ok(fold(node))
}

/// Whether an operator never fails on these arguments and is cheap. Anything else is taken to be costly.
fn is_total(name: &str, expr: &Expr) -> bool {
    match name {
        "/" | "%" | "MOD" => expr.data_type().kind == TypeKind::Double || expr.data_type().kind == TypeKind::Float,
        "+"
        | "-"
        | "*"
        | "="
        | "<>"
        | "<"
        | "<="
        | ">"
        | ">="
        | "NOT"
        | "IS_NULL"
        | "IS_NOT_NULL"
        | "IS_TRUE"
        | "IS_FALSE"
        | "IS_UNKNOWN"
        | "IS_NOT_TRUE"
        | "IS_NOT_FALSE"
        | "IS_NOT_UNKNOWN"
        | "IS_DISTINCT_FROM"
        | "IS_NOT_DISTINCT_FROM"
        | "NEGATE"
        | "BETWEEN"
        | "BETWEEN_SYMMETRIC"
        | "IN"
        | "NULLIF"
        | "GREATEST"
        | "LEAST" => true,
        _ => false,
    }
}

/// Computes a node of constants now. A failure stays in the tree: perhaps no row reaches it.
fn fold(node: Node) -> Node {
    let constant = match &node.step {
        Step::Constant(_) | Step::Column(_) => false,
        Step::Field(child, _) | Step::Cast(child, _) => child.is_constant(),
        Step::Call(nodes, _) | Step::Coalesce(nodes) => nodes.iter().all(Node::is_constant),
        Step::And(left, right) | Step::Or(left, right) => left.is_constant() && right.is_constant(),
        Step::Case(branches, otherwise) => {
            otherwise.is_constant() && branches.iter().all(|(c, v)| c.is_constant() && v.is_constant())
        }
    };
    if !constant {
        return node;
    }
    match node.evaluate(&Input { columns: Vec::new(), rows: 1 }).and_then(|v| v.into_array(1)) {
        Ok(array) => Node::constant(array),
        Err(_) => node,
    }
}

#[cfg(test)]
mod tests;
