"""Similarity of texts to class descriptions: a baseline and a second opinion, without an LLM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphnoise.annotators.array_files import opened_arrays
from graphnoise.annotators.base import ABSTAIN, Estimate, Progress, Purse, Questions, Usage, Votes
from graphnoise.annotators.counting import count_calls, have_text, refusals
from graphnoise.annotators.options import AnnotatorOptions, AnnotatorSpec
from graphnoise.annotators.text_encoding import encode_classes, encode_texts
from graphnoise.text_graph import TextGraph
from labelnoise.class_list import ClassList
from labelnoise.text_encoders import TEXT_ENCODERS
from labelnoise.text_encoders.base import TextEncoder

# on Cora the margins of z-scores become probabilities of about the right size
SHARPNESS = 2.0


def zero_shot_scores(
    graph: TextGraph,
    *,
    class_rows: ArrayLike | None = None,
    encoder: str | TextEncoder = "minilm",
    device: str | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Cosine of every node with every class description ``[N, K]``.

    Args:
        graph: Texts and classes.
        class_rows: Encoded descriptions ``[K, D]`` in the space of ``graph.embedding``, which is
            then read. None encodes texts and descriptions (kept on disk, see `encode_texts`).
        encoder: Spec of `labelnoise.text_encoders`, or an encoder.
        device: Of the encoder.
        progress: Of the encoder.

    Raises:
        ValueError: `class_rows` of another shape.
    """
    if class_rows is None:
        known = encode_texts(graph.texts, encoder, device=device, progress=progress)
        return known @ encode_classes(graph.classes, encoder, device=device).T
    rows = np.asarray(class_rows, np.float32)
    expected = (graph.n_classes, graph.embedding.shape[1])
    if rows.shape != expected:
        raise ValueError(f"class_rows must be {list(expected)}, got {list(rows.shape)}")
    return graph.embedding @ rows.T


def prior_of_scores(
    scores: ArrayLike, known: NDArray[np.bool_] | None = None, *, sharpness: float = SHARPNESS
) -> NDArray[np.float32]:
    """Rows that sum to 1: ``softmax(sharpness z)``, z the scores standardised per class.

    A description that is near to every text has no say: per class, mean 0 and standard deviation
    1 over all known nodes.

    Args:
        scores: ``[N, K]``, finite.
        known: Nodes that have scores ``[N]``; the others get 1 / K. None: all.
        sharpness: Above 0; 2 is the sheet's.

    Raises:
        ValueError: Scores that are not finite and two-dimensional.
    """
    wide = np.asarray(scores, np.float64)
    if wide.ndim != 2 or not np.isfinite(wide).all():
        raise ValueError(f"scores must be finite and [N, K], got {list(wide.shape)}")
    known = np.ones(len(wide), bool) if known is None else known
    prior = np.full(wide.shape, 1 / wide.shape[1])
    if known.any():
        spread = wide[known].std(axis=0)
        centred = wide[known] - wide[known].mean(axis=0)
        z = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)
        weights = np.exp(sharpness * (z - z.max(axis=1, keepdims=True)))
        prior[known] = weights / weights.sum(axis=1, keepdims=True)
    return prior.astype(np.float32)


