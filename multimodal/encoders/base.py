"""What an encoder offers: records in, unit vectors out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image


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
