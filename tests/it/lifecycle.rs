//! The service as its users see it: jobs, savepoints, rescaling, crashes at every step of a checkpoint.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::postgres;
use crate::support::s3;
use crate::support::server::{Places, Server, sink_lines};

/// Keys of `counting_sql`: with 128 incompressible bytes each, the state is too large to be stored inside a manifest.
pub const KEYS: u64 = 997;

/// Counts by key over generated rows: event time from a sequence, so that the answer is known.
pub fn counting_sql(rows: u64, rate: Option<u64>, to: &Path) -> String {
    let rate = rate.map_or(String::new(), |r| format!(", 'rows-per-second' = '{r}'"));
    format!(
        "CREATE TABLE src (n BIGINT, k AS MOD(n, {KEYS}), ts AS TO_TIMESTAMP_LTZ(n * 10, 3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) \
         WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{}'{rate}); \
         CREATE TABLE dst (k BIGINT, wide STRING, n BIGINT, total BIGINT, w TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json'); \
         CREATE VIEW wide AS SELECT *, SHA512(CAST(k AS STRING)) AS wide FROM src; \
         INSERT INTO dst SELECT k, wide, COUNT(*), SUM(n), window_start FROM TABLE(TUMBLE(TABLE wide, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY k, wide, window_start, window_end;",
        rows - 1,
        to.display()
    )
}

/// The rows that `counting_sql` must write, as (k, n, total) sorted.
pub fn counting_answer(rows: u64) -> Vec<(u64, u64, u64)> {
    let mut windows = std::collections::BTreeMap::<(u64, u64), (u64, u64)>::new();
    for n in 0..rows {
        let entry = windows.entry((n * 10 / 30_000, n % KEYS)).or_default();
        *entry = (entry.0 + 1, entry.1 + n);
    }
    let mut all: Vec<_> = windows.into_iter().map(|((_, k), (n, total))| (k, n, total)).collect();
    all.sort_unstable();
    all
}

pub fn counted(dir: &Path) -> Vec<(u64, u64, u64)> {
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name} in {row}"));
    let rows = sink_lines(dir).into_iter().map(|l| serde_json::from_str::<Value>(&l).unwrap());
    let mut all: Vec<_> = rows.map(|r| (number(&r, "k"), number(&r, "n"), number(&r, "total"))).collect();
    all.sort_unstable();
    all
}

pub async fn wait_snapshot(server: &Server, path: &str) -> Value {
    loop {
        let snapshot = server.get(path).await;
        if snapshot["status"] != "IN_PROGRESS" {
            return snapshot;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_to_its_end_with_exact_output() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let out = dir.path().join("out");
    let job = server.submit(&json!({ "name": "count", "sql": counting_sql(50_000, None, &out), "parallelism": 2, "labels": { "team": "a" } })).await;
    server.wait_status(&job, "FINISHED").await;
    assert_eq!(counted(&out), counting_answer(50_000));
    let page = server.get("/api/v1/jobs?label=team:a&status=FINISHED").await;
    assert_eq!(page["items"][0]["id"], job.as_str());
    assert_eq!(server.get("/api/v1/jobs?label=team:b").await["items"], json!([]));
    let (status, _) = server.delete(&format!("/api/v1/jobs/{job}")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let store = Places::embedded(dir.path()).store_dir();
    assert_eq!(files_below(&store), Vec::<String>::new(), "nothing is left in the store");
    assert_eq!(server.terminate().0, Some(0));
}

pub fn files_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path())
            } else {
                found.push(entry.path().strip_prefix(dir).unwrap().display().to_string())
            }
        }
    }
    found.sort();
    found
}

