//! Upgrades of a running job to a changed SQL text or changed settings, with a way back.
//!
//! The state machine is in the database (`metadata::upgrades`); the job's master takes its steps, each a transaction under
//! its lease, so that a crash at any step is gone on from by whoever takes the job next:
//! 1. the row, `SAVEPOINT`;
//! 2. the old version stops with a savepoint, which the row names before it begins;
//! 3. the switch: the job's row gets the new version, the upgrade is `STARTING`;
//! 4. the new version's first checkpoint, taken as soon as it runs, makes the upgrade `COMPLETED`;
//! 5. if it does not come within the limit, or the new version fails for a reason that trying again cannot mend: the
//!    job's row gets the old version back, `ROLLING_BACK`;
//! 6. the old version runs again from the same savepoint, `ROLLED_BACK`. Nothing that the new version wrote was
//!    published by then.

use super::compatibility::{check, compare};
use super::settings::{CheckpointingRequest, SubmitRequest, resolve};
use super::{Command, JobService, Warning};
use crate::clock::now_ms;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::JobGraph;
use crate::id::{JobId, UpgradeId};
use crate::metadata::{
    DesiredStatus, Job, JobSettings, JobVersion, OnCorrupt, OperatorChange, RestartStrategy, Upgrade, UpgradeStatus,
};
use crate::sql;

/// Time from the switch until the new version must have completed a checkpoint, ms, unless the request says otherwise.
pub const DEFAULT_LIMIT_MS: u64 = 300_000;
/// Shortest and longest limit, ms.
const LIMITS_MS: std::ops::RangeInclusive<u64> = 100..=86_400_000;
/// Starts of the new version after which it is given up whatever the limit: it may end the process each time.
pub const MAX_STARTS: u64 = 10;

/// Body of `POST /jobs/{id}/upgrade`. What is left out stays as it is.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    /// The new Flink SQL script; default: the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Subtasks per vertex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpointing: Option<CheckpointingRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartStrategy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_corrupt: Option<OnCorrupt>,
    /// Whether state that no operator of the new plan claims may be dropped.
    #[serde(default)]
    pub allow_non_restored_state: bool,
    /// Time from the switch until the new version must have completed a checkpoint, ms; default: 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
}

/// What an upgrade would do.
pub struct UpgradePlan {
    pub plan: JobGraph,
    pub settings: JobSettings,
    pub operators: Vec<OperatorChange>,
    pub warnings: Vec<Warning>,
    /// Why it would be refused, if it would.
    pub refusal: Option<Error>,
}

impl JobService {
    /// Tells what an upgrade would do to each operator's state; changes nothing.
    pub async fn plan_upgrade(&self, job: &Job, request: &UpgradeRequest) -> Result<UpgradePlan> {
        let limit_ms = request.limit_ms.unwrap_or(DEFAULT_LIMIT_MS);
        if !LIMITS_MS.contains(&limit_ms) {
            let message = format!("limit_ms must be between {} and {}", LIMITS_MS.start(), LIMITS_MS.end());
            return Err(Error::invalid("invalid_value", message).at_pointer("/limit_ms"));
        }
        let (old_sql, new_sql) = (job.sql.clone(), request.sql.clone().unwrap_or_else(|| job.sql.clone()));
        let text = new_sql.clone();
        // Planning is work for a thread that may block. The old text may be of an older version's dialect.
        let (old_options, planned) = tokio::task::spawn_blocking(move || {
            (sql::plan_job(&old_sql).map(|p| p.options).unwrap_or_default(), sql::plan_job(&text))
        })
        .await
        .map_err(|e| Error::internal(format!("planning panicked: {e}")))?;
        let planned = planned?;
        let body = SubmitRequest {
            sql: new_sql,
            parallelism: request.parallelism,
            checkpointing: request.checkpointing.clone(),
            restart: request.restart.clone(),
            on_corrupt: request.on_corrupt,
            ..SubmitRequest::default()
        };
        let service = &self.context.settings;
        let before = resolve(&SubmitRequest::default(), &old_options, service)?;
        let asked = resolve(&body, &planned.options, service)?;
        let mut settings = merge(&before, &asked, &job.settings)?;
        settings.restore = None;
        let mut warnings: Vec<Warning> =
            planned.warnings.iter().map(|w| Warning { code: "sql".into(), message: w.clone() }).collect();
        warnings.extend(super::preflight::check_job(&settings));
        let operators = compare(&job.plan, &planned.graph)?;
        let refusal = check_settings(&settings, &job.settings)
            .and_then(|()| check(&operators, request.allow_non_restored_state))
            .err();
        Ok(UpgradePlan { plan: planned.graph, settings, operators, warnings, refusal })
    }

