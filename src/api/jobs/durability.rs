//! `GET /jobs/{id}/durability`, and its figures for Prometheus.

use axum::Json;
use axum::extract::State;

use crate::api::ApiState;
use crate::api::problem::{Path, Problem, ProblemBody};
use crate::api::prometheus::{head, labels, line};
use crate::job::durability::Durability;
use crate::metadata::Job;

/// A figure of a job: (name, help, how it is read).
type Figure = (&'static str, &'static str, fn(&Durability) -> Option<i64>);

const FIGURES: &[Figure] = &[
    ("holdfast_job_replay_records", "Records that a crash now would read again.", |d| {
        d.replay_records.and_then(|n| i64::try_from(n).ok())
    }),
    ("holdfast_job_replay_input_ms", "Time over which the records were read that a crash now would read again.", |d| {
        d.replay_input_ms
    }),
    ("holdfast_job_recovery_point_age_ms", "Time since the snapshot began that a crash now would go on from.", |d| {
        d.recovery_point.as_ref().map(|p| p.age_ms)
    }),
    ("holdfast_job_restore_estimate_ms", "Estimated time of a restore.", |d| {
        d.restore_estimate_ms.and_then(|n| i64::try_from(n).ok())
    }),
    ("holdfast_job_risks", "Risks that GET /jobs/{id}/durability lists.", |d| i64::try_from(d.risks.len()).ok()),
];

/// Shows what a crash of the job would cost now, where its state is, and what is risky about that.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/durability",
    tag = "jobs",
    params(("job" = String, Path, description = "The job's id or name")),
    responses((status = 200, description = "The resource", body = Durability), (status = 404, description = "There is no such resource", body = ProblemBody, content_type = "application/problem+json"))
)]
pub async fn get_job_durability(
    State(state): State<ApiState>,
    Path(job): Path<String>,
) -> Result<Json<Durability>, Problem> {
    let job = state.service.job(&job).await?;
    Ok(Json(state.service.durability(&job).await?))
}

/// Writes the figures of these jobs.
pub async fn figures(text: &mut String, state: &ApiState, jobs: &[Job]) -> Result<(), Problem> {
    let mut all = Vec::with_capacity(jobs.len());
    for job in jobs {
        all.push((job, state.service.durability(job).await?));
    }
    for (name, help, read) in FIGURES {
        head(text, name, help, false);
        for (job, durability) in &all {
            if let Some(value) = read(durability) {
                line(text, format_args!("{name}{{{}}} {value}", labels(job)));
            }
        }
    }
    Ok(())
}
