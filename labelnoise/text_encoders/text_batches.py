"""Texts through a model in batches of similar length."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.unit_rows import unit_rows

# texts of a batch are padded to the longest, so more of them cost little on a GPU only
GPU_TEXTS = 256
CPU_TEXTS = 32


def text_rows(
    texts: Sequence[str],
    width: int,
    batch_size: int,
    encode: Callable[[list[str]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Unit rows ``[n, width]`` of texts; texts of similar length meet, so little is padding."""
    rows = np.empty((len(texts), width), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), batch_size):
        some = order[start : start + batch_size]
        rows[some] = encode([texts[i] for i in some])
    return unit_rows(rows)
