#!/usr/bin/env python3
"""Measures Holdfast: events per second and per CPU second, peak memory, checkpoint durations; Flink beside it if it is there.

See README.md in this folder for what is measured and how. `make bench` builds the binary and runs this with the defaults.
"""
import sys
sys.dont_write_bytecode = True
import argparse, json, os, signal, tempfile
from contextlib import ExitStack
from pathlib import Path
import flink, holdfast, report, workload
from workload import BenchError

ROOT = Path(__file__).resolve().parent.parent


def arguments():
    cargo = os.environ.get('CARGO_TARGET_DIR') or os.path.expanduser(os.environ.get('HOLDFAST_CACHE', '~/.cache/holdfast') + '/target')
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = workload.names()
    p.add_argument('--events', type=int, default=5_000_000, help='events of each run (default 5000000)')
    p.add_argument('--queries', default=','.join(known), help=f'separated by commas (default {",".join(known)})')
    p.add_argument('--parallelism', type=int, default=1, help='of the jobs; the input gets as many files (default 1)')
    p.add_argument('--repeat', type=int, default=1, help='runs of each, engines alternating; medians are shown (default 1)')
    p.add_argument('--source', choices=['json', 'nexmark', 'both'], default='both', help='Flink reads JSON only (default both)')
    p.add_argument('--no-flink', action='store_true', help='measure Holdfast only')
    p.add_argument('--no-holdfast', action='store_true', help='measure Flink only')
    p.add_argument('--json', metavar='OUT', help='write every run and the summary there')
    p.add_argument('--timeout', type=float, default=600, help='seconds of one run (default 600)')
    p.add_argument('--holdfast', default=cargo + '/release/holdfast', help='the binary (default %(default)s)')
    p.add_argument('--flink-scripts', default=str(ROOT.parent / 'shared' / 'flink-lab'), help='folder of the lab\'s cluster.sh and bench.py (default %(default)s)')
    p.add_argument('--perf', metavar='FILE', help='record the service with perf while the query runs (see profile.sh)')
    p.add_argument('--wrap', default='', metavar='COMMAND', help='run the service under a command such as valgrind (see profile.sh)')
    a = p.parse_args()
    a.queries = [q for q in a.queries.split(',') if q]
    if unknown := [q for q in a.queries if q not in known]:
        p.error(f'no query {", ".join(unknown)}; there are {", ".join(known)}')
    if a.events < 1 or a.parallelism < 1 or a.repeat < 1:
        p.error('--events, --parallelism and --repeat must be at least 1')
    if a.no_flink and a.no_holdfast:
        p.error('nothing is left to measure')
    return a


def plan(a, with_flink):
    """The runs in order: engines alternate within a query, so that a busy hour of the machine hits both."""
    sources = ['json', 'nexmark'] if a.source == 'both' else [a.source]
    for _ in range(a.repeat):
        for source in sources:
            for query in a.queries:
                if not a.no_holdfast:
                    yield source, query, 'holdfast'
                if with_flink and source == 'json':
                    yield source, query, 'flink'


def measure(a, cache, lab, folder, tables, source, query, engine):
    """One run: its figures, or why there are none."""
    result = dict(engine=engine, source=source, query=query, events=a.events, parallelism=a.parallelism)
    try:
        if engine == 'flink':
            figures = lab.run(tables, workload.QUERIES / f'{query}.sql', folder, a.events, a.parallelism, a.timeout)
        else:
            patience = 20 if a.wrap else 1
            with holdfast.service(a.holdfast, cache, a.wrap, patience) as running:
                with holdfast.profiled(running.process.pid, a.perf):
                    figures = holdfast.run(running, workload.script(query, source, a.events, folder), a.parallelism, a.timeout)
    except BenchError as e:
        return result | dict(error=str(e))
    wall, cpu = max(figures['wall_s'], 1e-3), max(figures['cpu_s'], 1e-2)
    return result | figures | dict(events_per_s=round(a.events / wall), events_per_cpu_s=round(a.events / cpu))


def main():
    a = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cache = workload.cache_folder()
    lab = flink.Lab(os.environ.get('FLINK_LAB') or os.path.expanduser('~/.cache/holdfast/flink-lab'), a.flink_scripts)
    skipped = 'Flink is skipped: --no-flink.' if a.no_flink else lab.missing()
    if not skipped and a.source == 'nexmark':
        skipped = 'Flink is skipped: it has no nexmark connector here; use --source json.'
    if skipped and a.no_holdfast:
        raise BenchError(skipped)
    nexgen = lab.nexgen()
    if not os.access(a.holdfast, os.X_OK) and not (a.no_holdfast and nexgen):
        raise BenchError(f'no binary {a.holdfast}; run make build, or name it by --holdfast')
    about = dict(machine=report.machine(), holdfast=None if a.no_holdfast else holdfast.version(a.holdfast),
                 flink=None if skipped else lab.version(), events=a.events, parallelism=a.parallelism, repeat=a.repeat)
    with ExitStack() as stack:
        folder = tables = None
        if a.source != 'nexmark':
            def generate(sql, parallelism):
                with holdfast.service(a.holdfast, cache) as running:
                    holdfast.run(running, sql, parallelism, a.timeout, interval_ms=0)
            print(f'input: {a.events:,} events as JSON', file=sys.stderr, flush=True)
            folder, about['input_by'] = workload.input_folder(cache, a.events, a.parallelism, nexgen, generate)
            about['input_mb'] = workload.warm(folder) // 1_000_000
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='sql-', dir=cache)))
            tables = scratch / 'tables.sql'
            tables.write_text(workload.tables('json', a.events, folder))
        print(report.header(about), flush=True)
        if skipped:
            print(skipped, flush=True)
        else:
            stack.enter_context(lab)
        results = []
        for source, query, engine in plan(a, not skipped):
            r = measure(a, cache, lab, folder, tables, source, query, engine)
            results.append(r)
            said = r.get('error') or f"{r['wall_s']:.1f} s, {r['cpu_s']:.1f} CPU s, {r['events_per_cpu_s'] / 1000:,.0f} k events/CPU s, {r['rss_mb']:,} MB"
            print(f'{source} {query} {engine}: {said}', file=sys.stderr, flush=True)
    rows = report.summarize(results)
    print('\n' + report.table(rows, a.repeat))
    failed = [r for r in results if 'error' in r]
    for r in failed:
        print(f"failed: {r['source']} {r['query']} {r['engine']}: {r['error']}")
    if a.json:
        Path(a.json).write_text(json.dumps(dict(about=about, summary=rows, runs=results), indent=1) + '\n')
    return 1 if failed else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BenchError as e:
        sys.exit(f'bench: {e}')
    except KeyboardInterrupt:
        sys.exit(130)
