"""What annotator and class descriptions each say of every node, once neighbours have been heard."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.annotators.base import Votes
from graphnoise.node_selection.medoids import propagated
from labelnoise.kernels.label_propagation import normalise, propagate
from labelnoise.kernels.nearest_neighbours import nearest_neighbours

Rows = NDArray[np.float32]

# keeps the logarithm of a probability finite
SMALLEST = 1e-6


def smoothed(
    adjacency: sparse.csr_array, rows: Rows, *, restart: float = 0.1, n_steps: int = 10
) -> Rows:
    """Rows ``[N, K]`` averaged over the neighbourhood by personalised PageRank.

    ``Y <- (1 - restart) P Y + restart Y_0`` with ``P = D^-1 (A + I)``: the mean over neighbours
    and itself, so that rows of probabilities stay such.

    Args:
        adjacency: ``[N, N]``.
        rows: ``[N, K]`` float32.
        restart: Weight of a node's own row; .1 as in APPNP.
        n_steps: Power iterations; 10 as in APPNP.
    """
    mean = normalise(adjacency, "row", self_loops=True, dtype=np.float32)
    return propagate(mean, rows, neighbour_weight=1 - restart, anchor=rows, n_steps=n_steps)


def described(prior: Rows, adjacency: sparse.csr_array, *, restart: float = 0.1) -> Rows:
    """What the class descriptions say of each node and of those around it ``[N, K]``.

    The logarithm of the prior, smoothed over the graph: a weighted geometric mean over the
    neighbourhood. Averaging shrinks the differences that neighbours do not share, so a lonely
    description says less afterwards.

    Args:
        prior: Zero-shot probabilities ``[N, K]``; rows of a node without text are uniform.
        adjacency: ``[N, N]``.
        restart: Of `smoothed`; 30 steps reach its limit.
    """
    logarithms = np.log(np.maximum(prior, SMALLEST)).astype(np.float32)
    return softmax(smoothed(adjacency, logarithms, restart=restart, n_steps=30))


def heard(
    votes: Votes,
    asked: NDArray[np.int64],
    adjacency: sparse.csr_array,
    embedding: Rows,
    *,
    neighbours: int = 10,
    width: float = 0.1,
    doubt: float = 0.1,
) -> Rows:
    """What the annotator's answers near each node say of it ``[N, K]``.

    A kernel vote: the soft labels of the nearest asked nodes in the propagated embedding
    (``A_hat^2 X``, rows of length 1), with weights ``exp((cos - largest cos) / width)``. Single
    answers err; several around a node err together only where the annotator is blind.

    Args:
        votes: B answers; abstentions are passed over.
        asked: Their nodes ``[B]``.
        adjacency: ``[N, N]``.
        embedding: ``[N, D]``.
        neighbours: Answers heard per node.
        width: Of the kernel, in units of cosine. .1 tells a node's own region from the next.
        doubt: Share of the vote given to all classes alike, in ``[0, 1]``: what is left of a class
            nobody named, as the annotator may be wrong everywhere around.

    Returns:
        Rows that sum to 1; uniform where no answer can be heard.
    """
    n_classes = votes.probabilities.shape[1]
    told = np.flatnonzero(votes.answered)
    if not len(told):
        return np.full((len(embedding), n_classes), 1 / n_classes, np.float32)
    rows = torch.from_numpy(np.ascontiguousarray(propagated(adjacency, embedding)))
    similarity, place = nearest_neighbours(
        rows, min(neighbours, len(told)), candidates=rows[torch.from_numpy(asked[told])]
    )
    cosine, near = similarity.numpy(), place.numpy()
    weight = np.exp((cosine - cosine[:, :1]) / width)
    weight /= weight.sum(axis=1, keepdims=True)
    answers = votes.probabilities[told]
    vote = sum(weight[:, j, None] * answers[near[:, j]] for j in range(near.shape[1]))
    answer: Rows = ((1 - doubt) * vote + doubt / n_classes).astype(np.float32)
    return answer


def pooled(*opinions: Rows) -> Rows:
    """Product of opinions ``[N, K]``, rows scaled to sum to 1: each is evidence of its own."""
    total = sum(np.log(np.maximum(opinion, SMALLEST)) for opinion in opinions)
    return softmax(np.asarray(total))


def softmax(logits: NDArray[np.floating]) -> Rows:
    """Rows ``[N, K]`` that sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    answer: Rows = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return answer
