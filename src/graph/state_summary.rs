//! What state each kind of operator keeps, and what bounds it: for `EXPLAIN`, the plan endpoint and warnings.

use super::{GroupAggregateSpec, JobGraph, OperatorKind};

/// What bounds an operator's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateBound {
    /// Freed as event time goes on.
    EventTime,
    /// Freed when it was not written to for so long, ms.
    TimeToLive(u64),
    /// As large as the number of different keys makes it, for ever.
    Unbounded,
    /// One entry.
    Constant,
}

/// What an operator keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSummary {
    /// For a person to read: `accumulators by group`.
    pub keeps: &'static str,
    pub bound: StateBound,
}

impl StateBound {
    /// Flink's words: whether it is freed, and when.
    pub fn describe(self) -> String {
        match self {
            StateBound::EventTime => "freed when the watermark passes".to_owned(),
            StateBound::TimeToLive(ms) => format!("freed {ms} ms after it was last written to"),
            StateBound::Unbounded => "kept for ever".to_owned(),
            StateBound::Constant => "of constant size".to_owned(),
        }
    }
}

impl OperatorKind {
    /// The state that it keeps by key; none for operators without.
    pub fn state(&self) -> Option<StateSummary> {
        match self {
            OperatorKind::WindowAggregate(_) => {
                Some(StateSummary { keeps: "accumulators by window and key", bound: StateBound::EventTime })
            }
            OperatorKind::GroupAggregate(spec) => Some(group_aggregate(spec)),
            OperatorKind::Join(spec) => {
                let bound = match (spec.left_ttl_ms, spec.right_ttl_ms) {
                    (0, _) | (_, 0) => StateBound::Unbounded,
                    (left, right) => StateBound::TimeToLive(left.max(right)),
                };
                Some(StateSummary { keeps: "the rows of both inputs by key", bound })
            }
            OperatorKind::IntervalJoin(_) => {
                Some(StateSummary { keeps: "rows of both inputs by time and key", bound: StateBound::EventTime })
            }
            OperatorKind::TemporalJoin(_) => Some(StateSummary {
                keeps: "waiting rows, and versions of the right input by key",
                bound: StateBound::EventTime,
            }),
            OperatorKind::MatchRecognize(pattern) => Some(StateSummary {
                keeps: "rows that wait for the watermark, and partial matches with their rows",
                bound: match pattern.within_ms {
                    Some(_) => StateBound::EventTime,
                    None => StateBound::Unbounded,
                },
            }),
            OperatorKind::TopN(top) => Some(StateSummary {
                keeps: if top.retracts { "all rows by partition" } else { "the best rows of each partition" },
                bound: if top.partition_by.is_empty() && !top.retracts {
                    StateBound::Constant
                } else {
                    StateBound::Unbounded
                },
            }),
            OperatorKind::KeepFirst(_) => {
                Some(StateSummary { keeps: "the keys that have their row", bound: StateBound::Unbounded })
            }
            OperatorKind::TemporalSort(_) => {
                Some(StateSummary { keeps: "rows that wait for the watermark", bound: StateBound::EventTime })
            }
            _ => None,
        }
    }
}

fn group_aggregate(spec: &GroupAggregateSpec) -> StateSummary {
    let distinct = spec.aggregates.iter().any(|a| a.distinct);
    let keeps = match (spec.aggregates.is_empty(), distinct) {
        (true, _) => "the number of rows by group",
        (false, false) => "accumulators by group",
        (false, true) => "accumulators by group, and each group's distinct values",
    };
    let bound = match spec.state_ttl_ms {
        0 if spec.keys.is_empty() && !distinct => StateBound::Constant,
        0 => StateBound::Unbounded,
        ms => StateBound::TimeToLive(ms),
    };
    StateSummary { keeps, bound }
}

impl JobGraph {
    /// A warning for each operator whose state grows for ever.
    pub fn state_warnings(&self) -> Vec<String> {
        let operators = self.vertices.iter().flat_map(|v| &v.operators);
        operators
            .filter_map(|o| {
                let state = o.kind.state().filter(|s| s.bound == StateBound::Unbounded)?;
                Some(format!(
                    "the state of {} ({}) grows for ever: SET 'table.exec.state.ttl' = '1 d' frees what was not written \
                     to for so long, or aggregate in windows",
                    o.name, state.keeps
                ))
            })
            .collect()
    }
}