def zero_shot_prior(
    graph: TextGraph,
    scores: ArrayLike | None = None,
    *,
    class_rows: ArrayLike | None = None,
    encoder: str | TextEncoder = "minilm",
    device: str | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Class probabilities of every node by its text alone, ``[N, K]`` float32; no call is made.

    Args:
        graph: Texts and classes. A node without text gets 1 / K.
        scores: ``[N, K]`` where they are known; None computes `zero_shot_scores`.
        class_rows: As of `zero_shot_scores`.
        encoder: As of `zero_shot_scores`.
        device: As of `zero_shot_scores`.
        progress: As of `zero_shot_scores`.

    Raises:
        ValueError: `scores` or `class_rows` of another shape.
    """
    if scores is None:
        scores = zero_shot_scores(
            graph, class_rows=class_rows, encoder=encoder, device=device, progress=progress
        )
    found = np.asarray(scores)
    if found.shape != (graph.n_nodes, graph.n_classes):
        raise ValueError(
            f"scores must be [{graph.n_nodes}, {graph.n_classes}], got {list(found.shape)}"
        )
    return prior_of_scores(found, np.array([bool(text.strip()) for text in graph.texts]))


def read_class_scores(path: str | Path, names: tuple[str, ...] | None = None) -> NDArray[Any]:
    """Scores ``[N, K]`` of an ``.npz`` with `scores`, and `classes` where it names them.

    Args:
        path: The file.
        names: The classes wanted, in order; columns are arranged by it where the file names its.

    Raises:
        ValueError: No array `scores`, or a class is missing.
        OSError: The file cannot be read.
    """
    with opened_arrays(path) as archive:
        if "scores" not in archive:
            raise ValueError(f"{path}: needs an array 'scores', found {sorted(archive)}")
        scores: NDArray[Any] = np.asarray(archive["scores"])
        if scores.ndim != 2 or scores.dtype.kind not in "fiu":
            raise ValueError(f"{path}: scores must be numbers [N, K], got {list(scores.shape)}")
        if names is None or "classes" not in archive:
            return scores
        stored = ClassList(tuple(str(name) for name in archive["classes"]))
    columns = [stored.index_of(name) for name in names]
    missing = [name for name, column in zip(names, columns, strict=True) if column is None]
    if missing:
        raise ValueError(f"{path}: scores must cover every class, missing {missing[:5]}")
    return scores[:, [column for column in columns if column is not None]]


class ZeroShotAnnotator:
    """Answers with the likeliest class of `zero_shot_prior`; costs calls of a budget, no money.

    Args:
        graph: The nodes over which scores are standardised; questions name their positions.
        scores: ``[N, K]`` where they are known; None encodes when first asked.
        encoder: Spec of `labelnoise.text_encoders`.
        device: Of the encoder.
    """

    name = "embedding"

    def __init__(
        self,
        graph: TextGraph,
        scores: ArrayLike | None = None,
        *,
        encoder: str = "minilm",
        device: str | None = None,
    ) -> None:
        self._graph, self._scores = graph, scores
        self._encoder, self._device = encoder, device
        self._prior = None if scores is None else zero_shot_prior(graph, scores)

    @classmethod
    def from_spec(
        cls, spec: AnnotatorSpec, options: AnnotatorOptions, graph: TextGraph | None
    ) -> "ZeroShotAnnotator":
        """``embedding`` or ``embedding:ENCODER``; scores of a file where the options name one."""
        if graph is None:
            raise ValueError("the embedding annotator needs graph=: it standardises over its nodes")
        encoder = spec.argument or options.text_encoder
        scores = None
        if options.class_scores is not None:
            scores = read_class_scores(options.class_scores, graph.classes.names)
        else:
            # told before anything is begun, though the encoder is made when first asked
            _ = TEXT_ENCODERS[encoder.partition(":")[0]]
        return cls(graph, scores, encoder=encoder, device=options.device)

    def settings(self) -> Mapping[str, Any]:
        """Encoder and descriptions."""
        given = self._scores is not None
        return {
            "annotator": self.name,
            "encoder": "scores given" if given else self._encoder,
            "sharpness": SHARPNESS,
        }

    def estimate(self, questions: Questions) -> Estimate:
        """Calls of the budget; no tokens, no money."""
        asked = int(have_text(questions).sum())
        return Estimate(Usage(calls=asked, samples=asked), "calls; nothing is sent")

    def annotate(
        self, questions: Questions, *, purse: Purse | None = None, progress: Progress | None = None
    ) -> Votes:
        """The likeliest class of each question's node, with the prior as soft label.

        Raises:
            ValueError: Other classes than the graph's, or a node it does not have.
        """
        if questions.classes.names != self._graph.classes.names:
            raise ValueError("questions must have the classes of the annotator's graph")
        check_nodes(questions.nodes, self._graph.n_nodes, "graph")
        asked = have_text(questions)
        allowed, usage = count_calls(questions, purse, progress, what=self.name, asked=asked)
        prior = self._all()[questions.nodes]
        prior[~allowed] = 0
        ranked = np.argsort(-prior, axis=1, kind="stable")
        ranked[~allowed] = ABSTAIN
        record = {**self.settings(), "model": self._encoder, "money": 0.0, "cached": False}
        return Votes(
            labels=ranked[:, 0].copy(),
            probabilities=prior,
            confidence=np.where(allowed, prior.max(axis=1), np.nan).astype(np.float32),
            source=np.where(allowed, "similarity", "none"),
            rung=np.where(allowed, "similarity", "none"),
            reason=refusals(asked, allowed),
            ranked=ranked,
            usage=usage,
            records=(record,) * len(questions),
        )

    def _all(self) -> NDArray[np.float32]:
        if self._prior is None:
            self._prior = zero_shot_prior(self._graph, encoder=self._encoder, device=self._device)
        return self._prior


def check_nodes(nodes: NDArray[np.int64], n_nodes: int, what: str) -> None:
    """Refuse positions outside ``0 .. n_nodes - 1``.

    Raises:
        ValueError: Names the first one.
    """
    wrong = nodes[(nodes < 0) | (nodes >= n_nodes)]
    if len(wrong):
        raise ValueError(f"nodes must lie in 0 .. {n_nodes - 1} of the {what}, got {wrong[0]}")
