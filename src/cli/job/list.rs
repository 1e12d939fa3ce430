//! `holdfast job list`.

use crate::api::model::{JobPage, JobView};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, list, show, time};
use crate::cli::pages::{collect, note_if_cut};
use crate::metadata::JobStatus;

/// Which jobs.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only jobs in one of these statuses, such as RUNNING,FAILED
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    status: Vec<JobStatus>,
    /// Only jobs with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = super::submit::label)]
    labels: Vec<(String, String)>,
    /// Only jobs of exactly this name
    #[arg(long)]
    name: Option<String>,
    /// Most jobs listed
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

fn status(text: &str) -> Result<JobStatus, String> {
    text.to_ascii_uppercase().parse().map_err(|e: crate::error::Error| e.message)
}

impl ListArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        if !self.status.is_empty() {
            let names: Vec<&str> = self.status.iter().map(|s| s.as_str()).collect();
            query.push(("status", names.join(",")));
        }
        if !self.labels.is_empty() {
            let labels: Vec<String> = self.labels.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            query.push(("label", labels.join(",")));
        }
        query.extend(self.name.clone().map(|name| ("name", name)));
        query
    }
}

/// Lists jobs.
pub async fn run(client: &Client, format: Format, args: &ListArgs) -> Result<(), Failure> {
    let (items, next_page_token) = collect(args.limit, async |mut query| {
        query.extend(args.query());
        let page: JobPage = client.get(&["jobs"], &query).await?;
        Ok((page.items, page.next_page_token))
    })
    .await?;
    note_if_cut(items.len(), next_page_token.as_ref());
    show(format, &JobPage { items, next_page_token }, |page| {
        list(&["ID", "NAME", "STATUS", "PARALLELISM", "RESTARTS", "CREATED"], page.items.iter().map(row))
    })
}

fn row(job: &JobView) -> Vec<String> {
    vec![
        job.id.clone(),
        job.name.clone(),
        job.status.to_string(),
        job.parallelism.to_string(),
        job.restarts.to_string(),
        time(job.created_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_sent_as_the_api_reads_them() {
        let args = ListArgs {
            status: vec![JobStatus::Running, JobStatus::Failed],
            labels: vec![("team".into(), "a".into()), ("env".into(), "b=c".into())],
            name: Some("n".into()),
            limit: 1,
        };
        let expected = [("status", "RUNNING,FAILED"), ("label", "team:a,env:b=c"), ("name", "n")];
        let query = args.query();
        assert!(query.iter().map(|(k, v)| (*k, v.as_str())).eq(expected), "{query:?}");
    }
}
