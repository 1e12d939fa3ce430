//! Turns an expression tree into kernels and runs them over batches.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::record_batch::RecordBatch;

use super::Expr;
use crate::error::{Error, Result};

/// Session settings that evaluation depends on.
#[derive(Debug, Clone)]
pub struct EvalContext {
    /// `table.local-time-zone`.
    pub time_zone: chrono_tz::Tz,
}

/// A compiled expression.
pub struct Evaluator {}

impl Evaluator {
    /// Compiles a tree; constant sub-trees are computed now.
    pub fn new(_expr: &Expr, _context: &EvalContext) -> Result<Self> {
        Err(Error::internal("not built"))
    }
    /// One value per row, of the expression's type.
    pub fn evaluate(&self, _batch: &RecordBatch) -> Result<ArrayRef> {
        Err(Error::internal("not built"))
    }
    /// For a boolean expression: true where it is true (null counts as false; the result has no nulls).
    pub fn evaluate_predicate(&self, _batch: &RecordBatch) -> Result<BooleanArray> {
        Err(Error::internal("not built"))
    }
}
