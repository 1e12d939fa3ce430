//! Savepoints as their users see them: resources that outlive their job, in two formats, exported to and imported from
//! other installations, and a stop that is right after a crash at any of its steps.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::lifecycle::{KEYS, copy_visible, counted, counting_answer, counting_sql, files_below, wait_snapshot};
use crate::support::postgres;
use crate::support::s3;
use crate::support::server::{Places, Server};

const ROWS: u64 = 60_000;
/// Rows of one window of `counting_sql`.
const WINDOW_ROWS: u64 = 3_000;

/// A running job that counts, and where it writes.
struct Counting {
    id: String,
    sql: String,
    out: PathBuf,
}

/// Rows per second of a job that is to be met in the middle, on a loaded machine too.
const SLOW: u64 = 6_000;
/// Of one that is to go on to its end.
const FAST: u64 = 20_000;

async fn start(server: &Server, root: &Path, rate: u64, more: Value) -> Counting {
    let out = root.join("out");
    let sql = counting_sql(ROWS, Some(rate), &out);
    let mut body = json!({ "name": "count", "sql": sql });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let id = server.submit(&body).await;
    server.wait_status(&id, "RUNNING").await;
    Counting { id, sql, out }
}

impl Counting {
    /// Stops the job with a savepoint, somewhere in the middle.
    async fn stop(&self, server: &Server, body: &Value) -> Value {
        server.wait_checkpoints(&self.id, 3).await;
        let (status, savepoint) = server.post(&format!("/api/v1/jobs/{}/stop?wait=60s", self.id), body).await;
        assert_eq!((status, &savepoint["status"]), (StatusCode::OK, &json!("COMPLETED")), "{savepoint:#}");
        server.wait_status(&self.id, "FINISHED").await;
        assert!(counted(&self.out).len() < counting_answer(ROWS).len(), "the savepoint is in the middle");
        savepoint
    }

    /// Runs a new job from a snapshot to its end, beside what was written before: together that is the whole answer.
    async fn restored(&self, server: &Server, root: &Path, name: &str, parallelism: u32, from: &str) {
        let there = root.join(name);
        copy_visible(&self.out, &there);
        let sql = self.sql.replace(&self.out.display().to_string(), &there.display().to_string());
        let sql = sql.replace(&format!(", 'rows-per-second' = '{SLOW}'"), "");
        let body = json!({ "name": name, "sql": sql, "parallelism": parallelism, "restore": { "from": from } });
        let job = server.submit(&body).await;
        server.wait_status(&job, "FINISHED").await;
        assert!(counted(&there) == counting_answer(ROWS), "{name}: restored at parallelism {parallelism}");
    }
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("{member} in {value:#}"))
}

async fn patch(server: &Server, savepoint: &str, body: Value) -> (StatusCode, Value) {
    server.send(server.request(Method::PATCH, &format!("/api/v1/savepoints/{savepoint}")).json(&body)).await
}

