//! A snapshot's life, and that a process that lost its job publishes nothing.

use super::*;
use crate::metadata::SnapshotKind::{Checkpoint, Savepoint};

on_both!(
    checkpoint_ids_are_never_handed_out_twice,
    a_snapshot_begins_and_completes,
    a_fenced_process_publishes_nothing,
    publishing_and_taking_the_job_are_ordered,
    a_client_key_begins_one_snapshot,
    snapshots_of_earlier_attempts_are_failed,
    retention_keeps_savepoints_and_the_newest,
    retired_snapshots_vanish_in_two_steps,
    listing_snapshots_pages_newest_first,
);

async fn running(metadata: &Metadata) -> Lease {
    let id = insert(metadata, &job("a", 1)).await;
    acquired(metadata, id, "x", 1).await
}

async fn begun(metadata: &Metadata, lease: &Lease, kind: SnapshotKind) -> Snapshot {
    let id = metadata.next_checkpoint_id(lease.job_id).await.unwrap();
    let snapshot = snapshot(lease, kind, id);
    assert!(metadata.begin_snapshot(lease, &snapshot, None).await.unwrap());
    snapshot
}

async fn completed(metadata: &Metadata, lease: &Lease, kind: SnapshotKind) -> Snapshot {
    let snapshot = begun(metadata, lease, kind).await;
    assert!(metadata.complete_snapshot(lease, snapshot.id, 10, 5, 20).await.unwrap());
    Snapshot { status: SnapshotStatus::Completed, state_bytes: 10, uploaded_bytes: 5, ended_ms: Some(20), ..snapshot }
}

async fn checkpoint_ids_are_never_handed_out_twice(metadata: &Metadata) {
    let lease = running(metadata).await;
    let ids = futures::future::join_all((0..16).map(|_| metadata.next_checkpoint_id(lease.job_id))).await;
    let mut ids: Vec<u64> = ids.into_iter().map(|id| id.unwrap()).collect();
    ids.sort();
    assert_eq!(ids, (1..=16).collect::<Vec<_>>());
    check_error(metadata.next_checkpoint_id(JobId::generate()).await, ErrorKind::NotFound, "job_not_found");
}

async fn a_snapshot_begins_and_completes(metadata: &Metadata) {
    let lease = running(metadata).await;
    let first = begun(metadata, &lease, Checkpoint).await;
    assert_eq!(metadata.snapshot(first.id).await.unwrap(), first);
    assert_eq!(metadata.snapshots_in_flight().await.unwrap(), std::slice::from_ref(&first));
    // Repeated after a lost answer.
    assert!(metadata.begin_snapshot(&lease, &first, None).await.unwrap());
    let same_number = snapshot(&lease, Checkpoint, first.checkpoint_id);
    check_error(metadata.begin_snapshot(&lease, &same_number, None).await, ErrorKind::Conflict, "checkpoint_id_taken");
    let foreign = Snapshot { attempt: 7, ..snapshot(&lease, Checkpoint, 9) };
    check_error(metadata.begin_snapshot(&lease, &foreign, None).await, ErrorKind::Internal, "internal");

    assert_eq!(metadata.latest_completed(lease.job_id, SnapshotKind::ALL).await.unwrap(), None);
    for _ in 0..2 {
        assert!(metadata.complete_snapshot(&lease, first.id, 100, 40, 30).await.unwrap());
    }
    let stored = metadata.snapshot(first.id).await.unwrap();
    let expected = Snapshot {
        status: SnapshotStatus::Completed,
        state_bytes: 100,
        uploaded_bytes: 40,
        ended_ms: Some(30),
        ..first
    };
    assert_eq!(stored, expected);
    assert_eq!(metadata.snapshots_in_flight().await.unwrap(), []);
    assert!(!metadata.fail_snapshot(stored.id, "late", 31).await.unwrap());

    let second = begun(metadata, &lease, Savepoint).await;
    assert!(metadata.fail_snapshot(second.id, "timed out", 32).await.unwrap());
    assert!(!metadata.complete_snapshot(&lease, second.id, 1, 1, 33).await.unwrap());
    let failed = metadata.snapshot_by_checkpoint(lease.job_id, 2).await.unwrap().unwrap();
    assert_eq!((failed.status, failed.failure.as_deref()), (SnapshotStatus::Failed, Some("timed out")));
    let latest = async |kinds: &[SnapshotKind]| metadata.latest_completed(lease.job_id, kinds).await.unwrap();
    assert_eq!(latest(SnapshotKind::ALL).await, Some(stored));
    assert_eq!(latest(&[Savepoint]).await, None);
    assert_eq!(latest(&[]).await, None);
    check_error(metadata.snapshot(SnapshotId::generate()).await, ErrorKind::NotFound, "snapshot_not_found");
    assert_eq!(metadata.snapshot_by_checkpoint(lease.job_id, u64::MAX).await.unwrap(), None);
}