/// Runs a throttled job at parallelism 1, takes a savepoint in the middle, stops it, and restores it elsewhere at other
/// parallelisms: each time, what was committed before and what is written after give the whole answer.
async fn savepoint_and_rescale(places: Places, root: &Path) {
    const ROWS: u64 = 60_000;
    let server = Server::start(&places);
    let out = root.join("out");
    let sql = counting_sql(ROWS, Some(20_000), &out);
    let job = server.submit(&json!({ "name": "count", "sql": sql, "checkpointing": { "interval_ms": 200 } })).await;
    server.wait_checkpoints(&job, 3).await;
    let (status, running) = server.post(&format!("/api/v1/jobs/{job}/savepoints?wait=30s"), &json!({})).await;
    assert_eq!((status, &running["status"]), (StatusCode::OK, &json!("COMPLETED")), "{running:#}");
    let (status, savepoint) = server.post(&format!("/api/v1/jobs/{job}/stop"), &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{savepoint:#}");
    let savepoint =
        wait_snapshot(&server, &format!("/api/v1/jobs/{job}/savepoints/{}", savepoint["id"].as_str().unwrap())).await;
    assert_eq!(savepoint["status"], "COMPLETED", "{savepoint:#}");
    assert!(savepoint["uploaded_bytes"].as_u64() > Some(128 * KEYS), "the state is stored in objects: {savepoint:#}");
    server.wait_status(&job, "FINISHED").await;
    let before = sink_lines(&out);
    assert!(!before.is_empty() && counted(&out).len() < counting_answer(ROWS).len(), "the savepoint is in the middle");
    for (name, parallelism, from) in [
        ("two", 2, savepoint["id"].clone()),
        ("three", 3, savepoint["location"].clone()),
        ("one", 1, savepoint["location"].clone()),
    ] {
        let there = root.join(name);
        copy_visible(&out, &there);
        let sql = sql.replace(&out.display().to_string(), &there.display().to_string());
        let body = json!({ "name": name, "sql": sql, "parallelism": parallelism, "restore": { "from": from } });
        let job = server.submit(&body).await;
        server.wait_status(&job, "FINISHED").await;
        assert_eq!(counted(&there), counting_answer(ROWS), "restored at parallelism {parallelism}");
    }
    let (status, _) =
        server.delete(&format!("/api/v1/jobs/{job}/savepoints/{}", savepoint["id"].as_str().unwrap())).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(server.terminate().0, Some(0));
}

pub fn copy_visible(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if !entry.file_name().to_string_lossy().starts_with('.') {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_restores_at_parallelism_one_two_and_three() {
    let dir = tempfile::tempdir().unwrap();
    savepoint_and_rescale(Places::embedded(dir.path()), dir.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_on_s3_and_postgres_restores_at_other_parallelisms() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = s3::fresh_bucket();
    let places = Places {
        store: format!("s3://{}/holdfast", bucket.name),
        database_url: postgres::fresh_database(),
        env: bucket.variables.clone(),
        ..Places::embedded(dir.path())
    };
    savepoint_and_rescale(places, dir.path()).await;
}

/// The numbered steps of a checkpoint's life; see `checkpoint`.
const STEPS: &[&str] = &[
    "checkpoint-1-row",
    "checkpoint-2-barrier",
    "checkpoint-3-acknowledged",
    "checkpoint-4-uploaded",
    "checkpoint-5-manifest",
    "checkpoint-6-published",
    "checkpoint-7-committed",
    "checkpoint-8-retire-marked",
    "checkpoint-8-retire-deleted",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_of_a_checkpoint_is_repaired() {
    const ROWS: u64 = 30_000;
    let mut seen_blobs = 0;
    for step in STEPS {
        // Each of four subtasks acknowledges: their thirteenth is in the fourth checkpoint.
        let later = if step.ends_with("acknowledged") { 13 } else { 4 };
        for passage in [1, later] {
            let dir = tempfile::tempdir().unwrap();
            let places = Places::embedded(dir.path());
            let out = dir.path().join("out");
            // Long enough for the seven checkpoints of a fourth retirement on a busy machine.
            let rate = if passage == 1 { 30_000 } else { 7_500 };
            let server = Server::start_with(&places, &[("HOLDFAST_CRASH_AT", &format!("{step}:{passage}"))]);
            let body = json!({ "name": "count", "sql": counting_sql(ROWS, Some(rate), &out), "parallelism": 2,
                "checkpointing": { "interval_ms": 50, "retained": 2, "max_concurrent_checkpoints": if passage == 1 { 1 } else { 3 } } });
            let job = server.submit(&body).await;
            let (code, log) = server.wait();
            assert_eq!(code, None, "{step} aborts the process:\n{}", log.join("\n"));
            let blobs = files_below(&places.store_dir()).iter().filter(|f| f.contains("/shared/")).count();
            seen_blobs += blobs;
            let server = Server::start(&places);
            server.wait_status(&job, "FINISHED").await;
            assert_eq!(counted(&out), counting_answer(ROWS), "{step}, passage {passage}");
            check_nothing_left(&server, &places, &job, step).await;
            server.kill();
        }
    }
    assert!(seen_blobs > 0, "state files were stored as objects of their own");
}

/// No row is in progress, and the store holds exactly the retained checkpoints' manifests and what they reference.
async fn check_nothing_left(server: &Server, places: &Places, job: &str, step: &str) {
    let mut left = None;
    // Retirement runs in the background of the last checkpoint.
    for _ in 0..500 {
        let page = server.get(&format!("/api/v1/jobs/{job}/checkpoints?limit=200")).await;
        left = what_is_left(page["items"].as_array().unwrap(), places);
        if left.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{step}: {}", left.unwrap_or_default());
}

/// What is not as it should be at the end, if anything.
fn what_is_left(items: &[Value], places: &Places) -> Option<String> {
    let count = |status: &str| items.iter().filter(|c| c["status"] == status).count();
    if count("IN_PROGRESS") > 0 || count("COMPLETED") != 2 {
        return Some(format!("{} in progress, {} completed", count("IN_PROGRESS"), count("COMPLETED")));
    }
    // A crash may leave a half-written file in the store's staging folder: no object, swept when it is a day old.
    let files: Vec<String> =
        files_below(&places.store_dir()).into_iter().filter(|f| !f.starts_with(".staging/")).collect();
    let (manifests, objects): (Vec<_>, Vec<_>) = files.iter().partition(|f| f.ends_with("_metadata"));
    let mut texts = String::new();
    for manifest in &manifests {
        let location = format!("{}/{manifest}", places.store);
        if !items.iter().any(|c| c["status"] == "COMPLETED" && c["location"] == location.as_str()) {
            return Some(format!("{manifest} belongs to no completed checkpoint"));
        }
        texts += &std::fs::read_to_string(places.store_dir().join(manifest)).unwrap_or_default();
    }
    if manifests.len() != 2 {
        return Some(format!("{} manifests", manifests.len()));
    }
    objects.into_iter().find(|f| !texts.contains(f.as_str())).map(|f| format!("{f} is an orphan"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_takes_a_last_checkpoint_and_the_job_goes_on_after_a_start() {
    const ROWS: u64 = 40_000;
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let out = dir.path().join("out");
    let server = Server::start(&places);
    let job = server.submit(&json!({ "name": "count", "sql": counting_sql(ROWS, Some(20_000), &out) })).await;
    server.wait_status(&job, "RUNNING").await;
    assert_eq!(server.terminate().0, Some(0));
    let server = Server::start(&places);
    let page = server.get(&format!("/api/v1/jobs/{job}/checkpoints")).await;
    assert_eq!(page["items"][0]["trigger"], "SHUTDOWN", "{page:#}");
    assert_eq!(page["items"][0]["status"], "COMPLETED");
    server.wait_status(&job, "FINISHED").await;
    assert_eq!(counted(&out), counting_answer(ROWS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submits_are_idempotent_across_restarts_and_names_are_unique_among_live_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let server = Server::start(&places);
    let body = json!({ "name": "one", "sql": counting_sql(1_000_000, Some(1_000), &dir.path().join("out")) });
    let submit = |server: &Server, body: &Value| {
        server.request(Method::POST, "/api/v1/jobs").header("Idempotency-Key", "k1").json(body)
    };
    let (status, first) = server.send(submit(&server, &body)).await;
    assert_eq!(status, StatusCode::CREATED, "{first:#}");
    server.kill();
    let server = Server::start(&places);
    let (_, again) = server.send(submit(&server, &body)).await;
    assert_eq!(again["id"], first["id"]);
    let (status, problem) = server.post("/api/v1/jobs", &body).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("job_name_taken")), "{problem:#}");
    assert!(problem["detail"].as_str().unwrap().contains(first["id"].as_str().unwrap()), "{problem:#}");
    let mut other = body.clone();
    other["name"] = json!("two");
    let (status, problem) = server.send(submit(&server, &other)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("idempotency_key_reused")), "{problem:#}");
    let job = first["id"].as_str().unwrap();
    let (status, _) = server.post(&format!("/api/v1/jobs/{job}/cancel"), &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    server.wait_status(job, "CANCELED").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_are_problems_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let (status, problem) = server.post("/api/v1/jobs", &json!({ "sql": "CREATE TABLE t (a INT) WITH ('connector' = 'blackhole');\nINSERT INTO t SELECT b FROM nowhere" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["errors"][0]["line"], 2, "{problem:#}");
    let (status, problem) = server.post("/api/v1/jobs", &json!({ "sql": "x", "colour": 1 })).await;
    assert_eq!(
        (status, &problem["code"], &problem["errors"][0]["pointer"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_body"), &json!("/colour")),
        "{problem:#}"
    );
    let (status, problem) = server.try_get("/api/v1/jobs/unknown").await.unwrap();
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("job_not_found")));
    let (status, problem) = server.try_get("/nowhere").await.unwrap();
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("no_such_route")));
    let (status, problem) = server.post("/version", &json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::METHOD_NOT_ALLOWED, &json!("method_not_allowed")));
    assert_eq!(server.get("/healthz").await["status"], "ok");
    assert_eq!(server.get("/readyz").await["status"], "ok");
    assert!(server.get("/openapi.json").await["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ad_hoc_query_streams_columns_changes_and_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let query = |sql: &str, more: Value| {
        let mut body = json!({ "sql": sql });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.request(Method::POST, "/api/v1/sql/query").json(&body)
    };
    let lines = |text: String| text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).collect::<Vec<_>>();
    let text = query("SELECT n, n * 0.5 AS half FROM (VALUES (1), (2)) AS t(n)", json!({}))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(
        lines(text),
        [
            json!({ "columns": [{ "name": "n", "type": "INT NOT NULL" }, { "name": "half", "type": "DECIMAL(13, 1) NOT NULL" }] }),
            json!({ "op": "+I", "row": [1, "0.5"] }),
            json!({ "op": "+I", "row": [2, "1.0"] }),
            json!({ "end": { "rows": 2, "limited": false } }),
        ]
    );
    let endless =
        "CREATE TABLE g (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100000'); SELECT n FROM g";
    let text = query(endless, json!({ "limit": 5 })).send().await.unwrap().text().await.unwrap();
    assert_eq!(lines(text).last().unwrap(), &json!({ "end": { "rows": 5, "limited": true } }));
    let text = query(endless, json!({ "timeout_ms": 200 })).send().await.unwrap().text().await.unwrap();
    assert_eq!(lines(text).last().unwrap()["error"]["code"], "query_timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_job_restarts_by_its_strategy_and_names_the_bad_record() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let input = dir.path().join("in.jsonl");
    std::fs::write(&input, "{\"a\": 1}\n{\"a\": 2}\n{\"a\": \"x\"}\n").unwrap();
    let sql = format!(
        "CREATE TABLE s (a INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json'); \
         CREATE TABLE d (a INT) WITH ('connector' = 'blackhole'); INSERT INTO d SELECT a FROM s",
        input.display()
    );
    let job = server
        .submit(&json!({ "sql": sql, "restart": { "strategy": "fixed_delay", "attempts": 2, "delay_ms": 10 } }))
        .await;
    let failed = server.wait_status(&job, "FAILED").await;
    assert_eq!((&failed["restarts"], &failed["attempt"]), (&json!(2), &json!(3)), "{failed:#}");
    let exceptions = server.get(&format!("/api/v1/jobs/{job}/exceptions")).await;
    let newest = &exceptions["items"][0];
    assert_eq!(newest["code"], "bad_record", "{exceptions:#}");
    assert!(newest["place"].as_str().unwrap().ends_with("in.jsonl, line 3"), "{newest:#}");
    assert_eq!(exceptions["items"].as_array().unwrap().len(), 3);
}

#[test]
fn a_working_directory_inside_the_store_is_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .arg("--work-dir")
        .arg(dir.path().join("store/work"))
        .arg("--store")
        .arg(format!("file://{}", dir.path().join("store").display()))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("inside the store"), "{text}");
}
