//! What a job was restored from stays until the job does not need it any more.

use super::*;

on_both!(
    a_held_snapshot_is_not_retired_until_the_holder_has_a_checkpoint,
    a_snapshot_that_is_being_deleted_cannot_be_held,
    a_snapshot_is_claimed_once_and_retired_when_it_is_subsumed,
    a_claimed_checkpoint_of_a_restarted_job_is_left_to_it,
    the_newest_snapshot_at_a_time_is_found,
    a_restart_keeps_the_snapshot_that_it_names_until_a_checkpoint,
    an_unreadable_snapshot_is_failed_by_the_holder_of_the_lease_only,
);

/// A job with one completed snapshot.
async fn owner(metadata: &Metadata, kind: SnapshotKind) -> (Lease, Snapshot) {
    let id = insert(metadata, &job(&format!("owner of a {kind}"), 1)).await;
    let lease = acquired(metadata, id, "a", 2).await;
    let snapshot = completed(metadata, &lease, kind, 1, 20).await;
    (lease, snapshot)
}

async fn completed(metadata: &Metadata, lease: &Lease, kind: SnapshotKind, number: u64, at_ms: i64) -> Snapshot {
    let begun = snapshot(lease, kind, number);
    assert!(metadata.begin_snapshot(lease, &begun, None).await.unwrap());
    assert!(metadata.complete_snapshot(lease, begun.id, 1, 1, at_ms).await.unwrap());
    metadata.snapshot(begun.id).await.unwrap()
}

fn restored_from(name: &str, snapshot: &Snapshot, mode: ClaimMode) -> Job {
    let mut forked = job(name, 3);
    let hold = Some(Hold { snapshot_id: snapshot.id, mode });
    let manifest = snapshot.location.clone();
    forked.settings.restore = Some(RestoreSource { manifest, allow_non_restored_state: false, hold });
    forked
}

async fn a_held_snapshot_is_not_retired_until_the_holder_has_a_checkpoint(metadata: &Metadata) {
    let (lease, held) = owner(metadata, SnapshotKind::Checkpoint).await;
    let fork = insert(metadata, &restored_from("fork", &held, ClaimMode::NoClaim)).await;
    assert_eq!(metadata.mark_deleting(&[held.id]).await.unwrap(), []);
    assert_eq!(metadata.holders_of(held.id).await.unwrap(), [fork]);
    assert_eq!(metadata.holders_of_job(lease.job_id).await.unwrap(), [fork]);
    let forks = acquired(metadata, fork, "a", 4).await;
    // A savepoint in between is the user's, who may delete it: the hold stays.
    completed(metadata, &forks, SnapshotKind::Savepoint, 1, 30).await;
    assert_eq!(metadata.mark_deleting(&[held.id]).await.unwrap(), []);
    completed(metadata, &forks, SnapshotKind::Checkpoint, 2, 40).await;
    assert_eq!(metadata.holders_of(held.id).await.unwrap(), []);
    assert_eq!(metadata.mark_deleting(&[held.id]).await.unwrap(), [held.id]);
}

async fn a_snapshot_that_is_being_deleted_cannot_be_held(metadata: &Metadata) {
    let (_, gone) = owner(metadata, SnapshotKind::Savepoint).await;
    metadata.mark_deleting(&[gone.id]).await.unwrap();
    let fork = restored_from("fork", &gone, ClaimMode::NoClaim);
    check_error(metadata.insert_job(&fork, None).await, ErrorKind::Conflict, "snapshot_not_completed");
    assert_eq!(metadata.find_job(fork.id).await.unwrap(), None);
}

async fn a_snapshot_is_claimed_once_and_retired_when_it_is_subsumed(metadata: &Metadata) {
    let (_, claimed) = owner(metadata, SnapshotKind::Savepoint).await;
    let first = insert(metadata, &restored_from("first", &claimed, ClaimMode::Claim)).await;
    let second = restored_from("second", &claimed, ClaimMode::Claim);
    check_error(metadata.insert_job(&second, None).await, ErrorKind::Conflict, "snapshot_claimed");
    let other = insert(metadata, &restored_from("other", &claimed, ClaimMode::NoClaim)).await;
    assert_eq!(metadata.claimed_snapshot(first).await.unwrap().map(|s| s.id), Some(claimed.id));
    assert_eq!(metadata.claimed_snapshot(other).await.unwrap(), None);
    assert!(!metadata.subsume_claimed(first, claimed.id).await.unwrap(), "another job holds it");
    let others = acquired(metadata, other, "a", 4).await;
    completed(metadata, &others, SnapshotKind::Checkpoint, 1, 30).await;
    // A checkpoint of the claiming job does not end its claim.
    let firsts = acquired(metadata, first, "a", 4).await;
    completed(metadata, &firsts, SnapshotKind::Checkpoint, 1, 30).await;
    assert!(metadata.subsume_claimed(first, claimed.id).await.unwrap());
    assert!(metadata.subsume_claimed(first, claimed.id).await.unwrap(), "again after a crash");
    assert_eq!(metadata.snapshot(claimed.id).await.unwrap().status, SnapshotStatus::Deleting);
}