async fn a_fenced_process_publishes_nothing(metadata: &Metadata) {
    let old = running(metadata).await;
    let late = begun(metadata, &old, Checkpoint).await;
    let new = acquired(metadata, old.job_id, "y", 5_000).await;
    assert!(!metadata.complete_snapshot(&old, late.id, 1, 1, 5_001).await.unwrap());
    assert_eq!(metadata.snapshot(late.id).await.unwrap(), late);
    // Nor may the new owner publish what the old one made.
    assert!(!metadata.complete_snapshot(&new, late.id, 1, 1, 5_002).await.unwrap());
    // The same owner's next attempt fences the one before, too.
    let own = begun(metadata, &new, Checkpoint).await;
    acquired(metadata, old.job_id, "y", 5_003).await;
    assert!(!metadata.complete_snapshot(&new, own.id, 1, 1, 5_004).await.unwrap());
}

/// The next attempt restores the newest snapshot that is completed when it took the job: one that completes after
/// that would commit sinks for records which the next attempt processes again.
async fn publishing_and_taking_the_job_are_ordered(metadata: &Metadata) {
    for round in 0..24_i64 {
        let id = insert(metadata, &job(&format!("job-{round}"), 1)).await;
        let old = acquired(metadata, id, "x", 1).await;
        let snapshot = begun(metadata, &old, Checkpoint).await;
        let taking = {
            let metadata = metadata.clone();
            tokio::spawn(async move {
                acquired(&metadata, id, "y", 5_000).await;
                metadata.latest_completed(id, SnapshotKind::ALL).await.unwrap()
            })
        };
        // Varied, so that each gets to be first.
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let completed = metadata.complete_snapshot(&old, snapshot.id, 1, 1, 5_000).await.unwrap();
        let seen = taking.await.unwrap();
        assert_eq!(
            seen.is_some(),
            completed,
            "round {round}: published {completed}, but the next attempt saw {seen:?}"
        );
    }
}

/// As above, at the worst moment: the job is being taken, but not committed yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_waits_for_a_taker_that_has_not_committed() {
    let Fixture { metadata, .. } = super::postgres().await;
    let Pool::Postgres(pool) = &metadata.pool else { unreachable!() };
    let lease = running(&metadata).await;
    let late = begun(&metadata, &lease, Checkpoint).await;
    let mut taker = pool.begin().await.unwrap();
    const TAKE: &str = "UPDATE jobs SET owner = 'y', attempt = attempt + 1 WHERE id = $1";
    sqlx::query(TAKE).bind(lease.job_id.to_string()).execute(&mut *taker).await.unwrap();
    let publishing = {
        let metadata = metadata.clone();
        tokio::spawn(async move { metadata.complete_snapshot(&lease, late.id, 1, 1, 2).await.unwrap() })
    };
    const WAITING: &str =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while !publishing.is_finished() && sqlx::query_scalar::<_, i64>(WAITING).fetch_one(pool).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    taker.commit().await.unwrap();
    assert!(!publishing.await.unwrap(), "it was fenced");
    assert_eq!(metadata.snapshot(late.id).await.unwrap().status, SnapshotStatus::InProgress);
}

async fn a_client_key_begins_one_snapshot(metadata: &Metadata) {
    let lease = running(metadata).await;
    let first = snapshot(&lease, Savepoint, 1);
    assert!(metadata.begin_snapshot(&lease, &first, Some("key")).await.unwrap());
    let second = metadata.begin_snapshot(&lease, &snapshot(&lease, Savepoint, 2), Some("key")).await;
    check_error(second, ErrorKind::Conflict, "snapshot_key_reused");
    assert_eq!(metadata.find_snapshot_by_key(lease.job_id, "key").await.unwrap(), Some(first));
    assert_eq!(metadata.find_snapshot_by_key(lease.job_id, "other").await.unwrap(), None);
    assert_eq!(metadata.find_snapshot_by_key(JobId::generate(), "key").await.unwrap(), None);
}

