//! Killing the process at any moment, any number of times, gives the output of an uninterrupted run.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;

use crate::support::postgres;
use crate::support::server::{Places, Server, sink_lines};

/// Events of the input file. Large enough that the job still reads when the last kill comes.
const EVENTS: u64 = 4_000_000;
/// How often each run is killed.
const KILLS: usize = 20;
/// Longest life between two kills, ms; the moment within it is drawn.
const MAX_LIFE_MS: u64 = 200;

/// The input file, and the output of an uninterrupted run over it.
struct Reference {
    input: PathBuf,
    output: Vec<String>,
    _dir: tempfile::TempDir,
}

static REFERENCE: LazyLock<Reference> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (input, output) = (dir.path().join("events.json"), dir.path().join("expected"));
    runtime.block_on(async {
        let server = Server::start(&Places::embedded(&dir.path().join("service")));
        let made = dir.path().join("made");
        let job = server.submit(&json!({ "sql": generate(&made) })).await;
        server.wait_status(&job, "FINISHED").await;
        // One file: one reader reads it in order.
        let status = std::process::Command::new("sh")
            .arg("-c")
            .arg(format!("cat {}/part-* > {}", made.display(), input.display()))
            .status()
            .unwrap();
        assert!(status.success());
        std::fs::remove_dir_all(&made).unwrap();
        let job = server.submit(&json!({ "sql": count(&input, &output) })).await;
        server.wait_status(&job, "FINISHED").await;
        server.kill();
    });
    let output = all_lines(&output);
    assert!(output.len() > 10_000, "the reference has {} rows", output.len());
    Reference { input, output, _dir: dir }
});

const COLUMNS: &str = "event_type INT, \
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING>, \
    auction ROW<id BIGINT, itemName STRING, `dateTime` TIMESTAMP(3)>, \
    person ROW<id BIGINT, name STRING, `dateTime` TIMESTAMP(3)>";

fn generate(to: &Path) -> String {
    format!(
        "CREATE TABLE nexmark ({COLUMNS}) WITH ('connector' = 'nexmark', 'events.num' = '{EVENTS}'); \
         CREATE TABLE file ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json'); \
         INSERT INTO file SELECT * FROM nexmark;",
        to.display()
    )
}

fn count(input: &Path, to: &Path) -> String {
    let sink = |name: &str| {
        format!(
            "CREATE TABLE {name} (auction BIGINT, n BIGINT, w TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');",
            to.join(name).display()
        )
    };
    format!(
        "CREATE TABLE events ({COLUMNS}, ts AS COALESCE(bid.`dateTime`, auction.`dateTime`, person.`dateTime`), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) \
         WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json'); \
         CREATE VIEW bids AS SELECT bid.auction AS auction, ts FROM events WHERE event_type = 2; {} {} \
         EXECUTE STATEMENT SET BEGIN \
         INSERT INTO tumbled SELECT auction, COUNT(*), window_start FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end; \
         INSERT INTO hopped SELECT auction, COUNT(*), window_start FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end; \
         END;",
        input.display(),
        sink("tumbled"),
        sink("hopped")
    )
}

fn all_lines(output: &Path) -> Vec<String> {
    let mut lines = sink_lines(&output.join("tumbled"));
    lines.extend(sink_lines(&output.join("hopped")).into_iter().map(|l| format!("hop {l}")));
    lines
}

/// A small generator of moments; the seed is printed, so that a failure can be tried again.
struct Moments(u64);

impl Moments {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

async fn kill_loop(parallelism: u32, database_url: Option<String>, lose_work_dir: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut places = Places::embedded(dir.path());
    places.database_url = database_url.unwrap_or(places.database_url);
    let output = dir.path().join("out");
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut moments = Moments(seed);
    let mut server = Server::start(&places);
    let body = json!({
        "name": "counts",
        "sql": count(&REFERENCE.input, &output),
        "parallelism": parallelism,
        "checkpointing": { "interval_ms": 60 },
    });
    let job = server.submit(&body).await;
    let path = format!("/api/v1/jobs/{job}");
    let mut kills_while_running = 0;
    for _ in 0..KILLS {
        // A job that has ended cannot be disturbed any more.
        let before = server.get(&path).await;
        tokio::time::sleep(Duration::from_millis(moments.below(MAX_LIFE_MS))).await;
        kills_while_running += usize::from(before["status"] != "FINISHED");
        server.kill();
        if lose_work_dir {
            let _ = std::fs::remove_dir_all(&places.work_dir);
        }
        // Nothing half-written is visible at any time.
        all_lines(&output);
        server = Server::start(&places);
    }
    server.wait_status(&job, "FINISHED").await;
    let view = server.get(&path).await;
    println!("attempts {}, killed while running {kills_while_running} times", view["attempt"]);
    // A kill may come before the job is taken; most must hit a running attempt.
    assert!(view["attempt"].as_u64().unwrap() > KILLS as u64 / 2, "{view:#}");
    assert_eq!(kills_while_running, KILLS, "the job was too fast to be killed {KILLS} times: make EVENTS larger");
    let got = all_lines(&output);
    assert_eq!(got.len(), REFERENCE.output.len(), "rows");
    assert!(got == REFERENCE.output, "the output differs from the uninterrupted run's");
    let checkpoints = server.get(&format!("{path}/checkpoints?limit=200")).await;
    let in_progress = checkpoints["items"].as_array().unwrap().iter().filter(|c| c["status"] == "IN_PROGRESS").count();
    assert_eq!(in_progress, 0, "no checkpoint is left in progress");
    let newest = checkpoints["items"][0]["checkpoint_id"].as_u64().unwrap();
    assert!(newest > KILLS as u64 / 2, "lives were long enough for checkpoints: {newest}");
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_lose_and_repeat_nothing() {
    tokio::task::spawn_blocking(|| LazyLock::force(&REFERENCE)).await.unwrap();
    kill_loop(1, None, false).await;
    kill_loop(2, None, false).await;
    kill_loop(1, Some(postgres::fresh_database()), false).await;
    kill_loop(2, Some(postgres::fresh_database()), false).await;
    kill_loop(2, None, true).await;
}