    /// Begins an upgrade of a live job; it goes on by itself, whatever happens to this process.
    pub async fn upgrade(&self, job: &Job, request: &UpgradeRequest) -> Result<Upgrade> {
        let planned = self.plan_upgrade(job, request).await?;
        if let Some(refusal) = planned.refusal {
            return Err(refusal);
        }
        if job.desired != DesiredStatus::Running {
            return Err(Error::conflict("job_ending", format!("job {} is about to end", job.id)));
        }
        let upgrade = Upgrade {
            id: UpgradeId::generate(),
            job_id: job.id,
            from_version: job.version,
            to_version: job.version + 1,
            status: UpgradeStatus::Savepoint,
            allow_non_restored_state: request.allow_non_restored_state,
            limit_ms: request.limit_ms.unwrap_or(DEFAULT_LIMIT_MS),
            operators: planned.operators,
            snapshot_id: None,
            location: None,
            failure: None,
            created_ms: now_ms(),
            started_ms: None,
            start_attempt: None,
            ended_ms: None,
        };
        let to = JobVersion {
            version: upgrade.to_version,
            sql: request.sql.clone().unwrap_or_else(|| job.sql.clone()),
            plan: planned.plan,
            settings: planned.settings,
        };
        let begun = self.context.metadata.begin_upgrade(&upgrade, &to).await?;
        tracing::info!(job.id = %job.id, upgrade.id = %begun.id, from = begun.from_version, to = begun.to_version, "upgrade begun");
        crate::crash::point("upgrade-1-begun");
        if let Some(running) = self.context.running(job.id) {
            // If its queue is full, or another instance runs it, the renewal of leases tells it.
            let _ = running.commands.try_send(Command::Upgrade);
        }
        Ok(begun)
    }

    /// A job's upgrade.
    pub async fn find_upgrade(&self, job: JobId, id: &str) -> Result<Upgrade> {
        self.context.metadata.upgrade(job, id.parse()?).await
    }

    /// A job's newest upgrades.
    pub async fn upgrades(&self, job: JobId, limit: u32) -> Result<Vec<Upgrade>> {
        self.context.metadata.list_upgrades(job, limit).await
    }
}

/// The job's settings, with what the request or the new script says otherwise than the old script.
fn merge(before: &JobSettings, asked: &JobSettings, current: &JobSettings) -> Result<JobSettings> {
    let broken = |e: serde_json::Error| Error::internal("settings cannot be compared").caused_by(&e);
    let json = |s: &JobSettings| serde_json::to_value(s).map_err(broken);
    let (before, asked, mut merged) = (json(before)?, json(asked)?, json(current)?);
    overlay(&before, &asked, &mut merged, 0);
    serde_json::from_value(merged).map_err(broken)
}

/// Takes over what differs; one level of members deep, because deeper ones belong together (a restart strategy's).
fn overlay(before: &serde_json::Value, asked: &serde_json::Value, merged: &mut serde_json::Value, depth: usize) {
    let Some(members) = asked.as_object() else { return };
    for (key, value) in members {
        let was = before.get(key);
        if was == Some(value) {
            continue;
        }
        match (was, merged.get_mut(key)) {
            (Some(was), Some(into)) if key == "checkpointing" && depth == 0 => overlay(was, value, into, depth + 1),
            _ => {
                if let Some(into) = merged.as_object_mut() {
                    into.insert(key.clone(), value.clone());
                }
            }
        }
    }
}

fn check_settings(new: &JobSettings, old: &JobSettings) -> Result<()> {
    if new.max_parallelism != old.max_parallelism {
        return Err(Error::invalid(
            "max_parallelism_changed",
            format!(
                "the job's state has {} key groups and the new script asks for {}",
                old.max_parallelism, new.max_parallelism
            ),
        ));
    }
    if new.parallelism > new.max_parallelism {
        let message = format!("parallelism must be at most {}", new.max_parallelism);
        return Err(Error::invalid("invalid_value", message).at_pointer("/parallelism"));
    }
    Ok(())
}

/// What follows from a failure of the new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// It may be tried again.
    Retry,
    /// The old version comes back.
    RollBack,
}

/// Whether a new version that failed is tried again: only if a dependency was away, and in time.
pub fn after_failure(
    upgrade: &Upgrade,
    kind: ErrorKind,
    attempt: u64,
    since_ms: i64,
    next_try_ms: i64,
) -> AfterFailure {
    if kind == ErrorKind::Unavailable && !is_over(upgrade, attempt, since_ms, next_try_ms) {
        AfterFailure::Retry
    } else {
        AfterFailure::RollBack
    }
}

