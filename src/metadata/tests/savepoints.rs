//! Savepoints outlive their jobs, can be found, labelled and pinned; operations on them keep their outcome.

use super::*;
use crate::id::OperationId;
use crate::metadata::SnapshotKind::{Checkpoint, Savepoint};

on_both!(
    a_savepoint_outlives_its_job,
    a_pinned_savepoint_is_not_deleted,
    labels_are_set_removed_and_searched,
    savepoints_of_all_jobs_are_paged,
    an_import_is_published_with_its_operation,
    operations_are_idempotent_by_client_key,
    abandoned_operations_are_found,
    what_ended_jobs_left_in_progress_is_failed,
);

async fn running(metadata: &Metadata, name: &str) -> Lease {
    let id = insert(metadata, &job(name, 1)).await;
    acquired(metadata, id, "x", 1).await
}

async fn begun(metadata: &Metadata, lease: &Lease, kind: SnapshotKind, started_ms: i64) -> Snapshot {
    let number = metadata.next_checkpoint_id(lease.job_id).await.unwrap();
    let snapshot = Snapshot { started_ms, ..snapshot(lease, kind, number) };
    assert!(metadata.begin_snapshot(lease, &snapshot, None).await.unwrap());
    snapshot
}

async fn completed(metadata: &Metadata, lease: &Lease, kind: SnapshotKind, started_ms: i64) -> Snapshot {
    let snapshot = begun(metadata, lease, kind, started_ms).await;
    assert!(metadata.complete_snapshot(lease, snapshot.id, 10, 5, 20).await.unwrap());
    metadata.snapshot(snapshot.id).await.unwrap()
}

fn operation(savepoint: SnapshotId, kind: OperationKind) -> SavepointOperation {
    SavepointOperation {
        id: OperationId::generate(),
        savepoint,
        kind,
        status: OperationStatus::InProgress,
        owner: "x".into(),
        request: serde_json::json!({"target": "file:///t"}),
        bytes_done: 0,
        bytes_total: None,
        result: None,
        failure: None,
        started_ms: 5,
        updated_ms: 5,
        ended_ms: None,
    }
}

async fn a_savepoint_outlives_its_job(metadata: &Metadata) {
    let lease = running(metadata, "a").await;
    let checkpoint = completed(metadata, &lease, Checkpoint, 10).await;
    let savepoint = completed(metadata, &lease, Savepoint, 11).await;
    let unfinished = begun(metadata, &lease, Savepoint, 12).await;
    assert!(metadata.release_job(&lease).await.unwrap());
    end(metadata, lease.job_id, 30).await;
    metadata.begin_job_deletion(lease.job_id, false, 9).await.unwrap();
    metadata.finish_job_deletion(lease.job_id).await.unwrap();
    assert_eq!(metadata.snapshot(savepoint.id).await.unwrap(), savepoint);
    for gone in [checkpoint, unfinished] {
        check_error(metadata.snapshot(gone.id).await, ErrorKind::NotFound, "snapshot_not_found");
    }
    let of_job = SavepointFilter { job: Some(lease.job_id), ..SavepointFilter::default() };
    assert_eq!(metadata.list_savepoints(&of_job, None, 10).await.unwrap(), std::slice::from_ref(&savepoint));
    assert_eq!(metadata.list_snapshots(lease.job_id, None, None, 10).await.unwrap(), []);
    assert_eq!(metadata.latest_for_recovery(lease.job_id).await.unwrap(), None);
    metadata.mark_savepoint_deleting(savepoint.id).await.unwrap();
    assert_eq!(metadata.deleting_without_job().await.unwrap().len(), 1);
    metadata.delete_snapshot_rows(&[savepoint.id]).await.unwrap();
    check_error(metadata.savepoint(savepoint.id).await, ErrorKind::NotFound, "savepoint_not_found");
}

async fn a_pinned_savepoint_is_not_deleted(metadata: &Metadata) {
    let lease = running(metadata, "a").await;
    let savepoint = completed(metadata, &lease, Savepoint, 10).await;
    let pin = |pinned| SavepointChange { pinned: Some(pinned), ..SavepointChange::default() };
    assert!(metadata.change_savepoint(savepoint.id, &pin(true), |_| Ok(())).await.unwrap().details.pinned);
    check_error(metadata.mark_savepoint_deleting(savepoint.id).await, ErrorKind::Conflict, "savepoint_pinned");
    assert_eq!(metadata.snapshot(savepoint.id).await.unwrap().status, SnapshotStatus::Completed);
    let unfinished = begun(metadata, &lease, Savepoint, 11).await;
    check_error(metadata.mark_savepoint_deleting(unfinished.id).await, ErrorKind::Conflict, "savepoint_in_progress");
    metadata.change_savepoint(savepoint.id, &pin(false), |_| Ok(())).await.unwrap();
    for _ in 0..2 {
        metadata.mark_savepoint_deleting(savepoint.id).await.unwrap();
    }
    check_error(
        metadata.change_savepoint(savepoint.id, &pin(true), |_| Ok(())).await,
        ErrorKind::NotFound,
        "savepoint_not_found",
    );
    // The one that a job is about to end with is all that is left of its last output.
    let number = metadata.next_checkpoint_id(lease.job_id).await.unwrap();
    let stop = Snapshot { trigger: SnapshotTrigger::Stop, ..snapshot(&lease, Savepoint, number) };
    assert!(metadata.begin_snapshot(&lease, &stop, None).await.unwrap());
    assert!(metadata.complete_snapshot(&lease, stop.id, 1, 1, 20).await.unwrap());
    check_error(metadata.mark_savepoint_deleting(stop.id).await, ErrorKind::Conflict, "savepoint_in_use");
    assert!(metadata.release_job(&lease).await.unwrap());
    end(metadata, lease.job_id, 30).await;
    metadata.mark_savepoint_deleting(stop.id).await.unwrap();
}

