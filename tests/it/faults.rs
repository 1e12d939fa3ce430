//! A store and a database that misbehave under a running job: it goes on or recovers, its output is that of an undisturbed
//! run, and no snapshot that is listed as completed is ever unreadable.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::lifecycle::{counted, counting_answer, counting_sql};
use crate::support::postgres::{self, OwnServer};
use crate::support::proxy::{Mischief, Proxy};
use crate::support::s3;
use crate::support::server::{PATIENCE, Places, Server};

const ROWS: u64 = 60_000;
/// Rows a second: slow enough for some dozens of checkpoints.
const RATE: u64 = 10_000;

async fn submit(server: &Server, out: &Path) -> String {
    let body = json!({
        "name": "count",
        "sql": counting_sql(ROWS, Some(RATE), out),
        "parallelism": 2,
        "checkpointing": { "interval_ms": 100, "retained": 2 },
        "restart": { "strategy": "fixed_delay", "attempts": 1000, "delay_ms": 50 },
    });
    server.submit(&body).await
}

/// Every completed snapshot is read as a whole; what is not needed is gone after a repair.
async fn check_store(server: &Server, what: &str) {
    let request = json!({ "deep": true, "repair": true, "min_age_ms": 0 });
    let (status, action) = server.post("/api/v1/fsck?wait=60s", &request).await;
    assert_eq!((status, &action["status"]), (StatusCode::OK, &json!("COMPLETED")), "{what}: {action:#}");
    let report = &action["fsck"];
    assert_eq!((&report["lost_snapshots"], &report["left"]), (&json!(0), &json!(0)), "{what}: {report:#}");
    assert!(report["completed_snapshots"].as_u64() > Some(0), "{what}: {report:#}");
}

