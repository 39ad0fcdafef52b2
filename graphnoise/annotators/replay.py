"""Recorded answers from a file, asked and counted like a real annotator."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.array_files import opened_arrays
from graphnoise.annotators.base import ABSTAIN, Estimate, Progress, Purse, Questions, Usage, Votes
from graphnoise.annotators.counting import count_calls, refusals
from graphnoise.annotators.options import AnnotatorOptions, AnnotatorSpec
from graphnoise.text_graph import TextGraph
from labelnoise.class_list import ClassList

# measured nowhere: stated once and kept (`llm_annotation.md`: 1/2/3/4+ distinct classes)
LIST_CONFIDENCE = (0.90, 0.75, 0.60, 0.50)
# of what the first class leaves: share that goes to classes the answer does not list
UNLISTED_SHARE = 0.2
# arrays and keys that are looked for where none is named
KEYS = ("ranked", "gpt35_topk", "topk")
NODE = "node"


class ReplayAnnotator:
    """Answers of an LLM that were written down: node -> ranked classes.

    Repeats within a list are dropped. The confidence c is read off the number L of distinct
    classes listed. The soft label puts c on the first class; of the rest, .8 goes in equal parts
    to the other listed classes and .2 in equal parts to all classes but the first (all of it
    where only one class is listed).

    Args:
        path: ``.npz`` with an array ``[N, R]`` of class numbers, -1 behind the last; and
            `classes`, the names they number, where it has them. ``.csv`` with the columns node,
            rank1, rank2, ... ``.jsonl`` with the keys node and `ranked`, a list. Classes of the
            last two by name or number. Nothing else in the file is read.
        key: Name of the array or JSON key; None takes the first there is of `KEYS`, or the only
            array of whole numbers with two dimensions.
        list_confidence: Of lists with 1, 2, ... distinct classes; the last holds for longer ones.

    Raises:
        ValueError: Another suffix, or no such array; names the file.
        OSError: The file cannot be read.
    """

    name = "replay"

    def __init__(
        self,
        path: str | Path,
        *,
        key: str | None = None,
        list_confidence: Sequence[float] = LIST_CONFIDENCE,
    ) -> None:
        self.path = Path(path)
        readers = {".npz": _read_arrays, ".csv": _read_table, ".jsonl": _read_lines}
        if self.path.suffix.lower() not in readers:
            raise ValueError(f"{self.path}: recorded answers must be one of {list(readers)}")
        if not list_confidence or not all(0 < share <= 1 for share in list_confidence):
            raise ValueError(f"list_confidence must be numbers in (0, 1], got {list_confidence}")
        with self.path.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.key, self._recorded = readers[self.path.suffix.lower()](self.path, key)
        self.list_confidence = tuple(float(share) for share in list_confidence)
        self._ranked: tuple[ClassList, Mapping[int, tuple[int, ...]]] | None = None

    @classmethod
    def from_spec(
        cls, spec: AnnotatorSpec, options: AnnotatorOptions, graph: TextGraph | None
    ) -> "ReplayAnnotator":
        """``replay:FILE`` or ``replay:FILE#KEY``."""
        path, _, key = spec.argument.rpartition("#")
        if not path or Path(spec.argument).is_file():
            path, key = spec.argument, ""
        made = cls(path, key=key or None, list_confidence=options.list_confidence)
        if graph is not None and made.path.suffix == ".npz" and len(made) != graph.n_nodes:
            raise ValueError(
                f"{path}: records {len(made)} nodes, the graph has {graph.n_nodes}: positions"
                " would not mean the same nodes"
            )
        return made

    def __len__(self) -> int:
        return len(self._recorded)

    def settings(self) -> Mapping[str, Any]:
        """File by content, key and confidences."""
        return {
            "annotator": self.name,
            "file": self.path.name,
            "sha256": self.sha256,
            "key": self.key,
            "list_confidence": list(self.list_confidence),
            "unlisted_share": UNLISTED_SHARE,
        }

    def estimate(self, questions: Questions) -> Estimate:
        """Calls, all of them recorded."""
        return Estimate(Usage(calls=len(questions), samples=len(questions)), "recorded answers")

    def annotate(
        self, questions: Questions, *, purse: Purse | None = None, progress: Progress | None = None
    ) -> Votes:
        """The recorded answer of every node asked about.

        Raises:
            ValueError: A node that the file does not have, or a class that is none of `classes`.
        """
        recorded = self._of(questions.classes)
        lists = [self._list_of(int(node), recorded) for node in questions.nodes]
        allowed, usage = count_calls(questions, purse, progress, what=self.name)
        found = np.array([bool(ranks) for ranks in lists], bool)
        lists = [ranks if keep else () for ranks, keep in zip(lists, allowed, strict=True)]
        answered = found & allowed
        n_listed = np.array([len(ranks) for ranks in lists], np.int64)
        ranked = np.full((len(lists), max(n_listed.max(initial=0), 1)), ABSTAIN, np.int64)
        for row, ranks in enumerate(lists):
            ranked[row, : len(ranks)] = ranks
        place = np.clip(n_listed, 1, len(self.list_confidence)) - 1
        confidence = np.where(answered, np.array(self.list_confidence)[place], np.nan)
        return Votes(
            labels=ranked[:, 0].copy(),
            probabilities=soft_labels(ranked, confidence, len(questions.classes)),
            confidence=confidence.astype(np.float32),
            source=np.where(answered, "list_length", "none"),
            rung=np.where(answered, "replay", "none"),
            reason=np.where(allowed & ~found, "not_recorded", refusals(allowed | True, allowed)),
            ranked=ranked,
            usage=usage,
            records=({**self.settings(), "model": self.key, "money": 0.0, "cached": False},)
            * len(questions),
        )

    def _list_of(self, node: int, recorded: Mapping[int, tuple[int, ...]]) -> tuple[int, ...]:
        if node not in recorded:
            raise ValueError(
                f"{self.path}: has no answer for node {node}, {len(self)} are recorded"
            )
        return recorded[node]

    def _of(self, classes: ClassList) -> Mapping[int, tuple[int, ...]]:
        """Lists of class numbers without repeats; kept for the next call with the same classes."""
        if self._ranked is None or self._ranked[0] != classes:
            numbers = _Numbers(self.path, classes)
            self._ranked = (
                classes,
                {node: numbers.of(ranks) for node, ranks in self._recorded.items()},
            )
        return self._ranked[1]


