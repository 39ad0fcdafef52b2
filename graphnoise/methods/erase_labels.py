"""ERASE's labels: propagated given labels, class prototypes, pseudo-labels of all nodes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from graphnoise.graph import LabelledGraph
from graphnoise.label_propagation import large_graph_denoising, structural_denoising
from graphnoise.methods.erase_settings import EraseSettings
from labelnoise.kernels.label_propagation import Normalisation, normalise, propagate

# change of a propagated value below which further steps are rounding
PROPAGATION_TOLERANCE = 1e-7


@dataclass(frozen=True, eq=False)
class PropagatedLabels:
    """What is known of the labels before training; constant over all epochs.

    Attributes:
        matrix: Normalised adjacency ``[N, N]``, scipy on CPU and a torch COO tensor elsewhere.
        scores: Y0 ``[N, K]`` float32: propagated given labels, 0 outside training.
        train: Positions of the training nodes ``[M]``.
        train_labels: Their class after propagation ``[M]``, what the prototypes are made of.
        is_train: Mask ``[N]``.
    """

    matrix: Any
    scores: Tensor
    train: Tensor
    train_labels: Tensor
    is_train: Tensor


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Result of one labels step.

    Attributes:
        labels: l ``[N]`` int64, argmax of `scores`, the lowest class of equals.
        scores: Q ``[N, K]``.
        similarity: S ``[N, K]``, cosine to each prototype; 0 for a class without one.
        has_prototype: ``[K]``, whether a training node carries the class after propagation.
    """

    labels: Tensor
    scores: Tensor
    similarity: Tensor
    has_prototype: Tensor


def propagate_given_labels(
    graph: LabelledGraph, settings: EraseSettings, device: torch.device
) -> PropagatedLabels:
    """Structural denoising before training: Y0 and the train labels read from it.

    "train_edges": ``Y <- (1 - alpha) P Y + alpha Y`` over train-train edges, P column-normalised,
    no clamp, the given label not put in again: a training node without training neighbour ends
    at ``alpha^n_steps`` times its one-hot label. "whole_graph": ``Y <- clip((1 - alpha) S Y +
    alpha Y_given)`` over all edges, S symmetric, rows outside training dropped at the end.

    Source:
        ERASE, structural denoising; the second form is that of its ogbn-arxiv script.
    """
    whole_graph = settings.propagation == "whole_graph"
    inputs = (graph.adjacency, graph.given, graph.train, graph.n_classes)
    if whole_graph:
        denoised = large_graph_denoising(
            *inputs, neighbour_weight=1 - settings.alpha, n_steps=settings.n_steps
        )
    else:
        denoised = structural_denoising(
            *inputs, self_weight=settings.alpha, n_steps=settings.n_steps
        )
    kind: Normalisation = "symmetric" if whole_graph else "column"
    matrix = normalise(graph.adjacency, kind, dtype=np.float32)
    return PropagatedLabels(
        _on_device(matrix, device),
        torch.tensor(denoised.scores, device=device),
        torch.tensor(np.flatnonzero(graph.train), device=device),
        torch.tensor(denoised.labels[graph.train], device=device),
        torch.tensor(graph.train, device=device),
    )


def anchored(matrix: Any, values: Any, settings: EraseSettings) -> Any:
    """``Y <- clip((1 - alpha) S Y + alpha values, 0, 1)`` from Y = values, until it settles."""
    return propagate(
        matrix,
        values,
        neighbour_weight=1 - settings.alpha,
        anchor=values,
        clamp=(0.0, 1.0),
        n_steps=settings.n_steps,
        tolerance=PROPAGATION_TOLERANCE,
    )


def prototypes(embeddings: Tensor, known: PropagatedLabels, n_classes: int) -> Tensor:
    """Mean embedding of the training nodes of each class ``[K, D]``; NaN for a class of none."""
    sums = embeddings.new_zeros(n_classes, embeddings.shape[1])
    sums.index_add_(0, known.train_labels, embeddings[known.train])
    counts = torch.bincount(known.train_labels, minlength=n_classes)
    return sums / counts[:, None]


def pseudo_labels(
    embeddings: Tensor, known: PropagatedLabels, settings: EraseSettings
) -> PseudoLabels:
    """One labels step: ``Q = softmax(beta Y0 + (1 - beta) S)``, propagated; ``l = argmax Q``.

    A class that no training node carries has no prototype and is no candidate. With
    "whole_graph" there is no softmax, and the propagation is the anchored one.

    Args:
        embeddings: Z ``[N, D]``, detached.
        known: The propagated given labels.
        settings: beta, alpha, n_steps and the form of propagation are read.
    """
    means = prototypes(embeddings, known, known.scores.shape[1])
    has_prototype = ~means[:, 0].isnan()
    directions = functional.normalize(means.nan_to_num(0.0), dim=1)
    lengths = embeddings.norm(dim=1, keepdim=True).clamp(min=1e-12)
    similarity = (embeddings @ directions.T).div_(lengths).abs_()
    mixed = settings.beta * known.scores + (1 - settings.beta) * similarity
    if settings.propagation == "whole_graph":
        if not settings.keep_other_prototypes:
            mixed[~known.is_train] = 0
        scores = anchored(known.matrix, mixed, settings)
    else:
        mixed.masked_fill_(~has_prototype, -torch.inf)
        scores = propagate(
            known.matrix,
            mixed.softmax(dim=1),
            neighbour_weight=1 - settings.alpha,
            n_steps=settings.n_steps,
        )
    # an isolated node loses its scores step by step; no class without prototype may win by that
    labels = scores.masked_fill(~has_prototype, -torch.inf).argmax(dim=1)
    return PseudoLabels(labels, scores, similarity, has_prototype)


def similarity_to(labels: NDArray[np.int64], similarity: NDArray[np.float32]) -> NDArray[Any]:
    """Similarity of each node to the prototype of one class ``[N]``; NaN where the label is -1."""
    chosen = similarity[np.arange(len(labels)), np.maximum(labels, 0)]
    return np.where(labels >= 0, chosen, np.nan).astype(np.float32)


def _on_device(matrix: sparse.csr_array, device: torch.device) -> Any:
    if device.type == "cpu":
        return matrix
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    indices = torch.from_numpy(np.stack([rows, matrix.indices]).astype(np.int64))
    return torch.sparse_coo_tensor(
        indices, torch.from_numpy(matrix.data), matrix.shape, is_coalesced=True
    ).to(device)
