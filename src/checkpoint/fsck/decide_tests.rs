//! What fsck decides about objects and rows, by tables of facts.

use super::*;
use crate::checkpoint::verify::Damage;
use crate::metadata::{JobStatus, Snapshot, SnapshotTrigger};

const NOW: i64 = 1_000_000;
const OPTIONS: FsckOptions =
    FsckOptions { repair: false, deep: false, min_age_ms: 1_000, unknown_min_age_ms: 5_000, threads: 1 };

fn job() -> JobId {
    JobId::from_text("job")
}

fn state(status: JobStatus, desired: DesiredStatus) -> JobState {
    JobState { id: job(), status, desired, attempt: 3 }
}

fn row(kind: SnapshotKind, number: u64, attempt: u64, status: SnapshotStatus) -> Snapshot {
    let id = SnapshotId::from_text(&format!("{kind} {number}"));
    let key = crate::checkpoint::manifest_key(kind, job(), id, number, attempt);
    Snapshot {
        id,
        job_id: job(),
        kind,
        checkpoint_id: number,
        attempt,
        status,
        trigger: SnapshotTrigger::Periodic,
        location: format!("memory:///{key}"),
        state_bytes: 0,
        uploaded_bytes: 0,
        started_ms: 0,
        ended_ms: None,
        failure: None,
        details: Default::default(),
    }
}

fn facts(
    status: JobStatus,
    desired: DesiredStatus,
    rows: Vec<(Snapshot, Content)>,
    objects: &[(String, i64)],
) -> Facts {
    let snapshots = rows
        .into_iter()
        .map(|(row, content)| SnapshotFacts {
            key: row.location.strip_prefix("memory:///").map(str::to_owned),
            row,
            content,
        })
        .collect();
    let objects = objects
        .iter()
        .map(|(key, age_ms)| (key.clone(), ObjectInfo { key: key.clone(), bytes: 7, modified_ms: NOW - age_ms }))
        .collect();
    Facts { objects, jobs: [(job(), state(status, desired))].into(), snapshots, ..Facts::default() }
}

fn shared(attempt: u64, number: u64) -> String {
    format!("jobs/{}/shared/{attempt}-{number}/op-0-000009.sst", job())
}

/// The kinds of the problems with their objects' keys, sorted; and how many objects were spared and foreign.
fn check(facts: &Facts, expected: &[(ProblemKind, &str)], spared: u64, foreign: u64) {
    let decided = decide(facts, &OPTIONS, NOW);
    let mut found: Vec<(ProblemKind, String)> = decided
        .problems
        .iter()
        .map(|p| (p.kind, p.object.clone().unwrap_or_default().trim_start_matches("memory:///").to_owned()))
        .collect();
    found.sort();
    let expected: Vec<(ProblemKind, String)> = expected.iter().map(|(k, o)| (*k, (*o).to_owned())).collect();
    assert_eq!(found, expected);
    assert_eq!((decided.spared, decided.foreign), (spared, foreign), "spared, foreign");
}

use DesiredStatus::{Deleted, Running as Wanted};
use JobStatus::{Finished, Running};
use SnapshotKind::{Checkpoint, Savepoint};
use SnapshotStatus::{Completed, Deleting, Failed, InProgress};

fn needs(keys: &[String]) -> Content {
    Content::Read { needs: keys.to_vec(), damages: Vec::new() }
}

#[test]
fn a_referenced_object_is_no_orphan_and_an_old_unreferenced_one_is() {
    let kept = row(Checkpoint, 2, 3, Completed);
    let manifest = kept.location.trim_start_matches("memory:///").to_owned();
    let objects = [
        (manifest, 10_000),
        (shared(1, 1), 10_000),
        (shared(1, 2), 10_000),
        (shared(1, 3), 999),
        (shared(1, 4), 1_000),
    ];
    let facts = facts(Running, Wanted, vec![(kept, needs(&[shared(1, 1)]))], &objects);
    check(&facts, &[(ProblemKind::OrphanObject, &shared(1, 2)), (ProblemKind::OrphanObject, &shared(1, 4))], 1, 0);
}

