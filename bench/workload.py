"""The SQL and the input of a run: queries/*.sql, and folders of JSON files made once and kept.

A query file is one SELECT for both engines; its line `-- sink: COLUMNS` names the columns of the sink that Holdfast's
script declares (the Flink lab declares its own). One file of the input is read by one task, in order, so a folder has
as many files as the parallelism.
"""
import os, re, shutil, subprocess
from pathlib import Path

QUERIES = Path(__file__).resolve().parent / 'queries'
JSON_OPTIONS = "'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601'"


class BenchError(Exception):
    """Something that ends the bench, or one run of it; the message is for its user."""


def names():
    """The queries there are, in the order of their numbers."""
    found = [p.stem for p in QUERIES.glob('q*.sql')]
    return sorted(found, key=lambda n: (int(re.sub(r'\D', '', n) or 0), n))


def tables(source, events, folder):
    """The DDL over `source`: 'json' (the files of `folder`) or 'nexmark' (made by the connector as it is read)."""
    connector = {'json': f"'connector' = 'filesystem', 'path' = '{folder}', {JSON_OPTIONS}",
                 'nexmark': f"'connector' = 'nexmark', 'events.num' = '{events}'"}[source]
    return (QUERIES / 'tables.sql').read_text().replace('${SOURCE}', connector)


def script(query, source, events, folder):
    """A whole Holdfast job: tables, a blackhole sink, the query."""
    text = (QUERIES / f'{query}.sql').read_text()
    sink = re.search(r'^-- sink: (.*)$', text, re.M)
    if not sink:
        raise BenchError(f"{query}.sql has no line '-- sink: COLUMNS'")
    body = re.sub(r'^--.*\n', '', text, flags=re.M).strip().rstrip(';')
    return (f"{tables(source, events, folder)}CREATE TABLE sink ({sink[1]}) WITH ('connector' = 'blackhole');\n"
            f'INSERT INTO sink\n{body};\n')


def generator_script(events, folder):
    """A Holdfast job that writes the events as JSON files, one for each subtask."""
    ddl = tables('nexmark', events, folder)
    create = re.search(r'CREATE TABLE events \((.*?)\) WITH', ddl, re.S)
    columns = re.sub(r',\s*ts AS .*', '\n', create[1], flags=re.S)
    return (f"CREATE TABLE events ({columns}) WITH ('connector' = 'nexmark', 'events.num' = '{events}');\n"
            f"CREATE TABLE files ({columns}) WITH ('connector' = 'filesystem', 'path' = '{folder}', {JSON_OPTIONS}, "
            f"'sink.rolling-policy.file-size' = '1TB');\nINSERT INTO files SELECT * FROM events;\n")


def input_folder(cache, events, parallelism, nexgen, generate):
    """The folder of JSON files, made if it is not there: by the lab's nexgen, else by `generate(script, parallelism)`.

    Returns the folder and the name of what made it. The folder appears under its name only when it is whole.
    """
    maker = 'nexgen' if nexgen else 'holdfast'
    folder = Path(cache) / f'{maker}-{events}-p{parallelism}'
    if not folder.is_dir():
        need, free = events * 320, shutil.disk_usage(cache).free
        if free < need:
            raise BenchError(f'{folder} needs about {need >> 20} MB, {free >> 20} MB are free; use fewer --events')
        unfinished = folder.with_name(folder.name + '.unfinished')
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        if nexgen:
            makers = [subprocess.Popen([nexgen, '--events', str(events), '--stride', str(parallelism), '--phase', str(i),
                                        '--out', str(unfinished / f'{i}.json')]) for i in range(parallelism)]
            if any([m.wait() for m in makers]):
                raise BenchError(f'{nexgen} failed')
        else:
            generate(generator_script(events, unfinished), parallelism)
        unfinished.rename(folder)
    files = sorted(p for p in folder.iterdir() if not p.name.startswith('.'))
    if len(files) != parallelism:
        raise BenchError(f'{folder} has {len(files)} files instead of {parallelism}; delete it and run again')
    return folder, maker


def warm(folder):
    """Reads the files once, so that both engines find them in the page cache. Returns their bytes."""
    total, buffer = 0, bytearray(1 << 20)
    for path in folder.iterdir():
        with open(path, 'rb', buffering=0) as f:
            while n := f.readinto(buffer):
                total += n
    return total


def cache_folder():
    """Where inputs and the services' data live: beside the compiled things, on the disk that the Flink lab uses too."""
    base = os.environ.get('HOLDFAST_CACHE') or os.path.expanduser('~/.cache/holdfast')
    folder = Path(base) / 'bench'
    folder.mkdir(parents=True, exist_ok=True)
    return folder
