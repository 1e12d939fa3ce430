# Sourced by the Makefile, .ci/run and the bench: where compiled things live, outside the checkout.
: "${HOLDFAST_CACHE:=$HOME/.cache/holdfast}"
export HOLDFAST_CACHE
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOLDFAST_CACHE/target}"
export ROCKSDB_LIB_DIR="$HOLDFAST_CACHE/rocksdb" ROCKSDB_STATIC=1
export PATH="$HOME/.cargo/bin:$HOLDFAST_CACHE/bin:$PATH"

# Cargo tells fresh from stale by time stamps and takes two checkouts of this package for one. After work in
# another checkout with the same cache, this one's files may be older than what was compiled from the other's.
holdfast_checkout="$(git rev-parse --show-toplevel 2>/dev/null || pwd)"
if [ "$(cat "$CARGO_TARGET_DIR/checkout" 2>/dev/null)" != "$holdfast_checkout" ]; then
  mkdir -p "$CARGO_TARGET_DIR"
  touch -c "$holdfast_checkout"/{build.rs,src/lib.rs,src/main.rs,tests/it/main.rs}
  echo "$holdfast_checkout" >"$CARGO_TARGET_DIR/checkout"
fi
unset holdfast_checkout
