"""Spread labels or features along edges, with no trained model.

One convention: `neighbour_weight` is the share of a node's new value that comes from its
neighbours. How the alphas and restarts of others translate:

- Zhou et al. 2003, PyG's `LabelPropagation` and `CorrectAndSmooth`: neighbour_weight = alpha.
- ERASE on small graphs (`structural_denoising`): their alpha weighs the node itself, so
  self_weight = alpha and neighbour_weight = 1 - alpha.
- ERASE on ogbn-arxiv (`large_graph_denoising`): neighbour_weight = alpha.
- Personalised PageRank and APPNP (`personalised_pagerank_features`): their alpha is the restart,
  so restart = alpha and neighbour_weight = 1 - alpha.

Graphs are undirected: a matrix that is not symmetric is refused. Self loops count as edges.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy import sparse

from graphnoise.graph import UNLABELLED, check_labels
from labelnoise.kernels.label_propagation import normalise, propagate


class DenoisedLabels(NamedTuple):
    """What propagation makes of the given training labels.

    Args:
        scores: ``[N, K]`` float32, not normalised; zero outside the rows a method keeps.
        labels: ``[N]`` int64, argmax of `scores` on training nodes, `UNLABELLED` elsewhere. A
            training node whose row is all zero keeps its given label.
    """

    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def propagate_labels(
    adjacency: Any,
    labels: ArrayLike,
    *,
    n_classes: int,
    neighbour_weight: float = 0.9,
    n_steps: int = 50,
    clamp: tuple[float, float] | None = None,
    tolerance: float = 0.0,
    dtype: DTypeLike = np.float64,
) -> NDArray[np.floating[Any]]:
    """Class scores of every node after `n_steps` rounds of label propagation.

    One round is ``F = alpha * S @ F + (1 - alpha) * Y``, from ``F = Y``, where ``Y`` holds the
    known labels one-hot, ``S = D^-1/2 A D^-1/2`` and alpha is `neighbour_weight`. Every round
    pulls a known node back to its label; ERASE's small-graph form does not, see
    `structural_denoising`. With ``clamp=(0, 1)`` this is PyG's `LabelPropagation`.

    Args:
        adjacency: Edge weights ``[N, N]``, scipy sparse, non-negative, symmetric. Not modified.
        labels: Class of each node ``[N]``, in ``0 .. n_classes - 1``, or `UNLABELLED`.
        n_classes: Number of columns of the result; a class no node carries keeps score 0.
        neighbour_weight: Share of a score that comes from the neighbours, in ``[0, 1)``.
        n_steps: Rounds to run. What is missing from the limit shrinks like
            ``neighbour_weight ** n_steps``.
        clamp: Lowest and highest score after a round, or None. Scores of S can exceed 1.
        tolerance: Stop after a round that changed no score by more; 0 runs all rounds.
        dtype: float32 halves memory and time on large graphs.

    Returns:
        Scores ``[N, n_classes]``, non-negative. Rows are not normalised: a row of zeros means that
        no label reaches that node, which a probability could not say.

    Raises:
        ValueError: A shape, a label or a setting is outside the ranges above.

    Source:
        Zhou et al., "Learning with Local and Global Consistency", NeurIPS 2003, section 2.

    Example:
        >>> path = sparse.csr_array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=float)
        >>> scores = propagate_labels(path, [0, -1, 1], n_classes=2)
        >>> scores.argmax(axis=1)[[0, 2]]
        array([0, 1])
    """
    if not 0 <= neighbour_weight < 1:
        raise ValueError(f"neighbour_weight must lie in [0, 1), got {neighbour_weight}")
    known = _checked_labels(adjacency, labels, n_classes)
    seeds = _one_hot(known, n_classes, dtype)
    return propagate(
        normalise(adjacency, "symmetric", dtype=dtype),
        seeds,
        neighbour_weight=neighbour_weight,
        anchor=seeds,
        clamp=clamp,
        n_steps=n_steps,
        tolerance=tolerance,
    )


def structural_denoising(
    adjacency: Any,
    labels: ArrayLike,
    train_mask: ArrayLike,
    n_classes: int,
    *,
    self_weight: float = 0.6,
    n_steps: int = 5,
    restrict_to_train: bool = True,
    reinject: bool = False,
) -> DenoisedLabels:
    """ERASE's clean-up of the training labels before training, for small graphs.

    From ``Y`` = given labels one-hot on training nodes, repeat
    ``Y <- (1 - self_weight) P Y + self_weight Y`` with ``P = A D^-1``, columns of which sum to 1.
    A training node without training neighbour keeps its class while its row shrinks to
    ``self_weight ** n_steps``, which leaves more room to the prototypes later on.

    Args:
        adjacency: Edge weights ``[N, N]``, scipy sparse, non-negative, symmetric. Not modified.
        labels: Given label of each node ``[N]``; read on training nodes only.
        train_mask: ``[N]`` bool, at least one node.
        n_classes: Number of classes.
        self_weight: Weight of a node's own value, in ``[0, 1]``: the paper's alpha. Released
            value .6 (CoraFull .7).
        n_steps: The paper's T: Cora 5, CiteSeer 4, PubMed 3, CoraFull 2.
        restrict_to_train: Use edges between training nodes only (as released). Otherwise the whole
            graph, and every reached row has a score.
        reinject: Mix in the given labels at every step instead of the current ones, which stops
            the shrinking at ``self_weight``. Not in ERASE.

    Returns:
        Scores and the labels of the training nodes.

    Raises:
        ValueError: A shape, a label or a setting is outside the ranges above.

    Source:
        ERASE, arXiv 2312.08852, structural denoising, as released for the Planetoid graphs.
    """
    if not 0 <= self_weight <= 1:
        raise ValueError(f"self_weight must lie in [0, 1], got {self_weight}")
    train, given = _checked_training(adjacency, labels, train_mask, n_classes)
    rows = np.flatnonzero(train) if restrict_to_train else np.arange(len(train))
    graph = sparse.csr_array(adjacency)
    if restrict_to_train:
        graph = graph[rows][:, rows]
    seeds = _one_hot(given[rows], n_classes, np.float32)
    scores = propagate(
        normalise(graph, "column", dtype=np.float32),
        seeds,
        neighbour_weight=1 - self_weight,
        anchor=seeds if reinject else None,
        n_steps=n_steps,
    )
    if restrict_to_train:
        scores, inner = np.zeros((len(train), n_classes), np.float32), scores
        scores[rows] = inner
    return _denoised(scores, given, train)


def large_graph_denoising(
    adjacency: Any,
    labels: ArrayLike,
    train_mask: ArrayLike,
    n_classes: int,
    *,
    neighbour_weight: float = 0.5,
    n_steps: int = 50,
    tolerance: float = 1e-7,
    only_train_rows: bool = True,
) -> DenoisedLabels:
    """ERASE's other clean-up, which it uses on ogbn-arxiv: anchored, over the whole graph.

    ``Y <- clamp_[0, 1](neighbour_weight S Y + (1 - neighbour_weight) Y_given)`` with
    ``S = D^-1/2 A D^-1/2``; the form of PyG's `LabelPropagation`.

    Args:
        adjacency: Edge weights ``[N, N]``, scipy sparse, non-negative, symmetric. Not modified.
        labels: Given label of each node ``[N]``; read on training nodes only.
        train_mask: ``[N]`` bool, at least one node.
        n_classes: Number of classes.
        neighbour_weight: In ``[0, 1]``; .5 as released, where it is called alpha.
        n_steps: Most steps. 50 as released.
        tolerance: Stop when nothing moves by more. At weight .5 float32 has settled after 24.
        only_train_rows: Zero the rows of other nodes, as released; False keeps what reached them.

    Returns:
        Scores and the labels of the training nodes.

    Raises:
        ValueError: A shape, a label or a setting is outside the ranges above.

    Source:
        ERASE, arXiv 2312.08852, as released for ogbn-arxiv.
    """
    train, given = _checked_training(adjacency, labels, train_mask, n_classes)
    seeds = _one_hot(given, n_classes, np.float32)
    scores = propagate(
        normalise(adjacency, "symmetric", dtype=np.float32),
        seeds,
        neighbour_weight=neighbour_weight,
        anchor=seeds,
        clamp=(0.0, 1.0),
        n_steps=n_steps,
        tolerance=tolerance,
    )
    if only_train_rows:
        scores[~train] = 0
    return _denoised(scores, given, train)


def personalised_pagerank_features(
    adjacency: Any,
    features: Any,
    *,
    restart: float = 0.1,
    n_steps: int = 10,
    feature_block: int = 256,
) -> NDArray[np.float32]:
    """Features averaged over the neighbourhood by personalised PageRank.

    ``X <- (1 - restart) S X + restart X_0`` with ``S = D^-1/2 (A + I) D^-1/2``.

    Args:
        adjacency: Edge weights ``[N, N]``, scipy sparse, non-negative, symmetric. Not modified.
        features: ``[N, F]``, an array or a scipy sparse matrix. Not modified.
        restart: Weight of a node's own features, in ``[0, 1]``; small values smooth over more
            hops. .1 as in APPNP.
        n_steps: Power iterations; 10 as in APPNP.
        feature_block: Columns smoothed at once. Beside the result, memory is four dense blocks;
            the answer does not depend on it.

    Returns:
        Dense ``[N, F]`` float32.

    Raises:
        ValueError: A shape or a setting is outside the ranges above.

    Source:
        Gasteiger et al., "Predict then Propagate: Graph Neural Networks meet Personalized
        PageRank", ICLR 2019, equation 5, applied to the input.
    """
    if not 0 <= restart <= 1:
        raise ValueError(f"restart must lie in [0, 1], got {restart}")
    if feature_block < 1:
        raise ValueError(f"feature_block must be >= 1, got {feature_block}")
    n_nodes = _checked_size(adjacency)
    columns: Any = features.tocsc() if sparse.issparse(features) else np.asarray(features)
    if columns.ndim != 2 or columns.shape[0] != n_nodes:
        raise ValueError(f"features must be [{n_nodes}, F], got {tuple(columns.shape)}")
    smooth = normalise(adjacency, "symmetric", self_loops=True, dtype=np.float32)
    result = np.empty(columns.shape, np.float32)
    for first in range(0, columns.shape[1], feature_block):
        block = columns[:, first : first + feature_block]
        block = block.toarray() if sparse.issparse(block) else block
        start = np.ascontiguousarray(block, dtype=np.float32)
        result[:, first : first + feature_block] = propagate(
            smooth, start, neighbour_weight=1 - restart, anchor=start, n_steps=n_steps
        )
    return result


def neighbour_vote(adjacency: Any, labels: ArrayLike, n_classes: int) -> NDArray[np.float32]:
    """Share of each class among the labelled neighbours, by edge weight.

    Args:
        adjacency: Edge weights ``[N, N]``, scipy sparse, non-negative, symmetric. Not modified.
        labels: Class of each node ``[N]``, in ``0 .. n_classes - 1``, or `UNLABELLED`.
        n_classes: Number of classes.

    Returns:
        ``[N, n_classes]`` float32. Rows sum to 1; a node without labelled neighbour has a row of
        zeros. A node's own label has no vote unless it has a self loop.

    Raises:
        ValueError: A shape or a label is outside the ranges above.
    """
    known = _checked_labels(adjacency, labels, n_classes)
    # columns of nodes without a label are dropped before rows are normalised
    voters = sparse.diags_array((known != UNLABELLED).astype(np.float32))
    return propagate(
        normalise(sparse.csr_array(adjacency) @ voters, "row", dtype=np.float32),
        _one_hot(known, n_classes, np.float32),
        neighbour_weight=1.0,
        n_steps=1,
    )


def correct_and_smooth(
    adjacency: Any,
    probabilities: ArrayLike,
    labels: ArrayLike,
    train_mask: ArrayLike,
    *,
    correction_weight: float = 0.8,
    smoothing_weight: float = 0.8,
    n_steps: int = 50,
    autoscale: bool = True,
) -> NDArray[np.float32]:
    """Correct and Smooth: spread a classifier's training errors, then its corrected answers.

    PyG's `CorrectAndSmooth` on the weighted graph. It trusts the training labels, noisy ones too.

    Args:
        adjacency: Edge weights ``[N, N]``, scipy sparse, non-negative, symmetric. Not modified.
        probabilities: Of any classifier ``[N, K]``.
        labels: Given label of each node ``[N]``; read on training nodes only.
        train_mask: ``[N]`` bool, at least one node.
        correction_weight: Neighbour weight when errors are spread, in ``[0, 1]``.
        smoothing_weight: Neighbour weight when answers are spread, in ``[0, 1]``.
        n_steps: Steps of either part.
        autoscale: Bring spread errors to the mean size of the training errors.

    Returns:
        Scores ``[N, K]`` float32, not normalised.

    Raises:
        ValueError: A shape, a label or a setting is outside the ranges above.

    Source:
        Huang et al., "Combining Label Propagation and Simple Models Out-performs Graph Neural
        Networks", ICLR 2021. Weights of .8 and 50 steps as in PyG's example.
    """
    import torch
    from torch_geometric.nn import CorrectAndSmooth

    for name, weight in (("correction", correction_weight), ("smoothing", smoothing_weight)):
        if not 0 <= weight <= 1:
            raise ValueError(f"{name}_weight must lie in [0, 1], got {weight}")
    soft = np.array(probabilities, dtype=np.float32)
    n_nodes = _checked_size(adjacency)
    if soft.ndim != 2 or len(soft) != n_nodes:
        raise ValueError(f"probabilities must be [{n_nodes}, K], got {soft.shape}")
    train, given = _checked_training(adjacency, labels, train_mask, soft.shape[1])
    smooth = normalise(adjacency, "symmetric", dtype=np.float32).tocoo()
    ends = torch.from_numpy(np.stack([smooth.col, smooth.row]).astype(np.int64))
    mask, known = torch.from_numpy(train), torch.from_numpy(given[train])
    weights = torch.from_numpy(smooth.data)
    model = CorrectAndSmooth(n_steps, correction_weight, n_steps, smoothing_weight, autoscale)
    corrected = model.correct(torch.from_numpy(soft), known, mask, ends, weights)
    scores: NDArray[np.float32] = model.smooth(corrected, known, mask, ends, weights).numpy()
    return scores


def _denoised(
    scores: NDArray[np.float32], given: NDArray[np.int64], train: NDArray[np.bool_]
) -> DenoisedLabels:
    labels = np.full(len(train), UNLABELLED)
    labels[train] = scores[train].argmax(axis=1)
    untouched = train & ~scores.any(axis=1)
    labels[untouched] = given[untouched]
    return DenoisedLabels(scores, labels)


def _one_hot(labels: NDArray[np.int64], n_classes: int, dtype: DTypeLike) -> NDArray[Any]:
    one_hot = np.zeros((len(labels), n_classes), dtype)
    known = np.flatnonzero(labels != UNLABELLED)
    one_hot[known, labels[known]] = 1
    return one_hot


def _checked_training(
    adjacency: Any, labels: ArrayLike, train_mask: ArrayLike, n_classes: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Mask, and the labels with all but those of training nodes removed."""
    train = np.asarray(train_mask)
    if train.dtype != np.bool_ or train.shape != (adjacency.shape[0],):
        raise ValueError(
            f"train_mask must be [{adjacency.shape[0]}] bool, got {list(train.shape)} {train.dtype}"
        )
    if not train.any():
        raise ValueError("train_mask selects no node")
    all_labels = np.asarray(labels)
    given = np.where(train, all_labels, UNLABELLED) if all_labels.shape == train.shape else labels
    checked = _checked_labels(adjacency, given, n_classes)
    check_labels(checked, train, n_classes)
    return train, checked


