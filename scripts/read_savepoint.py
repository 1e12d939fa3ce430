#!/usr/bin/env python3
"""Reads a canonical savepoint without Holdfast: one JSON line per entry. See docs/savepoint-format.md.

usage: read_savepoint.py FOLDER      (the folder with _metadata)
"""
import base64, hashlib, json, os, re, struct, sys


def fail(message):
    sys.exit(f"read_savepoint: {message}")


def manifest(folder):
    data = open(os.path.join(folder, "_metadata"), "rb").read()
    header, body = data.split(b"\n", 1)
    magic, version, length, digest = header.decode().split(" ")
    if (magic, version) != ("HOLDFAST-MANIFEST", "1") or int(length) != len(body):
        fail("_metadata is no manifest of version 1")
    if hashlib.sha256(body).hexdigest() != digest:
        fail("_metadata has another checksum than it says")
    return json.loads(body)


def content(folder, key, file):
    """A file's bytes; objects lie relative to the manifest's folder."""
    where = file["content"]
    if "inline" in where:
        data = base64.b64decode(where["inline"])
    else:
        packed = where.get("packed")
        name = packed["object"] if packed else where["object"]
        own = key.rsplit("/", 1)[0] + "/" if "/" in key else ""
        data = open(os.path.join(folder, name.removeprefix(own)), "rb").read()
        if packed:
            data = data[packed["offset"]:packed["offset"] + file["bytes"]]
    if len(data) != file["bytes"] or hashlib.sha256(data).hexdigest() != file["sha256"]:
        fail(f"{file['name']} is not what was written")
    return data


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        part = self.data[self.at:self.at + count]
        if len(part) != count:
            fail("an entry is cut short")
        self.at += count
        return part

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def sized(self):
        return self.take(self.number("I"))


def entries(data):
    """The header and the entries (key group, key, value) of a file of entries."""
    b = Bytes(data)
    if b.take(19) != b"HOLDFAST-ENTRIES 1\n":
        fail("no file of entries of version 1")
    header = json.loads(b.sized())

    def walk():
        group, count = None, 0
        while True:
            kind = b.number("B")
            if kind == 1:
                group = b.number("H")
            elif kind == 2:
                count += 1
                yield group, b.sized(), b.sized()
            elif kind == 0:
                if b.number("Q") != count or b.at != len(data):
                    fail("a file of entries has another number of entries than it says")
                return
            else:
                fail("a file of entries is damaged")
    return header, walk()


WIDTHS = {"BOOLEAN": 1, "TINYINT": 1, "SMALLINT": 2, "INT": 4, "DATE": 4, "TIME": 4, "BIGINT": 8, "TIMESTAMP": 8, "TIMESTAMP_LTZ": 8}


def flipped(data):
    """An integer whose sign bit is flipped, so that bytes sort as numbers."""
    return int.from_bytes(data, "big") - (1 << (8 * len(data) - 1))


def column(b, kind):
    if b.number("B") == 0:
        return None
    name = re.split(r"[( ]", kind)[0]
    if name in WIDTHS:
        return flipped(b.take(WIDTHS[name]))
    if name == "DECIMAL":
        return flipped(b.take(16))
    if name == "FLOAT":
        return b.number("f")
    if name == "DOUBLE":
        return b.number("d")
    data = b.sized()
    return data.decode() if name in ("STRING", "VARCHAR", "CHAR") else data.hex()


def aggregate(b, call):
    function, kind = re.fullmatch(r"(\w+)\((.*)\)", call).groups()
    kind = kind.removeprefix("DISTINCT ")
    if function in ("Count", "CountStar"):
        return b.number("q")
    if function == "Avg":
        return {"count": b.number("q"), "sum": aggregate(b, f"Sum({kind})" if not kind.startswith("FLOAT") else "Sum(DOUBLE)")}
    state = b.number("B")
    if state != 1:
        return None
    name = re.split(r"[( ]", kind)[0]
    if name in ("FLOAT", "DOUBLE"):
        return b.number("d")
    if name == "DECIMAL":
        return int.from_bytes(b.take(16), "big", signed=True)
    if name in ("STRING", "VARCHAR", "CHAR", "BYTES", "BINARY", "VARBINARY"):
        data = b.sized()
        return data.decode(errors="replace")
    return b.number("q")


def split(text):
    """Parts between commas that are not inside parentheses."""
    return [p.strip() for p in re.split(r",\s*(?![^()]*\))", text) if p.strip()]


def window(layout, key, value):
    keys, aggregates = re.search(r"by keys \[(.*)\] with aggregates \[(.*)\]", layout).groups()
    k, v = Bytes(key), Bytes(value)
    decoded = {"window_end": flipped(k.take(8)), "window_start": flipped(k.take(8))}
    decoded["key"] = [column(k, kind) for kind in split(keys)]
    if v.number("B") != 1:
        fail("a window's value has an unknown version")
    decoded["aggregates"] = [aggregate(v, call) for call in split(aggregates)]
    return decoded


def main(folder):
    m = manifest(folder)
    if m.get("format") != "canonical":
        fail("not a canonical savepoint")
    for operator in m["operators"]:
        for subtask in operator["subtasks"]:
            for file in (subtask.get("keyed") or {}).get("files", []):
                header, walk = entries(content(folder, m["key"], file))
                for group, key, value in walk:
                    row = {"operator": operator["name"], "table": header["table"], "key_group": group}
                    if header["table"] == "window" and "with aggregates" in header["layout"]:
                        row |= window(header["layout"], key, value)
                    else:
                        row |= {"key": key.hex(), "value": value.hex()}
                    print(json.dumps(row))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        fail(__doc__)
    main(sys.argv[1])
