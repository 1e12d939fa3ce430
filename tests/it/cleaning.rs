//! Deletions that a crash interrupts, and `fsck`, against the real service.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::lifecycle::{counting_sql, files_below};
use crate::support::server::{PATIENCE, Places, Server};

/// Runs a job to a few checkpoints and a savepoint, and cancels it; answers its id.
async fn ended_job(server: &Server, out: &Path) -> String {
    let sql = counting_sql(10_000_000, Some(20_000), out);
    let checkpointing = json!({ "interval_ms": 100, "retained": 100 });
    let job = server.submit(&json!({ "name": "count", "sql": sql, "checkpointing": checkpointing })).await;
    server.wait_checkpoints(&job, 3).await;
    let (status, savepoint) = server.post(&format!("/api/v1/jobs/{job}/savepoints?wait=60s"), &json!({})).await;
    assert_eq!((status, &savepoint["status"]), (StatusCode::OK, &json!("COMPLETED")), "{savepoint:#}");
    server.post(&format!("/api/v1/jobs/{job}/cancel"), &json!({})).await;
    server.wait_status(&job, "CANCELED").await;
    job
}

fn objects(places: &Places) -> Vec<String> {
    files_below(&places.store_dir()).into_iter().filter(|f| !f.starts_with(".staging/")).collect()
}

/// The points at which a deletion may stop; see `checkpoint::deletion`.
const STEPS: &[&str] = &[
    "delete-job-marked",
    "delete-savepoint-marked",
    "delete-state-objects",
    "delete-state-objects:2",
    "delete-savepoint-objects",
    "delete-checkpoints-marked",
    "delete-checkpoints-objects",
    "delete-job-objects",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_a_crash_interrupts_is_finished_by_the_next_run() {
    for step in STEPS {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::embedded(dir.path());
        let server = Server::start_with(&places, &[("HOLDFAST_CRASH_AT", step)]);
        let job = ended_job(&server, &dir.path().join("out")).await;
        assert!(objects(&places).iter().any(|o| o.contains("/shared/")), "state is stored as objects");
        let request = server.request(Method::DELETE, &format!("/api/v1/jobs/{job}?delete_savepoints=true"));
        assert!(request.send().await.is_err(), "{step} ends the process");
        assert_eq!(server.wait().0, None, "{step} aborts the process");
        let server = Server::start(&places);
        let since = std::time::Instant::now();
        while server.try_get(&format!("/api/v1/jobs/{job}")).await.unwrap().0 != StatusCode::NOT_FOUND {
            assert!(since.elapsed() < PATIENCE, "{step}: the deletion is not finished");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(objects(&places), Vec::<String>::new(), "{step}");
        let report = fsck(&server, json!({ "min_age_ms": 0 })).await;
        assert_eq!((&report["problems"], &report["snapshots"]), (&json!([]), &json!(0)), "{step}: {report:#}");
        server.kill();
    }
}

async fn fsck(server: &Server, request: Value) -> Value {
    let (status, action) = server.post("/api/v1/fsck?wait=60s", &request).await;
    assert_eq!((status, &action["status"]), (StatusCode::OK, &json!("COMPLETED")), "{action:#}");
    action["fsck"].clone()
}

fn plant(places: &Places, key: &str, age: Duration) {
    let path = places.store_dir().join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "planted").unwrap();
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_millis(holdfast::clock::now_ms().unsigned_abs());
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(now - age).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_reports_orphans_and_losses_and_repairs_only_when_told() {
    const DAY: Duration = Duration::from_secs(86_400);
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let server = Server::start(&places);
    let job = ended_job(&server, &dir.path().join("out")).await;
    let report = fsck(&server, json!({ "deep": true, "min_age_ms": 0 })).await;
    assert_eq!((&report["problems"], &report["deep"]), (&json!([]), &json!(true)), "{report:#}");
    assert!(report["completed_snapshots"].as_u64() >= Some(4), "{report:#}");
    let orphan = format!("jobs/{job}/shared/9-9/0-0-000001.sst");
    plant(&places, &orphan, 2 * DAY);
    plant(&places, &format!("jobs/{job}/shared/9-9/0-0-000002.sst"), Duration::ZERO);
    plant(&places, "somebody/else", 2 * DAY);
    let savepoint =
        objects(&places).into_iter().find(|o| o.starts_with("savepoints/") && !o.ends_with("_metadata")).unwrap();
    let bytes = std::fs::read(places.store_dir().join(&savepoint)).unwrap();
    let before = objects(&places);
    // One byte of a savepoint's file is changed: only a deep look sees it.
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    std::fs::write(places.store_dir().join(&savepoint), &changed).unwrap();
    let found = fsck(&server, json!({})).await;
    assert_eq!(kinds(&found), ["orphan_object"], "{found:#}");
    assert_eq!((&found["spared_objects"], &found["foreign_objects"]), (&json!(1), &json!(1)), "{found:#}");
    let found = fsck(&server, json!({ "deep": true })).await;
    assert_eq!(kinds(&found), ["orphan_object", "wrong_hash"], "{found:#}");
    assert_eq!(found["lost_snapshots"], 1);
    // Gone is seen at once.
    std::fs::remove_file(places.store_dir().join(&savepoint)).unwrap();
    let found = fsck(&server, json!({})).await;
    assert_eq!(kinds(&found), ["missing_object", "orphan_object"], "{found:#}");
    let lost = found["problems"].as_array().unwrap().iter().find(|p| p["kind"] == "missing_object").unwrap();
    assert!(lost["object"].as_str().unwrap().ends_with(&savepoint), "{lost:#}");
    let untouched: Vec<String> = before.iter().filter(|o| **o != savepoint).cloned().collect();
    assert_eq!(objects(&places), untouched, "without repair nothing is touched");
    // The command line: exit code 1 while problems are left, then 0.
    assert_eq!(cli(&server, &["fsck"]).0, Some(1));
    let (code, text) = cli(&server, &["fsck", "--repair", "-o", "json"]);
    assert_eq!(code, Some(0), "{text}");
    let repaired: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&repaired["repaired"], &repaired["left"]), (&json!(2), &json!(0)), "{repaired:#}");
    assert!(!objects(&places).contains(&orphan));
    let savepoints = server.get(&format!("/api/v1/jobs/{job}/savepoints")).await;
    assert_eq!(savepoints["items"][0]["status"], "FAILED", "{savepoints:#}");
    assert!(savepoints["items"][0]["failure"].as_str().unwrap().contains(&savepoint), "{savepoints:#}");
    // The savepoint's manifest is young, so it stays for a while; nothing else is left to do.
    let again = fsck(&server, json!({})).await;
    assert_eq!(again["problems"], json!([]), "{again:#}");
    let all = server.get("/api/v1/fsck").await;
    assert_eq!(all["items"][0]["fsck"], again, "reports are kept");
    // The wrong store, or one that is not mounted: nothing is repaired.
    let store = places.store_dir().join("jobs");
    std::fs::rename(&store, dir.path().join("away")).unwrap();
    let (_, action) = server.post("/api/v1/fsck?wait=60s", &json!({ "repair": true })).await;
    assert_eq!(action["failure"]["code"], "fsck_wrong_store", "{action:#}");
    std::fs::rename(dir.path().join("away"), &store).unwrap();
    assert_eq!(fsck(&server, json!({ "deep": true })).await["problems"], json!([]));
}

fn kinds(report: &Value) -> Vec<String> {
    report["counts"].as_object().unwrap().keys().cloned().collect()
}

fn cli(server: &Server, args: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(args)
        .args(["--server", server.base()])
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}
