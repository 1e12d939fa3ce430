//! Upgrades of jobs: one row each, whose status is the state machine, and the versions (SQL text, plan, settings) that they
//! lead from and to.
//!
//! `SAVEPOINT` → `STARTING` → `COMPLETED`; from `STARTING` also → `ROLLING_BACK` → `ROLLED_BACK`; from any of the three
//! active ones → `FAILED`.
//!
//! Invariants: 1. a job has one active upgrade at most; 2. the job's row changes its version in the same transaction in
//! which the upgrade changes its status, under the job's lease; 3. an upgrade is `COMPLETED` by the transaction that
//! publishes the new version's first checkpoint ([`COMPLETE_UPGRADE`]), so a checkpoint of the new version and a way back
//! to the old one never exist together.

use crate::error::{Error, Result};
use crate::graph::JobGraph;
use crate::id::{JobId, SnapshotId, UpgradeId};

use super::row::{storable, terminal, to_i64, to_json};
use super::snapshots::LOCK_IF_HELD;
use super::{JobSettings, Lease, Metadata, text_enum};

/// Publishes with a snapshot that the new version of a job works.
pub(super) const COMPLETE_UPGRADE: &str = "UPDATE job_upgrades SET status = 'COMPLETED', ended_ms = $3 WHERE job_id = $1 AND status = 'STARTING' AND EXISTS (SELECT 1 FROM snapshots WHERE id = $2 AND (kind = 'CHECKPOINT' OR trigger_reason = 'STOP'))";

text_enum! {
    /// Where an upgrade is.
    UpgradeStatus {
        /// The old version runs; it is to stop with a savepoint.
        Savepoint = "SAVEPOINT",
        /// The new version is being started from the savepoint; it has no checkpoint yet.
        Starting = "STARTING",
        /// The new version has completed a checkpoint.
        Completed = "COMPLETED",
        /// The new version was given up; the old one is being started from the savepoint.
        RollingBack = "ROLLING_BACK",
        /// The old version runs again.
        RolledBack = "ROLLED_BACK",
        /// Nothing was changed, or the job ended meanwhile.
        Failed = "FAILED",
    }
}

impl UpgradeStatus {
    /// Whether it goes on.
    pub fn is_active(self) -> bool {
        matches!(self, UpgradeStatus::Savepoint | UpgradeStatus::Starting | UpgradeStatus::RollingBack)
    }
}

text_enum! {
    /// What an upgrade does to an operator's state.
    StateChange {
        /// It goes on with its state.
        Kept = "kept",
        /// It starts empty.
        New = "new",
        /// The new plan has no such operator.
        Dropped = "dropped",
        /// The new plan has it, with state of another form.
        Incompatible = "incompatible",
    }
}

/// One stateful operator in an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct OperatorChange {
    /// 32 lower-case hexadecimal digits.
    pub id: String,
    /// In the new plan, if it is there, else in the old one.
    pub name: String,
    pub change: StateChange,
    /// Why, where that does not go without saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether what it loses needs `allow_non_restored_state`.
    pub loses_state: bool,
}

/// An upgrade's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Upgrade {
    pub id: UpgradeId,
    pub job_id: JobId,
    pub from_version: u64,
    pub to_version: u64,
    pub status: UpgradeStatus,
    pub allow_non_restored_state: bool,
    /// From the switch until the new version must have completed a checkpoint.
    pub limit_ms: u64,
    pub operators: Vec<OperatorChange>,
    pub snapshot_id: Option<SnapshotId>,
    /// URI of the savepoint's manifest.
    pub location: Option<String>,
    pub failure: Option<String>,
    pub created_ms: i64,
    /// The switch to the new version, and the attempt that made it.
    pub started_ms: Option<i64>,
    pub start_attempt: Option<u64>,
    pub ended_ms: Option<i64>,
}

/// A version of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobVersion {
    pub version: u64,
    pub sql: String,
    pub plan: JobGraph,
    pub settings: JobSettings,
}

macro_rules! upgrade_columns {
    () => {
        "id, job_id, from_version, to_version, status, allow_non_restored_state, limit_ms, operators, snapshot_id, location, failure, created_ms, started_ms, start_attempt, ended_ms"
    };
}

#[derive(sqlx::FromRow)]
struct UpgradeRow {
    id: String,
    job_id: String,
    from_version: i64,
    to_version: i64,
    status: String,
    allow_non_restored_state: i64,
    limit_ms: i64,
    operators: String,
    snapshot_id: Option<String>,
    location: Option<String>,
    failure: Option<String>,
    created_ms: i64,
    started_ms: Option<i64>,
    start_attempt: Option<i64>,
    ended_ms: Option<i64>,
}

