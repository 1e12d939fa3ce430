#!/usr/bin/env python3
"""What large state costs: checkpoints, barriers, savepoints, restores; Flink beside it on the same input if it is there.

    python3 bench/state.py --sizes 0.1,1            # GB of keyed state
    python3 bench/state.py --sizes 5 --no-flink

A job counts rows by (number, text) in a window that never ends. It reads a file with one row for each key, then, while
it runs, files that touch --changed of the keys, one each --interval. See README.md for what is measured and how.
"""
import sys
sys.dont_write_bytecode = True
import argparse, hashlib, json, os, random, shutil, signal, socket, subprocess, tempfile, time, urllib.request
from pathlib import Path
import flink, holdfast, report, workload
from workload import BenchError

ROOT = Path(__file__).resolve().parent.parent
# Key, text, window and count as RocksDB holds them before compression.
BYTES_PER_KEY = 150
COLUMNS = 'k BIGINT, v STRING, ts TIMESTAMP(3)'
QUERY = ("SELECT k, v, COUNT(*) AS n, window_start AS w FROM TABLE(TUMBLE(TABLE touched, DESCRIPTOR(ts), INTERVAL '1' DAY)) "
         "GROUP BY k, v, window_start, window_end")
POLL_S = 0.02


def arguments():
    cargo = os.environ.get('CARGO_TARGET_DIR') or os.path.expanduser(os.environ.get('HOLDFAST_CACHE', '~/.cache/holdfast') + '/target')
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--sizes', default='0.1,1', help='GB of state, separated by commas (default 0.1,1)')
    p.add_argument('--changed', type=float, default=0.01, help='part of the keys that each round touches (default 0.01)')
    p.add_argument('--rounds', type=int, default=20, help='rounds of changes (default 20)')
    p.add_argument('--interval', type=float, default=2.0, help='seconds between checkpoints and rounds (default 2)')
    p.add_argument('--timeout', type=float, default=1800, help='seconds that any one wait may take (default 1800)')
    p.add_argument('--no-flink', action='store_true', help='measure Holdfast only')
    p.add_argument('--no-holdfast', action='store_true', help='measure Flink only')
    p.add_argument('--json', metavar='OUT', help='write the figures there')
    p.add_argument('--holdfast', default=cargo + '/release/holdfast', help='the binary (default %(default)s)')
    p.add_argument('--flink-scripts', default=str(ROOT.parent / 'shared' / 'flink-lab'), help='folder of the lab\'s cluster.sh and bench.py')
    return p.parse_args()


def row(key):
    # Digits that hardly compress, so that bytes are bytes for both engines; the same key has the same text each time.
    return f'{{"k":{key},"v":"{hashlib.sha384(str(key).encode()).hexdigest()}","ts":"2026-01-01T00:00:00"}}\n'


class Input:
    """A folder that grows: files appear under their names when they are whole."""

    def __init__(self, folder, keys):
        self.folder, self.keys, self.files, self.rows = folder, keys, 0, 0
        folder.mkdir(parents=True)

    def add(self, keys):
        hidden = self.folder / f'.{self.files:05}'
        with open(hidden, 'w') as out:
            for key in keys:
                out.write(row(key))
                self.rows += 1
        hidden.rename(self.folder / f'{self.files:05}.json')
        self.files += 1

    def touch(self, part):
        self.add(random.Random(self.files).sample(range(self.keys), max(1, int(self.keys * part))))


def tables(folder):
    return (f"CREATE TABLE touched ({COLUMNS}, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', "
            f"'path' = '{folder}', 'source.monitor-interval' = '200 ms', {workload.JSON_OPTIONS});\n")


def until(what, timeout_s, look):
    deadline = time.monotonic() + timeout_s
    while True:
        if (found := look()) is not None:
            return found
        if time.monotonic() > deadline:
            raise BenchError(f'{what}: not within {timeout_s:g} s (--timeout)')
        time.sleep(POLL_S)


def disk_mb_s(folder):
    """Sequential speed of the disk: written with fsync, and read past the page cache."""
    path, mb = Path(folder) / 'disk-speed', 1024
    block = os.urandom(1 << 20)
    since = time.monotonic()
    with open(path, 'wb') as f:
        for _ in range(mb):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())
    write = mb / (time.monotonic() - since)
    with open(path, 'rb') as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        since = time.monotonic()
        while f.read(1 << 20):
            pass
    read = mb / (time.monotonic() - since)
    path.unlink()
    return round(write), round(read)