async fn a_claimed_checkpoint_of_a_restarted_job_is_left_to_it(metadata: &Metadata) {
    let (lease, claimed) = owner(metadata, SnapshotKind::Checkpoint).await;
    let canceled = [JobStatus::Initializing];
    assert!(metadata.set_status(&lease, &canceled, JobStatus::Canceled, None, 25).await.unwrap());
    let claimer = insert(metadata, &restored_from("claimer", &claimed, ClaimMode::Claim)).await;
    assert!(metadata.reset_for_restart(lease.job_id, None, 26).await.unwrap());
    assert!(!metadata.subsume_claimed(claimer, claimed.id).await.unwrap());
    metadata.release_hold(claimer).await.unwrap();
    assert_eq!(metadata.claimed_snapshot(claimer).await.unwrap(), None);
}

async fn the_newest_snapshot_at_a_time_is_found(metadata: &Metadata) {
    let id = insert(metadata, &job("timed", 1)).await;
    let lease = acquired(metadata, id, "a", 2).await;
    for (number, at_ms) in [(1, 100), (2, 200), (3, 300)] {
        completed(metadata, &lease, SnapshotKind::Checkpoint, number, at_ms).await;
    }
    for (time_ms, expected) in [(99, None), (100, Some(1)), (299, Some(2)), (1_000, Some(3))] {
        let found = metadata.newest_completed_at(id, time_ms).await.unwrap();
        assert_eq!(found.map(|s| s.checkpoint_id), expected, "{time_ms}");
    }
}

async fn a_restart_keeps_the_snapshot_that_it_names_until_a_checkpoint(metadata: &Metadata) {
    let (lease, old) = owner(metadata, SnapshotKind::Checkpoint).await;
    let id = lease.job_id;
    assert!(metadata.set_status(&lease, &[JobStatus::Initializing], JobStatus::Failed, None, 25).await.unwrap());
    let source = RestoreSource::unheld(old.location.clone(), true);
    assert!(metadata.reset_for_restart(id, Some(&source), 26).await.unwrap());
    let lease = acquired(metadata, id, "a", 27).await;
    assert!(metadata.set_status(&lease, &[JobStatus::Initializing], JobStatus::Failed, None, 28).await.unwrap());
    assert!(metadata.reset_for_restart(id, None, 29).await.unwrap());
    assert_eq!(metadata.job(id).await.unwrap().restart_from, Some(source));
    let lease = acquired(metadata, id, "a", 30).await;
    completed(metadata, &lease, SnapshotKind::Checkpoint, 2, 31).await;
    assert_eq!(metadata.job(id).await.unwrap().restart_from, None);
}

async fn an_unreadable_snapshot_is_failed_by_the_holder_of_the_lease_only(metadata: &Metadata) {
    let (lease, bad) = owner(metadata, SnapshotKind::Checkpoint).await;
    let stale = Lease { attempt: lease.attempt + 1, ..lease.clone() };
    assert!(!metadata.fail_unreadable(&stale, bad.id, "gone").await.unwrap());
    assert_eq!(metadata.recovery_candidates(lease.job_id).await.unwrap().len(), 1);
    assert!(metadata.fail_unreadable(&lease, bad.id, "gone").await.unwrap());
    assert_eq!(metadata.recovery_candidates(lease.job_id).await.unwrap(), []);
    assert_eq!(metadata.snapshot(bad.id).await.unwrap().failure.as_deref(), Some("gone"));
    let restored = Restored {
        location: bad.location,
        checkpoint_id: 1,
        attempt: 2,
        restored_local_bytes: 3,
        restored_remote_bytes: 4,
        duration_ms: 5,
        skipped: Vec::new(),
    };
    assert!(!metadata.set_restored(&stale, &restored).await.unwrap());
    assert!(metadata.set_restored(&lease, &restored).await.unwrap());
    assert_eq!(metadata.job(lease.job_id).await.unwrap().restored, Some(restored));
}
