"""What an encoder offers: records in, unit vectors out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.base import (
    PRECISIONS,
    Encoder,
    EncoderSettings,
    Precision,
    TextEncoder,
)
from multimodal.records import Record

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "PRECISIONS",
    "Encoder",
    "EncoderSettings",
    "Family",
    "ImageEncoder",
    "Precision",
    "PrecomputedEncoder",
    "TextEncoder",
]


class ImageEncoder(Encoder, Protocol):
    """Images to vectors."""

    def encode(self, images: Sequence["Image"]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of RGB images, independent of how they are batched."""
        ...


class PrecomputedEncoder(Protocol):
    """Rows someone else computed: looked up, never encoded, so they need no cache.

    `multimodal.encoders.make_image_encoder` and `make_text_encoder` return one for the families
    ``column`` and ``file``; tell it from a model by its `lookup` (`is_precomputed`).

    Attributes:
        key: Names the column, or the content of the file.
        space: As of `Encoder`: what follows ``#`` in the spec, else the `key`.
    """

    @property
    def key(self) -> str:
        """Names the rows."""
        ...

    @property
    def space(self) -> str:
        """Rows of one space may be compared."""
        ...

    def lookup(self, records: Sequence[Record]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Unit rows ``[n, D]`` of the records, and which of them were found ``[n]``.

        A row not found, or without a direction (all zero, not finite), is zero and not found. D
        is 0 as long as no record has shown a row of the column.

        Raises:
            ValueError: Rows of different lengths.
        """
        ...


@dataclass(frozen=True)
class Family:
    """The encoders of one kind of model; what `multimodal.encoders.ENCODERS` names.

    Attributes:
        image: Builds an image encoder from (what follows ``FAMILY:`` in the spec, settings);
            None: the family has no images.
        text: Likewise for texts.
    """

    image: "Callable[[str, EncoderSettings], ImageEncoder | PrecomputedEncoder] | None" = None
    text: "Callable[[str, EncoderSettings], TextEncoder | PrecomputedEncoder] | None" = None
