#!/usr/bin/env bash
# All tests. nextest if it is there (a process per test), else cargo's own runner.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
if cargo nextest --version >/dev/null 2>&1; then
  exec cargo nextest run --release --locked "$@"
else
  exec cargo test --release --locked "$@"
fi