impl TryFrom<UpgradeRow> for Upgrade {
    type Error = Error;
    fn try_from(row: UpgradeRow) -> Result<Upgrade> {
        let corrupt =
            |column: &str| Error::corrupt("row_corrupt", format!("upgrade {}: column {column} cannot be read", row.id));
        let count = |column: &str, value: i64| u64::try_from(value).map_err(|e| corrupt(column).caused_by(&e));
        Ok(Upgrade {
            id: row.id.parse().map_err(|e: Error| corrupt("id").caused_by(&e))?,
            job_id: row.job_id.parse().map_err(|e: Error| corrupt("job_id").caused_by(&e))?,
            from_version: count("from_version", row.from_version)?,
            to_version: count("to_version", row.to_version)?,
            status: row.status.parse().map_err(|e: Error| corrupt("status").caused_by(&e))?,
            allow_non_restored_state: row.allow_non_restored_state != 0,
            limit_ms: count("limit_ms", row.limit_ms)?,
            operators: serde_json::from_str(&row.operators).map_err(|e| corrupt("operators").caused_by(&e))?,
            snapshot_id: row.snapshot_id.as_deref().map(str::parse).transpose()?,
            location: row.location.clone(),
            failure: row.failure.clone(),
            created_ms: row.created_ms,
            started_ms: row.started_ms,
            start_attempt: row.start_attempt.map(|a| count("start_attempt", a)).transpose()?,
            ended_ms: row.ended_ms,
        })
    }
}

impl Metadata {
    /// Stores an upgrade of a live job in `SAVEPOINT` with the version that it leads to; answers it with the number that
    /// the version got. `upgrade_in_progress` if there is an active one, `job_not_running` if the job has ended.
    pub async fn begin_upgrade(&self, upgrade: &Upgrade, to: &JobVersion) -> Result<Upgrade> {
        const LOCK: &str = concat!("UPDATE jobs SET updated_ms = $2 WHERE id = $1 AND status NOT IN ", terminal!());
        const OLD: &str = "INSERT INTO job_versions (job_id, version, sql, plan, settings, created_ms) SELECT id, version, sql, plan, settings, created_ms FROM jobs WHERE id = $1 ON CONFLICT (job_id, version) DO NOTHING";
        const NEXT: &str = "SELECT MAX(version) + 1 FROM job_versions WHERE job_id = $1";
        const FROM: &str = "SELECT version FROM jobs WHERE id = $1";
        const NEW: &str = "INSERT INTO job_versions (job_id, version, sql, plan, settings, created_ms) VALUES ($1, $2, $3, $4, $5, $6)";
        const INSERT: &str = "INSERT INTO job_upgrades (id, job_id, from_version, to_version, status, allow_non_restored_state, limit_ms, operators, created_ms) VALUES ($1, $2, $3, $4, 'SAVEPOINT', $5, $6, $7, $8)";
        let job = upgrade.job_id.to_string();
        let (plan, settings) = (to_json("plan", &to.plan)?, to_json("settings", &to.settings)?);
        let operators = to_json("operators", &upgrade.operators)?;
        let limit_ms = to_i64("limit_ms", upgrade.limit_ms)?;
        let now = upgrade.created_ms;
        let versions = self
            .run("beginning an upgrade", async {
                on!(self, p => {
                    let mut tx = p.begin_with(self.begin()).await?;
                    if sqlx::query(LOCK).bind(&job).bind(now).execute(&mut *tx).await?.rows_affected() == 0 {
                        tx.rollback().await?;
                        return Ok(None);
                    }
                    sqlx::query(OLD).bind(&job).execute(&mut *tx).await?;
                    let next: i64 = sqlx::query_scalar(NEXT).bind(&job).fetch_one(&mut *tx).await?;
                    let from: i64 = sqlx::query_scalar(FROM).bind(&job).fetch_one(&mut *tx).await?;
                    sqlx::query(NEW).bind(&job).bind(next).bind(&to.sql).bind(&plan).bind(&settings).bind(now)
                        .execute(&mut *tx).await?;
                    sqlx::query(INSERT).bind(upgrade.id.to_string()).bind(&job).bind(from).bind(next)
                        .bind(i64::from(upgrade.allow_non_restored_state)).bind(limit_ms).bind(&operators).bind(now)
                        .execute(&mut *tx).await?;
                    tx.commit().await?;
                    Ok(Some((from, next)))
                })
            })
            .await?;
        if versions.is_none() {
            let status = self.job(upgrade.job_id).await?.status;
            return Err(Error::conflict("job_not_running", format!("job {job} is {status} and cannot be upgraded")));
        }
        self.upgrade(upgrade.job_id, upgrade.id).await
    }

