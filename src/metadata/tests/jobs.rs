//! Submitting, reading, listing and deleting jobs; failures.

use super::*;

on_both!(
    a_stored_job_reads_back,
    an_idempotency_key_replays_its_own_request_only,
    a_live_name_belongs_to_one_job,
    racing_submits_with_one_key_make_one_job,
    listing_filters_and_pages_newest_first,
    only_ended_jobs_can_be_deleted,
    states_and_snapshots_are_listed_by_id,
    actions_are_recorded_with_their_outcome,
    a_row_that_cannot_be_read_is_corrupt,
    failures_are_kept_newest_first_up_to_a_limit,
    text_that_cannot_be_stored_is_refused_or_replaced,
);

async fn a_stored_job_reads_back(metadata: &Metadata) {
    let mut stored = job("orders", 5);
    stored.settings = settings(&[("team", "billing"), ("stage", "prod")]);
    stored.settings.restore = Some(RestoreSource::unheld("s3://b/m", true));
    stored.failure = Some("earlier".to_owned());
    insert(metadata, &stored).await;
    assert_eq!(metadata.job(stored.id).await.unwrap(), stored);
    assert_eq!(metadata.job_by_name("orders").await.unwrap(), Some(stored.clone()));
    assert_eq!(metadata.job_by_name("other").await.unwrap(), None);
    assert_eq!(metadata.find_job(JobId::generate()).await.unwrap(), None);
    check_error(metadata.job(JobId::generate()).await, ErrorKind::NotFound, "job_not_found");
    check_error(
        metadata.insert_job(&Job { name: "n".to_owned(), ..stored.clone() }, None).await,
        ErrorKind::Conflict,
        "job_exists",
    );
    let large = Job { attempt: u64::MAX, ..job("large", 1) };
    check_error(metadata.insert_job(&large, None).await, ErrorKind::Internal, "internal");
}

async fn an_idempotency_key_replays_its_own_request_only(metadata: &Metadata) {
    let first = job("a", 1);
    assert_eq!(metadata.insert_job(&first, Some(("key", "hash"))).await.unwrap(), Inserted::Created);
    let again = metadata.insert_job(&job("a", 2), Some(("key", "hash"))).await.unwrap();
    assert_eq!(again, Inserted::Replayed(Box::new(first.clone())));
    let other = metadata.insert_job(&job("b", 2), Some(("key", "other hash"))).await;
    check_error(other, ErrorKind::Conflict, "idempotency_key_reused");
    assert_eq!(metadata.job_by_name("b").await.unwrap(), None);
    // A refused submit does not use up its key.
    check_error(metadata.insert_job(&job("a", 3), Some(("key 2", "h"))).await, ErrorKind::Conflict, "job_name_taken");
    assert_eq!(metadata.insert_job(&job("c", 4), Some(("key 2", "h 2"))).await.unwrap(), Inserted::Created);
    // The key goes with the job.
    end(metadata, first.id, 5).await;
    metadata.begin_job_deletion(first.id, false, 5).await.unwrap();
    metadata.finish_job_deletion(first.id).await.unwrap();
    assert_eq!(metadata.insert_job(&job("a", 6), Some(("key", "hash"))).await.unwrap(), Inserted::Created);
}

async fn a_live_name_belongs_to_one_job(metadata: &Metadata) {
    let first = insert(metadata, &job("orders", 1)).await;
    let error = check_error(metadata.insert_job(&job("orders", 2), None).await, ErrorKind::Conflict, "job_name_taken");
    assert!(error.message.contains(&first.to_string()), "{error}");
    end(metadata, first, 3).await;
    let second = insert(metadata, &job("orders", 4)).await;
    assert_eq!(metadata.job_by_name("orders").await.unwrap().unwrap().id, second);
    let error = check_error(metadata.reset_for_restart(first, None, 5).await, ErrorKind::Conflict, "job_name_taken");
    assert!(error.message.contains(&second.to_string()), "{error}");
    end(metadata, second, 6).await;
    assert!(metadata.reset_for_restart(first, None, 7).await.unwrap());
    let live = metadata.job_by_name("orders").await.unwrap().unwrap();
    assert_eq!(
        (live.id, live.status, live.desired, live.ended_ms),
        (first, JobStatus::Created, DesiredStatus::Running, None)
    );
    assert!(!metadata.reset_for_restart(first, None, 8).await.unwrap());
}

