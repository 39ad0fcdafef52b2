"""Annotations per second through the asynchronous path of an endpoint: replayed, planned, fresh.

Texts are those of Cora (synthetic ones where they are absent), numbered so that all questions
differ. A server in another process answers at once. First ``--fresh`` questions are sent to it;
then the rest, unmeasured; then all answers lie in the SQLite cache and ``--count`` questions are
annotated again and again, by a new annotator and a new run each time: prompts are made, looked up,
counted by the purse, written to the ledger, read, and become votes. Gold labels are not read.

Run: ``python -m benchmarks.speed.annotation_throughput [--count 10000] [--repeats 9]``
"""

import argparse
import asyncio
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.paired import write_result
from benchmarks.speed.scripted_endpoint import running
from graphnoise.annotators.base import Questions, Usage
from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.endpoint import EndpointAnnotator
from graphnoise.annotators.options import AnnotatorOptions
from graphnoise.text_graph import text_graph
from labelnoise.class_list import ClassList

BAR = 2_000  # annotations per second, wall clock, on two cores
DISTURBED = (
    " More was at work than the machine has cores: wall seconds are disturbed and say little, CPU"
    " seconds are the measure."
)
QUANTILES = {"fastest": 0.0, "lower_tenth": 0.1, "median": 0.5, "upper_tenth": 0.9, "slowest": 1.0}


def main() -> None:
    """Fresh, replayed and planned; JSON and a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--fresh", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running() as url:
        measured = measure(arguments, Path(folder) / "answers.sqlite", url)
    path = write_result("annotation_throughput", measured)
    path.with_suffix(".md").write_text(page(measured, json.loads(path.read_text())))
    print(path.with_suffix(".md").read_text())


def measure(arguments: argparse.Namespace, cache: Path, url: str) -> dict[str, Any]:
    """Seconds and rates of all three."""
    asked, source = questions(arguments.count)
    first = np.arange(min(arguments.fresh, len(asked)))
    fresh = repeated(lambda: annotate(asked.part(first), cache, url), len(first), 1, warm=False)
    annotate(asked, cache, url)
    size = cache.stat().st_size / 1e6

    def replay() -> None:
        usage = annotate(asked, cache, url)
        if usage.sent or usage.cached != len(asked):
            raise RuntimeError(f"every answer must come from the cache, got {usage}")

    def plan() -> None:
        with annotator(cache, url) as one:
            usage = one.estimate(asked).usage
        if usage.sent or usage.cached != len(asked):
            raise RuntimeError(f"every call must be in the cache, got {usage}")

    replayed = repeated(replay, len(asked), arguments.repeats)
    return {
        "texts": source,
        "characters_mean": float(np.mean([len(text) for text in asked.texts])),
        "questions": len(asked),
        "bar_per_second": BAR,
        "replayed": replayed,
        "estimate": repeated(plan, len(asked), arguments.repeats),
        "fresh": fresh,
        "concurrency": AnnotatorOptions().concurrency,
        "cache_megabytes": size,
        "openai": version("openai"),
        "jinja2": version("jinja2"),
        "sqlite": sqlite3.sqlite_version,
        "priority": os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else None,
    }


def repeated(
    call: Callable[[], object], count: int, repeats: int, *, warm: bool = True
) -> dict[str, Any]:
    """Quantiles of CPU and wall seconds, and what they make per second, after one call unmeasured.

    CPU is of this process, all threads; the server's is not in it.
    """
    if warm:
        call()
    pairs = []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        pairs.append((time.process_time() - cpu, time.perf_counter() - wall))
    seconds = {
        kind: {name: float(np.quantile(column, at)) for name, at in QUANTILES.items()}
        for kind, column in zip(("cpu", "wall"), zip(*pairs, strict=True), strict=True)
    }
    rates = {f"per_second_{kind}": count / one["median"] for kind, one in seconds.items()}
    return {"count": count, "repeats": repeats, "seconds": seconds, **rates}


def annotator(cache: Path, url: str) -> EndpointAnnotator:
    """A new one, with a run of its own."""
    return EndpointAnnotator("model", url, AnnotatorOptions(cache=cache))


def annotate(asked: Questions, cache: Path, url: str) -> Usage:
    """Ask about all of them within a hard budget."""
    # calls of questions, and of probing the server once
    purse = BudgetPurse(Budget(calls=len(asked) + 1))
    with annotator(cache, url) as one:
        votes = asyncio.run(one.annotate_async(asked, purse=purse))
    if not votes.answered.all():
        raise RuntimeError(f"{int((~votes.answered).sum())} questions have no answer")
    return votes.usage


def questions(count: int) -> tuple[Questions, str]:
    """As many questions as wanted, all different, and where their texts are from."""
    texts, classes, source = texts_and_classes()
    n = len(texts)
    numbered = tuple(f"{texts[i % n]}\nCopy {i // n + 1}." for i in range(count))
    return Questions(np.arange(count) % n, numbered, classes), source


def texts_and_classes() -> tuple[tuple[str, ...], ClassList, str]:
    """Texts of Cora, else drawn words of about their length."""
    try:
        graph = text_graph("cora-texts")
    except FileNotFoundError:
        words = np.array([f"word{i}" for i in range(3_000)])
        rng = np.random.default_rng(0)
        texts = tuple(" ".join(words[rng.zipf(1.3, 150) % 3_000]) for _ in range(2_708))
        return texts, ClassList(tuple(f"class {k}" for k in range(7))), "synthetic"
    # a node without a text is not asked
    return tuple(text or "Untitled." for text in graph.texts), graph.classes, graph.name


def page(measured: dict[str, Any], record: dict[str, Any]) -> str:
    """The table as Markdown."""
    machine, versions = record["machine"], record["versions"]
    rows = [
        ("replayed from the cache", measured["replayed"]),
        ("`estimate`", measured["estimate"]),
        (f"fresh, {measured['concurrency']} at once", measured["fresh"]),
    ]
    lines = [
        "# Annotations per second",
        "",
        f"{record['date']}, {machine['processor']}, {machine['cores']} cores, Python"
        f" {versions['python']}, openai {measured['openai']}, load before {machine['load_before']},"
        f" priority {measured['priority']}. {measured['questions']:,} questions about texts of"
        f" {measured['texts']} (mean {measured['characters_mean']:.0f} characters), answers in an"
        f" SQLite cache of {measured['cache_megabytes']:.0f} MB. Bar: {BAR:,} replayed annotations"
        " per second, wall clock. Fresh answers come from a server in another process, which"
        " shares the machine; CPU seconds are the client's."
        + (DISTURBED if machine["load_before"] > machine["cores"] else ""),
        "",
        "| what | questions | repeats | wall s, median | fastest .. slowest | CPU s, median"
        " | per second, wall | per second of CPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in rows:
        wall, cpu = one["seconds"]["wall"], one["seconds"]["cpu"]
        lines.append(
            f"| {name} | {one['count']:,} | {one['repeats']} | {wall['median']:.2f}"
            f" | {wall['fastest']:.2f} .. {wall['slowest']:.2f} | {cpu['median']:.2f}"
            f" | {one['per_second_wall']:,.0f} | {one['per_second_cpu']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
