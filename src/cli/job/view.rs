//! What a job looks like.

use crate::api::model::JobView;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, duration, record, show, size, time, warn};

/// Prints one job; its warnings go to standard error.
pub fn print(format: Format, job: &JobView) -> Result<(), Failure> {
    if format == Format::Table {
        warn(&job.warnings);
    }
    show(format, job, table)
}

fn table(job: &JobView) -> String {
    let checkpoints = match job.checkpointing.interval_ms {
        0 => "off".to_owned(),
        ms => format!(
            "every {}, {} retained",
            duration(i64::try_from(ms).unwrap_or(i64::MAX)),
            job.checkpointing.retained
        ),
    };
    let mut rows = vec![
        ("id", job.id.clone()),
        ("name", job.name.clone()),
        ("status", job.status.to_string()),
        ("parallelism", format!("{} (max {})", job.parallelism, job.max_parallelism)),
        ("checkpoints", checkpoints),
        ("attempt", job.attempt.to_string()),
        ("restarts", job.restarts.to_string()),
        ("created", time(job.created_ms)),
    ];
    rows.extend(job.started_ms.map(|ms| ("started", time(ms))));
    rows.extend(job.ended_ms.map(|ms| ("ended", time(ms))));
    rows.extend(job.restored_from.clone().map(|from| ("restored from", from)));
    if job.version > 1 {
        rows.push(("version", job.version.to_string()));
    }
    rows.extend(job.restored.as_ref().map(|r| {
        let (local, remote) = (size(r.restored_local_bytes), size(r.restored_remote_bytes));
        ("restored", format!("checkpoint {}: {local} from the disk, {remote} from the store", r.checkpoint_id))
    }));
    if !job.labels.is_empty() {
        let labels: Vec<String> = job.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        rows.push(("labels", labels.join(", ")));
    }
    rows.extend(job.failure.clone().map(|failure| ("failure", failure)));
    record(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::job;
    use crate::metadata::JobStatus;

    #[test]
    fn a_job_is_shown_with_what_is_known() {
        let text = table(&JobView { failure: Some("boom\nbang".into()), ..job(JobStatus::Failed) });
        assert!(text.contains("status:       FAILED\n"), "{text}");
        assert!(text.contains("checkpoints:  every 5.0 s, 3 retained\n"), "{text}");
        assert!(text.contains("labels:       team=a\n"), "{text}");
        assert!(text.ends_with("failure:      boom\\nbang"), "{text}");
        assert!(!text.contains("started"), "{text}");
    }
}
