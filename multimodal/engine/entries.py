"""Which pair each row of an audit is about, where a method judges every label of a pair by itself.

Such a method names its rows by the pair's id and something behind it, and leaves the rows of a pair
together, in the order of the pairs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pairs_of_entries(entries: Sequence[str], pairs: Sequence[str]) -> NDArray[np.int64]:
    """Number ``[M]``, never falling, of the pair that each entry is about.

    Args:
        entries: Ids ``[M]``, each beginning with the id of its pair; of several such pairs it is
            the one with the longest id.
        pairs: Ids ``[N]``, unique. Some may have no entry.

    Raises:
        ValueError: An entry belongs to no pair, or stands before one of an earlier pair.

    Example:
        >>> pairs_of_entries(["7/cat", "7/dog", "71/cat"], ["7", "9", "71"]).tolist()
        [0, 0, 2]
    """
    number = {pair: position for position, pair in enumerate(pairs)}
    found, last = np.empty(len(entries), np.int64), 0
    for row, entry in enumerate(entries):
        cuts = range(len(entry), 0, -1)
        at = next((number[entry[:cut]] for cut in cuts if entry[:cut] in number), None)
        if at is None:
            raise ValueError(f"row {entry!r} of the audit belongs to no pair")
        if at < last:
            raise ValueError(f"row {entry!r} of the audit is out of the order of the pairs")
        found[row] = last = at
    return found
