#!/usr/bin/env bash
# Makes this machine ready: setup.sh build | test
# Debian packages are installed when root; otherwise the missing ones are named. Compiled things go to $HOLDFAST_CACHE.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
what=${1:-build}

missing=()
need() { # need COMMAND-OR-FILE-TEST PACKAGE
  if ! eval "$1" >/dev/null 2>&1; then missing+=("$2"); fi
}
need 'command -v g++' g++
need 'command -v make' make
need 'command -v curl' curl
need 'ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so*' libclang-dev
if [ "$what" = test ]; then
  need 'command -v initdb || ls /usr/lib/postgresql/*/bin/initdb' postgresql
  need 'command -v python3' python3
  need 'python3 -c "import venv, ensurepip"' python3-venv
fi
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing ${missing[*]}" >&2
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "setup: please install: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
command -v cargo >/dev/null || { echo "setup: please install Rust 1.95 or newer: https://rustup.rs" >&2; exit 1; }

mkdir -p "$HOLDFAST_CACHE"
cargo fetch --locked --quiet
scripts/build-rocksdb.sh "$ROCKSDB_LIB_DIR"

if [ "$what" = test ]; then
  # A real S3 server for the tests: files on disk, Apache-2.0.
  if ! command -v s3s-fs >/dev/null; then
    echo "setup: building s3s-fs, the S3 server of the tests (about 90 seconds)" >&2
    CARGO_TARGET_DIR="$HOLDFAST_CACHE/s3s-target" cargo install --quiet s3s-fs --version 0.14.1 --features binary --locked --debug --root "$HOLDFAST_CACHE" ||
      CARGO_TARGET_DIR="$HOLDFAST_CACHE/s3s-target" cargo install --quiet s3s-fs --version 0.14.1 --features binary --debug --root "$HOLDFAST_CACHE"
    rm -rf "$HOLDFAST_CACHE/s3s-target"
  fi
  # The generator with which the OpenAPI file is tried.
  if [ ! -x "$HOLDFAST_CACHE/openapi-client/bin/openapi-python-client" ]; then
    echo "setup: installing openapi-python-client" >&2
    python3 -m venv "$HOLDFAST_CACHE/openapi-client"
    "$HOLDFAST_CACHE/openapi-client/bin/pip" install --quiet openapi-python-client openapi-spec-validator
  fi
fi
