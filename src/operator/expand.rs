//! Several rows for each row, one per projection: grouping sets.
//!
//! Rows come out projection by projection: those of one row go to different groups, so their order does not matter.

use arrow::record_batch::RecordBatch;

use super::calc::CalcOperator;
use super::{Collector, Operator};
use crate::error::Result;
use crate::expr::EvalContext;
use crate::graph::{CalcSpec, ExpandSpec};
use crate::types::Schema;

/// See the module text.
pub struct ExpandOperator {
    projections: Vec<CalcOperator>,
}

impl ExpandOperator {
    /// Compiles the projections; `output` are the columns emitted.
    pub fn new(spec: &ExpandSpec, output: &Schema, context: &EvalContext) -> Result<Self> {
        let one = |projection: &Vec<_>| {
            let calc = CalcSpec { filter: None, projection: Some(projection.clone()) };
            CalcOperator::new(&calc, output, context)
        };
        Ok(ExpandOperator { projections: spec.projections.iter().map(one).collect::<Result<_>>()? })
    }
}

impl Operator for ExpandOperator {
    fn process(&mut self, input: usize, batch: RecordBatch, out: &mut dyn Collector) -> Result<()> {
        self.projections.iter_mut().try_for_each(|projection| projection.process(input, batch.clone(), out))
    }
}
