"""Many local clusters: a file of seeds in, rows in blocks out, each block written exactly once.

A block is two files: the rows, and beside them, written last, the stats that make it count. Rows
hold nothing that changes from run to run, so that their bytes are the same however often the job
was killed and with any number of threads; times are in the stats.
"""

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import labelnoise
from graphnoise.cli.cluster_input import is_store, open_graph, seed_lists, seeds_of
from graphnoise.cli.cluster_job import ClusterJob, graph_identity, query_options
from graphnoise.cli.folder import RunFolder
from graphnoise.report.cluster_files import cluster_row
from labelnoise.atomic_files import replacing, write_json
from labelnoise.console import facts, output
from labelnoise.report.page import finite

if TYPE_CHECKING:
    from graphnoise.local_clusters.adjacency import Adjacency
    from graphnoise.local_clusters.batch import Failure
    from graphnoise.local_clusters.cluster import Cluster

# seeds that are lost when the process dies; a block is a second or so of work
BLOCK = 256
ROWS, STATS = "clusters-{:05d}.jsonl", "clusters-{:05d}.stats.json"


@dataclass(frozen=True)
class Batch:
    """A file of seeds and what is done with it.

    Attributes:
        job: What is asked for each.
        seeds: The file.
        out: The folder of the results.
        root: Folder of the data sets, or None.
        threads: Number of threads (of processes with `ray`), None for all cores.
        force: Whether to replace what another job left in the folder.
        ray: Whether Ray spreads the work.
    """

    job: ClusterJob
    seeds: Path
    out: Path
    root: Path | None = None
    threads: int | None = None
    force: bool = False
    ray: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"--threads must be at least 1, got {self.threads}")


def run_batch(batch: Batch) -> None:
    """Answer every line of the file that is not answered yet, and sum up.

    Raises:
        ValueError: The folder belongs to another job, or anything of the request cannot be.
    """
    lines = seed_lists(batch.seeds)
    identity = graph_identity(batch.job.graph)
    folder = RunFolder(batch.out, batch.job.key(batch.seeds, identity))
    with folder.locked():
        if batch.force:
            _remove_blocks(folder.path)
        if folder.claim(force=batch.force):
            folder.tidy()
            output().print(f"already done: {folder.path} (--force runs it again)")
            return
        started = perf_counter()
        adjacency = open_graph(batch.job.graph, batch.root)
        missing = [k for k in range(_n_blocks(lines)) if read_stats(folder.path, k) is None]
        answers = _answers(batch, adjacency, [line for k in missing for line in _block(lines, k)])
        folder.begin({"command": _command(batch), "data_sha256": identity})
        if len(missing) < _n_blocks(lines):
            output().print(f"resuming: {_n_blocks(lines) - len(missing)} blocks are done")
        write_blocks(answers, missing, lines, folder.path)
        record = {
            "command": _command(batch),
            "job": plain(asdict(batch.job)),
            "notes": list(adjacency.notes),
            **summary(folder.path, _n_blocks(lines)),
            "seconds": perf_counter() - started,
            "version": labelnoise.__version__,
        }
        folder.commit(finite(record))
    say = output()
    say.print(facts("", summary_rows(record)))
    say.print(f"written  {folder.path}")


def write_blocks(
    answers: Iterator["Cluster | Failure"],
    missing: Sequence[int],
    lines: Sequence[Sequence[str]],
    folder: Path,
) -> None:
    """Take the answers as they come and write the blocks that are missing, one after the other."""
    with _progress(len(lines)) as advance:
        advance(len(lines) - sum(len(_block(lines, k)) for k in missing))
        for k in missing:
            rows, seconds = [], []
            for offset, words in enumerate(_block(lines, k)):
                answer = next(answers)
                rows.append({"query": k * BLOCK + offset} | _row(answer, words))
                seconds.append(getattr(answer, "seconds", None))
                advance(1)
            write_block(folder, k, rows=rows, seconds=seconds)


def write_block(
    folder: Path,
    number: int,
    *,
    rows: Sequence[Mapping[str, Any]],
    seconds: Sequence[float | None],
) -> None:
    """Write the rows of a block, then the stats that make it count, each atomically."""
    lines = [json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    content = "".join(lines).encode()
    with replacing(folder / ROWS.format(number)) as temporary:
        temporary.write_bytes(content)
    answered = [row for row in rows if "error" not in row]
    stats = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": len(rows),
        "errors": len(rows) - len(answered),
        "stopped": sum(not row["converged"] for row in answered),
        "sizes": [row["size"] for row in answered],
        "conductance": [row["conductance"] for row in answered],
        "seconds": list(seconds),
    }
    write_json(folder / STATS.format(number), finite(stats))