async fn racing_submits_with_one_key_make_one_job(metadata: &Metadata) {
    let submits =
        (0..16).map(|n| async move { metadata.insert_job(&job("a", n), Some(("key", "hash"))).await.unwrap() });
    let outcomes = futures::future::join_all(submits).await;
    assert_eq!(outcomes.iter().filter(|o| **o == Inserted::Created).count(), 1);
    assert_eq!(metadata.list_jobs(&JobFilter::default(), None, 100).await.unwrap().len(), 1);
}

async fn listing_filters_and_pages_newest_first(metadata: &Metadata) {
    let mut ids = Vec::new();
    for n in 0..6_i64 {
        let mut stored = job(&format!("job-{n}"), 100 + n / 2);
        let stage = if n % 2 == 0 { "prod" } else { "test" };
        stored.settings = settings(&[("stage", stage), ("n", &n.to_string())]);
        ids.push(insert(metadata, &stored).await);
    }
    end(metadata, ids[0], 200).await;
    let list = async |filter: JobFilter, after, limit| {
        let jobs = metadata.list_jobs(&filter, after, limit).await.unwrap();
        jobs.iter().map(|job| (job.created_ms, job.id)).collect::<Vec<_>>()
    };
    let all = list(JobFilter::default(), None, 100).await;
    // Ids made later sort later, so newest first is the reverse of insertion.
    assert_eq!(all.iter().map(|(_, id)| *id).collect::<Vec<_>>(), ids.iter().rev().copied().collect::<Vec<_>>());
    let mut paged = Vec::new();
    while let page = list(JobFilter::default(), paged.last().copied(), 2).await
        && !page.is_empty()
    {
        paged.extend(page);
    }
    assert_eq!(paged, all);

    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let cases = [
        (JobFilter { labels: vec![label("stage", "prod")], ..JobFilter::default() }, vec![4, 2, 0]),
        (JobFilter { labels: vec![label("stage", "prod"), label("n", "2")], ..JobFilter::default() }, vec![2]),
        (JobFilter { labels: vec![label("prod", "stage")], ..JobFilter::default() }, vec![]),
        (JobFilter { status: vec![JobStatus::Canceled], ..JobFilter::default() }, vec![0]),
        (
            JobFilter { status: vec![JobStatus::Canceled, JobStatus::Created], ..JobFilter::default() },
            vec![5, 4, 3, 2, 1, 0],
        ),
        (JobFilter { name: Some("job-3".to_owned()), ..JobFilter::default() }, vec![3]),
        (
            JobFilter {
                status: vec![JobStatus::Canceled],
                labels: vec![label("stage", "prod")],
                name: Some("job-0".to_owned()),
            },
            vec![0],
        ),
    ];
    for (filter, expected) in cases {
        let found: Vec<_> = list(filter.clone(), None, 100).await.into_iter().map(|(_, id)| id).collect();
        assert_eq!(found, expected.into_iter().map(|n: usize| ids[n]).collect::<Vec<_>>(), "{filter:?}");
    }
    // All members and the page's start at once.
    let filter = JobFilter { status: vec![JobStatus::Created], labels: vec![label("stage", "prod")], name: None };
    assert_eq!(list(filter, Some(all[1]), 1).await, vec![all[3]]);
}

