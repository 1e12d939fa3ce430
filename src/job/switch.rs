//! The master's steps of an upgrade; see `upgrade` for the numbered state machine.

use super::attempt::{Attempt, Goal};
use super::command::SnapshotSpec;
use super::master::Master;
use super::restart::RestartTracker;
use super::retry::retry;
use super::upgrade::{AfterFailure, after_failure, deadline_ms, is_over, version_to_start};
use crate::clock::now_ms;
use crate::crash;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::{JobException, JobStatus, SnapshotKind, SnapshotTrigger, UpgradeStatus};

impl Master {
    /// Reads where the job's upgrade is.
    pub(super) async fn load_upgrade(&mut self) -> Result<()> {
        self.upgrade = retry!(self.context.metadata.active_upgrade(self.job.id))?;
        Ok(())
    }

    /// Where the upgrade is, if there is an active one.
    pub(super) fn upgrade_status(&self) -> Option<UpgradeStatus> {
        self.upgrade.as_ref().map(|u| u.status)
    }

    /// When the new version's time is over, ms.
    pub(super) fn upgrade_deadline_ms(&self) -> Option<i64> {
        self.upgrade.as_ref().and_then(|u| deadline_ms(u, self.since_ms))
    }

    /// Whether the new version has had its time.
    pub(super) fn upgrade_is_over(&self) -> bool {
        let attempt = self.job.attempt;
        self.upgrade
            .as_ref()
            .is_some_and(|u| u.status == UpgradeStatus::Starting && is_over(u, attempt, self.since_ms, now_ms()))
    }

    /// Whether a failure of this kind, after which the next start would be at `next_try_ms`, ends the new version.
    pub(super) fn fails_upgrade(&self, kind: ErrorKind, next_try_ms: i64) -> bool {
        self.upgrade.as_ref().is_some_and(|u| {
            u.status == UpgradeStatus::Starting
                && after_failure(u, kind, self.job.attempt, self.since_ms, next_try_ms) == AfterFailure::RollBack
        })
    }

    /// Ends an active upgrade with the reason why it did not happen.
    pub(super) async fn fail_upgrade(&mut self, reason: &str) {
        self.upgrade = None;
        match retry!(self.context.metadata.fail_upgrade(self.job.id, reason, now_ms())) {
            Ok(true) => tracing::warn!(job.id = %self.job.id, reason, "upgrade failed"),
            Ok(false) => {}
            Err(error) => tracing::warn!(job.id = %self.job.id, %error, "storing an upgrade's failure failed"),
        }
    }

    /// Step 3: the old version has stopped. Answers whether another attempt follows.
    pub(super) async fn switch(&mut self, restarts: &mut RestartTracker) -> bool {
        let Some(upgrade) = self.upgrade.take() else { return false };
        crash::point("upgrade-3-stopped");
        let newest = retry!(self.context.metadata.latest_for_recovery(self.job.id));
        if let Ok(newest) = &newest
            && newest.as_ref().map(|s| s.id) != upgrade.snapshot_id
        {
            self.fail_upgrade("the job was stopped with a savepoint of its own").await;
            self.end(JobStatus::Finished, None).await;
            return false;
        }
        let switched = async {
            newest?;
            let to = retry!(version_to_start(&self.context, &upgrade))?;
            retry!(self.context.metadata.switch_version(&self.lease, upgrade.id, &to, now_ms()))
        };
        match switched.await {
            Ok(_) => crash::point("upgrade-4-switched"),
            // It is gone on with when the database is back: the row says where it is.
            Err(error) => tracing::error!(job.id = %self.job.id, %error, "switching to the new version failed"),
        }
        tracing::info!(job.id = %self.job.id, version = upgrade.to_version, "the new version starts");
        self.begin_version(restarts).await
    }