def read_stats(folder: Path, number: int) -> dict[str, Any] | None:
    """Stats of a block that counts; None where it is missing or its rows are not those counted."""
    stats, rows = folder / STATS.format(number), folder / ROWS.format(number)
    try:
        found = json.loads(stats.read_text(encoding="utf-8"))
        same = hashlib.sha256(rows.read_bytes()).hexdigest() == found["sha256"]
    except (OSError, ValueError, KeyError):
        return None
    return dict(found) if same else None


def summary(folder: Path, n_blocks: int) -> dict[str, Any]:
    """Counts and medians over all blocks, and one checksum over all rows."""
    blocks = [read_stats(folder, number) for number in range(n_blocks)]
    found = [block for block in blocks if block is not None]
    digest = hashlib.sha256("".join(block["sha256"] for block in found).encode())
    seconds = [s for block in found for s in block["seconds"] if s is not None]
    curve = [c for block in found for c in block["conductance"] if c is not None]
    sizes = [size for block in found for size in block["sizes"]]
    return {
        "rows": sum(block["rows"] for block in found),
        "errors": sum(block["errors"] for block in found),
        "stopped": sum(block["stopped"] for block in found),
        "blocks": len(found),
        "sha256": digest.hexdigest(),
        "median_size": median(sizes) if sizes else None,
        "median_conductance": median(curve) if curve else None,
        "median_milliseconds": 1000 * median(seconds) if seconds else None,
    }


def summary_rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the end of a batch says, as names and values."""

    def shown(name: str, form: str) -> str:
        return "–" if record[name] is None else format(record[name], form)

    return [
        ("seeds", str(record["rows"])),
        ("clusters", str(record["rows"] - record["errors"])),
        ("errors", str(record["errors"])),
        ("stopped by a limit", str(record["stopped"])),
        ("median size", shown("median_size", "g")),
        ("median conductance", shown("median_conductance", ".3f")),
        ("median time", f"{shown('median_milliseconds', '.2f')} ms per query"),
        ("this run", f"{record['seconds']:.1f} s"),
        ("rows, SHA-256", record["sha256"][:16]),
    ]


def _answers(
    batch: Batch, adjacency: "Adjacency", lines: Sequence[Sequence[str]]
) -> Iterator["Cluster | Failure"]:
    """An answer for each line, in order; wrong options are told before the first."""
    seeds = (seeds_of(line, adjacency) for line in lines)
    options = query_options(batch.job, adjacency)
    if batch.ray:
        from graphnoise.local_clusters import cluster_many_ray

        # each worker maps a store for itself; another graph is sent to it
        graph = batch.job.graph if is_store(batch.job.graph) else adjacency
        return cluster_many_ray(graph, seeds, **options, workers=batch.threads, on_error="record")
    from graphnoise.local_clusters import cluster_many

    return cluster_many(adjacency, seeds, **options, threads=batch.threads, on_error="record")


def _row(answer: "Cluster | Failure", words: Sequence[str]) -> dict[str, Any]:
    from graphnoise.local_clusters import Failure

    if isinstance(answer, Failure):
        return {"seeds": list(words), "error": answer.error}
    return cluster_row(answer)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with paths as text, for JSON."""
    return {
        key: plain(value) if isinstance(value, dict)
        else str(value) if isinstance(value, Path)
        else list(value) if isinstance(value, tuple)
        else value
        for key, value in values.items()
    }  # fmt: skip


def _n_blocks(lines: Sequence[Sequence[str]]) -> int:
    return -(-len(lines) // BLOCK)


def _block(lines: Sequence[Sequence[str]], number: int) -> Sequence[Sequence[str]]:
    return lines[number * BLOCK : (number + 1) * BLOCK]


def _command(batch: Batch) -> str:
    words = ["graphnoise", "cluster", batch.job.graph, "--seeds", str(batch.seeds)]
    return shlex.join(words)


def _remove_blocks(folder: Path) -> None:
    # stats first: rows without stats do not count
    for pattern in ("clusters-*.stats.json", "clusters-*.jsonl"):
        for path in folder.glob(pattern):
            path.unlink()


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar over seeds on stderr, where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("clusters"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, refresh_per_second=4, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("clusters", total=total)
        yield lambda done: bar.update(task, advance=done)
