//! Statistics outlive snapshots, and failed checkpoints are counted.

use super::*;
use crate::metadata::CheckpointFailureReason as Reason;
use crate::metadata::SnapshotKind::{Checkpoint, Savepoint};

on_both!(
    statistics_read_back_and_outlive_their_snapshot,
    failed_checkpoints_in_a_row_are_counted,
    only_the_newest_statistics_are_kept,
);

fn ended(job: JobId, checkpoint_id: u64, kind: SnapshotKind, reason: Option<Reason>) -> CheckpointStatistics {
    let lease = Lease { job_id: job, attempt: 1, owner: "x".into() };
    let status = if reason.is_none() { SnapshotStatus::Completed } else { SnapshotStatus::Failed };
    let failure = reason.map(|r| format!("because of \0 {r}"));
    let snapshot = Snapshot {
        status,
        failure: failure.clone(),
        state_bytes: 100,
        uploaded_bytes: 40,
        ended_ms: Some(9),
        ..snapshot(&lease, kind, checkpoint_id)
    };
    let subtask = |n| SubtaskStatistics {
        vertex: 1,
        subtask: n,
        start_delay_ms: 2 + n,
        alignment_ms: 9 - n,
        sync_ms: 4,
        upload_ms: 5,
        state_bytes: 60,
        uploaded_bytes: 20,
    };
    CheckpointStatistics::new(snapshot, 120, reason, vec![subtask(0), subtask(1)])
}

async fn statistics_read_back_and_outlive_their_snapshot(metadata: &Metadata) {
    let job = insert(metadata, &job("a", 1)).await;
    let completed = ended(job, 1, Checkpoint, None);
    assert_eq!((completed.longest.start_delay_ms, completed.longest.alignment_ms), (3, 9));
    // Repeated after a lost answer.
    for _ in 0..2 {
        metadata.insert_statistics(&completed).await.unwrap();
    }
    let mut failed = ended(job, 2, Savepoint, Some(Reason::AsyncException));
    metadata.insert_statistics(&failed).await.unwrap();
    // Postgres cannot store a NUL.
    failed.snapshot.failure = failed.snapshot.failure.map(|f| f.replace('\0', "\u{fffd}"));
    assert_eq!(metadata.statistics(job, 1).await.unwrap(), Some(completed.clone()));
    assert_eq!(metadata.statistics(job, 2).await.unwrap(), Some(failed.clone()));
    assert_eq!(metadata.statistics(job, 3).await.unwrap(), None);
    assert_eq!(metadata.statistics(job, u64::MAX).await.unwrap(), None);
    let brief = |s: CheckpointStatistics| CheckpointStatistics { subtasks: Vec::new(), ..s };
    assert_eq!(metadata.list_statistics(job, 10).await.unwrap(), [brief(failed), brief(completed)]);
    assert_eq!(metadata.list_statistics(JobId::generate(), 10).await.unwrap(), []);
}

async fn failed_checkpoints_in_a_row_are_counted(metadata: &Metadata) {
    let job = insert(metadata, &job("a", 1)).await;
    let mut expected = Vec::new();
    for (id, (kind, reason, count)) in (1..).zip([
        (Checkpoint, Some(Reason::Expired), 1),
        (Checkpoint, Some(Reason::FinalizeFailure), 2),
        // It ended with its job: checkpointing is not to blame.
        (Checkpoint, Some(Reason::TaskFailure), 2),
        (Savepoint, Some(Reason::Expired), 2),
        (Savepoint, None, 2),
        (Checkpoint, None, 0),
        (Checkpoint, Some(Reason::AsyncException), 1),
    ]) {
        expected.push(id);
        metadata.insert_statistics(&ended(job, id, kind, reason)).await.unwrap();
        assert_eq!(metadata.job(job).await.unwrap().failed_checkpoints, count, "after checkpoint {id}");
    }
    // A completion that is stored after a later failure changes nothing about it.
    let other = insert(metadata, &super::job("b", 2)).await;
    metadata.insert_statistics(&ended(other, 2, Checkpoint, Some(Reason::Expired))).await.unwrap();
    metadata.insert_statistics(&ended(other, 1, Checkpoint, None)).await.unwrap();
    assert_eq!(metadata.job(other).await.unwrap().failed_checkpoints, 1);
}

async fn only_the_newest_statistics_are_kept(metadata: &Metadata) {
    let job = insert(metadata, &job("a", 1)).await;
    for id in 1..=5 {
        metadata.insert_statistics_of(&ended(job, id, Checkpoint, None), 3).await.unwrap();
    }
    let kept = metadata.list_statistics(job, u32::MAX).await.unwrap();
    assert_eq!(kept.iter().map(|s| s.snapshot.checkpoint_id).collect::<Vec<_>>(), [5, 4, 3]);
}
