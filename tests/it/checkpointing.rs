//! What checkpoints cost, say and survive, seen from outside.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::server::{Places, Server};

/// Counts words of a folder's files for ever; the state has `wide` bytes for each word.
fn watching_sql(input: &Path, output: &Path) -> String {
    format!(
        "CREATE TABLE src (word STRING, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) \
         WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json', 'source.monitor-interval' = '10 ms'); \
         CREATE TABLE dst (word STRING, wide STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json'); \
         CREATE VIEW wide AS SELECT *, SHA512(word) || SHA512(word || 'x') AS wide FROM src; \
         INSERT INTO dst SELECT word, wide, COUNT(*) FROM TABLE(TUMBLE(TABLE wide, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY word, wide, window_start, window_end;",
        input.display(),
        output.display()
    )
}

/// Writes a file of words that are nowhere else, all of one day.
fn write_words(input: &Path, file: &str, count: usize) {
    let line = |n| format!("{{\"word\": \"{file}-{n}\", \"ts\": \"2026-01-01 00:00:00Z\"}}\n");
    std::fs::create_dir_all(input).unwrap();
    let staged = input.join(format!(".{file}"));
    std::fs::write(&staged, (0..count).map(line).collect::<String>()).unwrap();
    std::fs::rename(staged, input.join(format!("{file}.json"))).unwrap();
}

async fn metrics(server: &Server) -> String {
    server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap()
}

/// The sum of a figure over the lines that contain `label`.
fn figure(metrics: &str, name: &str, label: &str) -> u64 {
    let lines = metrics.lines().filter(|l| l.starts_with(&format!("{name}{{")) && l.contains(label));
    lines.map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

async fn store_requests(server: &Server) -> u64 {
    figure(&metrics(server).await, "holdfast_store_requests_total", "operation")
}

async fn checkpoint(server: &Server, job: &str) -> Value {
    let (status, done) = server.post(&format!("/api/v1/jobs/{job}/checkpoints?wait=60s"), &json!({})).await;
    assert_eq!((status, &done["status"]), (StatusCode::OK, &json!("COMPLETED")), "{done:#}");
    done
}

/// Polls until the job's sources have read that many records.
async fn wait_read(server: &Server, job: &str, records: u64) {
    let label = format!("job_id=\"{job}\",");
    while figure(&metrics(server).await, "holdfast_task_records_out_total", &label) < records {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_jobs_checkpoint_costs_a_handful_of_requests() {
    const IDLE_CHECKPOINTS: u64 = 5;
    const PARALLELISM: u64 = 4;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let input = dir.path().join("in");
    write_words(&input, "first", 5_000);
    let job = server
        .submit(
            &json!({ "name": "idle", "sql": watching_sql(&input, &dir.path().join("out")), "parallelism": PARALLELISM,
            "checkpointing": { "interval_ms": 0, "retained": 2 } }),
        )
        .await;
    server.wait_status(&job, "RUNNING").await;
    wait_read(&server, &job, 5_000).await;
    let before = store_requests(&server).await;
    let first = checkpoint(&server, &job).await;
    assert!(first["uploaded_bytes"].as_u64() > Some(1_000_000), "{first:#}");
    let first_cost = store_requests(&server).await - before;
    assert!(first_cost <= PARALLELISM + 2, "{first_cost} requests for a first checkpoint");
    // Up to the retained number, so that each of the following also retires one.
    checkpoint(&server, &job).await;
    let before = store_requests(&server).await;
    for _ in 0..IDLE_CHECKPOINTS {
        let idle = checkpoint(&server, &job).await;
        assert_eq!(idle["state_bytes"].as_u64() > Some(1_000_000), true, "{idle:#}");
        assert!(idle["uploaded_bytes"].as_u64() < Some(400_000), "only RocksDB's own files: {idle:#}");
    }
    let cost = store_requests(&server).await - before;
    // The manifest, and the deletion of a retired one.
    assert!(cost <= 2 * IDLE_CHECKPOINTS, "{cost} requests for {IDLE_CHECKPOINTS} checkpoints of an idle job");
    assert_eq!(server.terminate().0, Some(0));
}