#[test]
fn what_a_running_upload_may_have_stored_is_spared() {
    let savepoint = row(Savepoint, 5, 3, InProgress);
    let state = format!("savepoints/{}/state/op-0-1.sst", savepoint.id);
    let rows =
        || vec![(row(Checkpoint, 4, 3, InProgress), Content::NotNeeded), (savepoint.clone(), Content::NotNeeded)];
    let objects = [(shared(3, 4), 10_000), (state.clone(), 10_000), (shared(2, 4), 10_000)];
    // Another attempt's objects of the same number are not the running one's.
    let stray = shared(2, 4);
    check(&facts(Running, Wanted, rows(), &objects), &[(ProblemKind::OrphanObject, &stray)], 2, 0);
    // An ended job uploads nothing.
    let ended = facts(Finished, Wanted, rows(), &objects);
    let first = row(Checkpoint, 4, 3, InProgress).location;
    check(
        &ended,
        &[
            (ProblemKind::OrphanObject, &shared(2, 4)),
            (ProblemKind::OrphanObject, &shared(3, 4)),
            (ProblemKind::OrphanObject, &state),
            (ProblemKind::AbandonedSnapshot, first.trim_start_matches("memory:///")),
            (ProblemKind::AbandonedSnapshot, savepoint.location.trim_start_matches("memory:///")),
        ],
        0,
        0,
    );
    // An import is not the job's, whose number it has.
    let mut imported = row(Savepoint, 6, 1, InProgress);
    imported.details.imported_from = Some("s3://elsewhere/savepoint".into());
    let copied = [(format!("savepoints/{}/state/x.sst", imported.id), 10_000)];
    check(&facts(Finished, Wanted, vec![(imported, Content::NotNeeded)], &copied), &[], 1, 0);
    // Nor does an attempt before the current one.
    let old = row(Checkpoint, 4, 2, InProgress);
    let older = facts(Running, Wanted, vec![(old.clone(), Content::NotNeeded)], &[]);
    check(&older, &[(ProblemKind::AbandonedSnapshot, old.location.trim_start_matches("memory:///"))], 0, 0);
}

#[test]
fn interrupted_deletions_are_finished_as_a_whole() {
    let going = row(Checkpoint, 1, 1, Deleting);
    let location = going.location.trim_start_matches("memory:///").to_owned();
    let rows = || vec![(going.clone(), Content::NotNeeded)];
    let objects = [(shared(1, 1), 10_000)];
    check(&facts(Finished, Wanted, rows(), &objects), &[(ProblemKind::UnfinishedDeletion, &location)], 0, 0);
    // A running job's owner does it.
    check(&facts(Running, Wanted, rows(), &objects), &[], 0, 0);
    let other = [(shared(1, 1), 10_000), (shared(9, 9), 10_000)];
    check(
        &facts(Finished, Deleted, rows(), &other),
        &[(ProblemKind::UnfinishedDeletion, ""), (ProblemKind::UnfinishedDeletion, &location)],
        0,
        0,
    );
}

#[test]
fn losses_name_the_object() {
    let first = row(Checkpoint, 1, 1, Completed);
    let damages = [(DamageKind::Missing, "a"), (DamageKind::WrongHash, "b"), (DamageKind::WrongLength, "c")]
        .map(|(problem, key)| Damage { object: key.to_owned(), problem, detail: String::new() });
    let content = Content::Read { needs: Vec::new(), damages: damages.to_vec() };
    let lost = facts(Running, Wanted, vec![(first.clone(), content)], &[]);
    check(
        &lost,
        &[(ProblemKind::MissingObject, "a"), (ProblemKind::WrongLength, "c"), (ProblemKind::WrongHash, "b")],
        0,
        0,
    );
    let location = first.location.trim_start_matches("memory:///").to_owned();
    for (content, kind) in [
        (Content::Missing, ProblemKind::MissingManifest),
        (Content::Unreadable("x".into()), ProblemKind::UnreadableManifest),
        (Content::Unreachable("x".into()), ProblemKind::UnreachableStore),
    ] {
        check(&facts(Running, Wanted, vec![(first.clone(), content)], &[]), &[(kind, &location)], 0, 0);
    }
}

#[test]
fn what_the_database_does_not_know_is_left_alone_where_there_is_a_manifest() {
    let other = JobId::from_text("other");
    let manifest = format!("jobs/{other}/chk-1-1/_metadata");
    let (used, stray) = (format!("jobs/{other}/shared/1-1/x.sst"), format!("jobs/{other}/shared/1-2/y.sst"));
    let nobody = format!("jobs/{}/shared/1-1/x.sst", JobId::from_text("nobody"));
    let savepoint = format!("savepoints/{}/state/x.sst", SnapshotId::from_text("unknown"));
    let all = [
        (manifest.clone(), 10_000),
        (used.clone(), 10_000),
        (stray, 10_000),
        (nobody.clone(), 5_000),
        (savepoint.clone(), 4_999),
        ("probe/0".to_owned(), 10_000),
        ("elsewhere/x".to_owned(), 10_000),
        ("jobs/readme".to_owned(), 10_000),
    ];
    let mut facts = facts(Running, Wanted, Vec::new(), &all);
    facts.unknown_manifests.insert(manifest.clone(), vec![used]);
    check(
        &facts,
        &[
            (ProblemKind::OrphanObject, &nobody),
            (ProblemKind::OrphanObject, "probe/0"),
            (ProblemKind::ManifestWithoutRow, &manifest),
        ],
        1,
        3,
    );
}

#[test]
fn a_failed_snapshots_objects_are_orphans_with_its_manifest() {
    let failed = row(Savepoint, 1, 1, Failed);
    let manifest = failed.location.trim_start_matches("memory:///").to_owned();
    let state = format!("savepoints/{}/state/x.sst", failed.id);
    let objects = [(manifest.clone(), 10_000), (state.clone(), 10_000)];
    let facts = facts(Running, Wanted, vec![(failed, Content::NotNeeded)], &objects);
    check(&facts, &[(ProblemKind::OrphanObject, &manifest), (ProblemKind::OrphanObject, &state)], 0, 0);
}
