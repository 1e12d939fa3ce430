# Sourced by the Makefile, .ci/run and the bench: where compiled things live, outside the checkout.
: "${HOLDFAST_CACHE:=$HOME/.cache/holdfast}"
export HOLDFAST_CACHE
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOLDFAST_CACHE/target}"
export ROCKSDB_LIB_DIR="$HOLDFAST_CACHE/rocksdb" ROCKSDB_STATIC=1
export PATH="$HOME/.cargo/bin:$HOLDFAST_CACHE/bin:$PATH"
