//! `GET /metrics`: the figures of this process's jobs in Prometheus' text format.
//!
//! Rendered on request from the same atomics that the JSON endpoint shows, so that nothing is counted twice and an idle
//! scrape target costs nothing. Format: Prometheus "Exposition formats", text 0.0.4.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::problem::{Problem, ProblemBody};
use crate::clock::now_ms;
use crate::metadata::{Job, JobFilter, JobStatus, Snapshot, SnapshotKind, SnapshotStatus};
use crate::runtime::metrics::TaskMetrics;
use crate::storage::RequestCounts;

/// Jobs that one scrape covers.
const MAX_JOBS: u32 = 1_000;

/// One subtask's figure in the exposition: (name, help, is a counter, how it is read).
type Figure = (&'static str, &'static str, bool, fn(&TaskMetrics) -> Option<i64>);

/// A figure of a checkpoint: (name, help, how it is read at a time in ms).
type SnapshotFigure = (&'static str, &'static str, fn(&Snapshot, i64) -> i64);

fn count(n: u64) -> Option<i64> {
    i64::try_from(n).ok()
}

const FIGURES: &[Figure] = &[
    ("holdfast_task_records_in_total", "Records read by a subtask.", true, |m| count(m.records_in.load(Relaxed))),
    ("holdfast_task_records_out_total", "Records sent by a subtask.", true, |m| count(m.records_out.load(Relaxed))),
    ("holdfast_task_bytes_in_total", "Bytes read by a source subtask.", true, |m| count(m.bytes_in.load(Relaxed))),
    ("holdfast_task_late_records_dropped_total", "Records that came after their windows had fired.", true, |m| {
        count(m.late_records_dropped.load(Relaxed))
    }),
    ("holdfast_task_records_skipped_total", "Undecodable records skipped on request.", true, |m| {
        count(m.skipped_records.load(Relaxed))
    }),
    ("holdfast_task_back_pressured_ms_total", "Time spent waiting for a full output channel.", true, |m| {
        count(m.back_pressured_us.load(Relaxed) / 1000)
    }),
    ("holdfast_task_watermark_ms", "Event time reached.", false, |m| {
        Some(m.current_watermark.load(Relaxed)).filter(|w| *w != i64::MIN && *w != i64::MAX)
    }),
    ("holdfast_task_state_memory_bytes", "Keyed state held in memory.", false, |m| {
        count(m.state_memory_bytes.load(Relaxed))
    }),
];

/// Shows figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain"), (status = 503, description = "Not available now", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get_metrics(State(state): State<ApiState>) -> Result<Response, Problem> {
    let live: Vec<JobStatus> = JobStatus::ALL.iter().copied().filter(|s| !s.is_terminal()).collect();
    let filter = JobFilter { status: live.clone(), ..JobFilter::default() };
    let jobs = state.service.jobs(&filter, None, MAX_JOBS).await?;
    let mut text = String::new();
    head(&mut text, "holdfast_jobs", "Jobs that have not ended, by status.", false);
    for status in live {
        let n = jobs.iter().filter(|j| j.status == status).count();
        line(&mut text, format_args!("holdfast_jobs{{status=\"{status}\"}} {n}"));
    }
    head(&mut text, "holdfast_job_restarts_total", "Restarts after failures.", true);
    for job in &jobs {
        line(&mut text, format_args!("holdfast_job_restarts_total{{{}}} {}", labels(job), job.restarts));
    }
    checkpoints(&mut text, &state, &jobs).await?;
    super::jobs::durability::figures(&mut text, &state, &jobs).await?;
    alarms(&mut text, &state, &jobs);
    store_requests(&mut text, state.service.context().store.requests());
    let tasks: Vec<_> =
        jobs.iter().flat_map(|job| state.service.metrics(job.id).into_iter().map(move |m| (job, m))).collect();
    for (name, help, is_counter, read) in FIGURES {
        head(&mut text, name, help, *is_counter);
        for (job, task) in &tasks {
            if let Some(value) = read(task) {
                line(
                    &mut text,
                    format_args!(
                        "{name}{{{},vertex=\"{}\",subtask=\"{}\"}} {value}",
                        labels(job),
                        task.task.vertex,
                        task.task.subtask
                    ),
                );
            }
        }
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

async fn checkpoints(text: &mut String, state: &ApiState, jobs: &[Job]) -> Result<(), Problem> {
    let mut newest = Vec::with_capacity(jobs.len());
    for job in jobs {
        let recent = state.service.snapshots(job.id, SnapshotKind::Checkpoint, None, 10).await?;
        newest.extend(recent.into_iter().find(|s| s.status == SnapshotStatus::Completed).map(|s| (job, s)));
    }
    let now = now_ms();
    let figures: [SnapshotFigure; 3] = [
        ("holdfast_checkpoint_age_ms", "Time since the newest completed checkpoint began.", |s, now| {
            now - s.started_ms
        }),
        ("holdfast_checkpoint_duration_ms", "Duration of the newest completed checkpoint.", |s, _| {
            s.ended_ms.unwrap_or(s.started_ms) - s.started_ms
        }),
        ("holdfast_checkpoint_state_bytes", "State that the newest completed checkpoint references.", |s, _| {
            i64::try_from(s.state_bytes).unwrap_or(i64::MAX)
        }),
    ];
    for (name, help, read) in figures {
        head(text, name, help, false);
        for (job, snapshot) in &newest {
            line(text, format_args!("{name}{{{}}} {}", labels(job), read(snapshot, now)));
        }
    }
    Ok(())
}

fn alarms(text: &mut String, state: &ApiState, jobs: &[Job]) {
    let name = "holdfast_checkpoint_failed_in_a_row";
    head(text, name, "Failed checkpoints since the last completed one.", false);
    for job in jobs {
        line(text, format_args!("{name}{{{}}} {}", labels(job), job.failed_checkpoints));
    }
    let name = "holdfast_checkpoint_stuck_ms";
    head(text, name, "For how long a subtask has held up a checkpoint.", false);
    for job in jobs {
        for found in state.service.context().running(job.id).map(|r| r.alarms.stuck()).unwrap_or_default() {
            let stuck = found.stuck;
            line(
                text,
                format_args!(
                    "{name}{{{},vertex=\"{}\",subtask=\"{}\",phase=\"{}\"}} {}",
                    labels(job),
                    stuck.task.vertex,
                    stuck.task.subtask,
                    stuck.phase.as_str(),
                    now_ms().saturating_sub(stuck.since_ms)
                ),
            );
        }
    }
}

fn store_requests(text: &mut String, counts: RequestCounts) {
    head(text, "holdfast_store_requests_total", "Requests sent to the durable store.", true);
    for (operation, n) in
        [("put", counts.puts), ("get", counts.gets), ("list", counts.lists), ("delete", counts.deletes)]
    {
        line(text, format_args!("holdfast_store_requests_total{{operation=\"{operation}\"}} {n}"));
    }
}

pub(super) fn head(text: &mut String, name: &str, help: &str, is_counter: bool) {
    let kind = if is_counter { "counter" } else { "gauge" };
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

pub(super) fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to a string cannot fail");
}

pub(super) fn labels(job: &Job) -> String {
    let name = job.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("job_id=\"{}\",job_name=\"{name}\"", job.id)
}
