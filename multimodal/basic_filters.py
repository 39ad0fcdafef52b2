"""DataComp's basic filters: captions long enough, images neither small nor long and thin."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class BasicFilters:
    """What a record must have; the defaults are DataComp's.

    Attributes:
        words: Fewest words of the caption, split at white space.
        characters: The caption must have more than so many.
        side: Fewest pixels of the shorter side.
        aspect: Largest ratio of the longer to the shorter side.

    Source: DataComp, NeurIPS 2023. Its language filter is not among them.
    """

    words: int = 3
    characters: int = 5
    side: int = 200
    aspect: float = 3.0

    def captions(self, captions: Sequence[str]) -> NDArray[np.bool_]:
        """Which captions are long enough ``[N]``.

        Example:
            >>> BasicFilters().captions(["a red shoe", "a b", "a b c"]).tolist()
            [True, False, False]
        """
        stripped = (caption.strip() for caption in captions)
        return np.array(
            [len(one.split()) >= self.words and len(one) > self.characters for one in stripped],
            dtype=bool,
        )

    def images(self, widths: ArrayLike, heights: ArrayLike) -> NDArray[np.bool_]:
        """Which images are large and compact enough ``[N]``.

        Args:
            widths: Pixels ``[N]``.
            heights: Pixels ``[N]``.

        Example:
            >>> BasicFilters().images([200, 199, 601], [600, 300, 200]).tolist()
            [True, False, False]
        """
        wide, high = np.asarray(widths, np.float64), np.asarray(heights, np.float64)
        shorter, longer = np.minimum(wide, high), np.maximum(wide, high)
        kept: NDArray[np.bool_] = (shorter >= self.side) & (longer <= self.aspect * shorter)
        return kept & (shorter > 0)