def summary(durations_ms, bytes_new, pauses_ms, changed_bytes):
    q = holdfast.quantile
    return dict(checkpoints=len(durations_ms), ck_p50_ms=q(durations_ms, 0.5), ck_p99_ms=q(durations_ms, 0.99),
                new_mb_p50=round((q(bytes_new, 0.5) or 0) / 1e6, 1), changed_mb=round(changed_bytes / 1e6, 1),
                pause_p50_ms=q(pauses_ms, 0.5), pause_p99_ms=q(pauses_ms, 0.99))


class Holdfast:
    """One service on a data directory of its own, to be killed and started again."""

    def __init__(self, binary, data):
        self.binary, self.data, self.service, self.process = binary, data, None, None

    def start(self):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        env = {k: v for k, v in os.environ.items() if not k.startswith('HOLDFAST_')}
        log = self.data / 'serve.log'
        with open(log, 'ab') as out:
            self.process = subprocess.Popen([self.binary, 'serve', '--listen', f'127.0.0.1:{port}', '--data-dir', str(self.data / 'data')],
                                            env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.data)
        self.service = holdfast.Service(self.process, f'http://127.0.0.1:{port}', log, 1)
        self.service.wait_ready()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def read_rows(self, job):
        subtasks = self.service.call('GET', f'/api/v1/jobs/{job}/metrics')['subtasks']
        return sum(s['numRecordsIn'] for s in subtasks if s['vertex'] == 0)


def pauses_of(service, job, numbers):
    """Synchronous phases of all subtasks, ms: the time for which a barrier stops the data plane."""
    shown = [service.call('GET', f'/api/v1/jobs/{job}/checkpoints/{number}') for number in sorted(numbers)]
    return [subtask['sync_ms'] for checkpoint in shown for subtask in checkpoint.get('subtasks') or []]


def run_holdfast(a, gb, folder):
    keys = int(gb * 1e9 / BYTES_PER_KEY)
    source = Input(folder / 'input', keys)
    engine = Holdfast(a.holdfast, folder)
    engine.start()
    try:
        sql = tables(source.folder) + ("CREATE TABLE sink (k BIGINT, v STRING, n BIGINT, w TIMESTAMP(3)) WITH ('connector' = 'blackhole');\n"
                                       f'INSERT INTO sink {QUERY};\n')
        source.add(range(keys))
        service, since = engine.service, time.monotonic()
        job = service.call('POST', '/api/v1/jobs', dict(name='state', sql=sql, checkpointing=dict(
            interval_ms=int(a.interval * 1000), retained=50)))['id']
        path = f'/api/v1/jobs/{job}'
        until('reading the keys', a.timeout, lambda: engine.read_rows(job) >= keys or None)
        fill_s = time.monotonic() - since

        def newest():
            done = [c for c in service.call('GET', path + '/checkpoints?limit=200')['items'] if c['status'] == 'COMPLETED']
            return max((c['checkpoint_id'] for c in done), default=0), done
        # The first checkpoint with all keys is the full one.
        service.call('POST', path + f'/checkpoints?wait=120s')
        first, _ = newest()
        for _ in range(a.rounds):
            source.touch(a.changed)
            time.sleep(a.interval)
        until('reading the changes', a.timeout, lambda: engine.read_rows(job) >= source.rows or None)
        until('a checkpoint of the changes', a.timeout, lambda: newest()[0] > first + 1 or None)
        done = [c for c in newest()[1] if c['checkpoint_id'] > first and c['uploaded_bytes'] > 0]
        state = max(c['state_bytes'] for c in done)
        result = dict(engine='holdfast', gb=gb, keys=keys, state_mb=round(state / 1e6), fill_s=round(fill_s, 1))
        result |= summary([c['duration_ms'] for c in done], [c['uploaded_bytes'] for c in done],
                          pauses_of(service, job, {c['checkpoint_id'] for c in done}), keys * a.changed * BYTES_PER_KEY)
        since = time.monotonic()
        savepoint = service.call('POST', path + '/savepoints')
        savepoint = until('the savepoint', a.timeout, lambda: (s := service.call('GET', path + f"/savepoints/{savepoint['id']}"))['status'] != 'IN_PROGRESS' and s or None)
        result |= dict(savepoint_s=round(time.monotonic() - since, 2), savepoint_mb_s=round(savepoint['state_bytes'] / 1e6 / (time.monotonic() - since)))
        drill = service.call('POST', path + '/drill')
        drill = until('the drill', a.timeout, lambda: (d := service.call('GET', f"/api/v1/actions/{drill['id']}"))['status'] != 'RUNNING' and d or None)
        if report_ := drill.get('drill'):
            result |= dict(drill_s=report_['total_ms'] / 1000, drill_download_s=report_['download_ms'] / 1000, drill_keys=report_['keys'])
        for name, lose in (('local', False), ('lost', True)):
            source.touch(a.changed)
            until('reading the changes', a.timeout, lambda: engine.read_rows(job) >= 1 or None)
            before = time.monotonic()
            engine.kill()
            if lose:
                shutil.rmtree(folder / 'data' / 'work', ignore_errors=True)
            source.touch(a.changed)
            before = time.monotonic()
            engine.start()
            service = engine.service
            until('the first record after the kill', a.timeout, lambda: engine.read_rows(job) > 0 or None)
            result[f'kill_{name}_s'] = round(time.monotonic() - before, 2)
        return result
    finally:
        engine.kill()