async fn labels_are_set_removed_and_searched(metadata: &Metadata) {
    let lease = running(metadata, "a").await;
    let one = completed(metadata, &lease, Savepoint, 10).await;
    let two = completed(metadata, &lease, Savepoint, 11).await;
    let change = async |id, labels: &[(&str, Option<&str>)]| {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect();
        metadata.change_savepoint(id, &SavepointChange { pinned: None, labels }, |_| Ok(())).await.unwrap()
    };
    let search = async |key: &str, value: &str| {
        let filter = SavepointFilter { labels: vec![(key.to_owned(), value.to_owned())], ..SavepointFilter::default() };
        let found = metadata.list_savepoints(&filter, None, 10).await.unwrap();
        found.into_iter().map(|s| s.id).collect::<Vec<_>>()
    };
    change(one.id, &[("team", Some("a")), ("why", Some("upgrade"))]).await;
    change(two.id, &[("team", Some("a"))]).await;
    assert_eq!(search("team", "a").await, [two.id, one.id]);
    let changed = change(one.id, &[("team", Some("b")), ("why", None)]).await;
    assert_eq!(changed.details.labels, [("team".to_owned(), "b".to_owned())].into());
    assert_eq!(search("team", "a").await, [two.id]);
    assert_eq!(search("why", "upgrade").await, []);
    let refused = metadata
        .change_savepoint(one.id, &SavepointChange::default(), |_| Err(Error::invalid("invalid_value", "too many")))
        .await;
    check_error(refused, ErrorKind::Invalid, "invalid_value");
}

