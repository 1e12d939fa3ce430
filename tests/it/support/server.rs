//! The real `holdfast serve`, to be started, killed and asked.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

/// Longest wait for anything that should happen soon; only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Where a service keeps things.
#[derive(Clone)]
pub struct Places {
    pub data_dir: PathBuf,
    pub work_dir: PathBuf,
    pub store: String,
    pub database_url: String,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
}

impl Places {
    /// The embedded defaults below `root`.
    pub fn embedded(root: &Path) -> Self {
        let data_dir = root.join("data");
        Places {
            work_dir: data_dir.join("work"),
            store: format!("file://{}", data_dir.join("store").display()),
            database_url: format!("sqlite://{}", data_dir.join("holdfast.db").display()),
            data_dir,
            env: Vec::new(),
        }
    }
    /// The folder of a `file://` store.
    pub fn store_dir(&self) -> PathBuf {
        PathBuf::from(self.store.strip_prefix("file://").expect("a file store"))
    }
}

/// A running service; killed when dropped.
pub struct Server {
    child: Child,
    base: String,
    http: reqwest::Client,
    /// Taken when the process has ended.
    log: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if the process has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts the service and waits until it listens.
    pub fn start(places: &Places) -> Server {
        Self::start_with(places, &[])
    }

    /// As `start`, with more environment variables.
    pub fn start_with(places: &Places, env: &[(&str, &str)]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "text"]);
        command.arg("--data-dir").arg(&places.data_dir).arg("--work-dir").arg(&places.work_dir);
        command.args(["--store", &places.store, "--database-url", &places.database_url]);
        command.envs(places.env.iter().map(|(k, v)| (k, v))).envs(env.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the holdfast binary starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (found, address) = mpsc::channel();
        let log = std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("serves on http://") {
                    let url = url.split_whitespace().next().unwrap_or_default();
                    let _ = found.send(format!("http://{url}"));
                }
                lines.push(line);
            }
            lines
        });
        match address.recv_timeout(PATIENCE) {
            Ok(base) => Server { child, base, http: reqwest::Client::new(), log: Some(log) },
            Err(_) => {
                let _ = child.kill();
                panic!("the service did not start:\n{}", log.join().unwrap().join("\n"));
            }
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
        self.take_log()
    }

    fn take_log(&mut self) -> Vec<String> {
        self.log.take().map(|log| log.join().expect("the log is read")).unwrap_or_default()
    }

    /// Waits until the process ends by itself; answers its exit code (`None` = by a signal) and log.
    pub fn wait(mut self) -> (Option<i32>, Vec<String>) {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be waited for") {
                return (status.code(), self.take_log());
            }
            assert!(since.elapsed() < PATIENCE, "the service did not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and waits for the orderly end.
    pub fn terminate(self) -> (Option<i32>, Vec<String>) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.wait()
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.try_get(path).await.expect("the service answers");
        assert_eq!(status, StatusCode::OK, "GET {path}: {body}");
        body
    }

    pub async fn try_get(&self, path: &str) -> Result<(StatusCode, Value), reqwest::Error> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await?;
        let status = response.status();
        Ok((status, response.json().await.unwrap_or(Value::Null)))
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(self.http.post(format!("{}{path}", self.base)).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        self.send(self.http.delete(format!("{}{path}", self.base))).await
    }

    /// Any request to the service.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let response = request.send().await.expect("the service answers");
        let status = response.status();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// Submits a job; answers its id.
    pub async fn submit(&self, body: &Value) -> String {
        let (status, job) = self.post("/api/v1/jobs", body).await;
        assert_eq!(status, StatusCode::CREATED, "{job:#}");
        job["id"].as_str().expect("an id").to_owned()
    }

    /// Polls until the job has the status; fails at once if it has failed or ended otherwise.
    pub async fn wait_status(&self, job: &str, wanted: &str) -> Value {
        let since = Instant::now();
        loop {
            let view = self.get(&format!("/api/v1/jobs/{job}")).await;
            let status = view["status"].as_str().expect("a status").to_owned();
            if status == wanted {
                return view;
            }
            let ended = ["FINISHED", "FAILED", "CANCELED"].contains(&status.as_str());
            assert!(!ended && since.elapsed() < PATIENCE, "the job is {status}, not {wanted}: {view:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Polls until the job has that many completed checkpoints.
    pub async fn wait_checkpoints(&self, job: &str, wanted: usize) {
        let since = Instant::now();
        loop {
            let page = self.get(&format!("/api/v1/jobs/{job}/checkpoints")).await;
            let newest = page["items"]
                .as_array()
                .expect("items")
                .iter()
                .filter(|c| c["status"] == "COMPLETED")
                .filter_map(|c| c["checkpoint_id"].as_u64())
                .max();
            if newest.is_some_and(|n| n >= wanted as u64) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "no {wanted} checkpoints: {page:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// All lines of all visible files below a sink's folder, sorted; fails on anything half-written that is visible.
pub fn sink_lines(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    if let Ok(entries) = std::fs::read_dir(dir) {
        for entry in entries.map(|e| e.expect("a folder entry")) {
            let name = entry.file_name().into_string().expect("a file name is text");
            if name.starts_with(['.', '_']) {
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).expect("a visible file is text");
            assert!(text.is_empty() || text.ends_with('\n'), "{name} is visible but not whole");
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines.sort_unstable();
    lines
}