/// Whether a new version has had its time: the limit since the switch, or since this process took the job over (time in
/// which nobody could run it does not count), or too many starts.
pub fn is_over(upgrade: &Upgrade, attempt: u64, since_ms: i64, now_ms: i64) -> bool {
    deadline_ms(upgrade, since_ms).is_some_and(|at| now_ms >= at)
        || upgrade.start_attempt.is_some_and(|first| attempt > first.saturating_add(MAX_STARTS))
}

/// When a new version's time is over; `None` unless the upgrade is `STARTING`.
pub fn deadline_ms(upgrade: &Upgrade, since_ms: i64) -> Option<i64> {
    let limit = i64::try_from(upgrade.limit_ms).unwrap_or(i64::MAX);
    let started = upgrade.started_ms.filter(|_| upgrade.status == UpgradeStatus::Starting)?;
    Some(started.max(since_ms).saturating_add(limit))
}

/// The version that the switch leads to, with the savepoint that it starts from.
pub async fn version_to_start(service: &super::Context, upgrade: &Upgrade) -> Result<JobVersion> {
    let mut to = service.metadata.job_version(upgrade.job_id, upgrade.to_version).await?;
    let location = upgrade.location.clone().ok_or_else(|| Error::internal("an upgrade has no savepoint"))?;
    to.settings.restore = Some(crate::metadata::RestoreSource::unheld(location, upgrade.allow_non_restored_state));
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn starting() -> Upgrade {
        Upgrade {
            id: UpgradeId::from_text("u"),
            job_id: JobId::from_text("j"),
            from_version: 1,
            to_version: 2,
            status: UpgradeStatus::Starting,
            allow_non_restored_state: false,
            limit_ms: 1_000,
            operators: Vec::new(),
            snapshot_id: None,
            location: None,
            failure: None,
            created_ms: 0,
            started_ms: Some(100),
            start_attempt: Some(3),
            ended_ms: None,
        }
    }

    #[test]
    fn a_new_version_has_its_limit_and_its_starts() {
        let check = |attempt: u64, since_ms: i64, now_ms: i64, over: bool| {
            assert_eq!(is_over(&starting(), attempt, since_ms, now_ms), over, "{attempt} {since_ms} {now_ms}");
        };
        check(4, 0, 1_099, false);
        check(4, 0, 1_100, true);
        // Taken over later: the time in between does not count.
        check(4, 5_000, 5_999, false);
        check(4, 5_000, 6_000, true);
        check(3 + MAX_STARTS, 0, 200, false);
        check(4 + MAX_STARTS, 0, 200, true);
        let completed = Upgrade { status: UpgradeStatus::Completed, ..starting() };
        assert_eq!(deadline_ms(&completed, 0), None);
    }

    #[test]
    fn only_a_dependency_that_was_away_is_tried_again() {
        let check = |kind, next_try_ms, expected| {
            assert_eq!(after_failure(&starting(), kind, 4, 0, next_try_ms), expected, "{kind:?}");
        };
        check(ErrorKind::Unavailable, 500, AfterFailure::Retry);
        check(ErrorKind::Unavailable, 1_100, AfterFailure::RollBack);
        check(ErrorKind::Invalid, 500, AfterFailure::RollBack);
        check(ErrorKind::Conflict, 500, AfterFailure::RollBack);
    }

    #[test]
    fn settings_change_only_where_the_request_or_the_script_does() {
        let service = Settings::for_tests();
        let options = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let old_script = options(&[("execution.checkpointing.interval", "1 s")]);
        let mut current = resolve(&SubmitRequest::default(), &old_script, &service).unwrap();
        // Set by the body of the submit, which is not asked again.
        (current.parallelism, current.checkpointing.retained) = (4, 9);
        let before = resolve(&SubmitRequest::default(), &old_script, &service).unwrap();
        let check = |request: &SubmitRequest, script: &[(&str, &str)], expected: (u32, u64, u32)| {
            let asked = resolve(request, &options(script), &service).unwrap();
            let merged = merge(&before, &asked, &current).unwrap();
            let c = &merged.checkpointing;
            assert_eq!((merged.parallelism, c.interval_ms, c.retained), expected, "{script:?}");
        };
        let same = [("execution.checkpointing.interval", "1 s")];
        check(&SubmitRequest::default(), &same, (4, 1_000, 9));
        check(&SubmitRequest::default(), &[("execution.checkpointing.interval", "3 s")], (4, 3_000, 9));
        check(&SubmitRequest { parallelism: Some(2), ..SubmitRequest::default() }, &same, (2, 1_000, 9));
    }
}
