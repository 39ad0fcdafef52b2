"""Training, validation and test nodes drawn per class."""

import numpy as np
from numpy.typing import NDArray

# apart from the noise drawn with the same seed, whose stream starts from the bare number
STREAM = 20_081


def fixed_counts_split(
    labels: NDArray[np.int64],
    *,
    seed: int,
    n_train: int = 20,
    n_validation: int = 500,
    n_test: int = 1000,
) -> dict[str, NDArray[np.bool_]]:
    """A number of training nodes per class, then validation and test from all the others.

    A class with fewer nodes gives all of them; where too few are left, validation is filled first.

    Args:
        labels: ``[N]`` in ``0 .. K-1``.
        seed: Of the draw (legacy NumPy stream: the same on every machine).
        n_train: Per class.
        n_validation: Over all classes.
        n_test: Over all classes.

    Returns:
        Masks ``[N]`` for "train", "validation", "test".

    Source:
        Shchur et al., arXiv 1811.05868, with the sizes of NoisyGL (arXiv 2406.04299).
    """
    rng = np.random.RandomState([STREAM, seed])
    train = _per_class(labels, np.ones(len(labels), bool), n_train, rng)
    rest = rng.permutation(np.flatnonzero(~train))
    return {
        "train": train,
        "validation": _mask(rest[:n_validation], len(labels)),
        "test": _mask(rest[n_validation : n_validation + n_test], len(labels)),
    }


def per_class_split(
    labels: NDArray[np.int64], *, seed: int, n_train: int = 20, n_validation: int = 30
) -> dict[str, NDArray[np.bool_]]:
    """Training and validation nodes per class, all others for the test.

    Args:
        labels: ``[N]`` in ``0 .. K-1``.
        seed: Of the draw.
        n_train: Per class; a smaller class gives all its nodes.
        n_validation: Per class, from what is left.

    Source:
        The split of CoraFull in the ERASE paper (arXiv 2312.08852).
    """
    rng = np.random.RandomState([STREAM, seed])
    train = _per_class(labels, np.ones(len(labels), bool), n_train, rng)
    validation = _per_class(labels, ~train, n_validation, rng)
    return {"train": train, "validation": validation, "test": ~(train | validation)}


def _per_class(
    labels: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    n_nodes: int,
    rng: np.random.RandomState,
) -> NDArray[np.bool_]:
    chosen = [
        rng.permutation(np.flatnonzero(allowed & (labels == label)))[:n_nodes]
        for label in np.unique(labels)
    ]
    return _mask(np.concatenate(chosen), len(labels))


def _mask(nodes: NDArray[np.int64], n_nodes: int) -> NDArray[np.bool_]:
    mask = np.zeros(n_nodes, bool)
    mask[nodes] = True
    return mask
