//! Taking, keeping and losing jobs.

use super::*;
use crate::metadata::JobStatus::*;

on_both!(
    one_of_racing_takers_wins,
    a_job_is_taken_when_free_own_or_expired,
    a_lost_lease_changes_nothing,
    statuses_change_by_compare_and_set,
    jobs_to_run_are_those_that_nobody_else_holds,
    a_job_that_nobody_runs_can_be_cancelled,
    an_ended_job_is_left_alone,
);

async fn one_of_racing_takers_wins(metadata: &Metadata) {
    let id = insert(metadata, &job("a", 1)).await;
    for round in 0..4_i64 {
        // Each round starts after the lease of the one before.
        let now_ms = 10_000 * (round + 1);
        let takers = (0..16).map(|n| {
            let metadata = metadata.clone();
            tokio::spawn(
                async move { metadata.acquire_job(id, &format!("{round}-{n}"), LEASE_MS, now_ms).await.unwrap() },
            )
        });
        let taken: Vec<_> = futures::future::join_all(takers).await.into_iter().filter_map(|t| t.unwrap()).collect();
        assert_eq!(taken.len(), 1);
        let (job, lease) = &taken[0];
        assert_eq!((job.attempt, lease.attempt), (round as u64 + 1, round as u64 + 1));
        assert_eq!(metadata.job(id).await.unwrap(), *job);
    }
}

async fn a_job_is_taken_when_free_own_or_expired(metadata: &Metadata) {
    let id = insert(metadata, &job("a", 1)).await;
    assert_eq!(metadata.acquire_job(JobId::generate(), "x", LEASE_MS, 1).await.unwrap(), None);
    let (taken, lease) = metadata.acquire_job(id, "x", LEASE_MS, 5).await.unwrap().unwrap();
    assert_eq!((taken.status, taken.owner.as_deref(), taken.lease_until_ms), (Initializing, Some("x"), 1005));
    assert_eq!((taken.attempt, taken.started_ms, taken.updated_ms), (1, Some(5), 5));
    assert_eq!(lease, Lease { job_id: id, owner: "x".into(), attempt: 1 });
    assert_eq!(metadata.acquire_job(id, "y", LEASE_MS, 1005).await.unwrap(), None);
    assert_eq!(acquired(metadata, id, "x", 6).await.attempt, 2);
    assert_eq!(metadata.renew_leases("x", LEASE_MS, 900).await.unwrap(), [id]);
    assert_eq!(metadata.acquire_job(id, "y", LEASE_MS, 1500).await.unwrap(), None);
    let lease = acquired(metadata, id, "y", 1901).await;
    assert_eq!(lease.attempt, 3);
    assert_eq!(metadata.renew_leases("x", LEASE_MS, 1902).await.unwrap(), []);
    assert!(metadata.release_job(&lease).await.unwrap());
    assert!(!metadata.release_job(&lease).await.unwrap());
    assert_eq!(acquired(metadata, id, "x", 1903).await.attempt, 4);
}

async fn a_lost_lease_changes_nothing(metadata: &Metadata) {
    let id = insert(metadata, &job("a", 1)).await;
    let old = acquired(metadata, id, "x", 1).await;
    let same_owner = acquired(metadata, id, "x", 2).await;
    let new = acquired(metadata, id, "y", 5_000).await;
    let before = metadata.job(id).await.unwrap();
    for lost in [&old, &same_owner] {
        assert!(!metadata.holds(lost).await.unwrap());
        assert!(!metadata.set_status(lost, JobStatus::ALL, Running, None, 6_000).await.unwrap());
        assert!(!metadata.increment_restarts(lost, 6_000).await.unwrap());
        assert!(!metadata.release_job(lost).await.unwrap());
        let begun = snapshot(lost, SnapshotKind::Checkpoint, 1);
        assert!(!metadata.begin_snapshot(lost, &begun, None).await.unwrap());
    }
    assert_eq!(metadata.job(id).await.unwrap(), before);
    assert!(metadata.holds(&new).await.unwrap());
    assert!(metadata.increment_restarts(&new, 6_001).await.unwrap());
    assert_eq!(metadata.job(id).await.unwrap().restarts, 1);
}

