#!/usr/bin/env bash
# Shows that nothing is lost: a job over a real input file, the service killed with kill -9 twice, once together with its
# working disk, and at the end its output compared with that of an undisturbed run. Needs bash and curl.
# DEMO_EVENTS: events in the input file (default 3000000); DEMO_PORT: port of the service (default 18081).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh
bin=${HOLDFAST_BIN:-$CARGO_TARGET_DIR/release/holdfast}
port=${DEMO_PORT:-18081}
events=${DEMO_EVENTS:-3000000}
# An input that is read before the service could be killed twice is doubled, up to this.
most_events=24000000
api=http://127.0.0.1:$port/api/v1
dir=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-demo.XXXXXX")
pid=

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
tell() { printf '   %s\n' "$*"; }
die() {
  printf 'demo: %s\n' "$*" >&2
  if [ -s "$dir/log" ]; then echo "demo: the end of the service's log:" >&2; tail -n 15 "$dir/log" >&2; fi
  exit 1
}
clean_up() {
  if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; fi
  rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

[ -x "$bin" ] || die "$bin does not exist; run make build"

start_service() {
  HOLDFAST_LISTEN=127.0.0.1:$port HOLDFAST_DATA_DIR=$dir/data HOLDFAST_WORK_DIR=$dir/work "$bin" serve >>"$dir/log" 2>&1 &
  pid=$!
  for _ in $(seq 200); do
    if curl -sf "http://127.0.0.1:$port/readyz" >/dev/null 2>&1; then tell "the service runs (process $pid, port $port)"; return; fi
    kill -0 "$pid" 2>/dev/null || { pid=; die "the service did not start"; }
    sleep 0.1
  done
  die "the service is not ready after 20 seconds"
}
kill_service() {
  kill -9 "$pid"
  wait "$pid" 2>/dev/null || true
  pid=
}

# The value of the first member of this name in the JSON on standard input; empty if there is none.
member() { { grep -oE "\"$1\":(\"[^\"]*\"|-?[0-9]+)" || true; } | head -n 1 | sed -E 's/^"[^"]*"://; s/^"(.*)"$/\1/'; }
# Standard input as the inside of a JSON string.
json_text() { sed 's/\\/\\\\/g; s/"/\\"/g; s/$/\\n/' | tr -d '\n'; }
get() { curl -sf "$api/$1" || true; }

submit() { # submit NAME INTERVAL_MS: the SQL on standard input; prints the job's id
  local body answer id
  body="{\"name\":\"$1\",\"checkpointing\":{\"interval_ms\":$2},\"sql\":\"$(json_text)\"}"
  answer=$(printf %s "$body" | curl -s -X POST -H 'content-type: application/json' --data-binary @- "$api/jobs")
  id=$(printf %s "$answer" | member id)
  [ -n "$id" ] || die "the job was refused: $answer"
  printf %s "$id"
}
status_of() { get "jobs/$1" | member status; }
await_finished() { # await_finished JOB SECONDS
  local status end=$((SECONDS + $2))
  while [ $SECONDS -lt $end ]; do
    status=$(status_of "$1")
    case $status in
      FINISHED) return ;;
      FAILED | CANCELED) die "job $1 is $status: $(get "jobs/$1" | member failure)" ;;
    esac
    sleep 0.2
  done
  die "job $1 is still ${status:-unknown} after $2 seconds"
}
newest_checkpoint() { # number of the newest COMPLETED checkpoint, 0 if none
  local number
  number=$(get "jobs/$1/checkpoints?limit=10" | { grep -oE '"checkpoint_id":[0-9]+,"attempt":[0-9]+,"status":"COMPLETED"' || true; } | head -n 1 | grep -oE '[0-9]+' | head -n 1 || true)
  printf %s "${number:-0}"
}
show() {
  local job records
  job=$(get "jobs/$1")
  records=$(get "jobs/$1/metrics" | member numRecordsOut)
  tell "status $(printf %s "$job" | member status), attempt $(printf %s "$job" | member attempt), newest checkpoint $(newest_checkpoint "$1"), records read by this attempt ${records:-0}"
}