/// Starts an operation and waits for its end.
async fn operate(server: &Server, path: &str, body: Value) -> Value {
    let (status, operation) = server.post(&format!("/api/v1/savepoints/{path}?wait=60s"), &body).await;
    assert_eq!(status, StatusCode::OK, "{operation:#}");
    operation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_is_labelled_pinned_verified_and_outlives_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let server = Server::start(&places);
    let job = start(&server, dir.path(), SLOW, json!({ "checkpointing": { "interval_ms": 100 } })).await;
    let create = |body: Value| {
        let path = format!("/api/v1/jobs/{}/savepoints?wait=60s", job.id);
        server.send(server.request(Method::POST, &path).header("Idempotency-Key", "nightly").json(&body))
    };
    let (status, first) = create(json!({ "labels": { "why": "test" } })).await;
    assert_eq!((status, &first["status"]), (StatusCode::OK, &json!("COMPLETED")), "{first:#}");
    let (_, again) = create(json!({ "labels": { "why": "test" } })).await;
    assert_eq!(again["id"], first["id"]);
    let (status, problem) = create(json!({ "format": "canonical" })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("idempotency_key_reused")), "{problem:#}");
    let savepoint = job.stop(&server, &json!({ "labels": { "why": "stop" } })).await;
    let id = text(&savepoint, "id");

    let (_, changed) = patch(&server, id, json!({ "pinned": true, "labels": { "why": null, "team": "a" } })).await;
    assert_eq!((&changed["pinned"], &changed["labels"]), (&json!(true), &json!({ "team": "a" })), "{changed:#}");
    let (status, problem) = patch(&server, id, json!({ "labels": { "": "x" } })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_value")), "{problem:#}");
    let (status, problem) = server.delete(&format!("/api/v1/savepoints/{id}")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("savepoint_pinned")), "{problem:#}");
    let (status, problem) = server.delete(&format!("/api/v1/jobs/{}?delete_savepoints=true", job.id)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("savepoint_pinned")), "{problem:#}");

    let (status, _) = server.delete(&format!("/api/v1/jobs/{}", job.id)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let page = server.get("/api/v1/savepoints?label=team:a").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page:#}");
    assert_eq!(page["items"][0]["id"], id);
    let page = server.get(&format!("/api/v1/savepoints?job={}&limit=1", job.id)).await;
    assert_eq!(page["items"][0]["id"], id, "the newest first: {page:#}");
    let token = text(&page, "next_page_token");
    let page = server.get(&format!("/api/v1/savepoints?job={}&limit=1&page_token={token}", job.id)).await;
    assert_eq!((&page["items"][0]["id"], page.get("next_page_token")), (&first["id"], None), "{page:#}");

    let manifest = server.get(&format!("/api/v1/savepoints/{id}/manifest")).await;
    assert_eq!((&manifest["job_name"], &manifest["format"]), (&json!("count"), &json!("native")), "{manifest:#}");
    assert_eq!(manifest["state_bytes"], savepoint["state_bytes"]);
    let keyed: u64 = manifest["operators"].as_array().unwrap().iter().map(|o| o["state_bytes"].as_u64().unwrap()).sum();
    assert_eq!(manifest["state_bytes"].as_u64(), Some(keyed));

    let verified = operate(&server, &format!("{id}/verify"), json!({})).await;
    assert_eq!(verified["verification"]["intact"], true, "{verified:#}");
    assert_eq!(verified["bytes_done"], savepoint["state_bytes"]);
    let object = files_below(&places.store_dir()).into_iter().find(|f| f.contains(&format!("{id}/state"))).unwrap();
    let path = places.store_dir().join(&object);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let verified = operate(&server, &format!("{id}/verify"), json!({})).await;
    assert_eq!(
        verified["verification"]["damaged"][0],
        json!({ "object": format!("{}/{object}", places.store), "problem": "WRONG_LENGTH", "detail": format!("it has {} bytes, {} were written", whole.len() - 1, whole.len()) }),
        "{verified:#}"
    );
    std::fs::write(&path, &whole).unwrap();
    let operations = server.get(&format!("/api/v1/savepoints/{id}/operations")).await;
    assert_eq!(operations["items"].as_array().unwrap().len(), 2, "{operations:#}");

    job.restored(&server, dir.path(), "after", 2, id).await;
    patch(&server, id, json!({ "pinned": false })).await;
    for savepoint in [id, text(&first, "id")] {
        let (status, problem) = server.delete(&format!("/api/v1/savepoints/{savepoint}")).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{problem:#}");
    }
    let left = files_below(&places.store_dir()).into_iter().filter(|f| f.starts_with("savepoints/"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

/// A savepoint goes from one installation to another: other database, other store, other machine for all it knows.
async fn moves(format: &str, from: &Places, exported: &str, to: &Places, root: &Path) {
    let server = Server::start(from);
    let job = start(&server, root, SLOW, json!({ "checkpointing": { "interval_ms": 100 } })).await;
    let savepoint = job.stop(&server, &json!({ "format": format })).await;
    let id = text(&savepoint, "id");
    let export = operate(&server, &format!("{id}/export"), json!({ "target": exported, "client_key": "k" })).await;
    assert_eq!(export["status"], "COMPLETED", "{export:#}");
    let again = operate(&server, &format!("{id}/export"), json!({ "target": exported, "client_key": "k" })).await;
    assert_eq!(again["id"], export["id"]);
    let (status, problem) =
        server.post(&format!("/api/v1/savepoints/{id}/export"), &json!({ "target": from.store })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("export_onto_itself")), "{problem:#}");
    assert_eq!(server.terminate().0, Some(0));

    let server = Server::start(to);
    let location = text(&export, "location");
    let import = operate(&server, "import", json!({ "from": location, "labels": { "from": "a" } })).await;
    assert_eq!(import["status"], "COMPLETED", "{import:#}");
    let imported = server.get(&format!("/api/v1/savepoints/{}", text(&import, "savepoint_id"))).await;
    assert_ne!(imported["id"], savepoint["id"]);
    assert_eq!(
        (&imported["job_id"], &imported["job_name"], &imported["format"], &imported["imported_from"]),
        (&savepoint["job_id"], &json!("count"), &json!(format), &json!(location)),
        "{imported:#}"
    );
    assert!(text(&imported, "location").starts_with(&to.store), "{imported:#}");
    let (status, _) = server.try_get(&format!("/api/v1/jobs/{}", text(&savepoint, "job_id"))).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND, "the job is not known here");
    let verified = operate(&server, &format!("{}/verify", text(&imported, "id")), json!({})).await;
    assert_eq!(verified["verification"]["intact"], true, "{verified:#}");
    job.restored(&server, root, "there", 2, text(&imported, "id")).await;

    // In place: nothing is copied, and deleting it here takes nothing from there.
    let import = operate(&server, "import", json!({ "from": location, "copy": false })).await;
    let in_place = server.get(&format!("/api/v1/savepoints/{}", text(&import, "savepoint_id"))).await;
    assert_eq!((&in_place["location"], &in_place["is_foreign"]), (&json!(location), &json!(true)), "{in_place:#}");
    let (status, _) = server.delete(&format!("/api/v1/savepoints/{}", text(&in_place, "id"))).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    job.restored(&server, root, "uri", 1, location).await;
    let (status, problem) =
        server.post("/api/v1/savepoints/import", &json!({ "from": format!("{exported}/nothing") })).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem:#}");
    assert_eq!(server.terminate().0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_moves_to_another_installation_on_s3_and_postgres() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, c) = (s3::fresh_bucket(), s3::fresh_bucket(), s3::fresh_bucket());
    let places = |name: &str, bucket: &s3::Bucket| Places {
        store: format!("s3://{}/holdfast", bucket.name),
        database_url: postgres::fresh_database(),
        env: bucket.variables.clone(),
        ..Places::embedded(&dir.path().join(name))
    };
    let exported = format!("s3://{}/exports", c.name);
    moves("native", &places("a", &a), &exported, &places("b", &b), dir.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canonical_savepoint_moves_to_another_installation_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (Places::embedded(&dir.path().join("a")), Places::embedded(&dir.path().join("b")));
    moves("canonical", &a, &format!("file://{}", dir.path().join("exports").display()), &b, dir.path()).await;
}

/// Lets the stopped job run on a little, and stops it with a native savepoint.
async fn start_again(server: &Server, job: &Counting) -> String {
    let (status, view) = server.post(&format!("/api/v1/jobs/{}/restart", job.id), &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{view:#}");
    server.wait_status(&job.id, "RUNNING").await;
    let (_, savepoint) = server.post(&format!("/api/v1/jobs/{}/stop?wait=60s", job.id), &json!({})).await;
    assert_eq!((&savepoint["status"], &savepoint["format"]), (&json!("COMPLETED"), &json!("native")), "{savepoint:#}");
    server.wait_status(&job.id, "FINISHED").await;
    text(&savepoint, "id").to_owned()
}

/// What the independent reader says about a savepoint's folder; none if there is no Python here.
fn read_by_python(folder: &Path) -> Option<Vec<Value>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/read_savepoint.py");
    let output = match Command::new("python3").arg(script).arg(folder).output() {
        Ok(output) => output,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(e) => panic!("{e}"),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    Some(lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect())
}

/// The counts and sums in the state, if there are any (a job that has read everything has none), are those of the rows that were read, window by window and key by key.
fn check_entries(entries: &[Value]) {
    let mut windows = std::collections::BTreeMap::<u64, Vec<(u64, u64, u64)>>::new();
    for entry in entries.iter().filter(|e| e["table"] == "window") {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{entry}"));
        let (k, wide) = (number(&entry["key"][0]), text(&json!({ "w": entry["key"][1] }), "w").len());
        assert_eq!(wide, 128, "SHA512 in hexadecimal digits: {entry}");
        let window = number(&entry["window_start"]) / 30_000;
        windows.entry(window).or_default().push((k, number(&entry["aggregates"][0]), number(&entry["aggregates"][1])));
    }
    let Some(last) = windows.keys().last().copied() else { return };
    for (window, mut found) in windows {
        let rows: u64 = found.iter().map(|(_, n, _)| n).sum();
        assert!(rows == WINDOW_ROWS || window == last, "only the newest window is incomplete");
        let mut expected = std::collections::BTreeMap::<u64, (u64, u64)>::new();
        for n in window * WINDOW_ROWS..window * WINDOW_ROWS + rows {
            let entry = expected.entry(n % KEYS).or_default();
            *entry = (entry.0 + 1, entry.1 + n);
        }
        found.sort_unstable();
        assert_eq!(found, expected.into_iter().map(|(k, (n, total))| (k, n, total)).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canonical_savepoint_restores_at_other_parallelisms_and_is_read_by_another_program() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let server = Server::start(&places);
    let job = start(&server, dir.path(), SLOW, json!({ "checkpointing": { "interval_ms": 100 } })).await;
    let savepoint = job.stop(&server, &json!({ "format": "canonical" })).await;
    assert_eq!(savepoint["format"], "canonical");
    let id = text(&savepoint, "id");
    let folder = places.store_dir().join("savepoints").join(id);
    let read = read_by_python(&folder);
    if let Some(entries) = &read {
        assert!(entries.iter().any(|e| e["table"] == "window"), "there is state");
        check_entries(entries);
    }
    for (name, parallelism) in [("one", 1), ("two", 2), ("three", 3)] {
        job.restored(&server, dir.path(), name, parallelism, id).await;
    }
    // Copied by hand, under another name.
    let copy = dir.path().join("elsewhere/my savepoint".replace(' ', "-"));
    std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
    let copied = Command::new("cp").arg("-r").arg(&folder).arg(&copy).status().unwrap();
    assert!(copied.success());
    let hidden = dir.path().join("hidden");
    std::fs::rename(&folder, &hidden).unwrap();
    assert_eq!(read_by_python(&copy), read);
    job.restored(&server, dir.path(), "copied", 2, &format!("file://{}", copy.display())).await;
    std::fs::rename(&hidden, &folder).unwrap();
    // A native one is converted on its way out.
    let native = start_again(&server, &job).await;
    let exports = dir.path().join("exports");
    let body = json!({ "target": format!("file://{}", exports.display()), "format": "canonical" });
    let export = operate(&server, &format!("{native}/export"), body).await;
    assert_eq!(export["status"], "COMPLETED", "{export:#}");
    if let Some(entries) = read_by_python(&exports.join("savepoints").join(&native)) {
        check_entries(&entries);
    }
    job.restored(&server, dir.path(), "converted", 2, text(&export, "location")).await;
}

/// The steps of a stop and whether the savepoint is complete behind them.
const STOP_STEPS: &[(&str, u64, bool)] = &[
    ("checkpoint-1-row", 1, false),
    ("checkpoint-2-barrier", 1, false),
    ("checkpoint-3-acknowledged", 1, false),
    ("checkpoint-4-uploaded", 1, false),
    ("checkpoint-5-manifest", 1, false),
    ("checkpoint-6-published", 1, true),
    ("checkpoint-7-committed", 1, true),
    ("stop-8-committed", 1, true),
    ("stop-9-ended", 1, true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_of_a_stop_leaves_the_truth() {
    for (step, passage, complete) in STOP_STEPS {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::embedded(dir.path());
        let server = Server::start_with(&places, &[("HOLDFAST_CRASH_AT", &format!("{step}:{passage}"))]);
        // Without periodic checkpoints the stop's savepoint is the first snapshot.
        let job = start(&server, dir.path(), FAST, json!({ "checkpointing": { "interval_ms": 0 } })).await;
        let stop = |server: &Server| {
            let path = format!("/api/v1/jobs/{}/stop", job.id);
            server.request(Method::POST, &path).header("Idempotency-Key", "stop")
        };
        // The process may be gone before it answers.
        let _ = stop(&server).send().await;
        let (code, log) = server.wait();
        assert_eq!(code, None, "{step} aborts the process:\n{}", log.join("\n"));
        let server = Server::start(&places);
        server.wait_status(&job.id, "FINISHED").await;
        // The same request asks for the outcome, whatever became of the process.
        let (status, savepoint) = server.send(stop(&server)).await;
        assert_eq!(status, StatusCode::OK, "{step}: {savepoint:#}");
        let id = text(&savepoint, "id");
        if *complete {
            assert_eq!(savepoint["status"], "COMPLETED", "{step}: {savepoint:#}");
            job.restored(&server, dir.path(), "on", 2, id).await;
        } else {
            assert_eq!(savepoint["status"], "FAILED", "{step}: {savepoint:#}");
            assert!(!text(&savepoint, "failure").is_empty());
            assert!(counted(&job.out) == counting_answer(ROWS), "{step}: the job went on to its end");
            let left = files_below(&places.store_dir()).into_iter().filter(|f| f.starts_with("savepoints/"));
            assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "{step}");
        }
        assert_eq!(server.get(&format!("/api/v1/savepoints/{id}")).await["status"], savepoint["status"]);
        server.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_whose_sinks_fail_keeps_its_savepoint_and_says_so() {
    for (restart, ends) in [("none", "FAILED"), ("fixed_delay", "FINISHED")] {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::embedded(dir.path());
        let server = Server::start_with(&places, &[("HOLDFAST_FAIL_AT", "sink-commit:1")]);
        let more = json!({ "checkpointing": { "interval_ms": 0 }, "restart": { "strategy": restart } });
        let job = start(&server, dir.path(), FAST, more).await;
        // Until something is staged there is nothing to publish.
        while files_below(&job.out).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (_, savepoint) = server.post(&format!("/api/v1/jobs/{}/stop", job.id), &json!({})).await;
        let path = format!("/api/v1/savepoints/{}", text(&savepoint, "id"));
        let savepoint = wait_snapshot(&server, &path).await;
        assert_eq!(savepoint["status"], "COMPLETED", "{savepoint:#}");
        let ended = server.wait_status(&job.id, ends).await;
        assert!(text(&ended, "failure").contains(text(&savepoint, "location")), "{ended:#}");
        if ends == "FINISHED" {
            job.restored(&server, dir.path(), "on", 1, text(&savepoint, "id")).await;
        } else {
            // What the sinks could not publish is in the savepoint, from which the job goes on.
            let (status, view) = server.post(&format!("/api/v1/jobs/{}/restart", job.id), &json!({})).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{view:#}");
            server.wait_status(&job.id, "FINISHED").await;
            assert!(counted(&job.out) == counting_answer(ROWS), "the whole answer");
        }
        server.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_a_crash_interrupts_fails_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let exports = dir.path().join("exports");
    let export = json!({ "target": format!("file://{}", exports.display()) });
    let server = Server::start(&places);
    let job = start(&server, dir.path(), SLOW, json!({ "checkpointing": { "interval_ms": 100 } })).await;
    let savepoint = job.stop(&server, &json!({})).await;
    let (id, location) = (text(&savepoint, "id"), text(&savepoint, "location"));
    server.kill();
    for step in ["operation-1-row", "operation-2-done"] {
        for path in [format!("{id}/export"), "import".to_owned(), format!("{id}/verify")] {
            let server = Server::start_with(&places, &[("HOLDFAST_CRASH_AT", step)]);
            let body = if path == "import" { json!({ "from": location }) } else { export.clone() };
            let path = format!("/api/v1/savepoints/{path}");
            let begun = server.request(Method::POST, &path).header("Idempotency-Key", format!("{step} {path}"));
            let _ = begun.json(&body).send().await;
            let (code, log) = server.wait();
            assert_eq!(code, None, "{step} aborts the process:\n{}", log.join("\n"));
            let server = Server::start(&places);
            // The same key asks for the outcome.
            let asked = server
                .request(Method::POST, &format!("{path}?wait=60s"))
                .header("Idempotency-Key", format!("{step} {path}"))
                .json(&body);
            let (_, operation) = server.send(asked).await;
            assert_eq!(operation["status"], "FAILED", "{step} {path}: {operation:#}");
            assert!(text(&operation, "failure").contains("the service ended"), "{operation:#}");
            if path.ends_with("import") {
                let made = text(&operation, "savepoint_id");
                let view = server.get(&format!("/api/v1/savepoints/{made}")).await;
                assert_eq!(view["status"], "FAILED", "{view:#}");
                let (status, _) = server.delete(&format!("/api/v1/savepoints/{made}")).await;
                assert_eq!(status, StatusCode::NO_CONTENT);
            }
            server.kill();
        }
    }
    let server = Server::start(&places);
    let done = operate(&server, &format!("{id}/export"), export).await;
    assert_eq!(done["status"], "COMPLETED", "{done:#}");
    let objects = |root: &Path| files_below(root).into_iter().filter(|f| f.starts_with("savepoints/")).count();
    assert_eq!(objects(&exports), objects(&places.store_dir()), "one savepoint, and one copy of it");
}
