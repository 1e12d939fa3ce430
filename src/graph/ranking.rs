//! Top-N, deduplication and sorting as data.

use super::SortKey;

/// Which of rows with equal sort keys comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Ties {
    /// The one that came first.
    Oldest,
    /// The one that came last: deduplication that keeps the last row.
    Newest,
}

/// Keeps the rows with the numbers `first` to `last` of each partition, numbered in the order of `order_by`.
/// Output columns: the input's, then the number (`BIGINT`) if `number`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TopNSpec {
    pub partition_by: Vec<usize>,
    pub order_by: Vec<SortKey>,
    pub first: u64,
    pub last: u64,
    pub number: bool,
    pub ties: Ties,
    /// Whether input rows may be taken back: then all rows are kept, not only those that are in.
    pub retracts: bool,
    /// Whether `-U` is emitted before `+U`.
    pub update_before: bool,
}

impl TopNSpec {
    /// Whether a row that is in stays in, and so rows are only added.
    pub fn is_insert_only(&self) -> bool {
        self.order_by.is_empty() && self.ties == Ties::Oldest && !self.retracts
    }
}

/// Emits the row with the earliest event time of each key, once the watermark has passed it.
/// Output columns: the input's, then the number 1 (`BIGINT`) if `number`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct KeepFirstSpec {
    pub keys: Vec<usize>,
    pub rowtime: usize,
    pub number: bool,
}

/// Emits rows in the order of their event time, and of further columns, as the watermark passes them.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TemporalSortSpec {
    /// The first is the rowtime, ascending.
    pub order_by: Vec<SortKey>,
}
