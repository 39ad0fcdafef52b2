"""What a text encoder offers: texts in, unit vectors out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

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


class TextEncoder(Encoder, Protocol):
    """Texts to vectors."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of non-empty texts, independent of how they are batched."""
        ...
