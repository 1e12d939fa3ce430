#!/usr/bin/env bash
# Where the service spends its CPU time while one query runs: the 25 dearest symbols.
# usage: bench/profile.sh QUERY [json|nexmark] [EVENTS]
# With perf where the kernel lets it sample; else under valgrind, which is some fifty times slower, so with fewer events.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
query=${1:?usage: bench/profile.sh QUERY [json|nexmark] [EVENTS]} source=${2:-json} top=25
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

samples() { # whether perf can sample here, and sees something
  command -v perf >/dev/null || return 1
  perf record -q -e cpu-clock -F 499 -o "$work/probe" -- bash -c 'for ((i = 0; i < 200000; i++)); do :; done' >/dev/null 2>&1 || return 1
  [ "$(perf report -i "$work/probe" --stdio 2>/dev/null | grep -cv '^#\|^$')" -gt 0 ]
}

if samples; then
  python3 bench/bench.py --no-flink ${HOLDFAST_BIN:+--holdfast "$HOLDFAST_BIN"} --source "$source" --queries "$query" --events "${3:-5000000}" --perf "$work/perf.data"
  echo
  echo "CPU time by symbol (perf, cpu-clock, all threads of the service):"
  # Into a file, not a pipe: head would end perf early, and pipefail takes that for a failure.
  perf report -i "$work/perf.data" --stdio --no-children --no-inline --percent-limit 0 --sort symbol >"$work/report" 2>/dev/null
  grep -v '^#\|^$' "$work/report" | cut -c1-180 >"$work/lines"
  head -n "$top" "$work/lines"
elif command -v valgrind >/dev/null; then
  echo "perf cannot sample here; counting instructions with valgrind instead" >&2
  python3 bench/bench.py --no-flink ${HOLDFAST_BIN:+--holdfast "$HOLDFAST_BIN"} --source "$source" --queries "$query" --events "${3:-100000}" \
    --wrap "valgrind --tool=callgrind --callgrind-out-file=$work/callgrind.out"
  echo
  echo "Instructions by symbol (callgrind; the start of the service is in it):"
  callgrind_annotate --threshold=100 --auto=no "$work/callgrind.out" >"$work/report" 2>/dev/null
  grep -E '^ *[0-9,]+ \(' "$work/report" | cut -c1-180 >"$work/lines"
  head -n "$((top + 1))" "$work/lines"
else
  echo "profile: perf cannot sample here and valgrind is not installed: apt-get install linux-perf valgrind" >&2
  exit 1
fi
