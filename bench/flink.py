"""Measures Apache Flink beside Holdfast, by the scripts of the Flink lab (cluster.sh, bench.py), if they are there.

The lab's bench.py restarts the TaskManager for each query and reports its CPU time and peak memory; the JobManager's are
not counted. Checkpoints each second, RocksDB and parallelism slots are the lab cluster's defaults.
"""
import json, os, subprocess, sys, urllib.request
from pathlib import Path
from workload import BenchError

REST = 'http://127.0.0.1:28081'
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(path):
    with OPENER.open(REST + path, timeout=10) as response:
        return json.load(response)


class Lab:
    """The lab's cluster; a context that starts it, and stops it if it was not running before."""

    def __init__(self, home, scripts):
        self.home, self.scripts, self.ours = Path(home), Path(scripts).resolve(), False
        self.env = dict(os.environ, FLINK_LAB=str(self.home))

    def missing(self):
        """A sentence that says what is not there, or None."""
        if not (self.home / 'flink' / 'lib').is_dir():
            return f'Flink is skipped: it is not installed in {self.home} ($FLINK_LAB).'
        for name in ('cluster.sh', 'bench.py'):
            if not (self.scripts / name).is_file():
                return f'Flink is skipped: {self.scripts} has no {name} (--flink-scripts).'
        return None

    def version(self):
        jars = sorted(p.stem.removeprefix('flink-dist-') for p in (self.home / 'flink' / 'lib').glob('flink-dist-*.jar'))
        java = subprocess.run(['java', '-version'], capture_output=True, text=True).stderr.splitlines()
        return f"Flink {', '.join(jars) or 'of unknown version'} on {java[0] if java else 'an unknown Java'}"

    def nexgen(self):
        """The lab's generator, or None."""
        path = self.home / 'bin' / 'nexgen'
        return str(path) if os.access(path, os.X_OK) else None

    def cluster(self, what):
        subprocess.run([str(self.scripts / 'cluster.sh'), what], env=self.env, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=180)

    def __enter__(self):
        try:
            jobs = get('/jobs/overview')['jobs']
        except OSError:
            self.ours = True
            self.cluster('start')
            try:
                get('/overview')
            except OSError:
                self.cluster('stop')
                raise BenchError(f'the Flink cluster did not start; see {self.home}/log') from None
            return self
        if live := [j['name'] for j in jobs if j['state'] not in ('FINISHED', 'FAILED', 'CANCELED')]:
            raise BenchError(f'the Flink cluster on {REST} runs other jobs ({", ".join(live)}); try later, or --no-flink')
        return self

    def __exit__(self, *_):
        if self.ours:
            self.cluster('stop')

    def run(self, tables, query, folder, events, parallelism, timeout_s):
        """Runs one query file on a fresh TaskManager."""
        command = [sys.executable, str(self.scripts / 'bench.py'), '--restart', '--data', str(folder), '--events', str(events),
                   '--par', str(parallelism), '--timeout', str(timeout_s), str(tables), str(query)]
        p = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=timeout_s + 180)
        try:
            result = json.loads(p.stdout.strip().splitlines()[-1])
        except (IndexError, ValueError):
            raise BenchError(f'the lab\'s bench.py answered nothing: {(p.stdout + p.stderr)[-1000:]}') from None
        if 'error' in result or result['state'] != 'FINISHED':
            raise BenchError(f"Flink: {result.get('error') or 'the job is ' + result['state']}")
        # A job that failed on the way and was restarted finishes too, but its figures say nothing.
        newest = max(get('/jobs/overview')['jobs'], key=lambda j: j['start-time'])
        if get(f"/jobs/{newest['jid']}/exceptions").get('exceptionHistory', {}).get('entries'):
            raise BenchError('Flink restarted the job on its way; see its log')
        keep = ('wall_s', 'cpu_s', 'rss_mb', 'checkpoints', 'ck_p50_ms', 'ck_p99_ms', 'state_mb')
        # Of no checkpoint at all the lab's figures are not numbers.
        return {k: v if isinstance(v := result.get(k), (int, float)) and v == v else None for k in keep}
