//! Upgrades: one at a time, every step under the job's lease, and no way back once a checkpoint is published.

use super::*;

on_both!(
    an_upgrade_goes_from_savepoint_to_checkpoint,
    a_version_without_a_checkpoint_is_rolled_back,
    a_published_checkpoint_and_a_roll_back_exclude_each_other,
    a_lost_lease_moves_no_upgrade,
    an_ended_job_is_not_upgraded,
);

fn wanted(job: JobId) -> (Upgrade, JobVersion) {
    let upgrade = Upgrade {
        id: crate::id::UpgradeId::generate(),
        job_id: job,
        from_version: 0,
        to_version: 0,
        status: UpgradeStatus::Savepoint,
        allow_non_restored_state: true,
        limit_ms: 1_000,
        operators: vec![OperatorChange {
            id: "o".into(),
            name: "Sink".into(),
            change: StateChange::New,
            reason: None,
            loses_state: false,
        }],
        snapshot_id: None,
        location: None,
        failure: None,
        created_ms: 30,
        started_ms: None,
        start_attempt: None,
        ended_ms: None,
    };
    let mut settings = settings(&[]);
    settings.parallelism = 7;
    (upgrade, JobVersion { version: 0, sql: "the new text".into(), plan: super::job("x", 0).plan, settings })
}

/// A job that runs, and its upgrade.
async fn begun(metadata: &Metadata, name: &str) -> (Lease, Upgrade) {
    let id = insert(metadata, &job(name, 1)).await;
    let lease = acquired(metadata, id, "a", 2).await;
    let (upgrade, to) = wanted(id);
    let upgrade = metadata.begin_upgrade(&upgrade, &to).await.unwrap();
    (lease, upgrade)
}

/// The old version has stopped with a savepoint; answers the version that was switched to.
async fn switched(metadata: &Metadata, lease: &Lease, upgrade: &Upgrade) -> JobVersion {
    let savepoint = Snapshot { trigger: SnapshotTrigger::Stop, ..snapshot(lease, SnapshotKind::Savepoint, 1) };
    assert!(metadata.begin_snapshot(lease, &savepoint, None).await.unwrap());
    assert!(metadata.link_savepoint(lease, upgrade.id, savepoint.id, "file:///s").await.unwrap());
    assert!(metadata.complete_snapshot(lease, savepoint.id, 1, 1, 40).await.unwrap());
    assert_eq!(metadata.job(lease.job_id).await.unwrap().desired, DesiredStatus::Stopped);
    let to = metadata.job_version(lease.job_id, upgrade.to_version).await.unwrap();
    assert!(metadata.switch_version(lease, upgrade.id, &to, 50).await.unwrap());
    to
}

async fn status(metadata: &Metadata, upgrade: &Upgrade) -> UpgradeStatus {
    metadata.upgrade(upgrade.job_id, upgrade.id).await.unwrap().status
}

async fn an_upgrade_goes_from_savepoint_to_checkpoint(metadata: &Metadata) {
    let (lease, upgrade) = begun(metadata, "good").await;
    let id = lease.job_id;
    assert_eq!((upgrade.from_version, upgrade.to_version, upgrade.operators.len()), (1, 2, 1));
    assert_eq!(metadata.active_upgrade(id).await.unwrap(), Some(upgrade.clone()));
    assert_eq!(metadata.jobs_to_upgrade("a").await.unwrap(), [id]);
    assert_eq!(metadata.jobs_to_upgrade("b").await.unwrap(), []);
    let (second, to) = wanted(id);
    check_error(metadata.begin_upgrade(&second, &to).await, ErrorKind::Conflict, "upgrade_in_progress");
    switched(metadata, &lease, &upgrade).await;
    let job = metadata.job(id).await.unwrap();
    assert_eq!((job.version, job.sql.as_str(), job.settings.parallelism), (2, "the new text", 7));
    assert_eq!(job.desired, DesiredStatus::Running, "the stop was for the upgrade");
    let starting = metadata.upgrade(id, upgrade.id).await.unwrap();
    assert_eq!((starting.status, starting.started_ms), (UpgradeStatus::Starting, Some(50)));
    assert_eq!(starting.start_attempt, Some(lease.attempt));
    let checkpoint = snapshot(&lease, SnapshotKind::Checkpoint, 2);
    assert!(metadata.begin_snapshot(&lease, &checkpoint, None).await.unwrap());
    assert_eq!(status(metadata, &upgrade).await, UpgradeStatus::Starting);
    assert!(metadata.complete_snapshot(&lease, checkpoint.id, 1, 1, 60).await.unwrap());
    assert_eq!(status(metadata, &upgrade).await, UpgradeStatus::Completed);
    assert_eq!(metadata.active_upgrade(id).await.unwrap(), None);
    assert_eq!(metadata.list_upgrades(id, 10).await.unwrap().len(), 1);
}

