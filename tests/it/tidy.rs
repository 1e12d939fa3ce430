//! The layers of `src/lib.rs` hold: no module imports one above it, and the data plane and the checkpoint protocol do not
//! know each other.

use std::path::{Path, PathBuf};

/// Lowest first. Modules of one layer may use each other, unless [`STRANGERS`] says otherwise.
const LAYERS: &[&[&str]] = &[
    &["id", "clock", "crash", "error", "config", "telemetry", "types"],
    &["expr", "graph", "storage", "metadata"],
    &["state"],
    &["connector", "operator"],
    &["sql", "runtime", "checkpoint"],
    &["job"],
    &["api", "cli"],
    &["app"],
];
/// Pairs that must not import each other.
const STRANGERS: &[(&str, &str)] =
    &[("runtime", "checkpoint"), ("runtime", "sql"), ("checkpoint", "sql"), ("api", "cli")];
/// The command line starts the service, prints the API's description and reads its bodies: the one way round.
const ALLOWED: &[(&str, &str)] = &[("cli", "app"), ("cli", "api")];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|l| l.contains(&module))
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            rust_files(&entry.path(), found);
        } else if entry.path().extension().is_some_and(|e| e == "rs") {
            found.push(entry.path());
        }
    }
}

#[test]
fn imports_go_downward_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut wrong = Vec::new();
    let mut imports = 0;
    for file in &files {
        let relative = file.strip_prefix(&src).unwrap();
        let module =
            relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let own =
            layer(&module).unwrap_or_else(|| panic!("module {module} has no layer: add it here and to src/lib.rs"));
        for line in std::fs::read_to_string(file).unwrap().lines().filter(|l| !l.trim_start().starts_with("//")) {
            for (at, _) in line.match_indices("crate::") {
                let used: String =
                    line[at + "crate::".len()..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let Some(other) = layer(&used) else { continue };
                imports += 1;
                let strangers =
                    STRANGERS.iter().any(|(a, b)| (*a, *b) == (&module, &used) || (*b, *a) == (&module, &used));
                let allowed = ALLOWED.contains(&(module.as_str(), used.as_str()));
                if (other > own || strangers) && !allowed {
                    wrong.push(format!("{}: {module} uses {used}: {}", relative.display(), line.trim()));
                }
            }
        }
    }
    assert!(imports > 300, "the imports were read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
