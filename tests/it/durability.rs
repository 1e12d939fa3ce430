//! What a crash would cost, and drills beside a running job.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::lifecycle::counting_sql;
use crate::support::server::{Places, Server};

async fn running_job(server: &Server, out: &Path, interval_ms: u64) -> String {
    let body = json!({
        "name": "count",
        "sql": counting_sql(10_000_000, Some(5_000), out),
        "parallelism": 2,
        // State in objects from the first record on, however small.
        "checkpointing": { "interval_ms": interval_ms, "data_inline_threshold_bytes": 0 },
    });
    let job = server.submit(&body).await;
    server.wait_status(&job, "RUNNING").await;
    job
}

fn codes(durability: &Value) -> Vec<&str> {
    durability["risks"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durability_says_what_a_crash_would_read_again_and_what_is_risky() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    // No checkpoints by themselves: what a crash reads again only grows.
    let job = running_job(&server, &dir.path().join("out"), 0).await;
    let path = format!("/api/v1/jobs/{job}/durability");
    let before = server.get(&path).await;
    assert_eq!(before["recovers_from"], "beginning", "{before:#}");
    assert_eq!(codes(&before), ["checkpointing_off", "no_checkpoint", "same_device"], "{before:#}");
    assert_eq!((&before["same_device"], &before["store"]["is_durable"]), (&json!(true), &json!(true)), "{before:#}");
    assert!(before["work_dir"]["device"]["number"].as_str().unwrap().contains(':'), "{before:#}");
    // Some thousand records are read, then a checkpoint makes them safe.
    let read = async || server.get(&path).await["replay_records"].as_u64().unwrap();
    while read().await < 5_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, checkpoint) = server.post(&format!("/api/v1/jobs/{job}/checkpoints?wait=30s"), &json!({})).await;
    assert_eq!(checkpoint["status"], "COMPLETED", "{checkpoint:#}");
    let after = server.get(&path).await;
    let replay = after["replay_records"].as_u64().unwrap();
    let age_ms = after["recovery_point"]["age_ms"].as_u64().unwrap();
    // The source is throttled to 5,000 a second.
    assert!(replay <= 5_000 * (age_ms + 1_000) / 1_000, "{after:#}");
    assert_eq!(after["recovers_from"], "snapshot");
    assert_eq!(after["recovery_point"]["checkpoint_id"], checkpoint["checkpoint_id"]);
    assert!(after["replay_input_ms"].as_u64().unwrap() <= age_ms, "{after:#}");
    assert_eq!(codes(&after), ["checkpointing_off", "same_device"], "{after:#}");
    let later = loop {
        let later = read().await;
        if later > replay {
            break later;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // After a kill the count begins anew: what is read again is what the new attempt has read.
    server.kill();
    let server = Server::start(&Places::embedded(dir.path()));
    server.wait_status(&job, "RUNNING").await;
    let again = server.get(&path).await;
    assert!(again["replay_records"].as_u64().is_some(), "{again:#} {later}");
    let metrics = server.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for figure in ["replay_records", "replay_input_ms", "recovery_point_age_ms", "risks"] {
        assert!(metrics.contains(&format!("\nholdfast_job_{figure}{{job_id=\"{job}\"")), "{figure}: {metrics}");
    }
    server.post(&format!("/api/v1/jobs/{job}/cancel"), &json!({})).await;
    server.wait_status(&job, "CANCELED").await;
    let ended = server.get(&path).await;
    assert_eq!((&ended["replay_records"], codes(&ended)), (&Value::Null, vec!["checkpointing_off", "same_device"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_restores_beside_the_running_job_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::embedded(dir.path());
    let server = Server::start(&places);
    let job = running_job(&server, &dir.path().join("out"), 100).await;
    server.wait_checkpoints(&job, 3).await;
    let (status, action) = server.post(&format!("/api/v1/jobs/{job}/drill?wait=60s"), &json!({})).await;
    assert_eq!((status, &action["status"]), (StatusCode::OK, &json!("COMPLETED")), "{action:#}");
    let report = &action["drill"];
    assert!(report["keys"].as_u64() > Some(0) && report["files"].as_u64() > Some(0), "{report:#}");
    let operators = report["operators"].as_array().unwrap();
    assert!(operators.iter().any(|o| o["tables"].as_array().unwrap().iter().any(|t| t["keys"].as_u64() > Some(0))));
    let view = server.get(&format!("/api/v1/jobs/{job}")).await;
    assert_eq!((&view["status"], &view["attempt"]), (&json!("RUNNING"), &json!(1)), "the job is not touched");
    let durability = server.get(&format!("/api/v1/jobs/{job}/durability")).await;
    assert_eq!(durability["last_drill"]["status"], "COMPLETED", "{durability:#}");
    // A savepoint by its id; then a damaged one.
    let (_, savepoint) = server.post(&format!("/api/v1/jobs/{job}/savepoints?wait=60s"), &json!({})).await;
    let request = json!({ "snapshot": savepoint["id"] });
    let (_, action) = server.post(&format!("/api/v1/jobs/{job}/drill?wait=60s"), &request).await;
    assert_eq!(action["drill"]["snapshot_id"], savepoint["id"], "{action:#}");
    let state = places.store_dir().join(format!("savepoints/{}", savepoint["id"].as_str().unwrap()));
    let object = crate::lifecycle::files_below(&state).into_iter().find(|f| !f.ends_with("_metadata")).unwrap();
    let mut bytes = std::fs::read(state.join(&object)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(state.join(&object), bytes).unwrap();
    let (_, action) = server.post(&format!("/api/v1/jobs/{job}/drill?wait=60s"), &request).await;
    assert_eq!(
        (&action["status"], &action["failure"]["code"]),
        (&json!("FAILED"), &json!("object_corrupt")),
        "{action:#}"
    );
    let unknown = json!({ "snapshot": "0".repeat(32) });
    let (status, problem) = server.post(&format!("/api/v1/jobs/{job}/drill"), &unknown).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("snapshot_not_found")), "{problem:#}");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["job", "drill", "count", "--server", server.base()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("every hash is right"), "{text}");
    assert_eq!(scratch(&places), 0, "scratch folders are removed");
    server.kill();
}

/// Files below the scratch folders of drills.
fn scratch(places: &Places) -> usize {
    crate::lifecycle::files_below(&places.work_dir.join("drills")).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_a_drill_leaves_no_scratch_after_the_next_start() {
    for point in ["drill-begun", "drill-downloaded"] {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::embedded(dir.path());
        let server = Server::start_with(&places, &[("HOLDFAST_CRASH_AT", point)]);
        let job = running_job(&server, &dir.path().join("out"), 100).await;
        server.wait_checkpoints(&job, 2).await;
        // The answer may be lost with the process.
        let drill = server.request(reqwest::Method::POST, &format!("/api/v1/jobs/{job}/drill")).send().await;
        assert!(drill.is_err() || drill.is_ok_and(|r| r.status() == StatusCode::ACCEPTED));
        assert_eq!(server.wait().0, None, "{point} aborts the process");
        let server = Server::start(&places);
        assert_eq!(scratch(&places), 0, "{point}");
        let drills = server.get(&format!("/api/v1/jobs/{job}/drill")).await;
        assert_eq!(drills["items"][0]["status"], "FAILED", "{drills:#}");
        assert_eq!(drills["items"][0]["failure"]["code"], "service_ended", "{drills:#}");
        server.kill();
    }
}
