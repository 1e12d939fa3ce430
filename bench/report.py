"""What is printed: where it ran, and a table of medians with the ratios to Flink."""
import datetime, os, platform, re, statistics, subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def machine():
    """The machine and the moment, as a dictionary."""
    cpu = re.search(r'^model name\s*:\s*(.*)$', Path('/proc/cpuinfo').read_text(), re.M)
    memory_kb = int(re.search(r'MemTotal:\s+(\d+)', Path('/proc/meminfo').read_text())[1])
    git = subprocess.run(['git', '-C', str(ROOT), 'describe', '--always', '--dirty'], capture_output=True, text=True)
    return dict(date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
                cpu=cpu[1].strip() if cpu else platform.machine(), cores=os.cpu_count(), memory_gb=round(memory_kb / 2**20, 1),
                kernel=platform.release(), load_before=os.getloadavg()[0], commit=git.stdout.strip() or None)


def header(about):
    m = about['machine']
    commit = f" ({m['commit']})" if m['commit'] else ''
    lines = [m['date'],
             f"{m['cpu']}, {m['cores']} cores, {m['memory_gb']} GB, Linux {m['kernel']}, load before {m['load_before']:.2f}",
             f"{about['holdfast'] or 'no Holdfast'}{commit}; {about['flink'] or 'no Flink'}",
             f"{about['events']:,} events, parallelism {about['parallelism']}, checkpoints each second, {about['repeat']} run(s) each",
             f"input: {about['input_mb']:,} MB of JSON made by {about['input_by']}" if about.get('input_by') else 'input: nexmark']
    return '\n'.join(lines)


def median(runs, key):
    values = [r[key] for r in runs if r.get(key) is not None]
    return statistics.median(values) if values else None


def summarize(results):
    """One row for each (source, query, engine) that has results, in the order they came, with ratios to Flink's median."""
    groups = {}
    for r in results:
        groups.setdefault((r['source'], r['query'], r['engine']), []).append(r)
    rows = []
    for (source, query, engine), runs in groups.items():
        good = [r for r in runs if 'error' not in r]
        row = dict(source=source, query=query, engine=engine, runs=len(good), failed=len(runs) - len(good))
        for key in ('events_per_s', 'events_per_cpu_s', 'rss_mb', 'checkpoints', 'ck_p50_ms', 'ck_p99_ms', 'state_mb'):
            row[key] = median(good, key)
        for key in ('events_per_s', 'events_per_cpu_s'):
            row['min_' + key] = min((r[key] for r in good), default=None)
        flink = [r for r in groups.get(('json', query, 'flink'), []) if 'error' not in r]
        if engine == 'holdfast' and source == 'json' and flink and good:
            for key in ('events_per_s', 'events_per_cpu_s', 'rss_mb'):
                if (base := median(flink, key)) and row[key] is not None:
                    row['ratio_' + key] = round(row[key] / base, 3)
        rows.append(row)
    return rows


def table(rows, repeat):
    """The rows as text. Thousands of events; with several runs the lowest stands behind the median."""
    def thousands(row, key):
        if row[key] is None:
            return '-'
        low = f" ({row['min_' + key] / 1000:,.0f})" if repeat > 1 else ''
        return f'{row[key] / 1000:,.0f}{low}'

    def plain(value, digits=0):
        return '-' if value is None else f'{value:,.{digits}f}'

    def ratio(row, key):
        value = row.get('ratio_' + key)
        return '' if value is None else f'{value:.2f}x'

    low = ' (min)' if repeat > 1 else ''
    head = ['source', 'query', 'engine', 'k events/s' + low, 'k events/CPU s' + low, 'peak RSS MB', 'ckpts', 'p50 ms', 'p99 ms',
            'state MB', 'per s', 'per CPU s', 'memory']
    body = []
    for r in rows:
        name = r['engine'] + (f" ({r['failed']} failed)" if r['failed'] else '')
        body.append([r['source'], r['query'], name, thousands(r, 'events_per_s'), thousands(r, 'events_per_cpu_s'), plain(r['rss_mb']),
                     plain(r['checkpoints']), plain(r['ck_p50_ms']), plain(r['ck_p99_ms']), plain(r['state_mb'], 1),
                     ratio(r, 'events_per_s'), ratio(r, 'events_per_cpu_s'), ratio(r, 'rss_mb')])
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    line = lambda cells: '  '.join(c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))).rstrip()
    left = sum(widths[:10]) + 2 * 10
    above = (' ' * left + 'Holdfast : Flink').rstrip() if any('ratio_rss_mb' in r for r in rows) else ''
    return '\n'.join(filter(None, [above, line(head), *map(line, body)]))