columns="
  event_type INT,
  person ROW<id BIGINT, name STRING, \`dateTime\` TIMESTAMP(3)>,
  auction ROW<id BIGINT, itemName STRING, seller BIGINT, category BIGINT, \`dateTime\` TIMESTAMP(3)>,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, \`dateTime\` TIMESTAMP(3)>"
generate_sql() {
  cat <<SQL
CREATE TABLE events ($columns) WITH ('connector' = 'nexmark', 'events.num' = '$events');
CREATE TABLE input ($columns) WITH (
  'connector' = 'filesystem', 'path' = '$dir/input', 'format' = 'json', 'sink.rolling-policy.file-size' = '1 tb');
INSERT INTO input SELECT * FROM events;
SQL
}
count_sql() { # count_sql OUTPUT-FOLDER
  cat <<SQL
CREATE TABLE events ($columns,
  ts AS COALESCE(bid.\`dateTime\`, auction.\`dateTime\`, person.\`dateTime\`),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = '$dir/input', 'format' = 'json');
CREATE TABLE counts (auction BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3), bids BIGINT, bidders BIGINT)
WITH ('connector' = 'filesystem', 'path' = '$1', 'format' = 'json');
INSERT INTO counts
SELECT bid.auction, window_start, window_end, COUNT(*), COUNT(DISTINCT bid.bidder)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND))
WHERE event_type = 2
GROUP BY bid.auction, window_start, window_end;
SQL
}

generate() {
  local job
  say "Writing an input file of $events events: a job from the nexmark generator to the filesystem sink"
  rm -rf "$dir/input"
  # One checkpoint at the end, so that there is one file.
  job=$(generate_sql | submit "generate-$events" 3600000)
  await_finished "$job" 600
  tell "$(ls "$dir"/input | wc -l) file, $(du -m "$dir/input" | cut -f 1) MB"
}

# Waits until the job has a checkpoint newer than $2 while it is RUNNING. Fails if the job ended first.
await_checkpoint() {
  local status
  for _ in $(seq 1200); do
    status=$(status_of "$1")
    if [ "$status" = FINISHED ]; then return 1; fi
    if [ "$status" = FAILED ]; then die "the job failed: $(get "jobs/$1" | member failure)"; fi
    if [ "$status" = RUNNING ] && [ "$(newest_checkpoint "$1")" -gt "$2" ]; then return 0; fi
    sleep 0.05
  done
  die "no checkpoint in a minute"
}

# The files that readers see must consist of whole lines.
check_output() {
  local files=0 lines=0 file
  for file in "$1"/part-*; do
    [ -e "$file" ] || continue
    files=$((files + 1))
    lines=$((lines + $(wc -l <"$file")))
    [ -z "$(tail -c 1 "$file")" ] || die "$file ends within a line"
    if grep -qvE '^\{.*\}$' "$file"; then die "$file has a line that is not a JSON object"; fi
  done
  tell "output folder: $lines whole rows in published files ($files), staged files that readers do not see: $(find "$1" -name '.*.inprogress' | wc -l)"
}

# The whole story; fails with 2 if the job was too fast to be killed twice.
story() {
  local job before restored out=$dir/out-$events
  say "Submitting the job: bids and bidders per auction in windows of 10 seconds, exactly once, a checkpoint each 500 ms"
  # A function that is asked with `if` does not end at an error by itself.
  job=$(count_sql "$out" | submit "count-$events" 500) || exit 1
  tell "job $job"
  for _ in 1 2; do
    sleep 0.25
    show "$job"
  done
  await_checkpoint "$job" 0 || return 2
  show "$job"
  before=$(newest_checkpoint "$job")

  say "kill -9"
  kill_service
  tell "the service is gone"
  check_output "$out"

  say "Starting the service again; nobody tells it about the job"
  start_service
  await_checkpoint "$job" "$before" || return 2
  show "$job"
  restored=$(restored_from)
  tell "it came back by itself and was restored from checkpoint ${restored:-?}"
  before=$(newest_checkpoint "$job")

  say "kill -9 again, and the working directory (RocksDB's files) is deleted"
  kill_service
  rm -rf "$dir/work"
  check_output "$out"

  say "Starting the service again, with an empty working directory"
  start_service
  await_finished "$job" 600
  # It may have ended between the last look and the second kill.
  [ "$(get "jobs/$job" | member attempt)" -ge 3 ] || return 2
  restored=$(restored_from)
  show "$job"
  tell "restored from checkpoint ${restored:-?}; the job has read the rest of its input and is FINISHED"
  check_output "$out"
}
# The number of the checkpoint that the newest attempt started from, from the service's log.
restored_from() { { grep -a 'state restored' "$dir/log" || true; } | tail -n 1 | sed -E 's/\x1b\[[0-9;]*m//g' | { grep -oE 'checkpoint\.id=[0-9]+' || true; } | cut -d = -f 2; }

tell "working in $dir; everything there is removed at the end"
say "Starting the service with the embedded defaults (SQLite and a local folder as the store)"
start_service
while :; do
  generate
  if story; then break; fi
  [ "$events" -lt "$most_events" ] || die "the job was over before it could be killed twice, even with $events events"
  tell "the job was over before it could be killed twice; once more with twice the input"
  events=$((events * 2))
done

say "The same SQL without disturbance, into another folder"
reference=$(count_sql "$dir/reference" | submit reference 500)
await_finished "$reference" 600
check_output "$dir/reference"

say "Comparing both outputs as sorted rows"
LC_ALL=C sort -T "$dir" "$dir/out-$events"/part-* >"$dir/killed.rows"
LC_ALL=C sort -T "$dir" "$dir/reference"/part-* >"$dir/reference.rows"
rows=$(wc -l <"$dir/reference.rows")
[ "$rows" -gt 0 ] || die "the reference has no rows"
if cmp -s "$dir/killed.rows" "$dir/reference.rows"; then
  tell "identical: $rows rows"
else
  diff "$dir/reference.rows" "$dir/killed.rows" | head -n 20 >&2 || true
  die "the outputs differ"
fi
