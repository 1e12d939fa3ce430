//! Restoring: what a job starts from, damaged snapshots, a lost database, files that are still on the disk.

use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::lifecycle::{copy_visible, counted, counting_answer, counting_sql, files_below};
use crate::support::postgres;
use crate::support::server::{Places, Server, sink_lines};

/// A job with a few checkpoints, cancelled in the middle; answers its id.
async fn cancelled(server: &Server, name: &str, sql: &str, checkpoints: usize) -> String {
    let body = json!({ "name": name, "sql": sql, "checkpointing": { "interval_ms": 100, "retained": 5 } });
    let job = server.submit(&body).await;
    server.wait_checkpoints(&job, checkpoints).await;
    server.post(&format!("/api/v1/jobs/{job}/cancel"), &json!({})).await;
    server.wait_status(&job, "CANCELED").await;
    job
}

async fn completed(server: &Server, job: &str) -> Vec<Value> {
    let page = server.get(&format!("/api/v1/jobs/{job}/checkpoints?limit=200")).await;
    page["items"].as_array().unwrap().iter().filter(|c| c["status"] == "COMPLETED").cloned().collect()
}

/// Forks each end with the whole answer, whichever checkpoint they start from and however it is named: the output that was
/// visible is theirs, too, up to that checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_restored_by_latest_id_time_and_uri_into_new_and_same_jobs() {
    const ROWS: u64 = 40_000;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let out = dir.path().join("out");
    let sql = counting_sql(ROWS, Some(20_000), &out);
    let job = cancelled(&server, "first", &sql, 3).await;
    let newest = completed(&server, &job).await[0].clone();
    let time = chrono::DateTime::from_timestamp_millis(newest["ended_ms"].as_i64().unwrap()).unwrap().to_rfc3339();
    let forks = [
        ("latest", json!({ "from": "latest", "job": "first" })),
        ("id", json!({ "from": newest["id"] })),
        ("uri", json!({ "from": newest["location"], "claim_mode": "NO_CLAIM" })),
        ("time", json!({ "from": { "time": time }, "job": job })),
        ("ms", json!({ "from": { "time": newest["ended_ms"] }, "job": "first" })),
    ];
    for (name, restore) in forks {
        let there = dir.path().join(name);
        copy_visible(&out, &there);
        let sql = sql.replace(&out.display().to_string(), &there.display().to_string());
        let fork = server.submit(&json!({ "name": name, "sql": sql, "restore": restore })).await;
        let view = server.wait_status(&fork, "FINISHED").await;
        assert_eq!(view["restored"]["location"], newest["location"], "{view:#}");
        assert_eq!(counted(&there), counting_answer(ROWS), "{name}");
        // Nothing of the other job's is referenced.
        for manifest in files_below(&Places::embedded(dir.path()).store_dir()) {
            if manifest.contains(&fork) && manifest.ends_with("_metadata") {
                let text = std::fs::read_to_string(Places::embedded(dir.path()).store_dir().join(&manifest)).unwrap();
                assert!(!text.contains(&format!("\"jobs/{job}/")), "{manifest} references the other job's objects");
            }
        }
    }
    let early = json!({ "name": "early", "sql": sql, "restore": { "from": { "time": 1 }, "job": "first" } });
    let (status, problem) = server.post("/api/v1/jobs", &early).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("no_snapshot")), "{problem:#}");
    // The same job, from its newest.
    let (status, body) = server.post(&format!("/api/v1/jobs/{job}/restart"), &json!({ "from": newest["id"] })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body:#}");
    server.wait_status(&job, "FINISHED").await;
    assert_eq!(counted(&out), counting_answer(ROWS));
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claimed_savepoint_is_deleted_when_it_is_subsumed_and_an_unclaimed_one_stays() {
    const ROWS: u64 = 30_000;
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let server = Server::start(&places);
    let sql = counting_sql(ROWS, Some(20_000), &dir.path().join("out"));
    let job = server.submit(&json!({ "name": "first", "sql": sql })).await;
    server.wait_status(&job, "RUNNING").await;
    let (status, savepoint) = server.post(&format!("/api/v1/jobs/{job}/stop?wait=60s"), &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{savepoint:#}");
    let path = format!("/api/v1/jobs/{job}/savepoints/{}", savepoint["id"].as_str().unwrap());
    let fork = |name: &str, mode: &str| {
        json!({
            "name": name, "sql": counting_sql(ROWS, Some(20_000), &dir.path().join(name)),
            "checkpointing": { "interval_ms": 50, "retained": 2 },
            "restore": { "from": savepoint["id"], "claim_mode": mode },
        })
    };
    let unclaimed = server.submit(&fork("unclaimed", "NO_CLAIM")).await;
    server.wait_status(&unclaimed, "FINISHED").await;
    assert_eq!(server.get(&path).await["status"], "COMPLETED");
    let claimed = server.submit(&fork("claimed", "CLAIM")).await;
    let (status, problem) = server.post("/api/v1/jobs", &fork("second", "CLAIM")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("snapshot_claimed")), "{problem:#}");
    server.wait_status(&claimed, "FINISHED").await;
    let since = std::time::Instant::now();
    loop {
        let (status, _) = server.try_get(&path).await.unwrap();
        let left = files_below(&places.store_dir()).into_iter().any(|f| f.starts_with("savepoints/"));
        if status == StatusCode::NOT_FOUND && !left {
            break;
        }
        assert!(since.elapsed() < crate::support::server::PATIENCE, "the claimed savepoint is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_a_claimed_savepoint_is_deleted_is_gone_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let server = Server::start_with(&places, &[("HOLDFAST_CRASH_AT", "claim-1-marked")]);
    let sql = counting_sql(1_000_000, Some(10_000), &dir.path().join("out"));
    let job = server.submit(&json!({ "name": "first", "sql": sql })).await;
    server.wait_status(&job, "RUNNING").await;
    let (status, savepoint) = server.post(&format!("/api/v1/jobs/{job}/stop?wait=60s"), &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{savepoint:#}");
    let claim = json!({
        "name": "claims", "sql": sql.replace("/out", "/claimed"), "checkpointing": { "interval_ms": 50, "retained": 1 },
        "restore": { "from": savepoint["location"], "claim_mode": "CLAIM" },
    });
    server.submit(&claim).await;
    assert_eq!(server.wait().0, None, "the process is aborted");
    let server = Server::start(&places);
    let since = std::time::Instant::now();
    while files_below(&places.store_dir()).into_iter().any(|f| f.starts_with("savepoints/")) {
        assert!(since.elapsed() < crate::support::server::PATIENCE, "the claimed savepoint is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_job_is_not_restarted_unless_forced() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let sql = counting_sql(1_000_000, Some(5_000), &dir.path().join("out"));
    let job = server.submit(&json!({ "name": "drained", "sql": sql })).await;
    server.wait_status(&job, "RUNNING").await;
    let (status, savepoint) =
        server.post(&format!("/api/v1/jobs/{job}/stop?wait=60s"), &json!({ "drain": true })).await;
    assert_eq!(status, StatusCode::OK, "{savepoint:#}");
    server.wait_status(&job, "FINISHED").await;
    let path = format!("/api/v1/jobs/{job}/restart");
    let (status, problem) = server.post(&path, &json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("savepoint_drained")), "{problem:#}");
    let restore = json!({ "name": "fork", "sql": sql, "restore": { "from": savepoint["id"] } });
    let (status, problem) = server.post("/api/v1/jobs", &restore).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("savepoint_drained")), "{problem:#}");
    let (status, _) = server.post(&path, &json!({ "force": true })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    server.kill();
}

/// Damages an object that the newest checkpoint alone needs, its manifest if there is none; answers its key.
fn damage(store: &Path, newest: &Value, missing: bool) -> String {
    let location = newest["location"].as_str().unwrap().strip_prefix("file://").unwrap();
    let manifest = std::fs::read_to_string(location).unwrap();
    let own = format!("/shared/{}-{}/", newest["attempt"], newest["checkpoint_id"]);
    let object = files_below(store).into_iter().find(|f| f.contains(&own) && manifest.contains(f.as_str()));
    let path = object.map_or_else(|| location.into(), |key| store.join(key));
    if missing {
        std::fs::remove_file(&path).unwrap();
    } else {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_named_and_passed_over_only_on_demand() {
    const ROWS: u64 = 30_000;
    for (on_corrupt, missing) in [("fail", false), ("fail", true), ("previous", false), ("previous", true)] {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::embedded(dir.path());
        let server = Server::start(&places);
        let sql = counting_sql(ROWS, Some(10_000), &dir.path().join("out"));
        let body = json!({
            "name": "damaged", "sql": sql, "on_corrupt": on_corrupt, "checkpointing": { "interval_ms": 200 },
            "restart": { "strategy": "none" },
        });
        let job = server.submit(&body).await;
        server.wait_checkpoints(&job, 3).await;
        server.post(&format!("/api/v1/jobs/{job}/cancel"), &json!({})).await;
        server.wait_status(&job, "CANCELED").await;
        let all = completed(&server, &job).await;
        let object = damage(&places.store_dir(), &all[0], missing);
        let (status, _) = server.post(&format!("/api/v1/jobs/{job}/restart"), &json!({})).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        if on_corrupt == "fail" {
            let failed = server.wait_status(&job, "FAILED").await;
            assert!(failed["failure"].as_str().unwrap().contains(&object), "{object}: {failed:#}");
            assert_eq!(completed(&server, &job).await.len(), all.len(), "nothing was changed");
        } else {
            let view = server.wait_status(&job, "FINISHED").await;
            assert_eq!(view["restored"]["location"], all[1]["location"], "{view:#}");
            assert!(view["restored"]["skipped"][0]["reason"].as_str().unwrap().contains(&object), "{view:#}");
            let exceptions = server.get(&format!("/api/v1/jobs/{job}/exceptions")).await;
            let found = exceptions["items"].as_array().unwrap().iter().any(|e| e["code"] == "snapshot_passed_over");
            assert!(found, "{exceptions:#}");
            assert!(
                completed(&server, &job).await.iter().all(|c| c["id"] != all[0]["id"]),
                "it is not listed any more"
            );
        }
        server.kill();
    }
}

fn recover(places: &Places, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["recover", "--scan", &places.store, "--database-url", &places.database_url, "-o", "json"])
        .arg("--data-dir")
        .arg(&places.data_dir)
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The database is lost; a new one is filled from the store alone, and the job goes on.
async fn lose_the_database(start: bool, postgres: bool) {
    const ROWS: u64 = 60_000;
    let dir = tempfile::tempdir().unwrap();
    let mut places = Places::embedded(dir.path());
    let url = || async { tokio::task::spawn_blocking(postgres::fresh_database).await.unwrap() };
    if postgres {
        places.database_url = url().await;
    }
    let out = dir.path().join("out");
    let sql = counting_sql(ROWS, Some(20_000), &out);
    let server = Server::start(&places);
    let body = json!({ "name": "lost", "sql": sql, "parallelism": 2, "labels": { "team": "a" }, "checkpointing": { "interval_ms": 100 } });
    let job = server.submit(&body).await;
    server.wait_checkpoints(&job, 3).await;
    let (status, savepoint) = server.post(&format!("/api/v1/jobs/{job}/savepoints?wait=60s"), &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{savepoint:#}");
    server.wait_checkpoints(&job, savepoint["checkpoint_id"].as_u64().unwrap() as usize + 1).await;
    server.kill();
    places.database_url =
        if postgres { url().await } else { format!("sqlite://{}", dir.path().join("another/holdfast.db").display()) };
    // A manifest that cannot be read is reported, and does not keep the job from going on.
    let broken = places.store_dir().join(format!("jobs/{job}/chk-1-1"));
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("_metadata"), "HOLDFAST").unwrap();
    let report = recover(&places, if start { &["--start"] } else { &[] });
    assert_eq!(report["jobs"][0]["id"], job.as_str(), "{report:#}");
    assert_eq!(report["jobs"][0]["savepoints"], 1, "{report:#}");
    let skipped = report["skipped"].as_array().unwrap();
    assert!(skipped.iter().any(|s| s["what"].as_str().unwrap().contains("chk-1-1")), "{report:#}");
    let again = recover(&places, &[]);
    assert_eq!(again["jobs"], json!([]), "a second scan changes nothing: {again:#}");
    let server = Server::start(&places);
    let path = format!("/api/v1/jobs/{job}");
    let found = server.get(&format!("{path}/savepoints/{}", savepoint["id"].as_str().unwrap())).await;
    assert_eq!(found["status"], "COMPLETED");
    if !start {
        assert_eq!(server.get(&path).await["status"], "CANCELED");
        let (status, problem) = server.post(&format!("{path}/restart"), &json!({})).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{problem:#}");
    }
    let view = server.wait_status(&job, "FINISHED").await;
    assert_eq!((&view["labels"]["team"], &view["parallelism"]), (&json!("a"), &json!(2)), "{view:#}");
    assert_eq!(counted(&out), counting_answer(ROWS));
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_rebuilt_from_the_store() {
    lose_the_database(false, false).await;
    lose_the_database(true, true).await;
}

/// After a crash, files that are still there are used; what was changed on the disk is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_still_on_the_disk_are_used_if_they_are_what_was_stored() {
    const ROWS: u64 = 60_000;
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let out = dir.path().join("out");
    let body = json!({ "name": "local", "sql": counting_sql(ROWS, Some(15_000), &out), "checkpointing": { "interval_ms": 150 } });
    let server = Server::start(&places);
    let job = server.submit(&body).await;
    server.wait_checkpoints(&job, 3).await;
    server.kill();
    let restored = |view: &Value, name: &str| view["restored"][name].as_u64().unwrap_or_else(|| panic!("{view:#}"));
    // As it was left.
    let server = Server::start(&places);
    let view = server.wait_status(&job, "RUNNING").await;
    assert!(restored(&view, "restored_local_bytes") > 0, "{view:#}");
    let next = view["restored"]["checkpoint_id"].as_u64().unwrap() as usize + 2;
    server.wait_checkpoints(&job, next).await;
    let kept = std::fs::read_dir(places.work_dir.join(&job).join("local")).unwrap().count();
    assert!(kept <= 3, "{kept} checkpoints are kept");
    server.kill();
    // Every file damaged, once each (they have several names): none is used.
    let mut damaged = std::collections::HashSet::new();
    for file in files_below(&places.work_dir.join(&job)).iter().filter(|f| f.ends_with(".sst")) {
        let path = places.work_dir.join(&job).join(file);
        if !damaged.insert(std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap())) {
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
    }
    let server = Server::start(&places);
    let view = server.wait_status(&job, "RUNNING").await;
    assert_eq!(restored(&view, "restored_local_bytes"), 0, "{view:#}");
    assert!(restored(&view, "restored_remote_bytes") > 0, "{view:#}");
    server.wait_status(&job, "FINISHED").await;
    assert_eq!(counted(&out), counting_answer(ROWS));
    assert!(!sink_lines(&out).is_empty());
    server.kill();
}
