"""Features for attribute-weighted diffusion: few dimensions, averaged with those of neighbours."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphnoise.local_clusters.adjacency import as_adjacency
from graphnoise.local_clusters.linear_labels import unit_rows


def smooth_features(
    graph: Any, *, features: Any = None, n_components: int = 32, steps: int = 2, seed: int = 0
) -> NDArray[np.float32]:
    """Directions of features in which neighbours are near each other, computed once per graph.

    Rows of unit length, projected on the leading singular vectors, then ``(X + D^-1 A X) / 2`` so
    many times, and back to unit length. Raw word counts of two neighbours are about as far apart
    as those of strangers; of these the weights of `AttributedFlowDiffusion` can tell.

    Args:
        graph: See `as_adjacency`.
        features: ``[N, F]``, dense or CSR, instead of the graph's own.
        n_components: Dimensions kept, at most those there are; chosen on Cora.
        steps: How often each node looks at its neighbours; 0 leaves the projection.
        seed: Of the randomised singular value decomposition.

    Returns:
        ``[N, <= n_components]`` float32, to hand to `as_adjacency` as `features`.

    Raises:
        ValueError: The graph has no features, or a number is out of range.

    Source:
        Reduction and convolution as in Weighted flow diffusion, ICML 2023; the numbers are ours.
    """
    from sklearn.decomposition import TruncatedSVD

    from labelnoise.kernels.label_propagation import normalise

    if n_components < 1 or steps < 0:
        raise ValueError(
            f"n_components must be at least 1 and steps not negative, got {n_components}, {steps}"
        )
    adjacency = as_adjacency(graph, features=features)
    if adjacency.features is None:
        raise ValueError("features are needed; the graph has none")
    rows = unit_rows(adjacency.features)
    if rows.shape[1] > n_components:
        rows = TruncatedSVD(n_components, random_state=seed).fit_transform(rows)
    elif sparse.issparse(rows):
        rows = rows.toarray()
    arrays = adjacency.arrays
    weights = arrays.weights if len(arrays.weights) else np.ones(len(arrays.indices))
    matrix = sparse.csr_array(
        (weights, arrays.indices, arrays.indptr), shape=(adjacency.n_nodes,) * 2
    )
    walk = normalise(matrix, "row")
    # an isolated node has nobody to look at
    joined = (np.diff(arrays.indptr) > 0)[:, None]
    for _ in range(steps):
        rows = np.where(joined, (rows + walk @ rows) / 2, rows)
    return np.asarray(unit_rows(rows), np.float32)
