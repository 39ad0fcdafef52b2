"""An order of samples that does not depend on how they are numbered or cut into shards."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def stable_keys(ids: Iterable[Any]) -> NDArray[np.uint64]:
    """A number per sample from its id alone: who comes first where two are equally good.

    The first 8 bytes of blake2b of the id's UTF-8 text. Row numbers would do as well within one
    run, but they change when shards are listed in another order; these do not, and they say
    nothing about what is in the sample. Two of 10^8 ids collide with probability below 0.001.

    Args:
        ids: N texts (anything else is taken as its ``str``).

    Returns:
        ``[N]`` uint64.

    Example:
        >>> keys = stable_keys(["a", "b"])
        >>> bool((keys[::-1] == stable_keys(["b", "a"])).all())
        True
    """
    digests = b"".join(
        blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in ids
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def shuffled_keys(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Keys in another order for each seed, the same whatever the numbering (splitmix64).

    Args:
        keys: ``[N]`` uint64, of `stable_keys`.
        seed: Any whole number.

    Returns:
        ``[N]`` uint64, a one-to-one map of `keys`.
    """
    # arrays, because NumPy warns of overflow in scalars though wrapping is what is wanted
    offset = (np.array([seed % 2**63], dtype=np.uint64) + np.uint64(1)) * _GOLDEN
    mixed = keys + offset
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
