"""What a run will need, before it begins: rows, memory, disk and time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any

from multimodal.cleaning_request import CleaningRequest
from multimodal.engine.job import CleaningJob, Hardware, Role
from multimodal.records import Record

MEGABYTE = 2**20
# resident memory of a worker without a model, and what a model adds to its weights (measured)
WORKER = 250 * MEGABYTE
MODEL = 900 * MEGABYTE
# decoded images that wait, encoded ones, texts of a shard
READING = 400 * MEGABYTE
# ids, labels, verdicts and evidence of a row while a method judges
BYTES_PER_ROW = 600
# a flat index of neighbours holds float32 rows
BYTES_PER_NUMBER = 4
# widths before any row was seen; the usual ones
WIDTH: Mapping[Role, int] = {"image": 768, "text": 512, "early": 768}
ROWS_LOOKED_AT = 32
# of the tables, and of work/, beside the vectors
DISK_PER_ROW = 700
# rows a worker reads, decodes and checks in a second (2 cores, photos of 100 kB)
READ_PER_SECOND = 150.0


@dataclass(frozen=True)
class Estimate:
    """What a run will need.

    Attributes:
        rows: Records; of the first shard times the shards, unless known.
        shards: Shards.
        exact: Whether the rows are counted rather than estimated.
        parts: What needs memory -> bytes; those of "workers" and of "judging" are not needed at
            the same time.
        memory: Bytes at the peak.
        disk: Bytes in the output folder.
        seconds: Of the whole run, or None where nothing was measured.
        advice: What to change if the memory does not do.
        speeds: Encoder role -> records per second of one worker, where measured.
    """

    rows: int
    shards: int
    exact: bool
    parts: dict[str, int]
    disk: int
    seconds: float | None
    advice: str
    speeds: dict[Role, float]

    @property
    def memory(self) -> int:
        """Bytes at the peak."""
        return max(self.parts.values())

    @property
    def largest(self) -> str:
        """What needs most memory."""
        return max(self.parts, key=lambda name: self.parts[name])


def estimate(request: CleaningRequest, workers: int, *, measure: bool = False) -> Estimate:
    """Estimate a run; reads the first shard's records, but no more.

    A method may say by a function ``memory(rows, classes, widths) -> int`` what it needs beside
    the vectors' files; else room for ids, labels, evidence and a flat index of one role is taken.

    Args:
        request: What is asked for.
        workers: Number of processes.
        measure: Load the encoders and time them on a few records.
    """
    job = request.job(Hardware())
    shards = request.corpus.shards
    widths, speeds = dict(WIDTH), dict[Role, float]()
    records = iter(shards[0].records())
    some = list(islice(records, ROWS_LOOKED_AT))
    first = len(some) + sum(1 for _ in records)
    rows = first * len(shards)
    if measure:
        widths, speeds = _measured(job, some)
    used = {role: widths[role] for role in job.encoders}
    judging = _judging_memory(request, rows, used)
    models = sum(job.encodes(role) for role in job.encoders)
    parts = {
        "workers": workers * (WORKER + READING + models * MODEL),
        "judging": WORKER + judging,
    }
    return Estimate(
        rows=rows,
        shards=len(shards),
        exact=len(shards) == 1,
        parts=parts,
        disk=rows * (2 * sum(used.values()) + DISK_PER_ROW),
        seconds=_seconds(rows, workers, speeds) if measure else None,
        advice=(
            f"use fewer workers than {workers}"
            if parts["workers"] >= parts["judging"]
            else "clean the corpus in parts, or take narrower vectors"
        ),
        speeds=speeds,
    )


def _judging_memory(request: CleaningRequest, rows: int, widths: dict[Role, int]) -> int:
    own = getattr(request.judge, "memory", None)
    if own is not None:
        return int(own(rows, len(request.class_list), widths))
    widest = max(widths.values(), default=0)
    return rows * (BYTES_PER_ROW + BYTES_PER_NUMBER * widest)


def _seconds(rows: int, workers: int, speeds: dict[Role, float]) -> float:
    per_row = 1 / READ_PER_SECOND + sum(1 / speed for speed in speeds.values())
    return rows * per_row / workers


def _measured(job: CleaningJob, records: list[Record]) -> tuple[dict[Role, int], dict[Role, float]]:
    """Widths of all encoders, and records per second of those that compute."""
    from multimodal.engine.ingest import image_of
    from multimodal.text_cleaning import clean_text

    images = [image for record in records if (image := image_of(record, job)[0]) is not None]
    texts = [text for record in records if (text := clean_text(record.texts, job.cleaning))]
    widths, speeds = dict(WIDTH), dict[Role, float]()
    for role in job.encoders:
        encoder: Any = job.encoder(role)
        if job.looks_up(role):
            widths[role] = encoder.lookup(records)[0].shape[1]
            continue
        widths[role] = encoder.width
        items = texts if role == "text" else images
        if items:
            speeds[role] = len(items) / _timed(encoder, items)
    return widths, speeds


def _timed(encoder: Any, items: list[Any]) -> float:
    def batches() -> Iterator[list[Any]]:
        for start in range(0, len(items), encoder.batch_size):
            yield items[start : start + encoder.batch_size]

    encoder.encode(items[:1])  # what is made on first use does not count
    started = perf_counter()
    for batch in batches():
        encoder.encode(batch)
    return perf_counter() - started
