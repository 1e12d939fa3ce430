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
        assert!(idle["state_bytes"].as_u64() > Some(1_000_000), "{idle:#}");
        assert!(idle["uploaded_bytes"].as_u64() < Some(400_000), "only RocksDB's own files: {idle:#}");
    }
    let cost = store_requests(&server).await - before;
    // The manifest, and the deletion of a retired one.
    assert!(cost <= 2 * IDLE_CHECKPOINTS, "{cost} requests for {IDLE_CHECKPOINTS} checkpoints of an idle job");
    assert_eq!(server.terminate().0, Some(0));
}

/// Windows of generated rows into a sink that takes `delay` for each batch, behind a channel. A batch of rows reaches the
/// end of one window at most.
fn slow_sql(delay: &str) -> String {
    format!(
        "CREATE TABLE src (n BIGINT, k AS MOD(n, 7), ts AS TO_TIMESTAMP_LTZ(n, 3), WATERMARK FOR ts AS ts) \
         WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '9000000000', 'number-of-rows' = '9000000000', 'rows-per-second' = '1000000000'); \
         CREATE TABLE dst (k BIGINT, n BIGINT) WITH ('connector' = 'blackhole', 'delay' = '{delay}'); \
         INSERT INTO dst SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY k, window_start, window_end;"
    )
}

async fn statistics(server: &Server, job: &str) -> Value {
    server.get(&format!("/api/v1/jobs/{job}/checkpoints/statistics?history=1000")).await
}