    /// Step 5: the new version is given up. Answers whether another attempt follows.
    pub(super) async fn roll_back(&mut self, reason: &str, restarts: &mut RestartTracker) -> bool {
        let Some(upgrade) = self.upgrade.take() else { return false };
        let metadata = &self.context.metadata;
        let back = async {
            let old = retry!(metadata.job_version(upgrade.job_id, upgrade.from_version))?;
            retry!(metadata.roll_back_version(&self.lease, upgrade.id, &old, reason, now_ms()))
        };
        match back.await {
            Ok(true) => {
                crash::point("upgrade-6-rolling-back");
                tracing::error!(job.id = %self.job.id, version = upgrade.to_version, reason, "the new version is given up; the old one starts from the savepoint");
                let message = format!(
                    "version {} did not complete a checkpoint, version {} starts again: {reason}",
                    upgrade.to_version, upgrade.from_version
                );
                let error = Error::conflict("upgrade_rolled_back", message);
                let at_ms = now_ms();
                let exception =
                    JobException { job_id: self.job.id, attempt: self.job.attempt, at_ms, error, task: None };
                if let Err(error) = metadata.insert_exception(&exception).await {
                    tracing::warn!(job.id = %self.job.id, %error, "storing the failure failed");
                }
            }
            // Somebody else's now, or a checkpoint was published after all: the next attempt finds out.
            Ok(false) => {}
            Err(error) => tracing::error!(job.id = %self.job.id, %error, "rolling back failed; the next start does it"),
        }
        self.begin_version(restarts).await
    }

    async fn begin_version(&mut self, restarts: &mut RestartTracker) -> bool {
        let mine = self.acquire_again().await;
        *restarts = RestartTracker::new(self.job.settings.restart.clone());
        self.context.changed.notify_waiters();
        mine
    }
}

impl Attempt<'_> {
    /// The job runs: what its upgrade needs of this attempt.
    pub(super) async fn go_on_with_upgrade(&mut self) -> Result<()> {
        self.master.load_upgrade().await?;
        let Some(upgrade) = &self.master.upgrade else { return Ok(()) };
        match upgrade.status {
            UpgradeStatus::Savepoint => self.stop_for_upgrade().await,
            UpgradeStatus::Starting => {
                crash::point("upgrade-5-running");
                // The proof that the new version works; the periodic one may be long off, or switched off.
                let asked = self.checkpoints.request(&SnapshotSpec::checkpoint(SnapshotTrigger::Manual), false).await;
                asked.map(drop)
            }
            _ => {
                let (id, lease) = (upgrade.id, self.master.lease.clone());
                retry!(self.master.context.metadata.finish_roll_back(&lease, id, now_ms()))?;
                crash::point("upgrade-7-rolled-back");
                self.master.upgrade = None;
                Ok(())
            }
        }
    }

    /// Step 2: the old version stops with a savepoint. Being told again changes nothing.
    pub(super) async fn stop_for_upgrade(&mut self) -> Result<()> {
        if self.goal == Goal::Stop && self.master.upgrade.as_ref().is_some_and(|u| u.snapshot_id.is_some()) {
            return Ok(());
        }
        self.master.load_upgrade().await?;
        let Some(upgrade) = &mut self.master.upgrade else { return Ok(()) };
        if upgrade.status != UpgradeStatus::Savepoint || self.goal == Goal::Shutdown {
            return Ok(());
        }
        if self.goal != Goal::None {
            self.master.fail_upgrade("the job was about to end").await;
            return Ok(());
        }
        let spec = SnapshotSpec { kind: SnapshotKind::Savepoint, ..SnapshotSpec::checkpoint(SnapshotTrigger::Stop) };
        let savepoint = self.checkpoints.request(&spec, true).await?;
        let (metadata, lease) = (&self.master.context.metadata, &self.master.lease);
        if !retry!(metadata.link_savepoint(lease, upgrade.id, savepoint.id, &savepoint.location))? {
            return Err(Error::fenced("the job is owned by another instance now"));
        }
        upgrade.snapshot_id = Some(savepoint.id);
        self.goal = Goal::Stop;
        crash::point("upgrade-2-savepoint");
        Ok(())
    }

    /// A checkpoint was published; the same transaction has completed an upgrade that waited for it.
    pub(super) fn note_checkpoint_for_upgrade(&mut self) {
        if self.master.upgrade_status() == Some(UpgradeStatus::Starting) {
            crash::point("upgrade-6-completed");
            tracing::info!(job.id = %self.master.job.id, version = self.master.job.version, "upgrade completed");
            self.master.upgrade = None;
        }
    }
}
