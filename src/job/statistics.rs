//! A job's checkpoint statistics, summarised. Pure but for the reading.

use super::service::JobService;
use crate::error::Result;
use crate::metadata::{CheckpointStatistics, Job, MAX_STATISTICS_PER_JOB, Snapshot, SnapshotKind, SnapshotStatus};

/// The distribution of a figure; percentiles by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Distribution {
    pub min: u64,
    pub avg: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

impl Distribution {
    /// Of some values; none of none.
    pub fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let (min, max) = (*values.first()?, *values.last()?);
        let rank = |percent: usize| values.get((values.len() * percent).div_ceil(100) - 1).copied().unwrap_or(max);
        let sum: u128 = values.iter().map(|v| u128::from(*v)).sum();
        let avg = u64::try_from(sum / values.len() as u128).unwrap_or(u64::MAX);
        Some(Distribution { min, avg, p50: rank(50), p90: rank(90), p99: rank(99), max })
    }
}

/// What is known of a job's checkpoints.
pub struct Statistics {
    pub in_progress: u64,
    /// Ended ones, newest first.
    pub ended: Vec<CheckpointStatistics>,
}

impl Statistics {
    /// The distribution of a figure over completed checkpoints (no savepoints: they are always full).
    pub fn distribution(&self, figure: impl Fn(&CheckpointStatistics) -> u64) -> Option<Distribution> {
        let completed = self
            .ended
            .iter()
            .filter(|s| s.snapshot.kind == SnapshotKind::Checkpoint && s.snapshot.status == SnapshotStatus::Completed);
        Distribution::of(completed.map(figure).collect())
    }
}

/// A checkpoint or savepoint with its figures, as far as they are known.
pub struct Details {
    pub snapshot: Snapshot,
    /// Whether it can still be restored.
    pub is_retained: bool,
    /// Once it has ended.
    pub statistics: Option<CheckpointStatistics>,
}

impl JobService {
    /// The statistics of a job's checkpoints and savepoints.
    pub async fn statistics(&self, job: &Job) -> Result<Statistics> {
        let metadata = &self.context().metadata;
        Ok(Statistics {
            in_progress: metadata.count_in_progress(job.id).await?,
            ended: metadata.list_statistics(job.id, MAX_STATISTICS_PER_JOB).await?,
        })
    }

    /// A job's checkpoint by its number, also if it is retired; `checkpoint_not_found` if nothing is known of it.
    pub async fn checkpoint_details(&self, job: &Job, number: u64) -> Result<Details> {
        let statistics = self.context().metadata.statistics(job.id, number).await?;
        let (snapshot, is_retained) = match (self.checkpoint(job.id, number).await, &statistics) {
            (Ok(snapshot), _) => {
                let is_retained = snapshot.status == SnapshotStatus::Completed;
                (snapshot, is_retained)
            }
            (Err(_), Some(known)) => (known.snapshot.clone(), false),
            (Err(error), None) => return Err(error),
        };
        // While its objects are deleted its row says so; what it was says more.
        let snapshot = match &statistics {
            Some(known) if snapshot.status == SnapshotStatus::Deleting => known.snapshot.clone(),
            _ => snapshot,
        };
        Ok(Details { snapshot, is_retained, statistics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(Distribution::of(vec![]), None);
        let one = Distribution { min: 7, avg: 7, p50: 7, p90: 7, p99: 7, max: 7 };
        assert_eq!(Distribution::of(vec![7]), Some(one));
        let hundred = Distribution { min: 1, avg: 50, p50: 50, p90: 90, p99: 99, max: 100 };
        assert_eq!(Distribution::of((1..=100).rev().collect()), Some(hundred));
        let two = Distribution { min: 1, avg: (u64::MAX / 2) + 1, p50: 1, p90: u64::MAX, p99: u64::MAX, max: u64::MAX };
        assert_eq!(Distribution::of(vec![u64::MAX, 1]), Some(two));
    }
}