/// Polls the statistics until they are as wanted.
async fn wait_statistics(server: &Server, job: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let since = std::time::Instant::now();
    loop {
        let found = statistics(server, job).await;
        if wanted(&found) {
            return found;
        }
        assert!(since.elapsed() < crate::support::server::PATIENCE, "{found:#}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_outlive_retired_checkpoints_and_name_every_subtask() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let server = Server::start(&places);
    let input = dir.path().join("in");
    write_words(&input, "first", 3_000);
    let body = json!({ "name": "figures", "sql": watching_sql(&input, &dir.path().join("out")), "parallelism": 2,
        "checkpointing": { "interval_ms": 0, "retained": 1 } });
    let job = server.submit(&body).await;
    server.wait_status(&job, "RUNNING").await;
    wait_read(&server, &job, 3_000).await;
    for _ in 0..4 {
        checkpoint(&server, &job).await;
    }
    let found = wait_statistics(&server, &job, |s| s["counts"]["completed"] == 4).await;
    assert_eq!((&found["counts"]["failed"], &found["counts"]["total"]), (&json!(0), &json!(4)));
    let history = found["history"].as_array().unwrap();
    assert_eq!(history.iter().map(|c| c["checkpoint_id"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 3, 2, 1]);
    let (newest, oldest) = (&history[0], &history[3]);
    assert!(oldest["uploaded_bytes"].as_u64() > newest["uploaded_bytes"].as_u64(), "incremental: {found:#}");
    let summary = &found["summary"]["uploaded_bytes"];
    assert_eq!((&summary["max"], &summary["min"]), (&oldest["uploaded_bytes"], &newest["uploaded_bytes"]));
    assert_eq!(found["latest"]["completed"]["checkpoint_id"], 4);
    // Retired long ago; its figures stay, over a restart of the service too.
    assert_eq!(server.terminate().0, Some(0));
    let server = Server::start(&places);
    let first = server.get(&format!("/api/v1/jobs/{job}/checkpoints/1")).await;
    assert_eq!((&first["retained"], &first["status"]), (&json!(false), &json!("COMPLETED")), "{first:#}");
    let subtasks = first["subtasks"].as_array().unwrap();
    assert!(subtasks.len() >= 4 && subtasks.iter().all(|s| s["operator"].as_str().is_some_and(|o| !o.is_empty())));
    let sum = |name: &str| subtasks.iter().map(|s| s[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(Some(sum("state_bytes")), first["state_bytes"].as_u64());
    assert_eq!(Some(sum("uploaded_bytes")), first["uploaded_bytes"].as_u64());
    let (status, _) = server.send(server.request(Method::GET, &format!("/api/v1/jobs/{job}/checkpoints/99"))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_checkpoints_raise_an_alarm_and_the_job_lives() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let server = Server::start(&places);
    let input = dir.path().join("in");
    write_words(&input, "first", 10);
    let body = json!({ "name": "alarm", "sql": watching_sql(&input, &dir.path().join("out")), "checkpointing": { "interval_ms": 100 } });
    let job = server.submit(&body).await;
    server.wait_checkpoints(&job, 2).await;
    // The store vanishes, and something that is no folder is in its place.
    let (store, away) = (places.store_dir(), dir.path().join("away"));
    std::fs::rename(&store, &away).unwrap();
    std::fs::write(&store, "not a folder").unwrap();
    let found = wait_statistics(&server, &job, |s| s["counts"]["failed_in_a_row"].as_u64() >= Some(2)).await;
    let reason = found["latest"]["failed"]["failure_reason"].as_str().unwrap();
    assert!(["CHECKPOINT_ASYNC_EXCEPTION", "FINALIZE_CHECKPOINT_FAILURE"].contains(&reason), "{found:#}");
    let view = server.get(&format!("/api/v1/jobs/{job}")).await;
    assert_eq!((&view["status"], &view["attempt"]), (&json!("RUNNING"), &json!(1)), "{view:#}");
    assert!(view["failed_checkpoints"].as_u64() >= Some(2));
    let warnings = view["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|w| w["code"] == "checkpoints_failing"), "{view:#}");
    assert!(figure(&metrics(&server).await, "holdfast_checkpoint_failed_in_a_row", "job_name=\"alarm\"") >= 2);
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    wait_statistics(&server, &job, |s| s["counts"]["failed_in_a_row"] == 0).await;
    let view = server.get(&format!("/api/v1/jobs/{job}")).await;
    assert!(!view["warnings"].as_array().unwrap().iter().any(|w| w["code"] == "checkpoints_failing"), "{view:#}");
    assert_eq!(view["restarts"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_failed_checkpoints_than_tolerable_fail_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let sql = format!(
        "SET 'execution.checkpointing.tolerable-failed-checkpoints' = '1'; SET 'restart-strategy.type' = 'none'; \
         SET 'execution.checkpointing.timeout' = '100 ms'; SET 'execution.checkpointing.interval' = '10 ms'; {}",
        slow_sql("300 ms")
    );
    let job = server.submit(&json!({ "name": "strict", "sql": sql })).await;
    let found = wait_statistics(&server, &job, |s| s["counts"]["failed"].as_u64() >= Some(2)).await;
    assert_eq!(found["latest"]["failed"]["failure_reason"], "CHECKPOINT_EXPIRED", "{found:#}");
    server.wait_status(&job, "FAILED").await;
    let failures = server.get(&format!("/api/v1/jobs/{job}/exceptions")).await;
    assert_eq!(failures["items"][0]["code"], "checkpoints_failed", "{failures:#}");
}

/// The barrier waits behind what one channel holds, one element in work and one in the sender's hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_sink_holds_a_barrier_up_no_longer_than_its_channel() {
    const DELAY_MS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let body = json!({ "name": "slow", "sql": slow_sql(&format!("{DELAY_MS} ms")), "parallelism": 2, "checkpointing": { "interval_ms": 50, "max_concurrent_checkpoints": 3 } });
    let job = server.submit(&body).await;
    let found = wait_statistics(&server, &job, |s| s["counts"]["completed"].as_u64() >= Some(8)).await;
    // Published in order although several were under way.
    let history = found["history"].as_array().unwrap();
    let numbers: Vec<u64> = history.iter().map(|c| c["checkpoint_id"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|w| w[0] > w[1]), "{numbers:?}");
    let ends: Vec<u64> =
        history.iter().map(|c| c["started_ms"].as_u64().unwrap() + c["duration_ms"].as_u64().unwrap()).collect();
    assert!(ends.windows(2).all(|w| w[0] >= w[1]), "{ends:?}");
    let overlap = history.windows(2).zip(ends.iter().skip(1)).any(|(w, end)| w[0]["started_ms"].as_u64() < Some(*end));
    assert!(overlap, "two were under way at once: {found:#}");
    let wait = |c: &Value| c["start_delay_ms"].as_u64().unwrap() + c["alignment_ms"].as_u64().unwrap();
    let longest = history.iter().map(wait).max().unwrap();
    println!("sink takes {DELAY_MS} ms a batch: barriers waited up to {longest} ms; {:#}", found["summary"]);
    // Before it there may be the synchronous phases of two other checkpoints.
    let sync = history.iter().map(|c| c["sync_ms"].as_u64().unwrap()).max().unwrap();
    let bound = (holdfast::runtime::CHANNEL_CAPACITY as u64 + 2) * DELAY_MS + 2 * sync;
    // Twice: the machine of the test may be busy.
    assert!(longest <= 2 * bound, "{longest} ms, but {bound} ms are the bound: {found:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_checkpoint_is_reported_with_its_operator_and_subtask() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let sql = format!("SET 'holdfast.checkpointing.stuck-after' = '200 ms'; {}", slow_sql("5 s"));
    let job = server.submit(&json!({ "name": "stuck", "sql": sql, "checkpointing": { "interval_ms": 10 } })).await;
    let since = std::time::Instant::now();
    let warning = loop {
        let view = server.get(&format!("/api/v1/jobs/{job}")).await;
        let warnings = view["warnings"].as_array().unwrap().clone();
        if let Some(found) = warnings.into_iter().find(|w| w["code"] == "checkpoint_stuck") {
            break found["message"].as_str().unwrap().to_owned();
        }
        assert!(since.elapsed() < crate::support::server::PATIENCE, "{view:#}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(warning.contains("subtask 0 of '") && warning.contains("has not reached the barrier"), "{warning}");
    assert!(warning.contains("dst"), "the sink's vertex, not the source that waits for it: {warning}");
    assert!(figure(&metrics(&server).await, "holdfast_checkpoint_stuck_ms", "phase=\"barrier\"") >= 200);
}
