//! Cleaning that belongs to no running job: interrupted deletions, and `fsck` on request.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Context, JobService, action};
use crate::checkpoint::deletion::finish_deletions;
use crate::checkpoint::fsck::{self, DEFAULT_MIN_AGE_MS, DEFAULT_UNKNOWN_MIN_AGE_MS, FsckOptions};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::metadata::{Action, ActionKind};

/// How often interrupted deletions are looked for, after the look at the start.
const JANITOR_PERIOD: Duration = Duration::from_secs(60);

/// Body of `POST /fsck`.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FsckRequest {
    /// Whether to repair what is found; without it nothing is changed.
    #[serde(default)]
    pub repair: bool,
    /// Whether to read every object and compare its hash; else only their presence and length.
    #[serde(default)]
    pub deep: bool,
    /// Age below which an unreferenced object is left alone, ms. Default: an hour; a day for objects of jobs that the
    /// database does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age_ms: Option<u64>,
}

impl JobService {
    /// Begins a comparison of store and database.
    pub async fn fsck(&self, request: &FsckRequest) -> Result<Action> {
        let context = Arc::clone(self.context());
        let options = FsckOptions {
            repair: request.repair,
            deep: request.deep,
            min_age_ms: request.min_age_ms.unwrap_or(DEFAULT_MIN_AGE_MS),
            unknown_min_age_ms: request.min_age_ms.unwrap_or(DEFAULT_UNKNOWN_MIN_AGE_MS),
            threads: context.settings.transfer_threads,
        };
        action::begin(self.context(), ActionKind::Fsck, None, move |_| {
            Box::pin(async move {
                let report = fsck::fsck(&context.metadata, &context.store, &options, now_ms()).await?;
                serde_json::to_value(report).map_err(|e| Error::internal("encoding a report failed").caused_by(&e))
            })
        })
        .await
    }
}

/// Finishes interrupted deletions, now and from time to time, until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut look = tokio::time::interval(JANITOR_PERIOD);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        match finish_deletions(&context.metadata, &context.store).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "finished interrupted deletions"),
            Err(error) => tracing::warn!(%error, "looking for interrupted deletions failed"),
        }
    }
}
