"""What an encoder offers: records in, unit vectors out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal.records import Record

if TYPE_CHECKING:
    from PIL.Image import Image

Precision = Literal["float32", "float16", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class EncoderSettings:
    """Where and how a model runs. None of it changes what the rows mean.

    Attributes:
        device: "cpu", "cuda", "cuda:1", "mps"; None takes the best one there is.
        precision: Of the model's arithmetic; one of `PRECISIONS`. None is float16 under autocast
            on a GPU and float32 elsewhere: half floats are slower than full ones on a CPU.
        batch_size: Records per call of the model; None is what suits the family and device.
    """

    device: str | None = None
    precision: Precision | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {self.precision!r}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


class Encoder(Protocol):
    """Either tower of a model.

    Attributes:
        key: Names model, weights and preprocessing; two encoders with one key give one answer.
        width: Length D of a row.
        space: Encoders of one space are aligned: their rows may be compared. A model without a
            partner has its own `key` here.
        batch_size: Records per call that suit the device.
    """

    key: str
    width: int
    space: str
    batch_size: int


class ImageEncoder(Encoder, Protocol):
    """Images to vectors."""

    def encode(self, images: Sequence["Image"]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of RGB images, independent of how they are batched."""
        ...


class TextEncoder(Encoder, Protocol):
    """Texts to vectors."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of non-empty texts, independent of how they are batched."""
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
