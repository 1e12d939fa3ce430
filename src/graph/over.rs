//! `OVER` aggregates as data.

use super::AggregateCall;
use crate::types::{DataType, TypeKind};

/// Appends to each row what functions say of the rows before it, in the order of time.
/// Output columns: the input's, then one for each call.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OverSpec {
    pub keys: Vec<usize>,
    /// The time attribute that orders rows.
    pub time: usize,
    /// Whether that is processing time: rows are answered as they come.
    pub processing_time: bool,
    pub frame: OverFrame,
    pub calls: Vec<OverCall>,
}

/// The rows up to the current one that functions see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum OverFrame {
    /// `ROWS BETWEEN n PRECEDING AND CURRENT ROW`; `None` = unbounded.
    Rows { preceding: Option<u64> },
    /// `RANGE BETWEEN interval PRECEDING AND CURRENT ROW`, rows of the same time included; `None` = unbounded.
    Range { preceding_ms: Option<i64> },
}

/// A function over a frame.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum OverCall {
    Aggregate(AggregateCall),
    /// `LAG(column, offset, default)`: the value `offset` rows before the last one of the frame.
    Lag {
        column: usize,
        offset: u64,
        /// A column whose value stands in where there is no such row.
        default: Option<usize>,
        data_type: DataType,
    },
    /// `ROW_NUMBER()`.
    RowNumber,
}

impl OverCall {
    /// The type of its results.
    pub fn data_type(&self) -> DataType {
        match self {
            OverCall::Aggregate(call) => call.data_type.clone(),
            OverCall::Lag { data_type, .. } => data_type.clone(),
            OverCall::RowNumber => DataType::not_null(TypeKind::BigInt),
        }
    }
}

impl OverSpec {
    /// All references to input columns.
    pub fn columns_mut(&mut self) -> Vec<&mut usize> {
        let mut all: Vec<&mut usize> = self.keys.iter_mut().collect();
        all.push(&mut self.time);
        for call in &mut self.calls {
            match call {
                OverCall::Aggregate(call) => all.extend(call.argument.iter_mut().chain(&mut call.filter)),
                OverCall::Lag { column, default, .. } => {
                    all.push(column);
                    all.extend(default.iter_mut());
                }
                OverCall::RowNumber => {}
            }
        }
        all
    }
}
