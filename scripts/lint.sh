#!/usr/bin/env bash
# Formatting, clippy, documentation, and whether openapi/openapi.json is what the code says.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
cargo fmt --check
cargo clippy --release --locked --all-targets -- -D warnings
# The docs are for engineers of this project, so links to private items are welcome.
RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --release --locked --no-deps --quiet
cargo build --release --locked --bin holdfast --quiet
"$CARGO_TARGET_DIR/release/holdfast" openapi | diff -u openapi/openapi.json - || { echo "openapi/openapi.json is out of date: run 'make openapi'" >&2; exit 1; }
