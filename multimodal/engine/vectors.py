"""Rows of vectors collected batch by batch and left as a file, or taken from the shared cache."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from multimodal.engine.context import StepContext

Item = TypeVar("Item")

# half floats keep unit rows to 2.5e-4 of an entry and halve disk and reading
STORED = np.float16


def save_rows(context: StepContext, role: str, rows: NDArray[Any], **options: Any) -> None:
    """Write rows ``[n, D]`` as ``UNIT.ROLE.npy``."""
    with context.output(f".{role}.npy", **options) as path, path.open("wb") as file:
        np.save(file, np.asarray(rows, STORED), allow_pickle=False)


def save_cached(
    context: StepContext,
    role: str,
    key: str,
    digest: str,
    make: Callable[[], NDArray[np.float32]],
) -> bool:
    """Write rows as `save_rows`, from the cache of the job where there is one and they are in it.

    Args:
        context: Of the step.
        role: Of the rows.
        key: Of the encoder.
        digest: Of what is encoded.
        make: Encodes; called only where nothing is cached.

    Returns:
        Whether they came from the cache.
    """
    folder = context.job.hardware.cache
    if folder is None:
        save_rows(context, role, make())
        return False
    from multimodal.encoders.cache import EmbeddingCache

    cache = EmbeddingCache(folder, storage="float16")
    found = cache.get(key, digest)
    path = found or cache.put(key, digest, make())
    with context.output(f".{role}.npy") as target:
        _link(path, target)
    return found is not None


def batched(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Items in tuples of `size`, the last one shorter (Python 3.12 has this)."""
    stream = iter(items)
    while some := tuple(islice(stream, size)):
        yield some


def joined(blocks: Sequence[NDArray[Any]], width: int) -> NDArray[Any]:
    """Blocks ``[n_i, D]`` as one; no block at all is ``[0, width]``."""
    return np.concatenate(blocks) if blocks else np.empty((0, width), STORED)


def _link(path: Path, target: Path) -> None:
    """The same file under another name where the disk can do that, else a copy."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