async fn snapshots_of_earlier_attempts_are_failed(metadata: &Metadata) {
    let old = running(metadata).await;
    let done = completed(metadata, &old, Checkpoint).await;
    let abandoned = begun(metadata, &old, Checkpoint).await;
    let new = acquired(metadata, old.job_id, "x", 2).await;
    let current = begun(metadata, &new, Checkpoint).await;
    let failed = metadata.fail_in_progress(old.job_id, new.attempt, "its process ended", 9).await.unwrap();
    let expected = Snapshot {
        status: SnapshotStatus::Failed,
        failure: Some("its process ended".to_owned()),
        ended_ms: Some(9),
        ..abandoned
    };
    assert_eq!(failed, [expected]);
    assert_eq!(metadata.fail_in_progress(old.job_id, new.attempt, "again", 9).await.unwrap(), []);
    assert_eq!(metadata.snapshot(done.id).await.unwrap(), done);
    assert_eq!(metadata.snapshots_in_flight().await.unwrap(), [current]);
}

async fn retention_keeps_savepoints_and_the_newest(metadata: &Metadata) {
    let lease = running(metadata).await;
    let mut all = Vec::new();
    for kind in [Checkpoint, Savepoint, Checkpoint, Checkpoint, Checkpoint] {
        all.push(completed(metadata, &lease, kind).await);
    }
    let failed = begun(metadata, &lease, Checkpoint).await;
    metadata.fail_snapshot(failed.id, "x", 1).await.unwrap();
    begun(metadata, &lease, Checkpoint).await;
    let beyond = async |retained| {
        let rows = metadata.completed_beyond(lease.job_id, retained).await.unwrap();
        rows.iter().map(|s| s.checkpoint_id).collect::<Vec<_>>()
    };
    assert_eq!(beyond(2).await, [3, 1]);
    assert!(beyond(4).await.is_empty());
    assert_eq!(beyond(0).await, [5, 4, 3, 1]);
    assert_eq!(metadata.failed_beyond(lease.job_id, 0).await.unwrap().len(), 1);
    assert_eq!(metadata.failed_beyond(lease.job_id, 1).await.unwrap(), []);
}

async fn retired_snapshots_vanish_in_two_steps(metadata: &Metadata) {
    let lease = running(metadata).await;
    let first = completed(metadata, &lease, Checkpoint).await;
    let second = completed(metadata, &lease, Checkpoint).await;
    let current = begun(metadata, &lease, Checkpoint).await;
    assert_eq!(metadata.mark_deleting(&[second.id, current.id]).await.unwrap(), [second.id]);
    assert_eq!(metadata.mark_deleting(&[second.id]).await.unwrap(), [second.id]);
    assert_eq!(metadata.mark_deleting(&[]).await.unwrap(), []);
    assert_eq!(metadata.latest_completed(lease.job_id, SnapshotKind::ALL).await.unwrap(), Some(first.clone()));
    let deleting = metadata.deleting().await.unwrap();
    assert_eq!(deleting, [Snapshot { status: SnapshotStatus::Deleting, ..second.clone() }]);
    let listed = metadata.list_snapshots(lease.job_id, None, None, 10).await.unwrap();
    assert_eq!(listed, [current.clone(), first.clone()]);
    metadata.delete_snapshot_rows(&[second.id, first.id, current.id]).await.unwrap();
    assert_eq!(metadata.deleting().await.unwrap(), []);
    check_error(metadata.snapshot(second.id).await, ErrorKind::NotFound, "snapshot_not_found");
    assert_eq!(metadata.snapshot(first.id).await.unwrap(), first);
    // The number of a deleted one is not used again.
    assert_eq!(metadata.next_checkpoint_id(lease.job_id).await.unwrap(), 4);
}

async fn listing_snapshots_pages_newest_first(metadata: &Metadata) {
    let lease = running(metadata).await;
    for kind in [Checkpoint, Savepoint, Checkpoint, Checkpoint, Savepoint] {
        completed(metadata, &lease, kind).await;
    }
    let cases = [
        (None, None, 10, vec![5, 4, 3, 2, 1]),
        (None, None, 2, vec![5, 4]),
        (None, Some(4), 2, vec![3, 2]),
        (Some(Savepoint), None, 10, vec![5, 2]),
        (Some(Savepoint), Some(5), 10, vec![2]),
        (Some(Checkpoint), Some(1), 10, vec![]),
    ];
    for (kind, after, limit, expected) in cases {
        let rows = metadata.list_snapshots(lease.job_id, kind, after, limit).await.unwrap();
        assert_eq!(rows.iter().map(|s| s.checkpoint_id).collect::<Vec<_>>(), expected, "{kind:?} {after:?} {limit}");
    }
}