def flink_call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(flink.REST + path, data, {'content-type': 'application/json'}, method=method)
    with flink.OPENER.open(request, timeout=60) as response:
        text = response.read()
    return json.loads(text) if text else None


def flink_task_manager(home):
    for p in filter(str.isdigit, os.listdir('/proc')):
        try:
            command = Path(f'/proc/{p}/cmdline').read_text()
        except OSError:
            continue
        if 'TaskManagerRunner' in command and f'{home}/conf' in command and command.split('\0')[0].endswith('java'):
            return int(p)
    raise BenchError('the lab has no TaskManager')


def run_flink(a, lab, gb, folder):
    import re
    keys = int(gb * 1e9 / BYTES_PER_KEY)
    source = Input(folder / 'input', keys)
    (folder / 'tables.sql').write_text(tables(source.folder))
    (folder / 'state.sql').write_text('-- sink: k BIGINT, v STRING, n BIGINT, w TIMESTAMP(3)\n' + QUERY + ';\n')
    source.add(range(keys))
    home, env = str(lab.home), dict(lab.env, FLINK_CONF_DIR=f'{lab.home}/conf', FLINK_PID_DIR=f'{lab.home}/pid', FLINK_LOG_DIR=f'{lab.home}/log')
    command = [f'{home}/flink/bin/flink', 'run', '-d', '-p', '1', '-c', 'lab.Submit', f'{home}/lab.jar', f'PATH={source.folder}',
               f'-Dexecution.checkpointing.interval={int(a.interval * 1000)} ms', str(folder / 'tables.sql'), str(folder / 'state.sql')]
    since = time.monotonic()
    submitted = subprocess.run(command, env=env, capture_output=True, text=True)
    if not (found := re.search(r'JobID ([0-9a-f]{32})', submitted.stdout)):
        raise BenchError(f'Flink refused the job: {(submitted.stdout + submitted.stderr)[-800:]}')
    job = found[1]
    try:
        def rows_read():
            vertices = flink_call('GET', f'/jobs/{job}')['vertices']
            return max((v['metrics']['write-records'] or 0) for v in vertices)
        until('reading the keys', a.timeout, lambda: rows_read() >= keys or None)
        fill_s = time.monotonic() - since

        def completed():
            history = flink_call('GET', f'/jobs/{job}/checkpoints')['history']
            return [c for c in history if c['status'] == 'COMPLETED' and not c['is_savepoint']]
        first = max((c['id'] for c in completed()), default=0)
        until('the full checkpoint', a.timeout, lambda: max((c['id'] for c in completed()), default=0) > first + 1 or None)
        first, seen, pauses = max(c['id'] for c in completed()), {}, []

        def look():
            # Flink remembers ten.
            for c in completed():
                if c['id'] > first and c['id'] not in seen:
                    seen[c['id']] = c
                    for vertex in flink_call('GET', f"/jobs/{job}/checkpoints/details/{c['id']}")['tasks']:
                        subtasks = flink_call('GET', f"/jobs/{job}/checkpoints/details/{c['id']}/subtasks/{vertex}")['subtasks']
                        pauses.extend(s['checkpoint']['sync'] for s in subtasks if 'checkpoint' in s)
        for _ in range(a.rounds):
            source.touch(a.changed)
            end = time.monotonic() + a.interval
            while time.monotonic() < end:
                look()
                time.sleep(0.2)
        until('reading the changes', a.timeout, lambda: rows_read() >= source.rows or None)
        look()
        done = list(seen.values())
        result = dict(engine='flink', gb=gb, keys=keys, fill_s=round(fill_s, 1), state_mb=round(max(c['state_size'] for c in done) / 1e6))
        result |= summary([c['end_to_end_duration'] for c in done], [c['checkpointed_size'] for c in done], pauses, keys * a.changed * BYTES_PER_KEY)
        since = time.monotonic()
        trigger = flink_call('POST', f'/jobs/{job}/savepoints', {'target-directory': f'file://{folder}/savepoint', 'cancel-job': False})['request-id']
        until('the savepoint', a.timeout, lambda: flink_call('GET', f'/jobs/{job}/savepoints/{trigger}')['status']['id'] == 'COMPLETED' or None)
        result['savepoint_s'] = round(time.monotonic() - since, 2)
        # A TaskManager of a new process has no local state: what Flink calls local recovery is off by default.
        os.kill(flink_task_manager(home), signal.SIGKILL)
        before = time.monotonic()
        source.touch(a.changed)
        subprocess.run([f'{home}/flink/bin/taskmanager.sh', 'start'], env=env, capture_output=True)
        until('the restart', a.timeout, lambda: flink_call('GET', f'/jobs/{job}')['state'] != 'RUNNING' or None)
        until('the first record after the kill', a.timeout,
              lambda: (j := flink_call('GET', f'/jobs/{job}'))['state'] == 'RUNNING' and max(v['metrics']['write-records'] or 0 for v in j['vertices']) > 0 or None)
        result['kill_lost_s'] = round(time.monotonic() - before, 2)
        return result
    finally:
        flink_call('PATCH', f'/jobs/{job}?mode=cancel')