async fn savepoints_of_all_jobs_are_paged(metadata: &Metadata) {
    let (a, b) = (running(metadata, "a").await, running(metadata, "b").await);
    let mut all = Vec::new();
    for started_ms in 0..6 {
        let lease = if started_ms % 2 == 0 { &a } else { &b };
        all.push(completed(metadata, lease, Savepoint, started_ms / 3).await);
        completed(metadata, lease, Checkpoint, started_ms).await;
    }
    all.sort_by_key(|s| std::cmp::Reverse((s.started_ms, s.id)));
    let mut seen: Vec<Snapshot> = Vec::new();
    loop {
        let after = seen.last().map(|s| (s.started_ms, s.id));
        let page = metadata.list_savepoints(&SavepointFilter::default(), after, 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, all);
    let failed = SavepointFilter { status: vec![SnapshotStatus::Failed], ..SavepointFilter::default() };
    assert_eq!(metadata.list_savepoints(&failed, None, 10).await.unwrap(), []);
}

/// An imported savepoint of a job that this database does not know, numbered like one of a job that it knows.
fn imported(number: u64, origin: JobId) -> Snapshot {
    Snapshot {
        id: SnapshotId::generate(),
        job_id: origin,
        kind: Savepoint,
        checkpoint_id: number,
        attempt: 9,
        status: SnapshotStatus::InProgress,
        trigger: SnapshotTrigger::Stop,
        location: "file:///store/savepoints/x/_metadata".into(),
        state_bytes: 0,
        uploaded_bytes: 0,
        started_ms: 50,
        ended_ms: None,
        failure: None,
        details: SnapshotDetails {
            job_name: "elsewhere".into(),
            format: SnapshotFormat::Canonical,
            labels: [("from".to_owned(), "b".to_owned())].into(),
            imported_from: Some("s3://other/savepoints/x".into()),
            ..SnapshotDetails::default()
        },
    }
}

async fn an_import_is_published_with_its_operation(metadata: &Metadata) {
    let lease = running(metadata, "a").await;
    let own = completed(metadata, &lease, Savepoint, 10).await;
    // The same job's: it was exported from here. It must not be taken for one of the job's own.
    let copy = imported(own.checkpoint_id, lease.job_id);
    let import = operation(copy.id, OperationKind::Import);
    assert_eq!(metadata.begin_operation(&import, Some(&copy), None).await.unwrap(), Begun::Created);
    assert_eq!(metadata.snapshot(copy.id).await.unwrap(), copy);
    assert!(metadata.renew_operation(import.id, 3, Some(7), 6).await.unwrap());
    let done = Snapshot { state_bytes: 7, uploaded_bytes: 8, ..copy.clone() };
    let result = Ok(serde_json::json!({"bytes": 7}));
    assert!(metadata.finish_operation(import.id, &result, Some(&done), 60).await.unwrap());
    assert!(!metadata.finish_operation(import.id, &result, Some(&done), 61).await.unwrap());
    let stored = metadata.operation(copy.id, import.id).await.unwrap();
    assert_eq!((stored.status, stored.bytes_done, stored.bytes_total), (OperationStatus::Completed, 7, Some(7)));
    assert_eq!(stored.result, result.ok());
    let row = metadata.snapshot(copy.id).await.unwrap();
    assert_eq!((row.status, row.state_bytes, row.ended_ms), (SnapshotStatus::Completed, 7, Some(60)));
    assert_eq!(metadata.latest_for_recovery(lease.job_id).await.unwrap().unwrap().id, own.id);
    assert_eq!(
        metadata.snapshot_by_checkpoint(lease.job_id, own.checkpoint_id).await.unwrap().map(|s| s.id),
        Some(own.id)
    );

    let other = imported(1, JobId::generate());
    let import = operation(other.id, OperationKind::Import);
    metadata.begin_operation(&import, Some(&other), None).await.unwrap();
    let failed = Err(Error::corrupt("object_corrupt", "x is damaged"));
    assert!(metadata.finish_operation(import.id, &failed, Some(&other), 60).await.unwrap());
    let row = metadata.snapshot(other.id).await.unwrap();
    assert_eq!((row.status, row.failure.as_deref()), (SnapshotStatus::Failed, Some("x is damaged")));
    let by_name = SavepointFilter { job_name: Some("elsewhere".into()), ..SavepointFilter::default() };
    assert_eq!(metadata.list_savepoints(&by_name, None, 10).await.unwrap().len(), 2);
}

async fn operations_are_idempotent_by_client_key(metadata: &Metadata) {
    let lease = running(metadata, "a").await;
    let savepoint = completed(metadata, &lease, Savepoint, 10).await;
    let first = operation(savepoint.id, OperationKind::Export);
    assert_eq!(metadata.begin_operation(&first, None, Some("k")).await.unwrap(), Begun::Created);
    let again = operation(savepoint.id, OperationKind::Export);
    assert_eq!(
        metadata.begin_operation(&again, None, Some("k")).await.unwrap(),
        Begun::Replayed(Box::new(first.clone()))
    );
    let other = SavepointOperation { request: serde_json::json!({"target": "file:///u"}), ..again.clone() };
    check_error(metadata.begin_operation(&other, None, Some("k")).await, ErrorKind::Conflict, "idempotency_key_reused");
    assert_eq!(metadata.begin_operation(&again, None, None).await.unwrap(), Begun::Created);
    assert_eq!(metadata.operations(savepoint.id).await.unwrap().len(), 2);
    assert_eq!(metadata.operation_by_key("k").await.unwrap(), Some(first));
    let nowhere = operation(SnapshotId::generate(), OperationKind::Verify);
    check_error(metadata.begin_operation(&nowhere, None, None).await, ErrorKind::NotFound, "savepoint_not_found");
    check_error(metadata.operation(savepoint.id, nowhere.id).await, ErrorKind::NotFound, "operation_not_found");
}

async fn abandoned_operations_are_found(metadata: &Metadata) {
    let lease = running(metadata, "a").await;
    let savepoint = completed(metadata, &lease, Savepoint, 10).await;
    let begin = async |owner: &str, updated_ms| {
        let begun = SavepointOperation { owner: owner.into(), ..operation(savepoint.id, OperationKind::Verify) };
        metadata.begin_operation(&begun, None, None).await.unwrap();
        assert!(metadata.renew_operation(begun.id, 1, None, updated_ms).await.unwrap());
        begun.id
    };
    let mine = begin("x", 100).await;
    let (silent, alive) = (begin("y", 10).await, begin("y", 100).await);
    let mut found: Vec<_> = metadata.abandoned_operations("x", 50).await.unwrap().into_iter().map(|o| o.id).collect();
    found.sort();
    let mut expected = [mine, silent];
    expected.sort();
    assert_eq!(found, expected, "{alive}");
}

async fn what_ended_jobs_left_in_progress_is_failed(metadata: &Metadata) {
    let (a, b) = (running(metadata, "a").await, running(metadata, "b").await);
    let (left, runs) = (begun(metadata, &a, Savepoint, 1).await, begun(metadata, &b, Savepoint, 1).await);
    assert!(metadata.release_job(&a).await.unwrap());
    end(metadata, a.job_id, 30).await;
    let failed = metadata.fail_in_progress_of_ended_jobs("the job ended", 40).await.unwrap();
    assert_eq!(failed.iter().map(|s| s.id).collect::<Vec<_>>(), [left.id]);
    let row = metadata.snapshot(left.id).await.unwrap();
    assert_eq!((row.status, row.failure.as_deref()), (SnapshotStatus::Failed, Some("the job ended")));
    assert_eq!(metadata.snapshot(runs.id).await.unwrap().status, SnapshotStatus::InProgress);
}
