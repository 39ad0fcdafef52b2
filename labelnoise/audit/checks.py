"""What must hold for a label audit; each broken rule is one error that names the first bad row."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

VERDICTS = ("keep", "relabel", "reject", "abstain")
NO_LABEL = -1
COLUMNS = ("id", "given", "verdict", "label", "quality", "reason")
# a float32 softmax over thousands of classes adds up to 1 only this closely
ROW_SUM_TOLERANCE = 1e-3


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A view of `array` that cannot be written through."""
    view = array.view()
    view.setflags(write=False)
    return view


def checked_ids(ids: ArrayLike) -> NDArray[Any]:
    """Ids ``[N]`` as int64 or fixed-width text, unique."""
    array = np.asarray(ids)
    if array.ndim != 1:
        raise ValueError(f"ids must be [N], got shape {array.shape}")
    if array.dtype.kind in "iu" or (array.size == 0 and array.dtype.kind == "f"):
        array = array.astype(np.int64)
    elif array.dtype.kind in "OUT" and all(isinstance(one, str) for one in array):
        array = array.astype(np.str_)
    else:
        raise ValueError(f"ids must be int64 or str, got {array.dtype}")
    unique, first = np.unique(array, return_index=True)
    if len(unique) < len(array):
        repeated = array[np.setdiff1d(np.arange(len(array)), first)[0]]
        raise ValueError(f"ids must be unique, found {repeated.item()!r} more than once")
    return frozen(array)


def checked_classes(
    name: str, labels: ArrayLike, ids: NDArray[Any], n_classes: int
) -> NDArray[np.int64]:
    """Class numbers ``[N]`` in ``-1 .. n_classes - 1`` as int64."""
    array = np.asarray(labels)
    _check_length(name, array, len(ids))
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers, got {array.dtype}")
    array = array.astype(np.int64)
    bad = (array < NO_LABEL) | (array >= n_classes)
    _refuse(bad, ids, array, f"{name} must lie in {NO_LABEL} .. {n_classes - 1}")
    return frozen(array)


def checked_codes(name: str, codes: ArrayLike, ids: NDArray[Any], allowed: Any) -> NDArray[np.str_]:
    """Text codes ``[N]``, each one of `allowed`."""
    array = np.asarray(codes).astype(np.str_)
    _check_length(name, array, len(ids))
    _refuse(
        ~np.isin(array, list(allowed)), ids, array, f"{name} must be one of {list(allowed)[:20]}"
    )
    return frozen(array)


def checked_quality(quality: ArrayLike, ids: NDArray[Any]) -> NDArray[Any]:
    """Quality ``[N]`` in 0 .. 1, a float dtype that is kept."""
    array = _as_float("quality", quality, len(ids))
    _refuse(~((array >= 0) & (array <= 1)), ids, array, "quality must lie in 0 .. 1")
    return frozen(array)


def checked_evidence(
    evidence: Mapping[str, ArrayLike], ids: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Named float columns ``[N]``; NaN says that there was no such evidence."""
    for name in evidence:
        if name in COLUMNS or not name:
            raise ValueError(f"evidence must not use the column name {name!r}")
    return {name: frozen(_as_float(name, column, len(ids))) for name, column in evidence.items()}


def check_verdicts(
    verdict: NDArray[np.str_], given: NDArray[Any], label: NDArray[Any], ids: NDArray[Any]
) -> None:
    """Raise ValueError unless every verdict and its label say the same thing."""
    keep, relabel = verdict == "keep", verdict == "relabel"
    dropped = ~(keep | relabel)
    _refuse(keep & ((label != given) | (given == NO_LABEL)), ids, label, "keep needs label = given")
    _refuse(relabel & (label == NO_LABEL), ids, label, "relabel needs a label")
    _refuse(relabel & (label == given), ids, label, "relabel needs a label other than given")
    _refuse(dropped & (label != NO_LABEL), ids, label, f"reject and abstain need label {NO_LABEL}")


def checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Class names, unique text."""
    names = tuple(class_names)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names must be text, got {names[:5]}")
    if len(set(names)) < len(names):
        raise ValueError("class_names must be unique")
    return tuple(str(name) for name in names)


def checked_transition(transition: ArrayLike | None, n_classes: int) -> NDArray[np.float64] | None:
    """Rows P(given = j | true = i) ``[K, K]`` float64 that each add up to 1."""
    if transition is None:
        return None
    matrix = np.array(transition, dtype=np.float64)
    if matrix.shape != (n_classes, n_classes):
        raise ValueError(f"transition must be [{n_classes}, {n_classes}], got {matrix.shape}")
    sums_wrong = np.abs(matrix.sum(axis=1) - 1) > ROW_SUM_TOLERANCE
    if not np.isfinite(matrix).all() or (matrix < 0).any() or sums_wrong.any():
        raise ValueError("transition needs non-negative rows that each add up to 1")
    return frozen(matrix)


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as plain JSON values (tuples become lists)."""
    try:
        return json.loads(json.dumps(dict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings must be JSON values: {error}") from None


def _as_float(name: str, values: ArrayLike, length: int) -> NDArray[Any]:
    array = np.asarray(values)
    _check_length(name, array, length)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, got {array.dtype}")
    return array if array.dtype in (np.float16, np.float32) else array.astype(np.float64)


def _check_length(name: str, array: NDArray[Any], length: int) -> None:
    if array.shape != (length,):
        raise ValueError(f"{name} must be [{length}] like ids, got {array.shape}")


def _refuse(bad: NDArray[np.bool_], ids: NDArray[Any], values: NDArray[Any], rule: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        row = rows[0]
        raise ValueError(
            f"{rule}, found {values[row].item()!r} at id {ids[row].item()!r} ({len(rows)} such)"
        )
