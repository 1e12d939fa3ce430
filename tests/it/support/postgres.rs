//! A private PostgreSQL server for the tests of one process, and a fresh database for each test.
//!
//! A watchdog shell waits on a pipe from this process and stops the server when the pipe closes: however this process
//! ends, killed included, nothing is left running and nothing disturbs the next run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

const MISSING: &str = "PostgreSQL is needed by these tests: apt-get install postgresql";

struct Server {
    port: u16,
    createdb: PathBuf,
    /// Its data, log and sockets.
    folder: PathBuf,
    /// Creating databases from one template at once fails.
    creating: Mutex<()>,
    created: AtomicU32,
    /// Closed when this process ends.
    _watchdog: std::process::Child,
}

/// Makes a new, empty database and returns its URL. Starts the server at the first call.
///
/// Panics if PostgreSQL is not installed or does not start.
pub fn fresh_database() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(start);
    create_database(server)
}

/// A server of its own, to be killed and started again.
#[allow(dead_code, reason = "the library's unit tests include this file too and kill no server")]
pub struct OwnServer(Server);

#[allow(dead_code, reason = "the library's unit tests include this file too and kill no server")]
impl OwnServer {
    pub fn start() -> OwnServer {
        OwnServer(start())
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Makes a new, empty database and returns its URL.
    pub fn fresh_database(&self) -> String {
        create_database(&self.0)
    }

    /// SIGKILL to the server with all its processes; nothing is written, no connection is closed in order.
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.0.folder.join("data/postmaster.pid")).expect("the server runs");
        let pid = pid.lines().next().expect("the first line is the process id").to_owned();
        let children = Command::new("pgrep").args(["-P", &pid]).output().expect("pgrep runs");
        let children = String::from_utf8(children.stdout).expect("process ids are text");
        run(Command::new("kill").arg("-KILL").arg(&pid));
        for child in children.split_whitespace() {
            // It may have ended with its parent.
            let _ = Command::new("kill").args(["-KILL", child]).stderr(Stdio::null()).status();
        }
        while std::net::TcpStream::connect(("127.0.0.1", self.0.port)).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Starts the killed server again, on the same port and data.
    pub fn start_again(&self) {
        let Server { port, folder, .. } = &self.0;
        // A killed child may hold the shared memory for a moment.
        let bin = find_binaries();
        let mut tries = (0..20).map(|_| {
            let started = pg_start(&bin, folder, *port);
            if !started {
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
            started
        });
        assert!(tries.any(|started| started), "the server does not start again");
    }
}

fn create_database(server: &Server) -> String {
    let _one_at_a_time = server.creating.lock().unwrap_or_else(PoisonError::into_inner);
    let name = format!("test_{}", server.created.fetch_add(1, Ordering::Relaxed));
    let port = server.port.to_string();
    run(Command::new(&server.createdb).args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", &name]));
    format!("postgres://postgres@127.0.0.1:{port}/{name}")
}

/// Starts a server on its data; false if the port is taken, for example.
fn pg_start(bin: &Path, folder: &Path, port: u16) -> bool {
    let prefix = if is_root() { "runuser -u postgres --" } else { "" };
    let options = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off -c max_connections=300 -c shared_buffers=32MB",
        folder.display()
    );
    let started = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "cd /; {prefix} {}/pg_ctl -D {} -l {} -w -t 60 -o '{options}' start",
            bin.display(),
            folder.join("data").display(),
            folder.join("log").display()
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("cannot start sh");
    started.success()
}

fn start() -> Server {
    let bin = find_binaries();
    let is_root = is_root();
    // In /tmp, because a socket's path has 107 bytes at most and the server's user must be able to enter it.
    let folder = Path::new("/tmp").join(format!("holdfast-postgres-{}-{}", std::process::id(), free_port()));
    std::fs::create_dir(&folder).expect("cannot create a folder in /tmp");
    if is_root {
        run(Command::new("chown").arg("postgres").arg(&folder));
    }
    // The server refuses to run as root. It is stopped repeatedly, as it may be starting when this process is killed.
    let prefix = if is_root { "runuser -u postgres --" } else { "" };
    let (data, log) = (folder.join("data"), folder.join("log"));
    let watchdog = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "trap '' INT TERM HUP; cd /; read -r _; for _ in 1 2 3 4 5; do {prefix} {bin}/pg_ctl -D {data} -m immediate -w stop; rm -rf {folder}; sleep 1; [ -e {folder} ] || exit; done",
            bin = bin.display(),
            data = data.display(),
            folder = folder.display(),
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("cannot start sh");
    let as_server = |script: String| run(Command::new("sh").arg("-c").arg(format!("cd /; {prefix} {script}")));
    as_server(format!(
        "{}/initdb -D {} -U postgres --auth=trust -E UTF8 --locale=C --no-sync",
        bin.display(),
        data.display()
    ));
    // Another process may take the free port before the server does: try others.
    let mut attempts = (0..5).map(|_| {
        let port = free_port();
        pg_start(&bin, &folder, port).then_some(port)
    });
    let Some(port) = attempts.find_map(|port| port) else {
        panic!("PostgreSQL does not start:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    };
    Server {
        port,
        createdb: bin.join("createdb"),
        folder,
        creating: Mutex::new(()),
        created: AtomicU32::new(0),
        _watchdog: watchdog,
    }
}

/// The folder with `initdb`: the newest of /usr/lib/postgresql (Debian), else the one on the PATH.
fn find_binaries() -> PathBuf {
    let mut installed: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    installed.sort();
    if let Some((_, bin)) = installed.pop() {
        return bin;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|folder| folder.join("initdb").exists()).expect(MISSING)
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("cannot run id");
    output.stdout.trim_ascii() == b"0"
}

/// A port that was free just now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("cannot bind a port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
}
