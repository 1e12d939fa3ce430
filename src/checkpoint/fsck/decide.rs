//! From what was observed to problems and what would repair them: pure.

use std::collections::HashSet;

use super::facts::{Content, Facts, SnapshotFacts};
use super::{FsckOptions, ProblemKind};
use crate::checkpoint::verify::DamageKind;
use crate::checkpoint::{is_manifest, job_prefix, savepoint_prefix};
use crate::id::{JobId, SnapshotId};
use crate::metadata::{DesiredStatus, JobState, Snapshot, SnapshotKind, SnapshotStatus};
use crate::storage::ObjectInfo;

/// What repairs a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Nothing that a program should do by itself.
    None,
    DeleteObject(String),
    /// The snapshot is not what its row says.
    FailSnapshot(SnapshotId),
    /// All interrupted deletions are finished at once.
    FinishDeletions,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: ProblemKind,
    /// Key of an object in the own store; URI of a manifest, and of an object elsewhere.
    pub object: Option<String>,
    pub job_id: Option<JobId>,
    pub snapshot_id: Option<SnapshotId>,
    pub bytes: u64,
    pub detail: String,
    pub damage: Option<DamageKind>,
    pub fix: Fix,
}

/// All problems, and what was left alone.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decided {
    pub problems: Vec<Problem>,
    pub spared: u64,
    pub foreign: u64,
}

/// Whose an object is, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// A checkpoint's: job, checkpoint, attempt.
    Checkpoint(JobId, u64, u64),
    Job(JobId),
    Savepoint(SnapshotId),
    /// A start's try of the store.
    Probe,
    Foreign,
}

fn owner_of(key: &str) -> Owner {
    let pair = |text: &str| text.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["probe", _] => Owner::Probe,
        ["savepoints", id, _, ..] => id.parse().map_or(Owner::Foreign, Owner::Savepoint),
        ["jobs", id, rest @ ..] if !rest.is_empty() => match (id.parse(), rest) {
            (Err(_), _) => Owner::Foreign,
            (Ok(job), ["shared", folder, _, ..]) => {
                pair(folder).map_or(Owner::Job(job), |(attempt, number)| Owner::Checkpoint(job, number, attempt))
            }
            (Ok(job), [folder, _, ..]) => folder
                .strip_prefix("chk-")
                .and_then(pair)
                .map_or(Owner::Job(job), |(number, attempt)| Owner::Checkpoint(job, number, attempt)),
            (Ok(job), _) => Owner::Job(job),
        },
        _ => Owner::Foreign,
    }
}

/// What is to be done about an object that nothing needs.
#[derive(Debug, PartialEq, Eq)]
enum Unneeded {
    Orphan,
    /// A running upload, or too young.
    Spare,
    /// An interrupted deletion takes it along.
    Doomed,
    Foreign,
}

/// Decides everything.
pub(super) fn decide(facts: &Facts, options: &FsckOptions, now_ms: i64) -> Decided {
    let mut decided = Decided::default();
    facts.snapshots.iter().for_each(|s| of_row(s, facts, &mut decided.problems));
    for state in facts.jobs.values().filter(|j| j.desired == DesiredStatus::Deleted) {
        let detail = "the job is marked as deleted, and is still there".to_owned();
        decided.problems.push(problem(
            ProblemKind::UnfinishedDeletion,
            Some(state.id),
            None,
            detail,
            Fix::FinishDeletions,
        ));
    }
    let mut needed: HashSet<&str> = HashSet::new();
    for snapshot in &facts.snapshots {
        if let Content::Read { needs, .. } = &snapshot.content {
            needed.extend(snapshot.key.as_deref());
            needed.extend(needs.iter().map(String::as_str));
        }
    }
    for (key, needs) in &facts.unknown_manifests {
        needed.insert(key);
        needed.extend(needs.iter().map(String::as_str));
        decided.problems.push(Problem {
            object: Some(key.clone()),
            ..problem(
                ProblemKind::ManifestWithoutRow,
                None,
                None,
                "no row knows this snapshot: it is another installation's, or the database was lost; restore from its URI, or recover the database from the store".to_owned(),
                Fix::None,
            )
        });
    }
    for object in facts.objects.values().filter(|o| !needed.contains(o.key.as_str())) {
        match unneeded(object, facts, options, now_ms) {
            Unneeded::Orphan => decided.problems.push(orphan(object)),
            Unneeded::Spare => decided.spared += 1,
            Unneeded::Doomed => {}
            Unneeded::Foreign => decided.foreign += 1,
        }
    }
    decided
}

fn orphan(object: &ObjectInfo) -> Problem {
    let (job_id, snapshot_id) = match owner_of(&object.key) {
        Owner::Checkpoint(job, ..) | Owner::Job(job) => (Some(job), None),
        Owner::Savepoint(id) => (None, Some(id)),
        Owner::Probe | Owner::Foreign => (None, None),
    };
    Problem {
        object: Some(object.key.clone()),
        bytes: object.bytes,
        ..problem(
            ProblemKind::OrphanObject,
            job_id,
            snapshot_id,
            format!("{} bytes that nothing references", object.bytes),
            Fix::DeleteObject(object.key.clone()),
        )
    }
}

