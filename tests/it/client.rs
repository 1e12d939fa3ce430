//! The OpenAPI file is valid, and a client generated from it by a real generator drives the service.

use std::path::PathBuf;
use std::process::Command;

use crate::support::server::{Places, Server};

/// Where `scripts/setup.sh test` installs the generator.
fn tool(name: &str) -> PathBuf {
    let cache = std::env::var("HOLDFAST_CACHE")
        .unwrap_or_else(|_| format!("{}/.cache/holdfast", std::env::var("HOME").unwrap()));
    let path = PathBuf::from(cache).join("openapi-client/bin").join(name);
    assert!(path.exists(), "{} is missing: run scripts/setup.sh test", path.display());
    path
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{text}");
    text
}

/// What a user of the generated client writes: submit a job, take a savepoint, wait for it, cancel the job.
const SCRIPT: &str = r#"
import sys, time
from client import Client
from client.api.jobs import submit_job, get_job, cancel_job
from client.api.savepoints import create_savepoint
from client.models import SubmitRequest

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)
sql = """CREATE TABLE s (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000');
CREATE TABLE d (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO d SELECT n FROM s"""
job = submit_job.sync(client=client, body=SubmitRequest(sql=sql, name="generated"))
while get_job.sync(job.id, client=client).status.value != "RUNNING":
    time.sleep(0.01)
savepoint = create_savepoint.sync("generated", client=client, body=None, wait="30s")
assert savepoint.status.value == "COMPLETED", savepoint
assert savepoint.job_id == job.id
refused = submit_job.sync(client=client, body=SubmitRequest(sql=sql, name="generated"))
assert refused.code == "job_name_taken", refused
cancel_job.sync(job.id, client=client)
print("savepoint", savepoint.id)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_python_client_submits_a_job_and_takes_a_savepoint() {
    let dir = tempfile::tempdir().unwrap();
    let description = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
    run(Command::new(tool("openapi-spec-validator")).arg(description));
    run(Command::new(tool("openapi-python-client")).current_dir(dir.path()).args([
        "generate",
        "--meta",
        "none",
        "--output-path",
        "client",
        "--path",
        description,
    ]));
    std::fs::write(dir.path().join("use.py"), SCRIPT).unwrap();
    let server = Server::start(&Places::embedded(dir.path()));
    let base = server.base().to_owned();
    let python = tool("python");
    let text =
        tokio::task::spawn_blocking(move || run(Command::new(python).current_dir(dir.path()).args(["use.py", &base])))
            .await
            .unwrap();
    assert!(text.contains("savepoint "), "{text}");
    server.kill();
}
