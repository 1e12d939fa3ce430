//! What a crash would cost, by tables of facts.

use super::*;
use crate::graph::{JobGraph, PLAN_VERSION};
use crate::id::{JobId, SnapshotId};
use crate::metadata::{DesiredStatus, JobSettings, SnapshotTrigger};

const NOW: i64 = 1_000_000;

fn job(status: JobStatus, interval_ms: u64) -> Job {
    let mut settings = JobSettings::for_tests();
    settings.checkpointing.interval_ms = interval_ms;
    Job {
        id: JobId::from_text("job"),
        name: "job".into(),
        sql: String::new(),
        plan: JobGraph {
            version: PLAN_VERSION,
            vertices: Vec::new(),
            edges: Vec::new(),
            changelog: Default::default(),
            options: Default::default(),
        },
        settings,
        status,
        desired: DesiredStatus::Running,
        attempt: 1,
        restarts: 0,
        owner: None,
        lease_until_ms: 0,
        failure: None,
        created_ms: 0,
        started_ms: Some(NOW - 20_000),
        ended_ms: None,
        updated_ms: 0,
        version: 1,
        restart_from: None,
        restored: None,
        failed_checkpoints: 0,
    }
}

fn snapshot(number: u64, status: SnapshotStatus, age_ms: i64) -> Snapshot {
    Snapshot {
        id: SnapshotId::from_text(&number.to_string()),
        job_id: JobId::from_text("job"),
        kind: SnapshotKind::Checkpoint,
        checkpoint_id: number,
        attempt: 1,
        status,
        trigger: SnapshotTrigger::Periodic,
        location: "memory:///x".into(),
        state_bytes: 10,
        uploaded_bytes: 10,
        started_ms: NOW - age_ms,
        ended_ms: None,
        failure: (status == SnapshotStatus::Failed).then(|| format!("reason {number}")),
        details: Default::default(),
    }
}

fn facts<'a>(job: &'a Job, newest: Option<&'a Snapshot>, recent: &[Snapshot], runs_here: bool) -> Facts<'a> {
    Facts { job, now_ms: NOW, newest, failed: failed_since(recent, newest), runs_here }
}

use SnapshotStatus::{Completed, Failed, InProgress};

#[test]
fn risks_say_what_could_cost_data_or_time() {
    let check = |job: &Job, newest: Option<&Snapshot>, recent: &[Snapshot], runs_here, expected: &[&str]| {
        let found: Vec<String> = risks(&facts(job, newest, recent, runs_here)).into_iter().map(|r| r.code).collect();
        assert_eq!(found, expected);
    };
    let running = job(JobStatus::Running, 10_000);
    let fresh = snapshot(5, Completed, 1_000);
    check(&running, Some(&fresh), &[snapshot(6, InProgress, 10), fresh.clone()], true, &[]);
    check(&running, None, &[], true, &["no_checkpoint"]);
    check(&job(JobStatus::Running, 0), None, &[], true, &["checkpointing_off", "no_checkpoint"]);
    check(&running, Some(&fresh), &[], false, &["not_running_here"]);
    let old = snapshot(5, Completed, 60_001);
    check(&running, Some(&old), &[], true, &["checkpoint_overdue"]);
    check(&running, Some(&snapshot(5, Completed, 60_000)), &[], true, &[]);
    // A long interval may take its time; none at all is no promise.
    check(&job(JobStatus::Running, 60_000), Some(&snapshot(5, Completed, 300_000)), &[], true, &[]);
    check(&job(JobStatus::Running, 0), Some(&old), &[], true, &["checkpointing_off"]);
    let failing = [snapshot(7, Failed, 1_000), snapshot(6, Failed, 11_000), old.clone(), snapshot(4, Failed, 90_000)];
    check(&running, Some(&old), &failing, true, &["checkpoints_failing", "checkpoint_overdue"]);
    let text = risks(&facts(&running, Some(&old), &failing, true))[0].message.clone();
    assert!(text.contains("last 2 checkpoints") && text.contains("11 s ago") && text.ends_with("reason 7"), "{text}");
    // Failures before the newest completed one do not matter any more.
    check(&running, Some(&fresh), &[snapshot(4, Failed, 2_000)], true, &[]);
    check(&job(JobStatus::Finished, 10_000), Some(&old), &failing, false, &[]);
}

#[test]
fn a_replay_reaches_back_to_the_snapshot_but_not_before_the_attempt() {
    let job = job(JobStatus::Running, 10_000);
    let since = |age_ms| replay_input_ms(&facts(&job, Some(&snapshot(1, Completed, age_ms)), &[], true));
    assert_eq!(since(5_000), 5_000);
    assert_eq!(since(50_000), 20_000);
    assert_eq!(replay_input_ms(&facts(&job, None, &[], true)), 20_000);
}

#[test]
fn a_restore_takes_as_long_as_its_bytes() {
    assert_eq!(estimate_ms(1 << 30, Some(1 << 20)), Some(1_024_000));
    assert_eq!(estimate_ms(1 << 30, Some(0)), None);
    assert_eq!(estimate_ms(1 << 30, None), None);
    assert_eq!(estimate_ms(u64::MAX, Some(1)), None);
}