async fn statuses_change_by_compare_and_set(metadata: &Metadata) {
    let id = insert(metadata, &job("a", 1)).await;
    let lease = acquired(metadata, id, "x", 2).await;
    let steps = [
        (&[Running][..], Restarting, None, false),
        (&[Running, Initializing], Running, None, true),
        (&[Initializing], Running, None, false),
        (&[Running], Restarting, Some("first"), true),
        (&[Restarting], Initializing, None, true),
        (&[Initializing], Failed, Some("second"), true),
        (&[Failed], Running, None, false),
    ];
    for (now_ms, (from, to, failure, expected)) in (3..).zip(steps) {
        assert_eq!(metadata.set_status(&lease, from, to, failure, now_ms).await.unwrap(), expected, "{from:?} {to}");
        if to == Initializing {
            assert_eq!(metadata.job(id).await.unwrap().failure.as_deref(), Some("first"));
        }
    }
    let ended = metadata.job(id).await.unwrap();
    assert_eq!((ended.status, ended.owner, ended.ended_ms), (Failed, None, Some(8)));
    assert_eq!((ended.failure.as_deref(), ended.updated_ms), (Some("second"), 8));
}

async fn jobs_to_run_are_those_that_nobody_else_holds(metadata: &Metadata) {
    let free = insert(metadata, &job("free", 1)).await;
    let own = insert(metadata, &job("own", 2)).await;
    let held = insert(metadata, &job("held", 3)).await;
    let expired = insert(metadata, &job("expired", 4)).await;
    let cancelling = insert(metadata, &job("cancelling", 5)).await;
    let ended = insert(metadata, &job("ended", 6)).await;
    acquired(metadata, own, "x", 10_000).await;
    acquired(metadata, held, "y", 10_000).await;
    acquired(metadata, expired, "y", 1).await;
    assert!(metadata.set_desired(cancelling, DesiredStatus::Canceled, 7).await.unwrap());
    end(metadata, ended, 8).await;
    let run = async |skip: &[JobId], limit| metadata.jobs_to_run("x", skip, 10_001, limit).await.unwrap();
    assert_eq!(run(&[], 10).await, [free, own, expired, cancelling]);
    assert_eq!(run(&[], 2).await, [free, own]);
    assert_eq!(run(&[own, free], 2).await, [expired, cancelling]);
}

async fn a_job_that_nobody_runs_can_be_cancelled(metadata: &Metadata) {
    let id = insert(metadata, &job("a", 1)).await;
    let lease = acquired(metadata, id, "x", 1).await;
    assert!(!metadata.cancel_unowned(id, 500).await.unwrap());
    assert!(metadata.cancel_unowned(id, 1002).await.unwrap());
    let cancelled = metadata.job(id).await.unwrap();
    assert_eq!(
        (cancelled.status, cancelled.desired, cancelled.ended_ms),
        (Canceled, DesiredStatus::Canceled, Some(1002))
    );
    assert!(!metadata.holds(&lease).await.unwrap());
}

async fn an_ended_job_is_left_alone(metadata: &Metadata) {
    let id = insert(metadata, &job("a", 1)).await;
    end(metadata, id, 2).await;
    let before = metadata.job(id).await.unwrap();
    assert!(!metadata.cancel_unowned(id, 3).await.unwrap());
    assert!(!metadata.set_desired(id, DesiredStatus::Running, 3).await.unwrap());
    assert_eq!(metadata.acquire_job(id, "x", LEASE_MS, 3).await.unwrap(), None);
    assert_eq!(metadata.job(id).await.unwrap(), before);
}
