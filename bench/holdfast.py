"""Runs one job on a fresh `holdfast serve` and measures the process from outside, by /proc and the REST API."""
import json, os, shlex, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request
from contextlib import contextmanager
from pathlib import Path
from workload import BenchError

CHECKPOINT_INTERVAL_MS = 1000
POLL_S = 0.1
# Checkpoints are looked at more often than the service can retire them: it keeps three, and takes one a second.
CHECKPOINT_POLL_S = 0.5
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 60
# A proxy of the environment is not for 127.0.0.1.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def cpu_s(pid):
    """User and system time of the process with all its threads, seconds."""
    fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def peak_rss_mb(pid):
    """Highest resident memory since the last `forget_peak_rss`, MB."""
    line = next(l for l in Path(f'/proc/{pid}/status').read_text().splitlines() if l.startswith('VmHWM:'))
    return int(line.split()[1]) // 1024


def forget_peak_rss(pid):
    Path(f'/proc/{pid}/clear_refs').write_text('5')


def quantile(values, q):
    """As Flink estimates them (position q * (n + 1), linear between neighbours); None of nothing."""
    values = sorted(values)
    if not values:
        return None
    position = q * (len(values) + 1)
    low = int(position)
    if low < 1 or low >= len(values):
        return values[0] if low < 1 else values[-1]
    return values[low - 1] + (position - low) * (values[low] - values[low - 1])


def version(binary):
    return subprocess.run([binary, '--version'], capture_output=True, text=True).stdout.strip() or 'unknown'


class Service:
    """A running `holdfast serve`."""

    def __init__(self, process, url, log, patience):
        self.process, self.url, self.log, self.patience = process, url, log, patience

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {'content-type': 'application/json'}, method=method)
        try:
            with OPENER.open(request, timeout=30 * self.patience) as response:
                return json.load(response)
        except urllib.error.HTTPError as e:
            text = e.read().decode(errors='replace')
            try:
                problem = json.loads(text)
            except ValueError:
                raise BenchError(f'{method} {path}: {e.code} {text[:500]}') from None
            places = '; '.join(f"line {p.get('line')} column {p.get('column')}: {p.get('detail')}"
                               for p in problem.get('errors') or [])
            detail = problem.get('detail') or problem.get('title') or text[:500]
            raise BenchError(f"[{problem.get('code')}] {detail}" + (f' ({places})' if places else '')) from None
        except OSError as e:
            raise BenchError(f'{method} {path}: {e}; end of its log: {self.log_end()}') from None

    def log_end(self):
        return self.log.read_text(errors='replace')[-1500:]

    def wait_ready(self):
        deadline = time.monotonic() + START_TIMEOUT_S * self.patience
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BenchError(f'holdfast serve ended with {self.process.returncode}: {self.log_end()}')
            try:
                with OPENER.open(self.url + '/readyz', timeout=5):
                    return
            except OSError:
                time.sleep(0.05)
        raise BenchError(f'holdfast serve is not ready after {START_TIMEOUT_S * self.patience} s: {self.log_end()}')


@contextmanager
def service(binary, cache, wrap='', patience=1):
    """A fresh service on a data directory of its own, stopped and deleted at the end. `wrap` goes before the command."""
    data = Path(tempfile.mkdtemp(prefix='run-', dir=cache))
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    log = data / 'serve.log'
    # Settings of the user's own service are not for this one.
    env = {k: v for k, v in os.environ.items() if not k.startswith('HOLDFAST_')}
    command = shlex.split(wrap) + [str(binary), 'serve', '--listen', f'127.0.0.1:{port}', '--data-dir', str(data / 'data')]
    with open(log, 'wb') as out:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=data)
    try:
        running = Service(process, f'http://127.0.0.1:{port}', log, patience)
        running.wait_ready()
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S * patience)
        except subprocess.TimeoutExpired:
            print('holdfast serve did not stop on SIGTERM; killed', file=sys.stderr)
            process.kill()
            process.wait()
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def profiled(pid, perf_data):
    """Samples the process with perf while the block runs, if `perf_data` names a file."""
    if not perf_data:
        yield
        return
    command = ['perf', 'record', '-q', '-e', 'cpu-clock', '-F', '499', '-p', str(pid), '-o', perf_data]
    perf = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    if perf.poll() is not None:
        raise BenchError('perf record cannot attach to the service')
    try:
        yield
    finally:
        perf.send_signal(signal.SIGINT)
        perf.wait()


def run(running, sql, parallelism, timeout_s, interval_ms=CHECKPOINT_INTERVAL_MS):
    """Runs a script to its end. Returns wall and CPU seconds, peak memory and the checkpoints' durations."""
    pid = running.process.pid
    forget_peak_rss(pid)
    cpu_before = cpu_s(pid)
    job = running.call('POST', '/api/v1/jobs', {'name': 'bench', 'sql': sql, 'parallelism': parallelism,
                                                 'checkpointing': {'interval_ms': interval_ms}})
    path = f"/api/v1/jobs/{job['id']}"
    seen, looked, deadline = {}, 0.0, time.monotonic() + timeout_s * running.patience

    def look():
        for c in running.call('GET', path + '/checkpoints')['items']:
            seen[c['checkpoint_id']] = c

    while job['status'] not in ('FINISHED', 'FAILED', 'CANCELED'):
        if time.monotonic() > deadline:
            raise BenchError(f"the job is {job['status']} after {timeout_s * running.patience:g} s (--timeout)")
        time.sleep(POLL_S)
        if time.monotonic() - looked > CHECKPOINT_POLL_S:
            look()
            looked = time.monotonic()
        job = running.call('GET', path)
    used, rss = cpu_s(pid) - cpu_before, peak_rss_mb(pid)
    look()
    if job['status'] != 'FINISHED' or job['attempt'] != 1:
        raise BenchError(f"the job is {job['status']} in attempt {job['attempt']}: {job.get('failure')}")
    done = [c for c in seen.values() if c['status'] == 'COMPLETED']
    took = [c['duration_ms'] for c in done]
    return dict(wall_s=round((job['ended_ms'] - job['started_ms']) / 1000, 3), cpu_s=round(used, 2), rss_mb=rss,
                checkpoints=len(done), checkpoints_failed=sum(c['status'] == 'FAILED' for c in seen.values()),
                ck_p50_ms=quantile(took, 0.5), ck_p99_ms=quantile(took, 0.99),
                state_mb=round(max((c['state_bytes'] for c in done), default=0) / 1e6, 1))