def table(rows):
    columns = [('engine', 'engine'), ('gb', 'GB'), ('state_mb', 'state MB'), ('fill_s', 'fill s'), ('checkpoints', 'ckpts'), ('ck_p50_ms', 'ckpt p50 ms'),
               ('ck_p99_ms', 'p99 ms'), ('new_mb_p50', 'new MB p50'), ('changed_mb', 'changed MB'), ('pause_p50_ms', 'pause p50 ms'), ('pause_p99_ms', 'p99 ms'),
               ('savepoint_s', 'savepoint s'), ('drill_download_s', 'download s'), ('drill_s', 'drill s'), ('kill_local_s', 'kill s'), ('kill_lost_s', 'kill, disk lost s')]
    shown = lambda v: '-' if v is None else f'{v:,.1f}' if isinstance(v, float) else f'{v:,}' if isinstance(v, int) else str(v)
    lines = [[title for _, title in columns]] + [[shown(r.get(key)) for key, _ in columns] for r in rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines[:1] + [['---'] * len(columns)] + lines[1:])


def main():
    a = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cache = workload.cache_folder()
    lab = flink.Lab(os.environ.get('FLINK_LAB') or os.path.expanduser('~/.cache/holdfast/flink-lab'), a.flink_scripts)
    skipped = 'Flink is skipped: --no-flink.' if a.no_flink else lab.missing()
    if not a.no_holdfast and not os.access(a.holdfast, os.X_OK):
        raise BenchError(f'no binary {a.holdfast}; run make build, or name it by --holdfast')
    write, read = disk_mb_s(cache)
    about = dict(machine=report.machine(), disk_write_mb_s=write, disk_read_mb_s=read,
                 holdfast=None if a.no_holdfast else holdfast.version(a.holdfast), flink=None if skipped else lab.version())
    print(json.dumps(about), flush=True)
    if skipped:
        print(skipped, flush=True)
    rows, failed = [], []
    for gb in map(float, a.sizes.split(',')):
        runs = ([] if a.no_holdfast else [('holdfast', lambda f: run_holdfast(a, gb, f))]) + ([] if skipped else [('flink', lambda f: run_flink(a, lab, gb, f))])
        for name, run in runs:
            with tempfile.TemporaryDirectory(prefix='state-', dir=cache) as folder:
                try:
                    if name == 'flink':
                        with lab:
                            rows.append(run(Path(folder)))
                    else:
                        rows.append(run(Path(folder)))
                    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
                except BenchError as e:
                    failed.append(f'{name} {gb} GB: {e}')
                    print(f'failed: {failed[-1]}', file=sys.stderr, flush=True)
    print('\n' + table(rows))
    for line in failed:
        print(f'failed: {line}')
    if a.json:
        Path(a.json).write_text(json.dumps(dict(about=about, runs=rows, failed=failed), indent=1) + '\n')
    return 1 if failed else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BenchError as e:
        sys.exit(f'bench: {e}')
    except KeyboardInterrupt:
        sys.exit(130)
