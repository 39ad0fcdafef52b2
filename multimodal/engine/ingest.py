"""Step: read the records of a shard once; check, decode and embed their images on the way."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.atomic_files import write_json
from multimodal.corpus.images import ImageError, check_hygiene, decode_image
from multimodal.encoders.base import ImageEncoder, PrecomputedEncoder
from multimodal.encoders.cache import ContentDigest, EmbeddingCache
from multimodal.engine.context import StepContext
from multimodal.engine.job import CleaningJob, Role
from multimodal.engine.vectors import batched, joined, save_cached, save_rows
from multimodal.records import TEXT_FIELDS, Problem, Record
from multimodal.run_folder import read_json, write_table

if TYPE_CHECKING:
    from PIL.Image import Image

# records looked at together; decoded images wait no longer than this many pixels (130 MB)
TOGETHER = 256
WAITING_PIXELS = 2**25
RAW = ".raw.parquet"
HINT = ".hint.json"


@dataclass
class _Pass:
    """What one pass over a shard has collected.

    Attributes:
        raw: Columns of the records as they are.
        digest: Over the images of the sound ones.
        blocks: Role -> rows of the sound ones, in order.
    """

    raw: dict[str, list[Any]] = field(default_factory=dict)
    digest: ContentDigest = field(default_factory=ContentDigest)
    blocks: dict[Role, list[NDArray[np.float32]]] = field(default_factory=dict)

    def add(self, record: Record, problem: Problem | None) -> None:
        """Take a record."""
        row = {
            "source_id": record.id, "image": record.image_name, "labels": list(record.labels),
            "problem": problem.code if problem else None,
            "detail": problem.detail if problem else "",
            **{name: record.texts.get(name) or None for name in TEXT_FIELDS},
        }  # fmt: skip
        for name, value in row.items():
            self.raw.setdefault(name, []).append(value)
        if problem is None:
            self.digest.add(record.image)


def ingest(context: StepContext, unit: str) -> Mapping[str, Any]:
    """Write the raw texts and labels of all records, and rows of the sound images.

    Files: ``.raw.parquet`` one line per record; ``.image.npy``, ``.early.npy``, and ``.text.npy``
    where it is looked up: one row ``[n_sound, D]`` per record without a problem.
    """
    job: CleaningJob = context.job
    modelled: list[Role] = [role for role in ("image", "early") if job.encodes(role)]
    hint = _hint(context, modelled)
    done = _one_pass(context, [] if hint else modelled)
    if hint not in (None, done.digest.hexdigest()):
        done = _one_pass(context, modelled)  # the cache holds another content
    write_raw(context, done.raw)
    problems = Counter(code for code in done.raw.get("problem", ()) if code)
    stats: dict[str, Any] = {
        "rows": len(done.raw.get("source_id", ())), "problems": dict(sorted(problems.items())),
    }  # fmt: skip
    for role in (*modelled, *job.roles_looked_up):
        cached = _save(context, role, done)
        encoder = job.encoder(role)
        stats[role] = {"key": encoder.key, "space": encoder.space, "from_cache": cached}
    _remember(context, modelled, done.digest.hexdigest())
    return stats


def write_raw(context: StepContext, raw: Mapping[str, list[Any]]) -> None:
    """Write the records as they are."""
    import pyarrow as pa

    text = pa.string()
    names = ("source_id", "image", "problem", "detail", *TEXT_FIELDS)
    schema = pa.schema([*((name, text) for name in names), ("labels", pa.list_(text))])
    columns = {name: raw.get(name, []) for name in schema.names}
    with context.output(RAW) as path:
        write_table(pa.table(columns, schema=schema), path)


def _one_pass(context: StepContext, modelled: list[Role]) -> _Pass:
    """Read all records; run the models of these roles over their images."""
    job: CleaningJob = context.job
    looked_up = job.roles_looked_up
    done = _Pass(blocks={role: [] for role in (*modelled, *looked_up)})
    for together in batched(context.shard.records(), TOGETHER):
        waiting = _Waiting(job, modelled, done)
        problems: list[Problem | None] = []
        rows = {role: _looked_up(job, role, together) for role in looked_up}
        for number, record in enumerate(together):
            image, problem = image_of(record, job)
            if problem is None and "image" in rows and not rows["image"][1][number]:
                problem = Problem("embedding_missing", job.encoders["image"])
            done.add(record, problem)
            problems.append(problem)
            if problem is None:
                waiting.take(image)
        waiting.flush()
        sound = np.array([problem is None for problem in problems], np.bool_)
        for role, (found, _) in rows.items():
            done.blocks[role].append(found[sound])
    return done


def image_of(record: Record, job: CleaningJob) -> tuple["Image | None", Problem | None]:
    """The decoded image of a record if it has one, or what is wrong with the record."""
    problem, wanted = record.problem, job.encodes("image") or job.encodes("early")
    if problem is not None and problem.code == "image_missing" and not wanted:
        problem = None  # nobody will look at it
    if problem is not None:
        return None, problem
    if record.image is None:
        return None, Problem("image_missing", record.image_name) if wanted else None
    try:
        image = decode_image(record.image, job.limits)
    except ImageError as error:
        return None, error.problem
    return image, None if job.hygiene is None else check_hygiene(image, job.hygiene)


class _Waiting:
    """Decoded images on their way to the models."""

    def __init__(self, job: CleaningJob, modelled: list[Role], done: _Pass) -> None:
        self._job, self._roles, self._done = job, modelled, done
        self._images: list[Image] = []
        self._pixels = 0

    def take(self, image: "Image | None") -> None:
        if not self._roles or image is None:
            return
        self._images.append(image)
        self._pixels += image.width * image.height
        if self._pixels >= WAITING_PIXELS:
            self.flush()

    def flush(self) -> None:
        for role in self._roles if self._images else ():
            encoder: ImageEncoder = self._job.encoder(role)  # type: ignore[assignment]
            for some in batched(self._images, encoder.batch_size):
                self._done.blocks[role].append(encoder.encode(some))
        self._images, self._pixels = [], 0


def _looked_up(
    job: CleaningJob, role: Role, records: tuple[Record, ...]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    encoder: PrecomputedEncoder = job.encoder(role)  # type: ignore[assignment]
    try:
        return encoder.lookup(records)
    except ValueError:
        if any(record.problem is None for record in records):
            raise
        # only broken records: no row says how long rows are, and none is needed
        return np.zeros((len(records), 0), np.float32), np.zeros(len(records), np.bool_)


def _save(context: StepContext, role: Role, done: _Pass) -> bool:
    blocks = [block for block in done.blocks.get(role, ()) if block.size]
    if context.job.looks_up(role):
        save_rows(context, role, joined(blocks, 0))
        return False
    encoder: ImageEncoder = context.job.encoder(role)
    digest = done.digest.hexdigest()
    return save_cached(context, role, encoder.key, digest, lambda: joined(blocks, encoder.width))


def _hints(context: StepContext, modelled: list[Role]) -> Iterator[Any]:
    """(file that says which content a shard had, key) per model."""
    cache, shard = context.job.hardware.cache, context.shard
    for role in modelled if cache is not None else ():
        key = context.job.encoder(role).key
        yield cache / key / (f"{shard.fingerprint()[:40]}{HINT}"), key


def _hint(context: StepContext, modelled: list[Role]) -> str | None:
    """Digest of the images of this shard if, as far as anyone knows, all models have seen them."""
    found = set()
    for path, key in _hints(context, modelled):
        try:
            digest = str((read_json(path) or {})["digest"])
        except (KeyError, ValueError):
            return None
        if EmbeddingCache(context.job.hardware.cache).get(key, digest) is None:
            return None
        found.add(digest)
    return found.pop() if len(found) == 1 else None


def _remember(context: StepContext, modelled: list[Role], digest: str) -> None:
    for path, _ in _hints(context, modelled):
        write_json(path, {"digest": digest})