async fn a_version_without_a_checkpoint_is_rolled_back(metadata: &Metadata) {
    let (lease, upgrade) = begun(metadata, "bad").await;
    switched(metadata, &lease, &upgrade).await;
    let old = metadata.job_version(lease.job_id, 1).await.unwrap();
    assert!(metadata.roll_back_version(&lease, upgrade.id, &old, "it failed", 70).await.unwrap());
    let job = metadata.job(lease.job_id).await.unwrap();
    assert_eq!((job.version, job.settings.parallelism), (1, 2));
    assert_eq!(status(metadata, &upgrade).await, UpgradeStatus::RollingBack);
    assert!(metadata.finish_roll_back(&lease, upgrade.id, 80).await.unwrap());
    let over = metadata.upgrade(lease.job_id, upgrade.id).await.unwrap();
    assert_eq!((over.status, over.failure.as_deref()), (UpgradeStatus::RolledBack, Some("it failed")));
    // The next one gets another number.
    let (again, to) = wanted(lease.job_id);
    let again = metadata.begin_upgrade(&again, &to).await.unwrap();
    assert_eq!((again.from_version, again.to_version), (1, 3));
    assert!(metadata.fail_upgrade(lease.job_id, "cancelled", 90).await.unwrap());
    assert!(!metadata.fail_upgrade(lease.job_id, "cancelled", 90).await.unwrap());
    assert_eq!(status(metadata, &again).await, UpgradeStatus::Failed);
}

async fn a_published_checkpoint_and_a_roll_back_exclude_each_other(metadata: &Metadata) {
    let (lease, upgrade) = begun(metadata, "race").await;
    switched(metadata, &lease, &upgrade).await;
    let checkpoint = snapshot(&lease, SnapshotKind::Checkpoint, 2);
    assert!(metadata.begin_snapshot(&lease, &checkpoint, None).await.unwrap());
    assert!(metadata.complete_snapshot(&lease, checkpoint.id, 1, 1, 60).await.unwrap());
    let old = metadata.job_version(lease.job_id, 1).await.unwrap();
    assert!(!metadata.roll_back_version(&lease, upgrade.id, &old, "too late", 70).await.unwrap());
    assert_eq!(metadata.job(lease.job_id).await.unwrap().version, 2);
    assert_eq!(status(metadata, &upgrade).await, UpgradeStatus::Completed);
}

async fn a_lost_lease_moves_no_upgrade(metadata: &Metadata) {
    let (lease, upgrade) = begun(metadata, "fenced").await;
    let stale = Lease { attempt: lease.attempt + 1, ..lease.clone() };
    let to = metadata.job_version(lease.job_id, 2).await.unwrap();
    let savepoint = SnapshotId::generate();
    assert!(!metadata.link_savepoint(&stale, upgrade.id, savepoint, "x").await.unwrap());
    assert!(!metadata.switch_version(&stale, upgrade.id, &to, 50).await.unwrap());
    assert_eq!(metadata.job(lease.job_id).await.unwrap().version, 1);
    assert_eq!(status(metadata, &upgrade).await, UpgradeStatus::Savepoint);
    check_error(metadata.job_version(lease.job_id, 9).await, ErrorKind::NotFound, "version_not_found");
    let none = crate::id::UpgradeId::generate();
    check_error(metadata.upgrade(lease.job_id, none).await, ErrorKind::NotFound, "upgrade_not_found");
}

async fn an_ended_job_is_not_upgraded(metadata: &Metadata) {
    let id = insert(metadata, &job("ended", 1)).await;
    end(metadata, id, 2).await;
    let (upgrade, to) = wanted(id);
    check_error(metadata.begin_upgrade(&upgrade, &to).await, ErrorKind::Conflict, "job_not_running");
    assert_eq!(metadata.list_upgrades(id, 10).await.unwrap(), []);
}