async fn wait_finished(server: &Server, job: &str, what: &str) -> Value {
    let since = std::time::Instant::now();
    loop {
        let (status, view) = server.try_get(&format!("/api/v1/jobs/{job}")).await.unwrap();
        if status == StatusCode::OK && view["status"] == "FINISHED" {
            return view;
        }
        let ended = view["status"] == "FAILED" || view["status"] == "CANCELED";
        assert!(!ended && since.elapsed() < PATIENCE, "{what}: {view:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run it with --run-ignored"]
async fn a_job_outlives_a_store_that_misbehaves() {
    let cases: &[(&str, u64, Mischief)] = &[
        // 5xx, now and then.
        ("PUT ", 5, Mischief::Refuse),
        ("GET ", 3, Mischief::Refuse),
        // Time-out after success: the object is there, the answer is not.
        ("PUT ", 7, Mischief::CutAfter),
        ("POST ", 2, Mischief::CutAfter),
        // The connection is cut before, and within an upload.
        ("PUT ", 6, Mischief::CutBefore),
        ("PUT ", 5, Mischief::CutWithin),
        ("PUT ", 3, Mischief::Delay(150)),
    ];
    for (marker, every, mischief) in cases {
        let what = format!("{mischief:?} of one of {every} {marker}");
        let dir = tempfile::tempdir().unwrap();
        let bucket = tokio::task::spawn_blocking(s3::fresh_bucket).await.unwrap();
        let proxy = Proxy::start(bucket.port()).await;
        let places = Places {
            store: format!("s3://{}/holdfast", bucket.name),
            env: s3::variables(proxy.port()),
            ..Places::embedded(dir.path())
        };
        let server = Server::start(&places);
        let out = dir.path().join("out");
        let job = submit(&server, &out).await;
        server.wait_checkpoints(&job, 2).await;
        proxy.plan(marker, *every, *mischief);
        // A restore under the same conditions.
        server.kill();
        let server = Server::start(&places);
        wait_finished(&server, &job, &what).await;
        proxy.behave();
        assert!(proxy.done() > 0, "{what}: nothing was disturbed");
        assert_eq!(counted(&out), counting_answer(ROWS), "{what}");
        check_store(&server, &what).await;
        println!("{what}: {} times", proxy.done());
        server.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run it with --run-ignored"]
async fn a_connection_cut_in_the_middle_of_a_publication_loses_and_repeats_nothing() {
    // Each transaction of a running job is a snapshot's beginning or publication, and ends with COMMIT.
    let cases: &[(&str, u64, Mischief)] = &[
        ("COMMIT", 5, Mischief::CutBefore),
        ("COMMIT", 5, Mischief::CutAfter),
        ("BEGIN", 7, Mischief::CutWithin),
        ("COMMIT", 3, Mischief::Delay(200)),
    ];
    for (marker, every, mischief) in cases {
        let what = format!("{mischief:?} of one of {every} {marker}");
        let dir = tempfile::tempdir().unwrap();
        let url = tokio::task::spawn_blocking(postgres::fresh_database).await.unwrap();
        let (start, rest) = url.split_once("127.0.0.1:").unwrap();
        let (port, database) = rest.split_once('/').unwrap();
        let proxy = Proxy::start(port.parse().unwrap()).await;
        let places = Places {
            database_url: format!("{start}127.0.0.1:{}/{database}?sslmode=disable", proxy.port()),
            ..Places::embedded(dir.path())
        };
        let server = Server::start(&places);
        let out = dir.path().join("out");
        let job = submit(&server, &out).await;
        server.wait_checkpoints(&job, 2).await;
        proxy.plan(marker, *every, *mischief);
        wait_finished(&server, &job, &what).await;
        proxy.behave();
        assert!(proxy.done() > 0, "{what}: only {} were disturbed", proxy.done());
        assert_eq!(counted(&out), counting_answer(ROWS), "{what}");
        check_store(&server, &what).await;
        println!("{what}: {} times", proxy.done());
        server.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_costs_a_running_job_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let database = tokio::task::spawn_blocking(OwnServer::start).await.unwrap();
    let places = Places { database_url: database.fresh_database(), ..Places::embedded(dir.path()) };
    let server = Server::start(&places);
    let out = dir.path().join("out");
    let job = submit(&server, &out).await;
    server.wait_checkpoints(&job, 3).await;
    let mut kills = 0;
    for away_ms in [0, 300, 1_500] {
        database.kill();
        kills += 1;
        tokio::time::sleep(Duration::from_millis(away_ms)).await;
        database.start_again();
        let before = newest(&server, &job).await;
        // The job goes on: it completes checkpoints again (or has reached its end).
        let since = std::time::Instant::now();
        while newest(&server, &job).await <= before {
            let (_, view) = server.try_get(&format!("/api/v1/jobs/{job}")).await.unwrap();
            if view["status"] == "FINISHED" {
                break;
            }
            assert!(view["status"] != "FAILED" && since.elapsed() < PATIENCE, "{view:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let view = wait_finished(&server, &job, "killed Postgres").await;
    println!("{kills} kills, {} attempts", view["attempt"]);
    assert_eq!(counted(&out), counting_answer(ROWS));
    check_store(&server, "killed Postgres").await;
    server.kill();
}

async fn newest(server: &Server, job: &str) -> u64 {
    let (status, page) = server.try_get(&format!("/api/v1/jobs/{job}/checkpoints")).await.unwrap();
    if status != StatusCode::OK {
        return 0;
    }
    let completed = page["items"].as_array().unwrap().iter().filter(|c| c["status"] == "COMPLETED");
    completed.filter_map(|c| c["checkpoint_id"].as_u64()).max().unwrap_or(0)
}

/// A full disk under the store: a small file system of its own, filled and freed while the job runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_checkpoints_and_not_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&disk).status();
    if !mounted.is_ok_and(|s| s.success()) {
        println!("skipped: mounting a small file system needs rights that this user has not");
        return;
    }
    let _unmount = Unmount(disk.clone());
    let places = Places { store: format!("file://{}", disk.join("store").display()), ..Places::embedded(dir.path()) };
    let server = Server::start(&places);
    let out = dir.path().join("out");
    let job = submit(&server, &out).await;
    server.wait_checkpoints(&job, 2).await;
    // Fill what is left.
    let filler = disk.join("filler");
    let _ = std::fs::write(&filler, vec![0_u8; 32 << 20]);
    let since = std::time::Instant::now();
    loop {
        let page = server.get(&format!("/api/v1/jobs/{job}/checkpoints?limit=200")).await;
        let items = page["items"].as_array().unwrap();
        if items.iter().any(|c| c["status"] == "FAILED" && c["failure"].as_str().unwrap_or("").contains("full")) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "no checkpoint failed: {page:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let durability = server.get(&format!("/api/v1/jobs/{job}/durability")).await;
    let risks = durability["risks"].as_array().unwrap();
    assert!(risks.iter().any(|r| r["code"] == "checkpoints_failing"), "{durability:#}");
    std::fs::remove_file(&filler).unwrap();
    let view = wait_finished(&server, &job, "full disk").await;
    assert_eq!(view["restarts"], 0, "a failed checkpoint does not fail the job: {view:#}");
    assert_eq!(counted(&out), counting_answer(ROWS));
    check_store(&server, "full disk").await;
    server.kill();
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
