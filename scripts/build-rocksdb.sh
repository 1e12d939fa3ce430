#!/usr/bin/env bash
# Builds librocksdb.a from the sources that cargo vendors (librocksdb-sys) as eight large units:
# 250 CPU seconds instead of about 1,600, because RocksDB's headers cost more than its code.
# usage: build-rocksdb.sh OUT_DIR   then: export ROCKSDB_LIB_DIR=OUT_DIR ROCKSDB_STATIC=1
# Without those two variables cargo builds RocksDB its own, slower way.
set -euo pipefail
out=$(realpath -m "$1"); units=8; mkdir -p "$out"

# The folder of a vendored package, from cargo itself.
package_dir() {
  cargo metadata --format-version 1 --locked | tr '{' '\n' |
    sed -n "s|.*\"manifest_path\":\"\([^\"]*/$1-[0-9][^/\"]*\)/Cargo.toml\".*|\1|p" | head -n 1
}
rocks=$(package_dir librocksdb-sys); lz4=$(package_dir lz4-sys)/liblz4/lib; zstd=$(package_dir zstd-sys)/zstd/lib
[ -f "$rocks/rocksdb_lib_sources.txt" ] || { echo "build-rocksdb: no librocksdb-sys sources; run cargo fetch" >&2; exit 1; }

flags="-I $rocks/rocksdb/include -I $rocks/rocksdb -I $rocks -I $lz4 -I $zstd -DLZ4=1 -DZSTD=1 -DNDEBUG=1
 -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT
 -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT
 -std=c++20 -include cstdint -fPIC -ffunction-sections -fdata-sections -w -g0 -O2"
flags=$(echo $flags)
stamp="$(basename "$rocks") $(g++ -dumpfullversion) ${flags//$rocks/}"
if [ -f "$out/librocksdb.a" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi

work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mapfile -t sources < <(grep '\.cc$' "$rocks/rocksdb_lib_sources.txt" | grep -v 'util/build_version.cc')
for ((i = 0; i < units; i++)); do
  for ((j = i * ${#sources[@]} / units; j < (i + 1) * ${#sources[@]} / units; j++)); do
    echo "#include \"$rocks/rocksdb/${sources[j]}\""
  done > "$work/unit$i.cc"
done
cp "$rocks/build_version.cc" "$work/version.cc"
echo "build-rocksdb: compiling $(basename "$rocks") in $units units (about two minutes on two cores)" >&2
ls "$work"/*.cc | xargs -P "$(nproc)" -I{} sh -c "g++ $flags -c {} -o {}.o"
rm -f "$out/librocksdb.a"; ar crs "$out/librocksdb.a" "$work"/*.o
echo "$stamp" > "$out/stamp"