def _checked_labels(adjacency: Any, labels: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    n_nodes = _checked_size(adjacency)
    given = np.asarray(labels)
    if given.shape != (n_nodes,) or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(
            f"labels must be [{n_nodes}] integers, got {list(given.shape)} {given.dtype}"
        )
    known = given.astype(np.int64)
    check_labels(known, known != UNLABELLED, n_classes)
    return known


def _checked_size(adjacency: Any) -> int:
    """Number of nodes of an undirected graph."""
    if not sparse.issparse(adjacency) or adjacency.ndim != 2:
        raise ValueError(f"adjacency must be a scipy sparse matrix, got {type(adjacency).__name__}")
    n_nodes = int(adjacency.shape[0])
    if adjacency.shape[1] != n_nodes:
        raise ValueError(f"adjacency must be square, got {list(adjacency.shape)}")
    # two products with random numbers tell a matrix from its transpose without building that;
    # NaN and negative weights are left to `normalise`
    probe = 1 + np.random.default_rng(0).random(n_nodes)
    if not np.allclose(adjacency @ probe, adjacency.T @ probe, rtol=1e-9, atol=0, equal_nan=True):
        raise ValueError(
            "adjacency must be symmetric, found a directed graph: use maximum(A, A.T) or A + A.T"
        )
    return n_nodes