async fn only_ended_jobs_can_be_deleted(metadata: &Metadata) {
    let mut stored = job("a", 1);
    stored.settings = settings(&[("k", "v")]);
    let id = insert(metadata, &stored).await;
    check_error(metadata.begin_job_deletion(id, true, 2).await, ErrorKind::Conflict, "job_not_terminal");
    let lease = acquired(metadata, id, "x", 2).await;
    let (checkpoint, savepoint) =
        (snapshot(&lease, SnapshotKind::Checkpoint, 1), snapshot(&lease, SnapshotKind::Savepoint, 2));
    assert!(metadata.begin_snapshot(&lease, &checkpoint, None).await.unwrap());
    assert!(metadata.begin_snapshot(&lease, &savepoint, None).await.unwrap());
    let failed = JobException { job_id: id, attempt: 1, at_ms: 1, error: Error::internal("x"), task: None };
    metadata.insert_exception(&failed).await.unwrap();
    assert!(metadata.set_status(&lease, &[JobStatus::Initializing], JobStatus::Failed, Some("x"), 3).await.unwrap());
    // Without its mark, a job's row is not deleted.
    metadata.finish_job_deletion(id).await.unwrap();
    assert_eq!(metadata.jobs_being_deleted().await.unwrap(), []);
    for (with_savepoints, kind, expected) in
        [(false, SnapshotKind::Checkpoint, 1), (false, SnapshotKind::Savepoint, 0), (true, SnapshotKind::Savepoint, 1)]
    {
        metadata.begin_job_deletion(id, with_savepoints, 4).await.unwrap();
        assert_eq!(metadata.deleting_of(id, kind).await.unwrap().len(), expected, "{with_savepoints} {kind}");
    }
    assert_eq!(metadata.jobs_being_deleted().await.unwrap(), [id]);
    assert_eq!(metadata.job_state(id).await.unwrap().desired, DesiredStatus::Deleted);
    assert!(
        !metadata.reset_for_restart(id, None, 5).await.unwrap(),
        "a job that is being deleted does not start again"
    );
    metadata.delete_snapshot_rows(&[savepoint.id]).await.unwrap();
    metadata.finish_job_deletion(id).await.unwrap();
    metadata.finish_job_deletion(id).await.unwrap();
    check_error(metadata.begin_job_deletion(id, true, 6).await, ErrorKind::NotFound, "job_not_found");
    assert_eq!(metadata.all_snapshots(None, 10).await.unwrap(), []);
    assert_eq!(metadata.list_exceptions(id, 10).await.unwrap(), []);
    check_error(metadata.insert_exception(&failed).await, ErrorKind::NotFound, "job_not_found");
}

async fn states_and_snapshots_are_listed_by_id(metadata: &Metadata) {
    let mut snapshots = Vec::new();
    for name in ["a", "b", "c"] {
        let id = insert(metadata, &job(name, 1)).await;
        let lease = acquired(metadata, id, "x", 2).await;
        let stored = snapshot(&lease, SnapshotKind::Checkpoint, 1);
        assert!(metadata.begin_snapshot(&lease, &stored, None).await.unwrap());
        snapshots.push(stored);
    }
    let states = metadata.job_states(None, 2).await.unwrap();
    let rest = metadata.job_states(states.last().map(|s| s.id), 2).await.unwrap();
    assert_eq!((states.len(), rest.len()), (2, 1));
    assert_eq!(rest[0], metadata.job_state(rest[0].id).await.unwrap());
    assert_eq!((rest[0].status, rest[0].attempt), (JobStatus::Initializing, 1));
    let first = metadata.all_snapshots(None, 2).await.unwrap();
    let rest = metadata.all_snapshots(first.last().map(|s| s.id), 2).await.unwrap();
    assert_eq!(first.into_iter().chain(rest).collect::<Vec<_>>(), snapshots);
    assert!(!metadata.fail_completed(snapshots[0].id, "lost").await.unwrap(), "it is not completed");
}

async fn actions_are_recorded_with_their_outcome(metadata: &Metadata) {
    let id = insert(metadata, &job("a", 1)).await;
    let begin = async |kind, job_id, started_ms| {
        let action = Action {
            id: ActionId::generate(),
            kind,
            job_id,
            owner: "me".into(),
            status: ActionStatus::Running,
            started_ms,
            ended_ms: None,
            report: None,
            failure: None,
        };
        metadata.begin_action(&action).await.unwrap();
        action
    };
    let drill = begin(ActionKind::Drill, Some(id), 1).await;
    let fsck = begin(ActionKind::Fsck, None, 2).await;
    let interrupted = begin(ActionKind::Fsck, None, 3).await;
    assert_eq!(metadata.action(drill.id).await.unwrap(), drill);
    assert!(metadata.end_action(drill.id, &Ok(serde_json::json!({ "keys": 1 })), 5).await.unwrap());
    assert!(!metadata.end_action(drill.id, &Ok(serde_json::json!({})), 6).await.unwrap(), "it has ended");
    let ended = metadata.action(drill.id).await.unwrap();
    assert_eq!(
        (ended.status, ended.ended_ms, ended.report),
        (ActionStatus::Completed, Some(5), Some(serde_json::json!({ "keys": 1 })))
    );
    let error = Error::unavailable("store_unavailable", "away\0");
    assert!(metadata.end_action(fsck.id, &Err(error.clone()), 7).await.unwrap());
    assert_eq!(metadata.fail_actions_of("me", &Error::internal("the service ended"), 8).await.unwrap(), 1);
    assert_eq!(metadata.fail_actions_of("me", &error, 9).await.unwrap(), 0);
    let all = metadata.actions(ActionKind::Fsck, None, 10).await.unwrap();
    assert_eq!(
        all.iter().map(|a| (a.id, a.status)).collect::<Vec<_>>(),
        [(interrupted.id, ActionStatus::Failed), (fsck.id, ActionStatus::Failed)]
    );
    assert_eq!(all[1].failure.as_ref(), Some(&error));
    assert_eq!(metadata.actions(ActionKind::Drill, Some(id), 10).await.unwrap().len(), 1);
    assert_eq!(metadata.actions(ActionKind::Drill, None, 10).await.unwrap(), []);
    check_error(metadata.action(ActionId::generate()).await, ErrorKind::NotFound, "action_not_found");
    for n in 0..i64::from(ACTIONS_KEPT) + 5 {
        let action = begin(ActionKind::Fsck, None, 100 + n).await;
        metadata.end_action(action.id, &Ok(serde_json::json!(n)), 200).await.unwrap();
    }
    let kept = metadata.actions(ActionKind::Fsck, None, 1_000).await.unwrap();
    assert_eq!(kept.len(), ACTIONS_KEPT as usize + 1);
}

