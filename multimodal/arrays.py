"""`clean_embeddings`: any cleaning method over arrays that are already there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelnoise.audit import NO_LABEL, LabelAudit
from labelnoise.text_encoders.unit_rows import unit_rows
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import CleaningMethod
from multimodal.methods.configured import configured
from multimodal.rows import Rows


def clean_embeddings(
    image: ArrayLike | Rows,
    labels: ArrayLike,
    *,
    class_names: Sequence[str],
    text: ArrayLike | Rows | None = None,
    class_texts: ArrayLike | None = None,
    aligned: bool = False,
    method: str | CleaningMethod = "capro",
    settings: Mapping[str, Any] | Sequence[str] = (),
    seed: int = 0,
    ids: ArrayLike | None = None,
) -> LabelAudit:
    """Judge labels over embeddings: no files, no encoders, no command line.

    Args:
        image: Image embeddings ``[N, D]`` of any length; or `Rows` of unit length, which may be
            larger than memory.
        labels: Class of each image ``[N]``: numbers in ``0 .. K - 1`` and -1 for none, or names of
            `class_names` and "" for none.
        class_names: K names.
        text: Text embeddings ``[N, E]``, zeros where there is no text; or unit `Rows`; or None, for
            methods that need none.
        class_texts: Embeddings of what the classes are called ``[K, E]``, of the model of `text`.
        aligned: Whether images and texts come from one model with one space, such as CLIP.
        method: Name in `multimodal.CLEANING_METHODS`, or a method.
        settings: Of the method: name -> value, or texts ``name=value``.
        seed: Of the method.
        ids: Unique ids ``[N]``; row numbers by default. They also decide ties and folds: with the
            same ids, the order of the rows changes nothing.

    Returns:
        The audit, in the order of the rows.

    Raises:
        ValueError: Shapes disagree, a number is not finite, a label is unknown, an id repeats, or
            the method lacks what it needs.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(300) % 3
        >>> images = np.eye(3)[labels] + 0.1 * rng.normal(size=(300, 3))
        >>> labels[0] = 1
        >>> audit = clean_embeddings(images, labels, class_names="abc", method="neighbour_vote")
        >>> str(audit.verdict[0]), audit.class_names[audit.label[0]]
        ('relabel', 'a')
    """
    judge = configured(method, settings)
    names = tuple(class_names)
    rows = _rows("image", image)
    texts = None if text is None else _rows("text", text)
    class_rows = None if class_texts is None else _unit("class_texts", class_texts)
    corpus = EmbeddedCorpus(
        ids=_ids(ids, len(rows)),
        given=class_numbers(labels, names),
        class_names=names,
        image=rows,
        text=texts,
        class_texts=class_rows,
        aligned=aligned,
    )
    return judge.judge(corpus, seed=seed)


def class_numbers(labels: ArrayLike, class_names: tuple[str, ...]) -> NDArray[np.int64]:
    """Labels ``[N]`` as numbers; -1 for -1, "" and None.

    Raises:
        ValueError: A label is no number and no name of a class.
    """
    given = np.asarray(labels)
    if given.ndim != 1:
        raise ValueError(f"labels must be [N], got {list(given.shape)}")
    if given.dtype.kind in "iu":
        return given.astype(np.int64)
    number: dict[Any, int] = {name: place for place, name in enumerate(class_names)}
    number |= {"": NO_LABEL, None: NO_LABEL}
    try:
        return np.array([number[label] for label in given.tolist()], np.int64)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"labels must be whole numbers or names of classes, got {error.args[0]!r}"
        ) from None


def _rows(name: str, matrix: ArrayLike | Rows) -> Rows:
    return matrix if isinstance(matrix, Rows) else Rows([_unit(name, matrix)])


def _unit(name: str, matrix: ArrayLike) -> NDArray[np.float32]:
    array = np.asarray(matrix)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be numbers [n, d], got {array.dtype} {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return unit_rows(np.ascontiguousarray(array))


def _ids(ids: ArrayLike | None, n_rows: int) -> NDArray[np.str_]:
    found = np.asarray(np.arange(n_rows) if ids is None else ids).astype(np.str_)
    if found.shape != (n_rows,) or len(np.unique(found)) < n_rows:
        raise ValueError(f"ids must be {n_rows} unique ones, one per row, got {found.shape}")
    return found