def soft_labels(
    ranked: NDArray[np.int64], confidence: NDArray[np.floating[Any]], n_classes: int
) -> NDArray[np.float32]:
    """Rows ``[M, K]`` by the formula of `ReplayAnnotator`; zero where nothing is ranked.

    Args:
        ranked: ``[M, R]`` without repeats, -1 behind the last.
        confidence: Of the first class ``[M]``.
        n_classes: K, at least 2.
    """
    soft = np.zeros((len(ranked), n_classes))
    answered = np.flatnonzero(ranked[:, 0] != ABSTAIN)
    rest = 1 - confidence[answered]
    others = (ranked[answered, 1:] != ABSTAIN).sum(axis=1)
    unlisted = np.where(others > 0, UNLISTED_SHARE, 1.0)
    soft[answered] = (rest * unlisted / (n_classes - 1))[:, None]
    share = rest * (1 - unlisted) / np.maximum(others, 1)
    for column in range(1, ranked.shape[1]):
        listed = ranked[answered, column] != ABSTAIN
        soft[answered[listed], ranked[answered[listed], column]] += share[listed]
    soft[answered, ranked[answered, 0]] = confidence[answered]
    return soft.astype(np.float32)


class _Numbers:
    """Class numbers of what a file calls its classes, each looked up once."""

    def __init__(self, path: Path, classes: ClassList) -> None:
        self._path, self._classes = path, classes
        self._known: dict[str, int] = {}

    def of(self, ranks: Sequence[str]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self._one(rank) for rank in ranks))

    def _one(self, rank: str) -> int:
        if rank not in self._known:
            found = self._classes.index_of(rank)
            if found is None:
                raise ValueError(
                    f"{self._path}: {rank!r} is none of the {len(self._classes)} classes"
                    f" {list(self._classes.names[:5])}"
                )
            self._known[rank] = found
        return self._known[rank]