async fn a_row_that_cannot_be_read_is_corrupt(metadata: &Metadata) {
    let broken = insert(metadata, &job("broken", 1)).await;
    let good = insert(metadata, &job("good", 2)).await;
    const BREAK: &str = "UPDATE jobs SET plan = '{\"version\":' WHERE id = $1";
    on!(metadata, p => sqlx::query(BREAK).bind(broken.to_string()).execute(p).await.map(|_| ())).unwrap();
    let error = check_error(metadata.job(broken).await, ErrorKind::Corrupt, "row_corrupt");
    assert!(error.message.contains(&broken.to_string()) && error.message.contains("plan"), "{error}");
    // It is not taken, and does not keep the other from running.
    check_error(metadata.acquire_job(broken, "x", LEASE_MS, 3).await, ErrorKind::Corrupt, "row_corrupt");
    assert_eq!(metadata.jobs_to_run("x", &[], 3, 10).await.unwrap(), [broken, good]);
    const UNTOUCHED: &str = "SELECT COUNT(*) FROM jobs WHERE id = $1 AND owner IS NULL AND attempt = 0";
    let untouched: i64 =
        on!(metadata, p => sqlx::query_scalar(UNTOUCHED).bind(broken.to_string()).fetch_one(p).await).unwrap();
    assert_eq!(untouched, 1);
}

async fn failures_are_kept_newest_first_up_to_a_limit(metadata: &Metadata) {
    let id = insert(metadata, &job("a", 1)).await;
    let other = insert(metadata, &job("b", 1)).await;
    let failure = |job_id, n: i64| JobException {
        job_id,
        attempt: 1,
        at_ms: n,
        error: Error::invalid("bad_record", "no number").at_input("f.csv", 7),
        task: Some(FailedTask {
            vertex: "Source -> Sink".into(),
            operator: Some("Sink".into()),
            subtask: 0,
            parallelism: 2,
        }),
    };
    metadata.insert_exception(&failure(other, 0)).await.unwrap();
    let kept = super::super::exceptions::MAX_EXCEPTIONS_PER_JOB;
    for n in 0..kept + 3 {
        metadata.insert_exception(&failure(id, n)).await.unwrap();
    }
    let newest = metadata.list_exceptions(id, 2).await.unwrap();
    assert_eq!(newest, [failure(id, kept + 2), failure(id, kept + 1)]);
    let all = metadata.list_exceptions(id, 1000).await.unwrap();
    assert_eq!((all.len() as i64, all.last().unwrap().at_ms), (kept, 3));
    assert_eq!(metadata.list_exceptions(other, 10).await.unwrap(), [failure(other, 0)]);
}

async fn text_that_cannot_be_stored_is_refused_or_replaced(metadata: &Metadata) {
    let named = metadata.insert_job(&job("nul \0", 1), None).await;
    // SQLite stores it.
    if let Err(error) = named {
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Invalid, "invalid_text"));
    }
    let id = insert(metadata, &job("a", 1)).await;
    let lease = acquired(metadata, id, "x", 2).await;
    assert!(metadata.set_status(&lease, &[JobStatus::Initializing], JobStatus::Failed, Some("a\0b"), 3).await.unwrap());
    assert_eq!(metadata.job(id).await.unwrap().failure.as_deref(), Some("a\u{fffd}b"));
}
