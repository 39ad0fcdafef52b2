"""Millions of image-text pairs through every step of ``multimodal clean --method capro``.

Image rows (512 columns, float16) come in a column of Parquet files, texts are titles whose MiniLM
rows lie in the cache of embeddings, as they do in every run but the first; no model sees an image
or a title. Classes are clusters of unequal size; a fifth of the labels are wrong, a tenth of the
titles are about something else, a few are empty. See `benchmarks.embedded_crawl`.

The run is the command itself, in processes of its own whose memory is read every second:
anonymous memory (arrays), each resident page counted once although several processes map it
(proportional), and the sum of all resident sizes. Mapped pages of files can be dropped by the
system at any time. The floor is one pass over the stored rows.

Run: ``python -m benchmarks.speed.image_text_scale [--rows 500000 1000000 2000000] [--folder DIR]``

With ``--folder`` corpus and run stay, and an interrupted run goes on where it stopped. "resumed"
says so; its wall seconds are then those in which some unit was at work, over all parts, and CPU
seconds and memory those of the last part.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.embedded_crawl import CLASSES, IMAGE_COLUMN, crawl_files, read_truth, write_crawl
from benchmarks.speed.paired import RESULTS, write_result
from multimodal.rows import Rows
from multimodal.run_folder import RECORD, WORK, CleanedRun, open_run

ROWS = (500_000, 1_000_000, 2_000_000)
SECONDS_BETWEEN_SAMPLES = 1.0
GIGABYTE = 1e9
KINDS = {"Anonymous": "anonymous", "Pss": "proportional", "Rss": "resident"}


@dataclass(frozen=True)
class Sample:
    """What a process and all below it use.

    Attributes:
        at: When, seconds since the epoch.
        gigabytes: By kind, of all.
        each: Resident gigabytes by process.
        cpu: Seconds used so far, by those that have ended too.
    """

    at: float
    gigabytes: dict[str, float]
    each: dict[int, float]
    cpu: float


def main() -> None:
    """Run every size, smallest first; sizes measured before are kept in the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2, help="of steps over the whole corpus")
    parser.add_argument("--limit-gigabytes", type=float, default=6.0)
    parser.add_argument("--folder", type=Path, help="of corpus and runs; temporary files")
    parser.add_argument("--trial", action="store_true", help="print, and write no result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        for n_rows in sorted(arguments.rows):
            measured = measure(folder, n_rows, arguments)
            print(json.dumps(measured, indent=1), flush=True)
            if not arguments.trial:
                write_result("image_text_scale", _beside_others(str(n_rows), measured))


def measure(folder: Path, n_rows: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One size: corpus, run, floor and what came out."""
    started = time.perf_counter()
    write_crawl(folder / "corpus", n_rows, arguments.classes)
    written = time.perf_counter() - started
    out = folder / f"run-{n_rows}-{arguments.classes}"
    if (out / RECORD).exists():
        shutil.rmtree(out)  # finished: measured anew
    resumed, before = out.exists(), os.getloadavg()[0]
    wall, cpu, samples = _clean(folder / "corpus", out, n_rows, arguments)
    run = open_run(out)
    wall = busy_seconds(out, run) if resumed else wall
    peaks = {
        kind: max((s.gigabytes[kind] for s in samples), default=0.0) for kind in KINDS.values()
    }
    floor = read_once(out)
    steps = step_facts(out, run, samples)
    largest = max((max(s.each.values(), default=0.0) for s in samples), default=0.0)
    result = {
        "rows": run.record["rows"],
        "classes": arguments.classes,
        "workers": arguments.workers,
        "threads": arguments.threads,
        "resumed": resumed,
        "load_before": round(before, 1),
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "rows_per_second": round(run.record["rows"] / wall, 1),
        "peak_gigabytes": {kind: round(peak, 2) for kind, peak in peaks.items()},
        "largest_process_gigabytes": round(largest, 2),
        "within_limit": peaks["proportional"] <= arguments.limit_gigabytes,
        "limit_gigabytes": arguments.limit_gigabytes,
        "floor": floor,
        "times_the_floor": round(wall / floor["seconds"], 1),
        "steps": steps,
        "corpus_seconds": round(written, 1),
        "found": _found(run, read_truth(folder / "corpus", n_rows, arguments.classes)),
    }
    if arguments.folder is None or arguments.trial:
        shutil.rmtree(out)
    return result


def _clean(
    corpus: Path, out: Path, n_rows: int, arguments: argparse.Namespace
) -> tuple[float, float, list[Sample]]:
    """Wall and CPU seconds of the command, and the memory of its processes over time."""
    home = corpus / str(arguments.classes)
    files = map(str, crawl_files(corpus, n_rows, arguments.classes))
    command = [
        sys.executable, "-m", "multimodal", "clean", *files,
        "--classes", str(home / CLASSES), "--method", "capro",
        "--image-encoder", f"column:{IMAGE_COLUMN}", "--text-encoder", "minilm",
        "--cache", str(home / "cache"), "--out", str(out),
        "--workers", str(arguments.workers),
    ]  # fmt: skip
    told = {"OMP_NUM_THREADS": str(arguments.threads), "OMP_WAIT_POLICY": "passive"}
    started, before, samples = time.perf_counter(), os.times(), []
    log = out.with_name(f"{out.name}.log")
    with (
        log.open("wb") as said,
        subprocess.Popen(command, env=os.environ | told, stdout=said, stderr=said) as process,
    ):
        while process.poll() is None:
            samples.append(Sample(time.time(), *tree_use(process.pid)))
            time.sleep(SECONDS_BETWEEN_SAMPLES)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {log.read_text()[-2000:]}")
    wall = time.perf_counter() - started
    now = os.times()
    user, system = now.children_user, now.children_system
    return wall, user + system - before.children_user - before.children_system, samples


def tree_use(root: int) -> tuple[dict[str, float], dict[int, float], float]:
    """Gigabytes by kind, resident ones by process, CPU seconds; see `Sample`."""
    totals, each, ticks = dict.fromkeys(KINDS.values(), 0.0), {}, 0
    for number in _tree(root):
        try:
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()[1:]
            counters = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        found = {
            KINDS[key.rstrip(":")]: int(value) * 1024 / GIGABYTE
            for key, value, *_ in map(str.split, lines)
            if key.rstrip(":") in KINDS
        }
        for kind, amount in found.items():
            totals[kind] += amount
        each[number] = found.get("resident", 0.0)
        ticks += sum(map(int, counters[11:15]))
    return totals, each, ticks / os.sysconf("SC_CLK_TCK")


def _tree(root: int) -> Iterator[int]:
    yield root
    try:
        below = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return
    for number in below:
        yield from _tree(int(number))


def step_facts(out: Path, run: CleanedRun, samples: list[Sample]) -> dict[str, Any]:
    """Of each step: seconds summed over units, from begin to end, and what was used meanwhile."""
    facts = {}
    for name, counted in run.record["steps"].items():
        spans = _spans(out, name)
        begin, end = min(spans)[0], max(end for _, end in spans)
        during = [sample for sample in samples if begin <= sample.at <= end]
        memory = [sample.gigabytes["proportional"] for sample in during]
        facts[name] = {
            "seconds": counted["seconds"],
            "wall": round(end - begin, 1),
            "cpu": round(during[-1].cpu - during[0].cpu, 1) if during else None,
            "peak_gigabytes": round(max(memory), 2) if during else None,
        }
    return facts


def busy_seconds(out: Path, run: CleanedRun) -> float:
    """Seconds in which at least one unit was at work."""
    total, until = 0.0, 0.0
    for begin, end in sorted(span for name in run.record["steps"] for span in _spans(out, name)):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def _spans(out: Path, step: str) -> list[tuple[float, float]]:
    """When each unit of a step began and ended."""
    ends = {
        path: path.stat().st_mtime
        for path in (out if step == "table" else out / WORK / step).glob("*_stats.json")
    }
    return [(end - json.loads(path.read_text())["seconds"], end) for path, end in ends.items()]


def read_once(out: Path) -> dict[str, float]:
    """One pass over the image and text rows as the run stored them, a sum per column."""
    started, numbers = time.perf_counter(), 0
    for step, role in (("ingest", "image"), ("embed-text", "text")):
        rows = Rows.open(sorted((out / WORK / step).glob(f"*.{role}.npy")))
        total = np.zeros(rows.shape[1])
        for _, block in rows.blocks():
            total += block.sum(axis=0)
            numbers += block.size
    seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 2), "gigabytes": round(2 * numbers / GIGABYTE, 2)}


def _found(run: CleanedRun, truth: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Whether cleaning did its work: labels right before and after, and precision of relabels."""
    parts = [(audit.given, audit.label, audit.verdict) for audit in map(run.decisions, run.shards)]
    given, label, verdict = (np.concatenate(part) for part in zip(*parts, strict=True))
    kept, relabelled = label >= 0, verdict == "relabel"
    return {
        "verdicts": dict(run.record["verdicts"]),
        "right_before": round(float((given == truth).mean()), 4),
        "right_after": round(float((label == truth)[kept].mean()), 4),
        "relabels_right": round(float((label == truth)[relabelled].mean()), 4),
        "table_hash": run.table_hash,
    }


def _beside_others(name: str, measured: dict[str, Any]) -> dict[str, Any]:
    path = RESULTS / "speed_image_text_scale.json"
    known = json.loads(path.read_text())["measured"] if path.exists() else {}
    return dict(sorted({**known, name: measured}.items(), key=lambda pair: int(pair[0])))


if __name__ == "__main__":
    main()