fn unneeded(object: &ObjectInfo, facts: &Facts, options: &FsckOptions, now_ms: i64) -> Unneeded {
    let old_enough = |min_age_ms: u64| {
        let limit = now_ms.saturating_sub(i64::try_from(min_age_ms).unwrap_or(i64::MAX));
        if object.modified_ms <= limit { Unneeded::Orphan } else { Unneeded::Spare }
    };
    match owner_of(&object.key) {
        Owner::Foreign => Unneeded::Foreign,
        Owner::Probe => old_enough(options.min_age_ms),
        Owner::Checkpoint(job, number, attempt) => match facts.jobs.get(&job) {
            Some(state) if state.desired == DesiredStatus::Deleted => Unneeded::Doomed,
            Some(state) => {
                let row = facts.snapshots.iter().find(|s| {
                    let r = &s.row;
                    (r.kind, r.job_id, r.checkpoint_id, r.attempt) == (SnapshotKind::Checkpoint, job, number, attempt)
                });
                match row.map(|s| s.row.status) {
                    Some(SnapshotStatus::InProgress) if !is_abandoned(attempt, state) => Unneeded::Spare,
                    Some(SnapshotStatus::Deleting) => Unneeded::Doomed,
                    _ => old_enough(options.min_age_ms),
                }
            }
            None => of_unknown_job(job, facts, old_enough(options.unknown_min_age_ms)),
        },
        Owner::Job(job) => match facts.jobs.get(&job) {
            Some(state) if state.desired == DesiredStatus::Deleted => Unneeded::Doomed,
            Some(_) => old_enough(options.min_age_ms),
            None => of_unknown_job(job, facts, old_enough(options.unknown_min_age_ms)),
        },
        Owner::Savepoint(id) => match facts.snapshots.iter().find(|s| s.row.id == id) {
            Some(s) => match s.row.status {
                SnapshotStatus::InProgress if !is_nobodys(&s.row, facts) => Unneeded::Spare,
                SnapshotStatus::Deleting => Unneeded::Doomed,
                _ => old_enough(options.min_age_ms),
            },
            None => {
                let prefix = format!("{}/", savepoint_prefix(id));
                of_unknown(&prefix, facts, old_enough(options.unknown_min_age_ms))
            }
        },
    }
}

fn of_unknown_job(job: JobId, facts: &Facts, otherwise: Unneeded) -> Unneeded {
    of_unknown(&format!("{}/", job_prefix(job)), facts, otherwise)
}

/// Where there is a manifest, somebody may come for it, and may be writing.
fn of_unknown(prefix: &str, facts: &Facts, otherwise: Unneeded) -> Unneeded {
    let mut keys = facts.objects.range(prefix.to_owned()..).map(|(k, _)| k).take_while(|k| k.starts_with(prefix));
    if keys.any(|k| is_manifest(k)) { Unneeded::Foreign } else { otherwise }
}

/// Whether nobody works on a snapshot in progress any more. An import is no job's work: whoever does it says so.
fn is_nobodys(row: &Snapshot, facts: &Facts) -> bool {
    let of_a_job = row.details.imported_from.is_none();
    of_a_job && facts.jobs.get(&row.job_id).is_some_and(|job| is_abandoned(row.attempt, job))
}

/// Whether nobody can work on a snapshot of this attempt any more.
fn is_abandoned(attempt: u64, job: &JobState) -> bool {
    job.status.is_terminal() || attempt < job.attempt
}

fn of_row(snapshot: &SnapshotFacts, facts: &Facts, problems: &mut Vec<Problem>) {
    let row = &snapshot.row;
    let (job, id) = (Some(row.job_id), Some(row.id));
    let of = |kind, object: &str, detail: String, fix| Problem {
        object: Some(object.to_owned()),
        ..problem(kind, job, id, detail, fix)
    };
    let state = facts.jobs.get(&row.job_id);
    match (row.status, &snapshot.content) {
        (SnapshotStatus::InProgress, _) if is_nobodys(row, facts) => {
            let detail = "nobody works on this snapshot any more".to_owned();
            problems.push(of(ProblemKind::AbandonedSnapshot, &row.location, detail, Fix::FailSnapshot(row.id)));
        }
        // A running job's owner retires its own checkpoints.
        (SnapshotStatus::Deleting, _)
            if row.kind == SnapshotKind::Savepoint || state.is_none_or(|s| s.status.is_terminal()) =>
        {
            let detail = "the snapshot is marked as being deleted, and is still there".to_owned();
            problems.push(of(ProblemKind::UnfinishedDeletion, &row.location, detail, Fix::FinishDeletions));
        }
        (SnapshotStatus::Completed, Content::Missing) => problems.push(Problem {
            damage: Some(DamageKind::Missing),
            ..of(
                ProblemKind::MissingManifest,
                &row.location,
                "the snapshot's manifest is not there".to_owned(),
                Fix::FailSnapshot(row.id),
            )
        }),
        (SnapshotStatus::Completed, Content::Unreadable(why)) => {
            problems.push(of(ProblemKind::UnreadableManifest, &row.location, why.clone(), Fix::FailSnapshot(row.id)))
        }
        (SnapshotStatus::Completed, Content::Unreachable(why)) => {
            problems.push(of(ProblemKind::UnreachableStore, &row.location, why.clone(), Fix::None));
        }
        (SnapshotStatus::Completed, Content::Read { damages, .. }) => {
            for damage in damages {
                let kind = match damage.problem {
                    DamageKind::Missing => ProblemKind::MissingObject,
                    DamageKind::WrongLength => ProblemKind::WrongLength,
                    DamageKind::WrongHash => ProblemKind::WrongHash,
                    DamageKind::Unreadable => ProblemKind::UnreadableManifest,
                };
                problems.push(Problem {
                    damage: Some(damage.problem),
                    ..of(kind, &damage.object, damage.detail.clone(), Fix::FailSnapshot(row.id))
                });
            }
        }
        _ => {}
    }
}

fn problem(
    kind: ProblemKind,
    job_id: Option<JobId>,
    snapshot_id: Option<SnapshotId>,
    detail: String,
    fix: Fix,
) -> Problem {
    Problem { kind, object: None, job_id, snapshot_id, bytes: 0, detail, damage: None, fix }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