_Recorded = dict[int, tuple[str, ...]]


def _read_arrays(path: Path, key: str | None) -> tuple[str, _Recorded]:
    with opened_arrays(path) as archive:
        chosen = _chosen_array(path, archive, key)
        ranks = archive[chosen]
        names = [str(name) for name in archive["classes"]] if "classes" in archive else None
    if ranks.ndim != 2 or ranks.dtype.kind not in "iu":
        raise ValueError(f"{path}: {chosen} must be whole numbers [N, R], got {ranks.shape}")
    if names is not None and ranks.size and ranks.max() >= len(names):
        raise ValueError(f"{path}: {chosen} must number {len(names)} classes, got {ranks.max()}")
    called = (lambda k: str(k)) if names is None else (lambda k: names[k])
    lists = (tuple(called(k) for k in row if k >= 0) for row in ranks.tolist())
    return chosen, dict(enumerate(lists))


def _chosen_array(path: Path, archive: Any, key: str | None) -> str:
    if key is None:
        key = next((name for name in KEYS if name in archive), None)
    if key is None:
        # a look at the shapes reads arrays, but returns none of them
        tables = [n for n in archive if archive[n].ndim == 2 and archive[n].dtype.kind in "iu"]
        key = tables[0] if len(tables) == 1 else None
    if key is None or key not in archive:
        raise ValueError(
            f"{path}: which array holds the answers? name one as FILE#KEY of {sorted(archive)}"
        )
    return key


def _read_table(path: Path, key: str | None) -> tuple[str, _Recorded]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        columns = list(rows.fieldnames or ())
        prefix = key or "rank"
        ranks = [name for name in columns if name.startswith(prefix)]
        if NODE not in columns or not ranks:
            raise ValueError(f"{path}: needs columns node, {prefix}1, ..., found {columns}")
        entries = ((row[NODE], [row[name] or "" for name in ranks]) for row in rows)
        try:
            return prefix, _collected(path, entries)
        except csv.Error as error:
            raise ValueError(f"{path}: {error}") from None


def _read_lines(path: Path, key: str | None) -> tuple[str, _Recorded]:
    chosen = key or ""

    def entries() -> Iterator[tuple[Any, Any]]:
        nonlocal chosen
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(filter(str.strip, file), start=1):
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{path}: line {number} is no JSON: {error}") from None
                if not isinstance(row, dict):
                    raise ValueError(f"{path}: line {number} must be an object")
                chosen = chosen or next((name for name in KEYS if name in row), KEYS[0])
                if NODE not in row or not isinstance(row.get(chosen), list):
                    raise ValueError(f"{path}: line {number} needs 'node' and a list {chosen!r}")
                yield row[NODE], row[chosen]

    recorded = _collected(path, entries())
    return chosen or KEYS[0], recorded


def _collected(path: Path, entries: Iterator[tuple[Any, Any]]) -> _Recorded:
    recorded: _Recorded = {}
    for node, ranks in entries:
        try:
            position = int(node)
        except (TypeError, ValueError):
            position = -1
        if position < 0 or position in recorded:
            raise ValueError(f"{path}: nodes must be positions 0, 1, ... said once, got {node!r}")
        written = (str(rank).strip() for rank in ranks)
        recorded[position] = tuple(rank for rank in written if rank not in ("", str(ABSTAIN)))
    return recorded
