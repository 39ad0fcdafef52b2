"""Building a graph store from text: seconds, and the memory it takes, at a size of one's choice.

Run: ``python -m benchmarks.speed.store_build [--edges 100000000] [--max-memory 2GB]``

The build runs in a process of its own, whose memory is read four times a second: anonymous memory
(arrays) and all resident pages (those of mapped files too).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from benchmarks.speed.paired import write_result
from graphnoise.graph_store import open_store

CHUNK = 2_000_000
EDGES_PER_NODE, NODES_PER_GROUP, SHARE_INSIDE = 10, 200, 0.7
FIELDS = {"RssAnon": "anonymous", "VmHWM": "resident"}
PROGRAM = """
import json, sys, time
from graphnoise.graph_store import build_store
source, out, memory = sys.argv[1:]
steps, start = {}, time.perf_counter()
def progress(step, done, total):
    steps[step] = round(time.perf_counter() - start, 2)
build_store(source, out, max_memory=memory, progress=progress)
print(json.dumps({"until": steps, "wall": time.perf_counter() - start,
                  "cpu": time.process_time()}))
"""


def main() -> None:
    """Write the text, build the store from it, open it, take both away again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, default=100_000_000)
    parser.add_argument("--max-memory", default="2GB")
    parser.add_argument("--limit-gigabytes", type=float, default=4.0)
    parser.add_argument("--folder", type=Path, help="of the text and the store; temporary files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        measured = _measure(Path(name), arguments.edges, arguments.max_memory)
    peak = measured["peak_gigabytes"]["resident"]
    if peak > arguments.limit_gigabytes:
        raise RuntimeError(f"the build took {peak:.2f} GB, more than {arguments.limit_gigabytes}")
    write_result("store_build", {"limit_gigabytes": arguments.limit_gigabytes, **measured})


def write_edges(path: Path, n_edges: int) -> int:
    """A graph of planted groups as tab-separated text; returns the number of nodes."""
    rng, n_nodes = np.random.default_rng(0), max(n_edges // EDGES_PER_NODE, 1)
    schema = pa.schema([("source", pa.int64()), ("target", pa.int64())])
    options = csv.WriteOptions(include_header=False, delimiter="\t")
    with csv.CSVWriter(path, schema, write_options=options) as writer:
        for start in range(0, n_edges, CHUNK):
            size = min(CHUNK, n_edges - start)
            source = rng.integers(0, n_nodes, size)
            # members of a group lie far apart in number, as in a graph that nobody has sorted
            groups = max(n_nodes // NODES_PER_GROUP, 1)
            inside = source % groups + groups * rng.integers(0, NODES_PER_GROUP, size)
            target = np.where(
                rng.random(size) < SHARE_INSIDE, inside, rng.integers(0, n_nodes, size)
            )
            target = np.minimum(target, n_nodes - 1)
            writer.write_table(pa.table({"source": source, "target": target}))
    return n_nodes


def _measure(folder: Path, n_edges: int, max_memory: str) -> dict[str, Any]:
    text, out = folder / "edges.txt", folder / "store"
    n_nodes = write_edges(text, n_edges)
    command = [sys.executable, "-c", PROGRAM, str(text), str(out), max_memory]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peaks = _watch(process)
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the build ended with {process.returncode}")
    start = time.perf_counter()
    store = open_store(out)
    opened = time.perf_counter() - start
    store.verify()
    return {
        "edges": n_edges,
        "nodes": n_nodes,
        "max_memory": max_memory,
        "text_bytes": text.stat().st_size,
        "store_bytes": sum(about.bytes for about in store.header.arrays.values()),
        "stored_edges": store.n_edges,
        "seconds": json.loads(said),
        "peak_gigabytes": peaks | {"resident": usage.ru_maxrss * 1024 / 1e9},
        "open_milliseconds": 1000 * opened,
        "own_peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def _watch(process: "subprocess.Popen[str]") -> dict[str, float]:
    """Largest memory seen until the process ends, in gigabytes; it is not reaped."""
    peaks = dict.fromkeys(FIELDS.values(), 0.0)
    path = Path(f"/proc/{process.pid}/status")
    while True:
        lines = [line.split() for line in path.read_text().splitlines()]
        found = {FIELDS[key[:-1]]: int(size[0]) for key, *size in lines if key[:-1] in FIELDS}
        if not found:  # a process that has ended has no memory any more
            return peaks
        for name, kilobytes in found.items():
            peaks[name] = max(peaks[name], kilobytes * 1024 / 1e9)
        time.sleep(0.25)


if __name__ == "__main__":
    main()
