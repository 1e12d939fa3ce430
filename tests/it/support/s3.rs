//! A private S3 server (`s3s-fs`) for the tests of one process, and a fresh bucket for each test.
//!
//! A watchdog shell waits on a pipe from this process and stops the server when the pipe closes, however this process
//! ends.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const MISSING: &str =
    "s3s-fs is needed by these tests: cargo install s3s-fs --version 0.14.1 --features binary --root ~/.cache/holdfast";
const START_TIMEOUT: Duration = Duration::from_secs(30);

struct Server {
    port: u16,
    folder: PathBuf,
    created: AtomicU32,
    /// Closed when this process ends.
    _watchdog: std::process::Child,
}

/// A bucket, and how to reach it.
pub struct Bucket {
    pub name: String,
    /// `AWS_…` variables for it.
    pub variables: Vec<(String, String)>,
}

/// Makes a new, empty bucket. Starts the server at the first call.
///
/// Panics if the server is not installed or does not start.
pub fn fresh_bucket() -> Bucket {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(start);
    let name = format!("bucket-{}", server.created.fetch_add(1, Ordering::Relaxed));
    std::fs::create_dir(server.folder.join(&name)).expect("cannot create a bucket's folder");
    let variables = variables(server.port);
    Bucket { name, variables }
}

impl Bucket {
    /// The server's port.
    #[allow(dead_code, reason = "the library's unit tests include this file too and need no proxy")]
    pub fn port(&self) -> u16 {
        let endpoint = &self.variables.iter().find(|(name, _)| name == "AWS_ENDPOINT").expect("it is set").1;
        endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it ends with a port")
    }
}

/// `AWS_…` variables for a server on this port.
pub fn variables(port: u16) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT", format!("http://127.0.0.1:{port}").as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "holdfast"),
        ("AWS_SECRET_ACCESS_KEY", "holdfast-secret"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn start() -> Server {
    let server = find_server();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("cannot bind a port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    drop(listener);
    let folder = std::env::temp_dir().join(format!("holdfast-s3-{}-{port}", std::process::id()));
    std::fs::create_dir(&folder).expect("cannot create a folder for the S3 server");
    let script = r#"trap '' INT TERM HUP
"$1" --host 127.0.0.1 --port "$2" --access-key holdfast --secret-key holdfast-secret "$3" </dev/null &
server=$!
read -r _
kill -9 $server
rm -rf "$3""#;
    let watchdog = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(&server)
        .arg(port.to_string())
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("cannot start sh");
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < START_TIMEOUT, "{} does not start", server.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    Server { port, folder, created: AtomicU32::new(0), _watchdog: watchdog }
}

fn find_server() -> PathBuf {
    let cache = match (std::env::var_os("HOLDFAST_CACHE"), std::env::var_os("HOME")) {
        (Some(cache), _) => Some(PathBuf::from(cache)),
        (None, Some(home)) => Some(Path::new(&home).join(".cache/holdfast")),
        (None, None) => None,
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = cache.map(|cache| cache.join("bin")).into_iter().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join("s3s-fs")).find(|file| file.exists()).expect(MISSING)
}