    /// A job's upgrade; `upgrade_not_found` if there is none.
    pub async fn upgrade(&self, job: JobId, id: UpgradeId) -> Result<Upgrade> {
        const SQL: &str = concat!("SELECT ", upgrade_columns!(), " FROM job_upgrades WHERE id = $2 AND job_id = $1");
        let rows: Vec<UpgradeRow> = self
            .run("reading an upgrade", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(id.to_string()).fetch_all(p).await)
            })
            .await?;
        match rows.into_iter().next() {
            Some(row) => row.try_into(),
            None => Err(Error::not_found("upgrade_not_found", format!("job {job} has no upgrade {id}"))),
        }
    }

    /// A job's upgrade that goes on, if any.
    pub async fn active_upgrade(&self, job: JobId) -> Result<Option<Upgrade>> {
        const SQL: &str = concat!(
            "SELECT ",
            upgrade_columns!(),
            " FROM job_upgrades WHERE job_id = $1 AND status IN ('SAVEPOINT', 'STARTING', 'ROLLING_BACK')"
        );
        let rows: Vec<UpgradeRow> = self
            .run("looking for an upgrade", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).fetch_all(p).await)
            })
            .await?;
        rows.into_iter().next().map(Upgrade::try_from).transpose()
    }

    /// Up to `limit` upgrades of a job, newest first.
    pub async fn list_upgrades(&self, job: JobId, limit: u32) -> Result<Vec<Upgrade>> {
        const SQL: &str = concat!(
            "SELECT ",
            upgrade_columns!(),
            " FROM job_upgrades WHERE job_id = $1 ORDER BY to_version DESC LIMIT $2"
        );
        let rows: Vec<UpgradeRow> = self
            .run("listing upgrades", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(i64::from(limit)).fetch_all(p).await)
            })
            .await?;
        super::row::convert(rows)
    }

    /// The jobs of `owner` whose old version is still to stop for an upgrade.
    pub async fn jobs_to_upgrade(&self, owner: &str) -> Result<Vec<JobId>> {
        const SQL: &str = "SELECT job_id FROM job_upgrades WHERE status = 'SAVEPOINT' AND job_id IN (SELECT id FROM jobs WHERE owner = $1)";
        let ids: Vec<String> = self
            .run("looking for upgrades", async {
                on!(self, p => sqlx::query_scalar(SQL).bind(owner).fetch_all(p).await)
            })
            .await?;
        ids.iter().map(|id| super::row::job_id(id)).collect()
    }

    /// A version of a job; `version_not_found` if there is none.
    pub async fn job_version(&self, job: JobId, version: u64) -> Result<JobVersion> {
        const SQL: &str = "SELECT sql, plan, settings FROM job_versions WHERE job_id = $1 AND version = $2";
        let number = to_i64("version", version)?;
        let rows: Vec<(String, String, String)> = self
            .run("reading a version of a job", async {
                on!(self, p => sqlx::query_as(SQL).bind(job.to_string()).bind(number).fetch_all(p).await)
            })
            .await?;
        let Some((sql, plan, settings)) = rows.into_iter().next() else {
            return Err(Error::not_found("version_not_found", format!("job {job} has no version {version}")));
        };
        let corrupt = |e: serde_json::Error| {
            Error::corrupt("row_corrupt", format!("version {version} of job {job} cannot be read")).caused_by(&e)
        };
        Ok(JobVersion {
            version,
            sql,
            plan: serde_json::from_str(&plan).map_err(corrupt)?,
            settings: serde_json::from_str(&settings).map_err(corrupt)?,
        })
    }

    /// Notes the savepoint that the old version stops with; false if the lease was lost or the upgrade has ended.
    pub async fn link_savepoint(
        &self,
        lease: &Lease,
        upgrade: UpgradeId,
        id: SnapshotId,
        location: &str,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE job_upgrades SET snapshot_id = $4, location = $5 WHERE id = $6 AND job_id = $1 AND status = 'SAVEPOINT' AND EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND attempt = $2 AND owner = $3)";
        let attempt = to_i64("attempt", lease.attempt)?;
        let changed = self
            .run("noting an upgrade's savepoint", async {
                on!(self, p => sqlx::query(SQL).bind(lease.job_id.to_string()).bind(attempt).bind(&*lease.owner)
                    .bind(id.to_string()).bind(location).bind(upgrade.to_string())
                    .execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// The old version has stopped: makes the new one the job's, to be started. False if the lease was lost or the
    /// upgrade is in another status.
    pub async fn switch_version(
        &self,
        lease: &Lease,
        upgrade: UpgradeId,
        to: &JobVersion,
        now_ms: i64,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE job_upgrades SET status = 'STARTING', started_ms = $3, start_attempt = $4 WHERE id = $1 AND job_id = $2 AND status = 'SAVEPOINT'";
        self.change_version(lease, to, now_ms, SQL, upgrade, None).await
    }

    /// Gives the new version up: makes the old one the job's again. False as above, also if a checkpoint of the new
    /// version was published meanwhile.
    pub async fn roll_back_version(
        &self,
        lease: &Lease,
        upgrade: UpgradeId,
        to: &JobVersion,
        reason: &str,
        now_ms: i64,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE job_upgrades SET status = 'ROLLING_BACK', failure = $3 WHERE id = $1 AND job_id = $2 AND status = 'STARTING'";
        self.change_version(lease, to, now_ms, SQL, upgrade, Some(reason)).await
    }

    async fn change_version(
        &self,
        lease: &Lease,
        to: &JobVersion,
        now_ms: i64,
        upgrade_sql: &'static str,
        upgrade: UpgradeId,
        reason: Option<&str>,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE jobs SET version = $2, sql = $3, plan = $4, settings = $5, restart_from = NULL, desired = CASE WHEN desired = 'STOPPED' THEN 'RUNNING' ELSE desired END WHERE id = $1";
        let job = lease.job_id.to_string();
        let attempt = to_i64("attempt", lease.attempt)?;
        let version = to_i64("version", to.version)?;
        let (plan, settings) = (to_json("plan", &to.plan)?, to_json("settings", &to.settings)?);
        self.run("changing a job's version", async {
            on!(self, p => {
                let mut tx = p.begin_with(self.begin()).await?;
                let held = sqlx::query(LOCK_IF_HELD).bind(&job).bind(attempt).bind(&*lease.owner).bind(now_ms)
                    .execute(&mut *tx).await?.rows_affected();
                let query = sqlx::query(upgrade_sql).bind(upgrade.to_string()).bind(&job);
                let changed = match reason {
                    Some(reason) => query.bind(storable(reason)).execute(&mut *tx).await?.rows_affected(),
                    None => query.bind(now_ms).bind(attempt).execute(&mut *tx).await?.rows_affected(),
                };
                if held == 0 || changed == 0 {
                    tx.rollback().await?;
                    return Ok(false);
                }
                sqlx::query(SQL).bind(&job).bind(version).bind(&to.sql).bind(&plan).bind(&settings)
                    .execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(true)
            })
        })
        .await
    }

    /// The old version runs again.
    pub async fn finish_roll_back(&self, lease: &Lease, upgrade: UpgradeId, now_ms: i64) -> Result<bool> {
        const SQL: &str = "UPDATE job_upgrades SET status = 'ROLLED_BACK', ended_ms = $5 WHERE id = $4 AND job_id = $1 AND status = 'ROLLING_BACK' AND EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND attempt = $2 AND owner = $3)";
        let attempt = to_i64("attempt", lease.attempt)?;
        let changed = self
            .run("ending an upgrade", async {
                on!(self, p => sqlx::query(SQL).bind(lease.job_id.to_string()).bind(attempt).bind(&*lease.owner)
                    .bind(upgrade.to_string()).bind(now_ms).execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }

    /// Ends a job's active upgrade as failed: the job ended, or nothing was changed. Answers whether there was one.
    pub async fn fail_upgrade(&self, job: JobId, reason: &str, now_ms: i64) -> Result<bool> {
        const SQL: &str = "UPDATE job_upgrades SET status = 'FAILED', failure = COALESCE(failure || '; then ', '') || $2, ended_ms = $3 WHERE job_id = $1 AND status IN ('SAVEPOINT', 'STARTING', 'ROLLING_BACK')";
        let changed = self
            .run("failing an upgrade", async {
                on!(self, p => sqlx::query(SQL).bind(job.to_string()).bind(storable(reason)).bind(now_ms)
                    .execute(p).await.map(|done| done.rows_affected()))
            })
            .await?;
        Ok(changed > 0)
    }
}
