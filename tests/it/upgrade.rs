//! Upgrades of running jobs: state is kept, every step survives a crash, and what does not work is rolled back.

use std::path::Path;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::lifecycle::{counted, counting_answer, counting_sql};
use crate::support::postgres;
use crate::support::server::{PATIENCE, Places, Server};

const ROWS: u64 = 60_000;

/// The job's SQL with another output, which reads what the job reads.
fn with_another_insert(sql: &str) -> String {
    format!(
        "CREATE TABLE also (k BIGINT) WITH ('connector' = 'blackhole'); {} INSERT INTO also SELECT k FROM src WHERE k > 3;",
        sql
    )
}

/// The job's SQL with an output that fails at its first row.
fn that_fails(sql: &str) -> String {
    format!(
        "CREATE TABLE also (k BIGINT) WITH ('connector' = 'blackhole'); {} INSERT INTO also SELECT 1 / (k - k) FROM src;",
        sql
    )
}

async fn submit(server: &Server, sql: &str) -> String {
    let body = json!({ "name": "count", "sql": sql, "checkpointing": { "interval_ms": 100 }, "restart": { "strategy": "fixed_delay", "attempts": 100, "delay_ms": 10 } });
    let job = server.submit(&body).await;
    server.wait_checkpoints(&job, 2).await;
    job
}

/// Polls until the job's newest upgrade is over.
async fn ended(server: &Server, job: &str) -> Value {
    let since = std::time::Instant::now();
    loop {
        let all = server.get(&format!("/api/v1/jobs/{job}/upgrades")).await;
        let newest = all["items"][0].clone();
        if ["COMPLETED", "ROLLED_BACK", "FAILED"].contains(&newest["status"].as_str().unwrap_or_default()) {
            return newest;
        }
        assert!(since.elapsed() < PATIENCE, "the upgrade does not end: {all:#}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn places(root: &Path, url: Option<String>) -> Places {
    let mut places = Places::embedded(root);
    places.database_url = url.unwrap_or(places.database_url);
    places
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_keeps_state_and_a_bad_one_is_rolled_back() {
    let url = tokio::task::spawn_blocking(postgres::fresh_database).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let sql = counting_sql(2 * ROWS, Some(10_000), &out);
    let server = Server::start(&places(dir.path(), Some(url)));
    let job = submit(&server, &sql).await;
    let path = format!("/api/v1/jobs/{job}/upgrade");
    // Dry runs tell, and change nothing.
    let (status, view) =
        server.post(&format!("{path}?dry_run=true"), &json!({ "sql": with_another_insert(&sql) })).await;
    assert_eq!((status, &view["accepted"]), (StatusCode::OK, &json!(true)), "{view:#}");
    let changes: Vec<&str> =
        view["operators"].as_array().unwrap().iter().map(|o| o["change"].as_str().unwrap()).collect();
    assert_eq!(changes.iter().filter(|c| **c == "kept").count(), 3, "{view:#}");
    assert_eq!(changes.iter().filter(|c| **c == "new").count(), 1, "{view:#}");
    let other_window = sql.replace("'30' SECOND", "'60' SECOND");
    let (_, view) = server.post(&format!("{path}?dry_run=true"), &json!({ "sql": other_window })).await;
    assert_eq!(view["accepted"], false, "{view:#}");
    let (status, problem) = server.post(&path, &json!({ "sql": other_window })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("state_not_restored")), "{problem:#}");
    let (status, problem) = server.post(&path, &json!({ "sql": "SELECT" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem:#}");
    assert_eq!(server.get(&format!("/api/v1/jobs/{job}")).await["version"], 1);
    // One that fails is rolled back by itself.
    let (status, body) = server.post(&path, &json!({ "sql": that_fails(&sql) })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body:#}");
    let upgrade = ended(&server, &job).await;
    assert_eq!(upgrade["status"], "ROLLED_BACK", "{upgrade:#}");
    assert!(upgrade["failure"].as_str().unwrap().contains("division"), "{upgrade:#}");
    let view = server.wait_status(&job, "RUNNING").await;
    assert_eq!((&view["version"], view["sql"].as_str()), (&json!(1), Some(sql.as_str())));
    let exceptions = server.get(&format!("/api/v1/jobs/{job}/exceptions")).await;
    assert!(exceptions.to_string().contains("upgrade_rolled_back"), "{exceptions:#}");
    // One that works, with another parallelism.
    let body = json!({ "sql": with_another_insert(&sql), "parallelism": 2 });
    let (status, body) = server.post(&path, &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body:#}");
    let (status, problem) = server.post(&path, &json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("upgrade_in_progress")), "{problem:#}");
    let upgrade = ended(&server, &job).await;
    assert_eq!((&upgrade["status"], &upgrade["to_version"]), (&json!("COMPLETED"), &json!(3)), "{upgrade:#}");
    let one = server.get(&format!("/api/v1/jobs/{job}/upgrades/{}", upgrade["id"].as_str().unwrap())).await;
    assert_eq!(one, upgrade);
    let view = server.wait_status(&job, "FINISHED").await;
    assert_eq!((&view["version"], &view["parallelism"]), (&json!(3), &json!(2)), "{view:#}");
    assert_eq!(view["checkpointing"]["interval_ms"], 100, "what was not asked for stays: {view:#}");
    assert_eq!(counted(&out), counting_answer(2 * ROWS));
    server.kill();
}

/// Crashes at a step of an upgrade; another process goes on, and the output is that of an uninterrupted run.
async fn crash_at(step: &str, works: bool) {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path(), None);
    let out = dir.path().join("out");
    let sql = counting_sql(ROWS, Some(15_000), &out);
    let server = Server::start_with(&places, &[("HOLDFAST_CRASH_AT", step)]);
    let job = submit(&server, &sql).await;
    let new = if works { with_another_insert(&sql) } else { that_fails(&sql) };
    // The answer may be lost with the process.
    let request = server.request(reqwest::Method::POST, &format!("/api/v1/jobs/{job}/upgrade"));
    let _ = request.json(&json!({ "sql": new })).send().await;
    let (code, log) = server.wait();
    assert_eq!(code, None, "{step} aborts the process:\n{}", log.join("\n"));
    let server = Server::start(&places);
    let upgrade = ended(&server, &job).await;
    assert_eq!(upgrade["status"], if works { "COMPLETED" } else { "ROLLED_BACK" }, "{step}: {upgrade:#}");
    let view = server.wait_status(&job, "FINISHED").await;
    assert_eq!(view["version"], if works { 2 } else { 1 }, "{step}: {view:#}");
    assert_eq!(counted(&out), counting_answer(ROWS), "{step}");
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_of_an_upgrade_is_gone_on_from() {
    for step in [
        "upgrade-1-begun",
        "upgrade-2-savepoint",
        "upgrade-3-stopped",
        "upgrade-4-switched",
        "upgrade-5-running",
        "upgrade-6-completed",
    ] {
        crash_at(step, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_of_a_roll_back_is_gone_on_from() {
    for step in ["upgrade-4-switched", "upgrade-6-rolling-back", "upgrade-7-rolled-back"] {
        crash_at(step, false).await;
    }
}
