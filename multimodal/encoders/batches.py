"""Many items through an encoder: images decoded a batch at a time, equal texts encoded once."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from multimodal.encoders.base import ImageEncoder, TextEncoder
from multimodal.encoders.images import rgb_image

if TYPE_CHECKING:
    from PIL.Image import Image

Item = TypeVar("Item")

# texts looked at together, so that equal ones are encoded once and similar lengths meet
TEXTS_TOGETHER = 16384


def encode_images(
    encoder: ImageEncoder,
    images: "Iterable[bytes | Path | Image | None]",
    *,
    progress: Callable[[int], None] | None = None,
    refused: dict[int, str] | None = None,
) -> NDArray[np.float32]:
    """Unit rows of images that are decoded as they are needed.

    Args:
        encoder: Image tower.
        images: Encoded files, paths or open images; only `encoder.batch_size` decoded ones are
            held at once. None: there is none.
        progress: Called with the number of items done.
        refused: Takes the number of each image that cannot be decoded, with the reason; its row
            is zero. None: such an image is an error.

    Returns:
        ``[n, D]``; zero rows for None and for refused images.

    Raises:
        ValueError: An image cannot be decoded, and `refused` is None.
    """
    blocks, done = [np.empty((0, encoder.width), np.float32)], 0
    for batch in _batches(images, encoder.batch_size):
        rows = np.zeros((len(batch), encoder.width), np.float32)
        places, decoded = [], []
        for i, source in enumerate(batch):
            if source is None:
                continue
            try:
                decoded.append(rgb_image(source))
            except ValueError as error:
                if refused is None:
                    raise ValueError(f"image {done + i}: {error}") from error
                refused[done + i] = str(error)
            else:
                places.append(i)
        if places:
            rows[places] = encoder.encode(decoded)
        blocks.append(rows)
        done += len(batch)
        if progress is not None:
            progress(done)
    return np.concatenate(blocks)


def encode_texts(
    encoder: TextEncoder,
    texts: Iterable[str | None],
    *,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Unit rows of texts; equal texts get the same row, bit by bit.

    Args:
        encoder: Text tower.
        texts: None or empty: there is none.
        progress: Called with the number of items done.

    Returns:
        ``[n, D]``; zero rows where there is no text.
    """
    blocks, done = [np.empty((0, encoder.width), np.float32)], 0
    for batch in _batches(texts, TEXTS_TOGETHER):
        different = sorted({text for text in batch if text}, key=lambda text: (len(text), text))
        number = {text: i for i, text in enumerate(different)}
        # the last row is that of no text
        table = np.zeros((len(different) + 1, encoder.width), np.float32)
        for start in range(0, len(different), encoder.batch_size):
            some = different[start : start + encoder.batch_size]
            table[start : start + len(some)] = encoder.encode(some)
        blocks.append(table[[number[text] if text else -1 for text in batch]])
        done += len(batch)
        if progress is not None:
            progress(done)
    return np.concatenate(blocks)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch
